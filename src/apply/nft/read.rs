//! Reading a table back from `nft -j list table`.
//!
//! Tolerant of everything that is not ours: unknown objects are noted or skipped, never an error.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::encode::flags;
use super::rules::key;
use crate::dataplane::{
    BaseChain, ChainContents, ChainType, Element, Endpoint, Family, Hook, Key, KeyField, SetContents, SetName,
    TableContents,
};

/// Reads a listing of one table.
pub(super) fn table(family: Family, json: &[u8]) -> Result<TableContents, serde_json::Error> {
    let listing: Listing = serde_json::from_slice(json)?;
    let mut contents = TableContents::default();
    let mut rules: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for item in listing.nftables {
        if let Some(chain) = item.chain {
            let base = chain.base();
            let foreign_base = chain.hook.is_some() && base.is_none();
            contents.chains.insert(chain.name, ChainContents { base, foreign_base, ..ChainContents::default() });
        }
        if let Some(rule) = item.rule {
            rules.entry(rule.chain).or_default().push(rule.comment);
        }
        for (set, is_map) in [(item.set, false), (item.map, true)] {
            if let Some(set) = set {
                let (name, capacity) = (set.name.clone(), set.size);
                let recognised = read_set(family, set, is_map, &mut contents.elements);
                contents.sets.insert(name, SetContents { is_map, recognised, capacity });
            }
        }
    }
    for (chain, comments) in rules {
        let contents = contents.chains.entry(chain).or_default();
        comments.iter().for_each(|comment| contents.push_rule(comment.as_deref()));
    }
    Ok(contents)
}

/// Reads what packets remember from a listing of one such map.
pub(super) fn clients(family: Family, json: &[u8]) -> Result<Vec<Element>, serde_json::Error> {
    let listing: Listing = serde_json::from_slice(json)?;
    let mut clients = Vec::new();
    for map in listing.nftables.into_iter().filter_map(|item| item.map) {
        if let Ok(name) = map.name.parse::<SetName>() {
            clients.extend(map.elem.iter().filter_map(|node| element(family, name, node)));
        }
    }
    Ok(clients)
}

/// Takes the elements of a set that is ours; false if it is not of our type or holds something that we would never write.
fn read_set(family: Family, set: SetItem, is_map: bool, elements: &mut Vec<Element>) -> bool {
    let Ok(name) = set.name.parse::<SetName>() else { return false };
    let definition = name.definition();
    let expected = serde_json::to_value(key(family, definition.key, None)).ok();
    let flags = flags(&definition);
    let same_flags = match &set.flags {
        None => flags.is_empty(),
        Some(Value::String(flag)) => flags == [flag],
        Some(Value::Array(found)) => found.iter().map(Value::as_str).eq(flags.iter().map(|flag| Some(*flag))),
        Some(_) => false,
    };
    let same_type = set.r#type.get("typeof").is_some_and(|found| Some(found) == expected.as_ref());
    if is_map != definition.is_map() || !same_type || !same_flags {
        return false;
    }
    // What packets remember is no part of the table.
    for node in set.elem.into_iter().filter(|_| !definition.dynamic) {
        match element(family, name, &node) {
            Some(element) => elements.push(element),
            None => return false,
        }
    }
    true
}

/// The element that a node describes.
fn element(family: Family, set: SetName, node: &Node) -> Option<Element> {
    let (node, value) = match node {
        Node::List(pair) => match pair.as_slice() {
            [key, value] => (key, Some(value)),
            _ => return None,
        },
        single => (single, None),
    };
    let (node, comment) = match node {
        Node::Elem { val, comment } => (&**val, comment.as_deref()),
        plain => (plain, None),
    };
    let value = match value.map(atoms) {
        None => None,
        Some(atoms) => match atoms?.as_slice() {
            [KeyField::Addr(addr), KeyField::Port(port)] => Some(Endpoint { addr: *addr, port: *port }),
            _ => return None,
        },
    };
    let key = key_of(family, set, &atoms(node)?)?;
    (value.is_some() == set.definition().is_map()).then(|| Element { set, key, value, comment: comment.map(Arc::from) })
}

