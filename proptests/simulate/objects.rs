//! Random objects from small pools, so that they clash, move and come back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use ipnet::IpNet;
use pointsman::dataplane::{Family, Protocol};
use pointsman::state::{
    Decoded, EndpointPlace, EndpointSlice, Event, Few, Identity, Kind, Node, ObjectName, Problem, Reason, Service,
    ServiceCidr, ServicePort, SliceEndpoint, SlicePort, Uid, UnreadableObject,
};

use crate::common::NODE;
use crate::random::Random;

/// An object of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Service(Arc<Service>),
    Slice(Arc<EndpointSlice>),
    Cidr(Arc<ServiceCidr>),
    Node(Arc<Node>),
}

/// An object as the API server has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub object: Object,
    /// Whether it can be decoded.
    pub readable: bool,
    /// Tells it from another object of the same name.
    pub uid: u64,
}

/// How large a cluster is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub services: u8,
    pub endpoints: u8,
}

fn identity(uid: u64) -> Option<Uid> {
    Uid::new(&uid.to_string())
}

impl Object {
    pub fn name(&self) -> &ObjectName {
        match self {
            Self::Service(it) => &it.name,
            Self::Slice(it) => &it.name,
            Self::Cidr(it) => &it.name,
            Self::Node(it) => &it.name,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Slice(_) => Kind::EndpointSlice,
            Self::Cidr(_) => Kind::ServiceCidr,
            Self::Node(_) => Kind::Node,
        }
    }

    /// The same object with this UID.
    pub fn with_uid(mut self, uid: u64) -> Self {
        match &mut self {
            Self::Service(it) => Arc::make_mut(it).uid = Identity(identity(uid)),
            Self::Slice(it) => Arc::make_mut(it).uid = Identity(identity(uid)),
            Self::Cidr(it) => Arc::make_mut(it).uid = Identity(identity(uid)),
            Self::Node(_) => {}
        }
        self
    }
}

impl Stored {
    fn decoded<T>(&self, object: &Arc<T>) -> Decoded<T> {
        if self.readable {
            return Decoded::Object(Arc::clone(object));
        }
        let problem = Problem::new("", Reason::Undecodable, "damaged");
        let uid = identity(self.uid).filter(|_| self.object.kind() != Kind::Node);
        Decoded::Unreadable(Box::new(UnreadableObject(self.object.name().clone(), problem, uid)))
    }

    /// The event that it was added or changed.
    pub fn applied(&self) -> Event {
        match &self.object {
            Object::Service(it) => Event::ServiceApplied(self.decoded(it)),
            Object::Slice(it) => Event::SliceApplied(self.decoded(it)),
            Object::Cidr(it) => Event::ServiceCidrApplied(self.decoded(it)),
            Object::Node(it) => Event::NodeApplied(self.decoded(it)),
        }
    }
}

/// The event that an object is gone.
pub fn deleted(kind: Kind, name: ObjectName) -> Event {
    match kind {
        Kind::Service => Event::ServiceDeleted(name),
        Kind::EndpointSlice => Event::SliceDeleted(name),
        Kind::ServiceCidr => Event::ServiceCidrDeleted(name),
        Kind::Node => Event::NodeDeleted(name),
    }
}

/// The event of a complete list.
pub fn reset<'a>(kind: Kind, all: impl Iterator<Item = &'a Stored>) -> Event {
    let mut events = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for stored in all {
        match &stored.object {
            Object::Service(it) => events.0.push(stored.decoded(it)),
            Object::Slice(it) => events.1.push(stored.decoded(it)),
            Object::Cidr(it) => events.2.push(stored.decoded(it)),
            Object::Node(it) => events.3.push(stored.decoded(it)),
        }
    }
    match kind {
        Kind::Service => Event::ServicesReset(events.0),
        Kind::EndpointSlice => Event::SlicesReset(events.1),
        Kind::ServiceCidr => Event::ServiceCidrsReset(events.2),
        Kind::Node => Event::NodesReset(events.3),
    }
}

