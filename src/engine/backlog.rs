//! What waits to be compared and committed, and in which order it is taken.
//!
//! A plan covers some of the keys that wait. The order keeps these promises for every packet while only a part is committed:
//!
//! 1. **Never in between**: all elements of a frontend are in one plan. After each plan a frontend has what it had before, or what it gets.
//! 2. **Never worse**: a shared element that frontends need comes with or before them. An address of `cluster-ips`, which the rules also
//!    take to refuse what no frontend asks for, comes together with all frontends of that address, or with the last of the new ones: until
//!    then no packet reaches the others. What packets found there before, as an external address or refused, and will find behind the
//!    ClusterIP comes with it or after it. `service-cidrs`, which only restrict, and what is not needed any more come last.
//! 3. **Urgent first, then small changes**: the API server's Service and DNS come before all others, and a change of few elements
//!    before one of many. Small changes do not wait for a slice of a huge one that is committed with them: they have a plan of their own,
//!    unless the last plan was such a one, so that the huge one goes on under any load. Of the others every second plan also takes a
//!    frontend of the largest change.

mod arriving;

use std::collections::{BTreeMap, BTreeSet};

use super::quarantine::Quarantine;
use super::queue::Queue;
use crate::dataplane::{Family, Frontend, SetName};
use crate::diff::{Acknowledged, Keys, Scope, SharedElement, Upcoming, is_wanted, program_sets};
use crate::state::{ChangedFrontend, ChangedKeys, Desired, FrontendSpec, SharedDemand, Weight};

/// So many keys are noted one by one, or a quarter of all frontends. Beyond that they are sorted, so that repetitions go.
const MAX_NOTED: usize = 1_000;

/// A change of so many elements is committed in a moment.
const MAX_SMALL: Weight = 1_000;

/// The keys that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog {
    /// Every key has to be compared.
    everything: bool,
    /// The keys of the newest changes, in any order and with repetitions.
    new: Noted,
    /// The frontends of changes that do not fit into one plan.
    queue: Queue,
    /// Shared elements that have to come with or before the frontends that need them.
    needed: BTreeSet<SharedElement>,
    /// All other shared elements that wait.
    shared: BTreeSet<SharedElement>,
    /// New ClusterIPs with more frontends than fit into one plan, with those new ones that still wait. Each comes with the last of them.
    arriving: BTreeMap<SharedElement, BTreeSet<Frontend>>,
    /// What the queue adds to the sets that decide about the program: at least until the queue is empty.
    upcoming: Upcoming,
    /// The next plan takes a frontend of the largest change, too.
    turn_of_largest: bool,
    /// The last plan left out larger changes, so that small ones did not wait for them.
    left_large: bool,
    /// The largest weight of what was added since the last plan was handed out.
    newest: Option<Weight>,
}

/// Keys as they were noted.
#[derive(Clone, Debug, Default)]
struct Noted {
    frontends: Vec<ChangedFrontend>,
    shared: Vec<SharedElement>,
    /// An upper bound of the elements that have to be written.
    elements: usize,
}

/// What the keys that wait are compared with.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub held: &'a Acknowledged,
    pub desired: &'a Desired,
    pub scope: &'a Scope,
    pub quarantine: &'a Quarantine,
}

/// The keys of one plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub frontends: Vec<Frontend>,
    /// Where each group of frontends ends that must be in one plan; empty if the selection is never divided.
    pub group_ends: Vec<usize>,
    pub shared: Vec<SharedElement>,
    /// Nothing of the newest changes was left behind.
    pub has_all_new: bool,
    /// The plan may not be divided, because its program changes what packets find.
    pub is_whole: bool,
}

