//! `KubeProxyConfiguration`: a value for every field, read from a file or set by flags.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::document::{self, Tree};
use super::duration::GoDuration;
use super::fields::{self, FIELDS, Treatment};
use super::hint;
use super::kind::{FieldKind, FieldValue};
use super::problem::{ConfigNote, ConfigProblem, ConfigProblems, Origin};

const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
const KIND: &str = "KubeProxyConfiguration";

/// kube-proxy's configuration (kubeproxy.config.k8s.io/v1alpha1) with all defaults filled in.
///
/// Serialises like the file, with `apiVersion` and `kind`: for `--write-config-to` and for the page `/configz`.
#[derive(Clone, Debug, PartialEq)]
pub struct KubeProxyConfiguration {
    /// The value of every field, by path.
    values: BTreeMap<&'static str, FieldValue>,
    origin: Origin,
}

/// The result of reading a configuration file.
#[derive(Clone, Debug)]
pub struct ParsedFile {
    /// The values. Fields with a problem have their defaults.
    pub configuration: KubeProxyConfiguration,
    /// Remarks about unknown and repeated fields.
    pub notes: Vec<ConfigNote>,
    /// Values that are not allowed.
    pub problems: Vec<ConfigProblem>,
}

impl Default for KubeProxyConfiguration {
    fn default() -> Self {
        let values = FIELDS.iter().map(|field| (field.path, field.default_value())).collect();
        Self { values, origin: Origin::Flags }
    }
}

impl KubeProxyConfiguration {
    /// Reads the text of a file, YAML or JSON. Unknown and repeated fields give notes, not problems.
    ///
    /// # Errors
    ///
    /// If the text is not one YAML or JSON document with fields.
    pub fn read(file: &str, text: &str) -> Result<ParsedFile, ConfigProblems> {
        let origin = Origin::File(file.to_owned());
        let refused = |found: String, expected: &str| ConfigProblems {
            origin: origin.clone(),
            problems: vec![ConfigProblem::new("", found, expected)],
        };
        let tree = document::parse(text).map_err(|error| refused(error, "one document of YAML or JSON"))?;
        let Tree::Map(entries) = tree else {
            return Err(refused(format!("it contains {tree}"), "a KubeProxyConfiguration"));
        };
        let mut reading = ParsedFile {
            configuration: Self { origin: origin.clone(), ..Self::default() },
            notes: Vec::new(),
            problems: Vec::new(),
        };
        for (name, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            let found = entries.iter().rev().find(|(key, _)| key == name).map_or(&Tree::Null, |(_, value)| value);
            if *found != Tree::Text(expected.to_owned()) {
                reading.problems.push(ConfigProblem::new(name, found.to_string(), expected));
            }
        }
        reading.read_section("", &entries);
        Ok(reading)
    }

    /// Sets a field from a flag's text. A zero value keeps the default where the field treats zero as unset.
    pub(super) fn set(&mut self, path: &str, text: &str) -> Result<(), (String, String)> {
        let Some(field) = fields::find(path) else { return Ok(()) };
        let value = field.kind.parse(text)?;
        let keeps_default = field.zero_is_default && value.is_zero();
        self.values.insert(field.path, if keeps_default { field.default_value() } else { value });
        Ok(())
    }

    /// A note for each field that is set and has no effect.
    pub(super) fn ignored(&self) -> Vec<ConfigNote> {
        let ignored = FIELDS.iter().filter(|field| field.treatment == Treatment::Ignored);
        let set = ignored.filter_map(|field| {
            let value = self.values.get(field.path).filter(|value| **value != field.default_value())?;
            Some(ConfigNote::Information(format!("{}: {value} is ignored: {}", field.path, field.note)))
        });
        set.collect()
    }

    /// Fills in the defaults that depend on other fields, and the mode that is in force.
    pub(super) fn complete(&mut self) {
        let ipv6 = self.text("bindAddress").parse().is_ok_and(|address: IpAddr| address.is_ipv6());
        let (health, metrics) = if ipv6 { ("::", "::1") } else { ("0.0.0.0", "127.0.0.1") };
        for (path, default) in [("healthzBindAddress", health), ("metricsBindAddress", metrics)] {
            let Some(FieldKind::Bind(port)) = fields::find(path).map(|field| field.kind) else { continue };
            let given = self.text(path);
            let address = if given.is_empty() { default } else { given };
            if let Ok(address) = address.parse::<IpAddr>() {
                self.values.insert(path, FieldValue::Text(SocketAddr::new(address, port).to_string()));
            }
        }
        self.values.insert("mode", FieldValue::Text("nftables".to_owned()));
    }

