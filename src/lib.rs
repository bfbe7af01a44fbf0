//! Pointsman: a Kubernetes Service proxy for nftables whose updates cost the size of the change.
//!
//! ```text
//!  API server ┐
//!  manifests  ├─ Event ─▶ Cluster ─▶ Desired ──┐
//!  journal    ┘  watch     state      state    ├─▶ Plan ─▶ Backend ─▶ nf_tables
//!                               Acknowledged ──┘   diff     apply
//!                                    ▲                        │
//!                                    └── committed, or read ──┘
//! ```
//!
//! - [`watch`] turns what sources say into validated [`Event`](state::Event)s.
//! - [`state`] folds events into immutable snapshots of the cluster, and those into what the dataplane should hold. Here are the rules
//!   of Kubernetes.
//! - [`diff`] compares that with what the kernel acknowledged, and plans the least.
//! - [`apply`] commits plans and reads tables back: over netlink, through nft, or in a kernel in memory.
//! - [`conntrack`] removes UDP flows to endpoints that are gone, after a commit.
//! - [`dataplane`] is the typed model that all of them share, and the constant program.
//! - [`reconcile`] is the loop, the only part that knows all the others; [`forget`] follows it where packets remember; [`cli`],
//!   [`config`], [`host`], [`observe`] and [`render`] are around it.
//! - [`metrics`] names and records every metric; it knows only the values that it counts. [`pacing`] holds backoff, rates and
//!   reminders.
//! - [`takeover`] removes what kube-proxy left on a node; [`doctor`] says what stands against that.
//!
//! `state`, `diff` and `dataplane` are functions from values to values: no input or output, no clock, no async.

pub mod apply;
pub mod cli;
pub mod config;
pub mod conntrack;
pub mod dataplane;
pub mod diff;
pub mod doctor;
#[cfg(test)]
mod fixtures;
pub mod forget;
pub mod host;
pub mod metrics;
pub mod observe;
pub mod pacing;
mod program;
pub mod reconcile;
pub mod render;
pub mod state;
pub mod takeover;
pub mod watch;
