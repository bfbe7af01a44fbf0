//! The cluster and what it asks for, kept in step.

use super::change_set::ChangeSet;
use super::cluster::Cluster;
use super::desired::{Compiled, Desired};
use super::event::Event;
use super::object::Node;
use super::skipped::Skipped;
use super::view::View;

/// The cluster as last heard, and the dataplane that it asks for.
///
/// Events are applied one by one; then [`compile`](Self::compile) brings [`Self::desired`] up to date once for all of them. Cloning costs
/// O(1), and later events do not change a clone. What no clone shares is changed in place.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    cluster: Cluster,
    desired: Desired,
    /// What changed since the last compilation.
    changes: ChangeSet,
    /// Whether anything was compiled. Before all lists are complete nothing is: an endpoint may be in a list that is still to come.
    is_compiled: bool,
}

impl Snapshot {
    /// An empty cluster, seen from this place.
    pub fn seen_from(view: View) -> Self {
        Self { cluster: Cluster::seen_from(view), ..Self::default() }
    }

    /// The cluster after all events.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the cluster asked for when it was last compiled.
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// Applies an event to the cluster.
    pub fn fold(&mut self, event: Event) -> Folded {
        let was_complete = self.cluster.is_complete();
        let is_about_node = matches!(event, Event::NodeApplied(_) | Event::NodesReset(_));
        let node_deleted = matches!(&event, Event::NodeDeleted(name) if name.name() == self.cluster.node_name());
        let applied = self.cluster.apply(event);
        let services = applied.changes.service_count();
        let completed = !was_complete && self.cluster.is_complete();
        let changed = completed || !applied.changes.is_empty();
        if self.is_compiled {
            self.changes.merge(applied.changes);
        }
        let node_eligible = self.cluster.node().filter(|_| is_about_node).map(Node::is_eligible);
        Folded { skipped: applied.skipped, services, changed, node_eligible, node_deleted }
    }

    /// Compiles every Service that changed since the last time, once. The first time, when all lists are complete, compiles all.
    pub fn compile(&mut self) -> Compiled {
        let compiled = if !self.is_compiled && self.cluster.is_complete() {
            self.is_compiled = true;
            self.desired.compile_all(&mut self.cluster)
        } else if self.changes.is_empty() {
            return Compiled::default();
        } else {
            self.desired.update(&mut self.cluster, &std::mem::take(&mut self.changes))
        };
        Compiled { node_ports: compiled.changed.node_ports(), ..compiled }
    }

    /// Takes what was heard so far for the complete cluster, as at the end of a journal.
    pub fn assume_complete(&mut self) {
        self.cluster.assume_complete();
    }
}

/// What one event did to the cluster.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// Problems that this event brought and that the object did not have before.
    pub skipped: Vec<Skipped>,
    /// How many Services changed, in themselves or in their endpoints.
    pub services: usize,
    /// Whether the dataplane may have to change. The event that completes the last list counts: what it leaves has to be compared with
    /// the kernel even if it is empty.
    pub changed: bool,
    /// Whether load balancers may send this node traffic (KEP-3836), if the event was about the Node object.
    pub node_eligible: Option<bool>,
    /// This node's object was deleted. What it said stays in force.
    pub node_deleted: bool,
}
