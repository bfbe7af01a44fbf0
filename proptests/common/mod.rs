//! Random histories of a small cluster, and a deliberately naive model of what they ask for.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use pointsman::apply::MemoryKernel;
use pointsman::dataplane::{Class, Endpoint, Family, Frontend, Key, Options, Protocol, SetName};
use pointsman::diff::{Acknowledged, Plan, Scope, diff};
use pointsman::state::{
    Cluster, Decoded, Desired, EndpointSlice, Event, ObjectName, Service, ServiceCidr, ServicePort, SliceEndpoint,
    SlicePort,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// The node that the tests look from.
pub const NODE: &str = "node-a";

/// How many cases each property runs.
pub fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    ProptestConfig { cases, max_shrink_iters: 4_000, ..ProptestConfig::default() }
}

/// A step of a history.
#[derive(Clone, Debug)]
pub enum Move {
    /// Something happens in the cluster.
    Event(Event),
    /// Everything that happened so far is programmed.
    Sync,
    /// The process is replaced by a new one, which reads the kernel and lists the cluster.
    Restart,
    /// Somebody deletes a table.
    LoseTable(Family),
}

fn name(n: u8) -> ObjectName {
    let names = ["web", "db", "dns", "api"];
    ObjectName::new(["default", "shop"][usize::from(n / 4) % 2], names[usize::from(n) % 4])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![3 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

fn port_name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![Just(Arc::from("")), Just(Arc::from("http"))]
}

/// Cluster IPs from a small pool, so that Services clash.
fn cluster_ips() -> impl Strategy<Value = Vec<IpAddr>> {
    let v4 = || (0u8..5).prop_map(|n| IpAddr::from([10, 96, 0, n]));
    let v6 = || (0u16..5).prop_map(|n| IpAddr::from([0xfd00, 0x96, 0, 0, 0, 0, 0, n]));
    prop_oneof![
        v4().prop_map(|a| vec![a]),
        v6().prop_map(|a| vec![a]),
        (v4(), v6()).prop_map(|(a, b)| vec![a, b]),
        Just(Vec::new()),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    let port =
        (port_name(), protocol(), 80u16..83).prop_map(|(name, protocol, port)| ServicePort { name, protocol, port });
    (0u8..8, prop::option::of(0i64..3), cluster_ips(), any::<bool>(), vec(port, 0..3)).prop_map(
        |(n, created, cluster_ips, local, mut ports)| {
            // The API server admits a protocol and port once, and a name once.
            let mut seen = BTreeSet::new();
            ports.retain(|port| seen.insert((port.protocol, port.port)));
            let mut names = BTreeSet::new();
            ports.retain(|port| names.insert(Arc::clone(&port.name)));
            Service {
                name: name(n),
                created: created.map(|s| jiff::Timestamp::from_second(s).expect("a small number")),
                cluster_ips,
                internal_traffic_local: local,
                ports,
                problems: Vec::new(),
            }
        },
    )
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let endpoint = (0u8..12, prop::option::of(any::<bool>()), any::<[bool; 3]>());
    let port =
        (port_name(), protocol(), 8080u16..8082).prop_map(|(name, protocol, port)| SlicePort { name, protocol, port });
    (0u8..8, 0u8..3, any::<bool>(), vec(port, 1..3), vec(endpoint, 0..10)).prop_map(
        |(service, n, v6, ports, endpoints)| {
            let service = name(service);
            let addr = |n: u8| -> IpAddr {
                if v6 { [0xfd00, 1, 0, 0, 0, 0, 0, u16::from(n)].into() } else { [10, 1, 0, n].into() }
            };
            let endpoints = endpoints.into_iter().map(|(n, node, [ready, serving, terminating])| SliceEndpoint {
                addr: addr(n),
                node: node.map(|here| Arc::from(if here { NODE } else { "node-b" })),
                ready,
                serving,
                terminating,
            });
            EndpointSlice {
                // Slices of different Services share names, so that labels move from one Service to another.
                name: ObjectName::new(Arc::clone(&service.namespace), format!("slice-{n}")),
                service: service.name,
                family: if v6 { Family::Ip6 } else { Family::Ip },
                ports,
                endpoints: endpoints.collect(),
                problems: Vec::new(),
            }
        },
    )
}

fn service_cidr() -> impl Strategy<Value = ServiceCidr> {
    let network = prop_oneof![
        Just("10.96.0.0/16"),
        Just("10.96.0.0/12"),
        Just("10.97.0.0/16"),
        Just("10.96.7.0/24"),
        Just("fd00:96::/112"),
    ];
    (0u8..3, vec(network, 0..3)).prop_map(|(n, networks)| ServiceCidr {
        name: ObjectName::cluster_scoped(format!("cidr-{n}")),
        networks: networks.into_iter().map(|n| n.parse().expect("a network")).collect(),
        problems: Vec::new(),
    })
}

fn decoded<T>(object: T) -> Decoded<T> {
    Decoded::Object(Arc::new(object))
}

/// Keeps one object of each name, as a list does.
fn list<T>(objects: Vec<T>, name: fn(&T) -> &ObjectName) -> Vec<Decoded<T>> {
    let by_name: BTreeMap<ObjectName, T> = objects.into_iter().map(|o| (name(&o).clone(), o)).collect();
    by_name.into_values().map(decoded).collect()
}

/// A single event.
pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => service().prop_map(|s| Event::ServiceApplied(decoded(s))),
        3 => (0u8..8).prop_map(|n| Event::ServiceDeleted(name(n))),
        12 => slice().prop_map(|s| Event::SliceApplied(decoded(s))),
        3 => slice().prop_map(|s| Event::SliceDeleted(s.name)),
        1 => service_cidr().prop_map(|c| Event::ServiceCidrApplied(decoded(c))),
        1 => service_cidr().prop_map(|c| Event::ServiceCidrDeleted(c.name)),
        1 => vec(service(), 0..6).prop_map(|all| Event::ServicesReset(list(all, |s| &s.name))),
        1 => vec(slice(), 0..8).prop_map(|all| Event::SlicesReset(list(all, |s| &s.name))),
    ]
}

