//! The cluster as an immutable snapshot.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use im::OrdMap;
use im::ordmap::DiffItem;
use ipnet::IpNet;

use super::event::{Decoded, Event, Kind};
use super::names::ObjectName;
use super::object::{EndpointSlice, Node, Service, ServiceCidr};
use super::skipped::{ObjectRef, Problem, Reason, Skipped};
use crate::dataplane::Family;

/// Everything that is known of the cluster. Cloning costs O(1); a snapshot never changes.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    view: View,
    services: OrdMap<ObjectName, Arc<Service>>,
    /// Slices by the Service that they belong to, each list ordered by slice name.
    slices: OrdMap<ObjectName, Arc<[Arc<EndpointSlice>]>>,
    /// The Service that each slice belongs to: a slice's label may change, and a deletion may come without it.
    slice_owners: OrdMap<ObjectName, ObjectName>,
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

/// What changed between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services whose object or endpoints changed, appeared or went.
    pub services: BTreeSet<ObjectName>,
    /// Whether the ServiceCIDRs changed.
    pub service_cidrs: bool,
    /// Whether the addresses that accept NodePorts may have changed.
    pub node_port_ips: bool,
}

impl NodePortAddresses {
    /// The families in which every address accepts NodePorts.
    pub fn unrestricted(&self) -> BTreeSet<Family> {
        let Self::Networks(networks) = self else { return BTreeSet::new() };
        let unrestricted = |family: &Family| {
            let mut of_family = networks.iter().filter(|network| Family::of(network.addr()) == *family).peekable();
            of_family.peek().is_none() || of_family.any(|network| network.prefix_len() == 0)
        };
        Family::ALL.into_iter().filter(unrestricted).collect()
    }
}

