//! The dataplane that this node should hold, in terms of frontends and endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;

use im::OrdMap;

use super::cluster::{Cluster, Touched};
use super::compile::{FrontendSpec, ServiceSpec, SharedElement, compile};
use super::event::Kind;
use super::local::{HealthChecks, WithoutLocal};
use super::skipped::{ObjectRef, Problem, Reason, Skipped};
use crate::dataplane::{Frontend, Key, SetName};

/// What the dataplane should hold: a persistent map that shares everything unchanged with the snapshot before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// What every frontend is asked to do. Never an empty claim.
    pub frontends: OrdMap<Frontend, Claims>,
    /// Shared elements and how often each is asked for. Never 0.
    pub shared: OrdMap<SharedElement, u32>,
    /// What load balancers may ask this node.
    pub health_checks: HealthChecks,
    /// Service ports whose traffic a policy confines to this node, which has no endpoint of theirs.
    pub without_local: WithoutLocal,
}

/// The service ports that ask for one frontend, the winner first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    winner: Arc<FrontendSpec>,
    /// The others in order of rank; nearly always none, and then without an allocation.
    losers: Vec<Arc<FrontendSpec>>,
}

impl Desired {
    /// Everything that a cluster asks for.
    pub fn of(cluster: &Cluster) -> Self {
        Self::first(cluster).0
    }

    /// Everything that a cluster asks for, and the Services that lost a frontend to an older one.
    pub fn first(cluster: &Cluster) -> (Self, Vec<Skipped>) {
        let nothing = Cluster::seen_from(cluster.view().clone());
        Self::default().update(&nothing, cluster, &cluster.everything())
    }

    /// The next snapshot, given the two clusters that it lies between and what was touched between them; and the Services that
    /// newly lost a frontend to an older one.
    ///
    /// Costs O(endpoints of the touched Services).
    pub fn update(&self, old: &Cluster, new: &Cluster, touched: &Touched) -> (Self, Vec<Skipped>) {
        let mut next = self.clone();
        let mut contested = BTreeSet::new();
        for name in &touched.services {
            let (before, after) = (compile(old, name), compile(new, name));
            next.health_checks.follow(new, name);
            next.without_local.replace(&before, &after);
            next.replace(before, after, &mut contested);
        }
        if touched.service_cidrs {
            next.replace(service_cidrs(old), service_cidrs(new), &mut contested);
        }
        if touched.node_port_ips {
            next.health_checks.addresses = new.node_port_ips().into();
            next.replace(node_port_ips(old), node_port_ips(new), &mut contested);
        }
        let lost = contested.iter().flat_map(|frontend| newly_lost(frontend, self, &next)).collect();
        (next, lost)
    }

    /// Withdraws what was asked for and asks for something else; what both ask for is not touched.
    fn replace(&mut self, before: ServiceSpec, after: ServiceSpec, contested: &mut BTreeSet<Frontend>) {
        if before == after {
            return;
        }
        let kept = |claim: &(Frontend, Arc<FrontendSpec>), others: &ServiceSpec| others.frontends.contains(claim);
        for claim in before.frontends.iter().filter(|claim| !kept(claim, &after)) {
            self.withdraw(claim);
        }
        for claim in after.frontends.iter().filter(|claim| !kept(claim, &before)) {
            if self.claim(claim) {
                contested.insert(claim.0);
            }
        }
        // Adding before removing leaves elements that both ask for in place.
        for shared in after.shared {
            *self.shared.entry(shared).or_insert(0) += 1;
        }
        for shared in before.shared {
            match self.shared.get(&shared) {
                Some(count) if *count > 1 => {
                    let less = count - 1;
                    self.shared.insert(shared, less);
                }
                _ => {
                    self.shared.remove(&shared);
                }
            }
        }
    }

    /// Adds a claim; true if the frontend has others.
    fn claim(&mut self, (frontend, spec): &(Frontend, Arc<FrontendSpec>)) -> bool {
        let mut specs = self.frontends.get(frontend).map_or_else(Vec::new, Claims::all);
        let at = specs.partition_point(|other| other.rank() <= spec.rank());
        specs.insert(at, Arc::clone(spec));
        let contested = specs.len() > 1;
        self.put(*frontend, specs);
        contested
    }

    fn withdraw(&mut self, (frontend, spec): &(Frontend, Arc<FrontendSpec>)) {
        let Some(claims) = self.frontends.get(frontend) else { return };
        let mut specs = claims.all();
        if let Some(at) = specs.iter().position(|other| other == spec) {
            specs.remove(at);
        }
        self.put(*frontend, specs);
    }

    fn put(&mut self, frontend: Frontend, specs: Vec<Arc<FrontendSpec>>) {
        let mut specs = specs.into_iter();
        match specs.next() {
            None => {
                self.frontends.remove(&frontend);
            }
            Some(winner) => {
                self.frontends.insert(frontend, Claims { winner, losers: specs.collect() });
            }
        }
    }
}

impl Claims {
    /// The service port that holds the frontend: of the oldest Service, then the first by namespace, name and port.
    pub fn winner(&self) -> &Arc<FrontendSpec> {
        &self.winner
    }

    /// The service ports that would like to have it too.
    pub fn losers(&self) -> &[Arc<FrontendSpec>] {
        &self.losers
    }

    fn all(&self) -> Vec<Arc<FrontendSpec>> {
        std::iter::once(&self.winner).chain(self.losers()).cloned().collect()
    }
}

/// What the ServiceCIDRs ask for.
fn service_cidrs(cluster: &Cluster) -> ServiceSpec {
    let element = |network| SharedElement { set: SetName::ServiceCidrs, key: Key::Network(network) };
    ServiceSpec { shared: cluster.service_networks().into_iter().map(element).collect(), ..ServiceSpec::default() }
}

/// What the node's addresses ask for.
fn node_port_ips(cluster: &Cluster) -> ServiceSpec {
    let element = |addr| SharedElement { set: SetName::NodeportIps, key: Key::Addr(addr) };
    ServiceSpec { shared: cluster.node_port_ips().into_iter().map(element).collect(), ..ServiceSpec::default() }
}

/// The service ports that have no say on a frontend now and were not in that place before.
fn newly_lost(frontend: &Frontend, before: &Desired, after: &Desired) -> Vec<Skipped> {
    let Some(claims) = after.frontends.get(frontend) else { return Vec::new() };
    let had_lost = |owner: &str| {
        before.frontends.get(frontend).is_some_and(|claims| claims.losers().iter().any(|spec| *spec.owner == *owner))
    };
    claims
        .losers()
        .iter()
        .filter(|spec| !had_lost(&spec.owner))
        .map(|spec| Skipped {
            object: ObjectRef { kind: Kind::Service, name: spec.service.clone() },
            problem: Problem::new(
                frontend.to_string(),
                Reason::FrontendTaken,
                format!("{} holds this frontend and is older, or first by name", claims.winner().owner),
            ),
        })
        .collect()
}

#[cfg(test)]
mod tests;
