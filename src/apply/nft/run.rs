//! Running `nft`: input, output, errors, time limit.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::apply::{Error, Refusal};

/// How long one run may take. Loading 300,000 elements takes about 4 seconds; listing them about 10.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `nft` with `input` on its standard input and returns what it prints.
///
/// The child is ended when the time is up or the future is dropped. An nft that ends without reading all of its input is judged
/// by its exit code and its errors, not by the broken pipe.
pub(super) async fn run(program: &Path, args: &[&str], input: Vec<u8>, doing: &'static str) -> Result<Vec<u8>, Error> {
    let spawned = Command::new(program)
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|source| Error::NotFound { program: program.to_owned(), source })?;
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A broken pipe means that nft gave up: its own words tell why.
            let _ = stdin.write_all(&input).await;
        }
    };
    let finish = async { tokio::join!(write, child.wait_with_output()).1 };
    let output = tokio::time::timeout(LIMIT, finish)
        .await
        .map_err(|_| Error::TimedOut { doing, limit: LIMIT })?
        .map_err(|source| Error::Io { doing, source })?;
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
