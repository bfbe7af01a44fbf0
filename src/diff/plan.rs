//! The plan: operations, what they mean, and the state after them.

use std::cmp::Ordering;
use std::sync::Arc;

use super::acknowledged::{Acknowledged, Installed};
use super::affinity;
use super::features::FrontendCounts;
use super::frontend::{changes, target};
use super::leftovers::{Deletion, Left};
use super::shared::SharedElement;
use super::sources::MAX_CHECK_OPERATIONS;
use super::table::{keeps_lookups, program_change};
use crate::dataplane::{Family, Frontend, LocalPods, Operation, Options, SetName};
use crate::state::{Desired, FrontendSpec, Node, SharedDemand};

/// Which tables are ours to write, and with which program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The families whose table is written; the others are left alone.
    pub families: Vec<Family>,
    /// The program's options.
    pub options: Options,
    /// Local pods are those of the Node object's networks (`detectLocalMode: NodeCIDR`).
    pub pods_by_node: bool,
}

/// What has to be done, and what holds afterwards.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The steps, in an order that a kernel accepts as one batch.
    pub operations: Vec<Operation>,
    /// What a kernel holds that acknowledged the operations.
    pub next: Acknowledged,
    /// The frontends that change, in order. What is left over from earlier plans, or by this one, is no part of a change.
    pub frontends: Vec<FrontendChange>,
    /// The shared elements that come and go, in order.
    pub shared: Vec<SharedChange>,
    /// The tables whose program changes.
    pub tables: Vec<TableChange>,
    /// What waits to be deleted, for packets that are on their way.
    pub left: Left,
}

/// A frontend that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendChange {
    /// The frontend.
    pub frontend: Frontend,
    /// What is installed for it; `None` if it is new.
    pub before: Option<Arc<Installed>>,
    /// What will be; `None` if it goes.
    pub after: Option<Arc<Installed>>,
}

/// A shared element that comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedChange {
    /// The element.
    pub element: SharedElement,
    /// Whether it comes.
    pub added: bool,
}

/// A table whose program changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// Its family.
    pub family: Family,
    /// There is no such table yet.
    pub created: bool,
    /// The table holds sets of other types and is removed first, in the same batch.
    pub rebuilt: bool,
    /// How many operations it takes.
    pub operations: usize,
}

/// The keys that a plan compares: what is not among them is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    frontends: Vec<Frontend>,
    shared: Vec<SharedElement>,
}

/// Frontends that later plans will add, by [`Family::index`]: the program is made for them from the first plan on.
pub(crate) type Upcoming = [FrontendCounts; 2];

impl Scope {
    /// Both tables.
    pub fn dual_stack(options: Options) -> Self {
        Self { families: Family::ALL.to_vec(), options, pods_by_node: false }
    }

    /// The same, with what the Node object decides filled in.
    #[must_use]
    pub fn on(&self, node: Option<&Node>) -> Self {
        let mut scope = self.clone();
        if let Some(node) = node.filter(|node| self.pods_by_node && !node.pod_cidrs.is_empty()) {
            scope.options.local_pods = LocalPods::Networks(node.pod_cidrs.clone());
        }
        scope
    }
}

impl Keys {
    /// These keys, in any order and with repetitions.
    pub fn new(mut frontends: Vec<Frontend>, mut shared: Vec<SharedElement>) -> Self {
        // Costs little for what is sorted already, or is two such lists.
        frontends.sort();
        frontends.dedup();
        shared.sort();
        shared.dedup();
        Self { frontends, shared }
    }

    /// Every key that a kernel holds or that is asked for.
    pub fn everything(acknowledged: &Acknowledged, desired: &Desired) -> Self {
        let wanted = desired.shared.keys().map(|demand| SharedElement::from(*demand));
        Self::new(
            acknowledged.frontends.keys().chain(desired.frontends.keys()).copied().collect(),
            acknowledged.shared.iter().copied().chain(wanted).collect(),
        )
    }
}

