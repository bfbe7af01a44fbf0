//! The cluster as an immutable snapshot.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use im::{OrdMap, OrdSet};
use ipnet::IpNet;

use super::event::{Decoded, Event, Kind};
use super::known::Known;
use super::names::{ByHash, ObjectName};
use super::object::{EndpointSlice, Node, Service, ServiceCidr};
use super::skipped::{ObjectRef, Problem, Reason, Skipped};
use super::touched::Touched;
use crate::dataplane::Family;

mod first;

/// Everything that is known of the cluster. Cloning costs O(1); a snapshot never changes.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    view: View,
    /// Services and their slices; also slices of Services that are not there.
    services: OrdMap<ByHash, Known>,
    /// How many Services are there.
    service_count: usize,
    /// The Service that each slice belongs to: a slice's label may change, and a deletion may come without it. Hashes of both
    /// names: where several Services have the same hash, they are looked through.
    slice_owners: OrdSet<(u64, u64)>,
    service_cidrs: OrdMap<ObjectName, Arc<ServiceCidr>>,
    node: Option<Arc<Node>>,
    /// The addresses of the host's interfaces; `None` until they were listed.
    host_addresses: Option<Arc<[IpAddr]>>,
    /// Kinds of which a complete list was seen.
    complete: BTreeSet<Kind>,
}

/// The place that the cluster is seen from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The node that this process serves: endpoints on it are local.
    pub node_name: Arc<str>,
    /// Which of the node's addresses accept NodePorts.
    pub node_ports: NodePortAddresses,
    /// Stands for the Node object's address of its family (kube-proxy's `bindAddress`).
    pub node_ip: Option<IpAddr>,
    /// Whether external IPs are left out (Kubernetes' feature gate `AllowServiceExternalIPs`, off).
    pub ignore_external_ips: bool,
}

/// Which of the node's addresses accept NodePorts (kube-proxy's `nodePortAddresses`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The addresses of the Node object, one of each family.
    #[default]
    Primary,
    /// The host's addresses in these networks. A family without a network here, or with one of length 0, accepts NodePorts on
    /// every address.
    Networks(Vec<IpNet>),
}

/// The result of applying one event.
#[derive(Clone, Debug)]
pub struct Step {
    /// The next snapshot.
    pub cluster: Cluster,
    /// What differs from the snapshot before.
    pub touched: Touched,
    /// Problems that this event brought and that the object did not have before.
    pub skipped: Vec<Skipped>,
}

