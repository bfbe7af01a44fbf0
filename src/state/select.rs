//! Which endpoints a service port may use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::names::ObjectName;
use super::object::{EndpointPlace, ServicePort, SliceEndpoint};
use super::slice_ports::SlicePorts;
use crate::dataplane::{Endpoint, Family, SizeClass};

mod judge;

pub use judge::{EndpointReason, JudgedEndpoint};

/// Endpoints of one service port and family after selection; each list in order, without repetitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ChosenEndpoints {
    /// The endpoints that everyone may use: ready ones by topology, or terminating ones that still serve.
    pub cluster: Vec<Endpoint>,
    /// This node's endpoints, for traffic that a policy confines to them. Topology does not matter here.
    pub local: Vec<Endpoint>,
    /// Some endpoint, on any node, could answer: with no endpoints to use this means "not from here".
    pub any: bool,
    /// The endpoints of both lists that may be on this node, without repetitions: those whose slices name it, and those of which
    /// some slice does not say where they are.
    pub reachable_here: Vec<Endpoint>,
}

/// Where the choice is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The name of this node.
    pub node: &'a str,
    /// Its zone, if it has one.
    pub zone: Option<&'a str>,
}

/// Which lists a service port needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// The list for everyone.
    pub cluster: bool,
    /// The list of this node.
    pub local: bool,
}

/// One endpoint after the slices were merged.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    /// The entry whose conditions and hints count.
    endpoint: &'a SliceEndpoint,
    /// The entry that says on which node it is; `None` if no entry does.
    placed: Option<&'a SliceEndpoint>,
    /// That node is this one.
    local: bool,
    /// Some entry names this node, or none.
    may_be_here: bool,
}

impl<'a> Candidate<'a> {
    /// One entry of a slice, as the node `here` sees it.
    fn new(endpoint: &'a SliceEndpoint, here: &str) -> Self {
        let node = endpoint.node();
        let local = node == Some(here);
        Self { endpoint, placed: node.map(|_| endpoint), local, may_be_here: local || node.is_none() }
    }

    /// Takes in another entry of the same address and port. The result does not depend on the order.
    fn merge(&mut self, other: &Self, here: &str) {
        if rank(other.endpoint) > rank(self.endpoint) {
            self.endpoint = other.endpoint;
        }
        // An entry that does not say where the endpoint is hides none that does.
        self.placed = self.placed.into_iter().chain(other.placed).max_by(|a, b| rank(a).cmp(&rank(b)));
        self.local = self.placed.is_some_and(|placed| placed.node() == Some(here));
        self.may_be_here |= other.may_be_here;
    }

    fn ready(&self) -> bool {
        self.endpoint.ready
    }

    /// Not ready, but terminating and still serving: used when nothing is ready (KEP-1669).
    fn fallback(&self) -> bool {
        !self.endpoint.ready && self.endpoint.serving && self.endpoint.terminating
    }
}

/// The endpoints of a service port, in order and without repetitions.
type Merged<'a> = Vec<(Endpoint, Candidate<'a>)>;

/// Chooses the endpoints of `port` from the slices of its Service.
///
/// When no endpoint of a list is ready, those that are terminating but still serving are used; each list decides that for itself,
/// as in kube-proxy.
pub(super) fn select(
    slices: &SlicePorts<'_>,
    port: &ServicePort,
    family: Family,
    place: Place<'_>,
    needs: Needs,
) -> ChosenEndpoints {
    let candidates = merge(slices, port, family, place.node);
    let near = Topology::for_candidates(&candidates, place);
    let ready_or_fallback = |wanted: &dyn Fn(&Candidate<'_>) -> bool| {
        let of = |condition: fn(&Candidate<'_>) -> bool| -> Vec<Endpoint> {
            let chosen = candidates.iter().filter(|(_, c)| condition(c) && wanted(c));
            let mut endpoints = Vec::with_capacity(candidates.len());
            endpoints.extend(chosen.map(|(endpoint, _)| *endpoint).take(SizeClass::MAX.slots() as usize));
            endpoints
        };
        let ready = of(|c| c.ready());
        if ready.is_empty() { of(|c| c.fallback()) } else { ready }
    };
    // Topology chooses among ready endpoints only, and leaves at least one of them.
    let cluster =
        if needs.cluster { ready_or_fallback(&|c| !c.ready() || near.allows(c.endpoint, place)) } else { Vec::new() };
    let local = if needs.local { ready_or_fallback(&|c| c.local) } else { Vec::new() };
    let is_used = |endpoint: &Endpoint| [&cluster, &local].iter().any(|list| list.binary_search(endpoint).is_ok());
    let here = candidates.iter().filter(|(endpoint, c)| c.may_be_here && is_used(endpoint));
    let reachable_here = here.map(|(endpoint, _)| *endpoint).collect();
    let any = candidates.iter().any(|(_, c)| c.ready() || c.fallback());
    ChosenEndpoints { cluster, local, any, reachable_here }
}

