//! The plan: operations, what they mean, and the state after them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use im::ordmap::DiffItem;

use super::acknowledged::{Acknowledged, Installed};
use super::frontend::{changes, left_by_clients, target};
use super::table::{is_incompatible, program_change};
use crate::dataplane::{Element, Endpoint, Family, Frontend, LocalPods, Object, Operation, Options, SetName};
use crate::state::{Desired, Node, SharedElement};

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
#[derive(Clone, Debug)]
pub struct Plan {
    /// The steps, in an order that a kernel accepts as one batch.
    pub operations: Vec<Operation>,
    /// What a kernel holds that acknowledged the operations.
    pub next: Acknowledged,
    /// The frontends that change, in order.
    pub frontends: Vec<FrontendChange>,
    /// The shared elements that come and go, in order.
    pub shared: Vec<SharedChange>,
    /// The tables whose program changes.
    pub tables: Vec<TableChange>,
    /// Endpoints that clients with session affinity may have been sent to and no longer are: these clients must be forgotten
    /// once the operations are committed.
    pub left: BTreeSet<(Frontend, Endpoint)>,
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

impl Scope {
    /// Both tables.
    pub fn dual_stack(options: Options) -> Self {
        Self { families: Family::ALL.to_vec(), options, pods_by_node: false }
    }

    /// The same, with what the Node object decides filled in.
    pub fn on(&self, node: Option<&Node>) -> Self {
        let mut scope = self.clone();
        if let Some(node) = node.filter(|node| self.pods_by_node && !node.pod_cidrs.is_empty()) {
            scope.options.local_pods = LocalPods::Networks(node.pod_cidrs.clone());
        }
        scope
    }
}

impl Plan {
    /// Nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Elements by table and set: the order in which they are sent.
type Buckets = BTreeMap<(Family, SetName), Vec<Element>>;

/// The least that turns what a kernel holds into what it should hold. The laws are stated in [the module](super).
pub fn diff(acknowledged: &Acknowledged, desired: &Desired, scope: &Scope) -> Plan {
    let rebuilt: Vec<Family> = scope
        .families
        .iter()
        .copied()
        .filter(|family| {
            acknowledged.tables[family.index()].as_ref().is_some_and(|table| is_incompatible(table, &scope.options))
        })
        .collect();
    let acknowledged =
        rebuilt.iter().fold(acknowledged.clone(), |acknowledged, family| acknowledged.without_table(*family));
    let mut next = acknowledged.clone();
    let (mut gone, mut new) = (Buckets::new(), Buckets::new());

    let mut left = BTreeSet::new();
    let mut frontends = Vec::new();
    for frontend in changed_frontends(&acknowledged, desired) {
        if !scope.families.contains(&frontend.family()) {
            continue;
        }
        let before = acknowledged.frontends.get(&frontend);
        let spec = desired.frontends.get(&frontend).map(|claims| claims.winner());
        let after = spec.map(|spec| target(frontend, before.map(AsRef::as_ref), spec));
        if before.map(AsRef::as_ref) == after.as_ref() {
            continue;
        }
        let (deleted, added) = changes(frontend, before.map(AsRef::as_ref), after.as_ref());
        file(&mut gone, deleted);
        file(&mut new, added);
        left.extend(left_by_clients(before, after.as_ref()).into_iter().map(|endpoint| (frontend, endpoint)));
        let population = &mut next.population[frontend.family().index()];
        population.remove(before.iter().flat_map(|before| before.sets()));
        population.add(after.iter().flat_map(Installed::sets));
        let after = after.map(Arc::new);
        match &after {
            Some(after) => next.frontends.insert(frontend, Arc::clone(after)),
            None => next.frontends.remove(&frontend),
        };
        frontends.push(FrontendChange { frontend, before: before.cloned(), after });
    }

    let shared: Vec<SharedChange> = changed_shared(&acknowledged, desired)
        .into_iter()
        .filter(|change| scope.families.contains(&change.element.key.family()))
        .collect();
    for change in &shared {
        if change.added {
            next.shared.insert(change.element);
            file(&mut new, [change.element.into()]);
        } else {
            next.shared.remove(&change.element);
            file(&mut gone, [change.element.into()]);
        }
    }

    let mut operations = Vec::new();
    let mut tables = Vec::new();
    for family in &scope.families {
        let installed = acknowledged.tables[family.index()].as_ref();
        let mut change = program_change(*family, installed, &scope.options, &next.population[family.index()]);
        let was_incompatible = rebuilt.contains(family);
        if was_incompatible {
            change.operations.insert(0, Operation::delete(*family, Object::Table));
        }
        if !change.operations.is_empty() {
            tables.push(TableChange {
                family: *family,
                created: installed.is_none() && !was_incompatible,
                rebuilt: was_incompatible,
                operations: change.operations.len(),
            });
        }
        operations.append(&mut change.operations);
        // A set that goes takes its elements along.
        gone.retain(|(of, set), _| of != family || change.table.sets.contains_key(&set.to_string()));
        next.tables[family.index()] = Some(change.table);
    }
    operations.extend(gone.into_values().flatten().map(Operation::delete_element));
    operations.extend(new.into_values().flatten().map(Operation::add_element));
    next.basis = Some(desired.clone());
    Plan { operations, next, frontends, shared, tables, left }
}

/// Puts elements where they are sent from.
fn file(buckets: &mut Buckets, elements: impl IntoIterator<Item = Element>) {
    for element in elements {
        buckets.entry((element.family(), element.set)).or_default().push(element);
    }
}

/// The frontends that may differ, in order: those that differ between the two snapshots, or all without one.
fn changed_frontends(acknowledged: &Acknowledged, desired: &Desired) -> Vec<Frontend> {
    match &acknowledged.basis {
        Some(basis) => basis
            .frontends
            .diff(&desired.frontends)
            .map(|item| match item {
                DiffItem::Add(frontend, _) | DiffItem::Remove(frontend, _) => *frontend,
                DiffItem::Update { new: (frontend, _), .. } => *frontend,
            })
            .collect(),
        None => {
            let all: BTreeSet<Frontend> =
                acknowledged.frontends.keys().chain(desired.frontends.keys()).copied().collect();
            all.into_iter().collect()
        }
    }
}

/// The shared elements that come and go, in order.
fn changed_shared(acknowledged: &Acknowledged, desired: &Desired) -> Vec<SharedChange> {
    match &acknowledged.basis {
        Some(basis) => basis
            .shared
            .diff(&desired.shared)
            .filter_map(|item| match item {
                DiffItem::Add(element, _) => Some(SharedChange { element: *element, added: true }),
                DiffItem::Remove(element, _) => Some(SharedChange { element: *element, added: false }),
                DiffItem::Update { .. } => None,
            })
            .collect(),
        None => {
            let all: BTreeSet<SharedElement> =
                acknowledged.shared.iter().chain(desired.shared.keys()).copied().collect();
            all.into_iter()
                .filter_map(|element| {
                    let (held, wanted) =
                        (acknowledged.shared.contains(&element), desired.shared.contains_key(&element));
                    if held == wanted { None } else { Some(SharedChange { element, added: wanted }) }
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod tests;
