//! The addresses that accept NodePorts.

use std::net::IpAddr;

use crate::doctor::config::ProxyConfig;
use crate::doctor::facts::Facts;
use crate::doctor::finding::Finding;
use crate::takeover::IPVS_LINK;

/// NodePorts on 127.0.0.1: kube-proxy's iptables mode accepts them, Pointsman where it is asked to.
pub(super) fn localhost(facts: &Facts) -> Finding {
    let id = "localhost-node-ports";
    let configured = facts.config.as_ref().is_none_or(|config| config.localhost_node_ports);
    if !facts.in_mode("iptables") || !configured || facts.route_localnet == Some(false) {
        return Finding::ok(id, "NodePorts are not accepted on 127.0.0.1 today either");
    }
    let means = "Pointsman serves NodePorts on loopback addresses only with `localhost` in --nodeport-addresses, and over TCP alone.";
    let remedy = "Find clients on this node that use 127.0.0.1 (registries, probes), and give them a node address, or Pointsman \
                  --nodeport-addresses primary,localhost.";
    match facts.metrics.localhost_node_ports {
        Some(packets) if packets > 0.0 => {
            let found = format!("NodePorts on 127.0.0.1 are in use: kube-proxy has counted {packets} packets");
            Finding::warning(id, found).means(means).remedy(remedy)
        }
        Some(_) => {
            Finding::note(id, "NodePorts are accepted on 127.0.0.1, but kube-proxy has counted no packet").means(means)
        }
        None => Finding::warning(
            id,
            "NodePorts are accepted on 127.0.0.1 (iptables mode, route_localnet); it is not known whether clients use that",
        )
        .means(means)
        .remedy(remedy),
    }
}

/// The addresses that accept NodePorts. Default: all in iptables and ipvs mode, the Node object's with Pointsman.
pub(super) fn addresses(facts: &Facts) -> Finding {
    let id = "node-port-addresses";
    let configured = facts.config.as_ref().map(|config| config.node_port_addresses.join(",")).unwrap_or_default();
    if !configured.is_empty() && facts.config.as_ref().is_some_and(leaves_none) {
        let found =
            format!("kube-proxy's configuration has nodePortAddresses {configured}, which are loopback addresses");
        return Finding::warning(id, found)
            .means("Pointsman serves them there over TCP, and no NodePort works on any other address.")
            .remedy("Give clients on this node a node address, and nodePortAddresses the node's own network.");
    }
    if !configured.is_empty() {
        return Finding::note(id, format!("kube-proxy's configuration has nodePortAddresses {configured}"))
            .remedy(format!("Give Pointsman the same: --nodeport-addresses {configured}"));
    }
    if !facts.in_mode("iptables") && !facts.in_mode("ipvs") {
        return Finding::ok(id, "kube-proxy has the same default as Pointsman: the Node object's addresses");
    }
    let several: Vec<String> = [IpAddr::is_ipv4, IpAddr::is_ipv6]
        .into_iter()
        .map(|in_family| client_addresses(facts, in_family))
        .filter(|addresses| addresses.len() > 1)
        .map(|addresses| addresses.join(", "))
        .collect();
    if several.is_empty() {
        return Finding::ok(id, "NodePorts are accepted on all addresses; the node has at most one of each family");
    }
    Finding::warning(id, format!("NodePorts are accepted on all addresses: {}", several.join("; ")))
        .means("Pointsman accepts them only on the Node object's addresses by default.")
        .remedy(
            "To keep all addresses: --nodeport-addresses 0.0.0.0/0,::/0. To choose some: --nodeport-addresses with the networks \
             that clients use.",
        )
}

/// Whether all networks that accept NodePorts are loopback networks.
fn leaves_none(config: &ProxyConfig) -> bool {
    let is_loopback = |network: &String| {
        let address = network.split('/').next().and_then(|address| address.parse::<IpAddr>().ok());
        // 127.0.0.0/8 and ::1/128, and what is within.
        address.is_some_and(|address| address.is_loopback()) && !network.ends_with("/0")
    };
    config.node_port_addresses.iter().all(is_loopback)
}

/// The node's addresses of a family that clients can use, without those of kube-proxy's link.
fn client_addresses(facts: &Facts, in_family: fn(&IpAddr) -> bool) -> Vec<String> {
    let interfaces = facts.interfaces.iter().filter(|interface| interface.name != IPVS_LINK);
    let addresses =
        interfaces.flat_map(|interface| interface.addresses.iter().map(move |addr| (addr, &interface.name)));
    let usable = addresses.filter(|(addr, _)| in_family(addr) && is_reachable(**addr));
    let mut texts: Vec<String> = usable.map(|(addr, name)| format!("{addr} ({name})")).collect();
    texts.sort();
    texts
}

fn is_reachable(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !addr.is_loopback() && !addr.is_link_local(),
        IpAddr::V6(addr) => !addr.is_loopback() && !addr.is_unicast_link_local(),
    }
}
