//! What one file holds: the objects of the kinds that are read, and the documents that cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::leading_type::LeadingTypeMeta;
use super::yaml;
use crate::state::{Decoded, EndpointSlice, Kind, Node, ObjectName, Problem, Reason, Service, ServiceCidr};
use crate::watch::decode::{Interner, NotProxied, WatchedKind};
use crate::watch::wire::{LooseList, MetadataFields, RawObject, Scalar};

/// How deep a `List` may be nested in another.
const MAX_NESTING: usize = 16;

/// The objects of one file, in its order.
#[derive(Debug, Default)]
pub struct FileContents {
    /// Services.
    pub services: Vec<Decoded<Service>>,
    /// EndpointSlices.
    pub slices: Vec<Decoded<EndpointSlice>>,
    /// ServiceCIDRs.
    pub service_cidrs: Vec<Decoded<ServiceCidr>>,
    /// The Node of this name, if it is here.
    pub nodes: Vec<Decoded<Node>>,
    /// The documents that could not be read, where they are and why: objects may be missing.
    pub broken: Vec<String>,
    /// How many documents and items there are, of any kind.
    pub documents: usize,
    /// Whether there is a list without items: the file is meant to hold nothing.
    pub empty_list: bool,
    /// How many objects there are that another proxy serves, or none.
    pub not_proxied: usize,
    /// How many objects there are of each kind that is not read.
    pub other_kinds: BTreeMap<String, usize>,
    /// How many objects there are of a kind that is read, in a version that is not.
    pub other_versions: BTreeMap<String, usize>,
    /// The names of Nodes that are not this one; only a few.
    pub other_nodes: BTreeSet<String>,
}

/// How many Nodes are named where this one is missing.
pub const NAMED_NODES: usize = 5;

impl FileContents {
    /// How many objects there are of the kinds that are read.
    pub fn len(&self) -> usize {
        self.services.len() + self.slices.len() + self.service_cidrs.len() + self.nodes.len()
    }

    /// Whether there is nothing at all: an empty file, or comments.
    pub fn is_blank(&self) -> bool {
        self.documents == 0 && !self.empty_list && self.broken.is_empty()
    }
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
#[serde(expecting = "a Kubernetes object")]
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
            match yaml::to_json(document) {
                Ok(json) => self.value(&json, &format!("document {}, line {}", i + 1, document.line), None, 0),
                Err(error) => self.broken(&format!("document {}", i + 1), &error),
            }
        }
        self.contents
    }

    /// Reads JSON values that follow each other; false if the first is not JSON and nothing was read.
    fn json(&mut self, mut text: &str) -> bool {
        let mut line = 1;
        for number in 1.. {
            let blank = text.len() - text.trim_start().len();
            line += newlines(&text[..blank]);
            text = &text[blank..];
            let place = format!("document {number}, line {line}");
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
                            let at = format!("line {}, column {}", line + error.line() - 1, error.column());
                            self.broken(&format!("document {number}"), &format!("{at}: {}", without_position(&error)));
                            return true;
                        }
                    }
                    end = values.byte_offset();
                }
            }
            line += newlines(&text[..end]);
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
            Err(error) => return self.broken(place, &without_position(&error)),
        };
        self.envelope(envelope, json, place, kind, depth);
    }

    /// Reads one value that is an object.
    fn envelope(&mut self, envelope: Envelope<'_>, json: &str, place: &str, kind: Option<&str>, depth: usize) {
        let Some(kind) = envelope.kind.non_empty().or(kind) else {
            return self.broken(place, "not a Kubernetes object: it has no kind");
        };
        match kind.strip_suffix("List") {
            Some(kind) => self.items(envelope.items, place, (!kind.is_empty()).then_some(kind), depth),
            None => self.object_of_kind(kind, envelope.api_version.as_str(), json, place),
        }
    }

    /// Reads an object of this kind, if it is one that a Service proxy reads.
    fn object_of_kind(&mut self, kind: &str, api_version: Option<&str>, json: &str, place: &str) {
        self.contents.documents += 1;
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
                match object {
                    Some(node) if name_of(&node).name() == self.node_name => self.contents.nodes.push(node),
                    Some(node) if self.contents.other_nodes.len() < NAMED_NODES => {
                        self.contents.other_nodes.insert(name_of(&node).name().to_owned());
                    }
                    _ => {}
                }
            }
            _ => {
                let version = api_version.unwrap_or_default();
                let named = format!("{kind} {version}");
                let is_ours = is_other_version(kind, version);
                let counts = if is_ours { &mut self.contents.other_versions } else { &mut self.contents.other_kinds };
                *counts.entry(named.trim_end().to_owned()).or_default() += 1;
            }
        }
    }

    fn items(&mut self, items: LooseList<&RawValue>, place: &str, kind: Option<&str>, depth: usize) {
        if depth == MAX_NESTING {
            return self.broken(place, "lists nested too deeply");
        }
        if let Some(found) = items.wrong() {
            return self.broken(place, &format!("items: {found}, not a list"));
        }
        let items = items.into_vec();
        self.contents.empty_list |= items.is_empty();
        for (i, item) in items.into_iter().enumerate() {
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
            Ok(wire) => match T::decode(wire, self.names) {
                Ok(decoded) => decoded,
                Err(NotProxied(name)) => {
                    tracing::debug!(file = self.file, kind = T::KIND.label(), %name, "not for a Service proxy to serve");
                    self.contents.not_proxied += 1;
                    return None;
                }
            },
            Err(error) => {
                let metadata = RawObject::Json(json).metadata();
                let problem = Problem::new("", Reason::Undecodable, without_position(&error));
                Decoded::unreadable(name_in(T::KIND, &metadata), problem).with_uid(metadata.uid.0)
            }
        };
        match decoded {
            Decoded::Unreadable(unreadable) if unreadable.0.name().is_empty() => {
                Some(Decoded::unreadable(self.place(place), unreadable.1).with_uid(unreadable.2))
            }
            decoded => Some(decoded),
        }
    }

    fn broken(&mut self, place: &str, error: &str) {
        let separator = if place.is_empty() { "" } else { ": " };
        self.contents.documents += 1;
        self.contents.broken.push(format!("{place}{separator}{error}"));
    }

    /// A name for a document without a name: its place in the file.
    fn place(&self, place: &str) -> ObjectName {
        let separator = if place.is_empty() { "" } else { ": " };
        ObjectName::cluster_scoped(format!("{}{separator}{place}", self.file))
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// An error's message without the position, which counts from where the parser began.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

/// Whether this is a version of a kind that is read, or tells what such a kind tells (Endpoints), but cannot be read.
fn is_other_version(kind: &str, api_version: &str) -> bool {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    match kind {
        "Service" | "Node" | "Endpoints" => group.is_empty(),
        "EndpointSlice" => group == "discovery.k8s.io" || group.is_empty(),
        "ServiceCIDR" => group == "networking.k8s.io" || group.is_empty(),
        _ => false,
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
