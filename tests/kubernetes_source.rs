//! The Kubernetes source against a real protocol: what it hands out, and what it survives.
//!
//! Rows A to G are what kube-runtime's plain watcher does wrong, each with the number of requests that it made when it was
//! measured; here each is shown cured.

mod common;

use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;

use common::apiserver::{ApiServer, Fault, Resource, Verb, headless, node, service, service_cidr, slice};
use common::watching::{SOON, Watching};
use metrics_exporter_prometheus::PrometheusBuilder;
use pointsman::state::Kind;
use pointsman::watch::{KubernetesOptions, client_config};
use tokio::time::{Instant, timeout_at};

thread_local! {
    /// What this thread logs. Each test has a thread, and its tasks run there.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the log of the thread that logs.
struct ThreadLog;

impl std::io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts to keep what threads log.
fn keep_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| ThreadLog).init());
}

/// The lines that this thread logged and that contain a text.
fn logged(text: &str) -> Vec<String> {
    let log = LOG.with_borrow(|log| String::from_utf8(log.clone()).unwrap());
    log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// Short times; everything else as by default.
fn options() -> KubernetesOptions {
    KubernetesOptions {
        backoff_base: Duration::from_millis(50),
        backoff_max: Duration::from_millis(400),
        healthy_after: Duration::from_millis(500),
        silence_margin: Duration::from_secs(1),
        absent_retry: Duration::from_millis(300),
        requests_per_second: 50.0,
        ..KubernetesOptions::new("node-1")
    }
}

/// The real times, for the rows that count requests.
fn real_options() -> KubernetesOptions {
    KubernetesOptions::new("node-1")
}

/// Three Services, two slices, a ServiceCIDR and two Nodes.
fn small_cluster() -> ApiServer {
    let server = ApiServer::start();
    for (name, cluster_ip) in [("default/a", "10.96.0.1"), ("default/b", "10.96.0.2"), ("shop/c", "fd00::3")] {
        server.apply(service(name, cluster_ip));
    }
    server.apply(slice("default/a-1", "a", &["10.1.0.1", "10.1.0.2"]));
    server.apply(slice("default/b-1", "b", &["10.1.0.3"]));
    server.apply(service_cidr("kubernetes", &["10.96.0.0/16"]));
    server.apply(node("node-1"));
    server.apply(node("node-2"));
    server
}

// What it hands out.

#[tokio::test]
async fn every_kind_begins_with_one_reset_and_goes_on_with_changes() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    assert_eq!(watching.log.len(), 4, "{:?}", watching.log);
    assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
    assert_eq!(watching.names(Kind::EndpointSlice), ["default/a-1", "default/b-1"]);
    assert_eq!(watching.names(Kind::ServiceCidr), ["kubernetes"]);
    assert_eq!(watching.names(Kind::Node), ["node-1"]);

    server.apply(slice("default/a-1", "a", &["10.1.0.9"]));
    server.delete(Resource::Services, "default/b");
    watching.until("the changes", |seen| seen.log.len() == 6).await;
    assert!(watching.has(Kind::EndpointSlice, "default/a-1", "10.1.0.9"));
    assert_eq!(watching.names(Kind::Service), ["default/a", "shop/c"]);
}

#[tokio::test]
async fn requests_carry_the_selectors_of_a_service_proxy() {
    let server = small_cluster();
    Watching::with(&server, options()).synced().await;
    let query = |resource| server.queries(resource, Verb::StreamingList).remove(0);
    let services = query(Resource::Services);
    assert!(services.contains("labelSelector=%21service.kubernetes.io%2Fservice-proxy-name"), "{services}");
    assert!(services.contains("fieldSelector=spec.clusterIP%21%3DNone"), "{services}");
    assert!(services.contains("allowWatchBookmarks=true") && services.contains("timeoutSeconds=290"), "{services}");
    assert!(query(Resource::EndpointSlices).contains("labelSelector=%21service.kubernetes.io%2Fheadless"));
    assert!(query(Resource::Nodes).contains("fieldSelector=metadata.name%3Dnode-1"));
}

