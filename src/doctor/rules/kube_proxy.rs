//! kube-proxy itself: its rules, whether it runs, and what stands in the way of removing them.

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Severity};
use crate::takeover::HealthServer;

/// Which mode it has run in.
pub(super) fn rules(facts: &Facts) -> Finding {
    let id = "kube-proxy-rules";
    let configured = facts.config.as_ref().map(|config| config.mode.as_str());
    if facts.modes.is_empty() {
        let found = match configured {
            Some(mode) => format!("no rules of kube-proxy in the kernel; it is configured to mode {mode}"),
            None => "no rules of kube-proxy in the kernel".to_owned(),
        };
        return Finding::new(id, Severity::Ok, found);
    }
    let modes = facts.modes.join(" and ");
    let mut finding = Finding::new(id, Severity::Note, format!("mode {modes}: {}", facts.places.join("; ")))
        .means("Pointsman removes this after its first sync, unless --take-over=never.");
    if let Some(configured) = configured
        && facts.modes != [configured]
    {
        finding.found = format!("{}; it is configured to mode {configured}", finding.found);
    }
    finding
}

/// Whether it runs.
pub(super) fn running(facts: &Facts) -> Finding {
    let id = "kube-proxy-running";
    let port = facts.health_port;
    match facts.answers {
        HealthServer::Absent => Finding::new(id, Severity::Ok, format!("nobody answers on port {port}")),
        HealthServer::Pointsman => Finding::new(id, Severity::Ok, format!("a Pointsman answers on port {port}")),
        HealthServer::KubeProxy => Finding::new(id, Severity::Note, format!("kube-proxy answers on port {port}"))
            .means("Both want this port and 10249, and while kube-proxy runs its rules stay.")
            .remedy("End kube-proxy on this node before Pointsman starts; its rules go on working without it."),
        HealthServer::Unknown => {
            Finding::new(id, Severity::Problem, format!("something that is no Service proxy listens on port {port}"))
                .means("Pointsman cannot serve its health checks there, and takes it for a proxy that runs.")
                .remedy(
                    "Find it with `ss -tlnp`, or give Pointsman another --healthz-bind-address and --take-over=force.",
                )
        }
    }
}

/// What is particular to ipvs mode.
pub(super) fn ipvs(facts: &Facts) -> Option<Finding> {
    let id = "ipvs";
    if !facts.in_mode("ipvs") {
        return None;
    }
    let scheduler = facts.config.as_ref().map(|config| config.ipvs_scheduler.as_str()).filter(|name| !name.is_empty());
    let scheduler = scheduler.map_or_else(String::new, |name| format!(", scheduler {name}"));
    let mut remedy = "Drain the node first, or accept that clients connect again.".to_owned();
    if facts.ipvs > 0 && !facts.ipvsadm {
        remedy += " Install ipvsadm: without it the virtual services stay.";
    }
    if facts.other_ipvs > 0 {
        remedy += &format!(
            " {} virtual services are not on kube-ipvs0 and stay: those of NodePorts have to be removed with ipvsadm -D.",
            facts.other_ipvs
        );
    }
    let means = "Connections that go through IPVS end when it is removed: connection tracking does not hold them. New ones are \
                 balanced at random, whatever the scheduler. Virtual addresses no longer answer ping.";
    Some(Finding::new(id, Severity::Warning, format!("ipvs mode{scheduler}")).means(means).remedy(remedy))
}

/// Rules that are out of netlink's reach.
pub(super) fn legacy(facts: &Facts) -> Option<Finding> {
    let found = "kube-proxy's rules are in the tables of iptables-legacy";
    facts.legacy.then(|| {
        Finding::new("legacy-iptables", Severity::Warning, found)
            .means("Only iptables-legacy-restore can remove them; Pointsman runs it where it finds it, and its image has none.")
            .remedy(
                "After Pointsman has started, run `pointsman --cleanup=kube-proxy` or kube-proxy's own --cleanup where \
                 iptables-legacy is installed: until then the old rules go on serving what Pointsman does not know.",
            )
    })
}

/// Chains that others use.
pub(super) fn kept(facts: &Facts) -> Option<Finding> {
    (!facts.kept.is_empty()).then(|| {
        let found = format!("rules of others jump to chains of kube-proxy: {}", facts.kept.join(", "));
        Finding::new("kept-chains", Severity::Note, found).means(
            "These chains stay. A packet that KUBE-MARK-MASQ marks is masqueraded by Pointsman as well, as long as \
             --masquerade-bit is 14.",
        )
    })
}

/// What could not be looked at.
pub(super) fn unseen(facts: &Facts) -> Vec<Finding> {
    facts.unseen.iter().map(|why| Finding::new("not-inspected", Severity::Warning, why.as_str())).collect()
}
