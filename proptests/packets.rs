//! Random packets to random clusters: what the programmed rules and elements make of them is what a naive model says that a
//! Service proxy must do.
//!
//! The model looks at one packet and at the objects, Service by Service, and knows neither sets nor chains, neither frontends nor
//! claims.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

#[path = "packets/between.rs"]
mod between;
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use common::{NODE, cases, event, initial, node, one_of_several, service, slice};
use ipnet::IpNet;
use pointsman::apply::MemoryKernel;
use pointsman::dataplane::{Endpoint, Family, LocalPods, Options, Packet, PacketOutcome, Protocol};
use pointsman::diff::{Acknowledged, Scope};
use pointsman::engine::{Engine, EngineSettings, Moment, Next};
use pointsman::explain::{Ruleset, Verdict, VerdictReason, explain};
use pointsman::state::{
    Decoded, EndpointSlice, Event, Node, NodePortAddresses, ObjectName, Service, ServiceCidr, ServicePort,
    SliceEndpoint, SlicePort, View,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// The host's addresses: those that the Node may have, one in the pods' networks, one that is also an external IP, loopback.
const HOST: [&str; 8] =
    ["192.0.2.1", "192.0.2.2", "192.0.2.3", "10.1.255.1", "198.51.100.1", "127.0.0.1", "fd00:192::1", "::1"];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

/// What an operator chose.
#[derive(Clone, Debug)]
struct Setup {
    local_pods: LocalPods,
    masquerade_all: bool,
    masquerade_bit: u8,
    node_ports: NodePortAddresses,
    /// The host has the external IP 198.51.100.1.
    has_external_ip: bool,
}

impl Setup {
    fn host(&self) -> BTreeSet<IpAddr> {
        HOST.into_iter().map(ip).filter(|addr| self.has_external_ip || *addr != ip("198.51.100.1")).collect()
    }

    fn scope(&self) -> Scope {
        Scope::dual_stack(Options {
            local_pods: self.local_pods.clone(),
            masquerade_all: self.masquerade_all,
            masquerade_bit: self.masquerade_bit,
            every_node_address: self.node_ports.unrestricted(),
            ..Options::default()
        })
    }
}

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

/// The objects, and what a proxy on this node must do with a packet.
#[derive(Clone)]
struct Model {
    setup: Setup,
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
    cidrs: BTreeMap<ObjectName, ServiceCidr>,
    node: Node,
}

/// What an address and port is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClusterIp,
    LoadBalancerIp,
    ExternalIp,
    NodePort,
}

/// The endpoints of a service port.
struct Chosen {
    cluster: BTreeSet<Endpoint>,
    local: BTreeSet<Endpoint>,
    /// Some endpoint somewhere could answer.
    any: bool,
    /// Those of this node that new connections can be sent to.
    reachable_here: BTreeSet<Endpoint>,
}

