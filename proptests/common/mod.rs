//! Random histories of a small cluster, and a deliberately naive model of what they ask for.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use ipnet::IpNet;
use pointsman::apply::MemoryKernel;
use pointsman::dataplane::{
    Endpoint, EndpointList, Family, Frontend, Key, LocalPods, Options, Protocol, SetName, SizeClass,
};
use pointsman::diff::{Acknowledged, Plan, Scope};
use pointsman::engine::{Engine, EngineSettings, Moment, Next};
use pointsman::state::{
    Cluster, Decoded, Desired, EndpointPlace, EndpointSlice, Event, Few, Identity, Node, ObjectName, Service,
    ServiceCidr, ServicePort, SliceEndpoint, SlicePort, TrafficPolicy, View,
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

/// External and load-balancer IPs from one small pool, so that they clash too.
fn external_ips() -> impl Strategy<Value = Vec<IpAddr>> {
    let ip = prop_oneof![
        (0u8..3).prop_map(|n| IpAddr::from([198, 51, 100, n])),
        // One that may be the ClusterIP of another Service.
        Just(IpAddr::from([10, 96, 0, 1])),
        (0u16..3).prop_map(|n| IpAddr::from([0xfd00, 0x51, 0, 0, 0, 0, 0, n])),
    ];
    prop_oneof![2 => Just(Vec::new()), 1 => vec(ip, 1..3)]
}

fn source_ranges() -> impl Strategy<Value = Vec<IpNet>> {
    let ranges = ["203.0.113.0/25", "203.0.113.0/24", "192.0.2.0/24", "0.0.0.0/0", "fd00:113::/64"];
    let range = prop::sample::select(ranges.to_vec()).prop_map(|range| range.parse().expect("a network"));
    prop_oneof![2 => Just(Vec::new()), 1 => vec(range, 1..3)]
}

/// A Service.
pub fn service() -> impl Strategy<Value = Service> {
    let node_port = prop_oneof![2 => Just(None), 1 => (30_000u16..30_003).prop_map(NonZeroU16::new)];
    let port = (port_name(), protocol(), 80u16..83, node_port)
        .prop_map(|(name, protocol, port, node_port)| ServicePort { name, protocol, port, node_port });
    let check = prop::option::of((32_000u16..32_002).prop_map(|port| NonZeroU16::new(port).expect("not 0")));
    let affinity = prop_oneof![3 => Just(0), 1 => Just(1), 2 => Just(10_800)].prop_map(NonZeroU32::new);
    let external = (external_ips(), external_ips(), source_ranges(), any::<bool>(), check, affinity);
    (0u8..8, prop::option::of(0i64..3), cluster_ips(), any::<bool>(), vec(port, 0..3), external).prop_map(
        |(
            n,
            created,
            cluster_ips,
            local,
            mut ports,
            (external_ips, load_balancer_ips, source_ranges, external_local, health_check_node_port, session_affinity),
        )| {
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
                external_traffic_local: external_local,
                external_ips: external_ips.into(),
                load_balancer_ips: load_balancer_ips.into(),
                source_ranges: source_ranges.into(),
                session_affinity,
                health_check_node_port,
                ports,
                problems: Few::new(),
                uid: Identity::default(),
            }
        },
    )
}

/// This node, in one of two zones or in none, with one of a few addresses.
pub fn node() -> impl Strategy<Value = Node> {
    (prop::option::of(0u8..2), 1u8..4).prop_map(|(zone, addr)| Node {
        name: ObjectName::cluster_scoped(NODE),
        zone: zone.map(|zone| format!("zone-{zone}").into()),
        addresses: vec![[192, 0, 2, addr].into()],
        ..Node::default()
    })
}

