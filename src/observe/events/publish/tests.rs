use super::super::EventType;
use super::*;

fn note(kind: Kind, name: ObjectName, on_every_node: bool) -> EventNote {
    let about = ObjectRef { kind, name };
    let text = "left out 203.0.113.1:80/tcp".to_owned();
    EventNote { about, event_type: EventType::Warning, reason: "FrontendTaken", action: "Program", text, on_every_node }
}

fn written(node: &str, note: &EventNote, uid: &str, second: i64) -> serde_json::Value {
    let now = Timestamp::from_second(second).unwrap();
    event(node, note, &ObjectPlace::new(&note.about).unwrap(), uid, now)
}

#[test]
fn every_node_gives_an_event_of_the_cluster_the_same_name() {
    let shared = note(Kind::Service, ObjectName::new("shop", "web"), true);
    let name = |node, uid, second| written(node, &shared, uid, second)["metadata"]["name"].clone();
    assert_eq!(name("node-a", "1", 1), name("node-b", "1", 2));
    assert_ne!(name("node-a", "1", 1), name("node-a", "2", 1), "a Service that was deleted and created again");
    let own = note(Kind::Service, ObjectName::new("shop", "web"), false);
    let name = |node, second| written(node, &own, "1", second)["metadata"]["name"].clone();
    assert!(name("node-a", 1) != name("node-b", 1) && name("node-a", 1) != name("node-a", 2));
}

#[test]
fn an_event_has_what_the_api_asks_for() {
    let event = written("node-a", &note(Kind::Service, ObjectName::new("shop", "web"), true), "7", 1_767_323_045);
    let name = event["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web.") && name.len() == 20, "{name}");
    assert_eq!(event["eventTime"], "2026-01-02T03:04:05.000000Z");
    assert_eq!((&event["reportingController"], &event["reportingInstance"]), (&"pointsman".into(), &"node-a".into()));
    let regarding = json!({"apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web", "uid": "7"});
    assert_eq!(event["regarding"], regarding);
    assert_eq!(event["metadata"]["namespace"], "shop");
}

#[test]
fn events_of_a_node_are_in_the_namespace_default() {
    let node = note(Kind::Node, ObjectName::cluster_scoped("node-a"), false);
    assert_eq!(written("node-a", &node, "node-a", 1)["metadata"]["namespace"], "default");
}

#[test]
fn long_texts_and_names_are_cut_between_characters() {
    let long =
        EventNote { text: "ü".repeat(2_000), ..note(Kind::Service, ObjectName::new("shop", "w".repeat(253)), true) };
    let event = written("node-a", &long, "1", 1);
    assert!(event["note"].as_str().unwrap().len() <= MAX_TEXT);
    assert!(event["metadata"]["name"].as_str().unwrap().len() <= 253);
    assert_eq!((cut("aü", 2), cut("aü", 3), cut("", 5)), ("a", "aü", ""));
}

#[test]
fn names_that_no_server_admits_do_not_get_into_a_path() {
    for (namespace, name) in
        [("shop", ""), ("shop", "a/b"), ("a?b", "web"), ("..", "web"), ("shop", "a b"), ("shop", "%2e")]
    {
        assert!(
            ObjectPlace::new(&ObjectRef { kind: Kind::Service, name: ObjectName::new(namespace, name) }).is_none(),
            "{namespace} {name}"
        );
    }
}
