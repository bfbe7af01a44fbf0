//! Others that take care of Services, or of the packets on their way.

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Severity};

/// What gives somebody away: an interface or a pinned object whose name begins so, what that is, how much it matters, and what to
/// do about it.
struct Sign {
    begins: &'static str,
    what: &'static str,
    severity: Severity,
    remedy: &'static str,
}

const INTERFACES: [Sign; 6] = [
    Sign {
        begins: "cilium_",
        what: "Cilium",
        severity: Severity::Warning,
        remedy: "If it replaces kube-proxy (`cilium-dbg status` says KubeProxyReplacement), Pointsman is of no use here.",
    },
    Sign {
        begins: "bpfin.cali",
        what: "Calico's eBPF dataplane",
        severity: Severity::Warning,
        remedy: "It serves Services itself: Pointsman is of no use here. Switch Calico to another dataplane first.",
    },
    Sign {
        begins: "kube-dummy-if",
        what: "kube-router's Service proxy",
        severity: Severity::Warning,
        remedy: "Run kube-router without --run-service-proxy first.",
    },
    Sign {
        begins: "antrea-gw",
        what: "Antrea",
        severity: Severity::Note,
        remedy: "With proxyAll it serves Services itself: then Pointsman is of no use here.",
    },
    Sign {
        begins: "ovn-k8s-mp",
        what: "OVN-Kubernetes",
        severity: Severity::Warning,
        remedy: "It serves Services itself: Pointsman is of no use here.",
    },
    Sign {
        begins: "nodelocaldns",
        what: "NodeLocal DNSCache",
        severity: Severity::Note,
        remedy: "Its own NOTRACK rules keep its packets away from any Service proxy. If it was installed for ipvs mode, it holds an \
                 address of its own, and the kubelets' clusterDNS must stay with that.",
    },
];

const PINNED: [Sign; 2] = [
    Sign {
        begins: "cilium",
        what: "Cilium (pinned eBPF maps)",
        severity: Severity::Warning,
        remedy: "If it runs no more, its maps are harmless; if it replaces kube-proxy, Pointsman is of no use here.",
    },
    Sign {
        begins: "cali_v4_nat",
        what: "Calico's eBPF dataplane (pinned maps)",
        severity: Severity::Warning,
        remedy: "If it is still in use, it serves Services itself: Pointsman is of no use here.",
    },
];

/// Who else there is.
pub(super) fn other_proxies(facts: &Facts) -> Finding {
    let id = "other-proxies";
    let has = |names: &[&str], sign: &Sign| names.iter().any(|name| name.starts_with(sign.begins));
    let interfaces: Vec<&str> = facts.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let pinned: Vec<&str> = facts.pinned.iter().map(String::as_str).collect();
    let mut signs: Vec<&Sign> = INTERFACES.iter().filter(|sign| has(&interfaces, sign)).collect();
    if !signs.iter().any(|sign| sign.what.starts_with("Cilium") || sign.what.starts_with("Calico")) {
        signs.extend(PINNED.iter().filter(|sign| has(&pinned, sign)));
    }
    let mut known: Vec<&str> = Vec::new();
    known.extend(interfaces.iter().any(|name| name.starts_with("flannel")).then_some("flannel"));
    known.extend(interfaces.iter().any(|name| name.starts_with("cali") || *name == "tunl0").then_some("Calico"));
    known.extend(facts.tables.iter().any(|table| table.ends_with(" firewalld")).then_some("firewalld"));
    let severity = signs.iter().map(|sign| sign.severity).max();
    let Some(severity) = severity else {
        let found = if known.is_empty() {
            "nobody else is seen to serve Services".to_owned()
        } else {
            format!("nobody else is seen to serve Services; there is {}", known.join(", "))
        };
        return Finding::new(id, Severity::Ok, found);
    };
    let names: Vec<&str> = signs.iter().map(|sign| sign.what).collect();
    let remedies: Vec<&str> = signs.iter().map(|sign| sign.remedy).collect();
    Finding::new(id, severity, names.join(", ")).means("It may serve Services besides.").remedy(remedies.join(" "))
}