impl Backlog {
    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.new.is_empty() && self.is_queue_empty()
    }

    fn is_queue_empty(&self) -> bool {
        self.queue.is_empty() && self.needed.is_empty() && self.shared.is_empty() && self.arriving.is_empty()
    }

    /// How many frontends wait in the queue.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.queue.frontends().count()
    }

    /// What later plans will add to the sets that decide about the program.
    pub fn upcoming(&self) -> &Upcoming {
        &self.upcoming
    }

    /// Adds keys that may have changed.
    pub fn add(&mut self, changed: ChangedKeys, desired: &Desired) {
        match changed {
            ChangedKeys::Everything => self.compare_everything(),
            _ if self.everything => {}
            // Most changes of objects ask for nothing else.
            ChangedKeys::These { frontends, shared, .. } if frontends.is_empty() && shared.is_empty() => {}
            ChangedKeys::These { frontends, shared, elements } => {
                self.newest = self.newest.max(frontends.iter().map(|changed| changed.weight).max());
                self.new.add(frontends, shared.into_iter().map(SharedElement::from), elements);
                if self.new.len() > MAX_NOTED.max(desired.frontends.len() / 4) {
                    self.queue_new(desired);
                }
            }
        }
    }

    /// Adds single frontends.
    pub fn add_frontends(&mut self, frontends: impl IntoIterator<Item = Frontend>) {
        let single = |frontend| ChangedFrontend { frontend, weight: 1, elements: 1 };
        let frontends: Vec<_> = frontends.into_iter().map(single).collect();
        let elements = frontends.len();
        self.new.add(frontends, [], elements);
    }

    /// Adds single shared elements.
    pub fn add_shared(&mut self, shared: impl IntoIterator<Item = SharedElement>) {
        let shared: Vec<_> = shared.into_iter().collect();
        let elements = shared.len();
        self.new.add([], shared, elements);
    }

    /// Forgets the single keys: all have to be compared.
    pub fn compare_everything(&mut self) {
        *self = Self { everything: true, newest: Some(Weight::MAX), ..Self::default() };
    }

    /// A plan with the selected keys was handed out.
    pub fn handed_out(&mut self) {
        self.newest = None;
    }

    /// Whether a key of this family waits, as far as that is known.
    pub fn concerns(&self, family: Family) -> bool {
        let new = self.new.frontends.iter().map(|changed| changed.frontend);
        let mut frontends = new.chain(self.queue.frontends());
        let mut shared = self.new.shared.iter().chain(&self.needed).chain(&self.shared);
        self.everything
            || frontends.any(|frontend| frontend.family() == family)
            || shared.any(|element| element.key.family() == family)
    }

    /// Whether a frontend waits in the queue.
    pub fn waits(&self, frontend: &Frontend) -> bool {
        self.queue.contains(frontend)
    }

    /// Takes the keys of the next plan, of about so many operations; `grouped` if it may have to be divided.
    pub fn select(&mut self, with: Comparison<'_>, operations: usize, grouped: bool) -> Selection {
        let fits = self.new.elements <= operations;
        if fits && !grouped && !self.everything && self.is_queue_empty() {
            return self.take_new(with.quarantine);
        }
        if operations == usize::MAX && !grouped {
            return self.take_all(with);
        }
        self.sort(with);
        if grouped {
            self.shared.extend(std::mem::take(&mut self.arriving).into_keys());
        }
        let is_whole = with.held.needs_one_batch(with.scope, &self.upcoming);
        let (limit, grouped) = if is_whole { (usize::MAX, false) } else { (operations, grouped) };
        let mut selection = Selection { is_whole, ..Selection::default() };
        self.take_needed(with, limit, &mut selection);
        let mut size = selection.shared.len();
        let mut largest_taken = 0;
        // What must be whole is not cut short.
        let only_small = !is_whole && !self.left_large && self.queue.least_weight().is_some_and(|it| it <= MAX_SMALL);
        let is_next = |queue: &Queue| !only_small || queue.least_weight().is_some_and(|it| it <= MAX_SMALL);
        while size < limit
            && is_next(&self.queue)
            && let Some(changed) = self.queue.pop_first()
        {
            size += self.take_frontend(changed, with, (limit - size, grouped), &mut selection);
            largest_taken = changed.weight;
        }
        self.left_large = only_small && size < limit && !self.queue.is_empty();
        if !self.left_large
            && let Some(changed) = self.take_larger_than(largest_taken)
        {
            size += self.take_frontend(changed, with, (limit.saturating_sub(size), grouped), &mut selection);
        }
        selection.has_all_new =
            self.newest.is_some_and(|newest| self.queue.least_weight().is_none_or(|it| it > newest));
        if self.queue.is_empty() {
            self.upcoming = Upcoming::default();
            selection.shared.extend(std::mem::take(&mut self.arriving).into_keys());
            self.take_last(limit.saturating_sub(size).max(1), &mut selection);
        }
        selection
    }

    /// At every second call, a frontend of the largest change that waits if that is larger than those which were taken. None while
    /// something waits that has to come first.
    fn take_larger_than(&mut self, taken: Weight) -> Option<ChangedFrontend> {
        let urgent_waits = self.queue.least_weight() == Some(0);
        let is_larger = self.queue.largest_weight().is_some_and(|weight| weight > taken);
        if !self.needed.is_empty() || urgent_waits || !is_larger {
            return None;
        }
        self.turn_of_largest = !self.turn_of_largest;
        if self.turn_of_largest { None } else { self.queue.pop_last() }
    }

    /// Takes what all frontends stand on: the program, which every plan has, and the shared elements that they need.
    pub fn select_foundation(&mut self, with: Comparison<'_>) -> Selection {
        self.sort(with);
        let mut selection = Selection::default();
        self.take_needed(with, usize::MAX, &mut selection);
        selection
    }

    /// All of the newest changes, which are small.
    fn take_new(&mut self, quarantine: &Quarantine) -> Selection {
        let Noted { frontends, shared, .. } = std::mem::take(&mut self.new);
        let frontends = frontends.into_iter().map(|changed| changed.frontend);
        let frontends = frontends.filter(|frontend| !quarantine.contains(frontend)).collect();
        Selection { frontends, shared, has_all_new: true, ..Selection::default() }
    }

    /// Everything at once, so that nothing has to be sorted.
    fn take_all(&mut self, with: Comparison<'_>) -> Selection {
        let mut selection = Selection { has_all_new: true, ..Selection::default() };
        let Self { everything, new, queue, needed, shared, arriving, .. } = std::mem::take(self);
        if everything {
            with.held.differing_frontends(with.desired, &with.scope.options, |frontend, _, _| {
                selection.frontends.push(frontend)
            });
            selection.shared.extend(with.held.differing_shared(with.desired));
        }
        let new_frontends = new.frontends.iter().map(|changed| changed.frontend);
        selection.frontends.extend(new_frontends.chain(queue.frontends()));
        selection.frontends.retain(|frontend| !with.quarantine.contains(frontend));
        selection.shared.extend(new.shared.into_iter().chain(needed).chain(shared).chain(arriving.into_keys()));
        selection
    }

    /// Sorts everything that waits.
    fn sort(&mut self, with: Comparison<'_>) {
        if std::mem::take(&mut self.everything) {
            let Comparison { held, desired, scope, .. } = with;
            let is_ours = |family: Family| scope.families.contains(&family);
            held.differing_frontends(desired, &scope.options, |frontend, operations, spec| {
                if is_ours(frontend.family()) {
                    let elements = u32::try_from(operations).unwrap_or(u32::MAX);
                    let is_urgent = spec.is_some_and(|spec| spec.is_urgent(frontend));
                    let weight = if is_urgent { 0 } else { elements };
                    self.queue.add(ChangedFrontend { frontend, weight, elements });
                    add_upcoming(&mut self.upcoming, frontend, spec);
                }
            });
            let shared = held.differing_shared(desired).filter(|element| is_ours(element.key.family()));
            shared.for_each(|element| self.queue_shared(element, desired));
        }
        self.queue_new(with.desired);
    }

    fn queue_new(&mut self, desired: &Desired) {
        let Noted { frontends, shared, .. } = std::mem::take(&mut self.new);
        for changed in frontends {
            if self.queue.add(changed) {
                let claims = desired.frontends.get(&changed.frontend);
                add_upcoming(&mut self.upcoming, changed.frontend, claims.map(|claims| &**claims.winner()));
            }
        }
        shared.into_iter().for_each(|element| self.queue_shared(element, desired));
    }

    fn queue_shared(&mut self, element: SharedElement, desired: &Desired) {
        if self.arriving.contains_key(&element) {
            return;
        }
        let is_needed = matches!(element.set, SetName::Hairpin | SetName::NodeportIps) && is_wanted(element, desired);
        let lane = if is_needed { &mut self.needed } else { &mut self.shared };
        lane.insert(element);
    }

    fn take_needed(&mut self, with: Comparison<'_>, limit: usize, selection: &mut Selection) {
        while selection.shared.len() < limit
            && let Some(element) = self.needed.pop_first()
        {
            // It may not be wanted any more.
            if is_wanted(element, with.desired) {
                selection.shared.push(element);
            } else {
                self.shared.insert(element);
            }
        }
    }

    /// Takes shared elements that no frontend waits for: those that restrict or are not needed any more. Ranges must not overlap, so
    /// their deletions and additions stay together.
    fn take_last(&mut self, limit: usize, selection: &mut Selection) {
        let is_range = |element: &SharedElement| element.set == SetName::ServiceCidrs;
        let others: Vec<SharedElement> =
            self.shared.iter().filter(|element| !is_range(element)).take(limit).copied().collect();
        for element in &others {
            self.shared.remove(element);
        }
        selection.shared.extend(others);
        if self.shared.iter().all(is_range) {
            selection.shared.extend(std::mem::take(&mut self.shared));
        }
    }
}

