//! Random packets to random clusters: what the programmed rules and elements make of them is what a naive model says that a
//! Service proxy must do.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

#[path = "packets/between.rs"]
mod between;
mod common;
#[path = "packets/model.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use common::{NODE, cases, event, initial, node, service, slice};
use model::{HOST, Kind, Model, Setup, ip, networks};
use pointsman::apply::MemoryKernel;
use pointsman::dataplane::{Endpoint, Family, LocalPods, Packet, PacketOutcome, Protocol};
use pointsman::diff::Acknowledged;
use pointsman::engine::{Engine, EngineSettings, Moment, Next};
use pointsman::explain::{Ruleset, Verdict, VerdictReason, explain};
use pointsman::state::{Decoded, EndpointSlice, Event, NodePortAddresses, ObjectName, SlicePort, View};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn setup() -> impl Strategy<Value = Setup> {
    let local_pods = prop_oneof![
        Just(LocalPods::Unknown),
        Just(LocalPods::Networks(networks(&["10.1.0.0/16", "fd00:1::/64"]))),
        // Of each family the first counts, and here IPv6 has none.
        Just(LocalPods::Networks(networks(&["10.1.0.0/29", "10.1.0.0/16"]))),
        Just(LocalPods::Interface("cni0".to_owned())),
        Just(LocalPods::Interface("cni*".to_owned())),
    ];
    let node_ports = prop_oneof![
        3 => Just(NodePortAddresses::default()),
        1 => Just(NodePortAddresses::networks(networks(&["192.0.2.0/31", "fd00:192::/64"]))),
        1 => Just(NodePortAddresses::networks(networks(&["192.0.2.0/24"]))),
        1 => Just(NodePortAddresses::networks(networks(&["0.0.0.0/0", "fd00:192::/64"]))),
        1 => Just(NodePortAddresses::networks(Vec::new())),
        1 => proptest::sample::select(vec!["192.0.2.0/31", "fd00:192::/64", "::/0"])
            .prop_map(|text| NodePortAddresses { networks: networks(&[text]), ..NodePortAddresses::default() }),
        1 => Just(NodePortAddresses { primary: false, localhost: Family::ALL.into(), networks: Vec::new() }),
    ];
    (local_pods, any::<bool>(), prop_oneof![Just(14u8), 0u8..32], node_ports, any::<bool>()).prop_map(
        |(local_pods, masquerade_all, masquerade_bit, node_ports, has_external_ip)| Setup {
            local_pods,
            masquerade_all,
            masquerade_bit,
            node_ports,
            has_external_ip,
        },
    )
}

/// A packet from a pod here or elsewhere, from outside, or from this host.
fn packet() -> impl Strategy<Value = Packet> {
    let v4_to = [
        "10.96.0.0",
        "10.96.0.1",
        "10.96.0.2",
        "10.96.0.3",
        "10.96.0.4",
        "10.96.0.9",
        "10.97.0.1",
        "198.51.100.0",
        "198.51.100.1",
        "198.51.100.2",
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "10.1.255.1",
        "10.1.0.1",
        "203.0.113.9",
        "127.0.0.1",
    ];
    let v6_to = [
        "fd00:96::",
        "fd00:96::1",
        "fd00:96::2",
        "fd00:96::3",
        "fd00:96::4",
        "fd00:96::9",
        "fd00:51::",
        "fd00:51::1",
        "fd00:51::2",
        "fd00:192::1",
        "fd00:1::1",
        "2001:db8::9",
        "::1",
    ];
    let from_host = |v6| HOST.into_iter().filter(move |addr| ip(addr).is_ipv6() == v6).collect::<Vec<_>>();
    let outside =
        |v6| if v6 { vec!["fd00:113::5", "2001:db8::7"] } else { vec!["203.0.113.5", "203.0.113.200", "192.0.2.77"] };
    let of_family = move |v6: bool| {
        let pod = (0u8..12).prop_map(move |n| if v6 { format!("fd00:1::{n:x}") } else { format!("10.1.0.{n}") });
        let named = |names: Vec<&'static str>| prop::sample::select(names).prop_map(str::to_owned);
        let from = prop_oneof![
            3 => (pod, prop_oneof![Just("cni0"), Just("cni7"), Just("eth0")]).prop_map(|(from, iif)| (from, Some(iif))),
            3 => named(outside(v6)).prop_map(|from| (from, Some("eth0"))),
            2 => named(from_host(v6)).prop_map(|from| (from, None)),
        ];
        let to = named(if v6 { v6_to.to_vec() } else { v4_to.to_vec() });
        (from, to)
    };
    let protocol = prop_oneof![3 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)];
    let dport = prop_oneof![4 => 80u16..84, 3 => 30_000u16..30_003, 1 => 8080u16..8082];
    (any::<bool>().prop_flat_map(of_family), protocol, dport, prop::bool::weighted(0.95)).prop_map(
        |(((from, iif), to), protocol, dport, opens)| Packet {
            saddr: ip(&from),
            daddr: ip(&to),
            protocol,
            dport,
            iif: iif.map(str::to_owned),
            opens,
        },
    )
}

