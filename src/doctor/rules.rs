//! The rules: what the facts mean for a switch. Pure functions from facts to findings.

mod cni;
mod firewall;
mod host;
mod kube_proxy;
mod node_ports;

use super::facts::Facts;
use super::finding::Finding;

/// The subjects of findings, in the order in which they are examined.
pub const IDS: [&str; 17] = [
    "configuration",
    "kube-proxy-rules",
    "kube-proxy-running",
    "ipvs",
    "legacy-iptables",
    "kept-chains",
    "not-inspected",
    "localhost-node-ports",
    "node-port-addresses",
    "invalid-packets",
    "drop-policies",
    "kernel",
    "ip-forward",
    "ipv6",
    "nft",
    "other-proxies",
    "calico-nftables-mode",
];

/// Applies every rule to a node's facts.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = kube_proxy::configuration(facts);
    findings.extend([kube_proxy::rules(facts), kube_proxy::running(facts)]);
    findings.extend(kube_proxy::ipvs(facts));
    findings.extend(kube_proxy::legacy(facts));
    findings.extend(kube_proxy::kept(facts));
    findings.extend(kube_proxy::not_inspected(facts));
    findings.push(node_ports::localhost(facts));
    findings.push(node_ports::addresses(facts));
    findings.push(firewall::invalid_packets(facts));
    findings.push(firewall::drop_policies(facts));
    findings.extend([host::kernel(facts), host::forwarding(facts), host::ipv6(facts), host::nft(facts)]);
    findings.push(cni::other_proxies(facts));
    findings.extend(cni::calico_mode(facts));
    findings
}

impl Facts {
    /// Whether kube-proxy runs or ran in this mode: by its rules in the kernel, or without rules by its configuration.
    fn in_mode(&self, mode: &str) -> bool {
        match &self.config {
            Some(config) if self.modes.is_empty() => config.mode == mode,
            _ => self.modes.contains(&mode),
        }
    }
}

#[cfg(test)]
mod tests;
