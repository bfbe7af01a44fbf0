//! From a Service and its slices to what they ask of the dataplane.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use jiff::Timestamp;

use super::cluster::{Cluster, View};
use super::known::Known;
use super::names::{ObjectName, owner_tag};
use super::object::{EndpointSlice, Node, Service, ServicePort};
use super::select::{Needs, Place, Selection, select};
use crate::dataplane::{Affinity, Element, Endpoint, Family, Frontend, Key, SetName, SizeClass};

/// What one service port asks for on one of its frontends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendSpec {
    /// The Service.
    pub service: ObjectName,
    /// The service port, as it is named in comments and in the diff: see [`owner_tag`].
    pub owner: Arc<str>,
    /// When the Service was created.
    pub created: Option<Timestamp>,
    /// For whom the frontend is.
    pub exposure: Exposure,
    /// What happens to a new connection.
    pub outcome: Outcome,
    /// For how many seconds a client keeps its endpoint (`sessionAffinity: ClientIP`).
    pub affinity: Option<NonZeroU32>,
    /// Who may open connections, in order and without overlaps; `None` for everybody.
    pub sources: Option<Arc<[IpNet]>>,
}

/// For whom a frontend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exposure {
    /// For the cluster: a ClusterIP.
    Internal,
    /// For everybody: an external IP, a load-balancer IP or a NodePort.
    External,
}

/// What happens to a new connection to a frontend. Lists of endpoints are sorted and without repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to one of these endpoints, each with the same probability. Never empty.
    Balance(Arc<[Endpoint]>),
    /// From a local pod or from this host as [`Outcome::Balance`]; from elsewhere only to this node's endpoints, and dropped if
    /// there are none.
    BalanceLocal {
        /// For local pods and this host. Never empty.
        any: Arc<[Endpoint]>,
        /// For everybody else.
        local: Arc<[Endpoint]>,
    },
    /// It is refused: there is no endpoint anywhere.
    Reject,
    /// It is dropped: there are endpoints, but the policy allows none from this node.
    Drop,
}

/// An element that several service ports may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedElement {
    /// The set.
    pub set: SetName,
    /// The key in that set.
    pub key: Key,
}

/// Where a Service is compiled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub view: &'a View,
    /// This node's object.
    pub node: Option<&'a Node>,
}

/// Everything that one Service asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceSpec {
    /// Its frontends.
    pub frontends: Vec<(Frontend, Arc<FrontendSpec>)>,
    /// Elements that others may ask for too, each as often as it is asked for.
    pub shared: Vec<SharedElement>,
}

/// Compiles one Service as this node sees it; nothing for a Service that is not there.
///
/// A Service has frontends in the families of its ClusterIPs. Costs O(endpoints of the Service).
pub(super) fn compile(site: Site<'_>, known: &Known) -> ServiceSpec {
    let mut spec = ServiceSpec::default();
    let Some(service) = &known.service else { return spec };
    for cluster_ip in &service.cluster_ips {
        spec.shared.push(SharedElement { set: SetName::ClusterIps, key: Key::Addr(*cluster_ip) });
        let sources = sources(site, service, Family::of(*cluster_ip));
        for port in &service.ports {
            compile_port(site, (service, known.slices()), *cluster_ip, port, sources.as_ref(), &mut spec);
        }
    }
    spec
}

/// Compiles one port in one family.
fn compile_port(
    site: Site<'_>,
    (service, slices): (&Service, &[Arc<EndpointSlice>]),
    cluster_ip: IpAddr,
    port: &ServicePort,
    sources: Option<&Arc<[IpNet]>>,
    spec: &mut ServiceSpec,
) {
    let family = Family::of(cluster_ip);
    let exposed = port.node_port.is_some() || !service.external_ips.is_empty() || !service.load_balancer_ips.is_empty();
    let needs = Needs {
        cluster: exposed || !service.internal_traffic_local,
        local: service.internal_traffic_local || (exposed && service.external_traffic_local),
    };
    let chosen = select(slices, port, family, site.place(), needs);
    spec.shared.extend(
        chosen
            .reachable_here
            .iter()
            .map(|endpoint| SharedElement { set: SetName::Hairpin, key: Key::Hairpin(*endpoint, port.protocol) }),
    );
    let owner = owner_tag(&service.name, &port.name);
    let mut ask = |addr, number, exposure, outcome: &Outcome, sources: Option<&Arc<[IpNet]>>| {
        let frontend = Frontend { addr, protocol: port.protocol, port: number };
        let asked = FrontendSpec {
            service: service.name.clone(),
            owner: Arc::clone(&owner),
            created: service.created,
            exposure,
            outcome: outcome.clone(),
            affinity: service.session_affinity,
            sources: sources.cloned(),
        };
        spec.frontends.push((frontend, Arc::new(asked)));
    };
    ask(cluster_ip, port.port, Exposure::Internal, &internal(service, &chosen), None);
    if !exposed {
        return;
    }
    let outcome = external(service, chosen);
    let of_family = |addrs: &[IpAddr]| -> BTreeSet<IpAddr> {
        addrs.iter().copied().filter(|addr| Family::of(*addr) == family && *addr != cluster_ip).collect()
    };
    let load_balancer_ips = of_family(&service.load_balancer_ips);
    for addr in &load_balancer_ips {
        ask(*addr, port.port, Exposure::External, &outcome, sources);
    }
    let external_ips = if site.view.ignore_external_ips { &[][..] } else { &service.external_ips };
    for addr in of_family(external_ips).difference(&load_balancer_ips) {
        ask(*addr, port.port, Exposure::External, &outcome, None);
    }
    if let Some(number) = port.node_port {
        ask(family.unspecified(), number.get(), Exposure::External, &outcome, None);
    }
}

