//! Faults of connections and servers that lose no event.

use std::time::Duration;

use pointsman::state::Kind;
use pointsman::watch::KubernetesOptions;
use tokio::time::Instant;

use super::common::apiserver::{ApiServer, Fault, Resource, Verb, node, service, service_cidr, slice};
use super::common::watching::Watching;
use super::{options, real_options, small_cluster};

/// Watches are opened again each second.
fn short_watches() -> KubernetesOptions {
    KubernetesOptions { watch_timeout: Duration::from_secs(1), ..options() }
}

#[tokio::test]
async fn half_a_list_is_never_sent() {
    for (verb, fault) in [(Verb::StreamingList, Fault::CutAfter(2)), (Verb::List, Fault::CutAfter(0))] {
        let server = small_cluster();
        server.fail(Resource::Services, Some(verb), fault, Some(2));
        let streaming_lists = verb == Verb::StreamingList;
        let mut watching = Watching::with(&server, KubernetesOptions { streaming_lists, ..options() });
        watching.synced().await;
        assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
        let events = watching.log.iter().filter(|event| event.kind() == Kind::Service).count();
        assert_eq!(events, 1, "{verb:?}: {:?}", watching.log);
        assert!(server.requests_for(Resource::Services, verb) >= 3);
    }
}

#[tokio::test]
async fn a_page_that_fails_starts_the_list_again() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::Page), Fault::Status(410), Some(1));
    let options = KubernetesOptions { streaming_lists: false, page_size: 1, ..options() };
    let mut watching = Watching::with(&server, options);
    watching.synced().await;
    assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
    assert_eq!(watching.resets(Kind::Service), 1);
}

#[tokio::test]
async fn code_410_inside_a_stream_leads_to_a_new_list() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, short_watches());
    watching.synced().await;
    // The version of the open watch expires.
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Expired, Some(1));
    watching.until("a second list", |seen| seen.resets(Kind::Service) == 2).await;
    assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
}

/// The versions that the lists of Services asked for at least.
fn versions_of_lists(server: &ApiServer) -> Vec<String> {
    let queries = server.queries(Resource::Services, Verb::StreamingList);
    let version =
        |query: String| query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=").map(str::to_owned));
    queries.into_iter().map(|query| version(query).expect("a version")).collect()
}

#[tokio::test]
async fn a_list_is_never_older_than_what_was_seen() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, short_watches());
    watching.synced().await;
    server.apply(service("default/new", "10.96.0.9"));
    watching.until("a change", |seen| seen.has(Kind::Service, "default/new", "")).await;
    let newest = server.revision().to_string();
    // In a stream, instead of one, and after what cannot be read.
    for (n, fault) in [Fault::Expired, Fault::Status(410), Fault::Garbage].into_iter().enumerate() {
        server.fail(Resource::Services, Some(Verb::Watch), fault, Some(1));
        watching.until("another list", |seen| seen.resets(Kind::Service) == n + 2).await;
    }
    assert_eq!(versions_of_lists(&server), ["0", &newest, &newest, &newest]);
}

#[tokio::test]
async fn if_no_server_knows_what_was_seen_the_newest_list_is_asked_for() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, short_watches());
    watching.synced().await;
    // What a server answers that does not know the version in time.
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Status(504), Some(1));
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Expired, Some(1));
    watching.until("a second list", |seen| seen.resets(Kind::Service) == 2).await;
    let versions = versions_of_lists(&server);
    assert_eq!([&versions[0], &versions[2]], ["0", ""], "{versions:?}");
    assert!(!["", "0"].contains(&&*versions[1]), "{versions:?}");
}

#[tokio::test]
async fn a_stream_that_is_cut_resumes_without_losing_an_event() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::CutAfter(6), Some(1));
    server.fail(Resource::Services, Some(Verb::Watch), Fault::CutAfter(1), Some(2));
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    for i in 0..10 {
        server.apply(service(&format!("default/new-{i}"), &format!("10.96.1.{i}")));
    }
    watching.until("all events", |seen| seen.names(Kind::Service).len() == 13).await;
    assert_eq!(watching.resets(Kind::Service), 1, "resumed, not listed again");
    let events = watching.log.iter().filter(|event| event.kind() == Kind::Service).count();
    assert_eq!(events, 1 + 10, "each once");
}

