//! `pointsman doctor`: what stands against a switch from kube-proxy on this node.
//!
//! ```text
//! the node ─▶ gather ─▶ Facts ─▶ examine ─▶ Finding, Finding, …
//!             effects            pure
//! ```
//!
//! Nothing on the node is changed, not even a scratch table is made: what only a write can tell is said to be untested.

mod config;
mod facts;
mod finding;
mod gather;
mod rules;

pub use config::{ProxyConfig, read_config};
pub use facts::{Facts, NftProgram, Policy, ProxyMetrics, Setting};
pub use finding::{Finding, Severity, json, objections, text};
pub use gather::gather;
pub use rules::{IDS, examine};