/// A history: events, with syncs, restarts and accidents in between.
pub fn history() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        12 => event().prop_map(Move::Event),
        5 => Just(Move::Sync),
        1 => Just(Move::Restart),
        1 => prop_oneof![Just(Family::Ip), Just(Family::Ip6)].prop_map(Move::LoseTable),
    ];
    vec(step, 1..40)
}

/// A cluster of which complete, empty lists were seen.
pub fn empty_cluster() -> Cluster {
    [Event::ServicesReset(Vec::new()), Event::SlicesReset(Vec::new()), Event::ServiceCidrsReset(Vec::new())]
        .into_iter()
        .fold(Cluster::new(NODE), |cluster, event| cluster.apply(event).cluster)
}

/// The scope of all tests: both families, with a pod network.
pub fn scope() -> Scope {
    let networks = ["10.1.0.0/16", "fd00:1::/64"];
    let cluster_cidrs = networks.iter().map(|n| n.parse().expect("a network")).collect();
    Scope::dual_stack(Options { cluster_cidrs, masquerade_all: false })
}

/// A proxy without its effects, over a kernel in memory.
pub struct Proxy {
    pub cluster: Cluster,
    pub desired: Desired,
    pub acknowledged: Acknowledged,
    pub kernel: MemoryKernel,
    pub model: Model,
}

impl Proxy {
    pub fn new() -> Self {
        Self {
            cluster: empty_cluster(),
            desired: Desired::default(),
            acknowledged: Acknowledged::nothing(),
            kernel: MemoryKernel::new(),
            model: Model::default(),
        }
    }

    pub fn event(&mut self, event: Event) {
        self.model.apply(&event);
        let step = self.cluster.apply(event);
        self.desired = self.desired.update(&self.cluster, &step.cluster, &step.touched).0;
        self.cluster = step.cluster;
    }

    pub fn sync(&mut self) -> Plan {
        let plan = diff(&self.acknowledged, &self.desired, &scope());
        if let Err(refusal) = self.kernel.apply(&plan.operations) {
            panic!("the kernel refused a batch: {refusal:?}\n{}", pointsman::render::nft(&plan));
        }
        self.acknowledged = plan.next.clone();
        plan
    }

    /// What the kernel holds, read back.
    pub fn read_back(&self) -> Acknowledged {
        Acknowledged::from(self.kernel.contents(&Family::ALL))
    }

    /// Makes a move, and says what was planned if it was a sync.
    pub fn make(&mut self, step: Move) -> Option<Plan> {
        match step {
            Move::Event(event) => self.event(event),
            Move::Sync => return Some(self.sync()),
            Move::Restart => {
                self.desired = Desired::of(&self.cluster);
                self.acknowledged = self.read_back();
            }
            Move::LoseTable(family) => {
                self.kernel.remove_table(family);
                self.acknowledged = self.read_back();
            }
        }
        None
    }
}

/// The objects as plain maps, and the rules of the Kubernetes API spelled out naively: the reference.
#[derive(Default)]
pub struct Model {
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
}

/// What should happen at a frontend.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    pub gate: SetName,
    pub owner: String,
    pub endpoints: BTreeSet<Endpoint>,
}

impl Model {
    /// Follows an event.
    pub fn apply(&mut self, event: &Event) {
        let get = |all: &Vec<Decoded<Service>>| all.iter().filter_map(Decoded::object).cloned().collect::<Vec<_>>();
        match event {
            Event::ServicesReset(all) => {
                self.services = get(all).into_iter().map(|s| (s.name.clone(), (*s).clone())).collect();
            }
            Event::ServiceApplied(Decoded::Object(s)) => {
                self.services.insert(s.name.clone(), (**s).clone());
            }
            Event::ServiceDeleted(name) => {
                self.services.remove(name);
            }
            Event::SlicesReset(all) => {
                let objects = all.iter().filter_map(Decoded::object);
                self.slices = objects.map(|s| (s.name.clone(), (**s).clone())).collect();
            }
            Event::SliceApplied(Decoded::Object(s)) => {
                self.slices.insert(s.name.clone(), (**s).clone());
            }
            Event::SliceDeleted(name) => {
                self.slices.remove(name);
            }
            _ => {}
        }
    }

