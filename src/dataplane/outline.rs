//! An outline of the tables, which costs the same for any number of elements; and what the kernel tells of a commit.

use std::collections::{BTreeMap, BTreeSet};

use super::key::Family;
use super::operation::{Object, Operation, Verb};
use super::set::SetName;
use super::tables::TableContents;

/// An outline of Pointsman's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    tables: [Option<TableOutline>; 2],
}

/// The outline of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOutline {
    /// The kernel's number of the table: one that is deleted and made again has another.
    pub handle: u64,
    /// Chains and sets, and the elements of those sets that are not counted.
    pub contents: TableContents,
    /// The sets with elements that are neither counted nor read, because there are many.
    pub unread: BTreeSet<SetName>,
    /// How many elements the other sets have, where the kernel counts them.
    pub counts: BTreeMap<SetName, usize>,
}

/// The number of elements in each set, kept up to date from the batches.
#[derive(Clone, Debug, Default)]
pub struct ElementCounts {
    by_set: BTreeMap<(Family, SetName), i64>,
    /// How many are in the sets of single frontends, by [`Family::index`].
    of_frontends: [i64; 2],
}

/// A commit to the kernel's ruleset, to whatever table, by another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCommit {
    /// The number of the ruleset's generation that it began.
    pub generation: u32,
    /// The process.
    pub writer: Writer,
}

/// A process that commits to the kernel's ruleset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    /// The name of its program, as far as the kernel keeps it: 15 bytes.
    pub program: String,
    /// Its number, as the first pid namespace counts.
    pub pid: u32,
}

impl Outline {
    /// The outline of the table of a family, if there is such a table.
    pub fn get(&self, family: Family) -> Option<&TableOutline> {
        self.tables[family.index()].as_ref()
    }

    /// Sets or removes the outline of a family's table.
    pub fn set(&mut self, family: Family, table: Option<TableOutline>) {
        self.tables[family.index()] = table;
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
        for (set, count) in counts {
            self.change(*set, i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// Follows an acknowledged batch, and names the sets that it changed, some of them more than once.
    pub fn follow(&mut self, operations: &[Operation], mut changed: impl FnMut(Family, SetName)) {
        for operation in operations {
            let family = operation.family;
            match (operation.verb, &operation.object) {
                (verb, Object::Element(element)) => {
                    self.change((family, element.set), if verb == Verb::Add { 1 } else { -1 });
                    changed(family, element.set);
                }
                // A deleted set loses its elements. Those that packets fill are not counted.
                (Verb::Delete, Object::Set(set)) if !set.is_dynamic() => {
                    self.empty((family, *set));
                    changed(family, *set);
                }
                (Verb::Delete, Object::Table) => {
                    let of_table: Vec<_> = self.sets().filter(|(of, _)| *of == family).collect();
                    for set in of_table {
                        self.empty(set);
                        changed(family, set.1);
                    }
                }
                _ => {}
            }
        }
    }

    fn change(&mut self, (family, set): (Family, SetName), more: i64) {
        *self.by_set.entry((family, set)).or_default() += more;
        if set.frontend().is_some() {
            self.of_frontends[family.index()] += more;
        }
    }

    fn empty(&mut self, (family, set): (Family, SetName)) {
        self.change((family, set), -self.get(family, set));
        if set.frontend().is_some() {
            self.by_set.remove(&(family, set));
        }
    }
}

impl std::fmt::Display for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} (pid {})", self.program, self.pid)
    }
}
