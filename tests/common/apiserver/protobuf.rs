//! Objects in the API server's protobuf, encoded from their JSON by the numbers of the schemas.
//!
//! As the server does, it writes every field that is no pointer, list or map in Go, even if it is empty ([`Field::always`]). A value of
//! another form than the schema's is written as what it is, because a server that misbehaves does no better.

use serde_json::{Map, Value, json};

/// A field of a message.
pub struct Field {
    name: &'static str,
    number: u32,
    form: Form,
    /// Written even where it is empty.
    always: bool,
}

/// What a field holds.
pub enum Form {
    Text,
    Number,
    Flag,
    /// RFC 3339 in JSON, seconds in protobuf.
    Time,
    /// A number or a text.
    Either,
    /// Text to text.
    Map,
    /// JSON as it is.
    Json,
    Message(&'static [Field]),
}

/// Always written.
const fn always(name: &'static str, number: u32, form: Form) -> Field {
    Field { name, number, form, always: true }
}

/// Written where it is given.
const fn given(name: &'static str, number: u32, form: Form) -> Field {
    Field { name, number, form, always: false }
}

use Form::{Either, Flag, Json, Message, Number, Text, Time};

const MANAGED_FIELDS: &[Field] = &[
    always("manager", 1, Text),
    always("operation", 2, Text),
    always("apiVersion", 3, Text),
    given("time", 4, Time),
    always("fieldsType", 6, Text),
    given("fieldsV1", 7, Json),
    always("subresource", 8, Text),
];

const OWNER: &[Field] = &[
    always("kind", 1, Text),
    always("name", 3, Text),
    always("uid", 4, Text),
    always("apiVersion", 5, Text),
    given("controller", 6, Flag),
    given("blockOwnerDeletion", 7, Flag),
];

const METADATA: &[Field] = &[
    always("name", 1, Text),
    always("generateName", 2, Text),
    always("namespace", 3, Text),
    always("selfLink", 4, Text),
    always("uid", 5, Text),
    always("resourceVersion", 6, Text),
    always("generation", 7, Number),
    always("creationTimestamp", 8, Time),
    given("deletionTimestamp", 9, Time),
    given("labels", 11, Form::Map),
    given("annotations", 12, Form::Map),
    given("ownerReferences", 13, Message(OWNER)),
    given("managedFields", 17, Message(MANAGED_FIELDS)),
];

const SERVICE_PORT: &[Field] = &[
    always("name", 1, Text),
    always("protocol", 2, Text),
    always("port", 3, Number),
    always("targetPort", 4, Either),
    always("nodePort", 5, Number),
    given("appProtocol", 6, Text),
];

const AFFINITY: &[Field] = &[given("clientIP", 1, Message(&[given("timeoutSeconds", 1, Number)]))];

const SERVICE_SPEC: &[Field] = &[
    given("ports", 1, Message(SERVICE_PORT)),
    given("selector", 2, Form::Map),
    always("clusterIP", 3, Text),
    always("type", 4, Text),
    given("externalIPs", 5, Text),
    always("sessionAffinity", 7, Text),
    always("loadBalancerIP", 8, Text),
    given("loadBalancerSourceRanges", 9, Text),
    always("externalName", 10, Text),
    always("externalTrafficPolicy", 11, Text),
    always("healthCheckNodePort", 12, Number),
    always("publishNotReadyAddresses", 13, Flag),
    given("sessionAffinityConfig", 14, Message(AFFINITY)),
    given("ipFamilyPolicy", 17, Text),
    given("clusterIPs", 18, Text),
    given("ipFamilies", 19, Text),
    given("internalTrafficPolicy", 22, Text),
];

const INGRESS: &[Field] = &[always("ip", 1, Text), always("hostname", 2, Text), given("ipMode", 3, Text)];

const LOAD_BALANCER: &[Field] = &[given("ingress", 1, Message(INGRESS))];

const SERVICE: &[Field] = &[
    always("metadata", 1, Message(METADATA)),
    always("spec", 2, Message(SERVICE_SPEC)),
    always("status", 3, Message(&[always("loadBalancer", 1, Message(LOAD_BALANCER))])),
];

const REFERENCE: &[Field] = &[
    always("kind", 1, Text),
    always("namespace", 2, Text),
    always("name", 3, Text),
    always("uid", 4, Text),
    always("apiVersion", 5, Text),
    always("resourceVersion", 6, Text),
    always("fieldPath", 7, Text),
];

const NAMED: &[Field] = &[always("name", 1, Text)];

const ENDPOINT: &[Field] = &[
    given("addresses", 1, Text),
    always(
        "conditions",
        2,
        Message(&[given("ready", 1, Flag), given("serving", 2, Flag), given("terminating", 3, Flag)]),
    ),
    given("hostname", 3, Text),
    given("targetRef", 4, Message(REFERENCE)),
    given("nodeName", 6, Text),
    given("zone", 7, Text),
    given("hints", 8, Message(&[given("forZones", 1, Message(NAMED)), given("forNodes", 2, Message(NAMED))])),
];

const ENDPOINT_PORT: &[Field] =
    &[given("name", 1, Text), given("protocol", 2, Text), given("port", 3, Number), given("appProtocol", 4, Text)];

const SLICE: &[Field] = &[
    always("metadata", 1, Message(METADATA)),
    given("endpoints", 2, Message(ENDPOINT)),
    given("ports", 3, Message(ENDPOINT_PORT)),
    always("addressType", 4, Text),
];

const CIDR: &[Field] =
    &[always("metadata", 1, Message(METADATA)), always("spec", 2, Message(&[given("cidrs", 1, Text)]))];

const TAINT: &[Field] = &[always("key", 1, Text), always("value", 2, Text), always("effect", 3, Text)];

const NODE: &[Field] = &[
    always("metadata", 1, Message(METADATA)),
    always(
        "spec",
        2,
        Message(&[
            always("podCIDR", 1, Text),
            always("providerID", 3, Text),
            always("unschedulable", 4, Flag),
            given("taints", 5, Message(TAINT)),
            given("podCIDRs", 7, Text),
        ]),
    ),
    always(
        "status",
        3,
        Message(&[given("addresses", 5, Message(&[always("type", 1, Text), always("address", 2, Text)]))]),
    ),
];

const STATUS: &[Field] = &[
    always("metadata", 1, Message(&[])),
    always("status", 2, Text),
    always("message", 3, Text),
    always("reason", 4, Text),
    always("code", 6, Number),
];

const LIST_METADATA: &[Field] = &[
    always("selfLink", 1, Text),
    always("resourceVersion", 2, Text),
    always("continue", 3, Text),
    given("remainingItemCount", 4, Number),
];

/// An object of a kind, as an item of a list.
pub fn item(kind: &str, object: &Value) -> Vec<u8> {
    let schema = match kind {
        "Service" => SERVICE,
        "EndpointSlice" => SLICE,
        "ServiceCIDR" => CIDR,
        "Node" => NODE,
        "Status" => STATUS,
        kind => panic!("no schema for {kind}"),
    };
    message(schema, object)
}

/// An object with what it begins with in an answer.
pub fn object(kind: &str, api_version: &str, raw: &[u8]) -> Vec<u8> {
    let mut bytes = b"k8s\0".to_vec();
    let type_meta = message(
        &[given("apiVersion", 1, Text), given("kind", 2, Text)],
        &json!({"apiVersion": api_version, "kind": kind}),
    );
    put_bytes(&mut bytes, 1, &type_meta);
    put_bytes(&mut bytes, 2, raw);
    put_bytes(&mut bytes, 3, b"");
    put_bytes(&mut bytes, 4, b"");
    bytes
}

/// A frame of a watch: an event with an object of [`object`].
pub fn frame(verb: &str, object: &[u8]) -> Vec<u8> {
    let (mut event, mut raw) = (Vec::new(), Vec::new());
    put_bytes(&mut raw, 1, object);
    put_bytes(&mut event, 1, verb.as_bytes());
    put_bytes(&mut event, 2, &raw);
    framed(&event)
}

/// Bytes behind their length.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    frame
}