    /// Every value outside of its allowed range.
    pub(super) fn problems(&self) -> Vec<ConfigProblem> {
        let problem = |field: &fields::ConfigField| {
            let value = self.values.get(field.path)?;
            let (value, expected) = field.kind.check(value).err()?;
            Some(ConfigProblem::new(field.path, value, expected))
        };
        FIELDS.iter().filter_map(problem).collect()
    }

    /// Where the configuration comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The paths of the fields that have an effect and differ from `other`.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let effective = FIELDS.iter().filter(|field| field.treatment != Treatment::Ignored);
        effective.map(|field| field.path).filter(|path| self.values.get(path) != other.values.get(path)).collect()
    }

    /// The configuration as a YAML file that [`read`](Self::read) accepts.
    ///
    /// # Errors
    ///
    /// If it cannot be serialised.
    pub fn yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string(self)
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        matches!(self.get(path), Some(FieldValue::Flag(true)))
    }

    pub(super) fn integer(&self, path: &str) -> i64 {
        match self.get(path) {
            Some(FieldValue::Integer(integer)) => *integer,
            _ => 0,
        }
    }

    pub(super) fn number(&self, path: &str) -> f64 {
        match self.get(path) {
            Some(FieldValue::Number(number)) => *number,
            _ => 0.0,
        }
    }

    pub(super) fn duration(&self, path: &str) -> GoDuration {
        match self.get(path) {
            Some(FieldValue::Duration(duration)) => *duration,
            _ => GoDuration::ZERO,
        }
    }

    pub(super) fn text(&self, path: &str) -> &str {
        match self.get(path) {
            Some(FieldValue::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn list(&self, path: &str) -> &[String] {
        match self.get(path) {
            Some(FieldValue::List(items)) => items,
            _ => &[],
        }
    }

    /// The feature gates that were given.
    pub(super) fn gates(&self) -> impl Iterator<Item = (&str, bool)> {
        let gates = match self.get("featureGates") {
            Some(FieldValue::Gates(gates)) => Some(gates),
            _ => None,
        };
        gates.into_iter().flatten().map(|(name, on)| (name.as_str(), *on))
    }

    /// An address to listen on; none if it is switched off.
    pub(super) fn bind(&self, path: &str) -> Option<SocketAddr> {
        self.text(path).parse().ok()
    }

    fn get(&self, path: &str) -> Option<&FieldValue> {
        debug_assert!(fields::find(path).is_some(), "there is no field {path}");
        self.values.get(path)
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
                match field.kind.read(tree) {
                    Ok(Some(value)) if !(field.zero_is_default && value.is_zero()) => {
                        self.configuration.values.insert(field.path, value);
                    }
                    Ok(_) => {
                        self.configuration.values.insert(field.path, field.default_value());
                    }
                    Err((value, expected)) => self.problems.push(ConfigProblem::new(field.path, value, expected)),
                }
            } else if fields::is_section(&path) {
                match tree {
                    Tree::Null => {}
                    Tree::Map(entries) => self.read_section(&path, entries),
                    other => self.problems.push(ConfigProblem::new(path, other.to_string(), "a mapping")),
                }
            } else {
                let hint =
                    hint::nearest(section, name).map(|near| format!(": did you mean {near}?")).unwrap_or_default();
                self.notes
                    .push(ConfigNote::Warning(format!("unknown field {} is ignored{hint}", document::quoted(&path))));
            }
        }
    }
}

impl Serialize for KubeProxyConfiguration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = Map::new();
        all.insert("apiVersion".to_owned(), API_VERSION.into());
        all.insert("kind".to_owned(), KIND.into());
        for (path, value) in &self.values {
            let mut section = &mut all;
            let mut names = path.split('.').peekable();
            while let Some(name) = names.next() {
                if names.peek().is_none() {
                    section.insert(name.to_owned(), value.json());
                    break;
                }
                let inner = section.entry(name).or_insert_with(|| Json::Object(Map::new()));
                let Json::Object(inner) = inner else { break };
                section = inner;
            }
        }
        all.serialize(serializer)
    }
}
