//! A kernel in memory, with the real one's refusals.

use im::OrdMap;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Backend, Error, Receipt, Refusal};
use crate::dataplane::{
    Action, BaseChain, ChainContents, Condition, Element, Family, Frontend, Key, Object, Operation, Options, Rule,
    SetContents, SetName, TableContents, Tables, Value, Verb,
};

mod packet;

/// A kernel in memory: does what nf_tables does with the operations of a batch, and refuses what it refuses.
///
/// The same tests run against it and against the real kernel.
#[derive(Clone, Debug, Default)]
pub struct MemoryKernel {
    tables: [Option<MemoryTable>; 2],
}

#[derive(Clone, Debug, Default)]
struct MemoryTable {
    /// Clones share them until a rule changes.
    chains: Arc<BTreeMap<String, MemoryChain>>,
    sets: OrdMap<SetName, MemorySet>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct MemoryChain {
    base: Option<BaseChain>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct MemorySet {
    name: SetName,
    /// The maximum number of elements, if packets fill it.
    capacity: Option<u32>,
    elements: OrdMap<Key, ElementData>,
}

/// Data and comment of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ElementData {
    value: Option<Value>,
    comment: Option<Arc<str>>,
}

impl MemoryKernel {
    /// A kernel without Pointsman's tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a whole batch.
    ///
    /// # Errors
    ///
    /// The cause, if an operation is refused. Then nothing is applied.
    pub fn apply(&mut self, operations: &[Operation]) -> Result<(), Refusal> {
        let mut next = self.clone();
        for operation in operations {
            next.step(operation)?;
        }
        *self = next;
        Ok(())
    }

    /// Removes a table, as another program might.
    pub fn remove_table(&mut self, family: Family) {
        self.tables[family.index()] = None;
    }

    /// Whether there is a table of a family.
    pub fn has_table(&self, family: Family) -> bool {
        self.tables[family.index()].is_some()
    }

    /// The tables of these families.
    pub fn contents(&self, families: &[Family]) -> Tables {
        let mut tables = Tables::default();
        for family in families {
            tables.set(*family, self.tables[family.index()].as_ref().map(MemoryTable::contents));
        }
        tables
    }

    fn step(&mut self, operation: &Operation) -> Result<(), Refusal> {
        let table = &mut self.tables[operation.family.index()];
        match (operation.verb, &operation.object) {
            (Verb::Add, Object::Table) => {
                table.get_or_insert_default();
                return Ok(());
            }
            (Verb::Delete, Object::Table) => return table.take().map(|_| ()).ok_or(Refusal::Missing),
            _ => {}
        }
        let table = table.as_mut().ok_or(Refusal::Missing)?;
        match (operation.verb, &operation.object) {
            (Verb::Add, Object::Chain(name, base)) => table.add_chain(&name.0, *base),
            (Verb::Delete, Object::Chain(name, _)) => table.delete_chain(&name.0),
            (Verb::Flush, Object::Chain(name, _)) => {
                table.chains_mut().get_mut(&*name.0).ok_or(Refusal::Missing)?.rules.clear();
                Ok(())
            }
            (Verb::Add, Object::Rule(chain, rule)) => table.add_rule(&chain.0, rule),
            (Verb::Add, Object::Set(set)) => table.add_set(*set, None),
            (Verb::Add, Object::Clients { frontend, capacity }) => {
                table.add_set(SetName::Clients(*frontend), Some(*capacity))
            }
            (Verb::Delete, Object::Set(set)) => table.delete_set(*set),
            (Verb::Delete, Object::Clients { frontend, .. }) => table.delete_set(SetName::Clients(*frontend)),
            (Verb::Delete, Object::UnknownSet { name, .. }) => {
                table.delete_set(name.parse().map_err(|_| Refusal::Missing)?)
            }
            (Verb::Add, Object::Element(element)) => {
                if element.chain().is_some_and(|chain| !table.chains.contains_key(&*chain.0)) {
                    return Err(Refusal::Missing);
                }
                table.set_of(element)?.add(element)
            }
            (Verb::Delete, Object::Element(element)) => {
                table.set_of(element)?.elements.remove(&element.key).map(|_| ()).ok_or(Refusal::Missing)
            }
            _ => Err(Refusal::Other),
        }
    }
}

impl MemoryTable {
    fn chains_mut(&mut self) -> &mut BTreeMap<String, MemoryChain> {
        Arc::make_mut(&mut self.chains)
    }

    fn add_set(&mut self, name: SetName, capacity: Option<u32>) -> Result<(), Refusal> {
        let new = || MemorySet { name, capacity, elements: OrdMap::new() };
        self.sets.entry(name).or_insert_with(new);
        Ok(())
    }

    fn add_chain(&mut self, name: &str, base: Option<BaseChain>) -> Result<(), Refusal> {
        match self.chains.get(name) {
            Some(chain) if chain.base == base => Ok(()),
            Some(_) => Err(Refusal::Exists),
            None => {
                self.chains_mut().insert(name.to_owned(), MemoryChain { base, rules: Vec::new() });
                Ok(())
            }
        }
    }

