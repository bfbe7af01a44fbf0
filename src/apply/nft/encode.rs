//! Encoding operations as the JSON that `nft -j -f -` reads.
//!
//! The envelope, sets, maps and elements have types of their own here: the `nftables` crate 0.6 has no `typeof` keys, no maps with
//! several fields of data, and writes `null` for every unset member of an element.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::rules::{RuleStatement, field_types, rule_statements};
use crate::dataplane::{
    BaseChain, Element, Family, KeyField, Object, Operation, Rule, SetDefinition, SetName, TABLE, Verb,
};

/// Encodes a batch: `{"nftables": [ … ]}`.
///
/// Elements of one set that follow each other are sent as one command.
///
/// # Errors
///
/// None in practice: every part of an operation can be written as JSON.
pub fn encode(operations: &[Operation]) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&BatchJson { nftables: CommandsJson(operations) })
}

#[derive(Serialize)]
struct BatchJson<'a> {
    nftables: CommandsJson<'a>,
}

struct CommandsJson<'a>(&'a [Operation]);

impl Serialize for CommandsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut commands = serializer.serialize_seq(None)?;
        for run in self.0.chunk_by(in_one_command) {
            commands.serialize_element(&CommandJson(run))?;
        }
        commands.end()
    }
}

/// Whether two neighbours are the same verb on elements of the same set.
fn in_one_command(a: &Operation, b: &Operation) -> bool {
    match (&a.object, &b.object) {
        (Object::Element(x), Object::Element(y)) => a.verb == b.verb && a.family == b.family && x.set == y.set,
        _ => false,
    }
}

/// One command: a single operation, or several on elements of one set.
struct CommandJson<'a>(&'a [Operation]);

impl Serialize for CommandJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut command = serializer.serialize_map(Some(1))?;
        if let Some(first) = self.0.first() {
            command.serialize_entry(first.verb.nft(), &TargetJson { first, run: self.0 })?;
        }
        command.end()
    }
}

/// The object of a command: `{"element": {…}}`.
struct TargetJson<'a> {
    first: &'a Operation,
    run: &'a [Operation],
}

impl Serialize for TargetJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut target = serializer.serialize_map(Some(1))?;
        let family = self.first.family;
        let adding = self.first.verb == Verb::Add;
        match &self.first.object {
            Object::Table => target.serialize_entry("table", &TableJson { family: family.nft(), name: TABLE })?,
            Object::Chain(name, base) => {
                target.serialize_entry("chain", &ChainJson::new(family, &name.0, base.filter(|_| adding)))?;
            }
            Object::Rule(chain, rule) => target.serialize_entry("rule", &RuleJson::new(&chain.0, rule))?,
            Object::Set(_) | Object::Clients { .. } => {
                let Some((set, capacity)) = self.first.object.set() else { return target.end() };
                let definition = set.definition();
                let typed = |fields| adding.then(|| TypeofJson { r#typeof: field_types(family, fields) });
                let json = SetJson {
                    family: family.nft(),
                    table: TABLE,
                    name: &set.to_string(),
                    r#type: typed(definition.key),
                    map: match definition.verdict {
                        true => adding.then_some(DataTypeJson::Verdict { r#typeof: VerdictJson { accept: () } }),
                        false => typed(definition.data).filter(|_| definition.is_map()).map(DataTypeJson::Typeof),
                    },
                    flags: if adding { flags(&definition) } else { &[] },
                    size: capacity.filter(|_| adding),
                };
                target.serialize_entry(set_or_map(definition.is_map()), &json)?;
            }
            Object::UnknownSet { name, is_map } => {
                let json = SetJson {
                    family: family.nft(),
                    table: TABLE,
                    name,
                    r#type: None,
                    map: None,
                    flags: &[],
                    size: None,
                };
                target.serialize_entry(set_or_map(*is_map), &json)?;
            }
            Object::Element(element) => {
                target.serialize_entry("element", &ElementsJson::new(family, element.set, adding, self.run))?;
            }
        }
        target.end()
    }
}

/// The flags of a set, in the order in which nft lists them.
pub(super) fn flags(definition: &SetDefinition) -> &'static [&'static str] {
    match (definition.interval, definition.dynamic) {
        (true, _) => &["interval"],
        (false, true) if definition.is_map() => &["timeout", "dynamic"],
        (false, true) => &["dynamic"],
        (false, false) => &[],
    }
}

fn set_or_map(is_map: bool) -> &'static str {
    if is_map { "map" } else { "set" }
}

#[derive(Serialize)]
struct TableJson<'a> {
    family: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct ChainJson<'a> {
    family: &'a str,
    table: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prio: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
}