/// What happens at the ClusterIP.
fn internal(service: &Service, chosen: &Selection) -> Outcome {
    let list = if service.internal_traffic_local { &chosen.local } else { &chosen.cluster };
    match (list.is_empty(), chosen.any) {
        (false, _) => Outcome::Balance(list.as_slice().into()),
        (true, true) => Outcome::Drop,
        (true, false) => Outcome::Reject,
    }
}

/// What happens at external frontends. The internal policy does not matter here.
fn external(service: &Service, chosen: Selection) -> Outcome {
    if chosen.cluster.is_empty() {
        Outcome::Reject
    } else if service.external_traffic_local {
        Outcome::BalanceLocal { any: chosen.cluster.into(), local: chosen.local.into() }
    } else {
        Outcome::Balance(chosen.cluster.into())
    }
}

/// Who may use the load-balancer IPs of one family; `None` for everybody.
///
/// A range that contains this node lets in the load-balancer IPs themselves: where such an address is also bound on the node, the
/// node's own packets carry it as their source.
fn sources(site: Site<'_>, service: &Service, family: Family) -> Option<Arc<[IpNet]>> {
    let of_family = |addr: IpAddr| Family::of(addr) == family;
    let mut ranges: Vec<IpNet> =
        service.source_ranges.iter().map(IpNet::trunc).filter(|range| of_family(range.addr())).collect();
    if ranges.is_empty() || ranges.iter().any(|range| range.prefix_len() == 0) {
        return None;
    }
    let node_addresses = site.node.map_or(&[][..], |node| &node.addresses);
    if node_addresses.iter().any(|addr| ranges.iter().any(|range| range.contains(addr))) {
        ranges.extend(service.load_balancer_ips.iter().copied().filter(|addr| of_family(*addr)).map(IpNet::from));
    }
    let mut ranges = IpNet::aggregate(&ranges);
    ranges.sort_unstable();
    Some(ranges.into())
}

impl ServiceSpec {
    /// Adds what another Service asks for.
    pub fn extend(&mut self, other: Self) {
        self.frontends.extend(other.frontends);
        self.shared.extend(other.shared);
    }
}

impl Site<'_> {
    fn place(&self) -> Place<'_> {
        Place { node: &self.view.node_name, zone: self.node.and_then(Node::zone) }
    }
}

impl Cluster {
    /// Where its Services are compiled.
    pub(super) fn site(&self) -> Site<'_> {
        Site { view: self.view(), node: self.node() }
    }

    /// What a Service asks for; nothing if it is not there.
    #[cfg(test)]
    fn compile(&self, name: &ObjectName) -> ServiceSpec {
        self.known(name).map_or_else(ServiceSpec::default, |known| compile(self.site(), known))
    }
}

impl FrontendSpec {
    /// The sets that the frontend is a member of, by what happens to connections, who keeps an endpoint and who may open them.
    pub fn gates(&self, frontend: Frontend) -> Vec<SetName> {
        let node_port = frontend.is_node_port();
        let by_kind = |address: SetName, port: SetName| if node_port { port } else { address };
        let drop = by_kind(SetName::DropServices, SetName::DropNodeports);
        let mut gates = match (&self.outcome, self.exposure) {
            (Outcome::Balance(any), Exposure::Internal) => {
                SizeClass::of(any.len()).map(SetName::Internal).into_iter().collect()
            }
            (Outcome::Balance(_), Exposure::External) => vec![by_kind(SetName::External, SetName::Nodeports)],
            (Outcome::BalanceLocal { local, .. }, _) => {
                let mut gates = vec![by_kind(SetName::ExternalLocal, SetName::NodeportsLocal)];
                // Who is confined to local endpoints and finds none falls through to this.
                gates.extend(local.is_empty().then_some(drop));
                gates
            }
            (Outcome::Reject, _) => vec![by_kind(SetName::RejectServices, SetName::RejectNodeports)],
            (Outcome::Drop, _) => vec![drop],
        };
        // Without endpoints there is nothing to keep.
        if !self.endpoints(false).is_empty() {
            let affinity = self.affinity.map(|seconds| Affinity { node_port, seconds: seconds.get() });
            gates.extend(affinity.map(SetName::WithAffinity));
        }
        gates.extend(self.sources.is_some().then_some(SetName::Firewalled));
        gates
    }