impl Noted {
    fn is_empty(&self) -> bool {
        self.frontends.is_empty() && self.shared.is_empty()
    }

    fn len(&self) -> usize {
        self.frontends.len() + self.shared.len()
    }

    fn add(
        &mut self,
        frontends: impl IntoIterator<Item = ChangedFrontend>,
        shared: impl IntoIterator<Item = SharedElement>,
        elements: usize,
    ) {
        self.frontends.extend(frontends);
        self.shared.extend(shared);
        self.elements += elements;
    }
}

impl Selection {
    /// A selection of these groups of frontends, with the ClusterIPs that have to come with them.
    pub fn from_groups(groups: &[Vec<Frontend>], with: Comparison<'_>) -> Self {
        let mut selection = Self::default();
        for group in groups {
            selection.frontends.extend(group);
            selection.group_ends.push(selection.frontends.len());
            let address = group.first().map(|frontend| SharedElement::from(SharedDemand::ClusterIp(frontend.addr)));
            let is_new =
                |address: &SharedElement| is_wanted(*address, with.desired) && !with.held.shared.contains(address);
            selection.shared.extend(address.filter(is_new));
        }
        selection
    }

    /// The groups of frontends that must be in one plan.
    pub fn groups(&self) -> Vec<Vec<Frontend>> {
        let begins = std::iter::once(0).chain(self.group_ends.iter().copied());
        let groups = begins.zip(&self.group_ends);
        groups.map(|(begin, end)| self.frontends[begin..*end].to_vec()).collect()
    }

    /// The keys, to plan.
    pub fn into_keys(self) -> Keys {
        Keys::new(self.frontends, self.shared)
    }
}

fn add_upcoming(upcoming: &mut Upcoming, frontend: Frontend, spec: Option<&FrontendSpec>) {
    if let Some(spec) = spec {
        upcoming[frontend.family().index()].add(program_sets(frontend, spec));
    }
}

#[cfg(test)]
mod tests;
