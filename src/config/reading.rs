//! Reading a configuration file: its type, its fields, and what is odd about them.

use std::collections::BTreeMap;

use super::document::{self, FirstDocument, Tree};
use super::fields::{self, ConfigField};
use super::kind::{FieldValue, Mismatch};
use super::problem::{ConfigNote, ConfigProblem, ConfigProblems, Origin};
use super::scalar::ScalarValue;
use super::values::{API_VERSION, KIND, KubeProxyConfiguration};
use super::{hint, removed};

/// The result of reading a configuration file.
#[derive(Clone, Debug)]
pub struct ParsedFile {
    /// The values. Fields with a problem have their defaults.
    pub configuration: KubeProxyConfiguration,
    /// Remarks about unknown and repeated fields.
    pub notes: Vec<ConfigNote>,
    /// Values that are not allowed.
    pub problems: Vec<ConfigProblem>,
    /// The scalars as the file spells them, by path.
    pub(super) written: BTreeMap<&'static str, String>,
}

impl KubeProxyConfiguration {
    /// Reads the text of a file, YAML or JSON. As with kube-proxy its first document counts. Unknown and repeated fields give notes, not
    /// problems.
    ///
    /// # Errors
    ///
    /// If the text is no YAML or JSON, or its first document has no fields.
    pub fn read(file: &str, text: &str) -> Result<ParsedFile, ConfigProblems> {
        let origin = Origin::File(file.to_owned());
        let refused = |found: String, expected: &str| ConfigProblems {
            origin: origin.clone(),
            problems: vec![ConfigProblem::new("", found, expected)],
        };
        let FirstDocument { tree, followed } =
            document::parse(text).map_err(|error| refused(error, "a document of YAML or JSON"))?;
        let entries = match &tree {
            Tree::Map(entries) => entries,
            Tree::Scalar(ScalarValue::Null, _) => {
                let found = if text.trim().is_empty() { "it is empty" } else { "its first document is empty" };
                return Err(refused(found.to_owned(), "a KubeProxyConfiguration"));
            }
            other => return Err(refused(format!("it contains {other}"), "a KubeProxyConfiguration")),
        };
        let mut reading = ParsedFile {
            configuration: Self::default_from(origin.clone()),
            notes: Vec::new(),
            problems: Vec::new(),
            written: BTreeMap::new(),
        };
        for (name, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            // Kubernetes finds these two whatever their case.
            let mut found = entries.iter().rev().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            let found = found.next().map_or_else(|| Tree::NULL, |(_, value)| value.clone());
            if found.scalar().and_then(ScalarValue::text) != Some(expected) {
                let within = if name == "kind" { holder(&tree) } else { None };
                let hint =
                    found.scalar().and_then(ScalarValue::text).and_then(|value| removed::value_hint(name, value));
                let expected = match (within, hint) {
                    (Some(within), _) => format!("{expected}: {within}"),
                    (None, Some(hint)) => format!("{expected} ({hint})"),
                    (None, None) => expected.to_owned(),
                };
                reading.problems.push(ConfigProblem::new(name, found.to_string(), expected));
            }
        }
        if followed {
            let note = "only the first document of the file counts: what follows it is ignored";
            reading.notes.push(ConfigNote::Warning(note.to_owned()));
        }
        // Of a file of another kind every field is unknown.
        if reading.problems.is_empty() {
            reading.read_section("", entries);
        }
        Ok(reading)
    }
}

impl ParsedFile {
    /// Reads the fields of one section. The path is empty at the top.
    fn read_section(&mut self, section: &str, entries: &[(String, Tree)]) {
        for (i, (name, tree)) in entries.iter().enumerate() {
            if section.is_empty() && (name == "apiVersion" || name == "kind") {
                continue;
            }
            let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            if entries.iter().take(i).any(|(earlier, _)| earlier == name) {
                self.notes
                    .push(ConfigNote::Warning(format!("the field {path} occurs more than once: the last one counts")));
            }
            if let Some(field) = fields::find(&path) {
                self.read_field(field, tree);
            } else if fields::is_section(&path) {
                match tree {
                    Tree::Scalar(ScalarValue::Null, _) => {}
                    Tree::Map(entries) => self.read_section(&path, entries),
                    other => self.problems.push(ConfigProblem::new(path, other.to_string(), "a mapping")),
                }
            } else {
                let hint = match removed::find(&path) {
                    Some(field) => format!(": it was removed in Kubernetes {}; {}", field.version, field.instead),
                    None => {
                        hint::nearest(section, name).map(|near| format!(": did you mean {near}?")).unwrap_or_default()
                    }
                };
                self.notes
                    .push(ConfigNote::Warning(format!("unknown field {} is ignored{hint}", document::quoted(&path))));
            }
        }
    }

    fn read_field(&mut self, field: &'static ConfigField, tree: &Tree) {
        self.written.insert(field.path, tree.to_string());
        match field.kind.read(tree) {
            Ok(Some(value)) => self.configuration.insert(field, value),
            Ok(None) if field.path == "mode" => self.configuration.insert(field, FieldValue::Text(String::new())),
            Ok(None) => self.configuration.insert(field, field.default_value()),
            Err(Mismatch { within, value, expected }) => {
                self.problems.push(ConfigProblem::new(format!("{}{within}", field.path), value, expected));
            }
        }
    }
}

/// Where a file of another kind has the configuration, in words; none if that is not known.
fn holder(tree: &Tree) -> Option<String> {
    let Tree::Map(data) = tree.entry("data")? else { return None };
    let holds =
        |(_, text): &&(String, Tree)| text.scalar().and_then(ScalarValue::text).is_some_and(|text| text.contains(KIND));
    let (key, _) = data.iter().find(holds)?;
    Some(format!("this object holds one under data: put the text of {} into a file of its own", document::quoted(key)))
}
