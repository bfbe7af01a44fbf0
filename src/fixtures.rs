//! Builders for tests. Every default is valid, so that a test shows only what it is about.
//!
//! Names are written `namespace/name`. A Service has the ClusterIP 10.96.0.1 and the port `http`, 80/tcp; a slice belongs to the
//! Service that its name begins with (`shop/web-1` to `shop/web`) and serves `http` on 8080/tcp.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::apply::MemoryKernel;
use crate::dataplane::{Family, Frontend, Options, Protocol};
use crate::diff::{Acknowledged, Plan, Scope};
use crate::engine::{Committed, Engine, EngineSettings, Moment, Next};
use crate::follow::{Effort, Follower};
use crate::state::{
    ChangeSet, Claims, Cluster, Decoded, Desired, EndpointPlace, EndpointSlice, Event, Few, Node, ObjectName, Outcome,
    Problem, Reason, Service, ServiceCidr, ServicePort, Skipped, SliceEndpoint, SlicePort, View,
};

/// The node that tests look from.
pub(crate) const NODE: &str = "node-a";

/// The name `namespace/name`, or a cluster-scoped one.
pub(crate) fn name(text: &str) -> ObjectName {
    match text.split_once('/') {
        Some((namespace, name)) => ObjectName::new(namespace, name),
        None => ObjectName::cluster_scoped(text),
    }
}

/// The frontend `address port/protocol`, as in `10.96.0.1 80/tcp`.
pub(crate) fn frontend(text: &str) -> Frontend {
    let (addr, rest) = text.split_once(' ').expect("address port/protocol");
    let (port, protocol) = rest.split_once('/').expect("port/protocol");
    Frontend { addr: ip(addr), protocol: protocol.parse().expect("a protocol"), port: port.parse().expect("a port") }
}

/// An address.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Ports written `name port/protocol`, as in `http 80/tcp`; `-` for no name.
fn ports(text: &[&str]) -> impl Iterator<Item = (Arc<str>, Protocol, u16)> {
    text.iter().map(|text| {
        let (name, rest) = text.split_once(' ').expect("name port/protocol");
        let (port, protocol) = rest.split_once('/').expect("port/protocol");
        let name = if name == "-" { "" } else { name };
        (name.into(), protocol.parse().expect("a protocol"), port.parse().expect("a port"))
    })
}

/// A problem in this field.
pub(crate) fn problem(field: &str) -> Problem {
    Problem::new(field, Reason::BadPort, "what was found")
}

/// A Service in the making.
#[derive(Clone)]
pub(crate) struct ServiceBuilder(Service);

/// A Service with the ClusterIP 10.96.0.1 and the port `http`, 80/tcp.
pub(crate) fn service(text: &str) -> ServiceBuilder {
    ServiceBuilder(Service {
        name: name(text),
        created: None,
        cluster_ips: vec![ip("10.96.0.1")],
        internal_traffic_local: false,
        external_traffic_local: false,
        external_ips: Few::new(),
        load_balancer_ips: Few::new(),
        source_ranges: Few::new(),
        session_affinity: None,
        health_check_node_port: None,
        ports: Vec::new(),
        problems: Few::new(),
        uid: crate::state::Identity::default(),
    })
    .ports(&["http 80/tcp"])
}

impl ServiceBuilder {
    pub fn ips(mut self, ips: &[&str]) -> Self {
        self.0.cluster_ips = ips.iter().copied().map(ip).collect();
        self
    }

    pub fn ports(mut self, text: &[&str]) -> Self {
        self.0.ports =
            ports(text).map(|(name, protocol, port)| ServicePort { name, protocol, port, node_port: None }).collect();
        self
    }

    /// The first port is also this NodePort.
    pub fn node_port(mut self, number: u16) -> Self {
        self.0.ports[0].node_port = number.try_into().ok();
        self
    }

    /// Created so many seconds after the epoch.
    pub fn created(mut self, seconds: i64) -> Self {
        self.0.created = Some(Timestamp::from_second(seconds).expect("a time"));
        self
    }

    pub fn external_ips(mut self, ips: &[&str]) -> Self {
        self.0.external_ips = ips.iter().copied().map(ip).collect();
        self
    }

