//! Wrong input of the operator: exit code 2 and one line that says what to do.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "operator/attempts.rs"]
mod attempts;
mod common;
#[path = "operator/configuration.rs"]
mod configuration;
#[path = "operator/field.rs"]
mod field;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const POINTSMAN: &str = env!("CARGO_BIN_EXE_pointsman");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.env_remove("KUBECONFIG").output().expect("the proxy runs");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Options and subcommands with which the program never keeps running as a proxy.
const ENDING: [&str; 8] =
    ["--force", "doctor", "--dry-run", "--once", "--watch", "--against", "--write-config-to", "replay"];

/// Runs the proxy and asserts that it refuses with exit code 2 and an error that contains all of these words.
///
/// These tests run outside of network namespaces. If the program should accept wrong input one day, it only prints a plan.
fn assert_refused(args: &[&str], words: &[&str]) {
    let mut args = args.to_vec();
    if !args.iter().any(|arg| ENDING.contains(arg)) {
        args.extend(["--dry-run", "--against", "empty"]);
    }
    let (code, stdout, stderr) = run(Command::new(POINTSMAN).args(&args));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: no {word:?} in {stderr:?}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// A program that prints these lines, as nft prints its version.
fn nft_that_prints(folder: &Path, lines: &str) -> PathBuf {
    let path = folder.join("nft");
    fs::write(&path, format!("#!/bin/sh\ncat <<'EOF'\n{lines}\nEOF\n")).expect("the folder is writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

#[test]
fn the_error_about_a_missing_nft_says_what_to_do() {
    let args = ["--manifests", EXAMPLES, "--dry-run", "--backend", "nft", "--nft", "/nowhere/nft"];
    assert_refused(&args, &["/nowhere/nft", "1.1.3", "--nft PATH"]);
}

#[test]
fn an_old_nft_and_one_without_json_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (printed, why) in [
        ("nftables v1.0.6 (Lester Gooch #5)\n  json: yes", "1.0.6"),
        ("nftables v1.1.3 (Commodore Bullmoose #4)\n  json:\t\tno", "without JSON"),
        ("something else", "something else"),
    ] {
        let nft = nft_that_prints(folder.path(), printed);
        let nft = nft.to_str().expect("a path of letters");
        assert_refused(
            &["--manifests", EXAMPLES, "--once", "--backend", "nft", "--nft", nft],
            &[why, "1.1.3 or newer"],
        );
    }
}

#[test]
fn an_nft_that_does_nothing_fails_the_test_in_scratch_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let nft = nft_that_prints(folder.path(), "nftables v1.1.3 (a liar)\n  json: yes");
    let nft = nft.to_str().expect("a path of letters");
    assert_refused(&["--manifests", EXAMPLES, "--once", "--backend", "nft", "--nft", nft], &["scratch table"]);
}

#[test]
fn without_permission_the_start_fails_and_names_the_capability() {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/build/nft/nft");
    let nft = std::env::var("NFT").unwrap_or_else(|_| unpacked.to_owned());
    for backend in ["auto", "netlink", "nft"] {
        let mut command = Command::new(POINTSMAN);
        command.args(["--manifests", "-", "--once", "--backend", backend, "--nft", &nft]).stdin(Stdio::null());
        if nix::unistd::Uid::effective().is_root() {
            // The user `nobody` has no capabilities in this network namespace. It may lack access to the binary or to nft.
            command.uid(65_534).gid(65_534);
            let program = if backend == "nft" { &nft } else { POINTSMAN };
            let reachable = Command::new(program).arg("--version").uid(65_534).gid(65_534).output();
            if !reachable.is_ok_and(|output| output.status.success()) {
                common::netns::requirements::skip(format_args!("the user nobody cannot run {program}"));
                continue;
            }
        }
        let (code, _, stderr) = run(&mut command);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("NET_ADMIN"), "{stderr}");
    }
}

#[test]
fn without_permission_cleanup_and_doctor_fail_and_name_the_capability() {
    for (args, expected) in [(&["--cleanup", "--force"][..], 1), (&["doctor"], 2)] {
        let mut command = Command::new(POINTSMAN);
        command.args(args);
        if nix::unistd::Uid::effective().is_root() {
            command.uid(65_534).gid(65_534);
            let reachable = Command::new(POINTSMAN).arg("--version").uid(65_534).gid(65_534).output();
            if !reachable.is_ok_and(|output| output.status.success()) {
                common::netns::requirements::skip(format_args!("the user nobody cannot run {POINTSMAN}"));
                continue;
            }
        }
        let (code, _, stderr) = run(&mut command);
        assert_eq!(code, Some(expected), "{args:?}: {stderr}");
        assert!(stderr.contains("NET_ADMIN"), "{args:?}: {stderr}");
    }
}

