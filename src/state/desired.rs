//! The dataplane that this node should hold, in terms of frontends and endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use im::OrdMap;
use ipnet::IpNet;

use super::cluster::Cluster;
use super::compile::{FrontendSpec, ServiceSpec, SharedElement, Site, compile};
use super::event::Kind;
use super::known::{Known, spread};
use super::local::{HealthChecks, WithoutLocal};
use super::since::{Mark, Since};
use super::skipped::{ObjectRef, Problem, Reason, Skipped};
use super::touched::Touched;
use crate::dataplane::{Frontend, Key, SetName};

/// What the dataplane should hold: a persistent map that shares everything unchanged with the snapshot before.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// What every frontend is asked to do. Never an empty claim.
    pub frontends: OrdMap<Frontend, Claims>,
    /// Shared elements and how often each is asked for. Never 0.
    pub shared: OrdMap<SharedElement, u32>,
    /// What load balancers may ask this node.
    pub health_checks: HealthChecks,
    /// Service ports whose traffic a policy confines to this node, which has no endpoint of theirs.
    pub without_local: WithoutLocal,
    /// Where it may differ from an earlier snapshot.
    since: Since,
}

/// The service ports that ask for one frontend, the winner first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    winner: Arc<FrontendSpec>,
    /// The others in order of rank; nearly always none, and then without an allocation.
    losers: Losers,
}

type Losers = Option<Arc<Vec<Arc<FrontendSpec>>>>;

/// The frontends that an update asks something else of, each with those who had lost it before.
type Contested = BTreeMap<Frontend, Losers>;

impl Desired {
    /// Everything that a cluster asks for.
    pub fn of(cluster: &Cluster) -> Self {
        Self::first(cluster).0
    }

    /// Everything that a cluster asks for, and the Services that lost a frontend to an older one.
    pub fn first(cluster: &Cluster) -> (Self, Vec<Skipped>) {
        Self::default().advance(cluster, &cluster.everything())
    }

    /// The next snapshot, given the cluster and what was touched since the last; and the Services that newly lost a frontend to an
    /// older one.
    ///
    /// Costs O(endpoints of the touched Services).
    pub fn update(&self, cluster: &Cluster, touched: &Touched) -> (Self, Vec<Skipped>) {
        self.clone().advance(cluster, touched)
    }

    /// The next snapshot in place of this one: what nobody else shares is changed where it is.
    pub fn advance(mut self, cluster: &Cluster, touched: &Touched) -> (Self, Vec<Skipped>) {
        if touched.is_empty() {
            return (self, Vec::new());
        }
        self.since.step();
        let mut contested = Contested::new();
        let (site, nothing) = (cluster.site(), Known::default());
        let site_before = Site { node: touched.node_before(site.node), ..site };
        // Nothing is asked for yet, so nothing is withdrawn: everything can be sorted first.
        let mut first = (self.frontends.is_empty() && self.shared.is_empty()).then(ServiceSpec::default);
        for (name, known_before) in touched.before() {
            let known = cluster.known(&name.0).unwrap_or(&nothing);
            let (before, after) = (compile(site_before, known_before), compile(site, known));
            self.health_checks.follow(site, &name.0, known);
            self.without_local.replace(&before, &after);
            match &mut first {
                Some(first) => first.extend(after),
                None => self.replace(before, after, &mut contested),
            }
        }
        if let Some(first) = first {
            self.fill(first, &mut contested);
        }
        if let Some(before) = touched.networks_before() {
            self.replace(networks(before), networks(&cluster.service_networks()), &mut contested);
        }
        if let Some(before) = touched.node_port_ips_before() {
            let ips = cluster.node_port_ips();
            self.replace(node_port_ips(before), node_port_ips(&ips), &mut contested);
            self.health_checks.addresses = ips.into();
        }
        let lost = contested.iter().flat_map(|(frontend, before)| self.newly_lost(frontend, before)).collect();
        self.since.bound(self.frontends.len());
        (self, lost)
    }

    /// The mark of this snapshot: whoever keeps it can ask later what may have changed since.
    pub(crate) fn mark(&self) -> Mark {
        self.since.mark()
    }

    /// Where this snapshot may differ from the marked one; `None` if that is not known.
    pub(crate) fn since(&self, mark: &Mark) -> Option<(&[Frontend], &[SharedElement])> {
        self.since.of(mark)
    }

    /// Forgets where it differs from earlier snapshots: it has been programmed, so nobody will ask. Costs nothing but speed if
    /// somebody does.
    pub fn settle(&mut self) {
        self.since.forget();
    }

