//! Protobuf, and JSON where the server or something on the way does not speak it.

use std::time::Duration;

use pointsman::state::Kind;
use pointsman::watch::KubernetesOptions;

use super::common::apiserver::{ApiServer, Fault, Format, Protobuf, Resource, Verb, service, slice};
use super::common::watching::Watching;
use super::{keep_logs, logged, options, small_cluster};

const IN_PROTOBUF: Format = Format::Protobuf { unknown_fields: false };

/// Everything that a source says of a small cluster and of some changes.
async fn story(server: &ApiServer, options: KubernetesOptions) -> Vec<String> {
    let mut watching = Watching::with(server, options);
    watching.synced().await;
    let mut seen: Vec<String> = watching.seen.iter().map(|object| format!("{object:?}")).collect();
    server.apply(slice("default/a-1", "a", &["10.1.0.9", "banana", "10.1.0.10"]));
    server.apply(service("default/new", "10.96.0.9"));
    server.delete(Resource::Services, "default/b");
    watching.until("the changes", |seen| seen.log.len() == 7).await;
    seen.extend(watching.seen.iter().map(|object| format!("{object:?}")));
    seen
}

#[tokio::test]
async fn a_cluster_is_the_same_in_both_encodings() {
    for streaming_lists in [true, false] {
        let (first, second) = (small_cluster(), small_cluster());
        let protobuf = story(&first, KubernetesOptions { streaming_lists, ..options() }).await;
        let json = story(&second, KubernetesOptions { streaming_lists, protobuf: false, ..options() }).await;
        assert_eq!(protobuf, json);
        assert!(first.formats().iter().all(|format| *format == IN_PROTOBUF), "{:?}", first.formats());
        assert!(second.formats().iter().all(|format| *format == Format::Json), "{:?}", second.formats());
    }
}

#[tokio::test]
async fn fields_of_a_later_version_change_nothing() {
    let (today, later) = (small_cluster(), small_cluster());
    later.protobuf(Protobuf::WithUnknownFields);
    assert_eq!(story(&later, options()).await, story(&today, options()).await);
}

#[tokio::test]
async fn json_is_read_where_it_comes_although_protobuf_was_asked_for() {
    let (spoken, ignored) = (small_cluster(), small_cluster());
    ignored.protobuf(Protobuf::Ignored);
    assert_eq!(story(&ignored, options()).await, story(&spoken, options()).await);
    assert!(ignored.formats().iter().all(|format| *format == Format::Json));
}

#[tokio::test]
async fn a_server_that_refuses_protobuf_is_asked_for_json_from_then_on() {
    keep_logs();
    for code in [406, 415] {
        let server = small_cluster();
        server.protobuf(Protobuf::Refused(code));
        let mut watching = Watching::with(&server, options());
        watching.synced().await;
        assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
        server.apply(service("default/new", "10.96.0.9"));
        watching.until("the change", |seen| seen.has(Kind::Service, "default/new", "")).await;
        assert_eq!(
            server.requests_for(Resource::Services, Verb::StreamingList),
            1,
            "streaming lists are still asked for"
        );
    }
    assert_eq!(logged("does not speak protobuf").len(), 2 * 4, "each kind once: {:#?}", logged(""));
}

#[tokio::test]
async fn answers_that_are_damaged_on_the_way_lead_to_json() {
    let server = small_cluster();
    for fault in [Fault::Garbage, Fault::Garbage, Fault::Garbage] {
        server.fail(Resource::Services, Some(Verb::StreamingList), fault, Some(1));
    }
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
    assert_eq!(server.formats().iter().filter(|format| **format == Format::Json).count(), 1, "only the Services");
}

#[tokio::test]
async fn a_wrong_length_neither_fills_the_memory_nor_stops_the_watch() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(4), Some(1));
    server.fail(Resource::Services, Some(Verb::Watch), Fault::WrongLength, Some(1));
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    server
        .until("a watch after the damaged one", |server| server.requests_for(Resource::Services, Verb::Watch) == 2)
        .await;
    server.apply(service("default/new", "10.96.0.9"));
    watching.until("the change", |seen| seen.has(Kind::Service, "default/new", "")).await;
    assert_eq!(watching.resets(Kind::Service), 1, "the watch went on from the same version");
}

#[tokio::test]
async fn a_huge_object_is_read_and_costs_no_other_one() {
    for protobuf in [true, false] {
        let server = small_cluster();
        let mut watching = Watching::with(&server, KubernetesOptions { protobuf, ..options() });
        watching.synced().await;
        let mut huge = service("default/huge", "10.96.0.8");
        huge["metadata"]["annotations"] = serde_json::json!({"text": "x".repeat(3_000_000)});
        server.apply(huge);
        server.apply(service("default/after", "10.96.0.9"));
        watching.until("the object after it", |seen| seen.has(Kind::Service, "default/after", "")).await;
        assert!(watching.has(Kind::Service, "default/huge", "10.96.0.8"));
        watching.for_a_while(Duration::from_millis(50)).await;
        assert_eq!(server.requests(Resource::Services), 1);
    }
}
