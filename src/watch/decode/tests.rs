use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::state::{EndpointSlice, Node, Service, ServiceCidr};

/// Names of fields that are read, so that values often land in one of them.
const FIELDS: &[&str] = &[
    "metadata",
    "name",
    "namespace",
    "labels",
    "creationTimestamp",
    "deletionTimestamp",
    "spec",
    "type",
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "internalTrafficPolicy",
    "ports",
    "port",
    "protocol",
    "addressType",
    "endpoints",
    "addresses",
    "conditions",
    "ready",
    "serving",
    "terminating",
    "nodeName",
    "cidrs",
    "taints",
    "key",
    "kubernetes.io/service-name",
    "service.kubernetes.io/headless",
    "service.kubernetes.io/service-proxy-name",
];

/// Texts with a meaning in some field.
const TEXTS: &[&str] = &[
    "",
    "web",
    "None",
    "ExternalName",
    "IPv4",
    "IPv6",
    "FQDN",
    "TCP",
    "UDP",
    "SCTP",
    "ICMP",
    "Local",
    "10.96.0.1",
    "010.001.0.255",
    "10.0.0.256",
    "fd00::1",
    "::ffff:10.0.0.1",
    "127.0.0.1",
    "banana",
    "10.96.0.0/12",
    "fd00::/108",
    "10.0.0.0/99",
    "2026-01-02T03:04:05Z",
    "ToBeDeletedByClusterAutoscaler",
    "é\u{0}\n\"",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![0..70_000_i64, any::<i64>()].prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(TEXTS).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(FIELDS), inner, 0..8).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>()
            )),
        ]
    })
}

/// Decodes the value as an object of this kind, and takes its event through a journal.
fn check<T: WatchedKind>(json: &str) -> Result<(), TestCaseError> {
    let wire = serde_json::from_str::<T::Wire>(json);
    // Only a value that is not an object has no wire form.
    prop_assert!(wire.is_ok() || !json.starts_with('{'), "{json}: {wire:?}");
    let Ok(wire) = wire else { return Ok(()) };
    let event = T::event(T::decode(wire, &mut Interner::default()));
    let line = serde_json::to_string(&event).unwrap();
    prop_assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_object_decodes_to_an_event_that_survives_a_journal(value in any_json()) {
        let json = value.to_string();
        check::<Service>(&json)?;
        check::<EndpointSlice>(&json)?;
        check::<ServiceCidr>(&json)?;
        check::<Node>(&json)?;
    }
}
