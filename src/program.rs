//! Running an administrator's program: an argument vector, an empty environment, input, output, a time limit.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Why there is no output.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The program could not be started.
    Spawn(io::Error),
    /// It did not end in time, and was ended.
    TimedOut,
    /// Its output could not be read.
    Io(io::Error),
}

/// The file of a program, on the PATH or where administrators' programs live.
pub(crate) fn look_for(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name.as_ref())).find(|file| file.is_file())
}

/// Runs a program with `input` on its standard input, and returns how it ended and what it printed.
///
/// The child is ended when the time is up or the future is dropped. One that ends without reading all of its input is judged by its
/// exit code and its errors, not by the broken pipe.
pub(crate) async fn run(program: &Path, args: &[&str], input: Vec<u8>, limit: Duration) -> Result<Output, Failure> {
    let spawned = Command::new(program)
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(Failure::Spawn)?;
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A broken pipe means that it gave up: its own words tell why.
            let _ = stdin.write_all(&input).await;
        }
    };
    let finish = async { tokio::join!(write, child.wait_with_output()).1 };
    tokio::time::timeout(limit, finish).await.map_err(|_| Failure::TimedOut)?.map_err(Failure::Io)
}
