//! What the benchmarks share.

#![allow(dead_code, unused_imports, reason = "each benchmark uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop and may print")]

pub mod cluster;
pub mod docs;
pub mod engine;
pub mod figures;
pub mod machine;
pub mod namespace;
#[path = "../../tests/common/nft.rs"]
mod nft_program;

pub use nft_program::nft;