impl Touched {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.service_cidrs && !self.node_port_ips
    }

    /// Adds what changed in another step.
    pub fn merge(&mut self, other: Self) {
        self.services.extend(other.services);
        self.service_cidrs |= other.service_cidrs;
        self.node_port_ips |= other.node_port_ips;
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
        self.node()?.zone.as_deref().filter(|zone| !zone.is_empty())
    }

    /// This node's object, while it is known.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_deref()
    }

    /// A Service by name.
    pub fn service(&self, name: &ObjectName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The slices of a Service, ordered by slice name.
    pub fn slices_of(&self, service: &ObjectName) -> &[Arc<EndpointSlice>] {
        self.slices.get(service).map_or(&[], |slices| slices)
    }

    /// The Services whose slices differ from those of another snapshot.
    ///
    /// Costs O(log n) for each of them, if one snapshot was made from the other.
    pub(super) fn with_other_slices<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a ObjectName> {
        other.slices.diff(&self.slices).map(|change| match change {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name,
        })
    }

    /// The host's addresses, if they are known.
    pub(super) fn host_addresses(&self) -> &[IpAddr] {
        self.host_addresses.as_deref().unwrap_or_default()
    }

    /// The number of Services.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// What a change from nothing to this cluster touches.
    pub fn everything(&self) -> Touched {
        let services = self.services.keys().cloned().collect();
        Touched {
            services,
            service_cidrs: !self.service_cidrs.is_empty(),
            node_port_ips: !self.node_port_ips().is_empty(),
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
                !unrestricted.contains(&Family::of(*addr)) && networks.iter().any(|network| network.contains(addr))
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
        let mut next = Draft { cluster: self.clone(), touched: Touched::default(), skipped: Vec::new() };
        let was_complete = self.is_complete();
        match event {
            Event::ServicesReset(all) => next.reset(Kind::Service, all, Draft::services, Draft::put_service),
            Event::ServiceApplied(service) => next.put(Kind::Service, service, Draft::put_service),
            Event::ServiceDeleted(name) => next.put_service(&name, None),
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
        let listed: BTreeSet<&ObjectName> = all.iter().map(decoded_name).collect();
        let gone: Vec<ObjectName> = known(self).into_iter().filter(|name| !listed.contains(name)).collect();
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
            Decoded::Unreadable(name, problem) => self.report(kind, &name, problem),
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
        self.cluster.services.keys().cloned().collect()
    }

    fn put_service(&mut self, name: &ObjectName, service: Option<Arc<Service>>) {
        let old = self.cluster.services.get(name).cloned();
        if old == service {
            return;
        }
        self.touched.services.insert(name.clone());
        match service {
            Some(service) => {
                self.report_new(Kind::Service, &*service, old.as_deref());
                self.cluster.services.insert(name.clone(), service);
            }
            None => {
                self.cluster.services.remove(name);
            }
        }
    }

    fn slices(&self) -> Vec<ObjectName> {
        self.cluster.slice_owners.keys().cloned().collect()
    }

    fn put_slice(&mut self, name: &ObjectName, slice: Option<Arc<EndpointSlice>>) {
        let old_owner = self.cluster.slice_owners.get(name).cloned();
        let old = old_owner
            .as_ref()
            .and_then(|owner| self.cluster.slices_of(owner).iter().find(|slice| slice.name == *name).cloned());
        if old == slice {
            return;
        }
        if let Some(owner) = &old_owner {
            self.edit_slices(owner, name, None);
            self.cluster.slice_owners.remove(name);
        }
        if let Some(slice) = slice {
            let owner = ObjectName::new(Arc::clone(&slice.name.namespace), Arc::clone(&slice.service));
            self.report_new(Kind::EndpointSlice, &*slice, old.as_deref());
            let is_new_there = old_owner.as_ref() != Some(&owner);
            // Slices and Services arrive on different watches: before both lists are complete, a Service may still come.
            if is_new_there && self.cluster.is_complete() && self.lacks_service(&owner) {
                self.report_without_service(&slice, &owner);
            }
            self.cluster.slice_owners.insert(name.clone(), owner.clone());
            self.edit_slices(&owner, name, Some(slice));
        }
    }

    /// Removes the slice of this name from its Service's list, and inserts the new version.
    fn edit_slices(&mut self, owner: &ObjectName, name: &ObjectName, slice: Option<Arc<EndpointSlice>>) {
        self.touched.services.insert(owner.clone());
        let mut list: Vec<Arc<EndpointSlice>> =
            self.cluster.slices_of(owner).iter().filter(|other| other.name != *name).cloned().collect();
        if let Some(slice) = slice {
            let at = list.partition_point(|other| other.name < slice.name);
            list.insert(at, slice);
        }
        if list.is_empty() {
            self.cluster.slices.remove(owner);
        } else {
            self.cluster.slices.insert(owner.clone(), list.into());
        }
    }

    fn report_slices_without_service(&mut self) {
        let orphans: Vec<(Arc<EndpointSlice>, ObjectName)> = self
            .cluster
            .slices
            .iter()
            .filter(|(owner, _)| self.lacks_service(owner))
            .flat_map(|(owner, slices)| slices.iter().map(|slice| (Arc::clone(slice), owner.clone())))
            .collect();
        for (slice, owner) in orphans {
            self.report_without_service(&slice, &owner);
        }
    }

    /// Whether a slice names a Service that does not exist. That it names none is a problem of its own, found by the source.
    fn lacks_service(&self, owner: &ObjectName) -> bool {
        !owner.name.is_empty() && !self.cluster.services.contains_key(owner)
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
        self.touched.service_cidrs = true;
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
        if *name.name != *self.cluster.view.node_name {
            return;
        }
        let node = match self.cluster.view.node_ip {
            Some(ip) => Arc::new(node.with_address(ip)),
            None => node,
        };
        let (old_zone, old_addresses) =
            self.cluster.node.as_ref().map_or((None, &[][..]), |old| (old.zone.clone(), &old.addresses));
        if old_addresses != node.addresses {
            self.touched.node_port_ips = true;
        }
        // The zone decides about every endpoint with a hint, the addresses about source ranges that name the node.
        if old_zone != node.zone || old_addresses != node.addresses {
            self.touched.services.extend(self.cluster.services.keys().cloned());
        }
        self.cluster.node = Some(node);
    }

    fn put_host_addresses(&mut self, all: Vec<IpAddr>) {
        if self.cluster.host_addresses.as_deref() != Some(&*all) {
            self.cluster.host_addresses = Some(all.into());
            self.touched.node_port_ips = true;
        }
    }
}

fn decoded_name<T: Named>(object: &Decoded<T>) -> &ObjectName {
    match object {
        Decoded::Object(object) => object.name(),
        Decoded::Unreadable(name, _) => name,
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
