//! Where nft is, for tests and benchmarks that drive it.

use std::path::PathBuf;

/// The nft named by the environment, unpacked by scripts/nft.sh, or the system's.
pub fn nft() -> PathBuf {
    let unpacked = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/build/nft/nft"));
    match std::env::var_os("NFT") {
        Some(path) => path.into(),
        None if unpacked.exists() => unpacked,
        None => "nft".into(),
    }
}
