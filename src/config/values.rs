//! `KubeProxyConfiguration`: every field with its value, however it was given.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::document::{self, Tree};
use super::duration::GoDuration;
use super::fields::{self, FIELDS, Treatment};
use super::hint;
use super::kind::{Kind, Value};
use super::problem::{Note, Origin, Problem, Problems};

const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
const KIND: &str = "KubeProxyConfiguration";

/// kube-proxy's configuration (kubeproxy.config.k8s.io/v1alpha1) with all defaults filled in.
///
/// Serialises as in a file, with `apiVersion` and `kind`: for `--write-config-to`, and for a page that shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct KubeProxyConfiguration {
    /// A value for every field, by path.
    values: BTreeMap<&'static str, Value>,
    origin: Origin,
}

/// A configuration file that was read.
#[derive(Clone, Debug)]
pub struct FromFile {
    /// What it says.
    pub configuration: KubeProxyConfiguration,
    /// What is odd about it without being wrong.
    pub notes: Vec<Note>,
    /// What is wrong with it; the fields concerned have their defaults.
    pub problems: Vec<Problem>,
}

impl Default for KubeProxyConfiguration {
    fn default() -> Self {
        let values = FIELDS.iter().map(|field| (field.path, field.default_value())).collect();
        Self { values, origin: Origin::Flags }
    }
}

impl KubeProxyConfiguration {
    /// Reads the text of a file, YAML or JSON. Unknown fields and fields that are given twice are only noted.
    ///
    /// # Errors
    ///
    /// If the text is no such document at all.
    pub fn read(file: &str, text: &str) -> Result<FromFile, Problems> {
        let origin = Origin::File(file.to_owned());
        let refused = |found: String, expected: &str| Problems {
            origin: origin.clone(),
            problems: vec![Problem::new("", found, expected)],
        };
        let tree = document::parse(text).map_err(|error| refused(error, "one document of YAML or JSON"))?;
        let Tree::Map(entries) = tree else {
            return Err(refused(format!("it holds {tree}"), "a KubeProxyConfiguration"));
        };
        let mut reading = FromFile {
            configuration: Self { origin: origin.clone(), ..Self::default() },
            notes: Vec::new(),
            problems: Vec::new(),
        };
        for (name, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            let found = entries.iter().rev().find(|(key, _)| key == name).map_or(&Tree::Null, |(_, value)| value);
            if *found != Tree::Text(expected.to_owned()) {
                reading.problems.push(Problem::new(name, found.to_string(), expected));
            }
        }
        reading.section("", &entries);
        Ok(reading)
    }

    /// Takes the value of a flag for a field. An empty text leaves the default, where no text is not an answer in itself.
    pub(super) fn set(&mut self, path: &str, text: &str) -> Result<(), (String, String)> {
        let Some(field) = fields::of(path) else { return Ok(()) };
        let value = field.kind.parse(text)?;
        let keeps_default = field.zero_is_default && value.is_zero();
        self.values.insert(field.path, if keeps_default { field.default_value() } else { value });
        Ok(())
    }

    /// Fields that are set and have no effect here.
    pub(super) fn ignored(&self) -> Vec<Note> {
        let ignored = FIELDS.iter().filter(|field| field.treatment == Treatment::Ignored);
        let set = ignored.filter_map(|field| {
            let value = self.values.get(field.path).filter(|value| **value != field.default_value())?;
            Some(Note::Information(format!("{}: {value} is ignored: {}", field.path, field.note)))
        });
        set.collect()
    }

    /// Fills in what depends on other fields, and says what is in force.
    pub(super) fn complete(&mut self) {
        let ipv6 = self.text("bindAddress").parse().is_ok_and(|address: IpAddr| address.is_ipv6());
        let (health, metrics) = if ipv6 { ("::", "::1") } else { ("0.0.0.0", "127.0.0.1") };
        for (path, default) in [("healthzBindAddress", health), ("metricsBindAddress", metrics)] {
            let Some(Kind::Bind(port)) = fields::of(path).map(|field| field.kind) else { continue };
            let given = self.text(path);
            let address = if given.is_empty() { default } else { given };
            if let Ok(address) = address.parse::<IpAddr>() {
                self.values.insert(path, Value::Text(SocketAddr::new(address, port).to_string()));
            }
        }
        self.values.insert("mode", Value::Text("nftables".to_owned()));
    }

