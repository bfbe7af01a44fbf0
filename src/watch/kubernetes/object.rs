//! An object as kube's watcher carries it. It always deserializes, so no object can stop a list or get lost in a watch.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::state::{Decoded, ObjectName, Problem, Reason, Uid};
use crate::watch::decode::{Interner, NotProxied, WatchedKind, metadata_alone};
use crate::watch::wire::{LooseObject, MetadataFields};

/// The fields that are read of an object, or the reason why they cannot be.
///
/// kube's list and watch decode whole answers at once, so an error inside one object would fail the list, or swallow the
/// event. Therefore the object's text is taken as it is, and the error becomes a value.
#[derive(Clone, Debug)]
pub struct WatchedObject<T: WatchedKind> {
    /// What the watcher itself reads.
    meta: ObjectMeta,
    uid: Option<Uid>,
    wire: Result<T::Wire, String>,
}

impl<T: WatchedKind> WatchedObject<T> {
    /// Validates the object.
    ///
    /// # Errors
    /// The object's name, if a Service proxy must not serve it.
    pub fn decode(self, names: &mut Interner) -> Result<Decoded<T>, NotProxied> {
        match self.wire {
            Ok(wire) => T::decode(wire, names),
            Err(error) => {
                let problem = Problem::new("", Reason::Undecodable, error);
                Ok(Decoded::unreadable(name_of(&self.meta), problem).with_uid(self.uid))
            }
        }
    }

    /// When the last change behind an EndpointSlice was made: the annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`, which its controller writes for this.
    pub fn triggered(&self) -> Option<Timestamp> {
        let Ok(wire) = &self.wire else { return None };
        let LooseObject::Fields(metadata) = T::metadata(wire) else { return None };
        let LooseObject::Fields(annotations) = &metadata.annotations else { return None };
        annotations.last_change_trigger_time.as_str()?.parse().ok()
    }

    /// The object's name.
    pub fn into_name(self) -> ObjectName {
        name_of(&self.meta)
    }
}

fn name_of(meta: &ObjectMeta) -> ObjectName {
    ObjectName::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

fn object_meta(metadata: &MetadataFields) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name.text(),
        namespace: metadata.namespace.text(),
        resource_version: metadata.resource_version.text(),
        ..ObjectMeta::default()
    }
}

impl<'de, T: WatchedKind> Deserialize<'de> for WatchedObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let wire = serde_json::from_str::<T::Wire>(text.get()).map_err(|error| error.to_string());
        let (meta, uid) = match &wire {
            Ok(wire) => match T::metadata(wire) {
                LooseObject::Fields(metadata) => (object_meta(metadata), metadata.uid.0),
                LooseObject::Wrong(_) => (ObjectMeta::default(), None),
            },
            Err(_) => {
                let metadata = metadata_alone(text.get());
                (object_meta(&metadata), metadata.uid.0)
            }
        };
        Ok(Self { meta, uid, wire })
    }
}

impl<T: WatchedKind> Resource for WatchedObject<T> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{EndpointSlice, Service};

    #[test]
    fn any_json_value_is_an_object() {
        for text in [
            "7",
            "null",
            "[]",
            "{}",
            r#"{"metadata":7}"#,
            r#"{"spec":{"ports":[],"ports":[]},"metadata":{"name":"x"}}"#,
        ] {
            let object = serde_json::from_str::<WatchedObject<Service>>(text).unwrap();
            assert!(!matches!(object.decode(&mut Interner::default()), Ok(Decoded::Object(_))), "{text}");
        }
    }

    #[test]
    fn an_undecodable_object_keeps_its_name_and_version() {
        let text = r#"{"metadata":{"name":"x","namespace":"n","resourceVersion":"7"},"spec":{"type":"a","type":"b"}}"#;
        let object = serde_json::from_str::<WatchedObject<Service>>(text).unwrap();
        assert_eq!(object.meta().resource_version.as_deref(), Some("7"));
        let Ok(Decoded::Unreadable(unreadable)) = object.decode(&mut Interner::default()) else { panic!() };
        let (name, problem) = (unreadable.0, unreadable.1);
        assert_eq!(name, ObjectName::new("n", "x"));
        assert!(problem.found.contains("duplicate field `type`"), "{}", problem.found);
    }

    #[test]
    fn a_slice_may_say_when_its_change_was_made() {
        let triggered = |annotations: &str| {
            let text = format!(r#"{{"metadata":{{"name":"s","annotations":{annotations}}}}}"#);
            serde_json::from_str::<WatchedObject<EndpointSlice>>(&text).unwrap().triggered().map(|at| at.to_string())
        };
        let annotation = r#"{"a":{},"endpoints.kubernetes.io/last-change-trigger-time":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(triggered(annotation).as_deref(), Some("2026-01-02T03:04:05Z"));
        for nothing in ["null", "7", "{}", r#"{"endpoints.kubernetes.io/last-change-trigger-time":"soon"}"#] {
            assert_eq!(triggered(nothing), None, "{nothing}");
        }
    }
}
