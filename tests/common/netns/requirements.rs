//! What these tests need from the machine. Without it they are skipped, or fail where they must run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

#[path = "../skip.rs"]
mod skip;

pub use skip::{lacks, skip};

/// The path of a suitable nft, when this process may make network namespaces; otherwise why not.
pub fn check() -> Result<&'static Path, &'static str> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(find_nft) {
        Ok(nft) => Ok(nft),
        Err(reason) => Err(reason),
    }
}

/// Like [`check`], for a test: says that it is skipped, or fails where it must run.
pub fn nft_or_skip() -> Option<&'static Path> {
    match check() {
        Ok(nft) => Some(nft),
        Err(reason) => {
            lacks(reason);
            None
        }
    }
}

/// Whether the kernel surely says how many elements a set has. Linux 6.18 does, 6.12 does not. Without that a change of elements is found by
/// the comparison that follows a look, and not by the look.
pub fn kernel_counts_elements() -> bool {
    kernel_is_at_least(6, 18)
}

/// Whether the running kernel has this version or a newer one.
fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or_default());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

fn find_nft() -> Result<PathBuf, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("network namespaces need root".to_owned());
    }
    let probe = format!("pm-{}-probe", std::process::id());
    let added = Command::new("ip").args(["netns", "add", &probe]).output().map_err(|error| format!("ip: {error}"))?;
    if !added.status.success() {
        return Err(format!("no network namespace can be made: {}", String::from_utf8_lossy(&added.stderr).trim()));
    }
    let _ = Command::new("ip").args(["netns", "delete", &probe]).status();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/nft.sh");
    let found = Command::new(&script).output().map_err(|error| format!("{}: {error}", script.display()))?;
    if !found.status.success() {
        return Err(format!("there is no suitable nft: {}", String::from_utf8_lossy(&found.stderr).trim()));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&found.stdout).trim()))
}
