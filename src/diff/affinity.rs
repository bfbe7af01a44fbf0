//! What a frontend with session affinity has of its own: the map of its clients, its chains, and its endpoints by id.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

use fnv::FnvHasher;

use super::acknowledged::{Installed, list_of};
use super::slots::fill;
use crate::dataplane::{
    AffinityStep, Chain, ChainContents, ChainName, Element, Endpoint, EndpointId, Frontend, Object, Operation, Options,
    SetContents, SetName,
};
use crate::sorted::{Side, differences};
use crate::state::{FrontendSpec, TrafficPolicy};

/// What is installed for one frontend with session affinity, besides its memberships.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstalledAffinity {
    /// The map of its clients, if there is one.
    pub clients: Option<ClientMap>,
    /// The chain of each step, in the order of [`AffinityStep::ALL`].
    pub chains: [Option<OwnChain>; 2],
    /// The endpoints of each list, by [`TrafficPolicy`].
    pub lists: [EndpointsById; 2],
}

/// A map of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMap {
    /// It has the type that the rules need, and holds at most so many clients.
    Usable(u32),
    /// It has another type.
    Foreign,
}

/// A chain of one frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnChain {
    /// It has exactly the rules for this timeout, in seconds.
    Intact(u32),
    /// It has other rules.
    Altered,
}

/// The endpoints of one list, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointsById {
    /// The ids to draw from, by slot, in order.
    pub slots: Box<[(u32, EndpointId)]>,
    /// The endpoints, in the order of their ids.
    pub endpoints: Box<[(EndpointId, Endpoint)]>,
}

impl InstalledAffinity {
    /// The timeout in seconds, if a chain has one.
    pub fn seconds(&self) -> Option<u32> {
        self.chains.iter().flatten().find_map(|chain| match chain {
            OwnChain::Intact(seconds) => Some(*seconds),
            OwnChain::Altered => None,
        })
    }

    /// The endpoints that clients under this policy are balanced over, by id.
    pub fn list(&self, policy: TrafficPolicy) -> &EndpointsById {
        let [any, local] = &self.lists;
        match policy {
            TrafficPolicy::Cluster => any,
            TrafficPolicy::Local => local,
        }
    }

    /// The sets that hold its endpoints.
    pub(super) fn sets_by_id(&self, frontend: Frontend) -> impl Iterator<Item = SetName> {
        let has_elements = |policy: &TrafficPolicy| {
            let list = self.list(*policy);
            !list.endpoints.is_empty() || !list.slots.is_empty()
        };
        let lists = TrafficPolicy::ALL.into_iter().filter(has_elements);
        lists.map(move |policy| SetName::EndpointsById(list_of(frontend, policy)))
    }

    /// How many elements and objects there are.
    pub(super) fn size(&self) -> usize {
        let lists: usize = self.lists.iter().map(|list| list.slots.len() + list.endpoints.len()).sum();
        let chains = self.chains.iter().flatten().count();
        lists + chains + usize::from(self.clients.is_some())
    }

    /// Notes a chain that was read.
    pub(super) fn found_chain(&mut self, step: AffinityStep, frontend: Frontend, found: &ChainContents) {
        let chain = found.affinity_seconds.filter(|seconds| {
            let wanted = Chain::with_affinity(step, frontend, *seconds);
            found.base.is_none()
                && !found.foreign_base
                && found.rules == wanted.rules.len()
                && found.fingerprint == Some(wanted.fingerprint())
        });
        let [recall, remember] = &mut self.chains;
        let place = match step {
            AffinityStep::Recall => recall,
            AffinityStep::Remember => remember,
        };
        *place = Some(chain.map_or(OwnChain::Altered, OwnChain::Intact));
    }

    /// Notes a map of clients that was read.
    pub(super) fn found_clients(&mut self, found: &SetContents) {
        self.clients = Some(match (found.recognised, found.capacity) {
            // Without a limit of its own the kernel has one.
            (true, capacity) => ClientMap::Usable(capacity.unwrap_or(Options::KERNEL_AFFINITY_CAPACITY)),
            (false, _) => ClientMap::Foreign,
        });
    }
}

/// What should be installed for the session affinity of a claim, given what is installed now; `None` without affinity.
pub(super) fn target(
    installed: Option<&InstalledAffinity>,
    spec: &FrontendSpec,
    options: &Options,
) -> Option<Box<InstalledAffinity>> {
    let seconds = kept_seconds(spec)?;
    let lists = TrafficPolicy::ALL
        .map(|policy| place(installed.map(|installed| installed.list(policy)), spec.endpoints(policy)));
    Some(Box::new(InstalledAffinity {
        clients: Some(ClientMap::Usable(options.affinity_capacity)),
        chains: [Some(OwnChain::Intact(seconds)); 2],
        lists,
    }))
}

/// For how many seconds clients keep their endpoint; `None` if they do not, or there is no endpoint to keep.
pub(super) fn kept_seconds(spec: &FrontendSpec) -> Option<u32> {
    let seconds = spec.affinity.filter(|_| !spec.endpoints(TrafficPolicy::Cluster).is_empty())?;
    Some(seconds.get())
}