/// A packet, most often one that is aimed at something that a Service has.
#[derive(Clone, Debug)]
struct Shot {
    packet: Packet,
    /// Which of the service ports, and which of its addresses.
    aim: Option<(Index, Index)>,
    /// Sent by this host to an address that it has: then that is often the source, too.
    to_itself: bool,
}

fn shot() -> impl Strategy<Value = Shot> {
    let aim = prop::option::weighted(0.8, any::<(Index, Index)>());
    (packet(), aim, any::<bool>()).prop_map(|(packet, aim, to_itself)| Shot { packet, aim, to_itself })
}

/// A slice that serves every port that a Service can have: otherwise few Services would have endpoints.
fn applied(mut slice: EndpointSlice) -> Event {
    let (port, names) = (slice.ports[0].port, ["", "http"].map(Arc::<str>::from));
    let all = names.iter().flat_map(|name| Protocol::ALL.map(|protocol| (Arc::clone(name), protocol)));
    slice.ports = all.map(|(name, protocol)| SlicePort { name, protocol, port }).collect();
    Event::SliceApplied(Decoded::Object(Arc::new(slice)))
}

/// A Service comes or changes. Ranges that contain the node, and an address that the host may have, are rare by chance.
fn service_event() -> impl Strategy<Value = Event> {
    (service(), prop::bool::weighted(0.2)).prop_map(|(mut service, near)| {
        if near {
            service.source_ranges = networks(&["192.0.2.0/24"]).into();
            service.load_balancer_ips = vec![ip("198.51.100.1")].into();
        }
        Event::ServiceApplied(Decoded::Object(Arc::new(service)))
    })
}

/// A slice comes or changes.
fn slice_event() -> impl Strategy<Value = Event> {
    (slice(), 0u8..2).prop_map(|(mut slice, n)| {
        slice.name = ObjectName::new(slice.name.namespace(), format!("{}-{}-{n}", slice.service, slice.family));
        applied(slice)
    })
}

/// Whatever may happen.
fn later_event() -> impl Strategy<Value = Event> {
    event().prop_map(|event| match event {
        Event::SliceApplied(Decoded::Object(slice)) => applied((*slice).clone()),
        other => other,
    })
}

/// A Node, many Services and slices, and then whatever may happen.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let node = node().prop_map(|node| Event::NodeApplied(Decoded::Object(Arc::new(node))));
    (node, vec(service_event(), 1..16), vec(slice_event(), 1..25), vec(later_event(), 0..8))
        .prop_map(|(node, services, slices, later)| [vec![node], services, slices, later].concat())
}

/// The packet of a shot.
fn fire(model: &Model, shot: &Shot) -> Packet {
    let mut packet = shot.packet.clone();
    let aims = model.aims(packet.saddr.is_ipv4());
    if let Some((port, addr)) = shot.aim.as_ref().filter(|_| !aims.is_empty()) {
        let of_port: &Vec<_> = port.get(&aims);
        (packet.daddr, packet.protocol, packet.dport) = *addr.get(of_port);
    }
    if packet.iif.is_none() && shot.to_itself && model.host.contains(&packet.daddr) {
        packet.saddr = packet.daddr;
    }
    packet
}

/// A node that follows events and programs a kernel in memory.
struct Programmed {
    setup: Setup,
    engine: Engine,
    kernel: MemoryKernel,
    model: Model,
}

impl Programmed {
    fn new(setup: &Setup) -> Self {
        let view = View { node_name: NODE.into(), node_ports: setup.node_ports.clone(), ..View::default() };
        let mut new = Self {
            setup: setup.clone(),
            engine: Engine::new(EngineSettings { grace: None, ..EngineSettings::new(setup.scope(), view) }),
            kernel: MemoryKernel::new(),
            model: Model::new(setup),
        };
        initial().into_iter().for_each(|event| new.apply(event));
        new.apply(Event::HostAddresses(setup.host().into_iter().collect()));
        new
    }

