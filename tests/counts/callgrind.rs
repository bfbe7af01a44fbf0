//! Instructions, counted by valgrind's callgrind: this program runs under it once more.

use std::fs;
use std::process::Command;

/// The option that says that this process runs under valgrind, and at which size.
const OPTION: &str = "--counted=";

/// The size that is to be counted in this process.
pub fn size_to_count(args: &[String]) -> Option<u32> {
    args.iter().find_map(|arg| arg.strip_prefix(OPTION)?.parse().ok())
}

/// The instructions of every scenario, in order.
pub fn instructions(services: u32) -> Vec<u64> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("callgrind");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*::one_turn", "--dump-after=*::one_turn"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe().expect("this program"))
        .arg(format!("{OPTION}{services}"))
        .output()
        .expect("valgrind is needed to count instructions: install it, or leave out --instructions");
    assert!(output.status.success(), "valgrind: {}", String::from_utf8_lossy(&output.stderr));
    // A file for each call, numbered from 1.
    let mut counts = Vec::new();
    for n in 1.. {
        let Ok(text) = fs::read_to_string(file.with_extension(n.to_string())) else { break };
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
        counts.push(total.expect("callgrind writes totals"));
    }
    counts
}
