//! An object as the watcher carries it: it can always be decoded, so no object can stop a list or get lost in a watch.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::state::{Kind, ObjectName, Problem, Reason};
use crate::watch::decode::{Interner, Outcome, Watched};
use crate::watch::wire::{Head, Loose, Metadata};

/// The fields that are read of an object, or the reason why it could not be decoded.
///
/// kube's list and watch decode whole answers at once, so an error inside one object would fail the list, or swallow the
/// event. Therefore the object's text is taken as it is, and the error becomes a value.
#[derive(Clone, Debug)]
pub struct Slim<T: Watched> {
    meta: ObjectMeta,
    wire: Result<T::Wire, String>,
}

impl<T: Watched> Slim<T> {
    /// Validates the object.
    pub fn decode(self, names: &mut Interner) -> Outcome<T> {
        match self.wire {
            Ok(wire) => T::decode(wire, names),
            Err(error) => {
                let problem = Problem::new("", Reason::Undecodable, error);
                Outcome::Unreadable(name_of(&self.meta), problem)
            }
        }
    }

    /// When the last change behind an EndpointSlice was made: the annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`, which its controller writes for this.
    pub fn triggered(&self) -> Option<Timestamp> {
        let Ok(wire) = &self.wire else { return None };
        let Loose::Fields(metadata) = T::metadata(wire) else { return None };
        let Loose::Fields(annotations) = &metadata.annotations else { return None };
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

/// What the watcher itself reads of the metadata.
fn object_meta(metadata: &Loose<Metadata>) -> ObjectMeta {
    let Loose::Fields(metadata) = metadata else { return ObjectMeta::default() };
    ObjectMeta {
        name: metadata.name.text(),
        namespace: metadata.namespace.text(),
        resource_version: metadata.resource_version.text(),
        ..ObjectMeta::default()
    }
}

impl<'de, T: Watched> Deserialize<'de> for Slim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let wire = serde_json::from_str::<T::Wire>(text.get()).map_err(|error| error.to_string());
        let meta = match &wire {
            Ok(wire) => object_meta(T::metadata(wire)),
            Err(_) => object_meta(&serde_json::from_str::<Head>(text.get()).unwrap_or_default().metadata),
        };
        Ok(Self { meta, wire })
    }
}

impl<T: Watched> Resource for Slim<T> {
    type DynamicType = ();
    type Scope = kube::core::DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        T::KIND.label().into()
    }

    fn group((): &()) -> Cow<'_, str> {
        match T::KIND {
            Kind::Service | Kind::Node => "",
            Kind::EndpointSlice => "discovery.k8s.io",
            Kind::ServiceCidr => "networking.k8s.io",
        }
        .into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        match T::KIND {
            Kind::Service => "services",
            Kind::EndpointSlice => "endpointslices",
            Kind::ServiceCidr => "servicecidrs",
            Kind::Node => "nodes",
        }
        .into()
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
    use crate::state::{Node, Service};

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
            let object = serde_json::from_str::<Slim<Service>>(text).unwrap();
            assert!(!matches!(object.decode(&mut Interner::default()), Outcome::Ours(_)), "{text}");
        }
    }

    #[test]
    fn an_undecodable_object_keeps_its_name_and_version() {
        let text = r#"{"metadata":{"name":"x","namespace":"n","resourceVersion":"7"},"spec":{"type":"a","type":"b"}}"#;
        let object = serde_json::from_str::<Slim<Service>>(text).unwrap();
        assert_eq!(object.meta().resource_version.as_deref(), Some("7"));
        let Outcome::Unreadable(name, problem) = object.decode(&mut Interner::default()) else { panic!() };
        assert_eq!(name, ObjectName::new("n", "x"));
        assert!(problem.found.contains("duplicate field `type`"), "{}", problem.found);
    }

    #[test]
    fn a_slice_may_say_when_its_change_was_made() {
        use crate::state::EndpointSlice;
        let triggered = |annotations: &str| {
            let text = format!(r#"{{"metadata":{{"name":"s","annotations":{annotations}}}}}"#);
            serde_json::from_str::<Slim<EndpointSlice>>(&text).unwrap().triggered().map(|at| at.to_string())
        };
        let annotation = r#"{"a":{},"endpoints.kubernetes.io/last-change-trigger-time":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(triggered(annotation).as_deref(), Some("2026-01-02T03:04:05Z"));
        for nothing in ["null", "7", "{}", r#"{"endpoints.kubernetes.io/last-change-trigger-time":"soon"}"#] {
            assert_eq!(triggered(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn requests_go_to_the_kinds_paths() {
        use crate::state::{EndpointSlice, ServiceCidr};
        assert_eq!(Slim::<Service>::url_path(&(), None), "/api/v1/services");
        assert_eq!(Slim::<EndpointSlice>::url_path(&(), None), "/apis/discovery.k8s.io/v1/endpointslices");
        assert_eq!(Slim::<ServiceCidr>::url_path(&(), None), "/apis/networking.k8s.io/v1/servicecidrs");
        assert_eq!(Slim::<Node>::url_path(&(), None), "/api/v1/nodes");
    }
}