#[tokio::test]
async fn an_idle_cluster_costs_one_request_per_kind() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    watching.for_a_while(Duration::from_secs(1)).await;
    for resource in Resource::ALL {
        assert_eq!(server.requests(resource), 1, "{resource:?}");
    }
}

#[tokio::test]
async fn a_label_that_gives_a_service_to_another_proxy_deletes_it_and_its_removal_brings_it_back() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    let mut labelled = service("default/a", "10.96.0.1");
    labelled["metadata"]["labels"]["service.kubernetes.io/service-proxy-name"] = "other".into();
    server.apply(labelled);
    watching.until("the Service is gone", |seen| !seen.has(Kind::Service, "default/a", "")).await;
    server.apply(service("default/a", "10.96.0.1"));
    watching.until("the Service is back", |seen| seen.has(Kind::Service, "default/a", "")).await;
}

#[tokio::test]
async fn a_headless_label_on_a_slice_deletes_it() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    let mut labelled = slice("default/a-1", "a", &["10.1.0.1"]);
    labelled["metadata"]["labels"]["service.kubernetes.io/headless"] = "".into();
    server.apply(labelled);
    watching.until("the slice is gone", |seen| !seen.has(Kind::EndpointSlice, "default/a-1", "")).await;
}

#[tokio::test]
async fn services_that_the_server_cannot_filter_are_left_out_here() {
    let server = small_cluster();
    let mut external = service("default/ext", "10.96.0.7");
    external["spec"]["type"] = "ExternalName".into();
    server.apply(external.clone());
    server.apply(headless("default/headless"));
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
    // A Service that becomes one of them is deleted.
    external["metadata"]["name"] = "a".into();
    server.apply(external);
    watching.until("the Service is gone", |seen| !seen.has(Kind::Service, "default/a", "")).await;
}

#[tokio::test]
async fn the_source_ends_when_nobody_listens() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    watching.events.close();
    let task = &mut watching.task;
    timeout_at(Instant::now() + SOON, task).await.expect("it ends").expect("without a panic");
}

#[tokio::test]
async fn a_kubeconfig_leads_to_the_server() {
    let server = small_cluster();
    let folder = tempfile::tempdir().unwrap();
    let config = client_config(Some(&server.write_kubeconfig(folder.path()))).await.unwrap();
    assert_eq!(config.cluster_url.to_string().trim_end_matches('/'), server.url());
}

#[tokio::test]
async fn requests_and_restarts_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = small_cluster();
    server.fail(Resource::Services, None, Fault::Status(503), Some(2));
    Watching::with(&server, options()).synced().await;
    let text = metrics.render();
    for line in [
        r#"pointsman_api_requests_total{kind="Service",code="503"} 2"#,
        r#"pointsman_api_requests_total{kind="Service",code="200"} 1"#,
        r#"pointsman_api_requests_total{kind="Node",code="200"} 1"#,
        r#"pointsman_watch_restarts_total{kind="Service"} 2"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(r#"pointsman_watch_restarts_total{kind="Node"}"#), "{text}");
}

#[tokio::test]
async fn a_failure_that_lasts_is_named_once_and_its_end_too() {
    keep_logs();
    let server = small_cluster();
    server.fail(Resource::Services, None, Fault::Status(403), Some(5));
    Watching::with(&server, options()).synced().await;
    let lines = logged(" pointsman::");
    let [start, failure, end] = lines.as_slice() else { panic!("{lines:#?}") };
    assert!(start.contains("INFO") && start.contains(&server.url()), "{start}");
    assert!(failure.contains("WARN") && failure.contains("kind=Service"), "{failure}");
    assert!(failure.contains("Allow our service account to list and watch objects of kind Service"), "{failure}");
    assert!(end.contains("INFO") && end.contains("watching again") && end.contains("failures=5"), "{end}");
}

#[tokio::test]
async fn watches_that_keep_ending_early_are_named_once() {
    keep_logs();
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Close, None);
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(4), None);
    let mut watching = Watching::with(&server, options());
    server.until("many watches", |server| server.requests_for(Resource::Services, Verb::Watch) == 9).await;
    watching.for_a_while(Duration::ZERO).await;
    assert_eq!(logged("keeps ending our watches early").len(), 1, "{:#?}", logged(""));
}

// Rows A to G.