impl NodePortAddresses {
    /// The families in which every address accepts NodePorts.
    pub fn unrestricted(&self) -> BTreeSet<Family> {
        let Self::Networks(networks) = self else { return BTreeSet::new() };
        let unrestricted = |family: &Family| {
            let mut of_family =
                networks.iter().filter(|network| Family::from_addr(network.addr()) == *family).peekable();
            of_family.peek().is_none() || of_family.any(|network| network.prefix_len() == 0)
        };
        Family::ALL.into_iter().filter(unrestricted).collect()
    }
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
        self.known(name)?.service.as_ref()
    }

    /// The slices of a Service, ordered by slice name.
    pub fn slices_of(&self, service: &ObjectName) -> &[Arc<EndpointSlice>] {
        self.known(service).map_or(&[], Known::slices)
    }

    /// What is known of a Service and its slices.
    pub(super) fn known(&self, service: &ObjectName) -> Option<&Known> {
        self.services.get(&ByHash::of(service))
    }

    /// The Service whose slice this is.
    fn owner_of_slice(&self, slice: &ObjectName) -> Option<ObjectName> {
        let owners = self.slice_owners.range((slice.hash(), 0)..=(slice.hash(), u64::MAX));
        let mut all = owners.flat_map(|(_, owner)| self.of_hash(*owner));
        all.find(|(_, known)| known.slice(slice).is_some()).map(|(name, _)| name.0.clone())
    }

    /// What is known of the Services whose names have this hash: nearly always one.
    fn of_hash(&self, hash: u64) -> impl Iterator<Item = (&ByHash, &Known)> {
        self.services.range(ByHash::before_all(hash)..).take_while(move |(name, _)| name.0.hash() == hash)
    }

    /// The host's addresses, if they are known.
    pub(super) fn host_addresses(&self) -> &[IpAddr] {
        self.host_addresses.as_deref().unwrap_or_default()
    }

    /// The number of Services.
    pub fn service_count(&self) -> usize {
        self.service_count
    }

    /// What a change from nothing to this cluster touches.
    pub fn everything(&self) -> Touched {
        let there = self.services.iter().filter(|(_, known)| known.service.is_some());
        Touched {
            services: there.map(|(name, _)| (name.clone(), Known::default())).collect(),
            service_networks: (!self.service_cidrs.is_empty()).then(Vec::new),
            node_port_ips: (!self.node_port_ips().is_empty()).then(Vec::new),
            node: None,
        }
    }

    /// Every network of every ServiceCIDR, without overlaps.
    pub fn service_networks(&self) -> Vec<IpNet> {
        let networks: Vec<IpNet> =
            self.service_cidrs.values().flat_map(|cidr| cidr.networks.iter().map(IpNet::trunc)).collect();
        IpNet::aggregate(&networks)
    }

    /// The node's addresses that accept NodePorts, without those of families in which every address does.
    pub fn node_port_ips(&self) -> Vec<IpAddr> {
        let all: &[IpAddr] = match &self.view.node_ports {
            NodePortAddresses::Primary => self.node.as_ref().map_or(&[], |node| &node.addresses),
            NodePortAddresses::Networks(_) => self.host_addresses.as_deref().unwrap_or_default(),
        };
        let unrestricted = self.view.node_ports.unrestricted();
        let accepts = |addr: &IpAddr| match &self.view.node_ports {
            NodePortAddresses::Primary => true,
            NodePortAddresses::Networks(networks) => {
                !unrestricted.contains(&Family::from_addr(*addr))
                    && networks.iter().any(|network| network.contains(addr))
            }
        };
        let ips: BTreeSet<IpAddr> = all.iter().copied().filter(|addr| !addr.is_loopback() && accepts(addr)).collect();
        ips.into_iter().collect()
    }

    /// Whether complete lists of all kinds that the dataplane is made from were seen.
    ///
    /// Until then nothing may be programmed: an endpoint that is missing here may only not have been listed yet.
    pub fn is_complete(&self) -> bool {
        let needs_host = matches!(self.view.node_ports, NodePortAddresses::Networks(_));
        Kind::ALL.iter().all(|kind| self.complete.contains(kind)) && (!needs_host || self.host_addresses.is_some())
    }

    /// The next snapshot.
    ///
    /// Costs O(log n) for a single object, and one comparison per object for a reset.
    pub fn apply(&self, event: Event) -> Step {
        self.clone().advance(event)
    }

    /// The next snapshot in place of this one: what nobody else shares is changed where it is.
    pub fn advance(self, event: Event) -> Step {
        let mut next = Draft { cluster: self, touched: Touched::default(), skipped: Vec::new() };
        let was_complete = next.cluster.is_complete();
        match event {
            Event::ServicesReset(all) if next.cluster.services.is_empty() => next.first_services(all),
            Event::ServicesReset(all) => next.reset(Kind::Service, all, Draft::services, Draft::put_service),
            Event::ServiceApplied(service) => next.put(Kind::Service, service, Draft::put_service),
            Event::ServiceDeleted(name) => next.put_service(&name, None),
            Event::SlicesReset(all) if !was_complete && next.cluster.slice_owners.is_empty() => next.first_slices(all),
            Event::SlicesReset(all) => next.reset(Kind::EndpointSlice, all, Draft::slices, Draft::put_slice),
            Event::SliceApplied(slice) => next.put(Kind::EndpointSlice, slice, Draft::put_slice),
            Event::SliceDeleted(name) => next.put_slice(&name, None),
            Event::ServiceCidrsReset(all) => next.reset(Kind::ServiceCidr, all, Draft::cidrs, Draft::put_cidr),
            Event::ServiceCidrApplied(cidr) => next.put(Kind::ServiceCidr, cidr, Draft::put_cidr),
            Event::ServiceCidrDeleted(name) => next.put_cidr(&name, None),
            Event::NodesReset(all) => next.reset(Kind::Node, all, Draft::nodes, Draft::put_node),
            Event::NodeApplied(node) => next.put(Kind::Node, node, Draft::put_node),
            Event::NodeDeleted(name) => next.put_node(&name, None),
            Event::HostAddresses(all) => next.put_host_addresses(all),
        }
        if !was_complete && next.cluster.is_complete() {
            next.report_slices_without_service();
        }
        Step { cluster: next.cluster, touched: next.touched, skipped: next.skipped }
    }
}

/// A snapshot in the making.
struct Draft {
    cluster: Cluster,
    touched: Touched,
    skipped: Vec<Skipped>,
}

/// A domain object, as far as the bookkeeping here needs it.
trait Named {
    fn name(&self) -> &ObjectName;
    fn problems(&self) -> &[Problem];
}

