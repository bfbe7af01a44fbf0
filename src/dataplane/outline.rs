//! An outline of the tables, which costs the same for any number of elements; and what the kernel tells of a commit.

use std::collections::{BTreeMap, BTreeSet};

use super::key::Family;
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
    /// The number of its thread, as the first pid namespace counts: that of the process, if it has one thread.
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

impl std::fmt::Display for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} (pid {})", self.program, self.pid)
    }
}