#[tokio::test]
async fn a_streaming_lists_that_end_at_once_are_paced() {
    let server = small_cluster();
    // Lists by pages, to which it falls back, are cut off as well.
    server.fail(Resource::Services, None, Fault::Close, None);
    let mut watching = Watching::with(&server, real_options());
    server.until("the first request", |server| server.requests(Resource::Services) > 0).await;
    watching.for_a_while(Duration::from_secs(3)).await;
    let requests = server.requests(Resource::Services);
    println!("A: {requests} requests in 3 s; the plain watcher sends 142,155");
    assert!((2..20).contains(&requests), "{requests}");
}

#[tokio::test]
async fn a_streaming_lists_that_never_complete_give_way_to_paged_lists() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(2), None);
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
    assert_eq!(server.requests_for(Resource::Services, Verb::List), 1);
}

#[tokio::test]
async fn b_watches_that_end_at_once_are_paced() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Status(422), None);
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Close, None);
    let mut watching = Watching::with(&server, real_options());
    server.until("the first request", |server| server.requests(Resource::Services) > 0).await;
    watching.for_a_while(Duration::from_secs(3)).await;
    let requests = server.requests(Resource::Services);
    println!("B: {requests} requests in 3 s; the plain watcher sends 120,589");
    assert!((3..20).contains(&requests), "{requests}");
    assert_eq!(watching.resets(Kind::Service), 1, "the list itself was fine");
}

#[tokio::test]
async fn c_gone_as_an_http_status_leads_to_a_new_list() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(4), Some(1));
    let mut watching = Watching::with(&server, options());
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Status(410), None);
    watching.until("a second list", |seen| seen.resets(Kind::Service) == 2).await;
    server.apply(service("default/new", "10.96.0.9"));
    watching.until("a change after it", |seen| seen.has(Kind::Service, "default/new", "")).await;
}

#[tokio::test]
async fn d_gone_inside_every_stream_does_not_become_a_storm_of_lists() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Status(422), None);
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Expired, None);
    let options = KubernetesOptions { backoff_max: Duration::from_secs(30), ..options() };
    let mut watching = Watching::with(&server, options);
    server.until("the first request", |server| server.requests(Resource::Services) > 0).await;
    watching.for_a_while(Duration::from_secs(3)).await;
    let lists = server.requests_for(Resource::Services, Verb::List);
    println!(
        "D: {lists} lists in 3 s with pauses that grow from 50 ms; pauses that each list resets would allow over 60"
    );
    assert!((3..=9).contains(&lists), "{lists}");
    assert!(watching.resets(Kind::Service) >= lists - 1, "each was complete");
}

#[tokio::test]
async fn e_an_undecodable_object_in_a_watch_is_named_and_the_watch_goes_on() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    server.apply_text(&undecodable("default/a"));
    server.apply(service("default/after", "10.96.0.8"));
    watching.until("the object after it", |seen| seen.has(Kind::Service, "default/after", "")).await;
    assert!(watching.has(Kind::Service, "default/a", "unreadable duplicate field"), "{:?}", watching.seen);
    assert_eq!(watching.resets(Kind::Service), 1);
}

#[tokio::test]
async fn e_a_line_that_is_not_json_leads_to_a_new_list() {
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(4), Some(1));
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Garbage, Some(1));
    let mut watching = Watching::with(&server, options());
    watching.until("a second list", |seen| seen.resets(Kind::Service) == 2).await;
}

#[tokio::test]
async fn f_an_undecodable_object_in_a_list_costs_only_itself() {
    for streaming in [true, false] {
        let server = small_cluster();
        server.apply_text(&undecodable("default/bad"));
        let mut watching = Watching::with(&server, KubernetesOptions { streaming_lists: streaming, ..options() });
        watching.synced().await;
        assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "default/bad", "shop/c"]);
        assert!(watching.has(Kind::Service, "default/bad", "unreadable duplicate field"));
    }
}

