//! From a Service and its slices to what they ask of the dataplane.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use jiff::Timestamp;

use super::cluster::Cluster;
use super::few::Few;
use super::guards::{Share, problems};
use super::names::ObjectName;
use super::object::Node;
use super::select::Place;
use super::service_state::ServiceState;
use super::skipped::Problem;
use super::slice_ports::SlicePorts;
use super::view::View;
use crate::dataplane::{Endpoint, Frontend, Protocol};

mod service_draft;

use service_draft::ServiceDraft;

/// What one service port asks for on one of its frontends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendSpec {
    /// The Service.
    pub service: ObjectName,
    /// The service port, as it is named in comments and in the diff: see [`owner_tag`](super::owner_tag).
    pub owner: Arc<str>,
    /// When the Service was created.
    pub created: Option<Timestamp>,
    /// The clients that the frontend is for.
    pub exposure: Exposure,
    /// What happens to a new connection.
    pub outcome: Outcome,
    /// For how many seconds a client keeps its endpoint (`sessionAffinity: ClientIP`).
    pub affinity: Option<NonZeroU32>,
    /// The sources that may open connections, in order and without overlaps; `None` for all.
    pub sources: Option<Arc<[IpNet]>>,
}

/// The clients that a frontend is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exposure {
    /// For the cluster: a ClusterIP.
    Internal,
    /// For all clients: an external IP, a load-balancer IP or a NodePort.
    External,
}

/// What a claim to a frontend rests on, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClaimClass {
    /// The API server allocated the address to the Service.
    ClusterIp,
    /// The Service names the address, and has endpoints on some node.
    WithEndpoints,
    /// The Service names the address.
    WithoutEndpoints,
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
        /// For all other clients.
        local: Arc<[Endpoint]>,
    },
    /// It is refused: there is no endpoint anywhere.
    Reject,
    /// It is dropped: there are endpoints, but the policy allows none from this node.
    Drop,
}

impl Outcome {
    /// How many endpoints there are in all lists.
    fn endpoint_count(&self) -> usize {
        match self {
            Self::Balance(any) => any.len(),
            Self::BalanceLocal { any, local } => any.len() + local.len(),
            Self::Reject | Self::Drop => 0,
        }
    }
}

/// Something that several service ports may need. The dataplane holds it once, for as long as one of them needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SharedDemand {
    /// This address is a ClusterIP. Connections to its ports that no Service has are refused.
    ClusterIp(IpAddr),
    /// This endpoint is on this node, or no slice says where it is. When it connects to itself through a Service, its source has to be masqueraded.
    LocalEndpoint(Endpoint, Protocol),
    /// This address of the node accepts NodePorts.
    NodePortAddress(IpAddr),
    /// ClusterIPs are allocated from this network. Connections to its addresses that no Service has are dropped.
    ServiceNetwork(IpNet),
}

/// Which of a frontend's endpoints are meant, in the words of the Service's traffic policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrafficPolicy {
    /// Those that clients without a restriction may use.
    Cluster,
    /// Those on this node, for clients that the policy `Local` confines to them.
    Local,
}

impl TrafficPolicy {
    /// Both policies.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::Local];
}

/// Where a Service is compiled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub view: &'a View,
    /// This node's object.
    pub node: Option<&'a Node>,
}

/// Everything that one Service asks of the dataplane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CompiledService {
    /// Its frontends, in order. Two ports of one Service may ask for the same frontend.
    pub frontends: Vec<(Frontend, Arc<FrontendSpec>)>,
    /// What it needs together with others, in order, repeated for each port that needs it.
    pub shared: Vec<SharedDemand>,
    /// What it asks for and does not get.
    pub problems: Few<Problem>,
}

