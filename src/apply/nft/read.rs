//! Reading a table back from `nft -j list table`.
//!
//! Objects that the program does not know are recorded or skipped, never an error.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::encode::flags;
use super::rules::field_types;
use crate::dataplane::{
    BaseChain, ChainContents, ChainType, Element, Family, Hook, Key, KeyField, SetContents, SetDefinition, SetName,
    TableContents,
};

/// Parses a listing of one table.
///
/// # Errors
///
/// If it is not JSON of the expected shape.
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
                // The kernel gives sets of counts a limit once a rule refers to them.
                let is_counts = matches!(set.name.parse(), Ok(SetName::Counts(..)));
                let (name, capacity) = (set.name.clone(), set.size.filter(|_| !is_counts));
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

/// Parses a listing of an affinity map, which packets fill.
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

/// Collects the elements of a set of the program. False if the set has another type, or an element that the program never writes.
fn read_set(family: Family, set: ListedSet, is_map: bool, elements: &mut Vec<Element>) -> bool {
    let Ok(name) = set.name.parse::<SetName>() else { return false };
    let definition = name.definition();
    let expected = serde_json::to_value(field_types(family, definition.key)).ok();
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
    // Elements that packets add are no part of the table.
    for node in set.elem.into_iter().filter(|_| !definition.dynamic) {
        match element(family, name, &node) {
            Some(element) => elements.push(element),
            None => return false,
        }
    }
    true
}

/// The element that a value describes.
fn element(family: Family, set: SetName, node: &ListedValue) -> Option<Element> {
    let (node, value) = match node {
        ListedValue::List(pair) => match pair.as_slice() {
            [key, value] => (key, Some(value)),
            _ => return None,
        },
        single => (single, None),
    };
    let (node, comment) = match node {
        ListedValue::Elem { val, comment } => (&**val, comment.as_deref()),
        plain => (plain, None),
    };
    let key = key_from_fields(family, set, &fields(node)?)?;
    let element = Element { comment: comment.map(Arc::from), ..Element::member(set, key) };
    match (value, set.definition()) {
        (Some(ListedValue::Jump(target)), SetDefinition { verdict: true, .. }) => {
            element.chain().is_some_and(|chain| chain.0 == *target).then_some(element)
        }
        (Some(value), SetDefinition { verdict: false, data: [_, ..], .. }) => {
            Some(Element { value: Some(crate::dataplane::Value::from_fields(&fields(value)?)?), ..element })
        }
        (None, definition) if !definition.is_map() => Some(element),
        _ => None,
    }
}

/// The key with these fields. A listing has numbers for slots and for ports: the set tells which is which.
fn key_from_fields(family: Family, set: SetName, fields: &[KeyField]) -> Option<Key> {
    match (set, fields) {
        (SetName::Endpoints(_) | SetName::EndpointIds(_), [others @ .., KeyField::Port(slot)]) => {
            let slot = KeyField::Slot(u32::from(*slot));
            Key::from_fields(family, set, &[others, &[slot]].concat())
        }
        _ => Key::from_fields(family, set, fields),
    }
}

fn fields(value: &ListedValue) -> Option<Vec<KeyField>> {
    match value {
        ListedValue::Concat(values) => values.iter().map(field).collect(),
        single => Some(vec![field(single)?]),
    }
}

fn field(value: &ListedValue) -> Option<KeyField> {
    match value {
        ListedValue::Text(text) => {
            let others = || text.parse().map(KeyField::Protocol).ok().or_else(|| text.parse().map(KeyField::Id).ok());
            text.parse().map(KeyField::Addr).ok().or_else(others)
        }
        // Slot numbers end at 65,535 as ports do: the largest class has 65,536 slots.
        ListedValue::Number(number) => u16::try_from(*number).ok().map(KeyField::Port),
        ListedValue::Prefix { addr, len } => {
            IpNet::new(addr.parse().ok()?, u8::try_from(*len).ok()?).ok().map(KeyField::Network)
        }
        ListedValue::Concat(_)
        | ListedValue::Elem { .. }
        | ListedValue::Jump(_)
        | ListedValue::List(_)
        | ListedValue::Other => None,
    }
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<ListedObject>,
}

#[derive(Deserialize)]
struct ListedObject {
    chain: Option<ListedChain>,
    rule: Option<ListedRule>,
    set: Option<ListedSet>,
    map: Option<ListedSet>,
}

#[derive(Deserialize)]
struct ListedChain {
    name: String,
    r#type: Option<String>,
    hook: Option<String>,
    prio: Option<Value>,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct ListedRule {
    chain: String,
    comment: Option<String>,
}

#[derive(Deserialize)]
struct ListedSet {
    name: String,
    r#type: Value,
    flags: Option<Value>,
    size: Option<u32>,
    #[serde(default)]
    elem: Vec<ListedValue>,
}

impl ListedChain {
    /// Where the chain is attached; `None` if the program never attaches one so.
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

/// An element, or a part of an element, in nft's JSON.
enum ListedValue {
    Text(String),
    Number(u64),
    Concat(Vec<ListedValue>),
    Prefix { addr: String, len: u64 },
    Elem { val: Box<ListedValue>, comment: Option<String> },
    Jump(String),
    List(Vec<ListedValue>),
    Other,
}

impl<'de> Deserialize<'de> for ListedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListedValueVisitor)
    }
}

struct ListedValueVisitor;

impl<'de> Visitor<'de> for ListedValueVisitor {
    type Value = ListedValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of a set or map")
    }

    fn visit_str<E>(self, text: &str) -> Result<ListedValue, E> {
        Ok(ListedValue::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<ListedValue, E> {
        Ok(ListedValue::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<ListedValue, E> {
        Ok(ListedValue::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<ListedValue, E> {
        Ok(ListedValue::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<ListedValue, E> {
        Ok(ListedValue::Other)
    }

    fn visit_unit<E>(self) -> Result<ListedValue, E> {
        Ok(ListedValue::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<ListedValue, A::Error> {
        let mut nodes = Vec::with_capacity(2);
        while let Some(node) = sequence.next_element()? {
            nodes.push(node);
        }
        Ok(ListedValue::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ListedValue, A::Error> {
        let mut node = ListedValue::Other;
        while let Some(name) = map.next_key::<String>()? {
            node = match name.as_str() {
                "concat" => ListedValue::Concat(map.next_value()?),
                "prefix" => {
                    let prefix: ListedPrefix = map.next_value()?;
                    ListedValue::Prefix { addr: prefix.addr, len: prefix.len }
                }
                "elem" => {
                    let elem: ListedElem = map.next_value()?;
                    ListedValue::Elem { val: Box::new(elem.val), comment: elem.comment }
                }
                "jump" => {
                    let jump: ListedJump = map.next_value()?;
                    ListedValue::Jump(jump.target)
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    ListedValue::Other
                }
            };
        }
        Ok(node)
    }
}

#[derive(Deserialize)]
struct ListedJump {
    target: String,
}

#[derive(Deserialize)]
struct ListedPrefix {
    addr: String,
    len: u64,
}

#[derive(Deserialize)]
struct ListedElem {
    val: ListedValue,
    comment: Option<String>,
}

#[cfg(test)]
mod tests;