impl Draft {
    /// Replaces a whole kind: what is not in the list is gone, what could not be read stays as it was.
    fn reset<T: Named>(
        &mut self,
        kind: Kind,
        all: Vec<Decoded<T>>,
        known: fn(&Self) -> Vec<ObjectName>,
        put: fn(&mut Self, &ObjectName, Option<Arc<T>>),
    ) {
        let mut listed: Vec<&ObjectName> = all.iter().map(decoded_name).collect();
        listed.sort_unstable();
        let gone = known(self).into_iter().filter(|name| listed.binary_search(&name).is_err()).collect::<Vec<_>>();
        for name in gone {
            put(self, &name, None);
        }
        for object in all {
            self.put(kind, object, put);
        }
        self.cluster.complete.insert(kind);
    }

    /// Puts one decoded object, or reports that it could not be read.
    fn put<T: Named>(&mut self, kind: Kind, object: Decoded<T>, put: fn(&mut Self, &ObjectName, Option<Arc<T>>)) {
        match object {
            Decoded::Object(object) => {
                let name = object.name().clone();
                put(self, &name, Some(object));
            }
            Decoded::Unreadable(of) => {
                let (name, problem) = *of;
                self.report(kind, &name, problem);
            }
        }
    }

    fn report(&mut self, kind: Kind, name: &ObjectName, problem: Problem) {
        self.skipped.push(Skipped { object: ObjectRef { kind, name: name.clone() }, problem });
    }

    /// Reports the problems of a new version of an object that its old version did not have.
    fn report_new(&mut self, kind: Kind, new: &impl Named, old: Option<&impl Named>) {
        let known = old.map_or(&[][..], Named::problems);
        for problem in new.problems().iter().filter(|problem| !known.contains(problem)) {
            self.report(kind, new.name(), problem.clone());
        }
    }

    fn services(&self) -> Vec<ObjectName> {
        let there = self.cluster.services.iter().filter(|(_, known)| known.service.is_some());
        there.map(|(name, _)| name.0.clone()).collect()
    }

    fn put_service(&mut self, name: &ObjectName, service: Option<Arc<Service>>) {
        let old = self.cluster.service(name).cloned();
        if old == service {
            return;
        }
        if let Some(service) = &service {
            self.report_new(Kind::Service, &**service, old.as_deref());
        }
        self.cluster.service_count += usize::from(service.is_some());
        self.cluster.service_count -= usize::from(old.is_some());
        self.edit(name, |known| known.service = service);
    }

    /// Changes what is known of a Service, and notes how it was.
    fn edit(&mut self, name: &ObjectName, edit: impl FnOnce(&mut Known)) {
        let name = ByHash::of(name);
        let Some(known) = self.cluster.services.get_mut(&name) else {
            let mut known = Known::default();
            edit(&mut known);
            self.touched.services.entry(name.clone()).or_default();
            self.cluster.services.insert(name, known);
            return;
        };
        self.touched.services.entry(name.clone()).or_insert_with(|| known.clone());
        edit(known);
        if known.is_nothing() {
            self.cluster.services.remove(&name);
        }
    }

    fn slices(&self) -> Vec<ObjectName> {
        self.cluster.services.values().flat_map(Known::slices).map(|slice| slice.name.clone()).collect()
    }

    fn put_slice(&mut self, name: &ObjectName, slice: Option<Arc<EndpointSlice>>) {
        let owner = slice.as_ref().map(|slice| slice.owner());
        let is_here = |owner: &ObjectName| self.cluster.known(owner).is_some_and(|known| known.slice(name).is_some());
        // Nearly always it belongs to the Service that it belonged to before.
        let old_owner = match &owner {
            Some(owner) if is_here(owner) => Some(owner.clone()),
            _ => self.cluster.owner_of_slice(name),
        };
        let old = old_owner.as_ref().and_then(|owner| self.cluster.known(owner)?.slice(name).cloned());
        if old == slice {
            return;
        }
        if let Some(old_owner) = old_owner.as_ref().filter(|old_owner| owner.as_ref() != Some(*old_owner)) {
            self.edit(old_owner, |known| known.remove_slice(name));
            let is_alike = |slice: &Arc<EndpointSlice>| slice.name.hash() == name.hash();
            if !self.cluster.of_hash(old_owner.hash()).any(|(_, known)| known.slices().iter().any(is_alike)) {
                self.cluster.slice_owners.remove(&(name.hash(), old_owner.hash()));
            }
        }
        let (Some(slice), Some(owner)) = (slice, owner) else { return };
        self.report_new(Kind::EndpointSlice, &*slice, old.as_deref());
        if old_owner.as_ref() != Some(&owner) {
            // Slices and Services arrive on different watches: before both lists are complete, a Service may still come.
            if self.cluster.is_complete() && self.lacks_service(&owner) {
                self.report_without_service(&slice, &owner);
            }
            self.cluster.slice_owners.insert((name.hash(), owner.hash()));
        }
        self.edit(&owner, |known| known.put_slice(slice));
    }

