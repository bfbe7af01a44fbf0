//! Network namespaces, so that nothing of the machine's own is touched.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// A network namespace with a name, for programs; removed at the end.
pub struct Namespace(String);

impl Namespace {
    /// A new one whose name ends in `role`.
    pub fn new(role: &str) -> Self {
        let name = format!("pointsman-{}-{role}", std::process::id());
        assert!(Command::new("ip").args(["netns", "add", &name]).status().expect("ip runs").success(), "needs root");
        Self(name)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Runs `ip` with these words inside.
    pub fn ip(&self, words: &str) {
        let status = Command::new("ip").args(["-n", &self.0]).args(words.split_whitespace()).status().expect("ip runs");
        assert!(status.success(), "ip {words}");
    }

    /// A command that will run inside. Its process id is the program's own: `ip` only executes it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    /// Runs work in a thread that has entered it. Sockets opened there belong to it for good.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let handle = std::fs::File::open(format!("/run/netns/{}", self.0)).expect("the namespace is there");
        std::thread::scope(|threads| {
            let run = || {
                nix::sched::setns(&handle, CloneFlags::CLONE_NEWNET).expect("needs root");
                work()
            };
            threads.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// Moves this thread, and those that it starts from now on, to a new network namespace.
pub fn leave() {
    unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
}

/// Runs work in a thread with a network namespace of its own.
pub fn alone(work: impl AsyncFnOnce() + Send + 'static) {
    let run = || {
        leave();
        runtime().block_on(work());
    };
    std::thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// A runtime for one thread.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