fn hints(names: [&'static str; 2]) -> impl Strategy<Value = Box<[Arc<str>]>> {
    prop::option::weighted(0.7, vec(prop::sample::select(names.to_vec()).prop_map(Arc::from), 1..3))
        .prop_map(Option::unwrap_or_default)
        .prop_map(Vec::into_boxed_slice)
}

/// A slice of one of the Services.
pub fn slice() -> impl Strategy<Value = EndpointSlice> {
    let hints = (hints(["zone-0", "zone-1"]), hints([NODE, "node-b"]));
    let endpoint = (0u8..12, prop::option::of(any::<bool>()), any::<[bool; 3]>(), hints);
    let port =
        (port_name(), protocol(), 8080u16..8082).prop_map(|(name, protocol, port)| SlicePort { name, protocol, port });
    (0u8..8, 0u8..3, any::<bool>(), vec(port, 1..3), vec(endpoint, 0..10)).prop_map(
        |(service, n, v6, ports, endpoints)| {
            let service = name(service);
            let addr = |n: u8| -> IpAddr {
                if v6 { [0xfd00, 1, 0, 0, 0, 0, 0, u16::from(n)].into() } else { [10, 1, 0, n].into() }
            };
            let endpoints =
                endpoints.into_iter().map(|(n, node, [ready, serving, terminating], (zone_hints, node_hints))| {
                    let node = node.map(|here| Arc::from(if here { NODE } else { "node-b" }));
                    let place = EndpointPlace { node, zone_hints, node_hints };
                    SliceEndpoint { ready, serving, terminating, ..SliceEndpoint::new(addr(n), place) }
                });
            EndpointSlice {
                // Slices of different Services share names, so that labels move from one Service to another.
                name: ObjectName::new(service.namespace(), format!("slice-{n}")),
                service: service.name().into(),
                family: if v6 { Family::Ip6 } else { Family::Ip },
                ports,
                endpoints: endpoints.collect(),
                problems: Few::new(),
                uid: Identity::default(),
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
        problems: Few::new(),
        uid: Identity::default(),
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
        1 => node().prop_map(|node| Event::NodeApplied(decoded(node))),
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

/// Complete, empty lists.
pub fn initial() -> [Event; 4] {
    [
        Event::ServicesReset(Vec::new()),
        Event::SlicesReset(Vec::new()),
        Event::ServiceCidrsReset(Vec::new()),
        Event::NodesReset(Vec::new()),
    ]
}

/// The scope of all tests: both families, with a pod network.
pub fn scope() -> Scope {
    let networks = ["10.1.0.0/16", "fd00:1::/64"];
    let networks = networks.iter().map(|n| n.parse().expect("a network")).collect();
    Scope::dual_stack(Options { local_pods: LocalPods::Networks(networks), ..Options::default() })
}

/// A proxy without its effects: the engine, over a kernel in memory.
pub struct Proxy {
    pub engine: Engine,
    pub kernel: MemoryKernel,
    pub model: Model,
    /// Everything that was heard, for the next process.
    heard: Vec<Event>,
}

/// Time stands still.
const NOW: Moment = Moment::from_start(std::time::Duration::ZERO);

impl Proxy {
    /// Every sync is one plan, which leaves nothing behind.
    pub fn new() -> Self {
        Self::with_settings(EngineSettings { slice_goal: None, grace: None, ..settings() })
    }

    pub fn with_settings(settings: EngineSettings) -> Self {
        let mut proxy =
            Self { engine: Engine::new(settings), kernel: MemoryKernel::new(), model: Model::default(), heard: vec![] };
        initial().into_iter().for_each(|event| proxy.fold(event));
        proxy
    }

    pub fn cluster(&self) -> &Cluster {
        self.engine.snapshot().cluster()
    }

    pub fn desired(&self) -> &Desired {
        self.engine.snapshot().desired()
    }

    /// What the engine knows that the kernel holds.
    pub fn acknowledged(&self) -> Acknowledged {
        self.engine.acknowledged().cloned().unwrap_or_default()
    }

    pub fn event(&mut self, event: Event) {
        self.model.apply(&event);
        self.fold(event);
    }

    fn fold(&mut self, event: Event) {
        self.heard.push(event.clone());
        self.engine.fold(event);
        self.engine.compile();
    }

    /// Programs everything. The plans, made one: there is only one unless changes are committed in slices.
    pub fn sync(&mut self) -> Plan {
        let mut all = Plan { next: self.acknowledged(), ..Plan::default() };
        while let Some(plan) = self.step() {
            all.operations.extend(plan.operations);
            all.frontends.extend(plan.frontends);
            all.shared.extend(plan.shared);
            all.tables.extend(plan.tables);
            all.next = plan.next;
        }
        all
    }

    /// Commits the next plan, if anything waits.
    pub fn step(&mut self) -> Option<Plan> {
        loop {
            match self.engine.next(NOW) {
                Next::Commit(plan) => {
                    if let Err(refusal) = self.kernel.apply(&plan.operations) {
                        panic!("the kernel refused a batch: {refusal:?}\n{}", pointsman::render::nft(&plan));
                    }
                    self.engine.committed((*plan).clone(), NOW, NOW);
                    return Some(*plan);
                }
                Next::Read => self.engine.read_back(self.read_back(), NOW),
                Next::Wait(_) => return None,
            }
        }
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
                self.engine = Engine::new(self.engine.settings().clone());
                std::mem::take(&mut self.heard).into_iter().for_each(|event| self.fold(event));
                self.engine.read_back(self.read_back(), NOW);
            }
            Move::LoseTable(family) => {
                self.kernel.remove_table(family);
                self.engine.read_back(self.read_back(), NOW);
            }
        }
        None
    }
}

/// The engine's settings in all tests.
pub fn settings() -> EngineSettings {
    EngineSettings::new(scope(), View { node_name: NODE.into(), ..View::default() })
}

/// The objects as plain maps, and the rules of the Kubernetes API spelled out naively: the reference.
#[derive(Default)]
pub struct Model {
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
    node: Node,
}

/// What should be installed for a frontend.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub gates: BTreeSet<SetName>,
    pub owner: String,
    pub any: BTreeSet<Endpoint>,
    pub local: BTreeSet<Endpoint>,
    pub sources: BTreeSet<IpNet>,
    pub affinity: Option<u32>,
}

/// The endpoints of a service port, by rule.
struct Lists {
    cluster: BTreeSet<Endpoint>,
    local: BTreeSet<Endpoint>,
    any: bool,
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
            Event::NodeApplied(Decoded::Object(node)) => self.node = (**node).clone(),
            Event::NodesReset(all) => {
                if let Some(node) = all.iter().filter_map(Decoded::object).next() {
                    self.node = (**node).clone();
                }
            }
            _ => {}
        }
    }

    /// Every frontend and what should be installed for it.
    pub fn expected(&self) -> BTreeMap<Frontend, Expected> {
        let mut by_age: Vec<&Service> = self.services.values().collect();
        by_age.sort_by_key(|s| (s.created.is_none(), s.created, s.name.clone()));
        let mut claims = Vec::new();
        for service in by_age {
            let mut ports: Vec<&ServicePort> = service.ports.iter().collect();
            ports.sort_by_key(|port| Arc::clone(&port.name));
            for (addr, port) in service.cluster_ips.iter().flat_map(|a| ports.iter().map(move |p| (*a, *p))) {
                for (frontend, mut wanted) in self.of_port(service, port, addr) {
                    wanted.affinity = service.session_affinity.filter(|_| !wanted.any.is_empty()).map(NonZeroU32::get);
                    if wanted.affinity.is_some() {
                        let internal = |gate: &SetName| matches!(gate, SetName::Internal(_));
                        let replace = |gate| if internal(&gate) { SetName::InternalAffinity } else { gate };
                        wanted.gates = wanted.gates.into_iter().map(replace).collect();
                    }
                    // A ClusterIP comes before all others, and of those one with endpoints before one without.
                    let is_external = !service.cluster_ips.contains(&frontend.addr);
                    let lacks = self.lists(service, port, frontend.family());
                    claims.push((is_external, is_external && lacks.cluster.is_empty(), frontend, wanted));
                }
            }
        }
        // Stable: among equals the older one comes first.
        claims.sort_by_key(|(is_external, lacks, ..)| (*is_external, *lacks));
        let mut expected = BTreeMap::new();
        for (_, _, frontend, wanted) in claims {
            expected.entry(frontend).or_insert(wanted);
        }
        expected
    }

    /// The frontends of one port in one family. The ClusterIP is last, as the least that may clash within a Service.
    fn of_port(&self, service: &Service, port: &ServicePort, cluster_ip: IpAddr) -> Vec<(Frontend, Expected)> {
        let family = Family::from_addr(cluster_ip);
        let lists = self.lists(service, port, family);
        let colon = if port.name.is_empty() { "" } else { ":" };
        let owner = format!("{}{colon}{}", service.name, port.name);
        let frontend = |addr, port_number| Frontend { addr, protocol: port.protocol, port: port_number };
        let confined = service.external_traffic_local;
        // [gate with endpoints, gate with policy Local, drop, reject]
        let external = |gates: [SetName; 4]| {
            let mut expected = Expected { owner: owner.clone(), ..Expected::default() };
            if !lists.any {
                expected.gates = BTreeSet::from([gates[3]]);
            } else if confined {
                expected.gates = BTreeSet::from([gates[1]]);
                expected.any = lists.cluster.clone();
                expected.local = lists.local.clone();
                if lists.local.is_empty() {
                    expected.gates.insert(gates[2]);
                }
            } else {
                expected.gates = BTreeSet::from([gates[0]]);
                expected.any = lists.cluster.clone();
            }
            expected
        };
        let address = [SetName::External, SetName::ExternalLocal, SetName::DropServices, SetName::RejectServices];
        let node = [SetName::Nodeports, SetName::NodeportsLocal, SetName::DropNodeports, SetName::RejectNodeports];
        let own = |ips: &[IpAddr]| -> BTreeSet<IpAddr> {
            ips.iter().copied().filter(|ip| Family::from_addr(*ip) == family && *ip != cluster_ip).collect()
        };
        let mut frontends = Vec::new();
        let sources = self.sources(service, family);
        for ip in own(&service.load_balancer_ips) {
            let mut expected = external(address);
            if let Some(sources) = &sources {
                expected.gates.insert(SetName::SourceChecks);
                expected.sources = sources.clone();
            }
            frontends.push((frontend(ip, port.port), expected));
        }
        for ip in own(&service.external_ips).difference(&own(&service.load_balancer_ips)) {
            frontends.push((frontend(*ip, port.port), external(address)));
        }
        if let Some(number) = port.node_port {
            frontends.push((Frontend::node_port(family, port.protocol, number.get()), external(node)));
        }
        let list = if service.internal_traffic_local { &lists.local } else { &lists.cluster };
        let gate = match (list.is_empty(), lists.any) {
            (false, _) => SetName::Internal(SizeClass::for_endpoints(list.len()).expect("not empty")),
            (true, true) => SetName::DropServices,
            (true, false) => SetName::RejectServices,
        };
        let internal =
            Expected { gates: [gate].into(), owner: owner.clone(), any: list.clone(), ..Expected::default() };
        frontends.push((frontend(cluster_ip, port.port), internal));
        frontends
    }

    fn lists(&self, service: &Service, port: &ServicePort, family: Family) -> Lists {
        let mut entries: BTreeMap<Endpoint, Vec<&SliceEndpoint>> = BTreeMap::new();
        for slice in self.slices.values() {
            let ours = *slice.service == *service.name.name() && slice.name.namespace() == service.name.namespace();
            for target in slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol) {
                for endpoint in slice.endpoints.iter().filter(|_| ours && slice.family == family) {
                    let key = Endpoint { addr: endpoint.addr, port: target.port };
                    entries.entry(key).or_default().push(endpoint);
                }
            }
        }
        let found: BTreeMap<Endpoint, SliceEndpoint> =
            entries.iter().map(|(key, entries)| (*key, one_of_several(entries))).collect();
        let here = |e: &SliceEndpoint| e.node() == Some(NODE);
        let fallback = |e: &SliceEndpoint| !e.ready && e.serving && e.terminating;
        let keys = |wanted: &dyn Fn(&SliceEndpoint) -> bool| -> BTreeSet<Endpoint> {
            found.iter().filter(|(_, e)| wanted(e)).map(|(key, _)| *key).collect()
        };
        let or_else =
            |first: BTreeSet<Endpoint>, second: BTreeSet<Endpoint>| if first.is_empty() { second } else { first };
        let ready = keys(&|e| e.ready);
        let on_node = keys(&|e| e.ready && e.node_hints().iter().any(|n| **n == *NODE));
        let zone = self.node.zone.as_deref();
        let in_zone = keys(&|e| e.ready && e.zone_hints().iter().any(|z| Some(&**z) == zone));
        let every = |hinted: &dyn Fn(&SliceEndpoint) -> bool| found.values().filter(|e| e.ready).all(hinted);
        let near = if every(&|e| !e.node_hints().is_empty()) && !on_node.is_empty() {
            on_node
        } else if every(&|e| !e.zone_hints().is_empty()) && !in_zone.is_empty() {
            in_zone
        } else {
            ready
        };
        Lists {
            cluster: or_else(near, keys(&fallback)),
            local: or_else(keys(&|e| e.ready && here(e)), keys(&|e| fallback(e) && here(e))),
            any: found.values().any(|e| e.ready || fallback(e)),
        }
    }

    fn sources(&self, service: &Service, family: Family) -> Option<BTreeSet<IpNet>> {
        let ranges = service.source_ranges.iter().filter(|range| Family::from_addr(range.addr()) == family);
        let mut ranges: Vec<IpNet> = ranges.copied().collect();
        if ranges.is_empty() || ranges.iter().any(|range| range.prefix_len() == 0) {
            return None;
        }
        if self.node.addresses.iter().any(|addr| ranges.iter().any(|range| range.contains(addr))) {
            let ips = service.load_balancer_ips.iter().filter(|ip| Family::from_addr(**ip) == family);
            ranges.extend(ips.map(|ip| IpNet::from(*ip)));
        }
        Some(IpNet::aggregate(&ranges).into_iter().collect())
    }

    /// The ClusterIPs that are proxied.
    pub fn cluster_ips(&self) -> BTreeSet<IpAddr> {
        self.services.values().flat_map(|s| s.cluster_ips.iter().copied()).collect()
    }
}