/// The name of a Service.
pub fn service_name(n: u8) -> ObjectName {
    let names = ["web", "db", "dns", "api"];
    let namespace = ["default", "shop", "kube-system"][usize::from(n / 4) % 3];
    if n == 0 {
        return ObjectName::new("default", "kubernetes");
    }
    ObjectName::new(namespace, format!("{}-{}", names[usize::from(n) % 4], n / 12))
}

fn address(v6: bool, v4: [u8; 4], segments: [u16; 3]) -> IpAddr {
    if v6 { [segments[0], segments[1], 0, 0, 0, 0, 0, segments[2]].into() } else { v4.into() }
}

fn protocol(random: &mut Random) -> Protocol {
    *random.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Udp, Protocol::Sctp])
}

fn port_name(random: &mut Random) -> Arc<str> {
    Arc::from(*random.pick(&["", "http"]))
}

/// External and load-balancer IPs come from one pool with one ClusterIP, so that they clash.
fn external_ips(random: &mut Random) -> Few<IpAddr> {
    if !random.one_in(3) {
        return Few::new();
    }
    let mut ips = Vec::new();
    for _ in 0..=random.below(2) {
        let n = random.small(3);
        let ip = match random.below(7) {
            0 => IpAddr::from([10, 96, 0, 1]),
            1..4 => address(false, [198, 51, 100, n], [0; 3]),
            _ => address(true, [0; 4], [0xfd00, 0x51, u16::from(n)]),
        };
        ips.push(ip);
    }
    ips.into()
}

fn source_ranges(random: &mut Random) -> Few<IpNet> {
    let ranges = ["203.0.113.0/25", "203.0.113.0/24", "192.0.2.0/24", "0.0.0.0/0", "fd00:113::/64"];
    if !random.one_in(3) {
        return Few::new();
    }
    let count = 1 + random.below(2);
    (0..count).map(|_| random.pick(&ranges).parse().expect("a network")).collect::<Vec<IpNet>>().into()
}

/// A Service.
pub fn service(random: &mut Random, size: Size) -> Service {
    let n = random.small(size.services);
    // Most have a ClusterIP of their own; some clash.
    let ip = if random.one_in(6) { random.small(size.services) } else { n };
    let (v4, v6) = (address(false, [10, 96, 0, ip], [0; 3]), address(true, [0; 4], [0xfd00, 0x96, u16::from(ip)]));
    let cluster_ips = match random.below(8) {
        0 => vec![v6],
        1 => Vec::new(),
        2..5 => vec![v4],
        _ => vec![v4, v6],
    };
    let mut ports = Vec::new();
    for _ in 0..random.below(3) + u64::from(!random.one_in(6)) {
        let (name, protocol, port) = (port_name(random), protocol(random), 80 + u16::from(random.small(3)));
        let number = 30_000 + u16::from(random.small(4));
        let node_port = if random.one_in(3) { NonZeroU16::new(number) } else { None };
        ports.push(ServicePort { name, protocol, port, node_port });
    }
    // The API server admits a protocol and port once, and a name once.
    let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
    ports.retain(|port| seen.insert((port.protocol, port.port)) && names.insert(Arc::clone(&port.name)));
    let session_affinity = NonZeroU32::new(*random.pick(&[0, 0, 0, 1, 60, 10_800]));
    let created = i64::from(random.small(4));
    Service {
        name: service_name(n),
        created: (created > 0).then(|| jiff::Timestamp::from_second(created).expect("a small number")),
        cluster_ips,
        internal_traffic_local: random.one_in(4),
        external_traffic_local: random.one_in(3),
        external_ips: external_ips(random),
        load_balancer_ips: external_ips(random),
        source_ranges: source_ranges(random),
        session_affinity,
        health_check_node_port: None,
        ports,
        problems: Few::new(),
        uid: Identity::default(),
    }
}

fn hints(random: &mut Random, names: [&str; 2]) -> Box<[Arc<str>]> {
    if random.one_in(3) {
        return Box::default();
    }
    (0..=random.below(2)).map(|_| Arc::from(*random.pick(&names))).collect()
}

