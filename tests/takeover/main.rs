//! Taking a node over from kube-proxy on a real kernel: with the objects of each of its modes, connections through them, and the
//! real binary.

#![allow(clippy::disallowed_types, reason = "kernels and child processes live in real time, which no test can pause")]
#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "../common/mod.rs"]
mod common;

mod cleanup;
mod doctor;
mod ipvs;
mod old_rules;
mod switch;
mod traffic;