#[tokio::test]
async fn g_a_server_that_refuses_streaming_lists_is_asked_for_pages_from_then_on() {
    for refusal in [400, 422] {
        let server = small_cluster();
        server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Status(refusal), None);
        let mut watching = Watching::with(&server, KubernetesOptions { page_size: 2, ..options() });
        watching.synced().await;
        assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
        assert_eq!(server.requests_for(Resource::Services, Verb::Page), 1);
        // A later list is not asked for as a stream again.
        server.compact();
        server.fail(Resource::Services, Some(Verb::Watch), Fault::Expired, Some(1));
        server.apply(service("default/new", "10.96.0.9"));
        watching.until("the change", |seen| seen.has(Kind::Service, "default/new", "")).await;
        assert_eq!(server.requests_for(Resource::Services, Verb::StreamingList), 1);
    }
}

/// A Service that gives a field twice, which no decoder takes.
fn undecodable(name: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        r#"{{"kind":"Service","metadata":{{"namespace":"{namespace}","name":"{name}"}},"spec":{{"type":"x","type":"y"}}}}"#
    )
}

// What it survives.

#[tokio::test]
async fn half_a_list_is_never_handed_out() {
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
async fn gone_inside_a_stream_leads_to_a_new_list() {
    let server = small_cluster();
    let options = KubernetesOptions { watch_timeout: Duration::from_secs(1), ..options() };
    let mut watching = Watching::with(&server, options);
    watching.synced().await;
    // While the watch is open its version falls out of the server's memory.
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Expired, Some(1));
    watching.until("a second list", |seen| seen.resets(Kind::Service) == 2).await;
    assert_eq!(watching.names(Kind::Service), ["default/a", "default/b", "shop/c"]);
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
async fn a_watch_that_times_out_resumes_where_it_was() {
    let server = small_cluster();
    let options = KubernetesOptions { watch_timeout: Duration::from_secs(1), ..options() };
    let mut watching = Watching::with(&server, options);
    watching.synced().await;
    server.until("two timeouts", |server| server.requests_for(Resource::Services, Verb::Watch) == 2).await;
    server.apply(service("default/new", "10.96.0.9"));
    watching.until("a change", |seen| seen.has(Kind::Service, "default/new", "")).await;
    assert_eq!(watching.resets(Kind::Service), 1);
}

#[tokio::test]
async fn bookmarks_move_the_place_where_a_watch_resumes() {
    let server = small_cluster();
    server.bookmark_every(Duration::from_millis(100));
    let options = KubernetesOptions { watch_timeout: Duration::from_secs(1), ..options() };
    let mut watching = Watching::with(&server, options);
    watching.synced().await;
    // Changes of other kinds move the revision; then the past is forgotten.
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
async fn a_watch_that_falls_silent_is_given_up() {
    let server = small_cluster();
    // A list that never comes, then a watch on which nothing is ever heard.
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::Stall, Some(1));
    server.fail(Resource::EndpointSlices, Some(Verb::StreamingList), Fault::EndAfter(3), Some(1));
    server.fail(Resource::EndpointSlices, Some(Verb::Watch), Fault::Stall, Some(1));
    let options = KubernetesOptions { watch_timeout: Duration::from_secs(1), ..options() };
    let mut watching = Watching::with(&server, options);
    watching.until("the slices", |seen| seen.resets(Kind::EndpointSlice) == 1).await;
    server.apply(slice("default/a-1", "a", &["10.1.0.9"]));
    watching.synced().await;
    watching.until("the change", |seen| seen.has(Kind::EndpointSlice, "default/a-1", "10.1.0.9")).await;
    assert_eq!(watching.resets(Kind::EndpointSlice), 1);
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_given_up() {
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
async fn a_list_that_stalls_half_way_is_given_up() {
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
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut server = small_cluster();
    server.down();
    let mut watching = Watching::with(&server, options());
    watching.for_a_while(Duration::from_secs(1)).await;
    assert_eq!(watching.log.len(), 0);
    server.up();
    watching.synced().await;
}

#[tokio::test]
async fn errors_of_the_server_are_survived() {
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
        assert_eq!(watching.resets(Kind::ServiceCidr), 1, "said once");
        assert_eq!(watching.names(Kind::ServiceCidr), [""; 0]);
        server.heal();
        watching.until("the ServiceCIDR", |seen| seen.has(Kind::ServiceCidr, "kubernetes", "10.96.0.0/16")).await;
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
