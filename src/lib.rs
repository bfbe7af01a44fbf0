//! Pointsman: a Kubernetes Service proxy for nftables whose updates cost the size of the change.

pub mod dataplane;
pub mod state;
pub mod watch;
