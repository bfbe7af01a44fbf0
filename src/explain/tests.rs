use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::dataplane::{Element, Family, Key, Options, Packet, Protocol, SetName, Value};
use crate::diff::Acknowledged;
use crate::fixtures::{NODE, World, frontend, ip, node, service, service_cidr, slice};
use crate::state::{Decoded, EndpointPlace, EndpointReason, Event, Guards, Node, SliceEndpoint, View};

mod causes;
mod questions;
mod sights;

/// The rules and elements of a world's kernel.
fn ruleset(world: &World) -> Ruleset {
    let tables = world.kernel.contents(&[Family::Ip]);
    let held = Acknowledged::from(tables.clone());
    match (tables.get(Family::Ip), held.features(Family::Ip)) {
        (Some(contents), Some(features)) => Ruleset::from_contents(Family::Ip, contents, &Options::default(), features),
        _ => Ruleset::default(),
    }
}

/// What becomes of a TCP connection from outside.
fn explained(world: &World, from: &str, to: &str, dport: u16) -> Explanation {
    let iif = Some("eth0".to_owned());
    let packet = Packet { saddr: ip(from), daddr: ip(to), protocol: Protocol::Tcp, dport, iif, opens: true };
    explain(world.engine.snapshot(), &ruleset(world), &packet, &BTreeSet::from([ip("192.0.2.1")]))
}

fn reasons(explanation: &Explanation) -> Vec<String> {
    explanation.endpoints.iter().map(|share| format!("{} {}", share.endpoint.addr, share.code())).collect()
}

fn web() -> World {
    World::with([
        service("shop/web").into(),
        service("shop/none").ips(&["10.96.0.2"]).into(),
        service("shop/local").ips(&["10.96.0.3"]).local().into(),
        service("shop/sticky").ips(&["10.96.0.4"]).affinity(60).into(),
        slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r, 10.1.0.3 R -, 10.1.0.4 R st, 10.1.0.5 R t").into(),
        slice("shop/local-1").ready(&["10.1.1.1"]).into(),
        slice("shop/sticky-1").ready(&["10.1.2.1", "10.1.2.2"]).into(),
        Event::ServiceCidrApplied(service_cidr("all", &["10.96.0.0/16"])),
    ])
}

#[test]
fn every_verdict_has_its_reason() {
    let world = web();
    for (to, dport, verdict, reason) in [
        ("10.96.0.1", 80, Verdict::Delivered, VerdictReason::Balanced),
        ("10.96.0.2", 80, Verdict::Refused, VerdictReason::NoEndpoint),
        ("10.96.0.3", 80, Verdict::Dropped, VerdictReason::NoLocalEndpoint),
        ("10.96.0.1", 81, Verdict::Refused, VerdictReason::UnknownPort),
        ("10.96.9.9", 80, Verdict::Dropped, VerdictReason::UnknownAddress),
        ("198.51.100.9", 80, Verdict::Untouched, VerdictReason::NoService),
    ] {
        let explanation = explained(&world, "203.0.113.7", to, dport);
        assert_eq!((explanation.verdict, explanation.reason), (verdict, reason), "{to}:{dport}");
    }
}

#[test]
fn every_verdict_that_is_not_delivered_says_what_to_do() {
    let world = web();
    for (to, dport, expected) in [
        ("10.96.0.2", 80, "there is no EndpointSlice of shop/none: check the selector"),
        ("10.96.0.3", 80, "run a pod of shop/local on node-a"),
        ("10.96.0.1", 81, "ask for a port that the address has: 80/tcp (shop/web:http)"),
        ("10.96.9.9", 80, "the Service may be gone"),
        ("198.51.100.9", 80, "check address, port and protocol"),
    ] {
        let fix = explained(&world, "203.0.113.7", to, dport).fix(world.snapshot());
        assert!(fix.as_ref().is_some_and(|fix| fix.contains(expected)), "{to}: {fix:?}");
    }
    assert_eq!(explained(&world, "203.0.113.7", "10.96.0.1", 80).fix(world.snapshot()), None);
}

