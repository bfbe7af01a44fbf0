//! Pointsman's tables as a backend read them from a kernel.

use std::collections::BTreeMap;

use super::chain::{BaseChain, Stamp};
use super::element::Element;
use super::key::Family;
use super::set::SizeClass;

/// Pointsman's tables in a kernel: none, one or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    tables: [Option<TableContents>; 2],
}

/// The contents of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableContents {
    /// Its chains by name, also those that the program does not have.
    pub chains: BTreeMap<String, ChainContents>,
    /// Its sets and maps by name, also those that the program does not have.
    pub sets: BTreeMap<String, SetContents>,
    /// The elements of the program's sets and maps, in any order.
    pub elements: Vec<Element>,
}

/// The properties of a chain that the program compares with its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainContents {
    /// Where it is attached, if it is a base chain of a kind that the program can describe.
    pub base: Option<BaseChain>,
    /// Whether it is attached in a way that the program never uses.
    pub foreign_base: bool,
    /// The number of rules.
    pub rules: usize,
    /// The fingerprint in the comment of the first rule.
    pub fingerprint: Option<u64>,
    /// The classes in the order in which the chain tests them, from the same comment.
    pub classes: Vec<SizeClass>,
    /// The timeout of session affinity in seconds, from the same comment.
    pub affinity_seconds: Option<u32>,
}

/// The properties of a set that the program compares with its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetContents {
    /// Whether it is a map.
    pub is_map: bool,
    /// Whether its type is the one that the program gives this name, and all its elements could be read.
    pub recognised: bool,
    /// The maximum number of elements, if packets fill it.
    pub capacity: Option<u32>,
}

impl Tables {
    /// The table of a family, if there is one.
    pub fn get(&self, family: Family) -> Option<&TableContents> {
        self.tables[family.index()].as_ref()
    }

    /// Sets or removes the table of a family.
    pub fn set(&mut self, family: Family, contents: Option<TableContents>) {
        self.tables[family.index()] = contents;
    }
}

impl ChainContents {
    /// Adds the next rule of the chain: counts it, and takes the stamp from the comment of the first one.
    pub fn push_rule(&mut self, comment: Option<&str>) {
        if self.rules == 0
            && let Some(stamp) = comment.and_then(Stamp::parse)
        {
            self.fingerprint = Some(stamp.fingerprint);
            self.classes = stamp.classes;
            self.affinity_seconds = stamp.affinity_seconds;
        }
        self.rules += 1;
    }
}
