//! How many elements each set has, followed from batch to batch.

use std::collections::BTreeMap;

use super::key::Family;
use super::operation::{Object, Operation, Verb};
use super::set::SetName;

/// What a batch changes of the number of elements, in the batch's order. Set by set: a large batch has few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementChanges(Vec<ElementChange>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementChange {
    /// So many more, or fewer.
    By(Family, SetName, i64),
    /// The set is deleted, and its elements with it.
    SetDeleted(Family, SetName),
    /// The table is deleted.
    TableDeleted(Family),
}

/// The number of elements in each set, kept up to date from the batches.
#[derive(Clone, Debug, Default)]
pub struct ElementCounts {
    by_set: BTreeMap<(Family, SetName), i64>,
    /// How many are in the sets of single frontends, by [`Family::index`].
    of_frontends: [i64; 2],
}

impl ElementChanges {
    /// What these operations change.
    pub fn made_by(operations: &[Operation]) -> Self {
        let mut changes = Vec::new();
        for operation in operations {
            let family = operation.family;
            match (operation.verb, &operation.object) {
                (verb, Object::Element(element)) => {
                    let more = if verb == Verb::Add { 1 } else { -1 };
                    match changes.last_mut() {
                        Some(ElementChange::By(of, set, by)) if (*of, *set) == (family, element.set) => *by += more,
                        _ => changes.push(ElementChange::By(family, element.set, more)),
                    }
                }
                // The elements that packets make are not counted.
                (Verb::Delete, Object::Set(set)) if !set.is_dynamic() => {
                    changes.push(ElementChange::SetDeleted(family, *set));
                }
                (Verb::Delete, Object::Table) => changes.push(ElementChange::TableDeleted(family)),
                _ => {}
            }
        }
        Self(changes)
    }
}

impl ElementCounts {
    /// The sets that were ever counted, and those of single frontends that hold elements.
    pub fn sets(&self) -> impl Iterator<Item = (Family, SetName)> {
        self.by_set.keys().copied()
    }

    /// How many elements a set has.
    pub fn get(&self, family: Family, set: SetName) -> i64 {
        self.by_set.get(&(family, set)).copied().unwrap_or_default()
    }

    /// How many elements all sets of single frontends have together.
    pub fn of_frontends(&self, family: Family) -> i64 {
        self.of_frontends[family.index()]
    }

    /// Starts again from counts that were read; sets that are empty now count 0.
    pub fn restart(&mut self, counts: &BTreeMap<(Family, SetName), usize>) {
        self.by_set.retain(|(_, set), _| set.frontend().is_none());
        for count in self.by_set.values_mut() {
            *count = 0;
        }
        self.of_frontends = [0; 2];
        for ((family, set), count) in counts {
            self.change(*family, *set, i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// Follows an acknowledged batch, and names the sets that it changed, some of them more than once.
    pub fn follow(&mut self, changes: &ElementChanges, mut changed: impl FnMut(Family, SetName)) {
        for change in &changes.0 {
            match *change {
                ElementChange::By(family, set, more) => {
                    self.change(family, set, more);
                    changed(family, set);
                }
                ElementChange::SetDeleted(family, set) => {
                    self.empty(family, set);
                    changed(family, set);
                }
                ElementChange::TableDeleted(family) => {
                    let of_table: Vec<_> = self.sets().filter(|(of, _)| *of == family).collect();
                    for (family, set) in of_table {
                        self.empty(family, set);
                        changed(family, set);
                    }
                }
            }
        }
    }

    fn change(&mut self, family: Family, set: SetName, more: i64) {
        *self.by_set.entry((family, set)).or_default() += more;
        if set.frontend().is_some() {
            self.of_frontends[family.index()] += more;
        }
    }

    fn empty(&mut self, family: Family, set: SetName) {
        self.change(family, set, -self.get(family, set));
        if set.frontend().is_some() {
            self.by_set.remove(&(family, set));
        }
    }
}
