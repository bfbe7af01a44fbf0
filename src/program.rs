//! Running an administrator's program with a list of arguments, an empty environment, input, and a timeout.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Why a program has no output.
#[derive(Debug)]
pub(crate) enum ProgramFailure {
    /// The program could not be started.
    Spawn(io::Error),
    /// It did not end in time and was killed.
    TimedOut,
    /// Its output could not be read.
    Io(io::Error),
}

/// Finds the file of a program, on the PATH or where administrators' programs are.
pub(crate) fn find(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name.as_ref())).find(|file| file.is_file())
}

/// Runs a program with `input` on its standard input, and returns its exit status and what it printed.
///
/// The child is killed at the timeout, or when the future is dropped. If it ends without reading all of its input, its exit status
/// and its errors count, not the broken pipe.
pub(crate) async fn run(
    program: &Path,
    args: &[&str],
    input: Vec<u8>,
    timeout: Duration,
) -> Result<Output, ProgramFailure> {
    run_known(program, args, input, timeout, |_| {}).await
}

/// The same. `started` gets the number of the process before the process has read any input.
pub(crate) async fn run_known(
    program: &Path,
    args: &[&str],
    input: Vec<u8>,
    timeout: Duration,
    started: impl FnOnce(u32),
) -> Result<Output, ProgramFailure> {
    let spawned = Command::new(program)
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(ProgramFailure::Spawn)?;
    if let Some(pid) = child.id() {
        started(pid);
    }
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A broken pipe means that it gave up. Its own errors say why.
            let _ = stdin.write_all(&input).await;
        }
    };
    let finish = async { tokio::join!(write, child.wait_with_output()).1 };
    tokio::time::timeout(timeout, finish).await.map_err(|_| ProgramFailure::TimedOut)?.map_err(ProgramFailure::Io)
}
