//! The Services that the flood is sent to, and how they change.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use pointsman::dataplane::{Family, Protocol};
use pointsman::state::{
    Decoded, EndpointPlace, EndpointSlice, Event, Few, Identity, ObjectName, Service, ServiceCidr, ServicePort,
    SliceEndpoint, SlicePort,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// The node that the packets come through.
pub const NODE: &str = "node-a";
/// Its address.
pub const NODE_ADDR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The port of every Service.
const PORT: u16 = 80;

/// What changes about a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 1, 2, 3 and 9 endpoints, at a ClusterIP and a load-balancer IP.
    Sizes,
    /// No endpoints, and some.
    NoneAndSome,
    /// `externalTrafficPolicy`, at a load-balancer IP and a NodePort.
    Policy,
    /// `sessionAffinity`.
    Affinity,
    /// `loadBalancerSourceRanges`. The sender is always allowed.
    Ranges,
    /// ClusterIP, NodePort, LoadBalancer.
    Type,
    /// Deleted, and created.
    Existence,
}

/// A Service that changes.
#[derive(Debug)]
pub struct Flooded {
    pub kind: Kind,
    number: u8,
    service: Service,
    endpoints: usize,
    exists: bool,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Sizes, Self::NoneAndSome, Self::Policy, Self::Affinity, Self::Ranges, Self::Type, Self::Existence];
}

/// Complete lists without Services, and what the node is.
pub fn begin() -> Vec<Event> {
    let cidr = ServiceCidr {
        name: ObjectName::cluster_scoped("services"),
        networks: vec!["10.96.0.0/16".parse().expect("a network")],
        problems: Few::new(),
        uid: Identity::default(),
    };
    vec![
        Event::ServicesReset(Vec::new()),
        Event::SlicesReset(Vec::new()),
        Event::ServiceCidrsReset(vec![Decoded::Object(Arc::new(cidr))]),
        Event::NodesReset(Vec::new()),
        Event::HostAddresses(vec![NODE_ADDR.into()]),
    ]
}

impl Flooded {
    pub fn new(kind: Kind, number: u8) -> Self {
        let external = matches!(kind, Kind::Sizes | Kind::Policy | Kind::Ranges);
        let node_port = (kind == Kind::Policy).then(|| node_port(number)).flatten();
        let balancers: Vec<IpAddr> = if external { vec![balancer(number).into()] } else { Vec::new() };
        let service = Service {
            name: ObjectName::new("flood", format!("web-{number}")),
            created: None,
            cluster_ips: vec![cluster_ip(number).into()],
            internal_traffic_local: false,
            external_traffic_local: false,
            external_ips: Few::new(),
            load_balancer_ips: balancers.into(),
            source_ranges: Few::new(),
            session_affinity: None,
            health_check_node_port: None,
            ports: vec![ServicePort { name: "".into(), protocol: Protocol::Udp, port: PORT, node_port }],
            problems: Few::new(),
            uid: Identity::default(),
        };
        Self { kind, number, service, endpoints: 2, exists: true }
    }

    /// Where packets are sent to.
    pub fn targets(&self) -> Vec<SocketAddrV4> {
        let mut targets = vec![SocketAddrV4::new(cluster_ip(self.number), PORT)];
        if matches!(self.kind, Kind::Sizes | Kind::Policy | Kind::Ranges) {
            targets.push(SocketAddrV4::new(balancer(self.number), PORT));
        }
        if let (Kind::Policy, Some(port)) = (self.kind, node_port(self.number)) {
            targets.push(SocketAddrV4::new(NODE_ADDR, port.get()));
        }
        targets
    }

    /// Whether every packet has to be sent to an endpoint. Otherwise it may be refused or dropped, and nothing else.
    pub fn is_always_served(&self) -> bool {
        !matches!(self.kind, Kind::NoneAndSome | Kind::Existence)
    }

    /// The Service and its endpoints as they are.
    pub fn events(&self) -> Vec<Event> {
        let name = self.service.name.clone();
        let service = match self.exists {
            true => Event::ServiceApplied(Decoded::Object(Arc::new(self.service.clone()))),
            false => Event::ServiceDeleted(name.clone()),
        };
        let slice = EndpointSlice {
            name: ObjectName::new("flood", format!("web-{}-1", self.number)),
            service: name.name().into(),
            family: Family::Ip,
            ports: vec![SlicePort { name: "".into(), protocol: Protocol::Udp, port: 8080 }],
            endpoints: (0..self.endpoints).map(|n| self.endpoint(n)).collect(),
            problems: Few::new(),
            uid: Identity::default(),
        };
        vec![service, Event::SliceApplied(Decoded::Object(Arc::new(slice)))]
    }

    /// Every second endpoint is on this node, the first one too.
    fn endpoint(&self, n: usize) -> SliceEndpoint {
        let node = if n.is_multiple_of(2) { NODE } else { "node-b" };
        let place = EndpointPlace { node: Some(node.into()), ..EndpointPlace::default() };
        let last = u8::try_from(n + 1).expect("few endpoints");
        SliceEndpoint::new([10, 128, self.number, last].into(), place)
    }

    /// Changes to something else.
    pub fn change(&mut self, random: &mut StdRng) {
        // Often together with other endpoints.
        if self.kind == Kind::Sizes || (self.is_always_served() && random.random_ratio(1, 3)) {
            self.endpoints = other(&[1, 2, 3, 9], self.endpoints, random);
        }
        match self.kind {
            Kind::Sizes => {}
            Kind::NoneAndSome => self.endpoints = other(&[0, 0, 1, 2, 3], self.endpoints, random),
            Kind::Policy => self.service.external_traffic_local ^= true,
            Kind::Affinity => {
                self.service.session_affinity = match self.service.session_affinity {
                    None => NonZeroU32::new(10_800),
                    Some(_) => None,
                };
            }
            Kind::Ranges => {
                let texts: [&[&str]; 3] = [&[], &["192.0.2.0/24"], &["192.0.2.0/25", "198.51.100.0/24"]];
                let ranges = texts.choose(random).expect("some");
                let ranges = ranges.iter().map(|range| range.parse().expect("a network"));
                self.service.source_ranges = ranges.collect();
            }
            Kind::Type => {
                let kind = random.random_range(0..3);
                self.service.ports[0].node_port = (kind > 0).then(|| node_port(self.number)).flatten();
                let balancers: Vec<IpAddr> = if kind == 2 { vec![balancer(self.number).into()] } else { Vec::new() };
                self.service.load_balancer_ips = balancers.into();
            }
            Kind::Existence => self.exists ^= true,
        }
    }
}

fn cluster_ip(number: u8) -> Ipv4Addr {
    [10, 96, 0, number].into()
}

fn balancer(number: u8) -> Ipv4Addr {
    [203, 0, 113, number].into()
}

fn node_port(number: u8) -> Option<NonZeroU16> {
    NonZeroU16::new(30_000 + u16::from(number))
}

fn other(all: &[usize], now: usize, random: &mut StdRng) -> usize {
    let others: Vec<usize> = all.iter().copied().filter(|count| *count != now).collect();
    *others.choose(random).expect("another")
}