    /// Takes over what is asked for where nothing was asked for before.
    fn fill(&mut self, mut all: ServiceSpec, contested: &mut Contested) {
        self.since.forget();
        all.frontends.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.rank().cmp(&other.rank())));
        let mut frontends: Vec<(Frontend, Claims)> = Vec::with_capacity(all.frontends.len());
        for (frontend, spec) in all.frontends {
            match frontends.last_mut() {
                Some((last, claims)) if *last == frontend => {
                    claims.add_last(spec);
                    contested.insert(frontend, None);
                }
                _ => frontends.push((frontend, Claims::from(spec))),
            }
        }
        for (frontend, claims) in spread(frontends) {
            self.frontends.insert(frontend, claims);
        }
        all.shared.sort_unstable();
        let counted =
            all.shared.chunk_by(PartialEq::eq).map(|same| (same[0], u32::try_from(same.len()).unwrap_or(u32::MAX)));
        for (shared, count) in spread(counted.collect()) {
            self.shared.insert(shared, count);
        }
    }

    /// Withdraws what was asked for and asks for something else; what both ask for is not touched.
    fn replace(&mut self, mut before: ServiceSpec, mut after: ServiceSpec, contested: &mut Contested) {
        cancel(&mut before.frontends, &mut after.frontends);
        cancel(&mut before.shared, &mut after.shared);
        for (frontend, spec) in after.frontends {
            let same = before.frontends.iter().position(|(other, _)| *other == frontend);
            let old = same.map(|at| before.frontends.swap_remove(at).1);
            self.exchange(frontend, old.as_deref(), Some(spec), contested);
        }
        for (frontend, old) in before.frontends {
            self.exchange(frontend, Some(&*old), None, contested);
        }
        for shared in after.shared {
            self.since.shared(shared);
            *self.shared.entry(shared).or_insert(0) += 1;
        }
        for shared in before.shared {
            self.since.shared(shared);
            match self.shared.get_mut(&shared) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.shared.remove(&shared);
                }
            }
        }
    }

    /// Replaces one claim to a frontend, or adds or withdraws one.
    fn exchange(
        &mut self,
        frontend: Frontend,
        old: Option<&FrontendSpec>,
        new: Option<Arc<FrontendSpec>>,
        contested: &mut Contested,
    ) {
        self.since.frontend(frontend);
        let Some(claims) = self.frontends.get_mut(&frontend) else {
            contested.entry(frontend).or_default();
            self.frontends.extend(new.map(|new| (frontend, Claims::from(new))));
            return;
        };
        contested.entry(frontend).or_insert_with(|| claims.losers.clone());
        match new {
            // Nearly always: another version of the only claim.
            Some(new) if claims.losers.is_none() && old == Some(&*claims.winner) => claims.winner = new,
            new => match claims.exchanged(old, new) {
                Some(changed) => *claims = changed,
                None => {
                    self.frontends.remove(&frontend);
                }
            },
        }
    }

    /// The service ports that have no say on a frontend now and were not in that place before.
    fn newly_lost(&self, frontend: &Frontend, before: &Losers) -> Vec<Skipped> {
        let Some(claims) = self.frontends.get(frontend) else { return Vec::new() };
        let had_lost = |owner: &str| before.iter().flat_map(|losers| losers.iter()).any(|spec| *spec.owner == *owner);
        let lost = claims.losers().iter().filter(|spec| !had_lost(&spec.owner));
        lost.map(|spec| Skipped {
            object: ObjectRef { kind: Kind::Service, name: spec.service.clone() },
            problem: Problem::new(
                frontend.to_string(),
                Reason::FrontendTaken,
                format!("{} holds this frontend and is older, or first by name", claims.winner().owner),
            ),
        })
        .collect()
    }
}

/// Where it came from does not matter.
impl PartialEq for Desired {
    fn eq(&self, other: &Self) -> bool {
        let Self { frontends, shared, health_checks, without_local, since: _ } = self;
        *frontends == other.frontends
            && *shared == other.shared
            && *health_checks == other.health_checks
            && *without_local == other.without_local
    }
}

impl Eq for Desired {}

/// Removes from both lists what is in both.
fn cancel<T: PartialEq>(before: &mut Vec<T>, after: &mut Vec<T>) {
    after.retain(|new| {
        let same = before.iter().position(|old| old == new);
        same.inspect(|at| drop(before.swap_remove(*at))).is_none()
    });
}

impl Claims {
    /// The service port that holds the frontend: of the oldest Service, then the first by namespace, name and port.
    pub fn winner(&self) -> &Arc<FrontendSpec> {
        &self.winner
    }

    /// The service ports that would like to have it too.
    pub fn losers(&self) -> &[Arc<FrontendSpec>] {
        self.losers.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Adds a claim of the last rank.
    fn add_last(&mut self, spec: Arc<FrontendSpec>) {
        Arc::make_mut(self.losers.get_or_insert_default()).push(spec);
    }

    /// With one claim less and one more; `None` if none is left.
    fn exchanged(&self, old: Option<&FrontendSpec>, new: Option<Arc<FrontendSpec>>) -> Option<Self> {
        let mut specs: Vec<_> = std::iter::once(&self.winner).chain(self.losers()).cloned().collect();
        if let Some(at) = specs.iter().position(|other| old == Some(&**other)) {
            specs.remove(at);
        }
        if let Some(new) = new {
            specs.insert(specs.partition_point(|other| other.rank() <= new.rank()), new);
        }
        let mut specs = specs.into_iter();
        let mut claims = Self::from(specs.next()?);
        specs.for_each(|spec| claims.add_last(spec));
        Some(claims)
    }
}

impl From<Arc<FrontendSpec>> for Claims {
    fn from(winner: Arc<FrontendSpec>) -> Self {
        Self { winner, losers: None }
    }
}

/// What the ServiceCIDRs ask for.
fn networks(networks: &[IpNet]) -> ServiceSpec {
    let element = |network: &IpNet| SharedElement { set: SetName::ServiceCidrs, key: Key::Network(*network) };
    ServiceSpec { shared: networks.iter().map(element).collect(), ..ServiceSpec::default() }
}

/// What the node's addresses ask for.
fn node_port_ips(ips: &[IpAddr]) -> ServiceSpec {
    let element = |addr: &IpAddr| SharedElement { set: SetName::NodeportIps, key: Key::Addr(*addr) };
    ServiceSpec { shared: ips.iter().map(element).collect(), ..ServiceSpec::default() }
}

#[cfg(test)]
mod tests;
