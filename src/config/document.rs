//! A configuration file as a tree: YAML or JSON. Repeated fields stay visible.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value of YAML or JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    /// In the file's order. A key may occur more than once.
    Map(Vec<(String, Tree)>),
}

/// Reads one document.
///
/// # Errors
///
/// What is wrong, and in which line.
pub(super) fn parse(text: &str) -> Result<Tree, String> {
    // JSON may be indented with tabs, YAML may not.
    if text.trim_start().starts_with('{')
        && let Ok(tree) = serde_json::from_str(text)
    {
        return Ok(tree);
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|location| format!("line {}: ", location.line())).unwrap_or_default();
        let message = error.without_snippet().to_string();
        format!("{line}{}", message.lines().next().unwrap_or_default())
    })
}

impl fmt::Display for Tree {
    /// A scalar as JSON, cut to one line; a list or a mapping by its kind only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => write!(f, "{float}"),
            Self::Text(text) => f.write_str(&quoted(text)),
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

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_i64<E: Error>(self, integer: i64) -> Result<Tree, E> {
        Ok(Tree::Integer(integer))
    }

    fn visit_u64<E: Error>(self, integer: u64) -> Result<Tree, E> {
        #[expect(clippy::cast_precision_loss, reason = "beyond the range of every field")]
        Ok(i64::try_from(integer).map_or(Tree::Float(integer as f64), Tree::Integer))
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<Tree, E> {
        Ok(Tree::Float(float))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, Tree)]) -> Tree {
        Tree::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    #[test]
    fn yaml_and_json_give_the_same_tree() {
        let expected = map(&[
            ("a", Tree::Integer(-1)),
            ("b", map(&[("c", Tree::Null), ("d", Tree::List(vec![Tree::Text("0s".to_owned()), Tree::Flag(true)]))])),
        ]);
        assert_eq!(parse("# a comment\na: -1\nb:\n  c: null\n  d: [0s, true]\n").as_ref(), Ok(&expected));
        assert_eq!(parse("{\n\t\"a\": -1, \"b\": {\"c\": null, \"d\": [\"0s\", true]}}").as_ref(), Ok(&expected));
    }

    #[test]
    fn a_repeated_field_is_kept_twice() {
        let expected = map(&[("a", Tree::Integer(1)), ("a", Tree::Integer(2))]);
        assert_eq!(parse("a: 1\na: 2\n").as_ref(), Ok(&expected));
        assert_eq!(parse("{\"a\": 1, \"a\": 2}").as_ref(), Ok(&expected));
    }

    #[test]
    fn an_unreadable_document_is_refused_with_the_line() {
        let error = parse("a: 1\nb: [1,\nc: }\n").unwrap_err();
        assert!(error.starts_with("line "), "{error}");
        assert!(parse("a: 1\n---\nb: 2\n").is_err(), "two documents");
    }
}
