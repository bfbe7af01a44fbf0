//! `pointsman doctor`: what speaks against a switch from kube-proxy on this node.
//!
//! ```text
//! the node ─▶ gather ─▶ Facts ─▶ examine ─▶ Finding, Finding, …
//!             effects            pure
//! ```
//!
//! doctor changes nothing on the node and creates no scratch table. It reports as untested what only a write can test.

mod config;
mod facts;
mod finding;
mod gather;
mod rules;

pub use config::{ProxyConfig, read_config};
pub use facts::{DropPolicy, Facts, NftProgram, ProxyMetrics, SysctlSwitch};
pub use finding::{Finding, FindingSeverity, blocks_switch, json, text};
pub use gather::gather;
pub use rules::{IDS, examine};
