//! `KubeProxyConfiguration`: a value for every field, read from a file or set by flags.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::duration::GoDuration;
use super::fields::{self, ConfigField, FIELDS, Treatment};
use super::kind::{FieldKind, FieldValue, Mismatch};
use super::problem::{ConfigNote, ConfigProblem, Origin};
use super::removed;

pub(super) const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
pub(super) const KIND: &str = "KubeProxyConfiguration";
/// kube-proxy's mode where none is given.
const KUBE_PROXY_MODE: &str = "iptables";

/// kube-proxy's configuration (kubeproxy.config.k8s.io/v1alpha1) with all defaults filled in.
///
/// Serialises like the file, with `apiVersion` and `kind`: for `--write-config-to` and for the page `/configz`.
#[derive(Clone, Debug)]
pub struct KubeProxyConfiguration {
    /// The value of every field, by path.
    values: BTreeMap<&'static str, FieldValue>,
    /// `mode` as it was given; none if it was not.
    given_mode: Option<String>,
    origin: Origin,
}

impl PartialEq for KubeProxyConfiguration {
    /// The mode that was given has no effect.
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values && self.origin == other.origin
    }
}

impl Default for KubeProxyConfiguration {
    fn default() -> Self {
        let values = FIELDS.iter().map(|field| (field.path, field.default_value())).collect();
        Self { values, given_mode: None, origin: Origin::Flags }
    }
}

impl KubeProxyConfiguration {
    /// Sets a field from a flag's text. A zero value keeps the default where the field treats zero as unset.
    pub(super) fn set(&mut self, path: &str, text: &str) -> Result<(), Mismatch> {
        let Some(field) = fields::find(path) else { return Ok(()) };
        let value = field.kind.parse(text)?;
        self.insert(field, value);
        Ok(())
    }

    /// The defaults, of a configuration with this origin.
    pub(super) fn default_from(origin: Origin) -> Self {
        Self { origin, ..Self::default() }
    }

    pub(super) fn insert(&mut self, field: &'static ConfigField, value: FieldValue) {
        if field.path == "mode" {
            self.given_mode = Some(value.text()).filter(|mode| !mode.is_empty());
        }
        let keeps_default = field.zero_is_default && value.is_zero();
        self.values.insert(field.path, if keeps_default { field.default_value() } else { value });
    }

    /// The mode in which kube-proxy runs with this configuration.
    pub fn kube_proxy_mode(&self) -> &str {
        self.given_mode.as_deref().unwrap_or(KUBE_PROXY_MODE)
    }

    /// Fields of another mode that decide there which traffic is masqueraded, and how it is marked. Each comes with the field that counts
    /// here, if the two differ.
    pub(super) fn lost_masquerading(&self) -> Vec<(&'static str, &'static str)> {
        if self.kube_proxy_mode() == "nftables" {
            return Vec::new();
        }
        let pairs = [
            ("iptables.masqueradeAll", "nftables.masqueradeAll"),
            ("iptables.masqueradeBit", "nftables.masqueradeBit"),
        ];
        let differs = |(there, here): &(&'static str, &'static str)| {
            let set = fields::find(there).is_some_and(|field| self.get(there) != Some(&field.default_value()));
            set && self.get(there) != self.get(here)
        };
        pairs.into_iter().filter(differs).collect()
    }

    /// A note for each field that is set and has no effect.
    pub(super) fn ignored(&self) -> Vec<ConfigNote> {
        let lost = self.lost_masquerading();
        let ignored = FIELDS.iter().filter(|field| field.treatment == Treatment::Ignored);
        let without_warning = ignored.filter(|field| !lost.iter().any(|(path, _)| *path == field.path));
        let set = without_warning.filter_map(|field| {
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

    /// Every value outside of its allowed range, as it was written.
    pub(super) fn problems(&self, written: &BTreeMap<&str, String>) -> Vec<ConfigProblem> {
        let problem = |field: &ConfigField| {
            let value = self.values.get(field.path)?;
            let Mismatch { value: shown, expected, .. } = field.kind.check(value).err()?;
            let hint = removed::value_hint(field.path, &value.text());
            let expected = hint.map_or_else(|| expected.clone(), |hint| format!("{expected} ({hint})"));
            Some(ConfigProblem::new(field.path, written.get(field.path).cloned().unwrap_or(shown), expected))
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

    /// A value as a file spells it.
    pub(super) fn shown(&self, path: &str) -> String {
        self.get(path).map(ToString::to_string).unwrap_or_default()
    }

    /// A field that is true or false; false if there is no such field.
    pub fn flag(&self, path: &str) -> bool {
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

    /// A field that is a text; empty if there is no such field.
    pub fn text(&self, path: &str) -> &str {
        match self.get(path) {
            Some(FieldValue::Text(text)) => text,
            _ => "",
        }
    }

    /// A field that is a list; empty if there is no such field.
    pub fn list(&self, path: &str) -> &[String] {
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
    pub fn bind(&self, path: &str) -> Option<SocketAddr> {
        self.text(path).parse().ok()
    }

    pub(super) fn get(&self, path: &str) -> Option<&FieldValue> {
        debug_assert!(fields::find(path).is_some(), "there is no field {path}");
        self.values.get(path)
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
