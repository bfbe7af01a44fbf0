//! What is known of a node: values, gathered elsewhere.

use std::collections::BTreeSet;

use super::config::ProxyConfig;
use crate::takeover::{HealthServer, Interface};

/// Everything that the rules look at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kernel's release, such as `6.1.0-13-amd64`.
    pub kernel: String,
    /// The modes that kube-proxy's rules in the kernel are of.
    pub modes: Vec<&'static str>,
    /// Where there are rules of kube-proxy, in words: `table ip kube-proxy`, `ip, iptables-nft`.
    pub places: Vec<String>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
    /// kube-proxy's rules are in the tables of iptables-legacy, which only its own programs can change.
    pub legacy: bool,
    /// Chains of kube-proxy that rules of others jump to.
    pub kept: Vec<String>,
    /// Who serves health checks.
    pub answers: HealthServer,
    /// On this port.
    pub health_port: u16,
    /// What the running kube-proxy counts.
    pub metrics: ProxyMetrics,
    /// kube-proxy's configuration, where it was found.
    pub config: Option<ProxyConfig>,
    /// This node's interfaces.
    pub interfaces: Vec<Interface>,
    /// Policies of base chains that drop.
    pub dropping: Vec<Policy>,
    /// Names of tables of nf_tables, with their family.
    pub tables: BTreeSet<String>,
    /// IPv6 is in the kernel and not switched off.
    pub ipv6: bool,
    /// `net.ipv4.ip_forward`.
    pub forwards_ipv4: Setting,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_ipv6: Setting,
    /// `net.ipv4.conf.all.route_localnet`.
    pub route_localnet: Setting,
    /// `net.netfilter.nf_conntrack_tcp_be_liberal`.
    pub tcp_be_liberal: Setting,
    /// The nft program.
    pub nft: NftProgram,
    /// Names found where eBPF programs are pinned.
    pub pinned: Vec<String>,
    /// Virtual services of IPVS that are not on kube-proxy's link.
    pub other_ipvs: usize,
    /// Virtual services of IPVS that are kube-proxy's.
    pub ipvs: usize,
    /// ipvsadm, which is needed to remove them, is there.
    pub ipvsadm: bool,
}

/// A switch of the kernel; none if it cannot be read.
pub type Setting = Option<bool>;

/// A base chain whose policy is to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Where it is, in words: `chain FORWARD, table ip filter`.
    pub place: String,
    /// It sees forwarded packets; otherwise those to this node.
    pub forward: bool,
}

/// What the running kube-proxy counts; none where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProxyMetrics {
    /// Packets to NodePorts on 127.0.0.1 that it accepted.
    pub localhost_node_ports: Option<f64>,
    /// Packets that it dropped because connection tracking found them invalid.
    pub invalid_dropped: Option<f64>,
}

/// The nft program, for the backend that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NftProgram {
    /// The backend is netlink: it is not used.
    NotNeeded,
    /// It would be used only where netlink fails.
    Fallback(Result<String, String>),
    /// It is used. Its version, or what is wrong.
    Needed(Result<String, String>),
}
