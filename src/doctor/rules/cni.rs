//! Other programs that may serve Services, or handle their packets.

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, FindingSeverity};

/// How to recognise another program: by an interface or a pinned object whose name has this prefix.
struct Signature {
    prefix: &'static str,
    program: &'static str,
    severity: FindingSeverity,
    remedy: &'static str,
}

const INTERFACES: [Signature; 6] = [
    Signature {
        prefix: "cilium_",
        program: "Cilium",
        severity: FindingSeverity::Warning,
        remedy: "If it replaces kube-proxy (`cilium-dbg status` says KubeProxyReplacement), do not run Pointsman here.",
    },
    Signature {
        prefix: "bpfin.cali",
        program: "Calico's eBPF dataplane",
        severity: FindingSeverity::Warning,
        remedy: "It serves Services itself. Switch Calico to another dataplane first, or do not run Pointsman here.",
    },
    Signature {
        prefix: "kube-dummy-if",
        program: "kube-router's Service proxy",
        severity: FindingSeverity::Warning,
        remedy: "Run kube-router without --run-service-proxy first.",
    },
    Signature {
        prefix: "antrea-gw",
        program: "Antrea",
        severity: FindingSeverity::Note,
        remedy: "With proxyAll it serves Services itself: then do not run Pointsman here.",
    },
    Signature {
        prefix: "ovn-k8s-mp",
        program: "OVN-Kubernetes",
        severity: FindingSeverity::Warning,
        remedy: "It serves Services itself: do not run Pointsman here.",
    },
    Signature {
        prefix: "nodelocaldns",
        program: "NodeLocal DNSCache",
        severity: FindingSeverity::Note,
        remedy: "Its NOTRACK rules keep its packets away from every Service proxy. If it was installed for ipvs mode, it has its own \
                 address: keep that address as the kubelets' clusterDNS.",
    },
];

const PINNED: [Signature; 2] = [
    Signature {
        prefix: "cilium",
        program: "Cilium (pinned eBPF maps)",
        severity: FindingSeverity::Warning,
        remedy: "If Cilium no longer runs, its maps are harmless. If it replaces kube-proxy, do not run Pointsman here.",
    },
    Signature {
        prefix: "cali_v4_nat",
        program: "Calico's eBPF dataplane (pinned maps)",
        severity: FindingSeverity::Warning,
        remedy: "If it is still in use, it serves Services itself: do not run Pointsman here.",
    },
];

/// The programs whose signatures are on the node.
pub(super) fn other_proxies(facts: &Facts) -> Finding {
    let id = "other-proxies";
    let has = |names: &[&str], signature: &Signature| names.iter().any(|name| name.starts_with(signature.prefix));
    let interfaces: Vec<&str> = facts.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let pinned: Vec<&str> = facts.pinned.iter().map(String::as_str).collect();
    let mut found: Vec<&Signature> = INTERFACES.iter().filter(|signature| has(&interfaces, signature)).collect();
    if !found.iter().any(|found| found.program.starts_with("Cilium") || found.program.starts_with("Calico")) {
        found.extend(PINNED.iter().filter(|signature| has(&pinned, signature)));
    }
    let mut harmless: Vec<&str> = Vec::new();
    harmless.extend(interfaces.iter().any(|name| name.starts_with("flannel")).then_some("flannel"));
    harmless.extend(interfaces.iter().any(|name| name.starts_with("cali") || *name == "tunl0").then_some("Calico"));
    harmless.extend(facts.tables.iter().any(|table| table.ends_with(" firewalld")).then_some("firewalld"));
    let Some(severity) = found.iter().map(|found| found.severity).max() else {
        let none = "no other Service proxy found";
        return match harmless.is_empty() {
            true => Finding::ok(id, none),
            false => Finding::ok(id, format!("{none}; also on this node: {}", harmless.join(", "))),
        };
    };
    let programs: Vec<&str> = found.iter().map(|found| found.program).collect();
    let remedies: Vec<&str> = found.iter().map(|found| found.remedy).collect();
    Finding::new(id, severity, programs.join(", "))
        .means("It may serve Services beside Pointsman.")
        .remedy(remedies.join(" "))
}

/// Calico's Felix with `NFTablesMode: Auto`, its default, uses nftables only while kube-proxy does. It tells that by the chains of the table
/// `kube-proxy`, which the take-over removes. `None` without Calico, and where it serves Services itself.
pub(super) fn calico_mode(facts: &Facts) -> Option<Finding> {
    let id = "calico-nftables-mode";
    let named = |prefix: &str| facts.interfaces.iter().any(|interface| interface.name.starts_with(prefix));
    if !named("cali") || named("bpfin.cali") {
        return None;
    }
    let has_table = |name: &str| facts.tables.iter().any(|table| table.split(' ').nth(1) == Some(name));
    if !has_table("calico") && !has_table("kube-proxy") {
        return Some(Finding::ok(id, "Calico does not use nftables, and kube-proxy does not either"));
    }
    let found = match (has_table("calico"), has_table("kube-proxy")) {
        (true, _) => "Calico uses nftables, as kube-proxy does or did",
        (false, _) => "kube-proxy uses nftables, and Calico may follow it",
    };
    let means = "With NFTablesMode Auto, Felix takes nftables only while a table `kube-proxy` has chains. Pointsman removes that table, so \
                 Felix may go back to iptables at its next start.";
    Some(Finding::warning(id, found).means(means).remedy(
        "Before the switch, set `nftablesMode: Enabled` in the FelixConfiguration, or `linuxDataplane: Nftables` in the Installation of \
         Calico's operator.",
    ))
}
