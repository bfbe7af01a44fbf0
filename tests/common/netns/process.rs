//! Programs on the node: the proxy, once or as a running process, and nft.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

use super::addresses::POD_CIDRS;
use super::{NODE_NAME, Namespace, Node};

/// How long a proxy may take to end after a signal. It finishes the commit that is in flight, which takes seconds on a busy machine.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

/// A running proxy; ended when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    log: NamedTempFile,
}

impl Node {
    /// Runs the proxy on the node until it ends by itself.
    pub fn pointsman(&self, args: &[&str]) -> Finished {
        self.proxy_command(args).output().expect("the proxy starts").into()
    }

    /// The same without `--cluster-cidr`.
    pub fn pointsman_without_cluster_cidr(&self, args: &[&str]) -> Finished {
        self.plain_proxy_command(args).output().expect("the proxy starts").into()
    }

    /// Starts the proxy on the node, to keep running.
    pub fn start_pointsman(&self, args: &[&str]) -> Proxy {
        let log = NamedTempFile::new().expect("a file for the log");
        let write = |file: &NamedTempFile| Stdio::from(file.reopen().expect("the log can be written"));
        let child =
            self.proxy_command(args).stdout(Stdio::null()).stderr(write(&log)).spawn().expect("the proxy starts");
        Proxy { child, log }
    }

    /// Runs nft on the node and returns what it prints.
    pub fn nft(&self, args: &[&str]) -> String {
        let finished = self.try_nft(args);
        assert_eq!(finished.code, Some(0), "nft {}: {}", args.join(" "), finished.stderr);
        finished.stdout
    }

    /// Runs nft on the node.
    pub fn try_nft(&self, args: &[&str]) -> Finished {
        self.host.command(&self.nft).args(args).output().expect("nft starts").into()
    }

    /// Runs nft on the node with `input` on its standard input.
    pub fn nft_with_input(&self, args: &[&str], input: &str) -> Finished {
        let mut file = tempfile::tempfile().expect("a scratch file");
        file.write_all(input.as_bytes()).expect("the scratch file can be written");
        std::io::Seek::rewind(&mut file).expect("the scratch file can be read");
        self.host.command(&self.nft).args(args).stdin(file).output().expect("nft starts").into()
    }

    fn proxy_command(&self, args: &[&str]) -> Command {
        let mut command = self.plain_proxy_command(args);
        command.args(["--cluster-cidr", &POD_CIDRS.join(",")]);
        command
    }

    fn plain_proxy_command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(&self.binary);
        if !args.contains(&"--backend") {
            command.args(["--backend", &backend()]);
        }
        command
            .args(args)
            .args(["--hostname-override", NODE_NAME])
            .arg("--nft")
            .arg(&self.nft)
            .env_remove("KUBECONFIG")
            .env_remove("POINTSMAN_LOG");
        command
    }
}

impl Proxy {
    /// What it has logged so far.
    pub fn log(&self) -> String {
        read(self.log.path())
    }

    /// Its metrics page, as served inside the node's namespace on the default port.
    pub fn metrics(&self, host: &Namespace) -> String {
        host.enter(|| {
            let mut stream = TcpStream::connect("127.0.0.1:10249").expect("the metrics port is open");
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("the request is sent");
            let mut page = String::new();
            stream.read_to_string(&mut page).expect("the page is text");
            page
        })
    }

    /// How often each of its threads was given a processor so far, by thread number (proc_pid_status(5)).
    pub fn wake_ups(&self) -> BTreeMap<String, u64> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the proxy runs");
        let switches = |status: &str| -> u64 {
            let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
        };
        let switches_of = |thread: std::io::Result<std::fs::DirEntry>| {
            let thread = thread.ok()?;
            // A thread may have ended meanwhile.
            let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
            Some((thread.file_name().to_string_lossy().into_owned(), switches(&status)))
        };
        threads.filter_map(switches_of).collect()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be awaited");
    }

    /// Asks it to end (SIGTERM) and returns how it ended.
    pub fn terminate(mut self) -> Finished {
        let code = self.stop().expect("the proxy ends after SIGTERM");
        Finished { code, stdout: String::new(), stderr: self.log() }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("ours");
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Asks it to end (SIGTERM). Returns its exit code, or nothing if it does not end in time.
    pub fn stop(&mut self) -> Option<Option<i32>> {
        let id = i32::try_from(self.child.id()).expect("process ids are small");
        // Already reaped children have no process to signal: `try_wait` below still knows their status.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status.code());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if self.stop().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the proxy ---\n{}", self.log());
        }
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut text)).expect("the log can be read");
    String::from_utf8_lossy(&text).into_owned()
}

/// The backend under test; `POINTSMAN_TEST_BACKEND=nft` selects the other one.
fn backend() -> String {
    std::env::var("POINTSMAN_TEST_BACKEND").unwrap_or_else(|_| "netlink".to_owned())
}
