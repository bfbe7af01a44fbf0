//! Taking a node over from kube-proxy: finding what it laid down, and removing that.
//!
//! ```text
//! find ─▶ Traces ─▶ remove ─▶ Report
//!   nf_tables (netlink) ─┐
//!   iptables-legacy-save ┼─▶ ruleset ─▶ selection: which jumps and chains are kube-proxy's      pure
//!   ipsets, IPVS, link ──┘
//! ```
//!
//! kube-proxy leaves its rules behind when it ends, and Services go on working by them. So they are removed only after ours are
//! in the kernel: there is always a rule for a new connection, and connection tracking keeps those that exist. While both are
//! there, the first nat chain that translates a connection ends the search; of equal priorities, Linux asks the one first that
//! was attached last (`nf_hook_entries_grow`), so it is ours unless somebody attaches anew.
//!
//! What other programs own stays: rules that merely mention what is kube-proxy's, `KUBE-FIREWALL` and the other chains of the
//! kubelet. A chain that somebody else still jumps to stays too, and is told of.

mod find;
mod interfaces;
mod ipset;
mod ipvs;
mod legacy;
mod names;
mod probe;
mod program;
mod remove;
mod ruleset;
mod selection;

pub use find::{Legacy, Traces, find};
pub use interfaces::{Interface, interfaces};
pub use ipvs::{Ipvs, VirtualService};
pub use names::{IPVS_LINK, TABLE};
pub use probe::{Answers, HEALTH_PORT, get, who_answers};
pub use program::is_there;
pub use remove::{Report, remove};
pub use ruleset::{Chain, Rule, Ruleset};
pub use selection::{Kept, Selection};
