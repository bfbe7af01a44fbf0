//! Applying events to the cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::Cluster;
use crate::state::change_set::ChangeSet;
use crate::state::event::{Decoded, Event, Kind, UnreadableObject};
use crate::state::names::{HashedName, ObjectName};
use crate::state::object::{EndpointSlice, Node, Service, ServiceCidr};
use crate::state::service_state::ServiceState;
use crate::state::skipped::{ObjectRef, Problem, Reason, Skipped};

mod first;
mod named;

use named::Named;

/// What one event did to the cluster.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What changed.
    pub changes: ChangeSet,
    /// Problems that this event brought and that the object did not have before.
    pub skipped: Vec<Skipped>,
}

impl Cluster {
    /// Applies an event. A clone that was made before keeps the old version.
    ///
    /// Costs O(log n) for a single object, and one comparison per object for a reset.
    pub fn apply(&mut self, event: Event) -> Applied {
        let was_complete = self.is_complete();
        let mut draft = ClusterDraft { cluster: self, changes: ChangeSet::default(), skipped: Vec::new() };
        match event {
            Event::ServicesReset(all) if draft.cluster.services.is_empty() => draft.first_services(all, was_complete),
            Event::ServicesReset(all) => {
                draft.reset(Kind::Service, all, ClusterDraft::services, ClusterDraft::put_service)
            }
            Event::ServiceApplied(service) => draft.put(Kind::Service, service, ClusterDraft::put_service),
            Event::ServiceDeleted(name) => draft.put_service(&name, None),
            Event::SlicesReset(all) if !was_complete && draft.cluster.slice_owners.is_empty() => {
                draft.first_slices(all)
            }
            Event::SlicesReset(all) => {
                draft.reset(Kind::EndpointSlice, all, ClusterDraft::slices, ClusterDraft::put_slice)
            }
            Event::SliceApplied(slice) => draft.put(Kind::EndpointSlice, slice, ClusterDraft::put_slice),
            Event::SliceDeleted(name) => draft.put_slice(&name, None),
            Event::ServiceCidrsReset(all) => {
                draft.reset(Kind::ServiceCidr, all, ClusterDraft::cidrs, ClusterDraft::put_cidr)
            }
            Event::ServiceCidrApplied(cidr) => draft.put(Kind::ServiceCidr, cidr, ClusterDraft::put_cidr),
            Event::ServiceCidrDeleted(name) => draft.put_cidr(&name, None),
            Event::NodesReset(all) => draft.reset(Kind::Node, all, ClusterDraft::nodes, ClusterDraft::put_node),
            Event::NodeApplied(node) => draft.put(Kind::Node, node, ClusterDraft::put_node),
            Event::NodeDeleted(name) => draft.put_node(&name, None),
            Event::HostAddresses(all) => draft.put_host_addresses(all),
        }
        if !was_complete && draft.cluster.is_complete() {
            draft.report_slices_without_service();
        }
        Applied { changes: draft.changes, skipped: draft.skipped }
    }
}

/// A cluster while one event is applied to it.
struct ClusterDraft<'a> {
    cluster: &'a mut Cluster,
    changes: ChangeSet,
    skipped: Vec<Skipped>,
}

