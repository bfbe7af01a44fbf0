//! Running the programs of iptables.

use std::path::Path;
use std::time::Duration;

pub(super) use crate::program::find;
use crate::program::{self, ProgramFailure};

/// How long one run may take. Saving 100,000 rules takes about a second.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a program is installed, on the PATH or where administrators' programs are.
pub fn program_exists(name: &str) -> bool {
    find(name).is_some()
}

/// Runs a program and returns what it prints.
///
/// # Errors
///
/// The command line and what the program printed, in one line.
pub(super) async fn run(program: &Path, args: &[&str], input: String) -> Result<String, String> {
    let called = || format!("{} {}", program.display(), args.join(" ")).trim_end().to_owned();
    let output =
        program::run(program, args, input.into_bytes(), RUN_TIMEOUT).await.map_err(|failure| match failure {
            ProgramFailure::Spawn(error) => format!("cannot run {}: {error}", called()),
            ProgramFailure::TimedOut => format!("{} did not end within {RUN_TIMEOUT:?}", called()),
            ProgramFailure::Io(error) => format!("{}: {error}", called()),
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    Err(format!("{} failed ({}): {}", called(), output.status, said.join("; ")))
}
