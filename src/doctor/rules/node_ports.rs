//! Where NodePorts are accepted.

use std::net::IpAddr;

use crate::dataplane::Family;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Severity};
use crate::takeover::IPVS_LINK;

/// NodePorts on 127.0.0.1: kube-proxy's iptables mode has them, nftables mode and Pointsman do not.
pub(super) fn localhost(facts: &Facts) -> Finding {
    let id = "localhost-node-ports";
    let configured = facts.config.as_ref().is_none_or(|config| config.localhost_node_ports);
    if !facts.in_mode("iptables") || !configured || facts.route_localnet == Some(false) {
        return Finding::new(id, Severity::Ok, "NodePorts are not accepted on 127.0.0.1 today either");
    }
    let means = "Pointsman never accepts NodePorts on loopback addresses.";
    let remedy = "Look for clients on this node that use 127.0.0.1 (registries, probes), and give them a node address.";
    match facts.metrics.localhost_node_ports {
        Some(packets) if packets > 0.0 => {
            let found = format!("NodePorts on 127.0.0.1 are in use: kube-proxy counts {packets} packets");
            Finding::new(id, Severity::Warning, found).means(means).remedy(remedy)
        }
        Some(_) => Finding::new(id, Severity::Note, "NodePorts are accepted on 127.0.0.1, and kube-proxy counts no packet")
            .means(means),
        None => Finding::new(
            id,
            Severity::Warning,
            "NodePorts are accepted on 127.0.0.1 (iptables mode, route_localnet), and whether anybody uses that is not known",
        )
        .means(means)
        .remedy(remedy),
    }
}

/// The addresses that accept NodePorts: all by default in iptables and ipvs mode, the Node object's with Pointsman.
pub(super) fn addresses(facts: &Facts) -> Finding {
    let id = "node-port-addresses";
    let configured = facts.config.as_ref().map(|config| config.node_port_addresses.join(",")).unwrap_or_default();
    if !configured.is_empty() {
        return Finding::new(id, Severity::Note, format!("kube-proxy is configured to nodePortAddresses {configured}"))
            .remedy(format!("Give Pointsman the same: --nodeport-addresses {configured}"));
    }
    if !facts.in_mode("iptables") && !facts.in_mode("ipvs") {
        return Finding::new(id, Severity::Ok, "the default is that of Pointsman: the Node object's addresses");
    }
    let several: Vec<String> = Family::ALL
        .into_iter()
        .map(|family| of_family(facts, family))
        .filter(|addresses| addresses.len() > 1)
        .map(|addresses| addresses.join(", "))
        .collect();
    if several.is_empty() {
        return Finding::new(
            id,
            Severity::Ok,
            "NodePorts are accepted on all addresses, and there is one of each family",
        );
    }
    Finding::new(id, Severity::Warning, format!("NodePorts are accepted on all addresses: {}", several.join("; ")))
        .means("Pointsman accepts them on the Node object's addresses only, unless it is told otherwise.")
        .remedy("To keep all: --nodeport-addresses 0.0.0.0/0,::/0. To choose: the networks that clients use.")
}

/// The node's addresses that clients may use, and that are not kube-proxy's own.
fn of_family(facts: &Facts, family: Family) -> Vec<String> {
    let interfaces = facts.interfaces.iter().filter(|interface| interface.name != IPVS_LINK);
    let addresses =
        interfaces.flat_map(|interface| interface.addresses.iter().map(move |addr| (addr, &interface.name)));
    let usable = addresses.filter(|(addr, _)| Family::from_addr(**addr) == family && reachable(**addr));
    let mut texts: Vec<String> = usable.map(|(addr, name)| format!("{addr} ({name})")).collect();
    texts.sort();
    texts
}

fn reachable(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !addr.is_loopback() && !addr.is_link_local(),
        IpAddr::V6(addr) => !addr.is_loopback() && !addr.is_unicast_link_local(),
    }
}
