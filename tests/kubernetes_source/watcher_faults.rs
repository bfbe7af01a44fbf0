//! Faults that a plain watcher answers with storms of requests or lost objects. The numbers of requests that kube-runtime's watcher sends
//! were measured in 3 s each.

use std::time::Duration;

use pointsman::state::Kind;
use pointsman::watch::KubernetesOptions;

use super::common::apiserver::{DAMAGED, Fault, Resource, Verb, service};
use super::common::watching::Watching;
use super::{options, real_options, small_cluster};

#[tokio::test]
async fn streaming_lists_that_end_at_once_are_paced() {
    let server = small_cluster();
    // Paged lists, the fallback, are cut off as well.
    server.fail(Resource::Services, None, Fault::Close, None);
    let mut watching = Watching::with(&server, real_options());
    server.until("the first request", |server| server.requests(Resource::Services) > 0).await;
    watching.for_a_while(Duration::from_secs(3)).await;
    let requests = server.requests(Resource::Services);
    println!("streaming lists that end at once: {requests} requests in 3 s; the plain watcher sends 142,155");
    assert!((2..20).contains(&requests), "{requests}");
}

#[tokio::test]
async fn streaming_lists_that_never_complete_give_way_to_paged_lists() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(2), None);
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
    assert_eq!(server.requests_for(Resource::Services, Verb::List), 1);
}

#[tokio::test]
async fn watches_that_end_at_once_are_paced() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Status(422), None);
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Close, None);
    let mut watching = Watching::with(&server, real_options());
    server.until("the first request", |server| server.requests(Resource::Services) > 0).await;
    watching.for_a_while(Duration::from_secs(3)).await;
    let requests = server.requests(Resource::Services);
    println!("watches that end at once: {requests} requests in 3 s; the plain watcher sends 120,589");
    assert!((3..20).contains(&requests), "{requests}");
    assert_eq!(watching.resets(Kind::Service), 1, "the list itself was fine");
}

#[tokio::test]
async fn status_410_for_a_watch_leads_to_a_new_list() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(4), Some(1));
    let mut watching = Watching::with(&server, options());
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Status(410), None);
    watching.until("a second list", |seen| seen.resets(Kind::Service) == 2).await;
    server.apply(service("default/new", "10.96.0.9"));
    watching.until("a change after it", |seen| seen.has(Kind::Service, "default/new", "")).await;
}

#[tokio::test]
async fn code_410_inside_every_stream_does_not_cause_a_storm_of_lists() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Status(422), None);
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Expired, None);
    let options = KubernetesOptions { backoff_max: Duration::from_secs(30), ..options() };
    let mut watching = Watching::with(&server, options);
    server.until("the first request", |server| server.requests(Resource::Services) > 0).await;
    watching.for_a_while(Duration::from_secs(3)).await;
    let lists = server.requests_for(Resource::Services, Verb::List);
    println!(
        "410 in every stream: {lists} lists in 3 s with pauses that grow from 50 ms; pauses that each list resets would allow over 60"
    );
    assert!((3..=9).contains(&lists), "{lists}");
    assert!(watching.resets(Kind::Service) >= lists - 1, "each was complete");
}

#[tokio::test]
async fn an_undecodable_object_in_a_watch_is_named_and_the_watch_goes_on() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    server.apply_text(&undecodable("default/a"));
    server.apply(service("default/after", "10.96.0.8"));
    watching.until("the object after it", |seen| seen.has(Kind::Service, "default/after", "")).await;
    assert!(watching.has(Kind::Service, "default/a", UNREADABLE), "{:?}", watching.seen);
    assert_eq!(watching.resets(Kind::Service), 1);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_leads_to_a_new_list() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(4), Some(1));
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Garbage, Some(1));
    let mut watching = Watching::with(&server, options());
    watching.until("a second list", |seen| seen.resets(Kind::Service) == 2).await;
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_requested_again() {
    for (streaming_lists, verb) in [(true, Verb::StreamingList), (false, Verb::List)] {
        let server = small_cluster();
        server.fail(Resource::Services, Some(verb), Fault::Garbage, Some(2));
        let mut watching = Watching::with(&server, KubernetesOptions { streaming_lists, ..options() });
        watching.synced().await;
        assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
        assert_eq!(server.requests_for(Resource::Services, verb), 3);
    }
}

#[tokio::test]
async fn an_undecodable_object_in_a_list_costs_only_itself() {
    for streaming in [true, false] {
        let server = small_cluster();
        server.apply_text(&undecodable("default/bad"));
        let mut watching = Watching::with(&server, KubernetesOptions { streaming_lists: streaming, ..options() });
        watching.synced().await;
        assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "default/bad", "shop/c"]);
        assert!(watching.has(Kind::Service, "default/bad", UNREADABLE));
    }
}

#[tokio::test]
async fn a_server_that_refuses_streaming_lists_gets_only_requests_for_pages_afterwards() {
    for refusal in [400, 422] {
        let server = small_cluster();
        server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Status(refusal), None);
        let mut watching = Watching::with(&server, KubernetesOptions { page_size: 2, ..options() });
        watching.synced().await;
        assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
        assert_eq!(server.requests_for(Resource::Services, Verb::Page), 1);
        // A later list is not requested as a stream.
        server.compact();
        server.fail(Resource::Services, Some(Verb::Watch), Fault::Expired, Some(1));
        server.apply(service("default/new", "10.96.0.9"));
        watching.until("the change", |seen| seen.has(Kind::Service, "default/new", "")).await;
        assert_eq!(server.requests_for(Resource::Services, Verb::StreamingList), 1);
    }
}

/// What every message about an [`undecodable`] object begins with.
const UNREADABLE: &str = "unreadable ";

/// A Service that gives a field twice, which no decoder of JSON accepts, and that is damaged in protobuf.
fn undecodable(name: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        r#"{{"kind":"Service","metadata":{{"namespace":"{namespace}","name":"{name}","annotations":{{"{DAMAGED}":""}}}},
        "spec":{{"type":"x","type":"y"}}}}"#
    )
    .replace('\n', " ")
}
