//! A plan in the making: from keys to what goes and what comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{FrontendChange, Keys, Plan, Scope, SharedChange, TableChange, Upcoming, is_wanted};
use crate::dataplane::{Element, Family, Frontend, Object, Operation, ProgramFeatures, SetName};
use crate::diff::acknowledged::{Acknowledged, Installed};
use crate::diff::affinity::OwnOperations;
use crate::diff::features::{has_same_order, needed};
use crate::diff::frontend::{changes, target};
use crate::diff::leftovers::{Deletion, Leftovers};
use crate::diff::lookups::LookupOrder;
use crate::diff::table::program_change;
use crate::diff::transition::{Served, transition};
use crate::sorted::Side;
use crate::state::{Desired, bulk_load_order};

/// Elements by table and set: the order in which they are sent.
type Buckets = BTreeMap<(Family, SetName), Vec<Element>>;

/// A plan in the making.
pub(super) struct PlanDraft<'a> {
    pub plan: Plan,
    deletion: Deletion,
    /// Frontends that were installed before, and what of that packets may still look up is not decided yet.
    pending: Vec<PendingFrontend<'a>>,
    pub gone: Buckets,
    pub new: Buckets,
    /// What goes and comes of the chains, maps and sets of single frontends.
    pub own: OwnOperations,
}

/// A frontend that was installed before, and what it should become.
struct PendingFrontend<'a> {
    frontend: Frontend,
    before: Arc<Installed>,
    leftovers: Option<Arc<Leftovers>>,
    target: Option<Arc<Installed>>,
    served: Option<Served<'a>>,
}

impl<'a> PlanDraft<'a> {
    pub fn new(next: Acknowledged, deletion: Deletion) -> Self {
        let plan = Plan { next, ..Plan::default() };
        Self {
            plan,
            deletion,
            pending: Vec::new(),
            gone: Buckets::new(),
            new: Buckets::new(),
            own: OwnOperations::default(),
        }
    }

    /// Plans the frontends among the keys.
    pub fn frontends(&mut self, desired: &'a Desired, scope: &Scope, keys: &Keys) {
        let mut first = self.plan.next.frontends.is_empty().then(Vec::new);
        for frontend in keys.frontends.iter().copied().filter(|key| scope.families.contains(&key.family())) {
            self.frontend(frontend, desired, scope, first.as_mut());
        }
        self.plan.next.frontends.extend(bulk_load_order(first.unwrap_or_default()));
    }

    /// Plans a frontend. `first`: where to put it, while nothing is installed so far.
    fn frontend(
        &mut self,
        frontend: Frontend,
        desired: &'a Desired,
        scope: &Scope,
        first: Option<&mut Vec<(Frontend, Arc<Installed>)>>,
    ) {
        let next = &mut self.plan.next;
        let held = next.frontends.get(&frontend).cloned();
        let leftovers = next.leftovers.get(&frontend).cloned();
        let spec = desired.frontends.get(&frontend).map(|claims| &**claims.winner());
        // What it asked for before.
        let before = match (&held, &leftovers) {
            (Some(held), Some(leftovers)) => leftovers.strip(frontend, held).map(Arc::new),
            _ => held.clone(),
        };
        let target = spec.map(|spec| target(frontend, before.as_deref(), spec, &scope.options));
        let is_changed = before.as_deref() != target.as_ref();
        if !is_changed && leftovers.is_none() {
            return;
        }
        let after = target.map(Arc::new);
        if leftovers.is_some() {
            self.discount_leftovers(frontend, held.as_deref(), before.as_deref());
        }
        let next = &mut self.plan.next;
        if is_changed {
            let counts = &mut next.counts[frontend.family().index()];
            let [had, has] = [&before, &after].map(|installed| move || counted_sets(frontend, installed.as_deref()));
            // Most changes keep all of them.
            if !had().eq(has()) {
                counts.remove(had());
                counts.add(has());
            }
            self.plan.frontends.push(FrontendChange { frontend, before, after: after.clone() });
        }
        match (held, self.deletion) {
            (Some(before), Deletion::Deferred { .. }) => {
                let served = spec.map(Served::by_spec);
                self.pending.push(PendingFrontend { frontend, before, leftovers, target: after, served });
            }
            (held, _) => self.install(frontend, held.as_deref(), after, first),
        }
    }

    /// Plans what is left over of a frontend that is not among the keys. A change of it waits for its turn.
    fn leftovers_alone(&mut self, frontend: Frontend) {
        let (held, leftovers) = (self.plan.next.frontends.get(&frontend), self.plan.next.leftovers.get(&frontend));
        let (Some(held), Some(leftovers)) = (held.cloned(), leftovers.cloned()) else { return };
        let target = leftovers.strip(frontend, &held).map(Arc::new);
        self.discount_leftovers(frontend, Some(&held), target.as_deref());
        let served = target.as_deref().map(Served::by_installed);
        self.pending.push(PendingFrontend { frontend, before: held, leftovers: Some(leftovers), target, served });
    }

