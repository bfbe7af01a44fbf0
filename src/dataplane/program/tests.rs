use super::*;
use crate::dataplane::{AffinityStep, Frontend};

fn text(program: &Program, chain: &str) -> Vec<String> {
    let chain = program.chains.iter().find(|c| c.name.0 == chain).expect("chain");
    chain.rules.iter().map(Rule::to_string).collect()
}

fn classes(endpoints: &[usize]) -> ProgramFeatures {
    let classes: Vec<SizeClass> = endpoints.iter().filter_map(|n| SizeClass::for_endpoints(*n)).collect();
    let external = classes.iter().map(|class| (EndpointList::Any, *class)).collect();
    ProgramFeatures { internal: classes, classes: external, ..ProgramFeatures::default() }
}

fn pods_in(network: &str) -> Options {
    let networks = vec![network.parse().expect("network")];
    Options { local_pods: LocalPods::Networks(networks), ..Options::default() }
}

#[test]
fn rules_read_like_nft() {
    let options = pods_in("10.128.0.0/16");
    let program = Program::new(Family::Ip, &options, &classes(&[1, 4, 9]));
    assert_eq!(
        text(&program, "services"),
        [
            "ip daddr . meta l4proto . th dport @internal-1 goto from-internal-1",
            "ip daddr @cluster-ips jump to-cluster-ip",
            "ip daddr . meta l4proto . th dport @external goto from-external",
            "ip daddr . meta l4proto . th dport @external-local goto from-external-local",
            "ip daddr @nodeport-ips goto to-node",
        ]
    );
    assert_eq!(
        text(&program, "to-cluster-ip"),
        [
            "ip daddr . meta l4proto . th dport @internal-4 goto from-internal-4",
            "ip daddr . meta l4proto . th dport @internal-16 goto from-internal-16",
        ]
    );
    assert_eq!(
        text(&program, "to-node"),
        [
            "meta l4proto . th dport @nodeports goto from-nodeport",
            "meta l4proto . th dport @nodeports-local goto from-nodeport-local",
        ]
    );
    assert_eq!(
        text(&program, "from-nodeport-local"),
        [
            "ip saddr 10.128.0.0/16 goto nodeport-any",
            "fib saddr type local jump mark-for-masquerade",
            "fib saddr type local goto nodeport-any",
            "goto nodeport-local",
        ]
    );
    assert_eq!(
        text(&program, "from-internal-4"),
        ["ip saddr != 10.128.0.0/16 jump mark-for-masquerade", "goto pick-4"]
    );
    assert_eq!(
        text(&program, "endpoints-any"),
        [
            "ip daddr . meta l4proto . th dport @slots-1 goto pick-1",
            "ip daddr . meta l4proto . th dport @slots-4 goto pick-4",
            "ip daddr . meta l4proto . th dport @slots-16 goto pick-16",
        ]
    );
    for class in [1, 4] {
        let draw = format!("dnat ip to ip daddr . meta l4proto . th dport . numgen random mod {class} map @endpoints");
        assert_eq!(text(&program, &format!("pick-{class}")), [draw]);
    }
    let draw = "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 16 map @endpoints";
    assert_eq!(text(&program, "draw-16"), [draw]);
    let (last, draws) =
        text(&program, "pick-16").split_last().map(|(last, draws)| (last.clone(), draws.to_vec())).unwrap();
    assert_eq!(draws, ["jump draw-16"; UNBIASED_DRAWS]);
    assert_eq!(last, draw.replace("mod 16", "mod 8"));
    assert_eq!(
        text(&program, "nat-postrouting"),
        [
            "meta mark & 0x4000 == 0x4000 meta mark set meta mark ^ 0x4000 masquerade fully-random",
            "ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin masquerade fully-random",
        ]
    );
}

#[test]
fn without_a_pod_network_of_the_family_cluster_ips_are_not_masqueraded() {
    let options = pods_in("10.128.0.0/16");
    let program = Program::new(Family::Ip6, &options, &classes(&[1]));
    assert_eq!(text(&program, "from-internal-1"), ["goto pick-1"]);
    let all = Program::new(Family::Ip6, &Options { masquerade_all: true, ..options }, &classes(&[1]));
    assert_eq!(text(&all, "from-internal-1"), ["jump mark-for-masquerade", "goto pick-1"]);
}