/// The addresses of this node's endpoints that are ready for some of these ports.
///
/// Which these are does not depend on the numbers of the ports in the slices, only on which of them are the same: ports that the same slices
/// serve alike have the same.
pub(super) fn ready_here(
    slices: &SlicePorts<'_>,
    ports: &[ServicePort],
    family: Family,
    node: &str,
) -> BTreeSet<IpAddr> {
    let (mut looked_at, mut ready) = (BTreeSet::new(), BTreeSet::new());
    for port in ports {
        let mut numbers = BTreeMap::new();
        let group: Vec<(&ObjectName, usize)> = slices
            .targets(port, family)
            .map(|(slice, number)| {
                let next = numbers.len();
                (&slice.name, *numbers.entry(number).or_insert(next))
            })
            .collect();
        if looked_at.insert(group) {
            let merged = merge(slices, port, family, node);
            ready.extend(merged.iter().filter(|(_, c)| c.local && c.ready()).map(|(endpoint, _)| endpoint.addr));
        }
    }
    ready
}

/// The endpoints of `port`, on any node, that may keep the flows that they have: those that are serving, and those that are ready,
/// terminating or not, whatever policies and hints say about new connections.
pub(super) fn serving(slices: &SlicePorts<'_>, port: &ServicePort, family: Family) -> BTreeSet<Endpoint> {
    let merged = merge(slices, port, family, "");
    merged.iter().filter(|(_, c)| c.endpoint.serving || c.ready()).map(|(endpoint, _)| *endpoint).collect()
}

/// Which hints are followed.
#[derive(Clone, Copy)]
enum Topology {
    None,
    SameNode,
    SameZone,
}

impl Topology {
    /// Hints are followed if every ready endpoint has one and at least one names this node, or else this zone (KEP-2433,
    /// KEP-3015).
    fn for_candidates(candidates: &[(Endpoint, Candidate<'_>)], place: Place<'_>) -> Self {
        let ready = || candidates.iter().filter(|(_, c)| c.ready()).map(|(_, c)| c.endpoint);
        let all = |hinted: fn(&SliceEndpoint) -> bool| ready().next().is_some() && ready().all(hinted);
        let some_allowed = |topology: Self| ready().any(|endpoint| topology.allows(endpoint, place));
        if all(|endpoint| !endpoint.node_hints().is_empty()) && some_allowed(Self::SameNode) {
            Self::SameNode
        } else if all(|endpoint| !endpoint.zone_hints().is_empty()) && some_allowed(Self::SameZone) {
            Self::SameZone
        } else {
            Self::None
        }
    }

    fn allows(self, endpoint: &SliceEndpoint, place: Place<'_>) -> bool {
        match self {
            Self::None => true,
            Self::SameNode => endpoint.node_hints().iter().any(|node| **node == *place.node),
            Self::SameZone => endpoint.zone_hints().iter().any(|zone| Some(&**zone) == place.zone),
        }
    }
}

/// Which of two entries of one address and port counts: the greater one.
///
/// A ready entry comes first, then one that is not terminating (the address may be reused while its old pod terminates), then one that
/// serves. Between equals the contents decide, known nodes and hints before none: never the order in which slices arrived, or their
/// names, which differ between nodes and restarts. (kube-proxy takes the last one in random order.)
fn rank(endpoint: &SliceEndpoint) -> (bool, bool, bool, Option<&EndpointPlace>) {
    (endpoint.ready, !endpoint.terminating, endpoint.serving, endpoint.place.as_deref())
}

/// Merges the slices of a Service: the same address and port in several slices is one endpoint. What the operator refuses is none.
fn merge<'a>(slices: &SlicePorts<'a>, port: &ServicePort, family: Family, node: &str) -> Merged<'a> {
    let mut all: Merged<'a> = Vec::new();
    for (slice, port) in slices.targets(port, family) {
        let endpoint = |addr| Endpoint { addr, port };
        all.extend(slice.endpoints.iter().map(|entry| (endpoint(entry.addr), Candidate::new(entry, node))));
    }
    merges::note(all.len());
    if !slices.guards.refused_endpoint_networks.is_empty() {
        all.retain(|(endpoint, _)| !slices.guards.refuses_endpoint(endpoint.addr));
    }
    all.sort_by_key(|(key, _)| *key);
    all.dedup_by(|(key, later), (kept, candidate)| {
        let same = key == kept;
        if same {
            candidate.merge(later, node);
        }
        same
    });
    all
}

/// Counts the entries of slices that are merged, in tests.
pub(super) mod merges {
    #[cfg(test)]
    thread_local! {
        static COUNT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    pub(super) fn note(_entries: usize) {
        #[cfg(test)]
        COUNT.set(COUNT.get() + _entries);
    }

    /// How many entries `work` merges.
    #[cfg(test)]
    pub(in crate::state) fn count(work: impl FnOnce()) -> usize {
        let before = COUNT.get();
        work();
        COUNT.get() - before
    }
}

#[cfg(test)]
mod tests;