    pub fn load_balancer_ips(mut self, ips: &[&str]) -> Self {
        self.0.load_balancer_ips = ips.iter().copied().map(ip).collect();
        self
    }

    /// `loadBalancerSourceRanges`
    pub fn source_ranges(mut self, ranges: &[&str]) -> Self {
        self.0.source_ranges = ranges.iter().map(|range| range.parse().expect("a network")).collect();
        self
    }

    /// `internalTrafficPolicy: Local`
    pub fn local(mut self) -> Self {
        self.0.internal_traffic_local = true;
        self
    }

    /// `sessionAffinity: ClientIP` with this timeout in seconds
    pub fn affinity(mut self, seconds: u32) -> Self {
        self.0.session_affinity = std::num::NonZeroU32::new(seconds);
        self
    }

    pub fn problem(mut self, field: &str) -> Self {
        self.0.problems.push(problem(field));
        self
    }

    pub fn decoded(self) -> Decoded<Service> {
        Decoded::Object(Arc::new(self.0))
    }
}

/// An EndpointSlice in the making.
#[derive(Clone)]
pub(crate) struct SliceBuilder(EndpointSlice);

/// A slice of the Service that its name begins with, serving `http` on 8080/tcp.
pub(crate) fn slice(text: &str) -> SliceBuilder {
    let name = name(text);
    let service = name.name().rsplit_once('-').expect("service-suffix").0.into();
    let (family, ports, endpoints, problems) = (Family::Ip, Vec::new(), Vec::new(), Few::new());
    SliceBuilder(EndpointSlice {
        name,
        service,
        family,
        ports,
        endpoints,
        problems,
        uid: crate::state::Identity::default(),
    })
    .ports(&["http 8080/tcp"])
}

impl SliceBuilder {
    /// Belongs to this Service.
    pub fn of(mut self, service: &str) -> Self {
        self.0.service = service.into();
        self
    }

    pub fn ip6(mut self) -> Self {
        self.0.family = Family::Ip6;
        self
    }

    pub fn ports(mut self, text: &[&str]) -> Self {
        self.0.ports = ports(text).map(|(name, protocol, port)| SlicePort { name, protocol, port }).collect();
        self
    }

    /// Without the endpoints so far.
    pub fn emptied(mut self) -> Self {
        self.0.endpoints.clear();
        self
    }

    /// More endpoints on another node, ready.
    pub fn ready(self, addrs: &[&str]) -> Self {
        addrs.iter().fold(self, |slice, addr| slice.endpoints(&format!("{addr} R r")))
    }

    /// More endpoints, separated by commas: an address, L for this node, R for another or ? for none, and the conditions: r
    /// ready, s serving, t terminating, - none. As in `10.1.0.1 L rs, 10.1.0.2 R st`. Ready ones are serving.
    pub fn endpoints(mut self, text: &str) -> Self {
        for endpoint in text.split(',').filter(|text| !text.trim().is_empty()) {
            let words: Vec<&str> = endpoint.split_whitespace().collect();
            let [addr, node, conditions] = words[..] else { panic!("{endpoint:?}") };
            let node = match node {
                "L" => Some(NODE.into()),
                "R" => Some("node-b".into()),
                _ => None,
            };
            let is = |condition| conditions.contains(condition);
            let (ready, serving, terminating) = (is('r'), is('s') || is('r'), is('t'));
            let place = EndpointPlace { node, ..EndpointPlace::default() };
            self.0.endpoints.push(SliceEndpoint { ready, serving, terminating, ..SliceEndpoint::new(ip(addr), place) });
        }
        self
    }

    pub fn problem(mut self, field: &str) -> Self {
        self.0.problems.push(problem(field));
        self
    }

    pub fn build(self) -> Arc<EndpointSlice> {
        Arc::new(self.0)
    }

    pub fn decoded(self) -> Decoded<EndpointSlice> {
        Decoded::Object(self.build())
    }
}

