//! An object as the watcher carries it. It can always be made, so no object can stop a list or get lost in a watch.

use jiff::Timestamp;

use crate::state::{Decoded, EndpointSlice, ObjectName, Problem, Reason};
use crate::watch::decode::{Interner, NotProxied, WatchedKind};
use crate::watch::wire::{Encoding, LooseObject, MetadataFields, ProtobufFields as _, RawObject, WatchEvent};

/// The fields that are read of an object, or what is known of one that cannot be read.
#[derive(Clone, Debug)]
pub struct WatchedObject<T: WatchedKind>(Result<T::Wire, DamagedObject>);

/// Decodes what a watch on EndpointSlices receives, without a connection: for measurements of that alone.
#[derive(Debug, Default)]
pub struct SliceDecoder(Interner);

impl SliceDecoder {
    /// The slice of an event: a line of JSON, or a frame of protobuf without its length. `None` if it is no event.
    pub fn decode(&mut self, encoding: Encoding, frame: &[u8]) -> Option<Decoded<EndpointSlice>> {
        let event = WatchEvent::read(encoding, frame).ok()?;
        WatchedObject::read(event.object).decode(&mut self.0).ok()
    }
}

/// What is known of an object that cannot be read.
#[derive(Clone, Debug)]
struct DamagedObject {
    metadata: MetadataFields,
    error: String,
}

impl<T: WatchedKind> WatchedObject<T> {
    /// Reads an object.
    pub fn read(object: RawObject<'_>) -> Self {
        let wire = match object {
            RawObject::Json(json) => serde_json::from_str::<T::Wire>(json).map_err(|error| error.to_string()),
            RawObject::Protobuf(bytes) => T::Wire::from_protobuf(bytes).map_err(|error| error.to_string()),
        };
        Self(wire.map_err(|error| DamagedObject { metadata: object.metadata(), error }))
    }

    /// Validates the object.
    ///
    /// # Errors
    /// The object's name, if a Service proxy must not serve it.
    pub fn decode(self, names: &mut Interner) -> Result<Decoded<T>, NotProxied> {
        match self.0 {
            Ok(wire) => T::decode(wire, names),
            Err(damaged) => {
                let problem = Problem::new("", Reason::Undecodable, damaged.error);
                Ok(Decoded::unreadable(name(&damaged.metadata), problem).with_uid(damaged.metadata.uid.0))
            }
        }
    }

    /// When the last change behind an EndpointSlice was made: the annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`, which its controller writes for this.
    pub fn triggered(&self) -> Option<Timestamp> {
        let LooseObject::Fields(annotations) = &self.metadata()?.annotations else { return None };
        annotations.last_change_trigger_time.as_str()?.parse().ok()
    }

    /// The version from which a watch goes on after this object.
    pub fn version(&self) -> Option<&str> {
        self.metadata()?.resource_version.non_empty()
    }

    /// The object's name.
    pub fn name(&self) -> ObjectName {
        self.metadata().map_or_else(|| ObjectName::new("", ""), name)
    }

    fn metadata(&self) -> Option<&MetadataFields> {
        match &self.0 {
            Ok(wire) => match T::metadata(wire) {
                LooseObject::Fields(metadata) => Some(metadata),
                LooseObject::Wrong(_) => None,
            },
            Err(damaged) => Some(&damaged.metadata),
        }
    }
}

fn name(metadata: &MetadataFields) -> ObjectName {
    let [namespace, name] = [&metadata.namespace, &metadata.name].map(|field| field.text().unwrap_or_default());
    ObjectName::new(namespace, name)
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
            let object = WatchedObject::<Service>::read(RawObject::Json(text));
            assert!(!matches!(object.decode(&mut Interner::default()), Ok(Decoded::Object(_))), "{text}");
        }
    }

    #[test]
    fn an_undecodable_object_keeps_its_name_and_version() {
        let text = r#"{"metadata":{"name":"x","namespace":"n","resourceVersion":"7"},"spec":{"type":"a","type":"b"}}"#;
        let object = WatchedObject::<Service>::read(RawObject::Json(text));
        assert_eq!(object.version(), Some("7"));
        let Ok(Decoded::Unreadable(unreadable)) = object.decode(&mut Interner::default()) else { panic!() };
        let (name, problem) = (unreadable.0, unreadable.1);
        assert_eq!(name, ObjectName::new("n", "x"));
        assert!(problem.found.contains("duplicate field `type`"), "{}", problem.found);
    }

    #[test]
    fn a_slice_may_say_when_its_change_was_made() {
        let triggered = |annotations: &str| {
            let text = format!(r#"{{"metadata":{{"name":"s","annotations":{annotations}}}}}"#);
            WatchedObject::<EndpointSlice>::read(RawObject::Json(&text)).triggered().map(|at| at.to_string())
        };
        let annotation = r#"{"a":{},"endpoints.kubernetes.io/last-change-trigger-time":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(triggered(annotation).as_deref(), Some("2026-01-02T03:04:05Z"));
        for nothing in ["null", "7", "{}", r#"{"endpoints.kubernetes.io/last-change-trigger-time":"soon"}"#] {
            assert_eq!(triggered(nothing), None, "{nothing}");
        }
    }
}
