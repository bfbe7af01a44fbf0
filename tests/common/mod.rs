//! What the integration tests share.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]

pub mod manifests;
pub mod netns;
pub mod statistics;