/// A ServiceCIDR with these networks.
pub(crate) fn service_cidr(text: &str, networks: &[&str]) -> Decoded<ServiceCidr> {
    let networks = networks.iter().map(|network| network.parse().expect("a network")).collect();
    Decoded::Object(Arc::new(ServiceCidr {
        name: name(text),
        networks,
        problems: Few::new(),
        uid: crate::state::Identity::default(),
    }))
}

/// A Node object.
pub(crate) fn node(text: &str) -> Decoded<Node> {
    Decoded::Object(Arc::new(Node { name: name(text), ..Node::default() }))
}

impl From<ServiceBuilder> for Event {
    fn from(service: ServiceBuilder) -> Self {
        Self::ServiceApplied(service.decoded())
    }
}

impl From<SliceBuilder> for Event {
    fn from(slice: SliceBuilder) -> Self {
        Self::SliceApplied(slice.decoded())
    }
}

/// Events that give complete, empty lists.
pub(crate) fn empty_lists() -> [Event; 4] {
    [
        Event::ServicesReset(Vec::new()),
        Event::SlicesReset(Vec::new()),
        Event::ServiceCidrsReset(Vec::new()),
        Event::NodesReset(Vec::new()),
    ]
}

/// The scope of tests: both tables, without options.
pub(crate) fn scope() -> Scope {
    Scope::dual_stack(Options::default())
}

/// A proxy without its effects: the engine, and a kernel in memory.
#[derive(Clone)]
pub(crate) struct World {
    pub engine: Engine,
    pub kernel: MemoryKernel,
}

/// What an event brought.
pub(crate) struct Seen {
    pub changes: ChangeSet,
    pub skipped: Vec<Skipped>,
    pub stale_flows: BTreeSet<Frontend>,
}

/// Time stands still.
const NOW: Moment = Moment::from_start(std::time::Duration::ZERO);

impl World {
    /// No list arrived yet.
    pub fn unlisted() -> Self {
        Self::unlisted_from(View { node_name: NODE.into(), ..View::default() })
    }

    /// The same, seen from this place.
    pub fn unlisted_from(view: View) -> Self {
        let settings = EngineSettings { slice_goal: None, grace: None, ..EngineSettings::new(scope(), view) };
        Self { engine: Engine::new(settings), kernel: MemoryKernel::new() }
    }

    /// Complete, empty lists arrived, and changes are committed in slices of about so many operations.
    pub fn sliced(max_slice: usize) -> Self {
        Self::sliced_from(max_slice, View { node_name: NODE.into(), ..View::default() })
    }

    /// The same, seen from this place.
    pub fn sliced_from(max_slice: usize, view: View) -> Self {
        let settings = EngineSettings { max_slice, grace: None, ..EngineSettings::new(scope(), view) };
        let mut world = Self { engine: Engine::new(settings), kernel: MemoryKernel::new() };
        empty_lists().into_iter().for_each(|event| drop(world.apply(event)));
        world
    }

    /// Commits the next slice, if anything is due.
    pub fn slice(&mut self) -> Option<Committed> {
        let plan = self.next()?;
        assert_eq!(self.kernel.apply(&plan.operations), Ok(()), "{}", crate::render::nft(&plan));
        Some(self.engine.committed(*plan, NOW, NOW))
    }

    /// Complete, empty lists arrived.
    pub fn new() -> Self {
        let mut world = Self::unlisted();
        empty_lists().into_iter().for_each(|event| drop(world.apply(event)));
        world
    }

    /// A world in which all this happened and was programmed.
    pub fn with(events: impl IntoIterator<Item = Event>) -> Self {
        let mut world = Self::new();
        events.into_iter().for_each(|event| drop(world.apply(event)));
        world.sync();
        world
    }

    /// Something happens in the cluster.
    pub fn apply(&mut self, event: impl Into<Event>) -> Seen {
        let event = event.into();
        let applied = self.cluster().clone().apply(event.clone());
        let folded = self.engine.fold(event);
        assert_eq!(folded.skipped, applied.skipped);
        let compiled = self.engine.compile();
        let skipped = [applied.skipped, compiled.skipped].concat();
        Seen { changes: applied.changes, skipped, stale_flows: compiled.stale_flows }
    }

    pub fn snapshot(&self) -> &crate::state::Snapshot {
        self.engine.snapshot()
    }

