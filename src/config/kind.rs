//! Kinds of values: how a file and a flag spell them, and which values are allowed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value as Json, json};

use super::document::quoted;
use super::duration::GoDuration;
use super::scalar::go_integer;

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
    /// Any, also as a number of nanoseconds.
    AnyOrNanoseconds,
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

/// A value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Where in the field it is, such as `[1]`; empty for the whole field.
    pub within: String,
    /// The value as it was written.
    pub value: String,
    /// The allowed values.
    pub expected: String,
}

impl Mismatch {
    /// A field's value that should have been as `expected` says.
    pub fn new(value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { within: String::new(), value: value.into(), expected: expected.into() }
    }

    /// The mismatch of a part of a field.
    pub fn within(self, part: impl std::fmt::Display) -> Self {
        Self { within: format!("[{part}]{}", self.within), ..self }
    }
}

impl FieldKind {
    /// The allowed values, for an error text.
    pub fn expected(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Integer(0, 2_147_483_647 | 4_294_967_295) => "a whole number from 0".to_owned(),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Number => "a number".to_owned(),
            Self::Duration(DurationRange::Any | DurationRange::AnyOrNanoseconds) => {
                "a duration such as 30s or 1h0m0s".to_owned()
            }
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

    /// Reads the value that a flag was given.
    pub fn parse(self, text: &str) -> Result<FieldValue, Mismatch> {
        let value = match self {
            Self::Flag => parse_go_bool(text).map(FieldValue::Flag),
            Self::Integer(..) => go_integer(text).map(FieldValue::Integer),
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
                    let on = item.split_once('=').and_then(|(name, on)| Some((name, parse_go_bool(on.trim())?)));
                    on.map(|(name, on)| (name.trim().to_owned(), on)).ok_or_else(|| item.to_owned())
                };
                match gates.map(gate).collect::<Result<_, _>>() {
                    Ok(gates) => Some(FieldValue::Gates(gates)),
                    Err(item) => return Err(Mismatch::new(quoted(&item), self.expected())),
                }
            }
            Self::Modules => Some(FieldValue::Modules(Vec::new())),
        };
        value.ok_or_else(|| Mismatch::new(quoted(text), self.expected()))
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
        if allowed { Ok(()) } else { Err(Mismatch::new(value.to_string(), self.expected())) }
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

    /// A text; empty for other kinds.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            _ => String::new(),
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

/// A bool in a spelling that Go accepts (`strconv.ParseBool`); none for other texts.
pub fn parse_go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