fn endpoint(random: &mut Random, v6: bool, size: Size) -> SliceEndpoint {
    let n = random.small(size.endpoints);
    let addr = address(v6, [10, 1, 0, n], [0xfd00, 1, u16::from(n)]);
    let node = match random.below(4) {
        0 => None,
        1 | 2 => Some(Arc::from(NODE)),
        _ => Some(Arc::from("node-b")),
    };
    let hinted = random.one_in(4);
    let zone_hints = if hinted { hints(random, ["zone-0", "zone-1"]) } else { Box::default() };
    let node_hints = if hinted { hints(random, [NODE, "node-b"]) } else { Box::default() };
    let (ready, serving, terminating) = match random.below(6) {
        0 => (false, true, true),
        1 => (false, false, random.one_in(2)),
        2 => (random.one_in(2), random.one_in(2), random.one_in(2)),
        _ => (true, true, false),
    };
    let place = EndpointPlace { node, zone_hints, node_hints };
    SliceEndpoint { ready, serving, terminating, ..SliceEndpoint::new(addr, place) }
}

/// A slice of one of the Services.
pub fn slice(random: &mut Random, size: Size) -> EndpointSlice {
    let (service, v6) = (service_name(random.small(size.services)), random.one_in(2));
    let family = if v6 { Family::Ip6 } else { Family::Ip };
    let name = match random.below(12) {
        // Its label may move from one Service to another.
        0 => format!("shared-{}", random.below(2)),
        _ => format!("{}-{family}-{}", service.name(), random.below(2)),
    };
    let port = 8080 + u16::from(random.small(2));
    let ports = if random.one_in(4) {
        vec![SlicePort { name: port_name(random), protocol: protocol(random), port }]
    } else {
        let names = ["", "http"].map(Arc::<str>::from);
        let all = names.iter().flat_map(|name| Protocol::ALL.map(|protocol| (Arc::clone(name), protocol)));
        all.map(|(name, protocol)| SlicePort { name, protocol, port }).collect()
    };
    let count = if random.one_in(5) { 0 } else { random.below(u64::from(size.endpoints) + 1) };
    EndpointSlice {
        name: ObjectName::new(service.namespace(), name),
        service: service.name().into(),
        family,
        ports,
        endpoints: (0..count).map(|_| endpoint(random, v6, size)).collect(),
        problems: Few::new(),
        uid: Identity::default(),
    }
}

/// The same slice after a step of a rollout: endpoints come, go, become ready or terminate.
pub fn roll(random: &mut Random, slice: &EndpointSlice, size: Size) -> EndpointSlice {
    let mut next = slice.clone();
    for _ in 0..=random.below(2) {
        if next.endpoints.is_empty() || random.one_in(3) {
            next.endpoints.push(endpoint(random, slice.family == Family::Ip6, size));
            continue;
        }
        let at = random.index(next.endpoints.len());
        match random.below(3) {
            0 => drop(next.endpoints.remove(at)),
            1 => next.endpoints[at] = endpoint(random, slice.family == Family::Ip6, size),
            _ => {
                let one = &mut next.endpoints[at];
                (one.ready, one.serving, one.terminating) =
                    if one.ready { (false, true, true) } else { (true, true, false) };
            }
        }
    }
    next
}

/// A ServiceCIDR.
pub fn cidr(random: &mut Random) -> ServiceCidr {
    let networks = ["10.96.0.0/16", "10.96.0.0/12", "10.97.0.0/16", "10.96.7.0/24", "fd00:96::/112"];
    let count = random.below(3);
    ServiceCidr {
        name: ObjectName::cluster_scoped(format!("cidr-{}", random.below(3))),
        networks: (0..count).map(|_| random.pick(&networks).parse().expect("a network")).collect(),
        problems: Few::new(),
        uid: Identity::default(),
    }
}

/// This node.
pub fn node(random: &mut Random) -> Node {
    let zone = random.below(3);
    let mut addresses = vec![IpAddr::from([192, 0, 2, 1 + random.small(3)])];
    if random.one_in(3) {
        addresses.push("fd00:192::1".parse().expect("an address"));
    }
    let pods = ["10.1.0.0/16", "10.1.0.0/29"];
    Node {
        name: ObjectName::cluster_scoped(NODE),
        zone: (zone > 0).then(|| format!("zone-{}", zone - 1).into()),
        addresses,
        pod_cidrs: vec![random.pick(&pods).parse().expect("a network")],
        ..Node::default()
    }
}