    fn report_slices_without_service(&mut self) {
        let mut orphans: Vec<Arc<EndpointSlice>> = self
            .cluster
            .services
            .iter()
            .filter(|(owner, _)| self.lacks_service(&owner.0))
            .flat_map(|(_, known)| known.slices().iter().cloned())
            .collect();
        orphans.sort_by(|a, b| a.name.cmp(&b.name));
        for slice in orphans {
            self.report_without_service(&slice, &slice.owner());
        }
    }

    /// Whether a slice names a Service that does not exist. That it names none is a problem of its own, found by the source.
    fn lacks_service(&self, owner: &ObjectName) -> bool {
        !owner.name().is_empty() && self.cluster.service(owner).is_none()
    }

    fn report_without_service(&mut self, slice: &EndpointSlice, owner: &ObjectName) {
        let field = "metadata.labels[kubernetes.io/service-name]";
        let found = format!("there is no Service {owner} to proxy");
        self.report(Kind::EndpointSlice, &slice.name, Problem::new(field, Reason::NoService, found));
    }

    fn cidrs(&self) -> Vec<ObjectName> {
        self.cluster.service_cidrs.keys().cloned().collect()
    }

    fn put_cidr(&mut self, name: &ObjectName, cidr: Option<Arc<ServiceCidr>>) {
        let old = self.cluster.service_cidrs.get(name).cloned();
        if old == cidr {
            return;
        }
        self.touched.service_networks.get_or_insert(self.cluster.service_networks());
        match cidr {
            Some(cidr) => {
                self.report_new(Kind::ServiceCidr, &*cidr, old.as_deref());
                self.cluster.service_cidrs.insert(name.clone(), cidr);
            }
            None => {
                self.cluster.service_cidrs.remove(name);
            }
        }
    }

    fn nodes(&self) -> Vec<ObjectName> {
        self.cluster.node.iter().map(|node| node.name.clone()).collect()
    }

    /// A node that is deleted keeps its last state, as in kube-proxy: its object may come back, and its traffic goes on.
    fn put_node(&mut self, name: &ObjectName, node: Option<Arc<Node>>) {
        let Some(node) = node else { return };
        if name.name() != &*self.cluster.view.node_name {
            return;
        }
        let node = match self.cluster.view.node_ip {
            Some(ip) => Arc::new(node.with_address(ip)),
            None => node,
        };
        let old = self.cluster.node.clone();
        let (old_zone, old_addresses) = old.as_ref().map_or((None, &[][..]), |old| (old.zone.as_ref(), &old.addresses));
        let same_addresses = old_addresses == node.addresses;
        if !same_addresses {
            self.touched.node_port_ips.get_or_insert(self.cluster.node_port_ips());
        }
        // The zone decides about every endpoint with a hint, the addresses about source ranges that name the node.
        if old_zone != node.zone.as_ref() || !same_addresses {
            for (name, known) in self.cluster.services.iter().filter(|(_, known)| known.service.is_some()) {
                self.touched.services.entry(name.clone()).or_insert_with(|| known.clone());
            }
            self.touched.node.get_or_insert(old);
        }
        self.cluster.node = Some(node);
    }

    fn put_host_addresses(&mut self, all: Vec<IpAddr>) {
        if self.cluster.host_addresses.as_deref() != Some(&*all) {
            self.touched.node_port_ips.get_or_insert(self.cluster.node_port_ips());
            self.cluster.host_addresses = Some(all.into());
        }
    }
}

fn decoded_name<T: Named>(object: &Decoded<T>) -> &ObjectName {
    match object {
        Decoded::Object(object) => object.name(),
        Decoded::Unreadable(of) => &of.0,
    }
}

impl Named for Service {
    fn name(&self) -> &ObjectName {
        &self.name
    }
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Named for EndpointSlice {
    fn name(&self) -> &ObjectName {
        &self.name
    }
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Named for ServiceCidr {
    fn name(&self) -> &ObjectName {
        &self.name
    }
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Named for Node {
    fn name(&self) -> &ObjectName {
        &self.name
    }
    fn problems(&self) -> &[Problem] {
        &[]
    }
}

#[cfg(test)]
mod tests;
