use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::apply::MemoryKernel;
use crate::dataplane::{EndpointList, LocalPods, Options};
use crate::diff::{Acknowledged, Scope, diff};
use crate::fixtures::{World, frontend, scope, service, service_cidr, slice};
use crate::state::Event;

/// The IPv4 table of [`world`] as nft 1.1.3 lists it, one object per line.
const LISTING: &str = include_str!("listing.json");

fn world() -> World {
    let mut world = World::new();
    let web = service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]).ports(&["http 80/tcp", "dns 53/udp"]);
    let cidrs = ["10.97.0.0/16", "10.98.0.0/16", "10.98.255.0/24", "10.120.0.1/32", "fd00:96::/112"];
    world.apply(web);
    world.apply(slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r"));
    world.apply(Event::ServiceCidrApplied(service_cidr("kubernetes", &cidrs)));
    world
}

fn scope_of_listing() -> Scope {
    let local_pods = LocalPods::Networks(vec!["10.1.0.0/16".parse().unwrap()]);
    let scope = Scope::dual_stack(Options { local_pods, ..Options::default() });
    Scope { families: vec![Family::Ip], ..scope }
}

fn read(json: &Value) -> TableContents {
    table(Family::Ip, json.to_string().as_bytes()).unwrap()
}

/// The contents of a table with one object.
fn read_one(object: &Value) -> TableContents {
    read(&json!({"nftables": [{"metainfo": {"json_schema_version": 1}}, {"table": {"name": "pointsman"}}, object]}))
}

/// Whether a set of the type of `external` with these members is recognised, and its elements.
fn read_external(elements: &Value, more: &[(&str, Value)]) -> (bool, Vec<Element>) {
    let key = field_types(Family::Ip, SetName::External.definition().key);
    let mut set =
        json!({"family": "ip", "name": "external", "table": "pointsman", "type": {"typeof": key}, "elem": elements});
    for (name, value) in more {
        set[*name] = value.clone();
    }
    let contents = read_one(&json!({"set": set}));
    (contents.sets["external"].recognised, contents.elements)
}

#[test]
fn a_listing_is_read_as_the_table_that_was_written() {
    let mut kernel = MemoryKernel::new();
    let plan = diff(&Acknowledged::empty(), world().desired(), &scope_of_listing());
    kernel.apply(&plan.operations).unwrap();
    let mut expected = kernel.contents(&[Family::Ip]).get(Family::Ip).cloned().unwrap();
    let mut found = table(Family::Ip, LISTING.as_bytes()).unwrap();
    found.elements.sort();
    expected.elements.sort();
    assert_eq!(found, expected);
}

#[test]
fn elements_are_read_with_and_without_a_comment() {
    let plain = json!({"concat": ["10.96.0.1", "tcp", 80]});
    let commented = json!({"elem": {"val": plain, "comment": "shop/web:http"}});
    for (element, comment) in [(plain.clone(), None), (commented, Some("shop/web:http"))] {
        let (recognised, elements) = read_external(&json!([element]), &[]);
        assert!(recognised);
        assert_eq!(elements[0].key, Key::Frontend(frontend("10.96.0.1 80/tcp")));
        assert_eq!(elements[0].comment.as_deref(), comment);
    }
}

#[test]
fn a_set_with_an_element_that_the_program_never_writes_is_not_recognised() {
    for elements in [
        json!(["10.96.0.1"]),
        json!([{"concat": ["10.96.0.1", "tcp"]}]),
        json!([{"concat": ["10.96.0.1", "tcp", 65_536]}]),
        json!([{"concat": ["10.96.0.1", "tcp", -1]}]),
        json!([{"concat": ["10.96.0.1", "tcp", "http"]}]),
        json!([{"concat": ["10.96.0.1", "icmp", 80]}]),
        json!([{"concat": ["10.96.0.1", "tcp", {"range": [80, 90]}]}]),
        json!([{"concat": [{"prefix": {"addr": "10.96.0.0", "len": 16}}, "tcp", 80]}]),
        json!([[{"concat": ["10.96.0.1", "tcp", 80]}, {"accept": null}]]),
        json!([[{"concat": ["10.96.0.1", "tcp", 80]}]]),
        json!([null, 1.5, true, [], {}]),
        json!([{"elem": {"val": {"range": ["a", "b"]}, "timeout": 5}}]),
    ] {
        assert!(!read_external(&elements, &[]).0, "{elements}");
    }
}