#[tokio::test]
async fn a_watch_that_breaks_off_is_lost_before_the_next_request_has_failed() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::CutAfter(6), Some(1));
    server.fail(Resource::Services, Some(Verb::Watch), Fault::NoAnswer, None);
    let options = KubernetesOptions { answer_within: Duration::from_secs(60), ..options() };
    let connection = options.connection.clone();
    let report = || connection.report().unwrap();
    let mut watching = Watching::with(&server, options);
    watching.synced().await;
    let listed = report();
    assert!(listed.connected);
    watching.for_a_while(Duration::from_millis(20)).await;
    server.apply(service("default/new-1", "10.96.1.1"));
    watching.until("a change", |seen| seen.has(Kind::Service, "default/new-1", "")).await;
    assert!(report().connected && report().last_heard > listed.last_heard, "each piece is noted");
    server.apply(service("default/new-2", "10.96.1.2"));
    server.apply(service("default/new-3", "10.96.1.3"));
    server.until("the next request", |server| server.requests_for(Resource::Services, Verb::Watch) == 1).await;
    assert!(!report().connected);
}

#[tokio::test]
async fn a_watch_that_times_out_resumes_where_it_was() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, short_watches());
    watching.synced().await;
    server.until("two timeouts", |server| server.requests_for(Resource::Services, Verb::Watch) == 2).await;
    server.apply(service("default/new", "10.96.0.9"));
    watching.until("a change", |seen| seen.has(Kind::Service, "default/new", "")).await;
    assert_eq!(watching.resets(Kind::Service), 1);
}

#[tokio::test]
async fn a_watch_resumes_from_its_last_bookmark() {
    let server = small_cluster();
    server.bookmark_every(Duration::from_millis(100));
    let mut watching = Watching::with(&server, short_watches());
    watching.synced().await;
    // Changes of other kinds move the revision; then the server forgets the changes.
    for _ in 0..5 {
        server.apply(node("node-2"));
    }
    watching.for_a_while(Duration::from_millis(400)).await;
    server.compact();
    watching.for_a_while(Duration::from_millis(1200)).await;
    assert_eq!(watching.resets(Kind::Service), 1, "no new list was needed");
    let resumed = server.queries(Resource::Services, Verb::Watch);
    assert!(resumed[0].contains(&format!("resourceVersion={}", server.revision())), "{resumed:?}");
}

#[tokio::test]
async fn a_silent_watch_is_replaced() {
    let server = small_cluster();
    // A list that never arrives, then a watch that stays silent.
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Stall, Some(1));
    server.fail(Resource::EndpointSlices, Some(Verb::StreamingList), Fault::EndAfter(3), Some(1));
    server.fail(Resource::EndpointSlices, Some(Verb::Watch), Fault::Stall, Some(1));
    let mut watching = Watching::with(&server, short_watches());
    watching.until("the slices", |seen| seen.resets(Kind::EndpointSlice) == 1).await;
    server.apply(slice("default/a-1", "a", &["10.1.0.9"]));
    watching.synced().await;
    watching.until("the change", |seen| seen.has(Kind::EndpointSlice, "default/a-1", "10.1.0.9")).await;
    assert_eq!(watching.resets(Kind::EndpointSlice), 1);
}

#[tokio::test]
async fn a_request_without_an_answer_is_repeated() {
    for (streaming_lists, verb) in [(true, Verb::StreamingList), (false, Verb::List)] {
        let server = small_cluster();
        server.fail(Resource::Services, Some(verb), Fault::NoAnswer, Some(1));
        let answer_within = Duration::from_secs(1);
        let mut watching = Watching::with(&server, KubernetesOptions { streaming_lists, answer_within, ..options() });
        watching.synced().await;
        assert_eq!(server.requests_for(Resource::Services, verb), 2);
    }
}

#[tokio::test]
async fn a_list_that_stalls_half_way_is_repeated() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::List), Fault::Stall, Some(1));
    let options = KubernetesOptions { streaming_lists: false, watch_timeout: Duration::from_secs(1), ..options() };
    Watching::with(&server, options).synced().await;
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_is_found_again() {
    let mut server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    server.down();
    server.delete(Resource::Services, "default/a");
    server.apply(service("default/new", "10.96.0.9"));
    watching.for_a_while(Duration::from_secs(2)).await;
    assert_eq!(watching.log.len(), 4, "nothing is taken away while the server is gone");
    server.up();
    watching.until("what happened meanwhile", |seen| seen.has(Kind::Service, "default/new", "")).await;
    assert_eq!(watching.names(Kind::Service), ["default/b", "default/new", "shop/c"]);
    assert_eq!(watching.resets(Kind::Service), 1, "resumed, not listed again");
}

