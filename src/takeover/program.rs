//! Running the programs of iptables and ipvsadm.

use std::path::Path;
use std::time::Duration;

pub(super) use crate::program::look_for;
use crate::program::{self, Failure};

/// How long one run may take. Saving 100,000 rules takes about a second.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether a program is there.
pub fn is_there(name: &str) -> bool {
    look_for(name).is_some()
}

/// Runs a program and returns what it prints.
///
/// # Errors
///
/// What it was and what it says, as one line.
pub(super) async fn run(program: &Path, args: &[&str], input: String) -> Result<String, String> {
    let called = || format!("{} {}", program.display(), args.join(" ")).trim_end().to_owned();
    let output = program::run(program, args, input.into_bytes(), LIMIT).await.map_err(|failure| match failure {
        Failure::Spawn(error) => format!("cannot run {}: {error}", called()),
        Failure::TimedOut => format!("{} did not end within {LIMIT:?}", called()),
        Failure::Io(error) => format!("{}: {error}", called()),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    Err(format!("{} failed ({}): {}", called(), output.status, said.join("; ")))
}
