use std::path::PathBuf;

use super::*;
use crate::doctor::config::ProxyConfig;
use crate::doctor::facts::{DropPolicy, NftProgram};
use crate::doctor::finding::{FindingSeverity as Severity, blocks_switch};
use crate::takeover::{HealthServer, Interface, RunningProxy};

/// A node after kube-proxy's nftables mode, without anything to warn about.
fn node() -> Facts {
    Facts {
        kernel: "6.1.0-13-amd64".to_owned(),
        modes: vec!["nftables"],
        places: vec!["table ip kube-proxy".to_owned()],
        not_inspected: Vec::new(),
        legacy: false,
        kept: Vec::new(),
        running: None,
        health_port: 10256,
        metrics: crate::doctor::ProxyMetrics::default(),
        config: None,
        interfaces: vec![
            interface("lo", &["127.0.0.1", "::1"]),
            interface("eth0", &["192.0.2.1", "fd00::1", "fe80::1"]),
        ],
        dropping: Vec::new(),
        tables: ["ip kube-proxy".to_owned()].into(),
        ipv6: true,
        forwards_ipv4: Some(true),
        forwards_ipv6: Some(true),
        route_localnet: Some(false),
        tcp_be_liberal: Some(false),
        nft: NftProgram::NotNeeded,
        pinned: Vec::new(),
        other_ipvs: 0,
    }
}

/// The same node after iptables mode.
fn iptables_node() -> Facts {
    Facts { modes: vec!["iptables"], route_localnet: Some(true), ..node() }
}

fn config() -> ProxyConfig {
    ProxyConfig {
        path: PathBuf::from("config.conf"),
        problems: Vec::new(),
        warnings: Vec::new(),
        mode: "iptables".to_owned(),
        node_port_addresses: Vec::new(),
        localhost_node_ports: true,
        ipvs_scheduler: String::new(),
        tcp_be_liberal: false,
        health_port: None,
        metrics_port: None,
    }
}

fn interface(name: &str, addresses: &[&str]) -> Interface {
    let addresses = addresses.iter().map(|addr| addr.parse().unwrap()).collect();
    Interface { index: 1, name: name.to_owned(), addresses }
}

/// The severity and the whole text of the finding about `id`.
fn found(facts: &Facts, id: &str) -> (Severity, String) {
    let finding = examine(facts).into_iter().find(|finding| finding.id == id);
    let finding = finding.unwrap_or_else(|| panic!("no finding about {id}"));
    (finding.severity, format!("{} {} {}", finding.found, finding.means, finding.remedy))
}

fn assert_found(facts: &Facts, id: &str, severity: Severity, words: &[&str]) {
    let (is, text) = found(facts, id);
    assert_eq!(is, severity, "{id}: {text}");
    for word in words {
        assert!(text.contains(word), "{id}: no {word:?} in {text:?}");
    }
}

#[test]
fn a_switch_from_nftables_mode_has_no_blockers() {
    let findings = examine(&node());
    assert!(!blocks_switch(&findings), "{findings:?}");
    assert!(findings.iter().all(|finding| IDS.contains(&finding.id)));
    assert_found(&node(), "kube-proxy-rules", Severity::Note, &["mode nftables", "table ip kube-proxy"]);
}

#[test]
fn a_node_without_kube_proxy_has_no_blockers() {
    let facts = Facts { modes: Vec::new(), places: Vec::new(), ..node() };
    assert!(!blocks_switch(&examine(&facts)));
    assert_found(&facts, "kube-proxy-rules", Severity::Ok, &["no rules"]);
}

#[test]
fn the_configured_mode_is_reported_where_the_kernel_has_another_or_none() {
    let facts = Facts { config: Some(config()), ..node() };
    assert_found(&facts, "kube-proxy-rules", Severity::Note, &["mode nftables", "its configuration has mode iptables"]);
    let facts = Facts { modes: Vec::new(), route_localnet: Some(true), config: Some(config()), ..node() };
    assert_found(&facts, "kube-proxy-rules", Severity::Ok, &["its configuration has mode iptables"]);
    assert_found(&facts, "localhost-node-ports", Severity::Warning, &["127.0.0.1"]);
}