#[test]
fn a_set_of_another_type_or_with_other_flags_is_not_recognised() {
    for (field, value) in [
        ("type", json!("ipv4_addr")),
        ("type", json!(["ipv4_addr", "inet_proto", "inet_service"])),
        ("type", json!({"typeof": {"payload": {"protocol": "ip", "field": "daddr"}}})),
        ("type", Value::Null),
        ("flags", json!("timeout")),
        ("flags", json!(["interval"])),
        ("flags", json!(["dynamic", "timeout"])),
        ("flags", json!(7)),
    ] {
        assert!(!read_external(&json!([]), &[(field, value.clone())]).0, "{field}: {value}");
    }
    for (field, value) in [("handle", json!(9)), ("size", json!(100)), ("flags", json!([]))] {
        assert!(read_external(&json!([]), &[(field, value.clone())]).0, "{field}: {value}");
    }
}

#[test]
fn interval_sets_need_their_flag_in_either_form() {
    let ty = json!({"typeof": field_types(Family::Ip, SetName::ServiceCidrs.definition().key)});
    let with_flags = |flags| {
        let set = json!({"set": {"name": "service-cidrs", "type": ty, "flags": flags, "elem": ["10.96.0.1"]}});
        read_one(&set).sets["service-cidrs"].recognised
    };
    assert!(with_flags(json!(["interval"])) && with_flags(json!("interval")));
    assert!(!with_flags(Value::Null) && !with_flags(json!(["interval", "auto-merge"])));
}

#[test]
fn a_set_in_place_of_a_map_is_not_recognised() {
    let ty = json!({"typeof": field_types(Family::Ip, SetName::Endpoints(EndpointList::Any).definition().key)});
    let endpoints = |kind: &str| read_one(&json!({kind: {"name": "endpoints", "type": ty}})).sets["endpoints"];
    assert_eq!(endpoints("map"), SetContents { is_map: true, recognised: true, capacity: None });
    assert_eq!(endpoints("set"), SetContents { is_map: false, recognised: false, capacity: None });
}

#[test]
fn foreign_sets_are_recorded_without_their_elements() {
    let contents = read_one(&json!({"set": {"name": "blocklist", "type": "ipv4_addr", "elem": ["192.0.2.1"]}}));
    assert_eq!(contents.sets["blocklist"], SetContents { is_map: false, recognised: false, capacity: None });
    assert_eq!(contents.elements, []);
}

#[test]
fn objects_of_other_kinds_are_skipped() {
    for kind in ["flowtable", "counter", "quota", "limit", "ct helper", "element", "nonsense"] {
        assert_eq!(read_one(&json!({kind: {"name": "x", "table": "pointsman"}})), TableContents::default(), "{kind}");
    }
}

#[test]
fn a_base_chain_of_another_kind_is_foreign() {
    let base = json!({"name": "c", "type": "filter", "hook": "input", "prio": 0, "policy": "accept"});
    let read_base = |field: &str, value: Value| {
        let mut chain = base.clone();
        chain[field] = value;
        let chain = read_one(&json!({"chain": chain})).chains["c"].clone();
        (chain.base.is_some(), chain.foreign_base)
    };
    assert_eq!(read_base("prio", json!(-100)), (true, false));
    for (field, value) in [
        ("policy", json!("drop")),
        ("policy", Value::Null),
        ("hook", json!("ingress")),
        ("type", json!("route")),
        ("prio", json!("filter")),
        ("prio", json!(9_999_999_999_i64)),
    ] {
        assert_eq!(read_base(field, value.clone()), (false, true), "{field}: {value}");
    }
    assert_eq!(read_base("hook", Value::Null), (false, false), "a regular chain");
}

