//! One network namespace: made, entered and removed.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// A network namespace of our own, removed when this is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    next_port: AtomicU16,
}

/// Source ports of requests: clear of the servers' ports, and below those that the kernel and masquerading choose.
const SOURCE_PORTS: std::ops::Range<u16> = 20_000..32_000;

impl Namespace {
    /// A new namespace with its loopback interface up. `role` ends its name; process id and a counter make it unique.
    pub fn new(role: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pm-{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Self { name, next_port: AtomicU16::new(SOURCE_PORTS.start) };
        // Addresses are unique by construction: looking for duplicates would only delay the first packets by seconds.
        namespace.sysctl("ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("ipv6/conf/default/dad_transmits", "0");
        namespace.ip_batch("link set lo up");
        namespace
    }

    /// The name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A source port that no request from here has used yet.
    ///
    /// A reused port would belong to a flow that the kernel still remembers, and be sent where that flow went.
    pub fn fresh_port(&self) -> u16 {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        assert!(SOURCE_PORTS.contains(&port), "{} has used up its source ports", self.name);
        port
    }

    /// Runs `ip` commands, one a line, inside the namespace.
    pub fn ip_batch(&self, commands: &str) {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip starts");
        child.stdin.take().expect("stdin is piped").write_all(commands.as_bytes()).expect("ip reads its commands");
        let output = child.wait_with_output().expect("ip ends");
        assert!(
            output.status.success(),
            "ip in {}: {}\n{commands}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Writes `value` to `/proc/sys/net/{key}` of this namespace.
    ///
    /// What a thread sees under `/proc/sys/net` is its own namespace, so the machine's settings are out of reach.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(key);
        self.enter(|| std::fs::write(&path, value)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// How many times a TCP connection from here was asked for again, because no answer came within a second (`TCPSynRetrans`).
    pub fn repeated_syns(&self) -> u64 {
        let page = self.enter(|| std::fs::read_to_string("/proc/thread-self/net/netstat")).expect("the kernel counts");
        let mut lines = page.lines().filter_map(|line| line.strip_prefix("TcpExt: ")).map(str::split_whitespace);
        let (names, counts) = (lines.next().expect("names"), lines.next().expect("counts"));
        let counted = names.zip(counts).find(|(name, _)| *name == "TCPSynRetrans").expect("the kernel counts SYNs");
        counted.1.parse().expect("a number")
    }

    /// Runs `body` on a thread of its own that has entered the namespace.
    ///
    /// A socket made in there belongs to the namespace for good, whichever thread uses it afterwards.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let handle = File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace exists");
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&handle, CloneFlags::CLONE_NEWNET).expect("entering a namespace needs root");
                    body()
                })
                .join()
        })
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command that will run inside the namespace. Its process id is the program's own: `ip` only execs it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref()).stdin(Stdio::null());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Called during unwinding too, so it must not panic.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// A pair of connected interfaces, one in each namespace.
pub fn connect((left, left_name): (&Namespace, &str), (right, right_name): (&Namespace, &str)) {
    ip(&[
        "link",
        "add",
        left_name,
        "netns",
        &left.name,
        "type",
        "veth",
        "peer",
        "name",
        right_name,
        "netns",
        &right.name,
    ]);
    left.ip_batch(&format!("link set {left_name} up"));
    right.ip_batch(&format!("link set {right_name} up"));
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip starts");
    assert!(output.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
}
