//! The typed rules and the elements of one table.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataplane::{
    BaseChain, Chain, ChainName, Element, Family, Frontend, Key, Object, Operation, Options, PacketTable, Program,
    ProgramFeatures, Rule, SetName, TableContents, Value, Verb,
};

/// The data and the comment of an element.
type Held = (Option<Value>, Option<Arc<str>>);

/// The rules and elements of one table.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    chains: BTreeMap<String, (Option<BaseChain>, Vec<Rule>)>,
    elements: BTreeMap<SetName, BTreeMap<Key, Held>>,
    /// Chains of the kernel that do not hold the rules that this program would write.
    altered: Vec<String>,
}

impl Ruleset {
    /// What operations on an empty table leave: only what they add.
    pub fn from_operations(family: Family, operations: &[Operation]) -> Self {
        let mut ruleset = Self::default();
        let added = operations.iter().filter(|operation| operation.family == family && operation.verb == Verb::Add);
        for operation in added {
            match &operation.object {
                Object::Chain(name, base) => {
                    ruleset.chains.entry(name.0.to_string()).or_insert((*base, Vec::new()));
                }
                Object::Rule(chain, rule) => {
                    ruleset.chains.entry(chain.0.to_string()).or_default().1.push((**rule).clone());
                }
                Object::Element(element) => ruleset.add(element),
                _ => {}
            }
        }
        ruleset
    }

    /// What was read from a kernel. The kernel tells no rules, only their fingerprints: a chain counts as holding the rules that this
    /// program writes for these options and features, and is noted if its fingerprint is another one.
    pub fn from_contents(
        family: Family,
        contents: &TableContents,
        options: &Options,
        features: &ProgramFeatures,
    ) -> Self {
        let mut ruleset = Self::default();
        let own = contents.chains.iter().filter_map(|(name, found)| {
            if let Some(frontend) = ChainName::parse_check_sources(name) {
                return Some(Chain::check_sources(frontend));
            }
            let (step, frontend) = ChainName::parse_with_affinity(name)?;
            Some(Chain::with_affinity(step, frontend, found.affinity_seconds?))
        });
        for chain in Program::new(family, options, features).chains.into_iter().chain(own) {
            let name = chain.name.0.to_string();
            let Some(found) = contents.chains.get(&name) else { continue };
            let intact = found.rules == chain.rules.len() && found.base == chain.base && !found.foreign_base;
            if !intact || (!chain.rules.is_empty() && found.fingerprint != Some(chain.fingerprint())) {
                ruleset.altered.push(name.clone());
            }
            ruleset.chains.insert(name, (chain.base, chain.rules));
        }
        contents.elements.iter().for_each(|element| ruleset.add(element));
        ruleset
    }

    /// Adds the clients that a frontend remembers.
    pub fn add_clients(&mut self, clients: &[Element]) {
        clients.iter().for_each(|element| self.add(element));
    }

    /// Chains that do not hold the rules that this program would write: the answer may be wrong about them.
    pub fn altered(&self) -> &[String] {
        &self.altered
    }

    /// Whether there is no chain: no table, or an empty one.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// The comment of an element: the service port that it was programmed for.
    pub fn comment(&self, set: SetName, key: &Key) -> Option<&str> {
        self.elements.get(&set)?.get(key)?.1.as_deref()
    }

    /// A rule as nft text.
    pub fn rule(&self, chain: &str, number: usize) -> Option<&Rule> {
        self.chains.get(chain)?.1.get(number)
    }

    /// Where a base chain is attached; `None` of another chain.
    pub fn base(&self, chain: &str) -> Option<BaseChain> {
        self.chains.get(chain)?.0
    }

    /// Whether a frontend is a member of some set.
    pub fn has(&self, frontend: Frontend) -> bool {
        self.elements.values().any(|elements| elements.contains_key(&Key::Frontend(frontend)))
    }

    fn add(&mut self, element: &Element) {
        let held = (element.value, element.comment.clone());
        self.elements.entry(element.set).or_default().insert(element.key, held);
    }
}

impl PacketTable for Ruleset {
    fn base_chains(&self) -> Vec<(BaseChain, &str)> {
        self.chains.iter().filter_map(|(name, (base, _))| Some(((*base)?, name.as_str()))).collect()
    }

    fn rules(&self, chain: &str) -> &[Rule] {
        self.chains.get(chain).map_or(&[], |(_, rules)| rules)
    }

    fn has_rules_of(&self, other: &Self) -> bool {
        self.chains == other.chains
    }

    /// A set without elements is no matter here.
    fn has_set(&self, _: SetName) -> bool {
        true
    }

    fn find(&self, set: SetName, key: &Key) -> Option<(Key, Option<Value>)> {
        let elements = self.elements.get(&set)?;
        let (key, (value, _)) = match key {
            Key::Network(one) => {
                elements.iter().find(|(key, _)| matches!(key, Key::Network(range) if range.contains(one)))?
            }
            key => elements.get_key_value(key)?,
        };
        Some((*key, *value))
    }

    /// Whether a client is remembered or not does not decide about its packet.
    fn is_full(&self, _: SetName) -> bool {
        false
    }
}