    /// Leaves what is left over of a frontend out of the counts, until it is known what of that stays. `core`: what is installed without it.
    fn discount_leftovers(&mut self, frontend: Frontend, held: Option<&Installed>, core: Option<&Installed>) {
        let extra = held.into_iter().flat_map(|held| held.extra_sets(frontend, core));
        self.plan.next.counts[frontend.family().index()].remove(extra);
    }

    /// Notes what is installed for a frontend, and the elements that this takes.
    fn install(
        &mut self,
        frontend: Frontend,
        before: Option<&Installed>,
        after: Option<Arc<Installed>>,
        first: Option<&mut Vec<(Frontend, Arc<Installed>)>>,
    ) {
        changes(frontend, before, after.as_deref(), |side, element| {
            let buckets = if side == Side::Before { &mut self.gone } else { &mut self.new };
            push(buckets, element);
        });
        let own = [before, after.as_deref()].map(|installed| installed.and_then(|it| it.affinity.as_deref()));
        self.own.add(frontend, own[0], own[1]);
        let [had, has] = [before, after.as_deref()].map(|installed| installed.map(|it| it.check).unwrap_or_default());
        self.own.add_check(frontend, had, has);
        let next = &mut self.plan.next;
        if !next.undecided.is_empty() {
            next.undecided.remove(&frontend);
        }
        match (after, first) {
            (Some(after), Some(first)) => first.push((frontend, after)),
            (Some(after), None) => drop(next.frontends.insert(frontend, after)),
            (None, _) => drop(next.frontends.remove(&frontend)),
        }
    }

    /// Decides what of the frontends that were installed before waits for packets that are on their way.
    pub fn transitions(&mut self, desired: &'a Desired, scope: &Scope, upcoming: &Upcoming) {
        let Deletion::Deferred { round, expired } = self.deletion else { return };
        let next = &self.plan.next;
        if self.pending.is_empty() && next.leftovers.is_empty() && next.undecided.is_empty() {
            return;
        }
        let tables = self.plan.next.tables.clone();
        let was_settled = self.plan.next.reordered.map(|reordered| reordered <= expired);
        let mut is_settled = was_settled;
        for family in scope.families.iter().copied() {
            let (counts, upcoming) = (&self.plan.next.counts[family.index()], &upcoming[family.index()]);
            if let Some(table) = &tables[family.index()]
                && !counts.has_fitting_table(upcoming)
                && self.may_reorder(family)
            {
                let features = needed(&table.features, counts, upcoming);
                if features == table.features {
                    self.plan.next.counts[family.index()].note_fitting_table(upcoming);
                } else if !has_same_order(&table.features, &features) {
                    is_settled[family.index()] = false;
                    self.add_leftovers(family, desired, scope);
                }
            }
        }
        let none = ProgramFeatures::default();
        for PendingFrontend { frontend, before, leftovers, target, served } in std::mem::take(&mut self.pending) {
            let family = frontend.family().index();
            let features = tables[family].as_ref().map_or(&none, |table| &table.features);
            let (is_settled, was_settled) = (is_settled[family], was_settled[family]);
            let order = LookupOrder { features, is_settled, was_settled };
            let core = target.clone();
            let transition =
                transition(frontend, &before, leftovers.as_deref(), (target, served.as_ref()), order, (round, expired));
            if transition.leftovers.is_some() {
                let installed = transition.installed.iter();
                let extra = installed.flat_map(|installed| installed.extra_sets(frontend, core.as_deref()));
                self.plan.next.counts[family].add(extra);
            }
            if transition.has_new {
                self.plan.left.frontends.push(frontend);
            }
            match transition.leftovers {
                Some(leftovers) => drop(self.plan.next.leftovers.insert(frontend, Arc::new(leftovers))),
                None if leftovers.is_some() => drop(self.plan.next.leftovers.remove(&frontend)),
                None => {}
            }
            self.install(frontend, Some(&before), transition.installed, None);
        }
    }