impl<'a> ChainJson<'a> {
    fn new(family: Family, name: &'a str, base: Option<BaseChain>) -> Self {
        Self {
            family: family.nft(),
            table: TABLE,
            name,
            r#type: base.map(|base| base.kind.nft()),
            hook: base.map(|base| base.hook.nft()),
            // A number: given a name, nft reports no error and creates a chain without a hook.
            prio: base.map(|base| base.priority),
            policy: base.map(|_| "accept"),
        }
    }
}

#[derive(Serialize)]
struct RuleJson<'a> {
    family: &'a str,
    table: &'a str,
    chain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    expr: Vec<RuleStatement>,
}

impl<'a> RuleJson<'a> {
    fn new(chain: &'a str, rule: &'a Rule) -> Self {
        let comment = rule.comment.as_deref();
        Self { family: rule.family.nft(), table: TABLE, chain, comment, expr: rule_statements(rule) }
    }
}

/// The type of a key or of data, by an expression of that type. Data needs this too: with a list of type names nft creates the
/// map, but the next nft process cannot read its key.
#[derive(Serialize)]
struct TypeofJson {
    r#typeof: nftables::expr::Expression<'static>,
}

/// The type of a map's data.
#[derive(Serialize)]
#[serde(untagged)]
enum DataTypeJson {
    Typeof(TypeofJson),
    /// With the name `verdict` nft keeps the lengths of the key's fields but forgets their meaning. Any verdict stands for the type.
    Verdict {
        /// The type.
        r#typeof: VerdictJson,
    },
}

#[derive(Serialize)]
struct VerdictJson {
    accept: (),
}

/// `{"jump": {"target": CHAIN}}`
#[derive(Serialize)]
struct JumpJson<'a> {
    jump: JumpTargetJson<'a>,
}

#[derive(Serialize)]
struct JumpTargetJson<'a> {
    target: &'a str,
}

#[derive(Serialize)]
struct SetJson<'a> {
    family: &'a str,
    table: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<TypeofJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<DataTypeJson>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    flags: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
}

#[derive(Serialize)]
struct ElementsJson<'a> {
    family: &'a str,
    table: &'a str,
    name: String,
    elem: ElementListJson<'a>,
}

impl<'a> ElementsJson<'a> {
    fn new(family: Family, set: SetName, adding: bool, run: &'a [Operation]) -> Self {
        Self { family: family.nft(), table: TABLE, name: set.to_string(), elem: ElementListJson { adding, run } }
    }
}

struct ElementListJson<'a> {
    adding: bool,
    run: &'a [Operation],
}

impl Serialize for ElementListJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.run.len()))?;
        for operation in self.run {
            let Object::Element(element) = &operation.object else { continue };
            let value = element.value_fields();
            let key = KeyJson { element, with_comment: self.adding };
            // The key is enough to delete an element.
            let chain = element.chain().filter(|_| self.adding);
            if let Some(chain) = chain {
                list.serialize_element(&(key, JumpJson { jump: JumpTargetJson { target: &chain.0 } }))?;
            } else if self.adding && !value.is_empty() {
                list.serialize_element(&(key, ConcatJson(&value)))?;
            } else {
                list.serialize_element(&key)?;
            }
        }
        list.end()
    }
}

struct KeyJson<'a> {
    element: &'a Element,
    with_comment: bool,
}

impl Serialize for KeyJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.element.key.fields();
        match &self.element.comment {
            Some(comment) if self.with_comment => {
                let mut outer = serializer.serialize_map(Some(1))?;
                outer.serialize_entry("elem", &CommentedJson { val: ConcatJson(&fields), comment })?;
                outer.end()
            }
            _ => ConcatJson(&fields).serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct CommentedJson<'a> {
    val: ConcatJson<'a>,
    comment: &'a str,
}

/// Several fields as `{"concat": […]}`; a single field without it.
struct ConcatJson<'a>(&'a [KeyField]);

impl Serialize for ConcatJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [single] => KeyFieldJson(single).serialize(serializer),
            fields => {
                let mut outer = serializer.serialize_map(Some(1))?;
                outer.serialize_entry("concat", &fields.iter().map(KeyFieldJson).collect::<Vec<_>>())?;
                outer.end()
            }
        }
    }
}

struct KeyFieldJson<'a>(&'a KeyField);

#[derive(Serialize)]
struct PrefixJson {
    addr: std::net::IpAddr,
    len: u8,
}

impl Serialize for KeyFieldJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            KeyField::Addr(addr) => addr.serialize(serializer),
            KeyField::Protocol(protocol) => protocol.nft().serialize(serializer),
            KeyField::Port(port) => port.serialize(serializer),
            KeyField::Slot(slot) => slot.serialize(serializer),
            KeyField::Id(id) => id.to_string().serialize(serializer),
            KeyField::Network(network) => {
                let mut outer = serializer.serialize_map(Some(1))?;
                outer.serialize_entry("prefix", &PrefixJson { addr: network.addr(), len: network.prefix_len() })?;
                outer.end()
            }
        }
    }
}

#[cfg(test)]
mod tests;