#[test]
fn pods_are_recognised_by_interface_and_node_ports_accepted_on_every_address() {
    let options = Options {
        local_pods: LocalPods::Interface("cali*".to_owned()),
        masquerade_bit: 3,
        every_node_address: BTreeSet::from([Family::Ip6]),
        ..Options::default()
    };
    let program = Program::new(Family::Ip6, &options, &classes(&[1]));
    assert_eq!(text(&program, "from-internal-1"), ["iifname != \"cali*\" jump mark-for-masquerade", "goto pick-1"]);
    assert_eq!(text(&program, "mark-for-masquerade"), ["meta mark set meta mark | 0x8"]);
    assert_eq!(
        text(&program, "check-nodeports"),
        [
            "fib daddr type local ip6 daddr != ::1/128 meta l4proto . th dport @drop-nodeports drop",
            "fib daddr type local ip6 daddr != ::1/128 meta l4proto . th dport @reject-nodeports goto refuse",
            "goto check-endpoints",
        ]
    );
    assert_eq!(text(&program, "services")[4], "fib daddr type local ip6 daddr != ::1/128 goto to-node");
}

#[test]
fn a_fingerprint_changes_with_the_rules() {
    let one = Program::new(Family::Ip, &Options::default(), &classes(&[1]));
    let two = Program::new(Family::Ip, &Options::default(), &classes(&[1, 2]));
    let fingerprint = |p: &Program, name: &str| p.chains.iter().find(|c| c.name.0 == name).map(Chain::fingerprint);
    assert_ne!(fingerprint(&one, "endpoints-any"), fingerprint(&two, "endpoints-any"));
    assert_eq!(fingerprint(&one, "services"), fingerprint(&two, "services"), "the first class is the same");
    // Written into kernels by earlier versions: a change of the hash would rewrite every chain once.
    assert_eq!(fingerprint(&one, "refuse"), Some(0x7dce_c13e_2cee_7f45));
}

#[test]
fn classes_are_tested_in_the_given_order() {
    let program = Program::new(Family::Ip, &Options::default(), &classes(&[4, 1]));
    let tested = text(&program, "endpoints-any");
    assert!(tested[0].ends_with("goto pick-4") && tested[1].ends_with("goto pick-1"), "{tested:?}");
    assert!(text(&program, "services")[0].ends_with("goto from-internal-4"));
    assert!(text(&program, "to-cluster-ip")[0].ends_with("goto from-internal-1"));
    let noted = |name: &str| program.chains.iter().find(|c| c.name.0 == name).map(|c| c.classes.as_slice());
    assert_eq!([noted("services"), noted("to-cluster-ip")].map(Option::unwrap).concat(), classes(&[4, 1]).internal);
}

#[test]
fn a_class_that_only_cluster_ips_use_has_a_pick_chain() {
    let parts = ProgramFeatures { classes: Vec::new(), ..classes(&[2]) };
    let program = Program::new(Family::Ip, &Options::default(), &parts);
    assert_eq!(text(&program, "pick-2").len(), 1);
    assert_eq!(text(&program, "endpoints-any"), [""; 0]);
}

#[test]
fn only_untranslated_connections_are_checked() {
    let program = Program::new(Family::Ip, &Options::default(), &ProgramFeatures::default());
    assert_eq!(text(&program, "filter-input"), ["ct state new ct status ! dnat jump check-nodeports"]);
    for chain in ["filter-forward", "filter-output"] {
        assert_eq!(text(&program, chain), ["ct state new ct status ! dnat jump check-cluster-ips"]);
    }
    assert_eq!(
        text(&program, "check-cluster-ips"),
        ["jump check-endpoints", "ip daddr @cluster-ips goto refuse", "ip daddr @service-cidrs drop"]
    );
}

#[test]
fn sources_are_checked_only_if_a_service_restricts_them() {
    let early = ["drop-other-sources", "check-sources", "filter-prerouting", "filter-output-early"];
    let without = Program::new(Family::Ip, &Options::default(), &classes(&[1]));
    assert!(without.chains.iter().all(|chain| !early.contains(&&*chain.name.0)));
    assert!(!without.sets.contains(&SetName::SourceChecks));
    let parts = ProgramFeatures { source_checks: true, ..classes(&[1]) };
    let with = Program::new(Family::Ip, &Options::default(), &parts);
    assert_eq!(with.chains.len(), without.chains.len() + early.len());
    assert_eq!(with.sets.len(), without.sets.len() + 1);
    assert_eq!(text(&with, "drop-other-sources"), ["drop"]);
    assert_eq!(text(&with, "filter-prerouting"), ["ct state new jump check-sources"]);
    assert_eq!(text(&with, "check-sources"), ["ip daddr . meta l4proto . th dport vmap @source-checks"]);
    let six = Program::new(Family::Ip6, &Options::default(), &parts);
    assert_eq!(text(&six, "check-sources"), ["ip6 daddr . meta l4proto . th dport vmap @source-checks"]);
}