/// Compiles one Service as this node sees it. A Service that does not exist asks for nothing.
///
/// A Service has frontends in the families of its ClusterIPs. If they do not all fit into its share ([`Guards`]), ClusterIPs and
/// NodePorts come first, then load-balancer IPs, then external IPs, each in the order of the ports. Costs O(endpoints + frontends,
/// sorted), at most in the order of that share for each family.
///
/// [`Guards`]: super::guards::Guards
pub(super) fn compile(site: Site<'_>, state: &ServiceState) -> CompiledService {
    #[cfg(test)]
    compilations::note();
    let Some(service) = &state.service else { return CompiledService::default() };
    let guards = &site.view.guards;
    let mut draft = ServiceDraft {
        site,
        service,
        slices: SlicePorts::new(state.slices(), service.ports.len(), guards),
        share: Share::new(guards),
        compiled: CompiledService {
            frontends: Vec::with_capacity(service.cluster_ips.len() * service.ports.len()),
            shared: Vec::with_capacity(service.cluster_ips.len()),
            problems: problems(site, service, state.slices()),
        },
    };
    let mut exposed = Vec::new();
    for cluster_ip in &service.cluster_ips {
        draft.compiled.shared.push(SharedDemand::ClusterIp(*cluster_ip));
        for (n, port) in service.ports.iter().enumerate() {
            if draft.share.is_spent() {
                draft.share.leave_out(service.ports.len() - n);
                break;
            }
            exposed.extend(draft.compile_port(*cluster_ip, port));
        }
    }
    draft.expose(&exposed);
    let ServiceDraft { mut compiled, share, .. } = draft;
    compiled.problems.extend(share.problem());
    // Stable: claims of two ports to the same frontend stay in the order of the ports.
    compiled.frontends.sort_by_key(|(frontend, _)| *frontend);
    compiled.shared.sort_unstable();
    compiled.frontends.shrink_to_fit();
    compiled.shared.shrink_to_fit();
    compiled
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
}

impl FrontendSpec {
    /// The endpoints that clients under this policy are balanced over. Empty if there are none, or if all clients share one list.
    pub fn endpoints(&self, policy: TrafficPolicy) -> &Arc<[Endpoint]> {
        static NONE: LazyLock<Arc<[Endpoint]>> = LazyLock::new(Arc::default);
        match (&self.outcome, policy) {
            (Outcome::Balance(any) | Outcome::BalanceLocal { any, .. }, TrafficPolicy::Cluster) => any,
            (Outcome::BalanceLocal { local, .. }, TrafficPolicy::Local) => local,
            _ => &NONE,
        }
    }

    /// How many endpoints the frontend has under both policies.
    pub fn endpoint_count(&self) -> usize {
        self.outcome.endpoint_count()
    }

    /// Whether the frontend comes before others when a change is large: the API server's, which this process may depend on, and the
    /// cluster's DNS.
    pub fn is_urgent(&self, frontend: Frontend) -> bool {
        let service = &self.service;
        (service.is_in("default") && service.name() == "kubernetes")
            || (frontend.port == 53 && service.is_in("kube-system"))
    }

    /// Orders claims to one frontend, so that no Service takes over traffic that another one has better reasons to get: a ClusterIP comes
    /// before all other addresses, and of those one with endpoints somewhere before one without. Then the older Service comes first, one of
    /// unknown age last, then by namespace, name and port. The same on every node.
    pub(super) fn rank(&self) -> (ClaimClass, bool, Option<Timestamp>, &ObjectName, &str) {
        (self.claim_class(), self.created.is_none(), self.created, &self.service, &self.owner)
    }

    /// What a claim rests on.
    pub(super) fn claim_class(&self) -> ClaimClass {
        match (self.exposure, &self.outcome) {
            (Exposure::Internal, _) => ClaimClass::ClusterIp,
            (Exposure::External, Outcome::Reject) => ClaimClass::WithoutEndpoints,
            (Exposure::External, _) => ClaimClass::WithEndpoints,
        }
    }
}

/// Counts compilations in this thread, for the test that a change takes one.
#[cfg(test)]
pub(crate) mod compilations {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub fn note() {
        COUNT.set(COUNT.get() + 1);
    }

    /// How many compilations `work` takes.
    pub fn count(work: impl FnOnce()) -> usize {
        let before = COUNT.get();
        work();
        COUNT.get() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, name, service, slice};
    use crate::state::object::Service;
    use crate::state::{Decoded, Event};

    fn compile(world: &World, service: &str) -> CompiledService {
        world
            .cluster()
            .service_state(&name(service))
            .map(|state| super::compile(world.cluster().site(), state))
            .unwrap()
    }

    fn compiled(world: &World, service: &str) -> (Vec<String>, Vec<String>) {
        let compiled = compile(world, service);
        let says = |spec: &FrontendSpec| match &spec.outcome {
            Outcome::Balance(endpoints) => format!("balances over {}", endpoints.len()),
            Outcome::BalanceLocal { any, local } => format!("balances over {} or {}", any.len(), local.len()),
            Outcome::Reject => "rejects".to_owned(),
            Outcome::Drop => "drops".to_owned(),
        };
        let frontends = compiled.frontends.iter().map(|(frontend, spec)| format!("{frontend} {}", says(spec)));
        (frontends.collect(), compiled.shared.iter().map(|demand| format!("{demand:?}")).collect())
    }

