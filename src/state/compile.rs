//! From a Service and its slices to what they ask of the dataplane.

use std::sync::Arc;

use jiff::Timestamp;

use super::cluster::Cluster;
use super::names::{ObjectName, owner_tag};
use super::select::select;
use crate::dataplane::{Element, Endpoint, Family, Frontend, Key, SetName};

/// What one service port asks for on one of its frontends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendSpec {
    /// The Service.
    pub service: ObjectName,
    /// The service port, as it is named in comments and in the diff: see [`owner_tag`].
    pub owner: Arc<str>,
    /// When the Service was created.
    pub created: Option<Timestamp>,
    /// What happens to a new connection.
    pub outcome: Outcome,
}

/// What happens to a new connection to a frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to one of these endpoints, each with the same probability. Sorted, without repetitions, never empty.
    Balance(Arc<[Endpoint]>),
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
/// Costs O(endpoints of the Service).
pub(super) fn compile(cluster: &Cluster, name: &ObjectName) -> ServiceSpec {
    let mut spec = ServiceSpec::default();
    let Some(service) = cluster.service(name) else { return spec };
    let slices = cluster.slices_of(name);
    for addr in &service.cluster_ips {
        spec.shared.push(SharedElement { set: SetName::ClusterIps, key: Key::Addr(*addr) });
        for port in &service.ports {
            let selection =
                select(slices, port, Family::of(*addr), cluster.node_name(), service.internal_traffic_local);
            let hairpin = |endpoint| Key::Hairpin(endpoint, port.protocol);
            spec.shared
                .extend(selection.local.iter().map(|e| SharedElement { set: SetName::Hairpin, key: hairpin(*e) }));
            let outcome = match (selection.endpoints.is_empty(), selection.any) {
                (false, _) => Outcome::Balance(selection.endpoints.into()),
                (true, true) => Outcome::Drop,
                (true, false) => Outcome::Reject,
            };
            let frontend = Frontend { addr: *addr, protocol: port.protocol, port: port.port };
            let port_spec = FrontendSpec {
                service: name.clone(),
                owner: owner_tag(name, &port.name),
                created: service.created,
                outcome,
            };
            spec.frontends.push((frontend, Arc::new(port_spec)));
        }
    }
    spec
}

impl FrontendSpec {
    /// The gate set that decides what happens to connections to the frontend.
    pub fn gate(&self) -> SetName {
        match self.outcome {
            Outcome::Balance(_) => SetName::Internal,
            Outcome::Reject => SetName::RejectServices,
            Outcome::Drop => SetName::DropServices,
        }
    }

    /// The endpoints; none unless connections are balanced.
    pub fn endpoints(&self) -> &[Endpoint] {
        match &self.outcome {
            Outcome::Balance(endpoints) => endpoints,
            Outcome::Reject | Outcome::Drop => &[],
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

    fn compiled(world: &World, service: &str) -> (Vec<String>, Vec<String>) {
        let spec = compile(&world.cluster, &name(service));
        let frontends = spec.frontends.iter().map(|(frontend, spec)| format!("{frontend} {}", spec.gate()));
        let shared = spec.shared.iter().map(|shared| format!("{} {}", shared.set, shared.key));
        (frontends.collect(), shared.collect())
    }

    #[test]
    fn a_service_that_is_not_there_asks_for_nothing() {
        let mut world = World::new();
        world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
        assert_eq!(compile(&world.cluster, &name("shop/web")), ServiceSpec::default());
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
    fn each_family_has_its_own_outcome() {
        let mut world = World::new();
        world.apply(service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]).local());
        world.apply(slice("shop/web-1").endpoints("10.1.0.1 R r"));
        world.apply(slice("shop/web-2").ip6().endpoints("fd00:1::1 L r"));
        let (frontends, shared) = compiled(&world, "shop/web");
        assert_eq!(frontends, ["10.96.0.1:80/tcp drop-services", "[fd00:96::1]:80/tcp internal"]);
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