#[test]
fn the_proxy_that_runs_decides_the_severity() {
    assert_found(&node(), "kube-proxy-running", Severity::Ok, &["no program", "10256"]);
    for (server, severity, word) in [
        (HealthServer::Pointsman, Severity::Ok, "Pointsman"),
        (HealthServer::KubeProxy, Severity::Note, "End kube-proxy"),
        (HealthServer::Unknown, Severity::Problem, "--healthz-bind-address"),
    ] {
        let description = format!("{} on port 10256", server.description().unwrap());
        let running = Some(RunningProxy { server, description, answers: true });
        assert_found(&Facts { running, ..node() }, "kube-proxy-running", severity, &[word, "10256"]);
    }
}

#[test]
fn what_a_start_says_about_the_configuration_is_a_finding() {
    let id = "configuration";
    let with = |problems: &[&str], warnings: &[&str]| {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let config = ProxyConfig { problems: texts(problems), warnings: texts(warnings), ..config() };
        Facts { config: Some(config), ..node() }
    };
    assert!(!examine(&node()).iter().any(|finding| finding.id == id), "no file, no finding");
    assert_found(&with(&[], &[]), id, Severity::Ok, &["config.conf"]);
    assert_found(&with(&["mode: \"userspace\""], &[]), id, Severity::Problem, &["config.conf: mode", "does not start"]);
    assert_found(&with(&[], &["iptables.masqueradeAll"]), id, Severity::Warning, &["config.conf: iptables."]);
    let both = examine(&with(&["a", "b"], &["c"]));
    assert_eq!(both.iter().filter(|finding| finding.id == id).count(), 3);
}

#[test]
fn loopback_networks_for_node_ports_are_not_advised_but_warned_about() {
    let id = "node-port-addresses";
    for (networks, severity) in [
        (&["127.0.0.0/8"][..], Severity::Warning),
        (&["127.0.0.1/32", "::1/128"], Severity::Warning),
        (&["127.0.0.0/8", "192.0.2.0/24"], Severity::Note),
        (&["::/0"], Severity::Note),
    ] {
        let node_port_addresses = networks.iter().map(|network| (*network).to_owned()).collect();
        let facts = Facts { config: Some(ProxyConfig { node_port_addresses, ..config() }), ..iptables_node() };
        assert_found(&facts, id, severity, networks);
        assert_eq!(found(&facts, id).1.contains("Give Pointsman the same"), severity == Severity::Note);
    }
}

#[test]
fn node_ports_on_localhost_give_a_warning_if_they_may_be_in_use() {
    let id = "localhost-node-ports";
    assert_found(&node(), id, Severity::Ok, &[]);
    assert_found(&iptables_node(), id, Severity::Warning, &["not known"]);
    let counting = |packets| {
        let mut facts = iptables_node();
        facts.metrics.localhost_node_ports = Some(packets);
        facts
    };
    assert_found(&counting(0.0), id, Severity::Note, &["no packet"]);
    assert_found(&counting(7.0), id, Severity::Warning, &["7 packets"]);
    assert_found(&Facts { route_localnet: Some(false), ..iptables_node() }, id, Severity::Ok, &[]);
    let switched_off = ProxyConfig { localhost_node_ports: false, ..config() };
    assert_found(&Facts { config: Some(switched_off), ..iptables_node() }, id, Severity::Ok, &[]);
}

