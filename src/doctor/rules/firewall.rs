//! Packets that kube-proxy's iptables rules accept or drop, and Pointsman does not.

use crate::doctor::facts::Facts;
use crate::doctor::finding::Finding;

/// Packets that connection tracking classes as invalid: iptables mode drops them when it forwards, Pointsman does not.
pub(super) fn invalid_packets(facts: &Facts) -> Finding {
    let id = "invalid-packets";
    let remedy = "Set the sysctl net.netfilter.nf_conntrack_tcp_be_liberal=1 on the node.";
    let configured = facts.config.as_ref().is_some_and(|config| config.tcp_be_liberal);
    if facts.tcp_be_liberal == Some(true) {
        return Finding::ok(id, "nf_conntrack_tcp_be_liberal is 1: packets outside of the TCP window are valid");
    }
    if configured {
        return Finding::note(id, "tcpBeLiberal is configured, but nf_conntrack_tcp_be_liberal is not 1")
            .remedy(remedy);
    }
    if !facts.in_mode("iptables") {
        return Finding::ok(id, "packets outside of the TCP window are handled as today");
    }
    let means = "iptables mode drops packets outside of the TCP window. Pointsman lets them pass untranslated, and a pod that \
                 receives one may reset the connection.";
    match facts.metrics.invalid_dropped {
        Some(packets) if packets > 0.0 => {
            let found = format!("kube-proxy has dropped {packets} invalid packets");
            Finding::warning(id, found).means(means).remedy(remedy)
        }
        _ => Finding::note(id, "kube-proxy drops invalid packets, and nf_conntrack_tcp_be_liberal is 0")
            .means(means)
            .remedy(remedy),
    }
}

/// Base chains with policy drop.
pub(super) fn drop_policies(facts: &Facts) -> Finding {
    let id = "drop-policies";
    if facts.dropping.is_empty() {
        return Finding::ok(id, "no chain at hook input or forward has policy drop");
    }
    let places: Vec<&str> = facts.dropping.iter().map(|policy| policy.place.as_str()).collect();
    let found = format!("policy drop: {}", places.join("; "));
    // In these modes kube-proxy accepts forwarded Service traffic and health checks in iptables' tables.
    if !facts.in_mode("iptables") && !facts.in_mode("ipvs") {
        return Finding::note(id, found).means(
            "Neither kube-proxy's nftables mode nor Pointsman accepts packets in these chains: nothing changes.",
        );
    }
    let mut means = String::new();
    if facts.dropping.iter().any(|policy| policy.forward) {
        means += "kube-proxy's chain KUBE-FORWARD accepts forwarded Service traffic; Pointsman has no such rule. ";
    }
    if facts.dropping.iter().any(|policy| !policy.forward) {
        means +=
            "kube-proxy's chain KUBE-NODEPORTS accepts health checks of load balancers; Pointsman has no such rule. ";
    }
    Finding::warning(id, found).means(means.trim_end()).remedy(
        "In these chains, accept traffic from and to the pods' networks (many CNI plugins do that), and traffic to the \
         healthCheckNodePorts.",
    )
}
