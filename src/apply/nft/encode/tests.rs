use super::*;
use crate::dataplane::{Action, ChainType, Endpoint, EndpointList, Expr, Hook, Key, Protocol, SizeClass};
use crate::fixtures::{frontend, ip};

/// The commands of a batch, without their envelope.
fn commands(operations: &[Operation]) -> String {
    let json = String::from_utf8(encode(operations).unwrap()).unwrap();
    let inner = json.strip_prefix(r#"{"nftables":["#).and_then(|json| json.strip_suffix("]}"));
    inner.unwrap_or_else(|| panic!("no envelope: {json}")).to_owned()
}

fn member(set: SetName, key: Key, comment: Option<&str>) -> Element {
    Element { comment: comment.map(Into::into), ..Element::member(set, key) }
}

fn slot(slot: u32, last_byte: u8) -> Element {
    Element::slot(
        EndpointList::Any,
        frontend("10.96.0.1 80/tcp"),
        slot,
        Endpoint { addr: [10, 1, 0, last_byte].into(), port: 8080 },
    )
}

fn network(text: &str) -> Element {
    Element::member(SetName::ServiceCidrs, Key::Network(text.parse().unwrap()))
}

#[test]
fn elements_are_written_as_nft_reads_them() {
    let web = Key::Frontend(frontend("10.96.0.1 80/tcp"));
    let hairpin = Key::Hairpin(Endpoint { addr: ip("fd00:1::1"), port: 8080 }, Protocol::Sctp);
    let class = SetName::Slots(EndpointList::Any, SizeClass::MAX);
    #[rustfmt::skip]
    let cases = [
        (member(SetName::ClusterIps, Key::Addr(ip("10.96.0.1")), None), r#"{"element":{"family":"ip","table":"pointsman","name":"cluster-ips","elem":["10.96.0.1"]}}"#),
        (network("10.96.0.0/16"), r#"{"element":{"family":"ip","table":"pointsman","name":"service-cidrs","elem":[{"prefix":{"addr":"10.96.0.0","len":16}}]}}"#),
        (network("fd00:96::/112"), r#"{"element":{"family":"ip6","table":"pointsman","name":"service-cidrs","elem":[{"prefix":{"addr":"fd00:96::","len":112}}]}}"#),
        (member(SetName::External, web, Some("shop/web:http")), r#"{"element":{"family":"ip","table":"pointsman","name":"external","elem":[{"elem":{"val":{"concat":["10.96.0.1","tcp",80]},"comment":"shop/web:http"}}]}}"#),
        (member(class, web, None), r#"{"element":{"family":"ip","table":"pointsman","name":"slots-65536","elem":[{"concat":["10.96.0.1","tcp",80]}]}}"#),
        (member(SetName::Hairpin, hairpin, None), r#"{"element":{"family":"ip6","table":"pointsman","name":"hairpin","elem":[{"concat":["fd00:1::1","fd00:1::1","sctp",8080]}]}}"#),
        (slot(65_535, 7), r#"{"element":{"family":"ip","table":"pointsman","name":"endpoints","elem":[[{"concat":["10.96.0.1","tcp",80,65535]},{"concat":["10.1.0.7",8080]}]]}}"#),
    ];
    for (element, expected) in cases {
        assert_eq!(commands(&[Operation::add_element(element)]), format!(r#"{{"add":{expected}}}"#));
    }
}

#[test]
fn an_element_is_deleted_by_its_key_alone() {
    let commented = member(SetName::External, Key::Frontend(frontend("10.96.0.1 80/tcp")), Some("shop/web:http"));
    #[rustfmt::skip]
    let cases = [
        (commented, r#"{"delete":{"element":{"family":"ip","table":"pointsman","name":"external","elem":[{"concat":["10.96.0.1","tcp",80]}]}}}"#),
        (slot(0, 7), r#"{"delete":{"element":{"family":"ip","table":"pointsman","name":"endpoints","elem":[{"concat":["10.96.0.1","tcp",80,0]}]}}}"#),
    ];
    for (element, expected) in cases {
        assert_eq!(commands(&[Operation::delete_element(element)]), expected);
    }
}

#[test]
fn objects_of_the_program_are_written_as_nft_reads_them() {
    let ip = |object| Operation::add(Family::Ip, object);
    let base = BaseChain { kind: ChainType::Nat, hook: Hook::Prerouting, priority: -100 };
    let unknown = |is_map| Object::UnknownSet { name: "old".to_owned(), is_map };
    #[rustfmt::skip]
    let cases = [
        (ip(Object::Table), r#"{"add":{"table":{"family":"ip","name":"pointsman"}}}"#),
        (Operation::delete(Family::Ip6, Object::Table), r#"{"delete":{"table":{"family":"ip6","name":"pointsman"}}}"#),
        (ip(Object::Chain("refuse".into(), None)), r#"{"add":{"chain":{"family":"ip","table":"pointsman","name":"refuse"}}}"#),
        (ip(Object::Chain("nat-prerouting".into(), Some(base))), r#"{"add":{"chain":{"family":"ip","table":"pointsman","name":"nat-prerouting","type":"nat","hook":"prerouting","prio":-100,"policy":"accept"}}}"#),
        (Operation::delete(Family::Ip, Object::Chain("nat-prerouting".into(), Some(base))), r#"{"delete":{"chain":{"family":"ip","table":"pointsman","name":"nat-prerouting"}}}"#),
        (Operation::flush(Family::Ip, "refuse".into()), r#"{"flush":{"chain":{"family":"ip","table":"pointsman","name":"refuse"}}}"#),
        (ip(Object::Set(SetName::ClusterIps)), r#"{"add":{"set":{"family":"ip","table":"pointsman","name":"cluster-ips","type":{"typeof":{"payload":{"protocol":"ip","field":"daddr"}}}}}}"#),
        (ip(Object::Set(SetName::ServiceCidrs)), r#"{"add":{"set":{"family":"ip","table":"pointsman","name":"service-cidrs","type":{"typeof":{"payload":{"protocol":"ip","field":"daddr"}}},"flags":["interval"]}}}"#),
        (ip(Object::Set(SetName::External)), r#"{"add":{"set":{"family":"ip","table":"pointsman","name":"external","type":{"typeof":{"concat":[{"payload":{"protocol":"ip","field":"daddr"}},{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}}]}}}}}"#),
        (ip(Object::Set(SetName::Endpoints(EndpointList::Any))), r#"{"add":{"map":{"family":"ip","table":"pointsman","name":"endpoints","type":{"typeof":{"concat":[{"payload":{"protocol":"ip","field":"daddr"}},{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}},{"numgen":{"mode":"random","mod":2,"offset":0}}]}},"map":{"typeof":{"concat":[{"payload":{"protocol":"ip","field":"daddr"}},{"ct":{"key":"proto-dst","dir":"original"}}]}}}}}"#),
        (Operation::delete(Family::Ip, Object::Set(SetName::Endpoints(EndpointList::Any))), r#"{"delete":{"map":{"family":"ip","table":"pointsman","name":"endpoints"}}}"#),
        (Operation::delete(Family::Ip, unknown(false)), r#"{"delete":{"set":{"family":"ip","table":"pointsman","name":"old"}}}"#),
        (Operation::delete(Family::Ip, unknown(true)), r#"{"delete":{"map":{"family":"ip","table":"pointsman","name":"old"}}}"#),
    ];
    for (operation, expected) in cases {
        assert_eq!(commands(&[operation]), expected);
    }
}

#[test]
fn rules_are_written_as_nft_reads_them() {
    use crate::dataplane::Condition::{CtStateNew, CtStatusDnat, CtStatusNoDnat, HasId, L4Proto, Mark, SaddrNotIn};
    let rule = |family, action| Rule::new(family, action);
    let random = Expr::key_of(SetName::Endpoints(EndpointList::Any)).random_slot(SizeClass::for_endpoints(4).unwrap());
    let stamped = Rule { comment: Some("program 1".to_owned()), ..rule(Family::Ip, Action::Drop) };
    let elsewhere = SaddrNotIn("10.128.0.0/16".parse().unwrap());
    #[rustfmt::skip]
    let cases = [
        (stamped, r#""comment":"program 1","expr":[{"drop":null}]"#),
        (rule(Family::Ip, Action::Jump("services".into())).when(CtStateNew), r#""expr":[{"match":{"left":{"ct":{"key":"state"}},"right":"new","op":"in"}},{"jump":{"target":"services"}}]"#),
        (rule(Family::Ip, Action::Goto("mark".into())).when(elsewhere), r#""expr":[{"match":{"left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"prefix":{"addr":"10.128.0.0","len":16}},"op":"!="}},{"goto":{"target":"mark"}}]"#),
        (rule(Family::Ip, Action::Drop).when(SetName::ClusterIps.into()), r#""expr":[{"match":{"left":{"payload":{"protocol":"ip","field":"daddr"}},"right":"@cluster-ips","op":"=="}},{"drop":null}]"#),
        (rule(Family::Ip, Action::RejectTcpReset).when(L4Proto(Protocol::Tcp)), r#""expr":[{"match":{"left":{"meta":{"key":"l4proto"}},"right":"tcp","op":"=="}},{"reject":{"type":"tcp reset"}}]"#),
        (rule(Family::Ip, Action::Reject), r#""expr":[{"reject":{"type":"icmp","expr":"port-unreachable"}}]"#),
        (rule(Family::Ip6, Action::Reject), r#""expr":[{"reject":{"type":"icmpv6","expr":"port-unreachable"}}]"#),
        (rule(Family::Ip, Action::SetMark(0x4000)), r#""expr":[{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"|":[{"meta":{"key":"mark"}},16384]}}}]"#),
        (rule(Family::Ip, Action::ClearMarkAndMasquerade(0x4000)).when(Mark(0x4000)), r#""expr":[{"match":{"left":{"&":[{"meta":{"key":"mark"}},16384]},"right":16384,"op":"=="}},{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"^":[{"meta":{"key":"mark"}},16384]}}},{"masquerade":{"flags":["fully-random"]}}]"#),
        (rule(Family::Ip, Action::Drop).when(CtStatusNoDnat), r#""expr":[{"match":{"left":{"&":[{"ct":{"key":"status"}},"dnat"]},"right":0,"op":"=="}},{"drop":null}]"#),
        (rule(Family::Ip, Action::Masquerade).when(CtStatusDnat), r#""expr":[{"match":{"left":{"ct":{"key":"status"}},"right":"dnat","op":"in"}},{"masquerade":{"flags":["fully-random"]}}]"#),
        (rule(Family::Ip, Action::Drop).when(HasId), r#""expr":[{"match":{"left":{"meta":{"key":"priority"}},"right":"none","op":"!="}},{"drop":null}]"#),
        (rule(Family::Ip, Action::DnatTo(random, SetName::Endpoints(EndpointList::Any))), r#""expr":[{"dnat":{"addr":{"map":{"key":{"concat":[{"payload":{"protocol":"ip","field":"daddr"}},{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}},{"numgen":{"mode":"random","mod":4,"offset":0}}]},"data":"@endpoints"}},"family":"ip"}}]"#),
    ];
    for (rule, expected) in cases {
        let family = rule.family.nft();
        let written = commands(&[Operation::add(rule.family, Object::Rule("c".into(), Box::new(rule)))]);
        let expected =
            format!(r#"{{"add":{{"rule":{{"family":"{family}","table":"pointsman","chain":"c",{expected}}}}}}}"#);
        assert_eq!(written, expected);
    }
}

#[test]
fn an_empty_batch_has_no_commands() {
    assert_eq!(commands(&[]), "");
}

/// The number of elements in each command of a batch.
fn runs(operations: &[Operation]) -> Vec<usize> {
    let batch: serde_json::Value = serde_json::from_slice(&encode(operations).unwrap()).unwrap();
    let commands = batch["nftables"].as_array().unwrap().iter();
    commands
        .map(|command| {
            command.as_object().unwrap().values().next().unwrap()["element"]["elem"].as_array().map_or(0, Vec::len)
        })
        .collect()
}

#[test]
fn only_neighbouring_elements_of_one_set_share_a_command() {
    let add = |element: &Element| Operation::add_element(element.clone());
    let delete = |element: &Element| Operation::delete_element(element.clone());
    let (a, b, other) = (slot(0, 1), slot(1, 2), network("10.96.0.0/16"));
    let other_family = network("fd00:96::/112");
    for (operations, expected) in [
        (vec![add(&a), add(&b)], vec![2]),
        (vec![delete(&a), add(&a)], vec![1, 1]),
        (vec![add(&a), add(&other), add(&b)], vec![1, 1, 1]),
        (vec![add(&other), add(&other_family)], vec![1, 1]),
        (vec![Operation::add(Family::Ip, Object::Table), Operation::add(Family::Ip, Object::Table)], vec![0, 0]),
    ] {
        assert_eq!(runs(&operations), expected);
    }
}