impl Plan {
    /// Nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// The least that turns what a kernel holds into what it should hold. The laws are stated in [the module](super).
pub fn diff(acknowledged: &Acknowledged, desired: &Desired, scope: &Scope) -> Plan {
    let held = acknowledged.clone().for_scope(scope);
    let keys = Keys::everything(&held, desired);
    held.plan(desired, scope, &keys, &Upcoming::default(), Deletion::AtOnce)
}

impl Acknowledged {
    /// The same as [`diff`] for these keys alone, and [`Plan::next`] in place of this state: what no clone shares is changed in place.
    pub(crate) fn plan(
        self,
        desired: &Desired,
        scope: &Scope,
        keys: &Keys,
        upcoming: &Upcoming,
        deletion: Deletion,
    ) -> Plan {
        let mut draft = draft::PlanDraft::new(self, deletion);
        draft.frontends(desired, scope, keys);
        draft.transitions(desired, scope, upcoming);
        draft.shared(desired, scope, keys);
        draft.plan.operations.append(&mut draft.own.flushes);
        draft.programs(scope, upcoming);
        let draft::PlanDraft { mut plan, gone, new, own, .. } = draft;
        plan.operations.extend(gone.into_values().flatten().map(Operation::delete_element));
        plan.operations.extend(own.chains_gone.into_iter().chain(own.maps_gone).chain(own.additions));
        plan.operations.extend(new.into_values().flatten().map(Operation::add_element));
        plan
    }

    /// Whether everything that waits has to be committed in one batch: a program has to change so that packets would find less before
    /// all elements are there.
    pub(crate) fn needs_one_batch(&self, scope: &Scope, upcoming: &Upcoming) -> bool {
        self.to_rebuild.contains(&true)
            || scope.families.iter().any(|family| {
                let (installed, counts) = (self.tables[family.index()].as_ref(), &self.counts[family.index()]);
                let change = program_change(*family, installed, &scope.options, counts, &upcoming[family.index()]);
                !keeps_lookups(&change.operations)
            })
    }

    /// Calls `each` for every frontend that is not installed exactly as it is asked for, in order, with an upper bound of the operations
    /// that this takes, and with what is asked for.
    pub(crate) fn differing_frontends(
        &self,
        desired: &Desired,
        options: &Options,
        mut each: impl FnMut(Frontend, usize, Option<&FrontendSpec>),
    ) {
        let (mut held, mut wanted) = (self.frontends.iter().peekable(), desired.frontends.iter().peekable());
        loop {
            let order = match (held.peek(), wanted.peek()) {
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            let installed = if order.is_le() { held.next() } else { None };
            let claims = if order.is_ge() { wanted.next() } else { None };
            let Some(frontend) = installed.map(|(key, _)| *key).or(claims.map(|(key, _)| *key)) else { return };
            let installed = installed.map(|(_, installed)| &**installed);
            let spec = claims.map(|(_, claims)| &**claims.winner());
            let operations = match (installed, spec) {
                (Some(installed), Some(spec)) => {
                    let target = target(frontend, Some(installed), spec, options);
                    let mut operations = 0;
                    if target != *installed {
                        changes(frontend, Some(installed), Some(&target), |_, _| operations += 1);
                        operations += affinity::own_operations(installed, &target);
                        operations += if installed.check == target.check { 0 } else { MAX_CHECK_OPERATIONS };
                    }
                    operations
                }
                (Some(installed), None) => installed.size(),
                (None, _) => spec.map_or(0, size),
            };
            if operations > 0 {
                each(frontend, operations, spec);
            }
        }
    }

    /// The shared elements that are there and not asked for, or asked for and not there.
    pub(crate) fn differing_shared(&self, desired: &Desired) -> impl Iterator<Item = SharedElement> {
        let wanted = desired.shared.keys().map(|demand| SharedElement::from(*demand));
        let missing = wanted.filter(|element| !self.shared.contains(element));
        missing.chain(self.shared.iter().copied().filter(|element| !is_wanted(*element, desired)))
    }
}

/// An upper bound of the elements of a frontend.
fn size(spec: &FrontendSpec) -> usize {
    const MAX_MEMBERSHIPS: usize = 8;
    let affinity = if spec.affinity.is_some() { affinity::MAX_OWN_OPERATIONS + spec.endpoint_count() } else { 0 };
    let sources = spec.sources.as_ref().map_or(0, |sources| MAX_CHECK_OPERATIONS + sources.len());
    MAX_MEMBERSHIPS + spec.endpoint_count() + affinity + sources
}

/// Whether a shared element is asked for, or has to stay until more is known.
pub(crate) fn is_wanted(element: SharedElement, desired: &Desired) -> bool {
    let is_kept = !desired.knows_node_port_addresses && element.set == SetName::NodeportIps;
    is_kept || element.demand().is_some_and(|demand: SharedDemand| desired.shared.contains_key(&demand))
}

#[cfg(test)]
mod cost;
mod draft;
#[cfg(test)]
mod tests;
