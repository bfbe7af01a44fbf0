//! The events of a healthy server, the requests for them, and the metrics and logs of failures.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use pointsman::state::{Cluster, Kind, ObjectName};
use pointsman::watch::{KubernetesOptions, client_config};
use tokio::time::{Instant, timeout_at};

use super::common::apiserver::{Fault, Resource, Verb, headless, node, service, slice};
use super::common::watching::{TIMEOUT, Watching};
use super::{keep_logs, logged, options, small_cluster};

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
async fn the_label_of_another_proxy_deletes_a_service_until_the_label_is_removed() {
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
    // A Service that becomes such a Service is deleted.
    external["metadata"]["name"] = "a".into();
    server.apply(external);
    watching.until("the Service is gone", |seen| !seen.has(Kind::Service, "default/a", "")).await;
}

#[tokio::test]
async fn the_source_ends_when_the_receiver_is_gone() {
    let server = small_cluster();
    let mut watching = Watching::with(&server, options());
    watching.synced().await;
    watching.events.close();
    let task = &mut watching.task;
    timeout_at(Instant::now() + TIMEOUT, task).await.expect("it ends").expect("without a panic");
}

#[tokio::test]
async fn a_kubeconfig_leads_to_the_server() {
    let server = small_cluster();
    let folder = tempfile::tempdir().unwrap();
    let config = client_config(Some(&server.write_kubeconfig(folder.path())), None).await.unwrap();
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
async fn a_failure_that_lasts_is_logged_once_and_so_is_its_end() {
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
async fn watches_that_keep_ending_early_are_logged_once() {
    keep_logs();
    let server = small_cluster();
    server.fail(Resource::Services, Some(Verb::Watch), Fault::Close, None);
    server.fail(Resource::Services, Some(Verb::StreamingList), Fault::EndAfter(4), None);
    let mut watching = Watching::with(&server, options());
    server.until("many watches", |server| server.requests_for(Resource::Services, Verb::Watch) == 9).await;
    watching.for_a_while(Duration::ZERO).await;
    assert_eq!(logged("keeps ending our watches early").len(), 1, "{:#?}", logged(""));
}

#[tokio::test]
async fn a_name_that_no_node_has_is_a_warning_that_names_some_nodes() {
    keep_logs();
    let server = small_cluster();
    let options = KubernetesOptions { node_name: "elsewhere".to_owned(), ..options() };
    let connection = options.connection.clone();
    let mut watching = Watching::with(&server, options);
    watching.synced().await;
    watching.for_a_while(Duration::from_millis(300)).await;
    let warnings = logged("there is no Node elsewhere in the cluster, but there are node-1, node-2");
    assert_eq!(warnings.len(), 1, "{:?}", logged("Node"));
    assert!(warnings[0].contains("WARN") && warnings[0].contains("--hostname-override"), "{warnings:?}");
    assert_eq!(connection.missing(), ["there is no Node elsewhere in the cluster, but there are node-1, node-2"]);
    server.apply(node("elsewhere"));
    watching.until("the Node", |seen| seen.has(Kind::Node, "elsewhere", "")).await;
    watching.for_a_while(Duration::from_millis(100)).await;
    assert_eq!(connection.missing(), [""; 0]);
}

#[tokio::test]
async fn a_slice_that_is_made_again_during_a_gap_is_another_object() {
    let server = small_cluster();
    let with_uid = |mut object: serde_json::Value, uid: &str| {
        object["metadata"]["uid"] = uid.into();
        object
    };
    server.apply(with_uid(slice("default/a-1", "a", &["10.1.0.1"]), "one"));
    let mut watching =
        Watching::with(&server, KubernetesOptions { watch_timeout: Duration::from_secs(1), ..options() });
    watching.synced().await;
    let mut cluster = Cluster::new("node-1");
    let endpoints = |cluster: &Cluster| {
        let slices = cluster.slices_of(&ObjectName::new("default", "a"));
        slices.iter().map(|slice| slice.endpoints.len()).sum::<usize>()
    };
    watching.log.drain(..).for_each(|event| drop(cluster.apply(event)));
    assert_eq!(endpoints(&cluster), 1);
    // The server forgets what happened meanwhile, so the watch begins with a list.
    for (object, left) in [
        (with_uid(json_of_type(slice("default/a-1", "a", &["10.1.0.1"]), "IPv5"), "one"), 1),
        (with_uid(json_of_type(slice("default/a-1", "a", &["10.1.0.1"]), "IPv5"), "two"), 0),
        (with_uid(slice("default/a-1", "a", &["10.1.0.1"]), "three"), 1),
        (with_uid(json_of_type(slice("default/a-1", "a", &["a.example"]), "FQDN"), "four"), 0),
    ] {
        server.fail(Resource::EndpointSlices, Some(Verb::Watch), Fault::Expired, Some(1));
        server.apply(object.clone());
        watching.until("a new list", |seen| seen.resets(Kind::EndpointSlice) > 0).await;
        watching.log.drain(..).for_each(|event| drop(cluster.apply(event)));
        assert_eq!(endpoints(&cluster), left, "{object}");
    }
}

fn json_of_type(mut slice: serde_json::Value, address_type: &str) -> serde_json::Value {
    slice["addressType"] = address_type.into();
    slice
}