    /// The endpoints of the list for everyone (`local` false) or of this node's.
    pub fn endpoints(&self, local: bool) -> &Arc<[Endpoint]> {
        static NONE: LazyLock<Arc<[Endpoint]>> = LazyLock::new(Arc::default);
        match &self.outcome {
            Outcome::Balance(any) if !local => any,
            Outcome::BalanceLocal { any, .. } if !local => any,
            Outcome::BalanceLocal { local, .. } => local,
            _ => &NONE,
        }
    }

    /// Orders claims to one frontend: the older Service first, one of unknown age last, then by namespace, name and port.
    pub(super) fn rank(&self) -> (bool, Option<Timestamp>, &ObjectName, &str) {
        (self.created.is_none(), self.created, &self.service, &self.owner)
    }
}

impl From<SharedElement> for Element {
    fn from(shared: SharedElement) -> Self {
        Self::member(shared.set, shared.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, name, service, slice};
    use crate::state::{Decoded, Event, View};

    fn compiled(world: &World, service: &str) -> (Vec<String>, Vec<String>) {
        let spec = world.cluster.compile(&name(service));
        let frontends =
            spec.frontends.iter().map(|(frontend, spec)| format!("{frontend} {}", spec.gates(*frontend)[0]));
        let shared = spec.shared.iter().map(|shared| format!("{} {}", shared.set, shared.key));
        (frontends.collect(), shared.collect())
    }

    #[test]
    fn a_service_that_is_not_there_asks_for_nothing() {
        let mut world = World::new();
        world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
        assert_eq!(world.cluster.compile(&name("shop/web")), ServiceSpec::default());
    }

    #[test]
    fn a_service_without_ports_or_without_addresses_has_no_frontends() {
        let mut world = World::new();
        world.apply(service("shop/portless").ports(&[]));
        world.apply(service("shop/nowhere").ips(&[]));
        assert_eq!(compiled(&world, "shop/portless"), (vec![], vec!["cluster-ips 10.96.0.1".to_owned()]));
        assert_eq!(compiled(&world, "shop/nowhere"), (vec![], vec![]));
    }

    #[test]
    fn external_ips_can_be_left_out() {
        for (ignore_external_ips, expected) in [(false, 2), (true, 1)] {
            let mut world = World::new();
            world.cluster = Cluster::seen_from(View { ignore_external_ips, ..world.cluster.view().clone() });
            let Decoded::Object(web) = service("shop/web").decoded() else { panic!("a Service") };
            let web = Service { external_ips: vec![crate::fixtures::ip("203.0.113.1")].into(), ..(*web).clone() };
            world.apply(Event::ServiceApplied(Decoded::Object(Arc::new(web))));
            assert_eq!(world.cluster.compile(&name("shop/web")).frontends.len(), expected);
        }
    }

    #[test]
    fn each_family_has_its_own_outcome() {
        let mut world = World::new();
        world.apply(service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]).local());
        world.apply(slice("shop/web-1").endpoints("10.1.0.1 R r"));
        world.apply(slice("shop/web-2").ip6().endpoints("fd00:1::1 L r"));
        let (frontends, shared) = compiled(&world, "shop/web");
        assert_eq!(frontends, ["10.96.0.1:80/tcp drop-services", "[fd00:96::1]:80/tcp internal-1"]);
        let hairpin = "hairpin fd00:1::1 . fd00:1::1 . tcp . 8080";
        assert_eq!(shared, ["cluster-ips 10.96.0.1", "cluster-ips fd00:96::1", hairpin]);
    }

    #[test]
    fn an_endpoint_that_serves_two_ports_is_asked_for_as_often() {
        let mut world = World::new();
        world.apply(service("shop/web").ports(&["http 80/tcp", "alt 81/tcp"]));
        world.apply(slice("shop/web-1").ports(&["http 8080/tcp", "alt 8080/tcp"]).endpoints("10.1.0.1 L r"));
        let (_, shared) = compiled(&world, "shop/web");
        assert_eq!(shared.iter().filter(|shared| shared.starts_with("hairpin")).count(), 2);
    }
}
