//! A group of rows that share the objects and flags that the proxy is given.

use serde_json::Value;

use super::given::{App, node};
use super::section::Section;
use super::words::Row;
use crate::common::manifests::service_cidr;
use crate::common::netns::addresses::POD_CIDRS;

/// Rows, and what they are given.
#[derive(Debug)]
pub struct Group {
    /// What its rows are about.
    pub section: Section,
    /// What tells it from other groups of the section; may be empty.
    pub name: &'static str,
    /// The objects of the cluster.
    pub objects: Vec<Value>,
    /// The proxy's flags that say which sources are pods of this node.
    pub detector: Vec<String>,
    /// Its other flags.
    pub flags: Vec<String>,
    /// Whether the kernel sends each client only a few ICMP errors at once, as it does by default.
    pub icmp_limited: bool,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Group {
    /// Rows about these Services, on a node in no zone, with pods told by the cluster's range.
    pub fn new(section: Section, apps: impl IntoIterator<Item = App>, rows: impl IntoIterator<Item = Row>) -> Self {
        let mut objects: Vec<Value> = apps.into_iter().flat_map(|app| app.objects()).collect();
        objects.push(service_cidr());
        objects.push(node(None));
        Self {
            section,
            name: "",
            objects,
            detector: vec!["--cluster-cidr".to_owned(), POD_CIDRS.join(",")],
            flags: Vec::new(),
            icmp_limited: false,
            rows: rows.into_iter().collect(),
        }
    }

    /// Named, where a section has several groups.
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// On a node in this zone.
    pub fn zone(self, zone: &str) -> Self {
        self.instead("Node", [node(Some(zone))])
    }

    /// With these objects instead of those of a kind.
    pub fn instead(mut self, kind: &str, objects: impl IntoIterator<Item = Value>) -> Self {
        self.objects.retain(|object| object["kind"] != kind);
        self.objects.extend(objects);
        self
    }

    /// On a kernel that limits ICMP errors.
    pub fn icmp_limited(self) -> Self {
        Self { icmp_limited: true, ..self }
    }

    /// With these flags.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// With pods told by these flags, or not at all.
    pub fn detector(self, flags: &[&str]) -> Self {
        Self { detector: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..self }
    }
}
