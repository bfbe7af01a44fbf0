//! Protobuf and JSON say the same, and no bytes at all make the reader panic.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::state::{Decoded, EndpointSlice, Node, Service, ServiceCidr};
use crate::watch::decode::{Interner, NotProxied, WatchedKind};
use crate::watch::wire::{AnswerStatus, Encoding, ListPage, RawObject, ServiceFields, WatchEvent};

#[path = "../../../../tests/common/apiserver/protobuf.rs"]
#[allow(dead_code, clippy::expect_used, clippy::unwrap_used, reason = "test helpers, shared with the test API server")]
mod encode;

type Outcome<T> = Result<Decoded<T>, NotProxied>;

/// The object as both encodings give it.
fn both<T: WatchedKind>(object: &Json) -> (Outcome<T>, Outcome<T>) {
    let wire: T::Wire = serde_json::from_str(&object.to_string()).unwrap();
    let from_json = T::decode(wire, &mut Interner::default());
    let bytes = encode::item(T::KIND.label(), object);
    let from_protobuf = T::decode(T::Wire::from_protobuf(&bytes).unwrap(), &mut Interner::default());
    (from_json, from_protobuf)
}

/// A field that may be left out, null, or one of these.
fn field(values: impl Strategy<Value = Json> + 'static) -> BoxedStrategy<Option<Json>> {
    prop_oneof![1 => Just(None), 1 => Just(Some(Json::Null)), 6 => values.prop_map(Some)].boxed()
}

/// A text, or a number in its place.
fn text(texts: &'static [&'static str]) -> BoxedStrategy<Option<Json>> {
    let texts = proptest::sample::select(texts).prop_map(Json::from);
    field(prop_oneof![12 => texts, 1 => (1_i64..70_000).prop_map(Json::from)])
}

/// A number, or a text in its place.
fn any_number() -> BoxedStrategy<Json> {
    let numbers = prop_oneof![-2_i64..3, 65_530_i64..65_540, 1_i64..90_000, Just(i64::MIN), Just(i64::MAX)];
    prop_oneof![8 => numbers.prop_map(Json::from), 1 => Just(json!("http"))].boxed()
}

/// The same, where it may be left out.
fn number() -> BoxedStrategy<Option<Json>> {
    field(any_number())
}

/// A field as the server writes it in JSON: not at all where it is empty or zero.
fn unless_empty(values: BoxedStrategy<Option<Json>>) -> BoxedStrategy<Option<Json>> {
    values.prop_map(|value| value.filter(|value| *value != json!("") && *value != json!(0))).boxed()
}

/// A list of these, or none.
fn list(items: BoxedStrategy<Option<Json>>) -> BoxedStrategy<Option<Json>> {
    let items = items.prop_map(|item| item.filter(|item| !item.is_null()).unwrap_or_else(|| json!(7)));
    let items = prop_oneof![15 => items, 1 => Just(json!(0))];
    field(proptest::collection::vec(items, 0..4).prop_map(Json::from))
}

/// An object with these fields, those that are not left out.
fn object(fields: Vec<(&'static str, BoxedStrategy<Option<Json>>)>) -> BoxedStrategy<Option<Json>> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let of = move |values: Vec<Option<Json>>| {
        let given = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        Some(Json::Object(given.collect()))
    };
    values.prop_map(of).boxed()
}

fn metadata(namespaced: bool) -> BoxedStrategy<Option<Json>> {
    const LABELS: &[&str] = &["web", "", "zone-1", "other-proxy"];
    let label = || text(LABELS).prop_map(|label| label.filter(|label| !label.is_null())).boxed();
    let mut fields = vec![
        ("name", text(&["web", "web-1", "", "a.b-c"])),
        ("uid", field(prop_oneof![Just(json!("5d1c1a52-0000-4000-8000-00000000abcd")), Just(json!("u"))])),
        ("resourceVersion", text(&["1", "999999999"])),
        (
            "creationTimestamp",
            field(prop_oneof![Just(json!("2026-01-02T03:04:05Z")), Just(json!("1970-01-01T00:00:01Z"))]),
        ),
        ("deletionTimestamp", field(Just(json!("2026-01-02T03:04:05Z")))),
        (
            "labels",
            object(vec![
                ("kubernetes.io/service-name", label()),
                ("topology.kubernetes.io/zone", label()),
                ("app", label()),
                ("service.kubernetes.io/headless", prop_oneof![9 => Just(None), 1 => label()].boxed()),
                ("service.kubernetes.io/service-proxy-name", prop_oneof![9 => Just(None), 1 => label()].boxed()),
            ]),
        ),
    ];
    if namespaced {
        fields.push(("namespace", text(&["shop", "default", ""])));
    }
    object(fields)
}