    /// Every value that is not among those allowed.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let problem = |field: &fields::Field| {
            let value = self.values.get(field.path)?;
            let (value, expected) = field.kind.check(value).err()?;
            Some(Problem::new(field.path, value, expected))
        };
        FIELDS.iter().filter_map(problem).collect()
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The fields in which another differs in a way that matters.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let matters = FIELDS.iter().filter(|field| field.treatment != Treatment::Ignored);
        matters.map(|field| field.path).filter(|path| self.values.get(path) != other.values.get(path)).collect()
    }

    /// As YAML, to be read again.
    ///
    /// # Errors
    ///
    /// If it cannot be written as YAML.
    pub fn yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string(self)
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        matches!(self.get(path), Some(Value::Flag(true)))
    }

    pub(super) fn integer(&self, path: &str) -> i64 {
        match self.get(path) {
            Some(Value::Integer(integer)) => *integer,
            _ => 0,
        }
    }

    pub(super) fn number(&self, path: &str) -> f64 {
        match self.get(path) {
            Some(Value::Number(number)) => *number,
            _ => 0.0,
        }
    }

    pub(super) fn duration(&self, path: &str) -> GoDuration {
        match self.get(path) {
            Some(Value::Duration(duration)) => *duration,
            _ => GoDuration::ZERO,
        }
    }

    pub(super) fn text(&self, path: &str) -> &str {
        match self.get(path) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn list(&self, path: &str) -> &[String] {
        match self.get(path) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The gates that were given.
    pub(super) fn gates(&self) -> impl Iterator<Item = (&str, bool)> {
        let gates = match self.get("featureGates") {
            Some(Value::Gates(gates)) => Some(gates),
            _ => None,
        };
        gates.into_iter().flatten().map(|(name, on)| (name.as_str(), *on))
    }

    /// An address to listen on, if any.
    pub(super) fn bind(&self, path: &str) -> Option<SocketAddr> {
        self.text(path).parse().ok()
    }

    fn get(&self, path: &str) -> Option<&Value> {
        debug_assert!(fields::of(path).is_some(), "{path} is no field");
        self.values.get(path)
    }
}

impl FromFile {
    /// Takes over what a section says, whose path is empty at the top.
    fn section(&mut self, section: &str, entries: &[(String, Tree)]) {
        for (i, (name, tree)) in entries.iter().enumerate() {
            if section.is_empty() && (name == "apiVersion" || name == "kind") {
                continue;
            }
            let path = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            if entries.iter().take(i).any(|(earlier, _)| earlier == name) {
                self.notes
                    .push(Note::Warning(format!("the field {path} is given more than once: the last one counts")));
            }
            if let Some(field) = fields::of(&path) {
                match field.kind.read(tree) {
                    Ok(Some(value)) if !(field.zero_is_default && value.is_zero()) => {
                        self.configuration.values.insert(field.path, value);
                    }
                    Ok(_) => {
                        self.configuration.values.insert(field.path, field.default_value());
                    }
                    Err((value, expected)) => self.problems.push(Problem::new(field.path, value, expected)),
                }
            } else if fields::is_section(&path) {
                match tree {
                    Tree::Null => {}
                    Tree::Map(entries) => self.section(&path, entries),
                    other => self.problems.push(Problem::new(path, other.to_string(), "a mapping")),
                }
            } else {
                let hint =
                    hint::nearest(section, name).map(|near| format!(": did you mean {near}?")).unwrap_or_default();
                self.notes.push(Note::Warning(format!("unknown field {} is ignored{hint}", document::quoted(&path))));
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
