//! Changes that the kernel reports while a test runs. They prove that nothing was changed, which no listing can.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::Node;

/// How long the kernel's reports may take.
const REPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// The table whose creation marks the beginning and the end of the report.
const MARK: &str = "pointsman-test-mark";

/// Listens to every change of the node's ruleset.
#[derive(Debug)]
pub struct Monitor<'a> {
    node: &'a Node,
    child: Child,
    report: NamedTempFile,
    begin: usize,
}

impl<'a> Monitor<'a> {
    /// Starts to listen.
    pub fn new(node: &'a Node) -> Self {
        let report = NamedTempFile::new().expect("a scratch file");
        let output = report.reopen().expect("the scratch file can be written");
        let child = node.host.command(&node.nft).arg("monitor").stdout(output).stderr(Stdio::null()).spawn();
        let mut monitor = Self { node, child: child.expect("nft starts"), report, begin: 0 };
        monitor.begin = monitor.mark();
        monitor
    }

    /// Every change of the proxy's tables since the beginning: one line each, as an nft command.
    pub fn changes(mut self) -> Vec<String> {
        self.mark();
        let report = self.read();
        let ours = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().take(4).collect();
            words.windows(2).any(|pair| matches!(pair, ["ip" | "ip6", "pointsman"]))
        };
        report[self.begin..].lines().filter(ours).map(str::to_owned).collect()
    }

    /// Makes a change of its own until it is reported; returns where the report then ends.
    fn mark(&mut self) -> usize {
        let deadline = Instant::now() + REPORT_TIMEOUT;
        let before = self.read().len();
        while Instant::now() < deadline {
            self.node.nft(&["add", "table", "ip", MARK]);
            self.node.nft(&["delete", "table", "ip", MARK]);
            std::thread::sleep(Duration::from_millis(10));
            let report = self.read();
            if report[before..].contains(&format!("delete table ip {MARK}")) {
                return report.len();
            }
        }
        panic!("nft monitor reports nothing");
    }

    fn read(&self) -> String {
        std::fs::read_to_string(self.report.path()).expect("the report can be read")
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