    #[test]
    fn a_service_that_does_not_exist_asks_for_nothing() {
        let mut world = World::new();
        world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
        assert_eq!(compile(&world, "shop/web"), CompiledService::default());
    }

    #[test]
    fn a_service_without_ports_or_without_addresses_has_no_frontends() {
        let mut world = World::new();
        world.apply(service("shop/portless").ports(&[]));
        world.apply(service("shop/nowhere").ips(&[]));
        assert_eq!(compiled(&world, "shop/portless"), (vec![], vec!["ClusterIp(10.96.0.1)".to_owned()]));
        assert_eq!(compiled(&world, "shop/nowhere"), (vec![], vec![]));
    }

    #[test]
    fn external_ips_can_be_left_out() {
        for (ignore_external_ips, expected) in [(false, 2), (true, 1)] {
            let mut world = World::unlisted_from(View { ignore_external_ips, ..View::default() });
            let Decoded::Object(web) = service("shop/web").decoded() else { panic!("a Service") };
            let web = Service { external_ips: vec![crate::fixtures::ip("203.0.113.1")].into(), ..(*web).clone() };
            world.apply(Event::ServiceApplied(Decoded::Object(Arc::new(web))));
            assert_eq!(compile(&world, "shop/web").frontends.len(), expected);
        }
    }

    #[test]
    fn each_family_has_its_own_outcome() {
        let mut world = World::new();
        world.apply(service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]).local());
        world.apply(slice("shop/web-1").endpoints("10.1.0.1 R r"));
        world.apply(slice("shop/web-2").ip6().endpoints("fd00:1::1 L r"));
        let (frontends, shared) = compiled(&world, "shop/web");
        assert_eq!(frontends, ["10.96.0.1:80/tcp drops", "[fd00:96::1]:80/tcp balances over 1"]);
        assert_eq!(shared[..2], ["ClusterIp(10.96.0.1)", "ClusterIp(fd00:96::1)"]);
        assert!(shared.len() == 3 && shared[2].contains("fd00:1::1"), "{shared:?}");
    }

    #[test]
    fn the_api_server_and_the_dns_of_the_cluster_come_first() {
        let mut world = World::new();
        let is_urgent = |world: &mut World, name: &str, port: &str| {
            world.apply(service(name).ports(&[port]));
            let (frontend, spec) = compile(world, name).frontends.remove(0);
            spec.is_urgent(frontend)
        };
        assert!(is_urgent(&mut world, "default/kubernetes", "https 443/tcp"));
        assert!(is_urgent(&mut world, "kube-system/kube-dns", "dns 53/udp"));
        for (name, port) in [
            ("default/web", "https 443/tcp"),
            ("shop/kubernetes", "https 443/tcp"),
            ("shop/dns", "dns 53/udp"),
            ("kube-system/metrics", "https 443/tcp"),
        ] {
            assert!(!is_urgent(&mut world, name, port), "{name} {port}");
        }
    }

    #[test]
    fn the_endpoints_of_a_frontend_are_counted_in_all_lists() {
        let endpoints = |n: u8| (1..=n).map(|n| Endpoint { addr: [10, 1, 0, n].into(), port: 80 }).collect();
        let local = Outcome::BalanceLocal { any: endpoints(3), local: endpoints(2) };
        let counts =
            [Outcome::Balance(endpoints(3)), local, Outcome::Reject, Outcome::Drop].map(|it| it.endpoint_count());
        assert_eq!(counts, [3, 5, 0, 0]);
    }

    #[test]
    fn an_endpoint_that_serves_two_ports_is_asked_for_as_often() {
        let mut world = World::new();
        world.apply(service("shop/web").ports(&["http 80/tcp", "alt 81/tcp"]));
        world.apply(slice("shop/web-1").ports(&["http 8080/tcp", "alt 8080/tcp"]).endpoints("10.1.0.1 L r"));
        let (_, shared) = compiled(&world, "shop/web");
        assert_eq!(shared.iter().filter(|shared| shared.starts_with("LocalEndpoint")).count(), 2);
    }
}
