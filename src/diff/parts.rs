//! Which parts of the program a table needs: classes, the order in which they are tested, and session affinity.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::dataplane::{Class, List, Parts, SetName, TableContents};

/// How many frontends are in each set whose existence or place in the program follows from that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Population(BTreeMap<SetName, u32>);

impl Population {
    /// Counts a frontend that comes to be a member of these sets.
    pub fn add(&mut self, sets: impl Iterator<Item = SetName>) {
        for set in sets.filter(|set| counts(*set)) {
            *self.0.entry(set).or_default() += 1;
        }
    }

    /// Counts a frontend that was a member of these sets.
    pub fn remove(&mut self, sets: impl Iterator<Item = SetName>) {
        for set in sets.filter(|set| counts(*set)) {
            if let Some(count) = self.0.get_mut(&set) {
                *count = count.saturating_sub(1);
            }
        }
        self.0.retain(|_, count| *count > 0);
    }

    /// Whether some frontend has session affinity.
    pub fn has_affinity(&self) -> bool {
        self.0.keys().any(|set| set.affinity().is_some())
    }

    fn of(&self, list: List, class: Class) -> u32 {
        self.0.get(&SetName::Slots(list, class)).copied().unwrap_or_default()
    }
}

/// Whether something follows from how many frontends are in the set.
fn counts(set: SetName) -> bool {
    matches!(set, SetName::Slots(..) | SetName::WithAffinity(_))
}

/// The parts that a table has, as far as its sets and the notes in its rules tell.
pub(super) fn found(table: &TableContents) -> Parts {
    let mut parts = Parts::default();
    let sets: Vec<SetName> = table.sets.keys().filter_map(|name| name.parse().ok()).collect();
    for list in List::ALL {
        let noted = table.chains.get(list.chain()).map_or(&[][..], |chain| &chain.classes);
        let has_set = |class: &Class| sets.contains(&SetName::Slots(list, *class));
        let mut order: Vec<Class> = Vec::new();
        for class in noted.iter().copied().filter(has_set) {
            if !order.contains(&class) {
                order.push(class);
            }
        }
        order.extend(sets.iter().filter_map(|set| match set {
            SetName::Slots(of, class) if *of == list && !noted.contains(class) => Some(*class),
            _ => None,
        }));
        parts.classes.extend(order.into_iter().map(|class| (list, class)));
    }
    parts.affinity = sets.iter().filter_map(SetName::affinity).collect();
    parts
}

/// The parts that a table needs for these frontends.
///
/// Classes that it has stay, used or not. They are ordered by population, as most connections are for a frontend of the class
/// that is tested first; an order that is still good enough stays, so that hardly any change of a Service rewrites rules.
/// Session affinity goes with its last frontend, for each new connection has to be looked up for it.
pub(super) fn needed(held: &Parts, population: &Population) -> Parts {
    let mut classes = Vec::with_capacity(held.classes.len());
    for list in List::ALL {
        let of_list = |(of, class): &(List, Class)| (*of == list).then_some(*class);
        let before = held.classes.iter().filter_map(of_list);
        let used = population.0.keys().filter_map(|set| match set {
            SetName::Slots(of, class) if *of == list => Some(*class),
            _ => None,
        });
        let mut order: Vec<Class> = before.collect();
        let known = order.len();
        for class in used {
            if !order.contains(&class) {
                order.push(class);
            }
        }
        if order.len() > known || !is_good(&order, |class| population.of(list, class)) {
            order.sort_by_key(|class| (Reverse(population.of(list, *class)), *class));
        }
        classes.extend(order.into_iter().map(|class| (list, class)));
    }
    Parts { classes, affinity: population.0.keys().filter_map(SetName::affinity).collect() }
}

/// Whether no class is far more populous than one before it: twice, and by more than a few.
fn is_good(order: &[Class], population: impl Fn(Class) -> u32) -> bool {
    const FEW: u32 = 8;
    let mut most_after = 0;
    order.iter().rev().all(|class| {
        let here = population(*class);
        let good = most_after <= here.saturating_mul(2).saturating_add(FEW);
        most_after = most_after.max(here);
        good
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Affinity;

    fn class(endpoints: usize) -> Class {
        Class::of(endpoints).unwrap()
    }

    fn population(counts: &[(usize, u32)]) -> Population {
        let set = |(endpoints, count): &(usize, u32)| (SetName::Slots(List::Any, class(*endpoints)), *count);
        Population(counts.iter().map(set).collect())
    }

    fn order(held: &[usize], counts: &[(usize, u32)]) -> Vec<u32> {
        let classes = held.iter().map(|endpoints| (List::Any, class(*endpoints))).collect();
        let needed = needed(&Parts { classes, ..Parts::default() }, &population(counts));
        needed.classes.iter().map(|(_, class)| class.slots()).collect()
    }

    #[test]
    fn new_classes_are_ordered_by_population_and_then_by_size() {
        assert_eq!(order(&[], &[(1, 5), (4, 100), (8, 20), (16, 5)]), [4, 8, 1, 16]);
    }

    #[test]
    fn a_small_change_of_population_does_not_change_the_order_and_a_large_one_does() {
        assert_eq!(order(&[4, 1], &[(4, 100), (1, 150)]), [4, 1]);
        assert_eq!(order(&[4, 1], &[(4, 100), (1, 208)]), [4, 1]);
        assert_eq!(order(&[4, 1], &[(4, 100), (1, 209)]), [1, 4]);
        assert_eq!(order(&[4, 1], &[(1, 8)]), [4, 1], "a few");
    }

    #[test]
    fn a_class_that_nobody_uses_any_more_stays() {
        assert_eq!(order(&[2, 4], &[(4, 1)]), [2, 4]);
    }

    #[test]
    fn affinity_goes_with_its_last_frontend() {
        let set = SetName::WithAffinity(Affinity { node_port: false, seconds: 10 });
        let mut population = Population::default();
        population.add([set, SetName::Internal].into_iter());
        population.add([set].into_iter());
        population.remove([set].into_iter());
        assert_eq!(needed(&Parts::default(), &population).affinity.len(), 1);
        population.remove([set].into_iter());
        assert_eq!(population, Population::default());
        assert_eq!(needed(&Parts::default(), &population), Parts::default());
    }
}
