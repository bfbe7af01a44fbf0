//! What kube-proxy's iptables rules accepted or dropped besides.

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Severity};

/// Packets that connection tracking finds invalid: iptables mode drops those that are forwarded, Pointsman does not.
pub(super) fn invalid_packets(facts: &Facts) -> Finding {
    let id = "invalid-packets";
    let configured = facts.config.as_ref().is_some_and(|config| config.tcp_be_liberal);
    if facts.tcp_be_liberal == Some(true) {
        return Finding::new(id, Severity::Ok, "connection tracking is liberal about TCP windows");
    }
    if configured {
        return Finding::new(id, Severity::Note, "tcpBeLiberal is configured, and not set in the kernel")
            .remedy("Set the sysctl net.netfilter.nf_conntrack_tcp_be_liberal=1 on the node: Pointsman sets none.");
    }
    if !facts.in_mode("iptables") {
        return Finding::new(id, Severity::Ok, "packets out of the TCP window are treated as today");
    }
    let means = "iptables mode drops packets out of the TCP window. Pointsman lets them through untranslated, and a pod that gets \
                 one may reset the connection.";
    let remedy = "Set the sysctl net.netfilter.nf_conntrack_tcp_be_liberal=1 on the node.";
    match facts.metrics.invalid_dropped {
        Some(packets) if packets > 0.0 => {
            let found = format!("kube-proxy has dropped {packets} invalid packets");
            Finding::new(id, Severity::Warning, found).means(means).remedy(remedy)
        }
        _ => Finding::new(id, Severity::Note, "kube-proxy drops invalid packets, and nf_conntrack_tcp_be_liberal is 0")
            .means(means)
            .remedy(remedy),
    }
}

/// Policies that drop what no rule accepts.
pub(super) fn drop_policies(facts: &Facts) -> Finding {
    let id = "drop-policies";
    if facts.dropping.is_empty() {
        return Finding::new(id, Severity::Ok, "no policy drops packets that are forwarded or come in");
    }
    let places: Vec<&str> = facts.dropping.iter().map(|policy| policy.place.as_str()).collect();
    let found = format!("the policy is to drop: {}", places.join("; "));
    // In these modes kube-proxy accepts in the tables of iptables what it forwards, and what comes in for health checks.
    if !facts.in_mode("iptables") && !facts.in_mode("ipvs") {
        return Finding::new(id, Severity::Note, found).means(
            "Neither kube-proxy's nftables mode nor Pointsman accepts anything on its behalf: nothing changes.",
        );
    }
    let mut means = String::new();
    if facts.dropping.iter().any(|policy| policy.forward) {
        means += "kube-proxy's chain KUBE-FORWARD accepts forwarded Service traffic; Pointsman accepts nothing. ";
    }
    if facts.dropping.iter().any(|policy| !policy.forward) {
        means +=
            "kube-proxy's chain KUBE-NODEPORTS accepts health checks of load balancers; Pointsman accepts nothing. ";
    }
    Finding::new(id, Severity::Warning, found)
        .means(means.trim_end())
        .remedy("Accept traffic from and to the pods' networks there, and the healthCheckNodePorts that come in. Many CNI plugins do the first.")
}
