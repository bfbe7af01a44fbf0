//! kube-proxy: its rules, whether it runs, and what makes removing its rules harder.

use crate::doctor::facts::Facts;
use crate::doctor::finding::Finding;
use crate::takeover::HealthServer;

/// The modes whose rules are in the kernel.
pub(super) fn rules(facts: &Facts) -> Finding {
    let id = "kube-proxy-rules";
    let configured = facts.config.as_ref().map(|config| config.mode.as_str());
    if facts.modes.is_empty() {
        let found = match configured {
            Some(mode) => format!("no rules of kube-proxy in the kernel; its configuration has mode {mode}"),
            None => "no rules of kube-proxy in the kernel".to_owned(),
        };
        return Finding::ok(id, found);
    }
    let modes = facts.modes.join(" and ");
    let mut finding = Finding::note(id, format!("mode {modes}: {}", facts.places.join("; ")))
        .means("Pointsman removes these rules after its first sync, unless --take-over=never.");
    if let Some(configured) = configured
        && facts.modes != [configured]
    {
        finding.found = format!("{}; its configuration has mode {configured}", finding.found);
    }
    finding
}

/// kube-proxy's configuration, as a start of Pointsman takes it.
pub(super) fn configuration(facts: &Facts) -> Vec<Finding> {
    let id = "configuration";
    let Some(config) = &facts.config else { return Vec::new() };
    let path = config.path.display();
    let problem = |problem: &String| {
        Finding::problem(id, format!("{path}: {problem}"))
            .means("Pointsman does not start with this file.")
            .remedy("Correct it, or give Pointsman another file.")
    };
    let warning = |warning: &String| Finding::warning(id, format!("{path}: {warning}"));
    if config.problems.is_empty() && config.warnings.is_empty() {
        return vec![Finding::ok(id, format!("Pointsman takes {path} as it is"))];
    }
    config.problems.iter().map(problem).chain(config.warnings.iter().map(warning)).collect()
}

/// The proxy that runs.
pub(super) fn running(facts: &Facts) -> Finding {
    let id = "kube-proxy-running";
    let Some(proxy) = &facts.running else {
        return Finding::ok(id, format!("no program answers on port {}", facts.health_port));
    };
    let found = proxy.description.as_str();
    match proxy.server {
        HealthServer::Absent | HealthServer::Pointsman => Finding::ok(id, found),
        HealthServer::KubeProxy => Finding::note(id, found)
            .means("Pointsman does not start while kube-proxy runs.")
            .remedy("End kube-proxy on this node before Pointsman starts. Its rules keep working without it."),
        HealthServer::Unknown => Finding::problem(id, found)
            .means("Pointsman cannot serve its health checks there, and keeps kube-proxy's rules, because the program may be a proxy.")
            .remedy("Find it with `ss -tlnp`, or give Pointsman another --healthz-bind-address and --take-over=force."),
    }
}

/// What is special about ipvs mode.
pub(super) fn ipvs(facts: &Facts) -> Option<Finding> {
    if !facts.in_mode("ipvs") {
        return None;
    }
    let scheduler = facts.config.as_ref().map(|config| config.ipvs_scheduler.as_str()).filter(|name| !name.is_empty());
    let scheduler = scheduler.map_or_else(String::new, |name| format!(", scheduler {name}"));
    let mut remedy = "Drain the node first, or accept that clients have to reconnect.".to_owned();
    if facts.other_ipvs > 0 {
        remedy += &format!(
            " {} virtual services are not on kube-ipvs0, so Pointsman keeps them: remove those of NodePorts with ipvsadm -D.",
            facts.other_ipvs
        );
    }
    let means = "TCP connections through IPVS end when it is removed: nothing else holds their translation. New connections \
                 are balanced at random, whatever the scheduler was. Virtual addresses no longer answer ping.";
    Some(Finding::warning("ipvs", format!("ipvs mode{scheduler}")).means(means).remedy(remedy))
}

/// Rules that netlink cannot reach.
pub(super) fn legacy(facts: &Facts) -> Option<Finding> {
    let found = "kube-proxy has rules in iptables-legacy";
    facts.legacy.then(|| {
        Finding::warning("legacy-iptables", found)
            .means("Only iptables-legacy-restore can remove them. Pointsman runs it if it is installed where Pointsman runs.")
            .remedy(
                "Where it is not: after Pointsman has started, run `pointsman --cleanup=kube-proxy` or kube-proxy's own --cleanup \
                 where iptables-legacy is installed. Until then the old rules keep serving addresses that Pointsman does not have.",
            )
    })
}

/// Chains of kube-proxy that other programs use.
pub(super) fn kept(facts: &Facts) -> Option<Finding> {
    (!facts.kept.is_empty()).then(|| {
        let found = format!("rules of other programs jump to chains of kube-proxy: {}", facts.kept.join(", "));
        Finding::note("kept-chains", found).means(
            "These chains stay. Pointsman also masquerades packets that KUBE-MARK-MASQ marks, as long as --masquerade-bit is 14.",
        )
    })
}

/// What could not be inspected.
pub(super) fn not_inspected(facts: &Facts) -> Vec<Finding> {
    facts.not_inspected.iter().map(|why| Finding::warning("not-inspected", why.as_str())).collect()
}