#[test]
fn the_first_rule_gives_the_fingerprint_and_all_rules_are_counted() {
    let rule = |comment: Value| json!({"rule": {"chain": "c", "comment": comment, "expr": []}});
    let chain_of = |comments: &[Value]| {
        let rules = comments.iter().cloned().map(rule);
        let items: Vec<Value> = rules.chain([json!({"chain": {"name": "c"}})]).collect();
        let chain = read(&json!({"nftables": items})).chains["c"].clone();
        (chain.rules, chain.fingerprint)
    };
    assert_eq!(chain_of(&[]), (0, None));
    assert_eq!(chain_of(&[json!("program 00000000000000ff"), json!("program 1")]), (2, Some(255)));
    assert_eq!(chain_of(&[Value::Null, json!("program 1")]), (2, None));
    assert_eq!(chain_of(&[json!("program xyz")]), (1, None));
}

#[test]
fn input_that_is_no_listing_is_an_error() {
    let nested = format!("{{\"nftables\":[{{\"set\":{{\"name\":\"s\",\"type\":0,\"elem\":{}", "[".repeat(100_000));
    for text in
        ["", "null", "[]", "{}", r#"{"nftables":{}}"#, r#"{"nftables":[{"chain":{}}]}"#, &LISTING[..9_000], &nested]
    {
        assert!(table(Family::Ip, text.as_bytes()).is_err(), "{text:.60}");
    }
}

/// A value that may stand anywhere in a listing.
fn junk() -> impl Strategy<Value = Value> {
    let words =
        ["", "10.96.0.1", "fd00::1", "10.96.0.0/16", "tcp", "endpoints", "slots-4", "interval", "input", "@internal"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u32..70_000).prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".*".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"concat": ["10.96.0.1", "tcp", 80]})),
        Just(json!({"prefix": {"addr": "10.96.0.0", "len": 200}})),
        Just(json!({"elem": {"val": {"elem": {"val": "x"}}}})),
        Just(json!({"concat": [{"concat": [[]]}]})),
    ]
}

/// Collects the JSON pointers of all values of a listing.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => (0..).zip(items).for_each(|(n, item)| pointers(item, &format!("{at}/{n}"), found)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| pointers(field, &format!("{at}/{name}"), found))
        }
        _ => {}
    }
}

/// The listing without the rules' expressions, which are not parsed, and the JSON pointers of its values.
fn lean_listing() -> (Value, Vec<String>) {
    let mut listing: Value = serde_json::from_str(LISTING).unwrap();
    for item in listing["nftables"].as_array_mut().unwrap() {
        if let Some(rule) = item.get_mut("rule") {
            rule["expr"].take();
        }
    }
    let mut found = Vec::new();
    pointers(&listing, "", &mut found);
    (listing, found)
}

/// Checks that a plan from these contents leads to a state that needs no other plan.
fn assert_mends(contents: TableContents) -> Result<(), TestCaseError> {
    let mut tables = crate::dataplane::Tables::default();
    tables.set(Family::Ip, Some(contents));
    let desired = world().desired().clone();
    let plan = diff(&Acknowledged::from(tables), &desired, &scope());
    prop_assert!(diff(&plan.next.unverified(), &desired, &scope()).is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn damaged_listings_are_read_or_refused_and_can_be_mended(
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(junk())), 1..6),
    ) {
        let (mut listing, at) = lean_listing();
        for (index, junk) in damage {
            // The deeper values are the more numerous, and so hit most.
            // The deeper values are the more numerous, and so hit most.
            let Some(value) = listing.pointer_mut(&at[index.index(at.len())]) else { continue };
            match (junk, value) {
                (Some(junk), value) => *value = junk,
                (None, Value::Array(items)) => items.extend(items.clone()),
                (None, value) => *value = json!([value]),
            }
        }
        if let Ok(contents) = table(Family::Ip, listing.to_string().as_bytes()) {
            assert_mends(contents)?;
        }
    }

    #[test]
    fn listings_with_damaged_bytes_are_read_or_refused(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = LISTING.as_bytes().to_vec();
        for (index, byte) in damage {
            *index.get_mut(&mut bytes) = byte;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(contents) = table(Family::Ip, &bytes) {
            assert_mends(contents)?;
        }
    }
}
