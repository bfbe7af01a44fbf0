//! What one file holds: the objects of the kinds that are read, and the documents that cannot be read.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::yaml;
use crate::state::{Decoded, EndpointSlice, Kind, Node, ObjectName, Problem, Reason, Service, ServiceCidr};
use crate::watch::decode::{Interner, WatchedKind, metadata_alone};
use crate::watch::wire::{LooseList, MetadataFields, Scalar};

/// How deep a `List` may be nested in another.
const MAX_NESTING: usize = 16;

/// The objects of one file, in its order.
#[derive(Debug, Default)]
pub struct FileContents {
    /// Services, and each document that could not be read, as an unreadable object of unknown kind.
    pub services: Vec<Decoded<Service>>,
    /// EndpointSlices.
    pub slices: Vec<Decoded<EndpointSlice>>,
    /// ServiceCIDRs.
    pub service_cidrs: Vec<Decoded<ServiceCidr>>,
    /// The Node of this name, if it is here.
    pub nodes: Vec<Decoded<Node>>,
    /// Whether some document could not be read, so that objects may be missing.
    pub broken: bool,
}

/// Reads one file's text.
pub struct FileReader<'a> {
    /// The file's name, for unreadable documents.
    pub file: &'a str,
    /// The name of this node's Node object; other Nodes do not matter.
    pub node_name: &'a str,
    /// Shared strings.
    pub names: &'a mut Interner,
    contents: FileContents,
}

/// A document or an item of a `List`.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, rename = "apiVersion")]
    api_version: Scalar,
    #[serde(default)]
    kind: Scalar,
    #[serde(default, borrow)]
    items: LooseList<&'a RawValue>,
}

impl<'a> FileReader<'a> {
    /// A reader for the file of this name.
    pub fn new(file: &'a str, node_name: &'a str, names: &'a mut Interner) -> Self {
        Self { file, node_name, names, contents: FileContents::default() }
    }

