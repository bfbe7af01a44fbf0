//! What the integration tests share.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, reason = "test helpers")]

pub mod apiserver;
pub mod manifests;
pub mod netns;
pub mod statistics;
pub mod watching;
