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
//! - [`dataplane`] is the typed model that all of them share, and the constant program.
//! - [`reconcile`] is the loop, the only part that knows all the others; [`forget`] follows it where packets remember; [`cli`], [`observe`] and [`render`] are around it.
//!
//! `state`, `diff` and `dataplane` are functions from values to values: no input or output, no clock, no async.

pub mod apply;
pub mod cli;
pub mod dataplane;
pub mod diff;
#[cfg(test)]
mod fixtures;
pub mod forget;
pub mod observe;
pub mod reconcile;
pub mod render;
pub mod state;
pub mod watch;
