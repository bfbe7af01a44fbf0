use super::*;
use crate::apply::netlink::rules::put;
use crate::dataplane::{AffinityStep, Chain, EndpointList, Frontend, LocalPods, Options, Program, ProgramFeatures};
use crate::netlink::MessageWriter;

/// Programs with every kind of rule.
fn programs() -> Vec<Program> {
    let local_pods = [
        LocalPods::Unknown,
        LocalPods::Interface("veth+".to_owned()),
        LocalPods::Interface("cni*".to_owned()),
        LocalPods::Networks(vec!["10.128.0.0/16".parse().unwrap(), "fd00:10:128::/64".parse().unwrap()]),
        LocalPods::Networks(vec!["10.128.0.0/14".parse().unwrap(), "fd00:10:128::/61".parse().unwrap()]),
        LocalPods::Networks(vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]),
    ];
    let class = |n| SizeClass::for_endpoints(n).unwrap();
    let features = ProgramFeatures {
        internal: vec![class(3), class(1), class(16)],
        classes: EndpointList::ALL.map(|list| (list, class(9))).to_vec(),
        affinity: EndpointList::ALL.into_iter().flat_map(|list| [(list, class(2)), (list, class(9))]).collect(),
        source_checks: true,
    };
    let mut programs = Vec::new();
    for (n, local_pods) in local_pods.into_iter().enumerate() {
        let every_node_address = if n % 2 == 0 { Family::ALL.into() } else { Vec::new().into_iter().collect() };
        let options = Options {
            local_pods,
            masquerade_all: n == 5,
            every_node_address,
            counters: n % 2 == 0,
            ..Options::default()
        };
        programs.extend(Family::ALL.map(|family| Program::new(family, &options, &features)));
    }
    programs
}

/// The chains of frontends with session affinity and source ranges, and of a NodePort with affinity.
fn own_chains() -> Vec<Chain> {
    let web = Frontend { addr: [10, 96, 0, 1].into(), protocol: Protocol::Tcp, port: 80 };
    let web6 = Frontend { addr: "fd00:96::1".parse().unwrap(), ..web };
    let frontends = [web, web6, Frontend::node_port(Family::Ip6, Protocol::Udp, 30_053)];
    let chains = frontends.map(|frontend| AffinityStep::ALL.map(|step| Chain::with_affinity(step, frontend, 10_800)));
    let checks = [web, web6].map(Chain::check_sources);
    [chains.concat(), checks.to_vec()].concat()
}

#[test]
fn every_rule_of_the_program_is_decoded_to_itself() {
    let mut count = 0;
    let chains = programs().into_iter().flat_map(|program| program.chains).chain(own_chains());
    for rule in chains.flat_map(|chain| chain.rules) {
        let mut writer = MessageWriter::default();
        put(&mut writer, &rule);
        assert_eq!(decode(rule.family, Attributes(&writer.bytes)).as_ref(), Some(&rule), "{rule}");
        count += 1;
    }
    assert!(count > 1_000, "{count}");
}

#[test]
fn a_rule_with_one_bit_changed_is_another_rule_or_none() {
    let chains = programs().swap_remove(2).chains.into_iter().chain(own_chains());
    for rule in chains.flat_map(|chain| chain.rules) {
        let mut writer = MessageWriter::default();
        put(&mut writer, &rule);
        for (n, byte) in writer.bytes.clone().iter().enumerate() {
            writer.bytes[n] = byte ^ 0x20;
            let decoded = decode(rule.family, Attributes(&writer.bytes));
            // Padding has no meaning, and neither has the header of an attribute whose value is 0.
            let value = writer.bytes.get(n / 4 * 4 + 4..n / 4 * 4 + 8);
            let may_change = *byte == 0 || value.is_none_or(|value| value == [0; 4]);
            assert!(may_change || decoded.as_ref() != Some(&rule), "{rule}: nothing depends on byte {n}, {byte}");
            writer.bytes[n] = *byte;
        }
    }
}
