//! Kinds of values: how a file and a flag spell them, and which values are allowed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value as Json, json};

use super::document::{Tree, quoted};
use super::duration::GoDuration;

/// The word that switches an address to listen on off. kube-proxy has none.
pub(super) const NOWHERE: &str = "none";

/// The kind of value that a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FieldKind {
    Flag,
    /// A whole number from the first to the second, both included.
    Integer(i64, i64),
    Number,
    Duration(DurationRange),
    Text,
    /// One of these values.
    Choice(&'static [&'static str]),
    /// An IP address.
    Address,
    /// An IP address to listen on, with or without a port, or [`NOWHERE`]. Holds the default port.
    Bind(u16),
    /// A size such as 64Ki.
    Quantity,
    List,
    /// Names of feature gates, each true or false.
    Gates,
    /// Patterns of file names, each with a verbosity.
    Modules,
}

/// Which durations are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DurationRange {
    Any,
    Zero,
    MoreThanZero,
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Any number.
    Number(f64),
    /// A duration.
    Duration(GoDuration),
    /// A text, an address, a word.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Names that are on or off.
    Gates(BTreeMap<String, bool>),
    /// Patterns of file names, each with a verbosity.
    Modules(Vec<(String, i64)>),
}

/// A value that is not allowed: as it was found, and what is expected.
pub(super) type Mismatch = (String, String);

impl FieldKind {
    /// The allowed values, for an error text.
    pub fn expected(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Integer(0, i64::MAX | 2_147_483_647) => "a whole number from 0".to_owned(),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Number => "a number".to_owned(),
            Self::Duration(DurationRange::Any) => "a duration such as 30s or 1h0m0s".to_owned(),
            Self::Duration(DurationRange::Zero) => "a duration of 0 or more, such as 30s or 1h0m0s".to_owned(),
            Self::Duration(DurationRange::MoreThanZero) => {
                "a duration of more than 0, such as 30s or 1h0m0s".to_owned()
            }
            Self::Text => "a text".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Address => "an IP address".to_owned(),
            Self::Bind(port) => {
                format!("an IP address with or without a port, such as 127.0.0.1:{port} or [::]:{port}, or {NOWHERE}")
            }
            Self::Quantity => "a size such as 0 or 64Ki".to_owned(),
            Self::List => "a list of texts".to_owned(),
            Self::Gates => "names, each with true or false".to_owned(),
            Self::Modules => "a list of filePattern and verbosity".to_owned(),
        }
    }

    /// Reads the value in a file. `None` stands for null, which leaves the default.
    pub fn read(self, tree: &Tree) -> Result<Option<FieldValue>, Mismatch> {
        let value = match (self, tree) {
            (_, Tree::Null) => return Ok(None),
            (Self::Flag, Tree::Flag(flag)) => Some(FieldValue::Flag(*flag)),
            // Go's YAML library reads yes and on as true.
            (Self::Flag, Tree::Text(text)) => parse_yaml_bool(text).map(FieldValue::Flag),
            (Self::Integer(..), Tree::Integer(integer)) => Some(FieldValue::Integer(*integer)),
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no such precision")]
            (Self::Number, Tree::Integer(integer)) => Some(FieldValue::Number(*integer as f64)),
            (Self::Number, Tree::Float(float)) => Some(FieldValue::Number(*float)),
            // Kubernetes allows nanoseconds as a number for `logging.flushFrequency`.
            (Self::Duration(DurationRange::Any), Tree::Integer(nanos)) => {
                Some(FieldValue::Duration(GoDuration::from_nanos(*nanos)))
            }
            (Self::Duration(_), Tree::Integer(0)) => Some(FieldValue::Duration(GoDuration::ZERO)),
            (Self::Duration(_), Tree::Text(text)) => text.parse().ok().map(FieldValue::Duration),
            (Self::Text | Self::Choice(_) | Self::Address | Self::Bind(_) | Self::Quantity, Tree::Text(text)) => {
                Some(FieldValue::Text(text.clone()))
            }
            (Self::Quantity, Tree::Integer(integer)) => Some(FieldValue::Text(integer.to_string())),
            (Self::List, Tree::List(items)) => items.iter().map(text).collect::<Option<_>>().map(FieldValue::List),
            (Self::Gates, Tree::Map(entries)) => {
                let gates = entries.iter().map(|(name, on)| match on {
                    Tree::Flag(on) => Some((name.clone(), *on)),
                    _ => None,
                });
                gates.collect::<Option<_>>().map(FieldValue::Gates)
            }
            (Self::Modules, Tree::List(items)) => {
                items.iter().map(module).collect::<Option<_>>().map(FieldValue::Modules)
            }
            _ => None,
        };
        value.map(Some).ok_or_else(|| (tree.to_string(), self.expected()))
    }

    /// Reads the value that a flag was given.
    pub fn parse(self, text: &str) -> Result<FieldValue, Mismatch> {
        let value = match self {
            Self::Flag => parse_go_bool(text).map(FieldValue::Flag),
            Self::Integer(..) => text.parse().ok().map(FieldValue::Integer),
            Self::Number => text.parse().ok().filter(|number: &f64| number.is_finite()).map(FieldValue::Number),
            Self::Duration(_) => text.parse().ok().map(FieldValue::Duration),
            Self::Text | Self::Choice(_) | Self::Address | Self::Bind(_) | Self::Quantity => {
                Some(FieldValue::Text(text.to_owned()))
            }
            Self::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(FieldValue::List(items.map(str::to_owned).collect()))
            }
            Self::Gates => {
                let gates = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let gate = |item: &str| {
                    let (name, on) = item.split_once('=')?;
                    Some((name.trim().to_owned(), parse_go_bool(on.trim())?))
                };
                gates.map(gate).collect::<Option<_>>().map(FieldValue::Gates)
            }
            Self::Modules => Some(FieldValue::Modules(Vec::new())),
        };
        value.ok_or_else(|| (quoted(text), self.expected()))
    }

    /// Checks that a value is in the allowed range.
    pub fn check(self, value: &FieldValue) -> Result<(), Mismatch> {
        let allowed = match (self, value) {
            (Self::Integer(least, most), FieldValue::Integer(integer)) => (least..=most).contains(integer),
            (Self::Duration(DurationRange::Zero), FieldValue::Duration(duration)) => !duration.is_negative(),
            (Self::Duration(DurationRange::MoreThanZero), FieldValue::Duration(duration)) => {
                *duration > GoDuration::ZERO
            }
            (Self::Choice(words), FieldValue::Text(text)) => words.contains(&&**text),
            (Self::Address, FieldValue::Text(text)) => text.parse::<IpAddr>().is_ok(),
            (Self::Bind(_), FieldValue::Text(text)) => {
                // Empty stands for the default, which depends on another field.
                text.is_empty()
                    || text == NOWHERE
                    || text.parse::<IpAddr>().is_ok()
                    || text.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0)
            }
            _ => true,
        };
        if allowed { Ok(()) } else { Err((value.to_string(), self.expected())) }
    }
}

