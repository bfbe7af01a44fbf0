//! The objects and the log of their changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// The kinds that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Services,
    EndpointSlices,
    ServiceCidrs,
    Nodes,
}

/// An object at one revision.
pub struct Object {
    pub resource: Resource,
    /// For selectors and for protobuf; a field that is given twice has its last value.
    pub value: Value,
    /// As it is sent in JSON.
    pub text: String,
}

/// An object with this annotation cannot be read in protobuf. In JSON it is sent as it was given.
pub const DAMAGED: &str = "test/damaged";

/// An entry of the log.
pub struct Change {
    pub revision: u64,
    pub resource: Resource,
    pub before: Option<Arc<Object>>,
    pub after: Option<Arc<Object>>,
}

/// All objects of the server. They are ordered by kind, namespace and name, as etcd orders them.
pub struct Store {
    revision: u64,
    objects: BTreeMap<(Resource, String), Arc<Object>>,
    log: Vec<Change>,
    /// Changes up to here are forgotten.
    compacted: u64,
}

/// The selection of a request, as far as the tests need it.
#[derive(Clone, Default)]
pub struct Selection {
    /// `!key`: objects without this label.
    pub without_label: Option<String>,
    /// `path=value` or `path!=value`.
    pub field: Option<(String, bool, String)>,
    /// Objects of this namespace only.
    pub namespace: Option<String>,
}

impl Resource {
    pub const ALL: [Self; 4] = [Self::Services, Self::EndpointSlices, Self::ServiceCidrs, Self::Nodes];

    pub fn path(self) -> &'static str {
        match self {
            Self::Services => "/api/v1/services",
            Self::EndpointSlices => "/apis/discovery.k8s.io/v1/endpointslices",
            Self::ServiceCidrs => "/apis/networking.k8s.io/v1/servicecidrs",
            Self::Nodes => "/api/v1/nodes",
        }
    }

    pub fn kind(self) -> &'static str {
        match self {
            Self::Services => "Service",
            Self::EndpointSlices => "EndpointSlice",
            Self::ServiceCidrs => "ServiceCIDR",
            Self::Nodes => "Node",
        }
    }

    pub fn api_version(self) -> &'static str {
        match self {
            Self::Services | Self::Nodes => "v1",
            Self::EndpointSlices => "discovery.k8s.io/v1",
            Self::ServiceCidrs => "networking.k8s.io/v1",
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { revision: 1, objects: BTreeMap::new(), log: Vec::new(), compacted: 0 }
    }
}

impl Store {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Stores an object; its resourceVersion and uid are put into the text after the first `"metadata":{`.
    pub fn apply(&mut self, text: &str) {
        let mut value: Value = serde_json::from_str(text).expect("JSON");
        let resource =
            Resource::ALL.into_iter().find(|resource| value["kind"] == resource.kind()).expect("a kind that is served");
        let name = match value["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("{namespace}/{}", value["metadata"]["name"].as_str().unwrap()),
            None => value["metadata"]["name"].as_str().unwrap().to_owned(),
        };
        self.revision += 1;
        let (start, rest) = text.split_once("\"metadata\":{").expect("metadata");
        // An object that names a UID keeps it.
        let has_uid = value["metadata"]["uid"].is_string();
        let uid = if has_uid { String::new() } else { format!("\"uid\":\"uid of {name}\",") };
        let text = format!("{start}\"metadata\":{{\"resourceVersion\":\"{}\",{uid}{rest}", self.revision);
        value["metadata"]["resourceVersion"] = self.revision.to_string().into();
        if !has_uid {
            value["metadata"]["uid"] = format!("uid of {name}").into();
        }
        let after = Arc::new(Object { resource, value, text });
        let before = self.objects.insert((resource, name), Arc::clone(&after));
        self.log.push(Change { revision: self.revision, resource, before, after: Some(after) });
    }

    pub fn delete(&mut self, resource: Resource, name: &str) {
        let before = self.objects.remove(&(resource, name.to_owned())).expect("the object exists");
        self.revision += 1;
        self.log.push(Change { revision: self.revision, resource, before: Some(before), after: None });
    }

    pub fn compact(&mut self) {
        self.compacted = self.revision;
        self.log.clear();
    }

    /// Whether a watch from a revision would miss changes that are forgotten.
    pub fn is_expired(&self, revision: u64) -> bool {
        revision < self.compacted
    }

    /// The selected objects after a key, with their keys.
    pub fn list(&self, resource: Resource, selection: &Selection, after: Option<&str>) -> Vec<(String, Arc<Object>)> {
        self.objects
            .iter()
            .filter(|((stored, name), object)| {
                *stored == resource
                    && after.is_none_or(|after| name.as_str() > after)
                    && selection.matches(&object.value)
            })
            .map(|((_, name), object)| (name.clone(), Arc::clone(object)))
            .collect()
    }

    /// The watch events of a selection after a revision: what happened, and the object.
    pub fn events_since(
        &self,
        resource: Resource,
        selection: &Selection,
        revision: u64,
    ) -> Vec<(&'static str, Arc<Object>)> {
        let selected = |object: &Option<Arc<Object>>| object.clone().filter(|object| selection.matches(&object.value));
        let changes = self.log.iter().filter(|change| change.resource == resource && change.revision > revision);
        changes
            .filter_map(|change| match (selected(&change.before), selected(&change.after)) {
                (None, None) => None,
                (None, Some(after)) => Some(("ADDED", after)),
                (Some(_), Some(after)) => Some(("MODIFIED", after)),
                // The last state, at the revision of the deletion.
                (Some(before), None) => {
                    let (start, rest) = before.text.split_once("\"resourceVersion\":\"")?;
                    let (_, rest) = rest.split_once('"')?;
                    let text = format!("{start}\"resourceVersion\":\"{}\"{rest}", change.revision);
                    let mut value = before.value.clone();
                    value["metadata"]["resourceVersion"] = change.revision.to_string().into();
                    Some(("DELETED", Arc::new(Object { resource, value, text })))
                }
            })
            .collect()
    }
}

impl Selection {
    fn matches(&self, object: &Value) -> bool {
        if self.namespace.as_ref().is_some_and(|namespace| object["metadata"]["namespace"] != **namespace) {
            return false;
        }
        if let Some(label) = &self.without_label
            && object["metadata"]["labels"].get(label).is_some()
        {
            return false;
        }
        self.field.as_ref().is_none_or(|(path, equal, value)| {
            let found = path.split('.').fold(object, |object, part| &object[part]);
            (found.as_str().unwrap_or_default() == value) == *equal
        })
    }
}