/// A list with these items.
pub fn list(kind: &str, api_version: &str, metadata: &Value, items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut list = Vec::new();
    put_bytes(&mut list, 1, &message(LIST_METADATA, metadata));
    for item in items {
        put_bytes(&mut list, 2, &item);
    }
    object(&format!("{kind}List"), api_version, &list)
}

/// Fields of every form that no schema has.
pub fn unknown_fields() -> Vec<u8> {
    let mut bytes = Vec::new();
    put_number(&mut bytes, 900, 7);
    put_bytes(&mut bytes, 901, b"from the future");
    put_varint(&mut bytes, 902 << 3 | 1);
    bytes.extend_from_slice(&7u64.to_le_bytes());
    put_varint(&mut bytes, 903 << 3 | 5);
    bytes.extend_from_slice(&7u32.to_le_bytes());
    bytes
}

/// A field that is longer than what follows: no message that ends so can be read.
pub const DAMAGE: &[u8] = &[0x12, 0x7f, 1, 2, 3];

fn message(schema: &[Field], value: &Value) -> Vec<u8> {
    let empty = Map::new();
    let fields = value.as_object().unwrap_or(&empty);
    let mut bytes = Vec::new();
    for field in schema {
        match fields.get(field.name) {
            None | Some(Value::Null) if field.always => put_empty(&mut bytes, field),
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => items.iter().for_each(|item| put(&mut bytes, field, item)),
            Some(value) => put(&mut bytes, field, value),
        }
    }
    bytes
}

