//! Taking a node over from kube-proxy: finding what it left in the kernel, deciding whether that may go, and removing it.
//!
//! ```text
//! find_artifacts ─▶ KubeProxyArtifacts ─▶ remove_artifacts ─▶ RemovalReport
//!   nf_tables (netlink) ─┐
//!   iptables-legacy-save ┼─▶ ruleset ─▶ selection: which jumps and chains are kube-proxy's      pure
//!   ipsets, IPVS, link ──┘
//! ```
//!
//! kube-proxy leaves its rules behind when it ends, and Services go on working by them. So Pointsman removes them only after its
//! own rules are in the kernel: there is always a rule for a new connection, and connection tracking keeps those that exist.
//! While both are there, the first nat chain that translates a connection decides; of equal priorities Linux calls the chain
//! first that was attached last (`nf_hook_entries_grow`), which is Pointsman's unless kube-proxy attaches its chains again.
//!
//! Two callers decide by which proxy runs on the node ([`RunningProxy`]): [`TakeOverDecision`] for the start, and for `--take-over` after
//! the first sync; and [`clean_up`] for `--cleanup`. [`InstanceLock`] keeps a second Pointsman away.
//!
//! What other programs own stays: rules that only mention a chain of kube-proxy, `KUBE-FIREWALL` and the other chains of the
//! kubelet. A chain that a foreign rule still jumps to stays too, and is reported.

mod cleanup;
mod decision;
mod find;
mod interfaces;
mod ipset;
mod ipvs;
mod legacy;
mod lock;
mod names;
mod probe;
mod process;
mod program;
mod remove;
mod ruleset;
mod running;
mod selection;

pub use cleanup::{CleanUpError, CleanUpScope, clean_up};
pub use decision::{TakeOverDecision, TakeOverOutcome, TakeOverPolicy};
pub use find::{KubeProxyArtifacts, LegacyIptables, find_artifacts};
pub use interfaces::{Interface, interfaces};
pub use ipvs::{IpvsServices, VirtualService};
pub use lock::InstanceLock;
pub use names::{IPVS_LINK, KUBE_PROXY_TABLE};
pub use probe::{HEALTH_PORT, HealthServer, METRICS_PORT, fetch_page};
pub use program::program_exists;
pub use remove::{RemovalReport, remove_artifacts};
pub use ruleset::{IptablesChain, IptablesRule, IptablesRuleset};
pub use running::{ProxyPorts, RunningProxy, find_running_proxy};
pub use selection::{IptablesSelection, KeptChain};
