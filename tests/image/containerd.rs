//! A containerd of its own, with its state in a folder and its socket there: nothing of the machine's own is touched.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long containerd may take to answer, and a container to end.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How often a container is started whose output is lost.
const ATTEMPTS_TO_HEAR: usize = 5;

/// A running containerd.
pub struct Containerd {
    child: Child,
    folder: tempfile::TempDir,
    containers: std::cell::RefCell<Vec<String>>,
}

impl Containerd {
    /// Starts one, and waits until it answers.
    pub fn start() -> Self {
        // Its socket's path must be short.
        let folder = tempfile::Builder::new().prefix("pm-ctd-").tempdir_in("/run").expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = '{}'\nstate = '{}'\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n\
             [grpc]\naddress = '{}'\n[ttrpc]\naddress = '{}'\n",
            path("root"),
            path("state"),
            path("socket"),
            path("ttrpc")
        );
        std::fs::write(path("config.toml"), config).expect("the folder is writable");
        let log = File::create(path("log")).expect("the folder is writable");
        let child = Command::new("containerd")
            .args(["--config", &path("config.toml")])
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("containerd starts");
        let containerd = Self { child, folder, containers: std::cell::RefCell::default() };
        let deadline = Instant::now() + TIMEOUT;
        while !containerd.try_run(&["version"]).is_ok_and(|output| output.status.success()) {
            assert!(Instant::now() < deadline, "containerd does not answer: {}", containerd.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        containerd
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Runs ctr, containerd's client.
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.try_run(args).expect("ctr starts");
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let last = error.lines().last().unwrap_or_default();
        assert!(output.status.success(), "ctr {}: {last}{out}", args[0]);
        out.into_owned()
    }

    fn try_run(&self, args: &[&str]) -> io::Result<Output> {
        self.ctr().args(args).stdin(Stdio::null()).output()
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.folder.path().join("socket")).args(["--namespace", "k8s.io"]);
        command
    }

    /// Imports an archive the way `kind load image-archive` does on a node, and returns the names of its images.
    pub fn import(&self, archive: &Path) -> Vec<String> {
        let file = File::open(archive).expect("the archive is there");
        let mut command = self.ctr();
        command.args(["images", "import", "--all-platforms", "--digests", "--snapshotter=overlayfs", "-"]);
        let output = command.stdin(file).output().expect("ctr starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.run(&["images", "list", "-q"]).lines().filter(|name| !name.contains('@')).map(str::to_owned).collect()
    }

    /// A container's name on this machine. Control groups are named after containers, so it must be unique.
    fn full_name(&self, name: &str) -> String {
        format!("{}-{name}", self.folder.path().file_name().unwrap_or_default().to_string_lossy())
    }

    /// Starts a container in the background. It writes its output to a file in this containerd's folder.
    pub fn start_container(&self, name: &str, options: &[String], image: &str, command: &[String]) -> PathBuf {
        let log = self.folder.path().join(format!("{name}.log"));
        let uri = format!("file://{}", log.display());
        let root = self.folder.path().join("runc").display().to_string();
        let mut args = vec!["run", "--detach", "--runc-root", &root, "--log-uri", &uri];
        args.extend(options.iter().map(String::as_str));
        let full_name = self.full_name(name);
        args.extend([image, &full_name]);
        args.extend(command.iter().map(String::as_str));
        self.containers.borrow_mut().push(full_name.clone());
        self.run(&args);
        log
    }

    /// Runs a container to its end, and returns its exit code and what it printed. Starts it again if that is nothing: containerd now and
    /// then loses what a process prints that ends at once (containerd/containerd#770).
    pub fn run_container(&self, name: &str, options: &[String], image: &str, command: &[String]) -> (i32, String) {
        let (mut code, mut printed) = (0, String::new());
        for attempt in 1..=ATTEMPTS_TO_HEAR {
            let name = format!("{name}-{attempt}");
            let log = self.start_container(&name, options, image, command);
            code = self.wait(&name);
            self.remove(&name);
            printed = std::fs::read_to_string(log).unwrap_or_default();
            if !printed.is_empty() {
                break;
            }
        }
        (code, printed)
    }

    /// The number of a container's process on this machine.
    pub fn process(&self, name: &str) -> i32 {
        let line = self.task(name);
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    /// The line about a container's process in the list of processes.
    fn task(&self, name: &str) -> String {
        let (tasks, name) = (self.run(&["tasks", "list"]), self.full_name(name));
        let mut lines = tasks.lines();
        lines.find(|line| line.split_whitespace().next() == Some(&name)).expect("the task is listed").to_owned()
    }

    /// Sends a signal to a container's process.
    pub fn signal(&self, name: &str, signal: &str) {
        self.run(&["tasks", "kill", "--signal", signal, &self.full_name(name)]);
    }

    /// Waits for the end of a container's process, and returns its exit code.
    pub fn wait(&self, name: &str) -> i32 {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let line = self.task(name);
            if line.ends_with("STOPPED") {
                break;
            }
            assert!(Instant::now() < deadline, "{name} does not end: {line}");
            std::thread::sleep(Duration::from_millis(50));
        }
        // `tasks delete` exits with the code of the process.
        let output = self.try_run(&["tasks", "delete", &self.full_name(name)]).expect("ctr starts");
        output.status.code().expect("a code")
    }

    /// Removes a container whose process has ended.
    pub fn remove(&self, name: &str) {
        let name = self.full_name(name);
        self.run(&["containers", "delete", &name]);
        self.containers.borrow_mut().retain(|other| *other != name);
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for name in self.containers.borrow().iter() {
            let _ = self.try_run(&["tasks", "delete", "--force", name]);
            let _ = self.try_run(&["containers", "delete", name]);
        }
        let id = i32::try_from(self.child.id()).expect("process ids are small");
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
