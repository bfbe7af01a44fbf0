//! Operations, which make up a batch.

use std::fmt;

use super::TABLE;
use super::chain::{BaseChain, ChainName};
use super::element::Element;
use super::key::{Family, Frontend};
use super::program::Options;
use super::rule::Rule;
use super::set::SetName;

/// One operation of a batch. The kernel takes the operations of a batch in order and applies all of them or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What to do.
    pub verb: Verb,
    /// The table, by its family.
    pub family: Family,
    /// The object.
    pub object: Object,
}

/// What an operation does to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Creates it; appends it if it is a rule. A table, chain or set that exists with the same type stays as it is.
    Add,
    /// Removes it; an error if it does not exist.
    Delete,
    /// Removes all rules of a chain.
    Flush,
}

/// The object of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// The table itself, with all its contents.
    Table,
    /// A chain without its rules.
    Chain(ChainName, Option<BaseChain>),
    /// A rule at the end of a chain.
    Rule(ChainName, Box<Rule>),
    /// A set or map of the program.
    Set(SetName),
    /// The map of a frontend's clients, [`SetName::Clients`], which packets fill.
    Clients {
        /// The frontend.
        frontend: Frontend,
        /// The maximum number of elements. The kernel is told only if it is another than its own,
        /// [`Options::KERNEL_AFFINITY_CAPACITY`].
        capacity: u32,
    },
    /// A set or map that the program does not have: another version left it.
    UnknownSet {
        /// Its name in the table.
        name: String,
        /// Whether it is a map.
        is_map: bool,
    },
    /// An element of a set or map.
    Element(Element),
}

impl Operation {
    /// Creates an object.
    pub fn add(family: Family, object: Object) -> Self {
        Self { verb: Verb::Add, family, object }
    }

    /// Removes an object.
    pub fn delete(family: Family, object: Object) -> Self {
        Self { verb: Verb::Delete, family, object }
    }

    /// Removes the rules of a chain.
    pub fn flush(family: Family, chain: ChainName) -> Self {
        Self { verb: Verb::Flush, family, object: Object::Chain(chain, None) }
    }

    /// Adds an element.
    pub fn add_element(element: Element) -> Self {
        Self::add(element.family(), Object::Element(element))
    }

    /// Removes an element; its data and comment do not matter.
    pub fn delete_element(element: Element) -> Self {
        Self::delete(element.family(), Object::Element(element))
    }
}

impl Verb {
    /// The verb in nft; the label `verb` of metrics.
    pub fn nft(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Delete => "delete",
            Self::Flush => "flush",
        }
    }
}

impl Object {
    /// The set or map, and the maximum number of elements that the kernel is told; `None` for another object.
    pub fn set(&self) -> Option<(SetName, Option<u32>)> {
        match self {
            Self::Set(set) => Some((*set, None)),
            Self::Clients { frontend, capacity } => {
                let told = (*capacity != Options::KERNEL_AFFINITY_CAPACITY).then_some(*capacity);
                Some((SetName::Clients(*frontend), told))
            }
            _ => None,
        }
    }

    /// The kind of object; the label `object` of metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Chain(..) => "chain",
            Self::Rule(..) => "rule",
            Self::Set(_) | Self::Clients { .. } | Self::UnknownSet { .. } => "set",
            Self::Element(_) => "element",
        }
    }
}

/// `set` or `map`, as nft commands name the two.
fn set_or_map(is_map: bool) -> &'static str {
    if is_map { "map" } else { "set" }
}