#[test]
fn node_ports_on_all_addresses_give_a_warning_on_a_node_with_several() {
    let id = "node-port-addresses";
    assert_found(&iptables_node(), id, Severity::Ok, &["at most one of each family"]);
    let mut facts = iptables_node();
    facts.interfaces.push(interface("kube-ipvs0", &["10.96.0.1"]));
    assert_found(&facts, id, Severity::Ok, &[]);
    facts.interfaces.push(interface("eth1", &["198.51.100.1"]));
    assert_found(&facts, id, Severity::Warning, &["192.0.2.1 (eth0), 198.51.100.1 (eth1)", "0.0.0.0/0,::/0"]);
    facts.config = Some(ProxyConfig { node_port_addresses: vec!["192.0.2.0/24".to_owned()], ..config() });
    assert_found(&facts, id, Severity::Note, &["--nodeport-addresses 192.0.2.0/24"]);
    assert_found(&node(), id, Severity::Ok, &[]);
}

#[test]
fn invalid_packets_give_a_warning_once_kube_proxy_has_dropped_some() {
    let id = "invalid-packets";
    assert_found(&iptables_node(), id, Severity::Note, &["nf_conntrack_tcp_be_liberal=1"]);
    let mut facts = iptables_node();
    facts.metrics.invalid_dropped = Some(3.0);
    assert_found(&facts, id, Severity::Warning, &["3 invalid"]);
    facts.tcp_be_liberal = Some(true);
    assert_found(&facts, id, Severity::Ok, &[]);
    let configured = ProxyConfig { tcp_be_liberal: true, ..config() };
    assert_found(&Facts { config: Some(configured), ..node() }, id, Severity::Note, &["sysctl"]);
}

#[test]
fn policy_drop_gives_a_warning_where_kube_proxy_accepted_packets() {
    let id = "drop-policies";
    let policy = |forward| DropPolicy { place: format!("chain X{forward}"), forward };
    let dropping = vec![policy(true), policy(false)];
    assert_found(&Facts { dropping: dropping.clone(), ..node() }, id, Severity::Note, &["nothing changes"]);
    let words = ["chain Xtrue; chain Xfalse", "KUBE-FORWARD", "health checks"];
    assert_found(&Facts { dropping, ..iptables_node() }, id, Severity::Warning, &words);
    let (_, text) = found(&Facts { dropping: vec![policy(false)], ..iptables_node() }, id);
    assert!(!text.contains("KUBE-FORWARD"), "{text}");
}

#[test]
fn an_old_or_unknown_kernel_is_reported() {
    for (release, severity) in [
        ("6.1.0-13-amd64", Severity::Ok),
        ("5.10.0-32-amd64", Severity::Ok),
        ("5.9.16", Severity::Warning),
        ("4.18.0-553.el8", Severity::Warning),
        ("", Severity::Warning),
        ("banana", Severity::Warning),
    ] {
        assert_found(&Facts { kernel: release.to_owned(), ..node() }, "kernel", severity, &[release]);
    }
    assert_found(&node(), "kernel", Severity::Ok, &["writes nothing"]);
}

#[test]
fn a_node_that_does_not_forward_is_reported() {
    assert_found(&Facts { forwards_ipv4: Some(false), ..node() }, "ip-forward", Severity::Problem, &["ip_forward"]);
    let no_ipv6_forwarding = Facts { forwards_ipv6: Some(false), ..node() };
    assert_found(&no_ipv6_forwarding, "ip-forward", Severity::Note, &["ipv6"]);
    assert_found(&Facts { ipv6: false, ..no_ipv6_forwarding }, "ip-forward", Severity::Ok, &[]);
    assert_found(&Facts { ipv6: false, ..node() }, "ipv6", Severity::Ok, &["only IPv4"]);
}

#[test]
fn an_unsuitable_nft_is_a_problem_only_where_the_backend_needs_it() {
    let why = || Err("nft is 1.0.6".to_owned());
    assert_found(&Facts { nft: NftProgram::Needed(why()), ..node() }, "nft", Severity::Problem, &["1.0.6"]);
    assert_found(&Facts { nft: NftProgram::Fallback(why()), ..node() }, "nft", Severity::Ok, &["1.0.6"]);
    assert_found(&Facts { nft: NftProgram::Needed(Ok("1.1.3".to_owned())), ..node() }, "nft", Severity::Ok, &["1.1.3"]);
}