    pub fn cluster(&self) -> &Cluster {
        self.engine.snapshot().cluster()
    }

    pub fn desired(&self) -> &Desired {
        self.engine.snapshot().desired()
    }

    /// What the kernel is known to hold.
    pub fn acknowledged(&self) -> Acknowledged {
        self.engine.acknowledged().cloned().unwrap_or_default()
    }

    /// What a sync would do now.
    pub fn plan(&self) -> Plan {
        self.clone().next().map_or_else(Plan::default, |plan| *plan)
    }

    /// The next plan, if anything is due.
    fn next(&mut self) -> Option<Box<Plan>> {
        loop {
            match self.engine.next(NOW) {
                Next::Commit(plan) => return Some(plan),
                Next::Read => self.read(),
                Next::Wait(_) => return None,
            }
        }
    }

    /// Programs what happened, and says how, as nft text.
    pub fn sync(&mut self) -> Vec<String> {
        let mut operations = Vec::new();
        while let Some(committed) = self.slice() {
            operations.extend(committed.plan.operations.iter().map(ToString::to_string));
        }
        operations
    }

    /// The cluster changes, the follower hears of it, and nothing is committed yet.
    pub fn hear(&mut self, follower: &mut impl Follower, event: Event) {
        self.engine.fold(event);
        let compiled = self.engine.compile();
        follower.compiled(&compiled, self.engine.snapshot(), self.engine.is_due());
    }

    /// Applies events and programs them, with a follower that learns of it.
    pub fn follow(&mut self, follower: &mut impl Follower, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.hear(follower, event);
        }
        self.engine.assume_complete();
        while let Some(plan) = self.next() {
            follower.committing(self.engine.snapshot());
            assert_eq!(self.kernel.apply(&plan.operations), Ok(()), "{}", crate::render::nft(&plan));
            let committed = self.engine.committed(*plan, NOW, NOW);
            follower.committed(&committed, self.engine.snapshot(), Effort::default());
        }
    }

    /// Applies an event, and says how it is programmed.
    pub fn sync_after(&mut self, event: impl Into<Event>) -> Vec<String> {
        self.apply(event);
        self.sync()
    }

    /// A new process reads the kernel and hears the same of the cluster.
    pub fn restart(&mut self) {
        self.read();
    }

    fn read(&mut self) {
        self.engine.read_back(Acknowledged::from(self.kernel.contents(&Family::ALL)), NOW);
    }

    /// The tables turn out to hold this.
    pub fn hold(&mut self, held: Acknowledged) {
        self.engine.read_back(held, NOW);
    }

    /// What happens at a frontend, as in `shop/web:http -> 10.1.0.1:8080 10.1.0.2:8080`, `shop/web:http rejects`,
    /// `shop/web:http drops` or `nothing`.
    pub fn at(&self, text: &str) -> String {
        self.desired().frontends.get(&frontend(text)).map_or("nothing".to_owned(), describe)
    }
}

fn describe(claims: &Claims) -> String {
    let winner = claims.winner();
    match &winner.outcome {
        Outcome::Balance(endpoints) => {
            endpoints.iter().fold(format!("{} ->", winner.owner), |text, endpoint| format!("{text} {endpoint}"))
        }
        Outcome::BalanceLocal { any, local } => {
            let list = |endpoints: &[crate::dataplane::Endpoint]| {
                endpoints.iter().map(|e| format!(" {e}")).collect::<String>()
            };
            format!("{} ->{} | local{}", winner.owner, list(any), list(local))
        }
        Outcome::Reject => format!("{} rejects", winner.owner),
        Outcome::Drop => format!("{} drops", winner.owner),
    }
}

impl Seen {
    /// The names of the Services that changed.
    pub fn services(&self) -> Vec<String> {
        self.changes.services().iter().map(ToString::to_string).collect()
    }

    /// What was reported.
    pub fn reports(&self) -> Vec<String> {
        self.skipped.iter().map(ToString::to_string).collect()
    }

    pub fn assert_nothing(&self) {
        assert_eq!(self.changes, ChangeSet::default());
        assert_eq!(self.skipped, []);
    }
}
