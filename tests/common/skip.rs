//! A test that cannot run says so: its output is hidden where it passes, so `make test` collects the reasons in a file.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;

/// Set to 1 where the tests must run.
const REQUIRE: &str = "POINTSMAN_REQUIRE_KERNEL";

/// Says that the machine lacks what the running test needs. So the test is skipped, or fails where it must run.
pub fn lacks(reason: impl Display) {
    assert!(std::env::var_os(REQUIRE).is_none_or(|value| value != "1"), "{REQUIRE}=1, but {reason}");
    skip(reason);
}

/// Says that the running test is skipped, and why.
pub fn skip(reason: impl Display) {
    println!("skipped: {reason}");
    let Some(list) = std::env::var_os("POINTSMAN_SKIPPED_LIST") else { return };
    let current = std::thread::current();
    let line = format!("{}\t{reason}\n", current.name().unwrap_or_default());
    // One write, for other tests append too. Without the list the test is skipped all the same.
    let _ =
        OpenOptions::new().append(true).create(true).open(list).and_then(|mut file| file.write_all(line.as_bytes()));
}