/// What several entries of one address and port say together: the conditions and hints of the best entry, on the node that the best
/// entry with a node names. Entries are equally good only if they say the same.
pub fn one_of_several(entries: &[&SliceEndpoint]) -> SliceEndpoint {
    fn quality(e: &SliceEndpoint) -> impl Ord + use<> {
        let place = e.place.as_deref().cloned().unwrap_or_default();
        (e.ready, !e.terminating, e.serving, place.node, place.zone_hints, place.node_hints)
    }
    let best = entries.iter().max_by_key(|e| quality(e)).expect("an entry");
    let mut place = best.place.as_deref().cloned().unwrap_or_default();
    let placed = entries.iter().filter(|e| e.node().is_some()).max_by_key(|e| quality(e));
    place.node = placed.and_then(|e| e.place.as_deref()?.node.clone());
    let SliceEndpoint { addr, ready, serving, terminating, .. } = **best;
    SliceEndpoint { ready, serving, terminating, ..SliceEndpoint::new(addr, place) }
}

/// Checks law 1 on what a kernel holds: exactly what the model expects, in the required form.
pub fn assert_satisfies(held: &Acknowledged, model: &Model) -> Result<(), TestCaseError> {
    assert_frontends(held, model)?;
    prop_assert_eq!(members(held, SetName::NodeportIps), model.node.addresses.iter().copied().collect::<BTreeSet<_>>());
    Ok(())
}

