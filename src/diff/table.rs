//! The program of one table: from what is installed to what [`Program`] asks for.

use std::collections::BTreeSet;

use super::acknowledged::InstalledTable;
use crate::dataplane::{
    BaseChain, Chain, ChainContents, ChainName, Class, Family, List, Object, Operation, Options, Program, SetContents,
    SetName,
};

/// Operations on a table's program, and the table after them.
#[derive(Default)]
pub(super) struct ProgramChange {
    pub operations: Vec<Operation>,
    pub table: InstalledTable,
}

/// Whether the table cannot be mended in place: a set has the name of one of ours and another type.
pub(super) fn is_incompatible(table: &InstalledTable) -> bool {
    table.sets.iter().any(|(name, set)| !set.recognised && name.parse::<SetName>().is_ok())
}

/// The classes for which the table has a set.
pub(super) fn installed_classes(table: Option<&InstalledTable>) -> BTreeSet<(List, Class)> {
    let Some(table) = table else { return BTreeSet::new() };
    table
        .sets
        .keys()
        .filter_map(|name| match name.parse() {
            Ok(SetName::Slots(list, class)) => Some((list, class)),
            _ => None,
        })
        .collect()
}

/// Brings a table's program up to date, for at least the classes that are needed. Classes that are installed stay.
///
/// Chains are rewritten only if their fingerprint, number of rules or hook differ; chains and sets that the program does not
/// know are removed, for the table is ours.
pub(super) fn program_change(
    family: Family,
    installed: Option<&InstalledTable>,
    options: &Options,
    needed: &BTreeSet<(List, Class)>,
) -> ProgramChange {
    if let Some(table) = installed
        && table.verified.as_ref().is_some_and(|(of, known)| of == options && needed.is_subset(known))
    {
        return ProgramChange { operations: Vec::new(), table: table.clone() };
    }
    let classes: BTreeSet<(List, Class)> = installed_classes(installed).union(needed).copied().collect();
    let program = Program::new(family, options, &classes);
    let empty = InstalledTable::default();
    let old = installed.unwrap_or(&empty);
    let mut operations = Vec::new();
    if installed.is_none() {
        operations.push(Operation::add(family, Object::Table));
    }
    operations.extend(removals(family, old, &program));
    operations.extend(additions(family, old, &program));
    ProgramChange { operations, table: table_of(&program, options, classes) }
}

/// What has to go: rules that will be rewritten, base chains at other hooks, and what the program does not know.
///
/// All rules go first: they may refer to any of the rest.
fn removals(family: Family, old: &InstalledTable, program: &Program) -> Vec<Operation> {
    let wanted = |name: &str| program.chains.iter().find(|chain| chain.name.0 == name);
    let mut flushes = Vec::new();
    let mut deletions = Vec::new();
    for (name, chain) in &old.chains {
        let flush = Operation::flush(family, ChainName::from(name.clone()));
        let delete = Operation::delete(family, Object::Chain(ChainName::from(name.clone()), None));
        match wanted(name) {
            Some(wanted) if !same_hook(chain, wanted.base) => {
                flushes.push(flush);
                deletions.push(delete);
            }
            Some(wanted) if chain.rules > 0 && !same_rules(chain, wanted) => flushes.push(flush),
            Some(_) => {}
            None => {
                flushes.push(flush);
                deletions.push(delete);
            }
        }
    }
    for (name, set) in &old.sets {
        if name.parse::<SetName>().is_err() {
            let unknown = Object::UnknownSet { name: name.clone(), is_map: set.is_map };
            deletions.push(Operation::delete(family, unknown));
        }
    }
    flushes.append(&mut deletions);
    flushes
}

/// What has to come: sets, then chains, then rules, which may refer to all of them.
fn additions(family: Family, old: &InstalledTable, program: &Program) -> Vec<Operation> {
    let mut operations = Vec::new();
    for set in &program.sets {
        if !old.sets.contains_key(&set.to_string()) {
            operations.push(Operation::add(family, Object::Set(*set)));
        }
    }
    let installed = |chain: &Chain| old.chains.get(&*chain.name.0);
    for chain in &program.chains {
        if !installed(chain).is_some_and(|old| same_hook(old, chain.base)) {
            operations.push(Operation::add(family, Object::Chain(chain.name.clone(), chain.base)));
        }
    }
    for chain in &program.chains {
        if !installed(chain).is_some_and(|old| same_hook(old, chain.base) && same_rules(old, chain)) {
            operations.extend(
                chain
                    .stamped_rules()
                    .into_iter()
                    .map(|rule| Operation::add(family, Object::Rule(chain.name.clone(), Box::new(rule)))),
            );
        }
    }
    operations
}

fn same_hook(chain: &ChainContents, wanted: Option<BaseChain>) -> bool {
    !chain.foreign_base && chain.base == wanted
}

fn same_rules(chain: &ChainContents, wanted: &Chain) -> bool {
    chain.rules == wanted.rules.len() && (chain.rules == 0 || chain.fingerprint == Some(wanted.fingerprint()))
}

/// The table that holds exactly this program.
fn table_of(program: &Program, options: &Options, classes: BTreeSet<(List, Class)>) -> InstalledTable {
    let chains = program.chains.iter().map(|chain| {
        let contents = ChainContents {
            base: chain.base,
            foreign_base: false,
            rules: chain.rules.len(),
            fingerprint: if chain.rules.is_empty() { None } else { Some(chain.fingerprint()) },
        };
        (chain.name.to_string(), contents)
    });
    let sets = program
        .sets
        .iter()
        .map(|set| (set.to_string(), SetContents { is_map: set.definition().is_map(), recognised: true }));
    InstalledTable { chains: chains.collect(), sets: sets.collect(), verified: Some((options.clone(), classes)) }
}

#[cfg(test)]
mod tests;
