//! Pointsman: a Kubernetes Service proxy for nftables whose updates cost the size of the change.
//!
//! `docs/architecture.md` draws the pipeline. Events of the cluster ([`watch`]) fold into immutable snapshots ([`state`]); [`diff`] finds the
//! least operations that bring the kernel in line; [`engine`] decides what to do next; [`proxy`] carries it out through a backend
//! ([`apply`]) and tells the followers ([`follow`]).
//!
//! `dataplane`, `state`, `diff`, `drift`, `engine`, `listing` and `status` are functions from values to values: no input or output, no clock, no async.

pub mod apply;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conntrack;
pub mod dataplane;
pub mod diff;
pub mod doctor;
pub mod drift;
pub mod engine;
pub mod explain;
#[cfg(test)]
mod fixtures;
pub mod follow;
pub mod host;
pub mod listing;
pub mod localhost;
pub mod metrics;
mod netlink;
pub mod observe;
pub mod pacing;
mod program;
pub mod proxy;
pub mod render;
mod sorted;
pub mod state;
pub mod status;
pub mod takeover;
pub mod tasks;
pub mod watch;