    fn apply(&mut self, event: Event) {
        self.model.apply(&event);
        self.engine.fold(event);
        self.engine.compile();
    }

    fn sync(&mut self) {
        let now = Moment::default();
        loop {
            match self.engine.next(now) {
                Next::Commit(plan) => {
                    self.kernel.apply(&plan.operations).expect("the kernel takes a plan");
                    self.engine.committed(*plan, now, now);
                }
                Next::Read => self.engine.read_back(Acknowledged::from(self.kernel.contents(&Family::ALL)), now),
                Next::Wait(_) => return,
            }
        }
    }

    fn check(&self, shots: &[Shot]) -> Result<(), TestCaseError> {
        for shot in shots {
            let packet = fire(&self.model, shot);
            let found = self.kernel.outcomes(&packet, &self.setup.host());
            self.check_explanation(&packet, &found)?;
            prop_assert_eq!(found, self.model.outcomes(&packet), "found, and expected, of {:?}", packet);
        }
        Ok(())
    }

    /// The explanation from what can be read back of the kernel says what the kernel does, and which endpoints it uses.
    fn check_explanation(&self, packet: &Packet, found: &BTreeSet<PacketOutcome>) -> Result<(), TestCaseError> {
        let family = Family::from_addr(packet.daddr);
        let tables = self.kernel.contents(&[family]);
        let held = Acknowledged::from(tables.clone());
        let (contents, features) = (tables.get(family).expect("a table"), held.features(family).expect("features"));
        let ruleset = Ruleset::from_contents(family, contents, &self.setup.scope().options, features);
        let explanation = explain(self.engine.snapshot(), &ruleset, packet, &self.setup.host());
        prop_assert_eq!(&explanation.outcomes, found, "explained, and found, of {:?}", packet);
        prop_assert_eq!(ruleset.altered(), &[""; 0]);
        prop_assert_ne!(explanation.reason, VerdictReason::NotProgrammed, "{:?}", packet);
        if explanation.verdict == Verdict::Delivered {
            for share in &explanation.endpoints {
                prop_assert_eq!(share.reached, share.is_asked_for(), "{:?} of {:?}", share, packet);
            }
        } else {
            prop_assert!(explanation.endpoints.iter().all(|share| !share.reached));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_the_rules_make_of_a_packet_is_what_the_model_says(
        setup in setup(),
        events in events(),
        sync_after in any::<Index>(),
        shots in vec(shot(), 1..40),
    ) {
        let mut node = Programmed::new(&setup);
        let sync_after = sync_after.index(events.len());
        for (n, event) in events.into_iter().enumerate() {
            node.apply(event);
            if n == sync_after {
                node.sync();
                node.check(&shots)?;
            }
        }
        node.sync();
        node.check(&shots)?;
    }
}

/// The packets and clusters above are such that everything that can happen does happen, and often.
#[test]
fn random_packets_meet_every_fate() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..300 {
        let events = events().new_tree(&mut runner).unwrap().current();
        let setup = setup().new_tree(&mut runner).unwrap().current();
        let shots = vec(shot(), 60).new_tree(&mut runner).unwrap().current();
        let mut node = Programmed::new(&setup);
        events.into_iter().for_each(|event| node.apply(event));
        for shot in shots {
            let outcomes = node.model.outcomes(&fire(&node.model, &shot));
            let outcome = match outcomes.first().expect("something becomes of every packet") {
                PacketOutcome::Goes { translated: false, .. } => "untouched",
                PacketOutcome::Goes { masqueraded: false, .. } => "translated",
                PacketOutcome::Goes { masqueraded: true, .. } => "masqueraded",
                PacketOutcome::Dropped => "dropped",
                PacketOutcome::Reset => "reset",
                PacketOutcome::Refused => "refused",
            };
            *met.entry(outcome).or_default() += 1;
            if outcomes.len() > 1 {
                *met.entry("balanced").or_default() += 1;
            }
            let masqueraded =
                |outcome: &PacketOutcome| matches!(outcome, PacketOutcome::Goes { masqueraded: true, .. });
            if outcomes.iter().any(masqueraded) && !outcomes.iter().all(masqueraded) {
                *met.entry("reaches itself").or_default() += 1;
            }
        }
    }
    println!("{met:?}");
    let all = ["balanced", "dropped", "masqueraded", "reaches itself", "refused", "reset", "translated", "untouched"];
    assert!(all.iter().all(|outcome| met.get(outcome).is_some_and(|times| *times >= 10)), "{met:?}");
}
