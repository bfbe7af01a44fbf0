//! Tables of situations, and what must become of packets in them.
//!
//! A row says what is sent from where to where, and what must become of it. Rows of a group share the objects and the flags
//! that the proxy is given. The real proxy programs the real kernel once for each group; then each row makes real connections,
//! in both families. Rows about what packets cannot show are unit tests of the same tables.
//!
//! A row is named by its section and by what it shows: `hairpin: a pod reaches itself through its NodePort`.
//! `cargo test --test scenarios -- hairpin "claims: the older"` runs those whose names begin so.

#![allow(clippy::disallowed_types, reason = "kernels and child processes live in real time, which no test can pause")]
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test stops at the first surprise, and says so")]

#[path = "../common/mod.rs"]
mod common;
mod given;
mod group;
mod left_out;
mod packets;
mod report;
mod rig;
mod rows;
mod run;
mod section;
mod units;
mod words;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use common::netns::requirements;
use report::Report;
use rig::Rig;
use section::Section;

fn main() -> ExitCode {
    let Some(wanted) = wanted(std::env::args().skip(1)) else { return ExitCode::SUCCESS };
    let is_wanted = |section: Section, name: &str| {
        let full = format!("{section}: {name}");
        wanted.is_empty() || wanted.iter().any(|start| full.starts_with(start.as_str()))
    };
    let start = Instant::now();
    let mut report = Report::default();
    report.add(units::run(is_wanted));
    let mut groups = rows::all();
    for group in &mut groups {
        group.rows.retain(|row| is_wanted(group.section, row.name));
    }
    groups.retain(|group| !group.rows.is_empty());
    if !groups.is_empty()
        && let Some(nft) = requirements::nft_or_skip()
    {
        // Another build of the proxy can be put to the same tests.
        let binary = std::env::var_os("POINTSMAN_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_pointsman").into());
        let rig = Rig::new(Path::new(&binary), nft);
        for group in &groups {
            report.add(run::run(&rig, group));
        }
    }
    if report.len() > 0 {
        println!("\n{}", report.text(start.elapsed(), wanted.is_empty()));
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The beginnings of names that the command line asks for, none for all rows; nothing if it asks for something else than a
/// run. The options of Rust's own test harness mean nothing here; cargo hands them to every test.
fn wanted(args: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let mut starts = Vec::new();
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" | "--ignored" => return None,
            "--test-threads" | "--skip" | "--format" | "--color" | "--logfile" | "-Z" => drop(args.next()),
            option if option.starts_with('-') => {}
            start => starts.push(start.to_owned()),
        }
    }
    Some(starts)
}
