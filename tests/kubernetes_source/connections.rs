//! One connection over HTTP/2, and what becomes of it.

use std::time::Duration;

use tokio::time::Instant;

use pointsman::state::Kind;
use pointsman::watch::{KubernetesOptions, Pings};

use super::common::apiserver::{ApiServer, Fault, Order, Resource, Verb, service};
use super::common::watching::Watching;
use super::{options, small_cluster_on};

/// A small cluster whose server speaks HTTP/2 and HTTP/1.1 over TLS.
fn http2_cluster() -> ApiServer {
    small_cluster_on(ApiServer::start_tls(&["h2", "http/1.1"]))
}

#[tokio::test]
async fn all_watches_share_one_connection() {
    for streaming_lists in [true, false] {
        let server = http2_cluster();
        let options = KubernetesOptions { streaming_lists, page_size: 2, ..options() };
        // Of a node that does not exist: the names of others are requested too.
        let mut watching = Watching::with(&server, KubernetesOptions { node_name: "elsewhere".to_owned(), ..options });
        watching.synced().await;
        server.apply(service("default/new", "10.96.0.9"));
        watching.until("the change", |seen| seen.has(Kind::Service, "default/new", "")).await;
        watching.for_a_while(Duration::from_millis(100)).await;
        assert_eq!((server.accepted_connections(), server.open_connections()), (1, 1));
    }
}

#[tokio::test]
async fn a_server_that_speaks_only_http_1_gets_a_connection_for_each_watch() {
    let server = small_cluster_on(ApiServer::start_tls(&["http/1.1"]));
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    watching.for_a_while(Duration::from_millis(100)).await;
    assert_eq!(server.open_connections(), 4);
    assert!(server.accepted_connections() <= 5, "one to find out: {}", server.accepted_connections());
}

#[tokio::test]
async fn after_goaway_open_watches_go_on_and_new_ones_use_a_new_connection() {
    let server = http2_cluster();
    let mut watching =
        Watching::with(&server, KubernetesOptions { watch_timeout: Duration::from_secs(2), ..options() });
    watching.synced().await;
    server.order(Order::GoAway);
    watching.for_a_while(Duration::from_millis(200)).await;
    server.apply(service("default/during", "10.96.0.8"));
    watching.until("a change in the old watch", |seen| seen.has(Kind::Service, "default/during", "")).await;
    assert_eq!(server.accepted_connections(), 1);
    server
        .until("the watches that follow", |server| {
            Resource::ALL.into_iter().all(|resource| server.requests_for(resource, Verb::Watch) > 0)
        })
        .await;
    server.apply(service("default/after", "10.96.0.9"));
    watching.until("a change in the new watch", |seen| seen.has(Kind::Service, "default/after", "")).await;
    assert_eq!((server.accepted_connections(), server.open_connections()), (2, 1));
    assert_eq!(watching.resets(Kind::Service), 1, "resumed, not listed again");
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_left_long_before_tcp_gives_up() {
    let server = http2_cluster();
    let pings = Pings { interval: Duration::from_millis(300), timeout: Duration::from_millis(300) };
    let mut watching = Watching::with(&server, KubernetesOptions { pings, ..options() });
    watching.synced().await;
    // An idle connection that answers is kept.
    watching.for_a_while(Duration::from_millis(1_500)).await;
    assert_eq!(server.accepted_connections(), 1);
    server.order(Order::Freeze);
    let frozen = Instant::now();
    server.apply(service("default/new", "10.96.0.9"));
    watching.until("the change", |seen| seen.has(Kind::Service, "default/new", "")).await;
    assert!(frozen.elapsed() < Duration::from_secs(10), "{:?}", frozen.elapsed());
    assert_eq!(server.accepted_connections(), 2);
    assert_eq!(watching.resets(Kind::Service), 1, "resumed, not listed again");
}

#[tokio::test]
async fn a_server_that_is_started_again_gets_one_connection() {
    let mut server = http2_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    server.down();
    server.apply(service("default/new", "10.96.0.9"));
    watching.for_a_while(Duration::from_millis(500)).await;
    server.up();
    watching.until("the change", |seen| seen.has(Kind::Service, "default/new", "")).await;
    server
        .until("all watches", |server| {
            Resource::ALL.into_iter().all(|resource| server.requests_for(resource, Verb::Watch) > 0)
        })
        .await;
    assert_eq!(server.accepted_connections(), 2);
}

#[tokio::test]
async fn a_watch_that_stalls_does_not_hold_up_the_others() {
    let server = http2_cluster();
    server.fail(Resource::Services, None, Fault::Stall, None);
    let mut watching = Watching::with(&server, options());
    watching
        .until("the others", |seen| {
            [Kind::EndpointSlice, Kind::ServiceCidr, Kind::Node].iter().all(|kind| seen.resets(*kind) == 1)
        })
        .await;
    assert_eq!((watching.resets(Kind::Service), server.accepted_connections()), (0, 1));
}
