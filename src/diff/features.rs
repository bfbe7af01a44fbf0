//! Which parts of the program a table needs: classes, the order in which they are tested, session affinity and source ranges.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::dataplane::{ChainName, EndpointList, ProgramFeatures, SetName, SizeClass, TableContents};

/// How many frontends are in each set whose existence or place in the program follows from that.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrontendCounts {
    counts: BTreeMap<SetName, u32>,
    /// These counts need the features that the table has, if none are upcoming: see [`Self::has_fitting_table`].
    is_fitted: bool,
}

impl FrontendCounts {
    /// Counts a frontend that comes to be a member of these sets.
    pub fn add(&mut self, sets: impl Iterator<Item = SetName>) {
        for set in sets.filter(|set| is_counted(*set)) {
            *self.counts.entry(set).or_default() += 1;
            self.is_fitted = false;
        }
    }

    /// Counts a frontend that was a member of these sets.
    pub fn remove(&mut self, sets: impl Iterator<Item = SetName>) {
        for set in sets.filter(|set| is_counted(*set)) {
            match self.counts.get_mut(&set) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.counts.remove(&set)),
            }
            self.is_fitted = false;
        }
    }

    /// Whether the table needs what it has: [`needed`] would return what it is given.
    pub fn has_fitting_table(&self, upcoming: &Self) -> bool {
        self.is_fitted && upcoming.counts.is_empty()
    }

    /// The table has the features that these counts need, or gets them with the plan.
    pub fn note_fitting_table(&mut self, upcoming: &Self) {
        self.is_fitted = upcoming.counts.is_empty();
    }

    fn count(&self, set: SetName) -> u32 {
        self.counts.get(&set).copied().unwrap_or_default()
    }
}

impl PartialEq for FrontendCounts {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts
    }
}

impl Eq for FrontendCounts {}

/// Frontends whose classes are tested one after the other.
#[derive(Clone, Copy)]
enum ClassKind {
    /// ClusterIPs.
    Internal,
    /// All others with a list of their kind.
    List(EndpointList),
    /// Those with session affinity and a list of their kind.
    Affinity(EndpointList),
}

impl ClassKind {
    /// Those that every cluster may have.
    const COMMON: [Self; 5] = [
        Self::Internal,
        Self::List(EndpointList::Any),
        Self::List(EndpointList::Local),
        Self::List(EndpointList::NodeportAny),
        Self::List(EndpointList::NodeportLocal),
    ];
    /// Those that there are with session affinity only.
    const WITH_AFFINITY: [Self; 4] = [
        Self::Affinity(EndpointList::Any),
        Self::Affinity(EndpointList::Local),
        Self::Affinity(EndpointList::NodeportAny),
        Self::Affinity(EndpointList::NodeportLocal),
    ];

    /// The set of a class.
    fn set(self, class: SizeClass) -> SetName {
        match self {
            Self::Internal => SetName::Internal(class),
            Self::List(list) => SetName::Slots(list, class),
            Self::Affinity(list) => SetName::AffinitySlots(list, class),
        }
    }

    /// The class, if it is a set of one of this kind.
    fn class(self, set: &SetName) -> Option<SizeClass> {
        match (self, *set) {
            (Self::Internal, SetName::Internal(class)) => Some(class),
            (Self::List(list), SetName::Slots(of, class)) if of == list => Some(class),
            (Self::Affinity(list), SetName::AffinitySlots(of, class)) if of == list => Some(class),
            _ => None,
        }
    }

    /// Whether the set holds the endpoints of a list by ids.
    fn is_list_by_id(self, set: SetName) -> bool {
        matches!((self, set), (Self::Affinity(list), SetName::EndpointsById(of)) if of == list)
    }

    /// The chains that test the classes, in the order in which packets come to them.
    fn chains(self) -> Vec<ChainName> {
        match self {
            Self::Internal => vec!["services".into(), "to-cluster-ip".into()],
            Self::List(list) => vec![list.chain().into()],
            Self::Affinity(list) => vec![ChainName::draw_id(list)],
        }
    }

    /// Makes `order` the classes among these parts, in order.
    fn take(self, parts: &ProgramFeatures, order: &mut Vec<SizeClass>) {
        order.clear();
        match self {
            Self::Internal => order.extend_from_slice(&parts.internal),
            Self::List(list) => order.extend(in_list(&parts.classes, list)),
            Self::Affinity(list) => order.extend(in_list(&parts.affinity, list)),
        }
    }