const ADDRESSES: &[&str] = &[
    "10.1.0.1",
    "10.1.0.2",
    "172.30.0.041",
    "fd00::1",
    "::ffff:10.0.0.9",
    "127.0.0.1",
    "banana",
    "",
    "None",
    "10.0.0.256",
    "2001:db8::5",
];
const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP", "", "QUIC", "tcp"];

fn service_port() -> BoxedStrategy<Option<Json>> {
    object(vec![
        ("name", text(&["http", "", "dns"])),
        ("protocol", text(PROTOCOLS)),
        // The server always writes it.
        ("port", any_number().prop_map(Some).boxed()),
        ("nodePort", number()),
        ("targetPort", field(prop_oneof![Just(json!("http")), Just(json!(8080))])),
    ])
}

fn endpoint_port() -> BoxedStrategy<Option<Json>> {
    object(vec![("name", text(&["http", "", "dns"])), ("protocol", text(PROTOCOLS)), ("port", number())])
}

fn service() -> BoxedStrategy<Json> {
    let timeout = object(vec![("clientIP", object(vec![("timeoutSeconds", number())]))]);
    let spec = object(vec![
        ("type", text(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName", ""])),
        ("clusterIP", unless_empty(text(ADDRESSES))),
        ("clusterIPs", list(text(ADDRESSES))),
        ("ipFamilies", list(text(&["IPv4", "IPv6", "", "IPv5"]))),
        ("internalTrafficPolicy", text(&["Local", "Cluster", ""])),
        ("externalTrafficPolicy", text(&["Local", "Cluster", ""])),
        ("sessionAffinity", text(&["None", "ClientIP", ""])),
        ("sessionAffinityConfig", timeout),
        ("externalIPs", list(text(ADDRESSES))),
        ("loadBalancerSourceRanges", list(text(&["10.0.0.0/8", " fd00::/64 ", "banana", "10.0.0.1/33"]))),
        ("healthCheckNodePort", unless_empty(number())),
        ("ports", list(service_port())),
        ("selector", object(vec![("app", text(&["web"]).prop_map(|app| app.filter(Json::is_string)).boxed())])),
    ]);
    let ingress = object(vec![
        ("ip", text(ADDRESSES)),
        ("hostname", text(&["lb.example"])),
        ("ipMode", text(&["VIP", "Proxy", ""])),
    ]);
    let status = object(vec![("loadBalancer", object(vec![("ingress", list(ingress))]))]);
    whole(object(vec![("metadata", metadata(true)), ("spec", spec), ("status", status)]))
}

fn slice() -> BoxedStrategy<Json> {
    let flag = || field(any::<bool>().prop_map(Json::from));
    let named = || list(object(vec![("name", text(&["zone-1", "zone-2", ""]))]));
    let endpoint = object(vec![
        ("addresses", list(text(ADDRESSES))),
        ("conditions", object(vec![("ready", flag()), ("serving", flag()), ("terminating", flag())])),
        ("nodeName", text(&["node-1", "node-2", ""])),
        ("zone", text(&["zone-1"])),
        ("hints", object(vec![("forZones", named()), ("forNodes", named())])),
    ]);
    whole(object(vec![
        ("metadata", metadata(true)),
        // The server always writes it.
        (
            "addressType",
            proptest::sample::select(&["IPv4", "IPv6", "FQDN", "", "IPv5"]).prop_map(|kind| Some(json!(kind))).boxed(),
        ),
        ("endpoints", list(endpoint)),
        ("ports", list(endpoint_port())),
    ]))
}

fn node() -> BoxedStrategy<Json> {
    let taint = object(vec![("key", text(&["ToBeDeletedByClusterAutoscaler", "other", ""]))]);
    let address = object(vec![("type", text(&["InternalIP", "ExternalIP", "Hostname"])), ("address", text(ADDRESSES))]);
    whole(object(vec![
        ("metadata", metadata(false)),
        ("spec", object(vec![("taints", list(taint)), ("podCIDRs", list(text(&["10.0.0.0/8", "banana"])))])),
        ("status", object(vec![("addresses", list(address))])),
    ]))
}

fn cidr() -> BoxedStrategy<Json> {
    let cidrs = list(text(&["10.96.0.1/12", "banana", "fd00::/108", ""]));
    whole(object(vec![("metadata", metadata(false)), ("spec", object(vec![("cidrs", cidrs)]))]))
}

/// An object that is there.
fn whole(object: BoxedStrategy<Option<Json>>) -> BoxedStrategy<Json> {
    object.prop_map(Option::unwrap_or_default).boxed()
}

/// Bytes that may be a message, and messages with some bytes changed, cut off or put in.
fn damaged() -> BoxedStrategy<Vec<u8>> {
    let messages = prop_oneof![
        service().prop_map(|object| encode::item("Service", &object)),
        slice().prop_map(|object| encode::item("EndpointSlice", &object)),
        slice().prop_map(|object| {
            let item = encode::item("EndpointSlice", &object);
            encode::frame("ADDED", &encode::object("EndpointSlice", "discovery.k8s.io/v1", &item))
        }),
    ];
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..6);
    let changed = (messages, changes).prop_map(|(mut bytes, changes)| {
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match how {
                _ if bytes.is_empty() => bytes.push(byte),
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    });
    prop_oneof![2 => changed, 1 => proptest::collection::vec(any::<u8>(), 0..200)].boxed()
}

proptest! {
    #[test]
    fn a_service_is_the_same_in_both_encodings(object in service()) {
        let (json, protobuf) = both::<Service>(&object);
        prop_assert_eq!(protobuf, json);
    }

    #[test]
    fn a_slice_is_the_same_in_both_encodings(object in slice()) {
        let (json, protobuf) = both::<EndpointSlice>(&object);
        prop_assert_eq!(protobuf, json);
    }

    #[test]
    fn a_node_is_the_same_in_both_encodings(object in node()) {
        let (json, protobuf) = both::<Node>(&object);
        prop_assert_eq!(protobuf, json);
    }

    #[test]
    fn a_service_cidr_is_the_same_in_both_encodings(object in cidr()) {
        let (json, protobuf) = both::<ServiceCidr>(&object);
        prop_assert_eq!(protobuf, json);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in damaged()) {
        let names = &mut Interner::default();
        if let Ok(wire) = <Service as WatchedKind>::Wire::from_protobuf(&bytes) {
            let _ = Service::decode(wire, names);
        }
        if let Ok(wire) = <EndpointSlice as WatchedKind>::Wire::from_protobuf(&bytes) {
            let _ = EndpointSlice::decode(wire, names);
        }
        if let Ok(wire) = <Node as WatchedKind>::Wire::from_protobuf(&bytes) {
            let _ = Node::decode(wire, names);
        }
        let _ = RawObject::Protobuf(&bytes).metadata();
        let _ = AnswerStatus::read(Encoding::Protobuf, 500, &bytes);
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let _ = WatchEvent::read(encoding, &bytes).map(|event| event.object.status());
            let _ = ListPage::read(encoding, &bytes);
        }
    }
}

#[test]
fn fields_of_every_form_that_no_schema_has_are_skipped() {
    let object = json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.1"}});
    let mut bytes = encode::unknown_fields();
    bytes.extend(encode::item("Service", &object));
    bytes.extend(encode::unknown_fields());
    let fields = ServiceFields::from_protobuf(&bytes).unwrap();
    assert_eq!(fields.spec.or_default().cluster_ip, Scalar::Text("10.96.0.1".into()));
}

#[test]
fn a_message_that_comes_twice_has_what_both_say_and_the_last_value_of_each_field() {
    let halves = [
        json!({"metadata": {"name": "x"}, "spec": {"internalTrafficPolicy": "Local", "ports": [{"port": 80}]}}),
        json!({"metadata": {"name": "y"}, "spec": {"ports": [{"port": 81}]}}),
    ];
    let bytes: Vec<u8> = halves.iter().flat_map(|half| encode::item("Service", half)).collect();
    let fields = ServiceFields::from_protobuf(&bytes).unwrap();
    let (metadata, spec) = (fields.metadata.or_default(), fields.spec.or_default());
    assert_eq!(metadata.name.as_str(), Some("y"));
    assert_eq!(spec.internal_traffic_policy.as_str(), Some("Local"));
    assert_eq!(spec.ports.into_vec().len(), 2);
    // A number in place of the message, and the message again.
    let bytes = [vec![2 << 3, 7], encode::item("Service", &halves[0])].concat();
    let spec = ServiceFields::from_protobuf(&bytes).unwrap().spec.or_default();
    assert_eq!(spec.internal_traffic_policy.as_str(), Some("Local"));
}

#[test]
fn bytes_that_are_no_text_cost_only_their_field() {
    let fields = ServiceFields::from_protobuf(&[0x12, 4, 0x1a, 2, 0xff, 0xfe, 0x0a, 2, 0x0a, 0]).unwrap();
    assert_eq!(fields.spec.or_default().cluster_ip, Scalar::Compound("bytes that are no text"));
}

#[test]
fn malformed_bytes_are_named() {
    let error = |bytes: &[u8]| ServiceFields::from_protobuf(bytes).unwrap_err();
    assert_eq!(error(&[0x12, 5, 1]), Malformed::Length);
    assert_eq!(error(&[0x08, 0x80]), Malformed::Length);
    assert_eq!(error(&[0x12, 2, 0x0a, 7]), Malformed::Length, "a field is longer than the message that it is in");
    assert_eq!(error(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), Malformed::Number);
    assert_eq!(error(&[0x0b]), Malformed::Form(3));
    assert_eq!(error(&[0x00, 0x00]), Malformed::FieldNumber(0));
    let list = ListPage::read(Encoding::Protobuf, b"{\"items\":[]}").unwrap_err();
    assert!(list.to_string().contains("does not begin with k8s"), "{list}");
}

#[test]
fn the_fields_of_one_number_are_counted_up_to_the_first_damage() {
    let fields = FieldReader { rest: &[0x08, 1, 0x12, 1, 7, 0x12, 0, 0x18, 3, 0x12] };
    assert_eq!([1, 2, 3, 4].map(|number| fields.count(number)), [1, 2, 1, 0]);
}

#[test]
fn a_damaged_object_keeps_the_metadata_before_the_damage() {
    let object = json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}});
    let mut bytes = encode::item("Service", &object);
    bytes.extend_from_slice(encode::DAMAGE);
    assert_eq!(ServiceFields::from_protobuf(&bytes).unwrap_err(), Malformed::Length);
    let metadata = RawObject::Protobuf(&bytes).metadata();
    assert_eq!((metadata.name.as_str(), metadata.resource_version.as_str()), (Some("web"), Some("7")));
}

#[test]
fn a_status_is_the_same_in_both_encodings() {
    let status = json!({"message": "too old", "reason": "Expired", "code": 410});
    let expected = AnswerStatus { code: 410, reason: "Expired".to_owned(), message: "too old".to_owned() };
    let protobuf = encode::object("Status", "v1", &encode::item("Status", &status));
    assert_eq!(AnswerStatus::read(Encoding::Protobuf, 410, &protobuf), expected);
    assert_eq!(AnswerStatus::read(Encoding::Json, 410, status.to_string().as_bytes()), expected);
    let page = AnswerStatus::read(Encoding::Json, 502, b"<html>Bad gateway</html>");
    assert_eq!(page, AnswerStatus { code: 502, ..AnswerStatus::default() });
}