#[tokio::test]
async fn the_source_waits_for_a_server_that_is_not_up_yet() {
    let mut server = small_cluster();
    server.down();
    let mut watching = Watching::with(&server, options());
    watching.for_a_while(Duration::from_secs(1)).await;
    assert_eq!(watching.log.len(), 0);
    server.up();
    watching.synced().await;
}

#[tokio::test]
async fn the_source_survives_errors_of_the_server() {
    for code in [401, 403, 429, 500, 503] {
        let server = small_cluster();
        server.fail(Resource::Services, None, Fault::Status(code), Some(3));
        let mut watching = Watching::with(&server, options());
        watching.synced().await;
        assert_eq!(server.requests(Resource::Services), 4, "{code}");
    }
}

#[tokio::test]
async fn a_server_without_service_cidrs_has_none_until_it_serves_them() {
    for code in [403, 404] {
        let server = small_cluster();
        server.fail(Resource::ServiceCidrs, None, Fault::Status(code), None);
        let mut watching = Watching::with(&server, options());
        watching.synced().await;
        watching.for_a_while(Duration::from_millis(800)).await;
        assert_eq!(watching.resets(Kind::ServiceCidr), 1, "reported once");
        assert_eq!(watching.names(Kind::ServiceCidr), [""; 0]);
        server.heal();
        watching.until("the ServiceCIDR", |seen| seen.has(Kind::ServiceCidr, "kubernetes", "10.96.0.0/16")).await;
    }
}

#[tokio::test]
async fn service_cidrs_that_were_listed_stay_when_the_server_refuses_them_later() {
    for (code, needs_list) in [(403, false), (404, false), (403, true)] {
        let server = small_cluster();
        let options = short_watches();
        let mut watching = Watching::with(&server, options);
        watching.synced().await;
        if needs_list {
            server.fail(Resource::ServiceCidrs, Some(Verb::Watch), Fault::Status(410), Some(1));
        }
        server.fail(Resource::ServiceCidrs, None, Fault::Status(code), None);
        let before = server.requests(Resource::ServiceCidrs);
        server.until("refusals", |server| server.requests(Resource::ServiceCidrs) >= before + 4).await;
        watching.for_a_while(Duration::from_millis(300)).await;
        assert_eq!(watching.names(Kind::ServiceCidr), ["kubernetes"], "{code}");
        assert_eq!(watching.resets(Kind::ServiceCidr), 1, "{code}");
        server.heal();
        server.apply(service_cidr("more", &["10.97.0.0/16"]));
        watching.until("the change", |seen| seen.has(Kind::ServiceCidr, "more", "10.97.0.0/16")).await;
    }
}

#[tokio::test]
async fn a_kind_that_fails_does_not_hold_up_the_others() {
    let server = small_cluster();
    server.fail(Resource::Services, None, Fault::Status(500), None);
    let mut watching = Watching::with(&server, options());
    watching.until("the slices", |seen| seen.resets(Kind::EndpointSlice) == 1).await;
    assert_eq!(watching.resets(Kind::Service), 0);
}

#[tokio::test]
async fn a_long_list_by_pages_is_not_slowed_down() {
    let server = small_cluster();
    for i in 0..300 {
        server.apply(slice(&format!("many/s-{i:03}"), "a", &["10.1.0.1"]));
    }
    let options = KubernetesOptions { streaming_lists: false, page_size: 2, ..real_options() };
    let start = Instant::now();
    let mut watching = Watching::with(&server, options);
    watching.synced().await;
    assert_eq!(server.requests_for(Resource::EndpointSlices, Verb::Page), 150);
    assert_eq!(watching.names(Kind::EndpointSlice).len(), 302);
    // At five requests a second it would take half a minute.
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

#[tokio::test]
async fn all_watches_return_soon_after_the_server_does() {
    let mut server = small_cluster();
    let options = real_options();
    let connection = options.connection.clone();
    let mut watching = Watching::with(&server, options);
    watching.synced().await;
    server.down();
    watching.for_a_while(Duration::from_secs(12)).await;
    assert!(connection.report().is_some_and(|report| !report.connected));
    server.up();
    let back = Instant::now();
    while !connection.report().is_some_and(|report| report.connected) {
        watching.for_a_while(Duration::from_millis(20)).await;
        assert!(back.elapsed() < Duration::from_secs(10), "{:?}", connection.report());
    }
}
