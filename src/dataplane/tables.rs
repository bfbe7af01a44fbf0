//! What a kernel holds of ours, as it was read.

use std::collections::BTreeMap;

use super::chain::{BaseChain, parse_stamp};
use super::element::Element;
use super::key::Family;
use super::set::SizeClass;

/// Our tables, as read from a kernel: none, one or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    tables: [Option<TableContents>; 2],
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableContents {
    /// Its chains by name, ours or not.
    pub chains: BTreeMap<String, ChainContents>,
    /// Its sets and maps by name, ours or not.
    pub sets: BTreeMap<String, SetContents>,
    /// The elements of the sets and maps that are ours, in any order.
    pub elements: Vec<Element>,
}

/// What decides whether a chain is as the program wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainContents {
    /// Where it is attached, if it is a base chain of a kind that the program can describe.
    pub base: Option<BaseChain>,
    /// It is attached in a way that the program never uses.
    pub foreign_base: bool,
    /// The number of rules.
    pub rules: usize,
    /// The fingerprint in the comment of the first rule.
    pub fingerprint: Option<u64>,
    /// The classes in the order in which the chain tests them, from the same comment.
    pub classes: Vec<SizeClass>,
}

/// What decides whether a set is as the program wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetContents {
    /// Whether it is a map.
    pub is_map: bool,
    /// Its type is the one that the program gives this name, and all its elements could be read.
    pub recognised: bool,
    /// How many elements it may have, if packets fill it.
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
    /// Counts a rule that was read, in the chain's order, and takes the fingerprint from the first one.
    pub fn push_rule(&mut self, comment: Option<&str>) {
        if self.rules == 0
            && let Some((fingerprint, classes)) = comment.and_then(parse_stamp)
        {
            self.fingerprint = Some(fingerprint);
            self.classes = classes;
        }
        self.rules += 1;
    }
}
