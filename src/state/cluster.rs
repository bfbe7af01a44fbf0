//! The cluster as this process last heard of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use im::{OrdMap, OrdSet};
use ipnet::IpNet;

use super::compile::CompiledService;
use super::event::{Decoded, Event, Kind};
use super::names::{HashedName, ObjectName};
use super::object::{EndpointSlice, Node, Service, ServiceCidr};
use super::service_state::{ServiceState, bulk_load_order};
use super::view::View;
use crate::dataplane::Family;

mod apply;

pub use apply::Applied;

/// The cluster as this process last heard of it. Cloning costs O(1), and later events do not change a clone.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    view: View,
    /// Services with their slices. Slices of a Service that does not exist wait here for it.
    services: OrdMap<HashedName, ServiceState>,
    /// The number of Services that exist.
    service_count: usize,
    /// The Service that each slice belongs to, as hashes of both names. A slice's label may change, and a deletion may come without
    /// it. Services whose names have the same hash are searched one by one.
    slice_owners: OrdSet<(u64, u64)>,
    service_cidrs: OrdMap<ObjectName, Arc<ServiceCidr>>,
    node: Option<Arc<Node>>,
    /// The addresses of the host's interfaces; `None` until they were listed.
    host_addresses: Option<Arc<[IpAddr]>>,
    /// Kinds whose complete list arrived.
    complete: [bool; Kind::ALL.len()],
}

impl Cluster {
    /// An empty cluster, seen from this node.
    pub fn new(node_name: impl Into<Arc<str>>) -> Self {
        Self::seen_from(View { node_name: node_name.into(), ..View::default() })
    }

    /// An empty cluster, seen from this place.
    pub fn seen_from(view: View) -> Self {
        Self { view, ..Self::default() }
    }

    /// The place that it is seen from.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The node that this process serves.
    pub fn node_name(&self) -> &str {
        &self.view.node_name
    }

    /// The zone of the node that this process serves, if it is in one.
    pub fn zone(&self) -> Option<&str> {
        self.node()?.zone()
    }