    /// Adds the classes in this order.
    fn put(self, order: &[SizeClass], parts: &mut ProgramFeatures) {
        let order = order.iter().copied();
        match self {
            Self::Internal => parts.internal = order.collect(),
            Self::List(list) => parts.classes.extend(order.map(|class| (list, class))),
            Self::Affinity(list) => parts.affinity.extend(order.map(|class| (list, class))),
        }
    }
}

/// The classes of one list.
fn in_list(classes: &[(EndpointList, SizeClass)], list: EndpointList) -> impl Iterator<Item = SizeClass> {
    classes.iter().filter(move |(of, _)| *of == list).map(|(_, class)| *class)
}

/// Whether something follows from how many frontends are in the set.
fn is_counted(set: SetName) -> bool {
    matches!(
        set,
        SetName::Internal(_)
            | SetName::Slots(..)
            | SetName::AffinitySlots(..)
            | SetName::EndpointsById(_)
            | SetName::SourceChecks
    )
}

/// The parts that a table has, as far as its sets and the notes in its rules tell.
pub(super) fn found(table: &TableContents) -> ProgramFeatures {
    let mut parts = ProgramFeatures::default();
    let sets: Vec<SetName> = table.sets.keys().filter_map(|name| name.parse().ok()).collect();
    let noted = |chain: ChainName| table.chains.get(&*chain.0).map_or(&[][..], |chain| &chain.classes);
    for kind in ClassKind::COMMON.into_iter().chain(ClassKind::WITH_AFFINITY) {
        let noted = kind.chains().into_iter().flat_map(noted).copied();
        let has_set = |class: &SizeClass| sets.contains(&kind.set(*class));
        let mut order: Vec<SizeClass> = Vec::new();
        for class in noted.filter(has_set).chain(sets.iter().filter_map(|set| kind.class(set))) {
            if !order.contains(&class) {
                order.push(class);
            }
        }
        kind.put(&order, &mut parts);
    }
    parts.source_checks = sets.contains(&SetName::SourceChecks);
    parts
}

/// The features that a table needs for the frontends that it has (`now`) and for those that later plans add (`upcoming`).
///
/// Classes that it has stay, used or not. They are ordered by how many frontends are of them, as most connections are for a frontend of
/// the class that is tested first. An order that is still good enough stays, so that hardly any change of a Service rewrites rules.
/// Session affinity and source ranges go with their last element, for each new connection has to be looked up for them.
pub(super) fn needed(held: &ProgramFeatures, now: &FrontendCounts, upcoming: &FrontendCounts) -> ProgramFeatures {
    let used = || now.counts.keys().chain(upcoming.counts.keys());
    let count_of_set = |set| now.count(set) + upcoming.count(set);
    let source_checks = count_of_set(SetName::SourceChecks) > 0;
    let classes = Vec::with_capacity(held.classes.len());
    let mut features = ProgramFeatures { source_checks, classes, ..ProgramFeatures::default() };
    // Session affinity goes with its last element. Another program may have deleted what tells the class of one that is still there.
    let has_list = |kind: &ClassKind| used().any(|set| kind.class(set).is_some() || kind.is_list_by_id(*set));
    let with_affinity = ClassKind::WITH_AFFINITY.into_iter().filter(has_list);
    let mut order = Vec::new();
    for kind in ClassKind::COMMON.into_iter().chain(with_affinity) {
        let count_of = |class: SizeClass| count_of_set(kind.set(class));
        kind.take(held, &mut order);
        let held_count = order.len();
        for class in used().filter_map(|set| kind.class(set)) {
            if !order.contains(&class) {
                order.push(class);
            }
        }
        if order.len() > held_count || !is_good(&order, count_of) {
            order.sort_by_key(|class| (Reverse(count_of(*class)), *class));
        }
        kind.put(&order, &mut features);
    }
    features
}

/// Whether two tables test their classes in the same order.
pub(super) fn has_same_order(one: &ProgramFeatures, other: &ProgramFeatures) -> bool {
    one.internal == other.internal && one.classes == other.classes && one.affinity == other.affinity
}

/// Whether no class is far more populous than one before it: twice, and by more than a few.
fn is_good(order: &[SizeClass], counts: impl Fn(SizeClass) -> u32) -> bool {
    const FEW: u32 = 8;
    let mut most_after = 0;
    order.iter().rev().all(|class| {
        let here = counts(*class);
        let good = most_after <= here.saturating_mul(2).saturating_add(FEW);
        most_after = most_after.max(here);
        good
    })
}

#[cfg(test)]
mod tests;