impl ClusterDraft<'_> {
    /// Replaces a whole kind: what is not in the list is gone, what could not be read stays as it was.
    fn reset<T: Named>(
        &mut self,
        kind: Kind,
        all: Vec<Decoded<T>>,
        existing: fn(&Self) -> Vec<ObjectName>,
        put: fn(&mut Self, &ObjectName, Option<Arc<T>>),
    ) {
        let mut listed: Vec<&ObjectName> = all.iter().map(decoded_name).collect();
        listed.sort_unstable();
        let gone = existing(self).into_iter().filter(|name| listed.binary_search(&name).is_err()).collect::<Vec<_>>();
        for name in gone {
            put(self, &name, None);
        }
        for object in all {
            self.put(kind, object, put);
        }
        self.cluster.complete[kind as usize] = true;
    }

    /// Puts one decoded object, or reports that it could not be read.
    fn put<T: Named>(&mut self, kind: Kind, object: Decoded<T>, put: fn(&mut Self, &ObjectName, Option<Arc<T>>)) {
        match object {
            Decoded::Object(object) => {
                let name = object.name().clone();
                put(self, &name, Some(object));
            }
            Decoded::Unreadable(of) => {
                let UnreadableObject(name, mut problem, uid) = *of;
                match T::known(self.cluster, &name) {
                    Some(Some(known)) if uid.is_some_and(|uid| uid != known) => {
                        problem.found.push_str("; the object of this name that was there before is gone");
                        put(self, &name, None);
                    }
                    Some(_) => problem.found.push_str("; its last version stays in force"),
                    None => {}
                }
                self.report(kind, &name, problem);
            }
        }
    }

    fn report(&mut self, kind: Kind, name: &ObjectName, problem: Problem) {
        self.skipped.push(Skipped { object: ObjectRef { kind, name: name.clone() }, problem });
    }

    /// Reports the problems of a new version of an object that its old version did not have.
    fn report_new(&mut self, kind: Kind, new: &impl Named, old: Option<&impl Named>) {
        if new.problems().is_empty() {
            return;
        }
        // There may be thousands.
        let reported: BTreeSet<&Problem> = old.map_or(&[][..], Named::problems).iter().collect();
        for problem in new.problems().iter().filter(|problem| !reported.contains(problem)) {
            self.report(kind, new.name(), problem.clone());
        }
    }

    fn services(&self) -> Vec<ObjectName> {
        self.cluster.existing_services().map(|(name, _)| name.0.clone()).collect()
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
        self.edit(name, |state| state.service = service);
    }

    /// Changes a Service or its slices, and notes how they were before.
    fn edit(&mut self, name: &ObjectName, edit: impl FnOnce(&mut ServiceState)) {
        let name = HashedName::new(name);
        let Some(state) = self.cluster.services.get_mut(&name) else {
            let mut state = ServiceState::default();
            edit(&mut state);
            self.changes.services.entry(name.clone()).or_default();
            self.cluster.services.insert(name, state);
            return;
        };
        self.changes.services.entry(name.clone()).or_insert_with(|| state.clone());
        edit(state);
        if state.is_empty() {
            self.cluster.services.remove(&name);
        }
    }

    fn slices(&self) -> Vec<ObjectName> {
        self.cluster.services.values().flat_map(ServiceState::slices).map(|slice| slice.name.clone()).collect()
    }

    fn put_slice(&mut self, name: &ObjectName, slice: Option<Arc<EndpointSlice>>) {
        let owner = slice.as_ref().map(|slice| slice.owner());
        let held_by = |owner: &ObjectName| self.cluster.service_state(owner)?.slice(name).cloned();
        // Nearly always it belongs to the Service that it belonged to before.
        let (old_owner, old) = match owner.as_ref().and_then(held_by) {
            Some(old) => (owner.clone(), Some(old)),
            None => {
                let old_owner = self.cluster.owner_of_slice(name);
                let old = old_owner.as_ref().and_then(held_by);
                (old_owner, old)
            }
        };
        if old == slice {
            return;
        }
        if let Some(old_owner) = old_owner.as_ref().filter(|old_owner| owner.as_ref() != Some(*old_owner)) {
            self.edit(old_owner, |state| state.remove_slice(name));
            let is_alike = |slice: &Arc<EndpointSlice>| slice.name.hash() == name.hash();
            if !self.cluster.services_with_hash(old_owner.hash()).any(|(_, state)| state.slices().iter().any(is_alike))
            {
                self.cluster.slice_owners.remove(&(name.hash(), old_owner.hash()));
            }
        }
        let (Some(slice), Some(owner)) = (slice, owner) else { return };
        self.report_new(Kind::EndpointSlice, &*slice, old.as_deref());
        if old_owner.as_ref() != Some(&owner) {
            self.cluster.slice_owners.insert((name.hash(), owner.hash()));
        }
        self.edit(&owner, |state| state.put_slice(slice));
    }

    /// Reports slices of Services that do not exist, once, when all lists are complete. Later the two arrive on different watches, in any
    /// order, and a Service may go before its slices.
    fn report_slices_without_service(&mut self) {
        let mut orphans: Vec<Arc<EndpointSlice>> = self
            .cluster
            .services
            .iter()
            .filter(|(owner, _)| self.lacks_service(&owner.0))
            .flat_map(|(_, state)| state.slices().iter().cloned())
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
        self.changes.service_networks = true;
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
        self.report_new(Kind::Node, &*node, old.as_deref());
        let (old_zone, old_addresses) = old.as_ref().map_or((None, &[][..]), |old| (old.zone.as_ref(), &old.addresses));
        let same_addresses = old_addresses == node.addresses;
        if !same_addresses {
            self.changes.node_port_addresses = true;
        }
        // The zone decides about every endpoint with a hint, the addresses about source ranges that name the node.
        if old_zone != node.zone.as_ref() || !same_addresses {
            for (name, state) in self.cluster.existing_services() {
                self.changes.services.entry(name.clone()).or_insert_with(|| state.clone());
            }
        }
        self.cluster.node = Some(node);
    }

    fn put_host_addresses(&mut self, all: Vec<IpAddr>) {
        if self.cluster.host_addresses.as_deref() != Some(&*all) {
            // Without networks most that come and go do not matter: those of pods' interfaces, say.
            let has_networks = self.cluster.view.node_ports.needs_host();
            let before = (!has_networks).then(|| self.cluster.node_port_addresses());
            self.cluster.host_addresses = Some(all.into());
            self.changes.node_port_addresses |=
                before.is_none_or(|before| before != self.cluster.node_port_addresses());
        }
    }
}

fn decoded_name<T: Named>(object: &Decoded<T>) -> &ObjectName {
    match object {
        Decoded::Object(object) => object.name(),
        Decoded::Unreadable(of) => &of.0,
    }
}
