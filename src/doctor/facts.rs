//! The facts about a node that the rules need. `gather` collects them.

use std::collections::BTreeSet;

use super::config::ProxyConfig;
use crate::takeover::{Interface, RunningProxy};

/// The input of the rules.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kernel's release, such as `6.1.0-13-amd64`.
    pub kernel: String,
    /// The modes whose rules are in the kernel: `iptables`, `ipvs`, `nftables`.
    pub modes: Vec<&'static str>,
    /// The places of kube-proxy's rules, such as `table ip kube-proxy` or `ip, iptables-nft`.
    pub places: Vec<String>,
    /// What could not be inspected, each with the reason.
    pub not_inspected: Vec<String>,
    /// Whether kube-proxy has rules in iptables-legacy, which only iptables' own programs can change.
    pub legacy: bool,
    /// Chains of kube-proxy that rules of other programs jump to.
    pub kept: Vec<String>,
    /// The proxy that runs, or an unknown program on the port of health checks.
    pub running: Option<RunningProxy>,
    /// The port of health checks.
    pub health_port: u16,
    /// Counters of the running kube-proxy.
    pub metrics: ProxyMetrics,
    /// kube-proxy's configuration, if it was found.
    pub config: Option<ProxyConfig>,
    /// This node's interfaces.
    pub interfaces: Vec<Interface>,
    /// Base chains with policy drop.
    pub dropping: Vec<DropPolicy>,
    /// Family and name of every table of nf_tables, such as `ip filter`.
    pub tables: BTreeSet<String>,
    /// Whether the kernel has IPv6 and it is not switched off.
    pub ipv6: bool,
    /// `net.ipv4.ip_forward`.
    pub forwards_ipv4: SysctlSwitch,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_ipv6: SysctlSwitch,
    /// `net.ipv4.conf.all.route_localnet`.
    pub route_localnet: SysctlSwitch,
    /// `net.netfilter.nf_conntrack_tcp_be_liberal`.
    pub tcp_be_liberal: SysctlSwitch,
    /// The nft program.
    pub nft: NftProgram,
    /// Names in the folders of pinned eBPF programs and maps.
    pub pinned: Vec<String>,
    /// The number of IPVS virtual services outside of kube-proxy's link.
    pub other_ipvs: usize,
}

/// A sysctl that is on or off; none if it cannot be read.
pub type SysctlSwitch = Option<bool>;

/// A base chain with policy drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropPolicy {
    /// Its place, such as `chain FORWARD, table ip filter`.
    pub place: String,
    /// Whether it is at hook forward; otherwise it is at hook input.
    pub forward: bool,
}

/// Counters of the running kube-proxy; none where it does not serve them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProxyMetrics {
    /// Packets to NodePorts on 127.0.0.1 that it accepted.
    pub localhost_node_ports: Option<f64>,
    /// Packets that it dropped because connection tracking classed them as invalid.
    pub invalid_dropped: Option<f64>,
}

/// The nft program, as far as the chosen backend needs it: its version, or what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NftProgram {
    /// The backend is netlink, which does not use it.
    NotNeeded,
    /// It is used only if netlink fails.
    Fallback(Result<String, String>),
    /// The backend uses it.
    Needed(Result<String, String>),
}