/// The key with these components. In a listing slots and ports are both numbers: the set tells which is which.
fn key_of(family: Family, set: SetName, atoms: &[KeyField]) -> Option<Key> {
    match (set, atoms) {
        (SetName::Endpoints(_), [others @ .., KeyField::Port(slot)]) => {
            let slot = KeyField::Slot(u32::from(*slot));
            Key::from_atoms(family, set, &[others, &[slot]].concat())
        }
        _ => Key::from_atoms(family, set, atoms),
    }
}

fn atoms(node: &Node) -> Option<Vec<KeyField>> {
    match node {
        Node::Concat(nodes) => nodes.iter().map(atom).collect(),
        single => Some(vec![atom(single)?]),
    }
}

fn atom(node: &Node) -> Option<KeyField> {
    match node {
        Node::Text(text) => text.parse().map(KeyField::Addr).ok().or_else(|| text.parse().map(KeyField::Protocol).ok()),
        // Slot numbers end at 65,535 too: the largest class has 65,536 slots.
        Node::Number(number) => u16::try_from(*number).ok().map(KeyField::Port),
        Node::Prefix { addr, len } => {
            IpNet::new(addr.parse().ok()?, u8::try_from(*len).ok()?).ok().map(KeyField::Network)
        }
        Node::Concat(_) | Node::Elem { .. } | Node::List(_) | Node::Other => None,
    }
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    chain: Option<ChainItem>,
    rule: Option<RuleItem>,
    set: Option<SetItem>,
    map: Option<SetItem>,
}

#[derive(Deserialize)]
struct ChainItem {
    name: String,
    r#type: Option<String>,
    hook: Option<String>,
    prio: Option<Value>,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct RuleItem {
    chain: String,
    comment: Option<String>,
}

#[derive(Deserialize)]
struct SetItem {
    name: String,
    r#type: Value,
    flags: Option<Value>,
    size: Option<u32>,
    #[serde(default)]
    elem: Vec<Node>,
}

impl ChainItem {
    /// Where the chain is attached, if the program could have written it so.
    fn base(&self) -> Option<BaseChain> {
        let kind =
            [ChainType::Filter, ChainType::Nat].into_iter().find(|kind| self.r#type.as_deref() == Some(kind.nft()));
        let hook = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]
            .into_iter()
            .find(|hook| self.hook.as_deref() == Some(hook.nft()));
        let priority = self.prio.as_ref().and_then(Value::as_i64).and_then(|priority| i32::try_from(priority).ok());
        if self.policy.as_deref() != Some("accept") {
            return None;
        }
        Some(BaseChain { kind: kind?, hook: hook?, priority: priority? })
    }
}

/// An element, or a part of one, as nft writes it.
enum Node {
    Text(String),
    Number(u64),
    Concat(Vec<Node>),
    Prefix { addr: String, len: u64 },
    Elem { val: Box<Node>, comment: Option<String> },
    List(Vec<Node>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of a set or map")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::with_capacity(2);
        while let Some(node) = sequence.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut node = Node::Other;
        while let Some(name) = map.next_key::<String>()? {
            node = match name.as_str() {
                "concat" => Node::Concat(map.next_value()?),
                "prefix" => {
                    let prefix: PrefixItem = map.next_value()?;
                    Node::Prefix { addr: prefix.addr, len: prefix.len }
                }
                "elem" => {
                    let elem: ElemItem = map.next_value()?;
                    Node::Elem { val: Box::new(elem.val), comment: elem.comment }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    Node::Other
                }
            };
        }
        Ok(node)
    }
}

#[derive(Deserialize)]
struct PrefixItem {
    addr: String,
    len: u64,
}

#[derive(Deserialize)]
struct ElemItem {
    val: Node,
    comment: Option<String>,
}

#[cfg(test)]
mod tests;