#[test]
fn where_a_policy_leaves_no_endpoint_those_of_other_nodes_are_counted() {
    let mut world = web();
    world.apply(slice("shop/local-1").endpoints("10.1.1.1 R r, 10.1.1.2 R r, 10.1.1.3 R -, 10.1.1.4 R st"));
    let dropped = explained(&world, "203.0.113.7", "10.96.0.3", 80);
    assert_eq!(dropped.reason, VerdictReason::NoLocalEndpoint);
    assert_eq!(dropped.elsewhere(), Some([("node-b", 2)].into()));
    let said = text(&dropped, world.snapshot(), &ruleset(&world));
    assert!(said.contains("\nELSEWHERE 2 ready endpoints on other nodes: node-b 2\n"), "{said}");
    assert_eq!(explained(&world, "203.0.113.7", "10.96.0.1", 80).elsewhere(), None);
}

#[test]
fn a_source_outside_of_the_ranges_is_named_as_the_reason() {
    let Decoded::Object(web) = service("shop/web").decoded() else { panic!("a Service") };
    let mut web = (*web).clone();
    web.load_balancer_ips = vec![ip("198.51.100.1")].into();
    web.source_ranges = vec!["203.0.113.0/24".parse().unwrap()].into();
    let world = World::with([
        Event::ServiceApplied(Decoded::Object(Arc::new(web))),
        slice("shop/web-1").ready(&["10.1.0.1"]).into(),
    ]);
    let blocked = explained(&world, "192.0.2.77", "198.51.100.1", 80);
    assert_eq!((blocked.verdict, blocked.reason), (Verdict::Dropped, VerdictReason::SourceNotAllowed));
    let allowed = explained(&world, "203.0.113.7", "198.51.100.1", 80);
    assert_eq!((allowed.verdict, allowed.masquerade), (Verdict::Delivered, Masquerade::Marked));
}

#[test]
fn a_remembered_client_goes_to_its_endpoint() {
    let world = web();
    let sticky = frontend("10.96.0.4 80/tcp");
    let id = world.acknowledged().frontends[&sticky].id_of(ip("10.1.2.2")).unwrap();
    let client = Element::member(SetName::Clients(sticky), Key::Client(ip("203.0.113.7")));
    let mut ruleset = ruleset(&world);
    ruleset.add_clients(&[Element { value: Some(Value::Id(id)), ..client }]);
    let iif = Some("eth0".to_owned());
    for (from, reason, endpoints) in
        [("203.0.113.7", VerdictReason::Remembered, 1), ("203.0.113.8", VerdictReason::Balanced, 2)]
    {
        let (saddr, daddr) = (ip(from), ip("10.96.0.4"));
        let packet = Packet { saddr, daddr, protocol: Protocol::Tcp, dport: 80, iif: iif.clone(), opens: true };
        let explanation = explain(world.engine.snapshot(), &ruleset, &packet, &BTreeSet::new());
        assert_eq!(explanation.reason, reason);
        assert_eq!(explanation.endpoints.iter().filter(|share| share.reached).count(), endpoints);
    }
}

#[test]
fn what_the_rules_do_not_hold_yet_is_named() {
    let mut world = web();
    world.apply(service("shop/new").ips(&["198.51.100.9"]));
    assert_eq!(explained(&world, "203.0.113.7", "198.51.100.9", 80).reason, VerdictReason::NotProgrammed);
    world.sync();
    world.apply(slice("shop/web-1").endpoints("10.1.0.2 R r"));
    let stale = explained(&world, "203.0.113.7", "10.96.0.1", 80);
    assert_eq!(reasons(&stale), ["10.1.0.1 stale", "10.1.0.2 ready"]);
}