    /// Deletes a chain with its rules, unless a rule of another chain leads to it.
    fn delete_chain(&mut self, name: &str) -> Result<(), Refusal> {
        let chain = self.chains_mut().remove(name).ok_or(Refusal::Missing)?;
        let leads_here = |set: &MemorySet| set.contents().iter().any(|it| it.chain().is_some_and(|it| it.0 == name));
        let verdict_maps = || self.sets.values().filter(|set| set.name.definition().verdict);
        if self.rules().any(|rule| rule_target(rule) == Some(name)) || verdict_maps().any(leads_here) {
            self.chains_mut().insert(name.to_owned(), chain);
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    fn add_rule(&mut self, chain: &str, rule: &Rule) -> Result<(), Refusal> {
        if !self.chains.contains_key(chain)
            || rule_target(rule).is_some_and(|target| !self.chains.contains_key(target))
            || rule_sets(rule).any(|set| !self.sets.contains_key(&set))
        {
            return Err(Refusal::Missing);
        }
        if let Some(chain) = self.chains_mut().get_mut(chain) {
            chain.rules.push(rule.clone());
        }
        Ok(())
    }

    fn delete_set(&mut self, name: SetName) -> Result<(), Refusal> {
        if !self.sets.contains_key(&name) {
            return Err(Refusal::Missing);
        }
        if self.rules().any(|rule| rule_sets(rule).any(|set| set == name)) {
            return Err(Refusal::Busy);
        }
        self.sets.remove(&name);
        Ok(())
    }

    fn set_of(&mut self, element: &Element) -> Result<&mut MemorySet, Refusal> {
        if Key::from_fields(element.family(), element.set, &element.key.fields()).is_none()
            || (element.value.is_some() || element.chain().is_some()) != element.set.definition().is_map()
        {
            return Err(Refusal::Other);
        }
        self.sets.get_mut(&element.set).ok_or(Refusal::Missing)
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.chains.values().flat_map(|chain| &chain.rules)
    }

    fn contents(&self) -> TableContents {
        let chains = self.chains.iter().map(|(name, chain)| {
            let mut contents = ChainContents { base: chain.base, ..ChainContents::default() };
            for rule in &chain.rules {
                contents.push_rule(rule.comment.as_deref());
            }
            (name.clone(), contents)
        });
        let sets = self.sets.iter().map(|(name, set)| {
            let is_map = set.name.definition().is_map();
            (name.to_string(), SetContents { is_map, recognised: true, capacity: set.capacity })
        });
        let elements = self.sets.values().filter(|set| !set.name.is_dynamic()).flat_map(MemorySet::contents);
        TableContents { chains: chains.collect(), sets: sets.collect(), elements: elements.collect() }
    }
}

impl MemorySet {
    /// Whether packets can add no further element.
    fn is_full(&self) -> bool {
        let capacity = self.capacity.unwrap_or(Options::KERNEL_AFFINITY_CAPACITY);
        self.elements.len() >= usize::try_from(capacity).unwrap_or(usize::MAX)
    }

    fn contents(&self) -> Vec<Element> {
        let element = |(key, contents): (&Key, &ElementData)| Element {
            set: self.name,
            key: *key,
            value: contents.value,
            comment: contents.comment.clone(),
        };
        self.elements.iter().map(element).collect()
    }

    /// Adds an element. One that exists stays as it is, comment included. Other data for the same key is refused, and so is a range
    /// that overlaps another.
    fn add(&mut self, element: &Element) -> Result<(), Refusal> {
        if let Some(held) = self.elements.get(&element.key) {
            return if held.value == element.value { Ok(()) } else { Err(Refusal::Exists) };
        }
        let overlap = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
        let overlaps = |(held, _): (&Key, _)| match (held, &element.key) {
            (Key::Network(held), Key::Network(new)) => overlap(held, new),
            _ => false,
        };
        // Those that are there do not overlap, so one of its neighbours does if any does.
        let neighbours = [self.elements.get_prev(&element.key), self.elements.get_next(&element.key)];
        if self.name.definition().interval && neighbours.into_iter().flatten().any(overlaps) {
            return Err(Refusal::Exists);
        }
        self.elements.insert(element.key, ElementData { value: element.value, comment: element.comment.clone() });
        Ok(())
    }
}

/// The chain that a rule leads to.
fn rule_target(rule: &Rule) -> Option<&str> {
    match &rule.action {
        Action::Jump(chain) | Action::Goto(chain) => Some(&chain.0),
        _ => None,
    }
}

/// The sets and maps that a rule looks up.
fn rule_sets(rule: &Rule) -> impl Iterator<Item = SetName> {
    let conditions = rule.conditions.iter().filter_map(|condition| match condition {
        Condition::In(_, set)
        | Condition::NotIn(_, set)
        | Condition::Recalls(_, set)
        | Condition::Remembers(set, _) => Some(*set),
        _ => None,
    });
    let map = match &rule.action {
        Action::DnatTo(_, map) | Action::JumpByMap(_, map) | Action::Forget(map) | Action::Count(map) => Some(*map),
        _ => None,
    };
    conditions.chain(map)
}

impl Backend for MemoryKernel {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        std::future::ready(Ok(self.contents(families)))
    }

    async fn clients(&mut self, frontend: Frontend) -> Result<Vec<Element>, Error> {
        let set = SetName::Clients(frontend);
        let table = self.tables[frontend.family().index()].as_ref();
        Ok(table.and_then(|table| table.sets.get(&set)).map_or_else(Vec::new, MemorySet::contents))
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        self.apply(operations).map_err(|refusal| Error::Refused {
            doing: "committing a batch to Pointsman's tables",
            refusal,
            detail: format!("{refusal:?}"),
        })?;
        Ok(Receipt::default())
    }
}

#[cfg(test)]
mod tests;