#[test]
fn wrong_options_stop_the_start() {
    assert_refused(&["--manifests", "/nowhere", "--dry-run", "--against", "empty"], &["/nowhere"]);
    assert_refused(&["--kubeconfig", "/nowhere/config", "--dry-run", "--against", "empty"], &["/nowhere/config"]);
    assert_refused(&["--cluster-cidr", "banana"], &["--cluster-cidr", "banana"]);
    assert_refused(
        &["--manifests", EXAMPLES, "--dry-run", "--against", "empty", "--cluster-cidr", "10.0.0.0/8,11.0.0.0/8"],
        &["at most one"],
    );
    assert_refused(&["--watch"], &["--manifests"]);
    assert_refused(&["--against", "empty"], &["--dry-run"]);
    assert_refused(&["--manifests", EXAMPLES, "--once", "--against", "empty"], &["--against", "--dry-run"]);
    assert_refused(&["--manifests", EXAMPLES, "--watch", "--against", "empty"], &["--against", "--dry-run"]);
    assert_refused(&["--cleanup", "--against", "empty"], &["--against", "--dry-run"]);
    assert_refused(&["--once", "--log-level", "inof"], &["inof", "debug"]);
    assert_refused(&["--once", "--master", "10.0.0.1:6443"], &["10.0.0.1:6443", "https://"]);
    assert_refused(&["--metrics-bind-address", "localhost"], &["127.0.0.1:10249"]);
    assert_refused(&["--dry-rum"], &["--dry-run"]);
    assert_refused(&["--manifests", EXAMPLES, "--once", "-o", "json"], &["--dry-run"]);
    assert_refused(
        &["--detect-local-mode", "BridgeInterface", "--dry-run", "--against", "empty", "--manifests", EXAMPLES],
        &["--pod-bridge-interface"],
    );
    assert_refused(&["--detect-local-mode=BridgeInterface", "--pod-bridge-interface", "a b"], &["interface"]);
    assert_refused(&["--nodeport-addresses", "192.0.2.1"], &["primary"]);
    assert_refused(&["replay", "/nowhere/journal"], &["/nowhere/journal"]);
    assert_refused(&["--cleanup=everything"], &["own", "kube-proxy"]);
    assert_refused(&["--cleanup", "--once"], &["--once"]);
    assert_refused(&["--force"], &["--cleanup"]);
    assert_refused(&["--take-over=perhaps"], &["auto", "force", "never"]);
    assert_refused(&["doctor", "-o", "nft"], &["-o json"]);
    assert_refused(&["doctor", "--config", "/nowhere/config.conf"], &["/nowhere/config.conf"]);
    assert_refused(
        &["--log-level", "a=b=c", "--dry-run", "--manifests", EXAMPLES, "--against", "empty"],
        &["--log-level"],
    );
}

#[test]
fn the_error_about_a_broken_journal_names_the_line() {
    let mut journal = tempfile::NamedTempFile::new().expect("a file");
    writeln!(journal, "{{\"time\":\"2026-01-01T00:00:00Z\",\"event\":{{\"services-reset\":[]}}}}\nbroken\n")
        .expect("written");
    let path = journal.path().to_str().expect("a path of letters").to_owned();
    assert_refused(&["replay", &path], &["2", &path]);
}

#[test]
fn a_journal_comes_from_standard_input_and_never_goes_to_standard_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let events = ["services-reset", "slices-reset", "service-cidrs-reset", "nodes-reset"];
    let lines = events.map(|event| format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"event\":{{\"{event}\":[]}}}}\n"));
    fs::write(&path, lines.concat()).expect("written");
    let replay = |file: &str, input: Stdio| run(Command::new(POINTSMAN).args(["replay", file]).stdin(input));
    let from_file = replay(path.to_str().expect("a path of letters"), Stdio::null());
    assert_eq!(from_file.0, Some(0), "{}", from_file.2);
    assert_eq!(replay("-", fs::File::open(&path).expect("it is there").into()), from_file);
    assert_refused(&["--manifests", EXAMPLES, "--once", "--record", "-"], &["--record appends to a file"]);
}

#[test]
fn an_option_behind_a_subcommand_that_belongs_before_it_is_told_its_place() {
    for (option, value, subcommand) in [
        ("--manifests", "m", &["get", "services"][..]),
        ("--metrics-bind-address", "127.0.0.1:1", &["status"]),
        ("--kubeconfig", "k", &["explain", "192.0.2.1:80"]),
    ] {
        let place = format!("{option} goes before the word {}: pointsman {option} ", subcommand[0]);
        assert_refused(&[subcommand, &[option, value]].concat(), &[&place]);
        assert_refused(&[subcommand, &[&format!("{option}={value}")]].concat(), &[&place]);
    }
    assert_refused(&["status", "--no-such-option"], &["unexpected argument '--no-such-option'"]);
}

#[test]
fn help_and_version_succeed() {
    for flag in ["--help", "-h", "--version"] {
        let (code, stdout, stderr) = run(Command::new(POINTSMAN).arg(flag));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(stdout.contains("pointsman"), "{stdout}");
    }
}

#[test]
fn a_dry_run_against_empty_tables_needs_neither_root_nor_nft_and_reads_standard_input() {
    let plan = |input: Stdio, manifests: &str| {
        let mut command = Command::new(POINTSMAN);
        command.args(["--manifests", manifests, "--dry-run", "--against", "empty", "--nft", "/nowhere/nft"]);
        run(command.args(["--hostname-override", "node-a"]).stdin(input))
    };
    let (code, from_folder, stderr) = plan(Stdio::null(), EXAMPLES);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(from_folder.lines().last().is_some_and(|line| line.starts_with("Plan: ")), "{from_folder}");
    assert!(!from_folder.contains('\u{1b}'), "no colour where there is no terminal");

    let mut all = tempfile::tempfile().expect("a file");
    let mut files: Vec<_> =
        fs::read_dir(EXAMPLES).expect("examples").map(|file| file.expect("a file").path()).collect();
    files.sort();
    for file in files {
        writeln!(all, "---\n{}", fs::read_to_string(file).expect("text")).expect("written");
    }
    std::io::Seek::rewind(&mut all).expect("a file");
    let (code, from_stdin, stderr) = plan(all.into(), "-");
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(from_stdin, from_folder);
}