/// Gives every wanted endpoint an id and a slot.
///
/// An endpoint that stays keeps its id, and its slot if that is among the first ones: as few elements as possible change, and every client
/// that is remembered with the id finds its endpoint.
fn place(installed: Option<&EndpointsById>, wanted: &[Endpoint]) -> EndpointsById {
    let nothing = EndpointsById::default();
    let installed = installed.unwrap_or(&nothing);
    let mut ids: BTreeMap<Endpoint, EndpointId> = BTreeMap::new();
    for (id, endpoint) in &installed.endpoints {
        if wanted.binary_search(endpoint).is_ok() {
            // Ids of endpoints that left may still lead there, which is known no more after a reading. Clients are remembered with its own.
            let known = ids.entry(*endpoint).or_insert(*id);
            if *id == own_id(*endpoint) {
                *known = *id;
            }
        }
    }
    // The id of an endpoint that leaves is not given to another one in the same moment. One that leads to another endpoint than its own, since
    // another program replaced that or it waits to be deleted, goes back to its own.
    let own = installed.endpoints.iter().filter(|(id, endpoint)| *id == own_id(*endpoint)).map(|(id, _)| *id);
    let mut taken: BTreeSet<EndpointId> = own.chain(ids.values().copied()).collect();
    for endpoint in wanted {
        ids.entry(*endpoint).or_insert_with(|| {
            let mut id = own_id(*endpoint);
            while !taken.insert(id) {
                id = id.next();
            }
            id
        });
    }
    let mut endpoints: Vec<(EndpointId, Endpoint)> = ids.into_iter().map(|(endpoint, id)| (id, endpoint)).collect();
    endpoints.sort_unstable();
    let is_wanted = |id: &EndpointId| endpoints.binary_search_by_key(id, |(id, _)| *id).is_ok();
    let slots = fill(installed.slots.iter().copied(), endpoints.iter().map(|(id, _)| *id), is_wanted).collect();
    EndpointsById { slots, endpoints: endpoints.into() }
}

/// The id that an endpoint gets if no other endpoint of the frontend has it.
fn own_id(endpoint: Endpoint) -> EndpointId {
    EndpointId::from_hash(hash(endpoint))
}

fn hash(endpoint: Endpoint) -> u64 {
    let mut hasher = FnvHasher::default();
    match endpoint.addr {
        std::net::IpAddr::V4(addr) => hasher.write(&addr.octets()),
        std::net::IpAddr::V6(addr) => hasher.write(&addr.octets()),
    }
    hasher.write(&endpoint.port.to_be_bytes());
    hasher.finish()
}

/// Hands every element to `each` that goes or comes on the way from one installation to another, in order within each set.
pub(super) fn changed_elements(
    frontend: Frontend,
    before: Option<&InstalledAffinity>,
    after: Option<&InstalledAffinity>,
    mut each: impl FnMut(Side, Element),
) {
    for policy in TrafficPolicy::ALL {
        let list = list_of(frontend, policy);
        let both = [before, after].map(|installed| installed.map(|installed| installed.list(policy)));
        let [old, new] = both.map(|list| list.into_iter().flat_map(|list| list.slots.iter().copied()));
        differences(old, new, |side, (slot, id)| each(side, Element::id(list, frontend, slot, id)));
        let [old, new] = both.map(|list| list.into_iter().flat_map(|list| list.endpoints.iter().copied()));
        differences(old, new, |side, (id, endpoint)| each(side, Element::by_id(list, frontend, id, endpoint)));
    }
}

/// The most operations on a frontend's own chains and map: a map, and two chains with their rules.
pub(super) const MAX_OWN_OPERATIONS: usize = 16;

/// An upper bound of the operations on a frontend's own chains and map on the way from one installation to another.
pub(super) fn own_operations(before: &Installed, after: &Installed) -> usize {
    let own = |installed: &Installed| installed.affinity.as_ref().map(|own| (own.clients, own.chains));
    if own(before) == own(after) { 0 } else { MAX_OWN_OPERATIONS }
}

/// The operations on the chains, maps and sets of single frontends, in the order of the steps of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnOperations {
    /// Rules that go: before everything else, for they refer to sets and chains.
    pub flushes: Vec<Operation>,
    /// Chains that go: after the elements that lead to them.
    pub chains_gone: Vec<Operation>,
    /// Maps and sets that go: after the rules that refer to them.
    pub maps_gone: Vec<Operation>,
    /// Maps, sets, chains and rules that come: after the sets and chains that they refer to, before the elements that lead to them.
    pub additions: Vec<Operation>,
}

impl OwnOperations {
    /// Adds what turns one installation of session affinity into another.
    pub fn add(&mut self, frontend: Frontend, before: Option<&InstalledAffinity>, after: Option<&InstalledAffinity>) {
        let nothing = InstalledAffinity::default();
        let (before, after) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
        let family = frontend.family();
        let replaces_map = before.clients != after.clients;
        if replaces_map {
            if before.clients.is_some() {
                self.maps_gone.push(Operation::delete(family, Object::Set(SetName::Clients(frontend))));
            }
            if let Some(ClientMap::Usable(capacity)) = after.clients {
                self.additions.push(Operation::add(family, Object::Clients { frontend, capacity }));
            }
        }
        let chains = before.chains.iter().zip(&after.chains).zip(AffinityStep::ALL);
        for ((before, after), step) in chains {
            if before == after && (before.is_none() || !replaces_map) {
                continue;
            }
            let name = ChainName::with_affinity(step, frontend);
            let chain = Object::Chain(name.clone(), None);
            if before.is_some() {
                self.flushes.push(Operation::flush(family, name.clone()));
            }
            match after {
                None => self.chains_gone.push(Operation::delete(family, chain)),
                Some(OwnChain::Intact(seconds)) => {
                    if before.is_none() {
                        self.additions.push(Operation::add(family, chain));
                    }
                    let rules = Chain::with_affinity(step, frontend, *seconds).stamped_rules();
                    let rule = |rule| Operation::add(family, Object::Rule(name.clone(), Box::new(rule)));
                    self.additions.extend(rules.into_iter().map(rule));
                }
                Some(OwnChain::Altered) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
