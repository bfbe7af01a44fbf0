//! The program of one table: from what is installed to what [`Program`] asks for.

use std::sync::Arc;

use super::acknowledged::InstalledTable;
use super::features::{FrontendCounts, needed};
use crate::dataplane::{
    BaseChain, Chain, ChainContents, ChainName, Family, Object, Operation, Options, Program, ProgramFeatures,
    SetContents, SetName, Verb,
};

/// Operations on a table's program, and the table after them.
#[derive(Default)]
pub(super) struct ProgramChange {
    pub operations: Vec<Operation>,
    pub table: Arc<InstalledTable>,
}

/// Whether the table cannot be mended in place: a set has the name of one of ours and another type.
pub(super) fn is_incompatible(table: &InstalledTable, options: &Options) -> bool {
    // What was verified was compatible with these very options.
    table.verified.as_ref() != Some(options)
        && table.sets.iter().any(|(name, set)| name.parse::<SetName>().is_ok() && !set.recognised)
}

/// Brings a table's program up to date, with the features that its frontends need.
///
/// Chains are rewritten only if their fingerprint, number of rules or hook differ; chains and sets that the program does not
/// know are removed, for the table is ours.
pub(super) fn program_change(
    family: Family,
    installed: Option<&Arc<InstalledTable>>,
    options: &Options,
    counts: &FrontendCounts,
    upcoming: &FrontendCounts,
) -> ProgramChange {
    let old = installed.map(Arc::clone).unwrap_or_default();
    let is_verified = old.verified.as_ref() == Some(options);
    if is_verified && counts.has_fitting_table(upcoming) {
        return ProgramChange { operations: Vec::new(), table: old };
    }
    let features = needed(&old.features, counts, upcoming);
    if is_verified && old.features == features {
        return ProgramChange { operations: Vec::new(), table: old };
    }
    let program = Program::new(family, options, &features);
    let table = table_of(&program, options, features);
    let mut operations = Vec::new();
    if installed.is_none() {
        operations.push(Operation::add(family, Object::Table));
    }
    operations.extend(removals(family, &old, &table));
    operations.extend(additions(family, &old, &program, &table));
    ProgramChange { operations, table: Arc::new(table) }
}

/// Whether packets are served as before when these operations on the program are committed before the elements that they are for: the
/// table is new, or its rules look up what they looked up before.
pub(super) fn keeps_lookups(operations: &[Operation]) -> bool {
    let adds_table = |operation: &Operation| operation.verb == Verb::Add && operation.object == Object::Table;
    let is_new = operations.iter().any(adds_table);
    operations.iter().all(|operation| match (operation.verb, &operation.object) {
        // What packets count decides about none.
        (_, Object::Set(SetName::Counts(..))) => true,
        (Verb::Delete, Object::Table | Object::Set(_) | Object::Clients { .. } | Object::UnknownSet { .. }) => false,
        // Frontends become members of these together with all their other elements, and packets fill the map of clients.
        (
            Verb::Add,
            Object::Clients { .. }
            | Object::Set(
                SetName::Internal(_)
                | SetName::Slots(..)
                | SetName::InternalAffinity
                | SetName::AffinityChains(..)
                | SetName::AffinitySlots(..)
                | SetName::EndpointIds(_)
                | SetName::EndpointsById(_)
                | SetName::SourceChecks,
            ),
        ) => true,
        (Verb::Add, Object::Set(_)) => is_new,
        _ => true,
    })
}

/// What has to go: rules that will be rewritten, base chains at other hooks, and what the program does not know.
///
/// All rules go first: they may refer to any of the rest.
fn removals(family: Family, old: &InstalledTable, wanted: &InstalledTable) -> Vec<Operation> {
    let mut flushes = Vec::new();
    let mut deletions = Vec::new();
    for (name, chain) in &old.chains {
        let flush = Operation::flush(family, ChainName::from(name.clone()));
        let delete = Operation::delete(family, Object::Chain(ChainName::from(name.clone()), None));
        match wanted.chains.get(name) {
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
        match name.parse() {
            Ok(_) if wanted.sets.contains_key(name) => {}
            Ok(ours) => deletions.push(Operation::delete(family, Object::Set(ours))),
            Err(()) => {
                let unknown = Object::UnknownSet { name: name.clone(), is_map: set.is_map };
                deletions.push(Operation::delete(family, unknown));
            }
        }
    }
    flushes.append(&mut deletions);
    flushes
}

/// What has to come: sets, then chains, then rules, which may refer to all of them.
fn additions(family: Family, old: &InstalledTable, program: &Program, wanted: &InstalledTable) -> Vec<Operation> {
    let holds_rules = |chain: &Chain| {
        let (old, wanted) = (old.chains.get(&*chain.name.0), wanted.chains.get(&*chain.name.0));
        old.zip(wanted).is_some_and(|(old, wanted)| same_hook(old, wanted.base) && same_rules(old, wanted))
    };
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
        if !holds_rules(chain) {
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

fn same_rules(chain: &ChainContents, wanted: &ChainContents) -> bool {
    chain.rules == wanted.rules && (chain.rules == 0 || chain.fingerprint == wanted.fingerprint)
}

/// The table that holds exactly this program.
fn table_of(program: &Program, options: &Options, features: ProgramFeatures) -> InstalledTable {
    let chains = program.chains.iter().map(|chain| {
        let contents = ChainContents {
            base: chain.base,
            foreign_base: false,
            rules: chain.rules.len(),
            fingerprint: if chain.rules.is_empty() { None } else { Some(chain.fingerprint()) },
            classes: chain.classes.clone(),
            affinity_seconds: None,
        };
        (chain.name.to_string(), contents)
    });
    let sets = program.sets.iter().map(|set| {
        (set.to_string(), SetContents { is_map: set.definition().is_map(), recognised: true, capacity: None })
    });
    InstalledTable { chains: chains.collect(), sets: sets.collect(), features, verified: Some(options.clone()) }
}

#[cfg(test)]
mod tests;
