//! Pointsman: a Kubernetes Service proxy for nftables whose updates cost the size of the change.

pub mod apply;
pub mod cli;
pub mod dataplane;
pub mod diff;
#[cfg(test)]
mod fixtures;
pub mod observe;
pub mod reconcile;
pub mod render;
pub mod state;
pub mod watch;