impl Model {
    fn new(setup: &Setup) -> Self {
        let (services, slices, cidrs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { setup: setup.clone(), services, slices, cidrs, node: Node::default() }
    }

    fn apply(&mut self, event: &Event) {
        fn all<T: Clone>(list: &[Decoded<T>], name: fn(&T) -> &ObjectName) -> BTreeMap<ObjectName, T> {
            let objects = list.iter().filter_map(Decoded::object);
            objects.map(|object| (name(object).clone(), (**object).clone())).collect()
        }
        match event {
            Event::ServicesReset(list) => self.services = all(list, |s| &s.name),
            Event::SlicesReset(list) => self.slices = all(list, |s| &s.name),
            Event::ServiceApplied(Decoded::Object(s)) => drop(self.services.insert(s.name.clone(), (**s).clone())),
            Event::ServiceDeleted(name) => drop(self.services.remove(name)),
            Event::SliceApplied(Decoded::Object(s)) => drop(self.slices.insert(s.name.clone(), (**s).clone())),
            Event::SliceDeleted(name) => drop(self.slices.remove(name)),
            Event::ServiceCidrApplied(Decoded::Object(c)) => drop(self.cidrs.insert(c.name.clone(), (**c).clone())),
            Event::ServiceCidrDeleted(name) => drop(self.cidrs.remove(name)),
            Event::NodeApplied(Decoded::Object(node)) => self.node = (**node).clone(),
            _ => {}
        }
    }

    /// The packet of a shot.
    fn fire(&self, shot: &Shot) -> Packet {
        let of_family = |addr: &IpAddr| addr.is_ipv4() == shot.packet.saddr.is_ipv4();
        let mut aims: Vec<Vec<(IpAddr, Protocol, u16)>> = Vec::new();
        let served = |(service, _): &(&Service, &ServicePort)| service.cluster_ips.iter().any(of_family);
        for (service, port) in self.ports().into_iter().filter(served) {
            let addresses = [&service.cluster_ips[..], &service.load_balancer_ips, &service.external_ips];
            let addresses = addresses.into_iter().flatten().copied().filter(of_family);
            let mut of_port: Vec<_> = addresses.map(|addr| (addr, port.protocol, port.port)).collect();
            if let Some(number) = port.node_port {
                let node = ["192.0.2.1", "fd00:192::1"].map(ip).into_iter().chain(self.node.addresses.iter().copied());
                of_port.extend(node.filter(of_family).map(|addr| (addr, port.protocol, number.get())));
            }
            if !of_port.is_empty() {
                aims.push(of_port);
            }
        }
        let mut packet = shot.packet.clone();
        if let Some((port, addr)) = shot.aim.as_ref().filter(|_| !aims.is_empty()) {
            let of_port: &Vec<_> = port.get(&aims);
            (packet.daddr, packet.protocol, packet.dport) = *addr.get(of_port);
        }
        if packet.iif.is_none() && shot.to_itself && self.setup.host().contains(&packet.daddr) {
            packet.saddr = packet.daddr;
        }
        packet
    }

    /// Everything that may become of a packet.
    fn outcomes(&self, packet: &Packet) -> BTreeSet<PacketOutcome> {
        if packet.opens && self.forbids(packet) {
            return BTreeSet::from([PacketOutcome::Dropped]);
        }
        self.outcomes_if_allowed(packet)
    }

    /// Whether the source of a packet may not use the load-balancer IP that it is for.
    fn forbids(&self, packet: &Packet) -> bool {
        let asked_for = self.asked_for(packet);
        asked_for.is_some_and(|(service, _, kind)| kind == Kind::LoadBalancerIp && !self.is_allowed(service, packet))
    }

    /// The same from a source that is allowed.
    fn outcomes_if_allowed(&self, packet: &Packet) -> BTreeSet<PacketOutcome> {
        let untouched = PacketOutcome::Goes {
            to: Endpoint { addr: packet.daddr, port: packet.dport },
            translated: false,
            masqueraded: false,
        };
        let refused = if packet.protocol == Protocol::Tcp { PacketOutcome::Reset } else { PacketOutcome::Refused };
        let one = |outcome| BTreeSet::from([outcome]);
        if !packet.opens {
            return one(untouched);
        }
        let Some((service, port, kind)) = self.asked_for(packet) else {
            // The guard of ClusterIPs.
            if self.services.values().any(|service| service.cluster_ips.contains(&packet.daddr)) {
                return one(refused);
            }
            let in_cidr = self.cidrs.values().flat_map(|cidr| &cidr.networks).any(|net| net.contains(&packet.daddr));
            return one(if in_cidr { PacketOutcome::Dropped } else { untouched });
        };
        let chosen = self.choose(service, port, Family::from_addr(packet.daddr));
        if !chosen.any {
            return one(refused);
        }
        let local_pod = self.is_from_local_pod(packet);
        let from_host = self.setup.host().contains(&packet.saddr);
        let (endpoints, masquerade) = match kind {
            Kind::ClusterIp => {
                let list = if service.internal_traffic_local { chosen.local } else { chosen.cluster };
                (list, self.setup.masquerade_all || local_pod == Some(false))
            }
            _ if !service.external_traffic_local => (chosen.cluster, true),
            _ if local_pod == Some(true) => (chosen.cluster, false),
            _ if from_host => (chosen.cluster, true),
            _ => (chosen.local, false),
        };
        if endpoints.is_empty() {
            return one(PacketOutcome::Dropped);
        }
        let reaches_itself = |to: &Endpoint| to.addr == packet.saddr && self.is_reachable_here(*to, packet.protocol);
        let goes =
            |to: Endpoint| PacketOutcome::Goes { to, translated: true, masqueraded: masquerade || reaches_itself(&to) };
        endpoints.into_iter().map(goes).collect()
    }

    /// Every endpoint of the service port that a packet is for, whatever the policies say of its source.
    fn endpoints(&self, packet: &Packet) -> BTreeSet<Endpoint> {
        let Some((service, port, _)) = self.asked_for(packet) else { return BTreeSet::new() };
        let chosen = self.choose(service, port, Family::from_addr(packet.daddr));
        chosen.cluster.union(&chosen.local).copied().collect()
    }

    /// The service ports, those that win clashes of equals first: the oldest Service, then the first by name; in it the first port by name.
    fn ports(&self) -> Vec<(&Service, &ServicePort)> {
        let mut ports: Vec<_> =
            self.services.values().flat_map(|s| s.ports.iter().map(move |port| (s, port))).collect();
        ports.sort_by_key(|(s, port)| (s.created.is_none(), s.created, s.name.clone(), Arc::clone(&port.name)));
        ports
    }

    /// The service port that a packet is for, and by which kind of address.
    fn asked_for(&self, packet: &Packet) -> Option<(&Service, &ServicePort, Kind)> {
        let family = Family::from_addr(packet.daddr);
        let ports = self.ports().into_iter().filter(|(service, port)| {
            port.protocol == packet.protocol
                && service.cluster_ips.iter().any(|addr| Family::from_addr(*addr) == family)
        });
        let ports: Vec<_> = ports.collect();
        // A ClusterIP comes before all others, and of those one with endpoints before one without.
        let lacks = |service: &Service, port: &ServicePort| !self.choose(service, port, family).any;
        let of_number = ports.iter().filter(|(_, port)| port.port == packet.dport);
        let by_address = of_number.filter_map(|(service, port)| {
            let kind = if service.cluster_ips.contains(&packet.daddr) {
                Kind::ClusterIp
            } else if service.load_balancer_ips.contains(&packet.daddr) {
                Kind::LoadBalancerIp
            } else if service.external_ips.contains(&packet.daddr) {
                Kind::ExternalIp
            } else {
                return None;
            };
            Some((*service, *port, kind))
        });
        let is_external = |kind: Kind| kind != Kind::ClusterIp;
        let by_address = by_address
            .min_by_key(|(service, port, kind)| (is_external(*kind), is_external(*kind) && lacks(service, port)));
        let number = |port: &ServicePort| port.node_port.is_some_and(|number| number.get() == packet.dport);
        by_address.or_else(|| {
            let of_number = ports.iter().filter(|(_, port)| number(port));
            let (service, port) = of_number.min_by_key(|(service, port)| lacks(service, port))?;
            self.accepts_node_ports(packet.daddr).then_some((*service, *port, Kind::NodePort))
        })
    }

    fn accepts_node_ports(&self, addr: IpAddr) -> bool {
        let NodePortAddresses { primary, localhost, networks } = &self.setup.node_ports;
        let is_host = self.setup.host().contains(&addr) && !addr.is_loopback();
        let own = &self.node.addresses;
        // A family in which the Node has no address accepts NodePorts on every address of the host.
        let lacks_family = !own.is_empty() && own.iter().all(|own| own.is_ipv4() != addr.is_ipv4());
        let by_node = *primary && (own.contains(&addr) || (lacks_family && is_host));
        let of_family: Vec<_> = networks.iter().filter(|net| net.addr().is_ipv4() == addr.is_ipv4()).collect();
        let only_networks = !primary && localhost.is_empty();
        let fits = (of_family.is_empty() && only_networks) || of_family.iter().any(|net| net.contains(&addr));
        by_node || (fits && is_host)
    }

    /// Whether a packet comes from a pod on this node; `None` if that cannot be told.
    fn is_from_local_pod(&self, packet: &Packet) -> Option<bool> {
        match &self.setup.local_pods {
            LocalPods::Unknown => None,
            LocalPods::Networks(networks) => {
                let first = networks.iter().find(|net| net.addr().is_ipv4() == packet.saddr.is_ipv4())?;
                Some(first.contains(&packet.saddr))
            }
            LocalPods::Interface(name) => Some(match (packet.iif.as_deref(), name.strip_suffix('*')) {
                (None, _) => false,
                (Some(iif), Some(prefix)) => iif.starts_with(prefix),
                (Some(iif), None) => iif == name,
            }),
        }
    }

    /// `loadBalancerSourceRanges`
    fn is_allowed(&self, service: &Service, packet: &Packet) -> bool {
        let of_family = |addr: IpAddr| addr.is_ipv4() == packet.daddr.is_ipv4();
        let ranges: Vec<&IpNet> = service.source_ranges.iter().filter(|range| of_family(range.addr())).collect();
        let is_node = |range: &&&IpNet| self.node.addresses.iter().any(|addr| range.contains(addr));
        ranges.is_empty()
            || ranges.iter().any(|range| range.prefix_len() == 0 || range.contains(&packet.saddr))
            || (ranges.iter().any(|range| is_node(&range)) && service.load_balancer_ips.contains(&packet.saddr))
    }

    /// The endpoints of a service port: merged from the slices, then chosen by conditions, hints and policies.
    fn choose(&self, service: &Service, port: &ServicePort, family: Family) -> Chosen {
        let mut entries: BTreeMap<Endpoint, Vec<&SliceEndpoint>> = BTreeMap::new();
        for slice in self.slices.values() {
            if slice.family != family
                || *slice.service != *service.name.name()
                || slice.name.namespace() != service.name.namespace()
            {
                continue;
            }
            for target in slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol) {
                for endpoint in &slice.endpoints {
                    let place = Endpoint { addr: endpoint.addr, port: target.port };
                    entries.entry(place).or_default().push(endpoint);
                }
            }
        }
        let may_be_here = |place: &Endpoint| entries[place].iter().any(|e| e.node().is_none_or(|node| node == NODE));
        let all: BTreeMap<Endpoint, SliceEndpoint> =
            entries.iter().map(|(place, entries)| (*place, one_of_several(entries))).collect();
        let of = |holds: &dyn Fn(&SliceEndpoint) -> bool| -> BTreeSet<Endpoint> {
            all.iter().filter(|(_, endpoint)| holds(endpoint)).map(|(place, _)| *place).collect()
        };
        let here = |e: &SliceEndpoint| e.node() == Some(NODE);
        let ends = |e: &SliceEndpoint| !e.ready && e.serving && e.terminating;
        let for_node = |e: &SliceEndpoint| e.node_hints().iter().any(|hint| **hint == *NODE);
        let for_zone = |e: &SliceEndpoint| e.zone_hints().iter().any(|hint| Some(hint) == self.node.zone.as_ref());
        let ready = || all.values().filter(|e| e.ready);
        let by_node = ready().all(|e| !e.node_hints().is_empty()) && ready().any(for_node);
        let by_zone = ready().all(|e| !e.zone_hints().is_empty()) && ready().any(for_zone);
        let mut cluster = of(&|e| e.ready && (!by_node || for_node(e)) && (by_node || !by_zone || for_zone(e)));
        if cluster.is_empty() {
            cluster = of(&ends);
        }
        let mut local = of(&|e| e.ready && here(e));
        if local.is_empty() {
            local = of(&|e| ends(e) && here(e));
        }
        let exposed =
            port.node_port.is_some() || !service.load_balancer_ips.is_empty() || !service.external_ips.is_empty();
        let uses_cluster = exposed || !service.internal_traffic_local;
        let uses_local = service.internal_traffic_local || (exposed && service.external_traffic_local);
        let mut reachable = BTreeSet::new();
        reachable.extend(cluster.iter().filter(|_| uses_cluster));
        reachable.extend(local.iter().filter(|_| uses_local));
        let reachable_here = reachable.into_iter().filter(may_be_here).collect();
        Chosen { cluster, local, any: all.values().any(|e| e.ready || ends(e)), reachable_here }
    }

    /// Whether some service port of this protocol can send connections to this endpoint, and may be on this node.
    fn is_reachable_here(&self, endpoint: Endpoint, protocol: Protocol) -> bool {
        let family = Family::from_addr(endpoint.addr);
        self.ports().into_iter().any(|(service, port)| {
            port.protocol == protocol
                && service.cluster_ips.iter().any(|addr| Family::from_addr(*addr) == family)
                && self.choose(service, port, family).reachable_here.contains(&endpoint)
        })
    }
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
            let packet = self.model.fire(shot);
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
            let outcomes = node.model.outcomes(&node.model.fire(&shot));
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