#[test]
fn other_service_proxies_are_recognised_by_interfaces_and_pinned_maps() {
    let id = "other-proxies";
    let with = |name: &str| {
        let mut facts = node();
        facts.interfaces.push(interface(name, &[]));
        facts
    };
    assert_found(&node(), id, Severity::Ok, &["no other Service proxy"]);
    assert_found(&with("flannel.1"), id, Severity::Ok, &["flannel"]);
    assert_found(&with("cali1234"), id, Severity::Ok, &["Calico"]);
    assert_found(&with("cilium_host"), id, Severity::Warning, &["Cilium", "KubeProxyReplacement"]);
    assert_found(&with("bpfin.cali"), id, Severity::Warning, &["eBPF"]);
    assert_found(&with("kube-dummy-if"), id, Severity::Warning, &["kube-router"]);
    assert_found(&with("nodelocaldns"), id, Severity::Note, &["NOTRACK"]);
    let pinned = |name: &str| Facts { pinned: vec![name.to_owned()], ..node() };
    assert_found(&pinned("cilium_lb4_services_v2"), id, Severity::Warning, &["Cilium"]);
    assert_found(&pinned("cali_v4_nat_fe3"), id, Severity::Warning, &["Calico"]);
    assert_found(&pinned("snap"), id, Severity::Ok, &[]);
}

#[test]
fn calico_that_follows_kube_proxys_mode_gives_a_warning() {
    let id = "calico-nftables-mode";
    let with = |interfaces: &[&str], tables: &[&str]| {
        let mut facts = node();
        facts.interfaces.extend(interfaces.iter().map(|name| interface(name, &[])));
        facts.tables = tables.iter().map(|table| (*table).to_owned()).collect();
        facts
    };
    let is_absent = |facts: &Facts| !examine(facts).iter().any(|finding| finding.id == id);
    assert!(is_absent(&with(&["flannel.1"], &["ip kube-proxy"])));
    assert!(is_absent(&with(&["cali1234", "bpfin.cali"], &["ip kube-proxy"])));
    assert_found(&with(&["cali1234"], &["ip filter"]), id, Severity::Ok, &["does not use nftables"]);
    assert_found(
        &with(&["cali1234"], &["ip kube-proxy", "ip6 kube-proxy"]),
        id,
        Severity::Warning,
        &["nftablesMode: Enabled"],
    );
    assert_found(
        &with(&["cali1234"], &["ip calico"]),
        id,
        Severity::Warning,
        &["Calico uses nftables", "Installation"],
    );
}

#[test]
fn rules_that_cannot_be_removed_or_inspected_give_warnings() {
    let facts = Facts { not_inspected: vec!["no iptables".to_owned()], legacy: true, ..iptables_node() };
    assert_found(&facts, "not-inspected", Severity::Warning, &["no iptables"]);
    assert_found(&facts, "legacy-iptables", Severity::Warning, &["iptables-legacy-restore"]);
    let facts = Facts { kept: vec!["KUBE-MARK-MASQ (from CNI-HOSTPORT)".to_owned()], ..iptables_node() };
    assert_found(&facts, "kept-chains", Severity::Note, &["KUBE-MARK-MASQ (from CNI-HOSTPORT)"]);
}

#[test]
fn ipvs_mode_breaks_connections_and_leaves_virtual_services_of_node_ports() {
    let config = ProxyConfig { mode: "ipvs".to_owned(), ipvs_scheduler: "lc".to_owned(), ..config() };
    let facts = Facts { modes: vec!["ipvs"], config: Some(config), other_ipvs: 2, ..node() };
    assert_found(&facts, "ipvs", Severity::Warning, &["scheduler lc", "2 virtual services"]);
    let (_, text) = found(&Facts { other_ipvs: 0, ..facts }, "ipvs");
    assert!(!text.contains("ipvsadm"), "{text}");
    assert!(!examine(&node()).iter().any(|finding| finding.id == "ipvs"));
}