/// The same, but for the addresses that accept NodePorts, which depend on more than the Node.
pub fn assert_frontends(held: &Acknowledged, model: &Model) -> Result<(), TestCaseError> {
    let expected = model.expected();
    let frontends: Vec<&Frontend> = held.frontends.keys().collect();
    prop_assert_eq!(frontends, expected.keys().collect::<Vec<_>>());
    for (frontend, installed) in &held.frontends {
        let expected = &expected[frontend];
        prop_assert_eq!(installed.owner(), Some(expected.owner.as_str()), "owner of {}", frontend);
        prop_assert_eq!(installed.gates().collect::<BTreeSet<_>>(), expected.gates.clone(), "gates of {}", frontend);
        prop_assert_eq!(installed.affinity_seconds(), expected.affinity, "affinity of {}", frontend);
        prop_assert_eq!(installed.sources.iter().copied().collect::<BTreeSet<_>>(), expected.sources.clone());
        let mut classes = BTreeSet::new();
        for (policy, endpoints) in [(TrafficPolicy::Cluster, &expected.any), (TrafficPolicy::Local, &expected.local)] {
            let mut slots: Vec<usize> = installed.slots(policy).iter().map(|(slot, _)| slot as usize).collect();
            let by_id = installed.affinity.as_ref().map(|affinity| affinity.list(policy));
            slots.extend(by_id.into_iter().flat_map(|list| list.slots.iter()).map(|(slot, _)| *slot as usize));
            prop_assert_eq!(slots, (0..endpoints.len()).collect::<Vec<_>>(), "slots of {}", frontend);
            prop_assert_eq!(&installed.endpoints(policy).collect::<BTreeSet<_>>(), endpoints, "list of {}", frontend);
            let list = EndpointList::for_frontends(frontend.is_node_port(), policy == TrafficPolicy::Local);
            let class = SizeClass::for_endpoints(endpoints.len());
            let internal = expected.gates.iter().any(|gate| matches!(gate, SetName::Internal(_)));
            if expected.affinity.is_some() {
                classes.extend(class.map(|class| SetName::AffinitySlots(list, class)));
                classes.extend(SetName::affinity_chains(frontend.is_node_port()));
                let list = by_id.expect("endpoints by id");
                let drawn: BTreeSet<_> = list.slots.iter().map(|(_, id)| *id).collect();
                prop_assert_eq!(drawn, list.endpoints.iter().map(|(id, _)| *id).collect(), "ids of {}", frontend);
            } else {
                classes.extend(class.filter(|_| !internal).map(|class| SetName::Slots(list, class)));
            }
        }
        let held_classes = installed.memberships.iter().map(|(set, _)| *set);
        let is_behind = |set: &SetName| {
            matches!(set, SetName::Slots(..) | SetName::AffinitySlots(..) | SetName::AffinityChains(..))
        };
        let held_classes: BTreeSet<SetName> = held_classes.filter(is_behind).collect();
        prop_assert_eq!(held_classes, classes, "classes of {}", frontend);
    }
    prop_assert_eq!(members(held, SetName::ClusterIps), model.cluster_ips());
    Ok(())
}

/// The addresses in a set.
fn members(held: &Acknowledged, set: SetName) -> BTreeSet<IpAddr> {
    let of_set = held.shared.iter().filter(|shared| shared.set == set);
    of_set
        .filter_map(|shared| match shared.key {
            Key::Addr(addr) => Some(addr),
            _ => None,
        })
        .collect()
}