    /// Every frontend and what should happen there.
    pub fn expected(&self) -> BTreeMap<Frontend, Expected> {
        let mut by_age: Vec<&Service> = self.services.values().collect();
        by_age.sort_by_key(|s| (s.created.is_none(), s.created, s.name.clone()));
        let mut expected = BTreeMap::new();
        for service in by_age {
            let mut ports: Vec<&ServicePort> = service.ports.iter().collect();
            ports.sort_by_key(|port| Arc::clone(&port.name));
            for (addr, port) in service.cluster_ips.iter().flat_map(|a| ports.iter().map(move |p| (*a, *p))) {
                let frontend = Frontend { addr, protocol: port.protocol, port: port.port };
                expected.entry(frontend).or_insert_with(|| self.outcome(service, port, Family::of(addr)));
            }
        }
        expected
    }

    fn outcome(&self, service: &Service, port: &ServicePort, family: Family) -> Expected {
        let mut found: BTreeMap<Endpoint, SliceEndpoint> = BTreeMap::new();
        for slice in self.slices.values() {
            let ours = slice.service == service.name.name && slice.name.namespace == service.name.namespace;
            for target in slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol) {
                for endpoint in slice.endpoints.iter().filter(|_| ours && slice.family == family) {
                    let key = Endpoint { addr: endpoint.addr, port: target.port };
                    if !(endpoint.terminating && found.contains_key(&key)) {
                        found.insert(key, endpoint.clone());
                    }
                }
            }
        }
        let here = |e: &SliceEndpoint| e.node.as_deref() == Some(NODE);
        let allowed = |e: &SliceEndpoint| !service.internal_traffic_local || here(e);
        let fallback = |e: &SliceEndpoint| !e.ready && e.serving && e.terminating;
        let pick = |wanted: &dyn Fn(&SliceEndpoint) -> bool| -> BTreeSet<Endpoint> {
            found.iter().filter(|(_, e)| wanted(e) && allowed(e)).map(|(key, _)| *key).collect()
        };
        let ready = pick(&|e| e.ready);
        let endpoints = if ready.is_empty() { pick(&fallback) } else { ready };
        let any = found.values().any(|e| e.ready || fallback(e));
        let gate = match (endpoints.is_empty(), any) {
            (false, _) => SetName::Internal,
            (true, true) => SetName::DropServices,
            (true, false) => SetName::RejectServices,
        };
        let colon = if port.name.is_empty() { "" } else { ":" };
        Expected { gate, owner: format!("{}{colon}{}", service.name, port.name), endpoints }
    }

    /// The ClusterIPs that are proxied.
    pub fn cluster_ips(&self) -> BTreeSet<IpAddr> {
        self.services.values().flat_map(|s| s.cluster_ips.iter().copied()).collect()
    }
}

/// Checks law 1 on what a kernel holds: exactly what the model expects, in the required form.
pub fn assert_satisfies(held: &Acknowledged, model: &Model) -> Result<(), TestCaseError> {
    let expected = model.expected();
    let frontends: Vec<&Frontend> = held.frontends.keys().collect();
    prop_assert_eq!(frontends, expected.keys().collect::<Vec<_>>());
    for (frontend, installed) in &held.frontends {
        let expected = &expected[frontend];
        prop_assert_eq!(installed.gates().collect::<Vec<_>>(), vec![expected.gate], "gates of {}", frontend);
        prop_assert_eq!(installed.owner(), Some(expected.owner.as_str()), "owner of {}", frontend);
        let slots: Vec<usize> = installed.slots.iter().map(|(slot, _)| *slot as usize).collect();
        prop_assert_eq!(slots, (0..expected.endpoints.len()).collect::<Vec<_>>(), "slots of {}", frontend);
        let endpoints: BTreeSet<Endpoint> = installed.endpoints().collect();
        prop_assert_eq!(&endpoints, &expected.endpoints, "endpoints of {}", frontend);
        let classes: Vec<SetName> =
            installed.memberships.iter().map(|(set, _)| *set).filter(|set| matches!(set, SetName::Slots(_))).collect();
        let class: Vec<SetName> = Class::of(expected.endpoints.len()).map(SetName::Slots).into_iter().collect();
        prop_assert_eq!(classes, class, "class of {}", frontend);
    }
    let cluster_ips: BTreeSet<IpAddr> = held
        .shared
        .iter()
        .filter_map(|shared| match shared.key {
            Key::Addr(addr) if shared.set == SetName::ClusterIps => Some(addr),
            _ => None,
        })
        .collect();
    prop_assert_eq!(cluster_ips, model.cluster_ips());
    Ok(())
}
