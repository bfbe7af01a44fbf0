//! Running an administrator's program: an argument vector, input, output, a time limit.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long one run may take. Saving 100,000 rules takes about a second.
const LIMIT: Duration = Duration::from_secs(60);

/// The file of a program, on the PATH or where administrators' programs live.
pub(super) fn look_for(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

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
    let child = Command::new(program)
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| format!("cannot run {}: {error}", called()))?;
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A broken pipe means that it gave up: its own words tell why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let finish = async { tokio::join!(write, child.wait_with_output()).1 };
    let output = match tokio::time::timeout(LIMIT, finish).await {
        Err(_) => return Err(format!("{} did not end within {LIMIT:?}", called())),
        Ok(output) => output.map_err(|error| format!("{}: {error}", called()))?,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    Err(format!("{} failed ({}): {}", called(), output.status, said.join("; ")))
}