    /// Whether something depends on the order in which the classes of a family are tested, and that may change.
    fn may_reorder(&self, family: Family) -> bool {
        let changes_class = |pending: &PendingFrontend<'_>| {
            !class_sets(Some(&pending.before)).eq(class_sets(pending.target.as_deref()))
        };
        let mut of_family = self.pending.iter().filter(|pending| pending.frontend.family() == family);
        let mut left = self.plan.next.leftovers.keys().chain(&self.plan.next.undecided);
        of_family.any(changes_class) || left.any(|frontend| frontend.family() == family)
    }

    /// Plans all frontends of a family of which something is left over, and those of which it is not known yet what: new packets may meet
    /// that in another order from now on.
    fn add_leftovers(&mut self, family: Family, desired: &'a Desired, scope: &Scope) {
        let planned: BTreeSet<Frontend> = self.pending.iter().map(|pending| pending.frontend).collect();
        let next = &self.plan.next;
        let [left, undecided] =
            [next.leftovers.keys().collect(), next.undecided.iter().collect()].map(|all: Vec<_>| {
                let is_missing = |frontend: &Frontend| frontend.family() == family && !planned.contains(frontend);
                all.into_iter().copied().filter(is_missing).collect::<Vec<Frontend>>()
            });
        left.into_iter().for_each(|frontend| self.leftovers_alone(frontend));
        undecided.into_iter().for_each(|frontend| self.frontend(frontend, desired, scope, None));
        self.plan.frontends.sort_by_key(|change| change.frontend);
    }

    /// Plans the shared elements among the keys.
    pub fn shared(&mut self, desired: &Desired, scope: &Scope, keys: &Keys) {
        let next = &mut self.plan.next;
        let is_first = next.shared.is_empty();
        for element in keys.shared.iter().copied().filter(|element| scope.families.contains(&element.key.family())) {
            let added = is_wanted(element, desired);
            if added && !next.shared_leftovers.is_empty() {
                next.shared_leftovers.remove(&element);
            }
            if added == next.shared.contains(&element) {
                continue;
            }
            if let (false, SetName::Hairpin, Deletion::Deferred { round, expired }) =
                (added, element.set, self.deletion)
            {
                // A packet may just have been sent to this endpoint.
                match next.shared_leftovers.get(&element) {
                    Some(left) if *left <= expired => drop(next.shared_leftovers.remove(&element)),
                    Some(_) => continue,
                    None => {
                        next.shared_leftovers.insert(element, round);
                        self.plan.left.shared.push(element);
                        continue;
                    }
                }
            }
            push(if added { &mut self.new } else { &mut self.gone }, element.into());
            match added {
                true if is_first => {}
                true => drop(next.shared.insert(element)),
                false => drop(next.shared.remove(&element)),
            }
            self.plan.shared.push(SharedChange { element, added });
        }
        if is_first {
            let added = self.plan.shared.iter().map(|change| (change.element, ())).collect();
            next.shared.extend(bulk_load_order(added).map(|(element, ())| element));
        }
    }

    /// Plans the programs of all tables.
    pub fn programs(&mut self, scope: &Scope, upcoming: &Upcoming) {
        let next = &mut self.plan.next;
        for family in scope.families.iter().copied() {
            let installed = next.tables[family.index()].as_ref();
            let counts = &next.counts[family.index()];
            let mut change = program_change(family, installed, &scope.options, counts, &upcoming[family.index()]);
            let was_incompatible = std::mem::take(&mut next.to_rebuild[family.index()]);
            if was_incompatible {
                change.operations.insert(0, Operation::delete(family, Object::Table));
            }
            if !change.operations.is_empty() {
                self.plan.tables.push(TableChange {
                    family,
                    created: installed.is_none() && !was_incompatible,
                    rebuilt: was_incompatible,
                    operations: change.operations.len(),
                });
            }
            self.plan.operations.append(&mut change.operations);
            if let (Deletion::Deferred { round, .. }, Some(old)) = (self.deletion, installed)
                && !has_same_order(&old.features, &change.table.features)
            {
                next.reordered[family.index()] = round;
                self.plan.left.is_reordered = true;
            }
            // A set that goes takes its elements along.
            self.gone.retain(|(of, set), _| {
                *of != family || set.frontend().is_some() || change.table.sets.contains_key(&set.to_string())
            });
            next.tables[family.index()] = Some(change.table);
            next.counts[family.index()].note_fitting_table(&upcoming[family.index()]);
        }
    }
}

/// The sets of a frontend that are counted.
fn counted_sets(frontend: Frontend, installed: Option<&Installed>) -> impl Iterator<Item = SetName> {
    installed.into_iter().flat_map(move |installed| installed.counted_sets(frontend))
}

/// The sets of a frontend that tell its classes.
fn class_sets(installed: Option<&Installed>) -> impl Iterator<Item = SetName> {
    installed.into_iter().flat_map(Installed::sets).filter(|set| set.class().is_some())
}

/// Puts an element where it is sent from.
fn push(buckets: &mut Buckets, element: Element) {
    buckets.entry((element.family(), element.set)).or_default().push(element);
}
