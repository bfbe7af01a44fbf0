//! A configuration file as a tree. It reads YAML and JSON as kube-proxy's decoder does: the first document, YAML 1.1's words and numbers,
//! and repeated fields, which stay visible.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::scalar::ScalarValue;
use super::yaml;

/// A value of YAML or JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    /// A single value, with its spelling in the file.
    Scalar(ScalarValue, String),
    List(Vec<Tree>),
    /// In the file's order. A key may occur more than once.
    Map(Vec<(String, Tree)>),
}

/// The first document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FirstDocument {
    pub tree: Tree,
    /// Whether other documents follow. They are not read.
    pub followed: bool,
}

/// Reads the first document.
///
/// # Errors
///
/// What is wrong, and in which line.
pub(super) fn parse(text: &str) -> Result<FirstDocument, String> {
    let json = text.trim_start();
    // JSON may be indented with tabs, YAML may not.
    if json.starts_with('{') && serde_json::from_str::<IgnoredAny>(json).is_ok() {
        let tree = json_tree(json).map_err(|error| error.to_string())?;
        return Ok(FirstDocument { tree, followed: false });
    }
    yaml::first_document(text)
}

impl Tree {
    /// The null that stands for an absent value.
    pub const NULL: Self = Self::Scalar(ScalarValue::Null, String::new());

    /// The value of a scalar.
    pub fn scalar(&self) -> Option<&ScalarValue> {
        match self {
            Self::Scalar(value, _) => Some(value),
            Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The value of the last entry with this key.
    pub fn entry(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl fmt::Display for Tree {
    /// A scalar as the file spells it, cut to one line; a list or a mapping by its kind only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(ScalarValue::Text(text), _) => f.write_str(&quoted(text)),
            Self::Scalar(ScalarValue::Null, _) => f.write_str("null"),
            Self::Scalar(_, written) => f.write_str(written),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a mapping"),
        }
    }
}

/// A text as an error shows it: quoted, in one line, at most `MAX_CHARS` long.
pub(super) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 120;
    if text.chars().count() <= MAX_CHARS {
        return format!("{text:?}");
    }
    format!("{:?}", text.chars().take(MAX_CHARS).chain("…".chars()).collect::<String>())
}

/// The tree of a JSON text.
fn json_tree(text: &str) -> serde_json::Result<Tree> {
    match text.trim_start().bytes().next() {
        Some(b'{') => {
            let entries = serde_json::Deserializer::from_str(text).deserialize_map(JsonEntries)?;
            let entry = |(name, value): (String, &RawValue)| Ok((name, json_tree(value.get())?));
            entries.into_iter().map(entry).collect::<serde_json::Result<_>>().map(Tree::Map)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            items.into_iter().map(|item| json_tree(item.get())).collect::<serde_json::Result<_>>().map(Tree::List)
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(text)?;
            Ok(Tree::Scalar(ScalarValue::Text(text.clone()), text))
        }
        // null, true, false and numbers mean the same in YAML.
        _ => Ok(Tree::Scalar(ScalarValue::resolve(text.trim()), text.trim().to_owned())),
    }
}

/// The entries of a JSON object, repeated ones included.
struct JsonEntries;

impl<'de> Visitor<'de> for JsonEntries {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry().map_err(A::Error::custom)? {
            all.push(entry);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScalarValue::{Flag, Integer, Null, Text};

    fn scalar(value: ScalarValue, written: &str) -> Tree {
        Tree::Scalar(value, written.to_owned())
    }

    fn map(entries: &[(&str, Tree)]) -> Tree {
        Tree::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    fn tree(text: &str) -> Tree {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).tree
    }

    #[test]
    fn yaml_and_json_give_the_same_tree() {
        let list = Tree::List(vec![scalar(Text("0s".to_owned()), "0s"), scalar(Flag(true), "true")]);
        let inner = map(&[("c", scalar(Null, "null")), ("d", list)]);
        let expected = map(&[("a", scalar(Integer(-1), "-1")), ("b", inner)]);
        assert_eq!(tree("# a comment\na: -1\nb:\n  c: null\n  d: [0s, true]\n"), expected);
        assert_eq!(tree("{\n\t\"a\": -1, \"b\": {\"c\": null, \"d\": [\"0s\", true]}}"), expected);
    }

    #[test]
    fn a_repeated_field_is_kept_twice() {
        let expected = map(&[("a", scalar(Integer(1), "1")), ("a", scalar(Integer(2), "2"))]);
        assert_eq!(tree("a: 1\na: 2\n"), expected);
        assert_eq!(tree("{\"a\": 1, \"a\": 2}"), expected);
    }

    #[test]
    fn a_number_is_shown_as_it_is_written() {
        for number in ["1.048576e+06", "32768.0", "0x10", "1_000"] {
            let read = tree(&format!("a: {number}"));
            assert_eq!(read.entry("a").unwrap().to_string(), number);
        }
        assert_eq!(tree("{\"a\": 1.5e3}").entry("a").unwrap().to_string(), "1.5e3");
    }

    #[test]
    fn an_unreadable_document_is_refused_with_the_line() {
        let error = parse("a: 1\nb: [1,\nc: }\n").unwrap_err();
        assert!(error.starts_with("line "), "{error}");
    }
}