    /// Reads a whole file: JSON if it looks like that, YAML otherwise.
    pub fn read(mut self, bytes: &[u8]) -> FileContents {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.trim_start_matches('\u{feff}'),
            Err(error) => {
                self.broken("", &format!("not UTF-8: {error}"));
                return self.contents;
            }
        };
        // YAML in flow style begins like JSON, but then its first value is not JSON.
        if text.trim_start().starts_with(['{', '[']) && self.json(text) {
            return self.contents;
        }
        for (i, document) in yaml::documents(text).iter().enumerate() {
            let place = format!("document {}", i + 1);
            match yaml::to_json(document) {
                Ok(json) => self.value(&json, &place, None, 0),
                Err(error) => self.broken(&place, &error),
            }
        }
        self.contents
    }

    /// Reads JSON values that follow each other; false if the first is not JSON and nothing was read.
    fn json(&mut self, mut text: &str) -> bool {
        for number in 1.. {
            let place = format!("document {number}");
            // A list with all its items is parsed once; only a value that is no object is parsed again.
            let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Envelope<'_>>();
            let object = objects.next();
            let mut end = objects.byte_offset();
            match object {
                None => return true,
                Some(Ok(envelope)) => self.envelope(envelope, &text[..end], &place, None, 0),
                Some(Err(_)) => {
                    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
                    match values.next() {
                        None => return true,
                        Some(Ok(value)) => self.value(value.get(), &place, None, 0),
                        Some(Err(_)) if number == 1 && !self.file.ends_with(".json") => return false,
                        Some(Err(error)) => {
                            // After a syntax error the next value cannot be found.
                            self.broken(&place, &error.to_string());
                            return true;
                        }
                    }
                    end = values.byte_offset();
                }
            }
            text = &text[end..];
        }
        true
    }

    /// Reads one value. `kind` is the kind of a typed list's items, which need not name it themselves.
    fn value(&mut self, json: &str, place: &str, kind: Option<&str>, depth: usize) {
        if json.trim() == "null" {
            return;
        }
        let envelope = match serde_json::from_str::<Envelope<'_>>(json) {
            Ok(envelope) => envelope,
            Err(error) => return self.broken(place, &format!("not a Kubernetes object: {error}")),
        };
        self.envelope(envelope, json, place, kind, depth);
    }

    /// Reads one value that is an object.
    fn envelope(&mut self, envelope: Envelope<'_>, json: &str, place: &str, kind: Option<&str>, depth: usize) {
        let Some(kind) = envelope.kind.non_empty().or(kind) else {
            return self.broken(place, "not a Kubernetes object: no kind");
        };
        match kind.strip_suffix("List") {
            Some(kind) => self.items(envelope.items, place, (!kind.is_empty()).then_some(kind), depth),
            None => self.object_of_kind(kind, envelope.api_version.as_str(), json, place),
        }
    }

    /// Reads an object of this kind, if it is one that a Service proxy reads.
    fn object_of_kind(&mut self, kind: &str, api_version: Option<&str>, json: &str, place: &str) {
        match kind {
            "Service" if is_version(api_version, &["v1"]) => {
                let object = self.object::<Service>(json, place);
                self.contents.services.extend(object);
            }
            "EndpointSlice" if is_version(api_version, &["discovery.k8s.io/v1"]) => {
                let object = self.object::<EndpointSlice>(json, place);
                self.contents.slices.extend(object);
            }
            "ServiceCIDR" if is_version(api_version, &["networking.k8s.io/v1", "networking.k8s.io/v1beta1"]) => {
                let object = self.object::<ServiceCidr>(json, place);
                self.contents.service_cidrs.extend(object);
            }
            "Node" if is_version(api_version, &["v1"]) => {
                let object = self.object::<Node>(json, place);
                let node_name = self.node_name;
                self.contents.nodes.extend(object.filter(|node| name_of(node).name() == node_name));
            }
            _ => tracing::trace!(file = self.file, place, kind, "another kind; left out"),
        }
    }

    fn items(&mut self, items: LooseList<&RawValue>, place: &str, kind: Option<&str>, depth: usize) {
        if depth == MAX_NESTING {
            return self.broken(place, "lists nested too deeply");
        }
        if let Some(found) = items.wrong() {
            return self.broken(place, &format!("items: {found}, not a list"));
        }
        for (i, item) in items.into_vec().into_iter().enumerate() {
            let (json, place) = (item.get(), format!("{place}, item {}", i + 1));
            match LeadingTypeMeta::read(json) {
                Some(LeadingTypeMeta { api_version, kind }) => {
                    self.object_of_kind(kind.as_str().unwrap_or_default(), api_version.as_str(), json, &place);
                }
                None => self.value(json, &place, kind, depth + 1),
            }
        }
    }

    /// Decodes an object; `None` if a Service proxy must not serve it. An unreadable one without a name is named by its place.
    fn object<T: WatchedKind>(&mut self, json: &str, place: &str) -> Option<Decoded<T>> {
        let decoded = match serde_json::from_str::<T::Wire>(json) {
            Ok(wire) => T::decode(wire, self.names).ok()?,
            Err(error) => {
                let name = name_in(T::KIND, &metadata_alone(json));
                Decoded::unreadable(name, Problem::new("", Reason::Undecodable, error))
            }
        };
        match decoded {
            Decoded::Unreadable(unreadable) if unreadable.0.name().is_empty() => {
                Some(Decoded::unreadable(self.place(place), unreadable.1))
            }
            decoded => Some(decoded),
        }
    }

    fn broken(&mut self, place: &str, error: &str) {
        tracing::debug!(file = self.file, place, error, "cannot read this document; the rest of the file is used");
        self.contents.broken = true;
        let problem = Problem::new(place, Reason::Undecodable, error);
        self.contents.services.push(Decoded::unreadable(self.place(place), problem));
    }

    /// A name for a document without a name: its place in the file.
    fn place(&self, place: &str) -> ObjectName {
        let separator = if place.is_empty() { "" } else { ": " };
        ObjectName::cluster_scoped(format!("{}{separator}{place}", self.file))
    }
}

/// `apiVersion` and `kind` of an object that begins with them.
#[derive(Default)]
struct LeadingTypeMeta {
    api_version: Scalar,
    kind: Scalar,
}

impl LeadingTypeMeta {
    /// Parses no further than needed; `None` if the object does not begin with both, or is a list.
    fn read(json: &str) -> Option<Self> {
        let mut found = Self::default();
        // It returns an error where the visitor stops.
        let _ = serde_json::Deserializer::from_str(json).deserialize_map(&mut found);
        let kind = found.kind.non_empty()?;
        (found.api_version.non_empty().is_some() && !kind.ends_with("List")).then_some(found)
    }
}

impl<'de> Visitor<'de> for &mut LeadingTypeMeta {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        for _ in 0..2 {
            match object.next_key::<&str>()? {
                Some("apiVersion") => self.api_version = object.next_value()?,
                Some("kind") => self.kind = object.next_value()?,
                _ => break,
            }
        }
        Ok(())
    }
}

/// Whether the version is supported, or left out.
fn is_version(found: Option<&str>, versions: &[&str]) -> bool {
    found.is_none_or(|found| found.is_empty() || versions.contains(&found))
}

fn name_in(kind: Kind, metadata: &MetadataFields) -> ObjectName {
    let name = metadata.name.text().unwrap_or_default();
    match kind {
        Kind::Service | Kind::EndpointSlice => {
            ObjectName::new(metadata.namespace.non_empty().unwrap_or("default"), name)
        }
        Kind::ServiceCidr | Kind::Node => ObjectName::cluster_scoped(name),
    }
}

/// The name of an object, readable or not.
pub fn name_of<T: WatchedKind>(object: &Decoded<T>) -> &ObjectName {
    match object {
        Decoded::Object(object) => object.name(),
        Decoded::Unreadable(unreadable) => &unreadable.0,
    }
}

#[cfg(test)]
mod tests;
