//! Running `nft`, and turning its messages into errors.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use crate::apply::{Error, Refusal};
use crate::program::{self, ProgramFailure};

/// How long one run may take. Loading 300,000 elements takes about 4 seconds; listing them about 10.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs `nft` with `input` on its standard input and returns what it prints. `doing` says for an error what the run is for.
pub(super) async fn run(nft: &Path, args: &[&str], input: Vec<u8>, doing: &'static str) -> Result<Vec<u8>, Error> {
    run_known(nft, args, input, doing, |_| {}).await
}

/// The same. `started` gets the number of the process before it can commit anything.
pub(super) async fn run_known(
    nft: &Path,
    args: &[&str],
    input: Vec<u8>,
    doing: &'static str,
    started: impl FnOnce(u32),
) -> Result<Vec<u8>, Error> {
    let output = program::run_known(nft, args, input, RUN_TIMEOUT, started).await.map_err(|failure| match failure {
        ProgramFailure::Spawn(source) => Error::NotFound { program: nft.to_owned(), source },
        ProgramFailure::TimedOut => Error::TimedOut { doing, limit: RUN_TIMEOUT },
        ProgramFailure::Io(source) => Error::Io { doing, source },
    })?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(output.stdout) } else { Err(failure(doing, output.status, &stderr)) }
}

/// Turns nft's messages into an error.
///
/// No other code reads nft's messages. nft checks interval sets itself and has messages of its own for them; the other messages end
/// in the C library's text for the kernel's error number, which does not change under `LC_ALL=C`.
fn failure(doing: &'static str, status: ExitStatus, stderr: &str) -> Error {
    let has = |text: &str| stderr.contains(text);
    let mut lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // nft repeats an error for every rule that it affects.
    lines.dedup();
    let detail = if lines.is_empty() { format!("nft ended with {status}") } else { lines.join("; ") };
    if has("Operation not permitted") || has("Permission denied") {
        return Error::NotPermitted { doing, detail };
    }
    if has("Unable to initialize Netlink socket") || has("Protocol not supported") {
        return Error::NoKernelSupport { doing, detail };
    }
    let refusal = if has("No such file or directory") || has("element does not exist") {
        Refusal::Missing
    } else if has("File exists") || has("interval overlaps with an existing one") {
        Refusal::Exists
    } else if has("Device or resource busy") {
        Refusal::Busy
    } else {
        Refusal::Other
    };
    Error::Refused { doing, refusal, detail }
}

#[cfg(test)]
mod tests;