/// The operation as an nft command.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, family) = (self.verb.nft(), self.family.nft());
        match &self.object {
            Object::Table => write!(f, "{verb} table {family} {TABLE}"),
            Object::Chain(name, Some(base)) if self.verb == Verb::Add => {
                write!(f, "{verb} chain {family} {TABLE} {name} {{ {base} }}")
            }
            Object::Chain(name, _) => write!(f, "{verb} chain {family} {TABLE} {name}"),
            Object::Rule(chain, rule) => write!(f, "{verb} rule {family} {TABLE} {chain} {rule}"),
            Object::Set(_) | Object::Clients { .. } => {
                let Some((set, capacity)) = self.object.set() else { return Ok(()) };
                let definition = set.definition();
                write!(f, "{verb} {} {family} {TABLE} {set}", set_or_map(definition.is_map()))?;
                if self.verb != Verb::Add {
                    return Ok(());
                }
                let fields = |fields: &[super::Field]| {
                    fields.iter().map(|field| field.nft(self.family, None)).collect::<Vec<_>>().join(" . ")
                };
                write!(f, " {{ typeof {}", fields(definition.key))?;
                if definition.verdict {
                    f.write_str(" : verdict")?;
                } else if definition.is_map() {
                    write!(f, " : {}", fields(definition.data))?;
                }
                f.write_str(";")?;
                if definition.interval {
                    f.write_str(" flags interval;")?;
                }
                if definition.dynamic {
                    f.write_str(if definition.is_map() { " flags dynamic,timeout;" } else { " flags dynamic;" })?;
                }
                if let Some(capacity) = capacity {
                    write!(f, " size {capacity};")?;
                }
                f.write_str(" }")
            }
            Object::UnknownSet { name, is_map } => write!(f, "{verb} {} {family} {TABLE} {name}", set_or_map(*is_map)),
            Object::Element(element) => {
                write!(f, "{verb} element {family} {TABLE} {} {{ {element} }}", element.set)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, ChainType, Endpoint, Frontend, Hook, Protocol};
    use super::*;
    use crate::dataplane::EndpointList;

    fn slot() -> Element {
        let frontend = Frontend { addr: [10, 96, 0, 1].into(), protocol: Protocol::Tcp, port: 80 };
        Element::slot(EndpointList::Any, frontend, 0, Endpoint { addr: [10, 1, 0, 1].into(), port: 8080 })
    }

    #[test]
    fn an_operation_reads_like_an_nft_command() {
        let base = Some(BaseChain { kind: ChainType::Nat, hook: Hook::Output, priority: -100 });
        let rule = Box::new(Rule::new(Family::Ip6, Action::Drop));
        let unknown = |is_map| Object::UnknownSet { name: "old".to_owned(), is_map };
        for (operation, expected) in [
            (Operation::add(Family::Ip, Object::Table), "add table ip pointsman"),
            (Operation::delete(Family::Ip6, Object::Table), "delete table ip6 pointsman"),
            (Operation::add(Family::Ip, Object::Chain("c".into(), None)), "add chain ip pointsman c"),
            (
                Operation::add(Family::Ip, Object::Chain("c".into(), base)),
                "add chain ip pointsman c { type nat hook output priority -100; policy accept; }",
            ),
            (Operation::delete(Family::Ip, Object::Chain("c".into(), base)), "delete chain ip pointsman c"),
            (Operation::flush(Family::Ip, "c".into()), "flush chain ip pointsman c"),
            (Operation::add(Family::Ip6, Object::Rule("c".into(), rule)), "add rule ip6 pointsman c drop"),
            (
                Operation::add(Family::Ip6, Object::Set(SetName::ServiceCidrs)),
                "add set ip6 pointsman service-cidrs { typeof ip6 daddr; flags interval; }",
            ),
            (
                Operation::delete(Family::Ip, Object::Set(SetName::Endpoints(EndpointList::Any))),
                "delete map ip pointsman endpoints",
            ),
            (Operation::delete(Family::Ip, unknown(true)), "delete map ip pointsman old"),
            (Operation::delete(Family::Ip, unknown(false)), "delete set ip pointsman old"),
            (
                Operation::add_element(slot()),
                "add element ip pointsman endpoints { 10.96.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080 }",
            ),
        ] {
            assert_eq!(operation.to_string(), expected);
        }
    }

    #[test]
    fn an_element_goes_to_the_table_of_its_family() {
        let cluster_ip =
            |addr: &str| Element::member(SetName::ClusterIps, super::super::Key::Addr(addr.parse().unwrap()));
        assert_eq!(Operation::add_element(cluster_ip("fd00::1")).family, Family::Ip6);
        assert_eq!(Operation::delete_element(cluster_ip("10.96.0.1")).family, Family::Ip);
    }

    #[test]
    fn sets_and_maps_are_one_kind_in_metrics() {
        let unknown = Object::UnknownSet { name: "old".to_owned(), is_map: true };
        let labels =
            [Object::Table, Object::Set(SetName::Endpoints(EndpointList::Any)), unknown, Object::Element(slot())]
                .map(|o| o.label());
        assert_eq!(labels, ["table", "set", "set", "element"]);
        assert_eq!([Verb::Add, Verb::Delete, Verb::Flush].map(Verb::nft), ["add", "delete", "flush"]);
    }
}