fn put_empty(bytes: &mut Vec<u8>, field: &Field) {
    match field.form {
        Number | Flag => put_number(bytes, field.number, 0),
        _ => put(bytes, field, &Value::Object(Map::new())),
    }
}

fn put(bytes: &mut Vec<u8>, field: &Field, value: &Value) {
    let number = field.number;
    match (&field.form, value) {
        (Form::Map, Value::Object(entries)) => {
            for (key, value) in entries {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                match value {
                    Value::Number(value) => put_number(&mut entry, 2, value.as_i64().unwrap().cast_unsigned()),
                    value => put_bytes(&mut entry, 2, value.as_str().unwrap_or_default().as_bytes()),
                }
                put_bytes(bytes, number, &entry);
            }
        }
        (Json, value) => {
            let mut raw = Vec::new();
            put_bytes(&mut raw, 1, value.to_string().as_bytes());
            put_bytes(bytes, number, &raw);
        }
        (Either, value) => {
            let mut either = Vec::new();
            put_number(&mut either, 1, value.is_string().into());
            put_number(&mut either, 2, value.as_u64().unwrap_or_default());
            put_bytes(&mut either, 3, value.as_str().unwrap_or_default().as_bytes());
            put_bytes(bytes, number, &either);
        }
        (Time, Value::String(text)) => {
            let mut time = Vec::new();
            let parsed = text.parse::<jiff::Timestamp>().map_or(i64::MAX, |time| time.as_second());
            put_number(&mut time, 1, parsed.cast_unsigned());
            put_number(&mut time, 2, 0);
            put_bytes(bytes, number, &time);
        }
        (_, Value::Number(value)) => put_number(bytes, number, value.as_i64().unwrap().cast_unsigned()),
        (_, Value::Bool(value)) => put_number(bytes, number, (*value).into()),
        (_, Value::String(text)) => put_bytes(bytes, number, text.as_bytes()),
        (Message(schema), value) => put_bytes(bytes, number, &message(schema, value)),
        (_, _) => put_bytes(bytes, number, b""),
    }
}

fn put_number(bytes: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(bytes, u64::from(number) << 3);
    put_varint(bytes, value);
}

fn put_bytes(bytes: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_varint(bytes, u64::from(number) << 3 | 2);
    put_varint(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
