//! Running `nft`: input, output, errors, time limit.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use crate::apply::{Error, Refusal};
use crate::program::{self, ProgramFailure};

/// How long one run may take. Loading 300,000 elements takes about 4 seconds; listing them about 10.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `nft` with `input` on its standard input and returns what it prints.
pub(super) async fn run(nft: &Path, args: &[&str], input: Vec<u8>, doing: &'static str) -> Result<Vec<u8>, Error> {
    let output = program::run(nft, args, input, LIMIT).await.map_err(|failure| match failure {
        ProgramFailure::Spawn(source) => Error::NotFound { program: nft.to_owned(), source },
        ProgramFailure::TimedOut => Error::TimedOut { doing, limit: LIMIT },
        ProgramFailure::Io(source) => Error::Io { doing, source },
    })?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(output.stdout) } else { Err(failure(doing, output.status, &stderr)) }
}

/// Turns nft's words into an error.
///
/// The one place that looks at nft's messages. Interval sets are checked by nft itself, in its own words; the other messages end
/// in the C library's text for the kernel's error number, which does not change under `LC_ALL=C`.
fn failure(doing: &'static str, status: ExitStatus, stderr: &str) -> Error {
    let said = |text: &str| stderr.contains(text);
    let mut lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // One mistake may be repeated for every rule that it affects.
    lines.dedup();
    let detail = if lines.is_empty() { format!("nft ended with {status}") } else { lines.join("; ") };
    if said("Operation not permitted") || said("Permission denied") {
        return Error::NotPermitted { doing, detail };
    }
    if said("Unable to initialize Netlink socket") || said("Protocol not supported") {
        return Error::NoKernelSupport { doing, detail };
    }
    let refusal = if said("No such file or directory") || said("element does not exist") {
        Refusal::Missing
    } else if said("File exists") || said("interval overlaps with an existing one") {
        Refusal::Exists
    } else if said("Device or resource busy") {
        Refusal::Busy
    } else {
        Refusal::Other
    };
    Error::Refused { doing, refusal, detail }
}

#[cfg(test)]
mod tests;
