//! The proxy on a real kernel: the real binary programs a node made of network namespaces, and real packets show the result.
//!
//! Every test makes its own node and removes it; see `tests/README.md` for what they need.

#![allow(clippy::disallowed_types, reason = "kernels and child processes live in real time, which no test can pause")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and says what it saw"
)]

mod common;

#[path = "kernel/affinity.rs"]
mod affinity;
#[path = "kernel/balancing.rs"]
mod balancing;
#[path = "kernel/changes.rs"]
mod changes;
#[path = "kernel/choice.rs"]
mod choice;
#[path = "kernel/cluster.rs"]
mod cluster;
#[path = "kernel/configuration.rs"]
mod configuration;
#[path = "kernel/conntrack.rs"]
mod conntrack;
#[path = "kernel/counters.rs"]
mod counters;
#[path = "kernel/crashes.rs"]
mod crashes;
#[path = "kernel/drift.rs"]
mod drift;
#[path = "kernel/drift_through_nft.rs"]
mod drift_through_nft;
#[path = "kernel/drift_with_affinity.rs"]
mod drift_with_affinity;
#[path = "kernel/explain.rs"]
mod explain;
#[path = "kernel/exposition.rs"]
mod exposition;
#[path = "kernel/get.rs"]
mod get;
#[path = "kernel/input.rs"]
mod input;
#[path = "kernel/invalid_packets.rs"]
mod invalid_packets;
#[path = "kernel/live.rs"]
mod live;
#[path = "kernel/loads.rs"]
mod loads;
#[path = "kernel/localhost.rs"]
mod localhost;
#[path = "kernel/no_ops.rs"]
mod no_ops;
#[path = "kernel/node_ports.rs"]
mod node_ports;
#[path = "kernel/observe.rs"]
mod observe;
#[path = "kernel/privileges.rs"]
mod privileges;
#[path = "kernel/program.rs"]
mod program;
#[path = "kernel/refusals.rs"]
mod refusals;
#[path = "kernel/restarts.rs"]
mod restarts;
#[path = "kernel/service_health.rs"]
mod service_health;
#[path = "kernel/source_ranges.rs"]
mod source_ranges;
#[path = "kernel/status.rs"]
mod status;
#[path = "kernel/upstream.rs"]
mod upstream;
#[path = "kernel/world.rs"]
mod world;
