//! The container image as the DaemonSet runs it: containerd and runc start it with the security context of `deploy/base`, in the network
//! namespace of a scratch node, and it follows an API server with a service account's token and CA.
//!
//! Needs what `tests/kernel.rs` needs, and containerd with runc; `POINTSMAN_IMAGES` names the folder that `make image` filled.

#![allow(clippy::disallowed_types, reason = "kernels and child processes live in real time, which no test can pause")]
#![allow(clippy::expect_used, reason = "a test stops at the first surprise, and says what it saw")]

#[path = "../common/mod.rs"]
mod common;

mod confinement;
mod containerd;
mod daemonset;
mod lifecycle;
mod node;
mod programs;