impl FieldValue {
    /// Whether it is Go's zero value, which an unset field has.
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Self::Flag(flag) => !flag,
            Self::Integer(integer) => *integer == 0,
            Self::Number(number) => *number == 0.0,
            Self::Duration(duration) => *duration == GoDuration::ZERO,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Gates(gates) => gates.is_empty(),
            Self::Modules(modules) => modules.is_empty(),
        }
    }

    /// As a file spells it.
    pub(super) fn json(&self) -> Json {
        match self {
            Self::Flag(flag) => json!(flag),
            Self::Integer(integer) => json!(integer),
            #[expect(clippy::cast_possible_truncation, reason = "the number is whole and small")]
            Self::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => json!(*number as i64),
            Self::Number(number) => json!(number),
            Self::Duration(duration) => json!(duration.to_string()),
            Self::Text(text) => json!(text),
            Self::List(items) => json!(items),
            Self::Gates(gates) => json!(gates),
            Self::Modules(modules) => modules
                .iter()
                .map(|(pattern, verbosity)| json!({"filePattern": pattern, "verbosity": verbosity}))
                .collect(),
        }
    }
}

impl std::fmt::Display for FieldValue {
    /// As a file spells it in one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Duration(duration) => write!(f, "{duration}"),
            other => write!(f, "{}", other.json()),
        }
    }
}

fn text(tree: &Tree) -> Option<String> {
    match tree {
        Tree::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn module(tree: &Tree) -> Option<(String, i64)> {
    let Tree::Map(entries) = tree else { return None };
    let entry = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let verbosity = match entry("verbosity") {
        Some(Tree::Integer(verbosity)) => *verbosity,
        Some(_) => return None,
        None => 0,
    };
    Some((text(entry("filePattern")?)?, verbosity))
}

/// A bool in a spelling that Go accepts (`strconv.ParseBool`); none for other texts.
pub fn parse_go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A bool in a spelling of YAML 1.1.
fn parse_yaml_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}