#[test]
fn the_sources_of_a_frontend_are_found_in_one_look_up_of_its_own_set() {
    let frontend = Frontend { addr: [203, 0, 113, 1].into(), protocol: Protocol::Tcp, port: 80 };
    let chain = Chain::check_sources(frontend);
    let rules: Vec<String> = chain.rules.iter().map(ToString::to_string).collect();
    assert_eq!(rules, ["ip saddr @sources-203.0.113.1-tcp-80 return", "goto drop-other-sources"]);
    assert_eq!(chain.name.to_string(), "check-sources-203.0.113.1-tcp-80");
}

fn affinity(classes: &[(EndpointList, usize)]) -> ProgramFeatures {
    let class = |(list, endpoints): &(EndpointList, usize)| Some((*list, SizeClass::for_endpoints(*endpoints)?));
    ProgramFeatures { affinity: classes.iter().filter_map(class).collect(), ..self::classes(&[1, 2]) }
}

#[test]
fn only_frontends_with_session_affinity_pay_for_it() {
    let without = Program::new(Family::Ip, &Options::default(), &classes(&[1, 2]));
    let with =
        Program::new(Family::Ip, &Options::default(), &affinity(&[(EndpointList::Any, 3), (EndpointList::Any, 9)]));
    for chain in ["services", "from-internal-1", "from-internal-2", "pick-1", "nat-postrouting", "nat-prerouting"] {
        assert_eq!(text(&with, chain), text(&without, chain), "{chain}");
    }
    let key = "ip daddr . meta l4proto . th dport";
    let last = |chain: &str| text(&with, chain).last().cloned().unwrap();
    assert_eq!(last("to-cluster-ip"), format!("{key} @internal-affinity goto from-internal-affinity"));
    assert_eq!(text(&with, "from-internal-affinity"), ["goto affinity"]);
    assert_eq!(last("endpoints-any"), "goto affinity");
    assert_eq!(text(&with, "endpoints-local"), text(&without, "endpoints-local"));
    let sets = |program: &Program| program.sets.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let expected = [
        "affinity-slots-16",
        "affinity-slots-3",
        "endpoint-ids",
        "endpoints-by-id",
        "internal-affinity",
        "recall-clients",
        "remember-clients",
    ];
    assert!(sets(&with).difference(&sets(&without)).eq(expected));
}

#[test]
fn an_id_is_drawn_as_an_endpoint_is() {
    let program =
        Program::new(Family::Ip, &Options::default(), &affinity(&[(EndpointList::Any, 3), (EndpointList::Any, 9)]));
    let key = "ip daddr . meta l4proto . th dport";
    assert_eq!(
        text(&program, "draw-id"),
        [format!("{key} @affinity-slots-3 goto draw-id-3"), format!("{key} @affinity-slots-16 goto draw-id-16"),]
    );
    assert_eq!(
        text(&program, "draw-id-3"),
        [format!("meta priority set {key} . numgen random mod 3 map @endpoint-ids return")]
    );
    assert_eq!(text(&program, "draw-id-16").len(), UNBIASED_DRAWS + 1);
    assert!(text(&program, "draw-id-16")[UNBIASED_DRAWS].contains("mod 8"));
    let by_id = format!("dnat ip to {key} . meta priority map @endpoints-by-id");
    assert_eq!(
        text(&program, "affinity"),
        [
            format!("meta priority set none {key} vmap @recall-clients"),
            format!("meta priority != none {by_id}"),
            "jump draw-id".to_owned(),
            format!("{key} vmap @remember-clients"),
            by_id.clone(),
            "jump draw-id".to_owned(),
            by_id
        ]
    );
}

#[test]
fn the_chains_of_a_frontend_refer_to_its_own_map_alone() {
    let port = Frontend::node_port(Family::Ip6, Protocol::Udp, 30_053);
    let rules = |step| {
        let chain = Chain::with_affinity(step, port, 60);
        let stamp = format!(" comment \"program {:016x} timeout 60\"", chain.fingerprint());
        let rules = chain.stamped_rules();
        assert!(rules[0].to_string().ends_with(&stamp), "{}", rules[0]);
        chain.rules.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let remember = "update @clients-__-udp-30053 { ip6 saddr timeout 60s : meta priority } return";
    let recall = format!("meta priority set ip6 saddr map @clients-__-udp-30053 {remember}");
    assert_eq!(rules(AffinityStep::Recall), [recall]);
    let forget = "delete @clients-__-udp-30053 { ip6 saddr : meta priority }";
    assert_eq!(rules(AffinityStep::Remember), [forget, remember]);
}
