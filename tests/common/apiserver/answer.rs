//! Answers in the encoding that was negotiated.

use http::HeaderMap;
use serde_json::{Value, json};

use super::protobuf;
use super::store::{DAMAGED, Object, Resource};

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Protobuf {
        /// Whether objects have fields that no schema has.
        unknown_fields: bool,
    },
}

/// What the server does with a request for protobuf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protobuf {
    /// Speaks it.
    #[default]
    Spoken,
    /// Speaks it, and knows fields that the client does not.
    WithUnknownFields,
    /// Answers in JSON, as a proxy on the way may.
    Ignored,
    /// Refuses the request with this status.
    Refused(u16),
}

impl Protobuf {
    /// The format of an answer to a request with these headers, or the status that refuses it.
    pub fn negotiate(self, headers: &HeaderMap) -> Result<Format, u16> {
        let accepted = headers.get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let asked = accepted.contains("application/vnd.kubernetes.protobuf");
        match self {
            Self::Refused(code) if asked => Err(code),
            Self::Spoken if asked => Ok(Format::Protobuf { unknown_fields: false }),
            Self::WithUnknownFields if asked => Ok(Format::Protobuf { unknown_fields: true }),
            _ => Ok(Format::Json),
        }
    }
}

impl Format {
    /// The `Content-Type` of an answer.
    pub fn content_type(self, watch: bool) -> &'static str {
        match (self, watch) {
            (Self::Json, _) => "application/json",
            (Self::Protobuf { .. }, false) => "application/vnd.kubernetes.protobuf",
            (Self::Protobuf { .. }, true) => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }

    /// An event of a watch with a stored object.
    pub fn event(self, verb: &str, object: &Object) -> Vec<u8> {
        match self {
            Self::Json => line(verb, &object.text),
            Self::Protobuf { .. } => {
                let (kind, version) = (object.resource.kind(), object.resource.api_version());
                protobuf::frame(verb, &protobuf::object(kind, version, &self.item(object)))
            }
        }
    }

    /// An event of a watch with another object.
    pub fn event_of(self, verb: &str, object: &Value) -> Vec<u8> {
        match self {
            Self::Json => line(verb, &object.to_string()),
            Self::Protobuf { .. } => {
                let text = |field: &str| object[field].as_str().unwrap();
                let raw = protobuf::item(text("kind"), object);
                protobuf::frame(verb, &protobuf::object(text("kind"), text("apiVersion"), &raw))
            }
        }
    }

    /// What is no event at all.
    pub fn garbage(self) -> Vec<u8> {
        match self {
            Self::Json => b"this is not JSON\n".to_vec(),
            Self::Protobuf { .. } => protobuf::framed(b"this is no protobuf"),
        }
    }

    /// A list.
    pub fn list(self, resource: Resource, metadata: &Value, objects: &[&Object]) -> Vec<u8> {
        let (kind, version) = (resource.kind(), resource.api_version());
        match self {
            Self::Json => {
                let texts: Vec<_> = objects.iter().map(|object| object.text.as_str()).collect();
                let items = texts.join(",");
                format!(r#"{{"kind":"{kind}List","apiVersion":"{version}","metadata":{metadata},"items":[{items}]}}"#)
                    .into_bytes()
            }
            Self::Protobuf { .. } => {
                protobuf::list(kind, version, metadata, objects.iter().map(|object| self.item(object)))
            }
        }
    }

    /// A Status.
    pub fn status(self, code: u16, reason: &str, message: &str) -> Vec<u8> {
        let status = status(code, reason, message);
        match self {
            Self::Json => status.to_string().into_bytes(),
            Self::Protobuf { .. } => protobuf::object("Status", "v1", &protobuf::item("Status", &status)),
        }
    }

    fn item(self, object: &Object) -> Vec<u8> {
        let mut item = protobuf::item(object.resource.kind(), &object.value);
        if self == (Self::Protobuf { unknown_fields: true }) {
            item.extend(protobuf::unknown_fields());
        }
        if object.value["metadata"]["annotations"].get(DAMAGED).is_some() {
            item.extend_from_slice(protobuf::DAMAGE);
        }
        item
    }
}

/// A Status as an object.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn line(verb: &str, object: &str) -> Vec<u8> {
    format!("{{\"type\":\"{verb}\",\"object\":{object}}}\n").into_bytes()
}