#[test]
fn every_endpoint_has_its_reason() {
    let world = web();
    let explanation = explained(&world, "203.0.113.7", "10.96.0.1", 80);
    let expected = ["10.1.0.1 ready", "10.1.0.2 ready", "10.1.0.3 not-ready", "10.1.0.4 terminating", "10.1.0.5 ended"];
    assert_eq!(reasons(&explanation), expected);
    assert_eq!(reasons(&explained(&world, "203.0.113.7", "10.96.0.3", 80)), ["10.1.1.1 other-node"]);
}

#[test]
fn the_last_serving_and_the_local_ones_have_their_reasons() {
    let world = World::with([
        service("shop/web").into(),
        service("shop/local").ips(&["10.96.0.3"]).local().into(),
        slice("shop/web-1").endpoints("10.1.0.1 R st").into(),
        slice("shop/local-1").endpoints("10.1.1.1 L r").into(),
    ]);
    assert_eq!(reasons(&explained(&world, "203.0.113.7", "10.96.0.1", 80)), ["10.1.0.1 last-serving"]);
    assert_eq!(reasons(&explained(&world, "203.0.113.7", "10.96.0.3", 80)), ["10.1.1.1 ready-here"]);
}

#[test]
fn hints_and_the_limit_have_their_reasons() {
    let hinted = |hints: &dyn Fn(&str) -> EndpointPlace| {
        let mut slice = (*slice("shop/web-1").build()).clone();
        slice.endpoints =
            [("10.1.0.1", "a"), ("10.1.0.2", "b")].map(|(addr, at)| SliceEndpoint::new(ip(addr), hints(at))).to_vec();
        let Decoded::Object(here) = node(NODE) else { panic!("a Node") };
        let here = Node { zone: Some("zone-a".into()), ..(*here).clone() };
        let world = World::with([
            Event::NodeApplied(Decoded::Object(Arc::new(here))),
            service("shop/web").into(),
            Event::SliceApplied(Decoded::Object(Arc::new(slice))),
        ]);
        reasons(&explained(&world, "203.0.113.7", "10.96.0.1", 80))
    };
    let list = |text: String| -> Box<[Arc<str>]> { Box::new([Arc::from(text)]) };
    let zones = hinted(&|at| EndpointPlace { zone_hints: list(format!("zone-{at}")), ..EndpointPlace::default() });
    assert_eq!(zones, ["10.1.0.1 hinted-zone", "10.1.0.2 other-zone"]);
    let nodes = hinted(&|at| EndpointPlace { node_hints: list(format!("node-{at}")), ..EndpointPlace::default() });
    assert_eq!(nodes, ["10.1.0.1 hinted-here", "10.1.0.2 hinted-elsewhere"]);
    let codes: BTreeSet<&str> = EndpointReason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), EndpointReason::ALL.len());
}

#[test]
fn an_altered_chain_on_the_way_is_named() {
    let world = web();
    let tables = world.kernel.contents(&[Family::Ip]);
    let held = Acknowledged::from(tables.clone());
    let mut contents = tables.get(Family::Ip).unwrap().clone();
    contents.chains.get_mut("services").unwrap().fingerprint = None;
    let features = held.features(Family::Ip).unwrap();
    let ruleset = Ruleset::from_contents(Family::Ip, &contents, &Options::default(), features);
    assert_eq!(ruleset.altered(), ["services"]);
}

#[test]
fn an_endpoint_that_the_operator_refuses_is_listed_with_the_option_that_refuses_it() {
    let refused_endpoint_networks = vec!["10.1.0.0/31".parse().unwrap()];
    let guards = Guards { refused_endpoint_networks, ..Guards::default() };
    let mut world = World::unlisted_from(View { node_name: NODE.into(), guards, ..View::default() });
    crate::fixtures::empty_lists().into_iter().for_each(|event| drop(world.apply(event)));
    world.apply(service("shop/web"));
    world.apply(slice("shop/web-1").endpoints("10.1.0.1 R r, 10.1.0.2 R r"));
    world.sync();
    let explanation = explained(&world, "203.0.113.7", "10.96.0.1", 80);
    assert_eq!(reasons(&explanation), ["10.1.0.2 ready", "10.1.0.1 refused-network"]);
}
