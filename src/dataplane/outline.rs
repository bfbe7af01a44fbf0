//! An outline of the tables, which costs the same for any number of elements; and what the kernel tells of a commit.

use std::collections::BTreeMap;

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
    /// How many elements the other sets have, where the kernel counts them.
    pub counts: BTreeMap<SetName, usize>,
}

/// The number of elements in each set, kept up to date from the batches.
#[derive(Clone, Debug, Default)]
pub struct ElementCounts(BTreeMap<(Family, SetName), i64>);

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
    /// The sets that were ever counted.
    pub fn sets(&self) -> impl Iterator<Item = (Family, SetName)> {
        self.0.keys().copied()
    }

    /// How many elements a set has.
    pub fn get(&self, family: Family, set: SetName) -> i64 {
        self.0.get(&(family, set)).copied().unwrap_or_default()
    }

    /// Starts again from counts that were read; sets that are empty now count 0.
    pub fn restart(&mut self, counts: &BTreeMap<(Family, SetName), usize>) {
        for count in self.0.values_mut() {
            *count = 0;
        }
        self.0.extend(counts.iter().map(|(set, count)| (*set, i64::try_from(*count).unwrap_or(i64::MAX))));
    }

    /// Follows an acknowledged batch, and names the sets that it changed, some of them more than once.
    pub fn follow(&mut self, operations: &[Operation], mut changed: impl FnMut(Family, SetName)) {
        for operation in operations {
            let family = operation.family;
            match (operation.verb, &operation.object) {
                (verb, Object::Element(element)) => {
                    *self.0.entry((family, element.set)).or_default() += if verb == Verb::Add { 1 } else { -1 };
                    changed(family, element.set);
                }
                // A deleted set loses its elements. Those that packets fill are not counted.
                (Verb::Delete, Object::Set(set)) if !set.is_dynamic() => {
                    self.0.insert((family, *set), 0);
                    changed(family, *set);
                }
                (Verb::Delete, Object::Table) => {
                    for ((_, set), count) in self.0.iter_mut().filter(|((of, _), _)| *of == family) {
                        *count = 0;
                        changed(family, *set);
                    }
                }
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} (pid {})", self.program, self.pid)
    }
}