    /// This node's object, while it is known.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_deref()
    }

    /// A Service by name.
    pub fn service(&self, name: &ObjectName) -> Option<&Arc<Service>> {
        self.service_state(name)?.service.as_ref()
    }

    /// The slices of a Service, ordered by slice name.
    pub fn slices_of(&self, service: &ObjectName) -> &[Arc<EndpointSlice>] {
        self.service_state(service).map_or(&[], ServiceState::slices)
    }

    /// A Service and its slices.
    pub(super) fn service_state(&self, service: &ObjectName) -> Option<&ServiceState> {
        self.services.get(&HashedName::new(service))
    }

    /// The Service whose slice this is.
    fn owner_of_slice(&self, slice: &ObjectName) -> Option<ObjectName> {
        let owners = self.slice_owners.range((slice.hash(), 0)..=(slice.hash(), u64::MAX));
        let mut all = owners.flat_map(|(_, owner)| self.services_with_hash(*owner));
        all.find(|(_, state)| state.slice(slice).is_some()).map(|(name, _)| name.0.clone())
    }

    /// The names of all Services, in no particular order.
    pub fn service_names(&self) -> impl Iterator<Item = &ObjectName> {
        self.existing_services().map(|(name, _)| &name.0)
    }

    /// The Services whose names' hashes are not below this one, with the hashes, ordered by them.
    pub fn services_from(&self, hash: u64) -> impl Iterator<Item = (u64, &Arc<Service>)> {
        let from = self.services.range(HashedName::before_all(hash)..);
        from.filter_map(|(name, state)| Some((name.0.hash(), state.service.as_ref()?)))
    }

    /// Services with their slices.
    pub(super) fn services(&self) -> &OrdMap<HashedName, ServiceState> {
        &self.services
    }

    /// The ranges of ClusterIPs.
    pub(super) fn service_cidrs(&self) -> &OrdMap<ObjectName, Arc<ServiceCidr>> {
        &self.service_cidrs
    }

    /// Every Service that exists, ordered by the hash of its name.
    pub(super) fn existing_services(&self) -> impl Iterator<Item = (&HashedName, &ServiceState)> {
        self.services.iter().filter(|(_, state)| state.service.is_some())
    }

    /// The Services whose names have this hash: nearly always one.
    fn services_with_hash(&self, hash: u64) -> impl Iterator<Item = (&HashedName, &ServiceState)> {
        self.services.range(HashedName::before_all(hash)..).take_while(move |(name, _)| name.0.hash() == hash)
    }

    /// Keeps what a Service asks for; `None` if it does not exist.
    pub(super) fn keep_compiled(&mut self, name: &HashedName, compiled: Option<Arc<CompiledService>>) {
        if let Some(state) = self.services.get_mut(name) {
            state.compiled = compiled;
        }
    }

    /// Keeps what each Service asks for, as `compile` says.
    pub(super) fn compile_each(&mut self, mut compile: impl FnMut(&ObjectName, &ServiceState) -> CompiledService) {
        let all = std::mem::take(&mut self.services).into_iter().map(|(name, mut state)| {
            state.compiled = state.service.is_some().then(|| Arc::new(compile(&name.0, &state)));
            (name, state)
        });
        self.services = bulk_load_order(all.collect()).collect();
    }

    /// The host's addresses, if they are known.
    pub fn host_addresses(&self) -> &[IpAddr] {
        self.host_addresses.as_deref().unwrap_or_default()
    }

    /// The number of Services.
    pub fn service_count(&self) -> usize {
        self.service_count
    }

    /// The number of Services that slices name and that do not exist.
    pub fn missing_service_count(&self) -> usize {
        self.services.len() - self.service_count
    }

    /// Every network of every ServiceCIDR, without overlaps.
    pub fn service_networks(&self) -> Vec<IpNet> {
        let networks: Vec<IpNet> =
            self.service_cidrs.values().flat_map(|cidr| cidr.networks.iter().map(IpNet::trunc)).collect();
        IpNet::aggregate(&networks)
    }

    /// The node's addresses that accept NodePorts, without those of families in which the rules accept every address.
    ///
    /// If the Node object has addresses of one family only, every address of the host in the other family accepts NodePorts, as with
    /// kube-proxy, but link-local ones, which come and go with each pod. A Node without any address tells nothing yet.
    pub fn node_port_addresses(&self) -> Vec<IpAddr> {
        let host = self.host_addresses();
        let accepting = &self.view.node_ports;
        let mut ips: BTreeSet<IpAddr> = BTreeSet::new();
        if accepting.primary {
            let own = self.node.as_ref().map_or(&[][..], |node| &node.addresses);
            let usable = || own.iter().filter(|addr| !addr.is_loopback());
            let lacks = |addr: &IpAddr| !own.is_empty() && usable().all(|own| own.is_ipv4() != addr.is_ipv4());
            let others = host.iter().filter(|addr| !addr.is_loopback() && !is_link_local(**addr) && lacks(addr));
            ips.extend(usable().chain(others));
        }
        let listed = |addr: &&IpAddr| accepting.networks.iter().any(|network| network.contains(*addr));
        ips.extend(host.iter().filter(|addr| !addr.is_loopback()).filter(listed));
        let unrestricted = accepting.unrestricted();
        ips.retain(|addr| !unrestricted.contains(&Family::from_addr(*addr)));
        ips.into_iter().collect()
    }

    /// Whether it is known which of the node's addresses accept NodePorts: not if they are those of the Node object, and there is no
    /// Node of this name, or it has no address yet.
    pub(super) fn knows_node_port_addresses(&self) -> bool {
        !self.view.node_ports.primary || self.node.as_ref().is_some_and(|node| !node.addresses.is_empty())
    }

    /// The events that make an empty cluster this one: the complete list of each kind that was complete.
    pub fn lists(&self) -> Vec<Event> {
        fn decoded<'a, T: 'a>(objects: impl Iterator<Item = &'a Arc<T>>) -> Vec<Decoded<T>> {
            objects.cloned().map(Decoded::Object).collect()
        }
        let list = |kind: &Kind| match kind {
            Kind::Service => {
                Event::ServicesReset(decoded(self.services.values().filter_map(|state| state.service.as_ref())))
            }
            Kind::EndpointSlice => Event::SlicesReset(decoded(self.services.values().flat_map(ServiceState::slices))),
            Kind::ServiceCidr => Event::ServiceCidrsReset(decoded(self.service_cidrs.values())),
            Kind::Node => Event::NodesReset(decoded(self.node.iter())),
        };
        let host = self.host_addresses.as_ref().map(|all| Event::HostAddresses(all.to_vec()));
        let complete = Kind::ALL.iter().filter(|kind| self.complete[**kind as usize]);
        host.into_iter().chain(complete.map(list)).collect()
    }

    /// Whether the complete list of every kind arrived.
    ///
    /// Before that nothing may be programmed: an endpoint that is missing may be in a list that is still to come.
    pub fn is_complete(&self) -> bool {
        let needs_host = self.view.node_ports.needs_host();
        self.complete == [true; Kind::ALL.len()] && (!needs_host || self.host_addresses.is_some())
    }

    /// Takes what was heard so far for the complete cluster, as at the end of a journal.
    pub fn assume_complete(&mut self) {
        self.complete = [true; Kind::ALL.len()];
        self.host_addresses.get_or_insert_with(Arc::default);
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
