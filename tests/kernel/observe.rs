//! What operators and load balancers see of a running proxy: health pages, the pages of the metrics address, Kubernetes Events.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use pointsman::host::raise_descriptor_limit;
use serde_json::{Value, json};

use crate::cluster::{Cluster, page, status, until};
use crate::common::apiserver;
use crate::common::netns::{Proxy, requirements};

const OK: &str = "HTTP/1.0 200 OK";
const UNAVAILABLE: &str = "HTTP/1.0 503 Service Unavailable";

/// How long no thread may wake up.
const QUIET: Duration = Duration::from_secs(20);

/// How many connections a client opens to each port and leaves idle.
const IDLE_CONNECTIONS: usize = 2_000;

/// The node's address for NodePorts, on the link to the client.
const NODE_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A Service that asks for `203.0.113.10`, beside its own ClusterIP.
fn with_external_ip(name: &str, cluster_ip: &str, created: &str) -> Value {
    let mut service = apiserver::service(name, cluster_ip);
    service["metadata"]["creationTimestamp"] = json!(created);
    service["spec"]["externalIPs"] = json!(["203.0.113.10"]);
    service
}

/// The Events with this reason.
fn events(cluster: &Cluster, reason: &str) -> Vec<Value> {
    cluster.server.events().into_iter().filter(|event| event["reason"] == reason).collect()
}

fn body(cluster: &Cluster, path: &str) -> Value {
    let (_, body) = page(&cluster.node.host, 10256, path).expect("the page is served");
    serde_json::from_str(&body).expect("JSON")
}

fn until_metric(cluster: &Cluster, proxy: &Proxy, line: &str) {
    until(proxy, line, || proxy.metrics(&cluster.node.host).lines().any(|shown| shown == line));
}

#[test]
fn a_node_that_is_being_deleted_gets_no_traffic_but_the_proxy_lives() {
    let Some(cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    until(&proxy, "it is healthy", || status(&cluster.node.host, "/healthz") == OK);
    let mut node = apiserver::node("node-a");
    node["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    cluster.server.apply(node);
    until(&proxy, "the node is not eligible", || status(&cluster.node.host, "/healthz") == UNAVAILABLE);
    assert_eq!(status(&cluster.node.host, "/livez"), OK);
    let answer = body(&cluster, "/healthz");
    assert_eq!((&answer["healthy"], &answer["nodeEligible"]), (&json!(true), &json!(false)), "{answer}");
    assert_eq!(body(&cluster, "/livez").get("nodeEligible"), None);
    cluster.server.apply(apiserver::node("node-a"));
    until(&proxy, "the node is eligible again", || status(&cluster.node.host, "/healthz") == OK);
    // A node that vanishes without notice keeps its state, as in kube-proxy.
    cluster.server.delete(apiserver::Resource::Nodes, "node-a");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(status(&cluster.node.host, "/healthz"), OK);
}

#[test]
fn a_lost_api_server_shows_in_bodies_and_metrics_and_changes_no_status() {
    let Some(mut cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    until(&proxy, "it is healthy", || status(&cluster.node.host, "/healthz") == OK);
    until(&proxy, "it is connected", || body(&cluster, "/livez")["apiServer"]["connected"] == true);
    until_metric(&cluster, &proxy, "pointsman_api_server_connected{kind=\"Service\"} 1");
    cluster.server.down();
    until(&proxy, "the loss is shown", || body(&cluster, "/healthz")["apiServer"]["connected"] == false);
    assert_eq!(
        (status(&cluster.node.host, "/healthz").as_str(), status(&cluster.node.host, "/livez").as_str()),
        (OK, OK)
    );
    assert!(body(&cluster, "/livez")["apiServer"]["lastHeard"].is_string());
    until_metric(&cluster, &proxy, "pointsman_api_server_connected{kind=\"Service\"} 0");
    let server = &mut cluster.server;
    cluster.node.host.enter(|| server.up());
    until(&proxy, "it is connected again", || body(&cluster, "/livez")["apiServer"]["connected"] == true);
}

#[test]
fn a_taken_address_does_not_stop_the_proxy_and_is_served_when_it_is_free() {
    let Some(cluster) = Cluster::new() else { return };
    let taken = cluster.node.host.enter(|| std::net::TcpListener::bind(("127.0.0.1", 10249)).expect("free"));
    let proxy = cluster.start();
    cluster.until_web_reaches(&proxy, 11);
    until(&proxy, "the node has an Event", || events(&cluster, "FailedToStartMetricServer").len() == 1);
    let event = events(&cluster, "FailedToStartMetricServer").remove(0);
    assert_eq!((&event["regarding"]["kind"], &event["regarding"]["name"]), (&json!("Node"), &json!("node-a")));
    drop(taken);
    until(&proxy, "the page is served", || page(&cluster.node.host, 10249, "/proxyMode").is_some());
    let text = |path| page(&cluster.node.host, 10249, path).expect("the page is served").1;
    assert_eq!((text("/proxyMode").as_str(), text("/healthz").as_str()), ("nftables", "ok"));
    let configuration: Value = serde_json::from_str(&text("/configz")).expect("JSON");
    let configuration = &configuration["kubeproxy.config.k8s.io"];
    assert_eq!(
        (&configuration["mode"], &configuration["kind"]),
        (&json!("nftables"), &json!("KubeProxyConfiguration"))
    );
    assert_eq!(configuration["nodePortAddresses"], json!(["primary"]));
    assert!(text("/flagz").contains("--kubeconfig"));
}

#[test]
fn the_loser_of_a_clash_gets_one_event_however_often_it_is_listed() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.server.apply(with_external_ip("shop/old", "10.96.0.20", "2026-01-01T00:00:00Z"));
    cluster.server.apply(with_external_ip("shop/new", "10.96.0.21", "2026-02-01T00:00:00Z"));
    let proxy = cluster.start();
    until(&proxy, "the loser has an Event", || !events(&cluster, "FrontendTaken").is_empty());
    let event = events(&cluster, "FrontendTaken").remove(0);
    let regarding = json!({
        "apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "new", "uid": "uid of shop/new",
    });
    assert_eq!((&event["regarding"], &event["type"]), (&regarding, &json!("Warning")));
    assert_eq!((&event["reportingController"], &event["reportingInstance"]), (&json!("pointsman"), &json!("node-a")));
    let note = event["note"].as_str().expect("a note");
    assert!(note.contains("203.0.113.10:80/tcp") && note.contains("shop/old:http"), "{note}");
    assert_eq!(events(&cluster, "Starting").len(), 1);

    // A relist, a change that does not concern the clash, and a restart.
    cluster.server.compact();
    let mut again = with_external_ip("shop/new", "10.96.0.21", "2026-02-01T00:00:00Z");
    again["metadata"]["labels"] = json!({"seen": "again"});
    cluster.server.apply(again);
    drop(proxy);
    let proxy = cluster.start();
    until(&proxy, "the page is served", || page(&cluster.node.host, 10249, "/healthz").is_some());
    until_metric(&cluster, &proxy, "pointsman_reported_events_total{reason=\"FrontendTaken\",result=\"known\"} 1");
    assert_eq!(events(&cluster, "FrontendTaken").len(), 1);
    assert_eq!(events(&cluster, "Starting").len(), 2);
}

/// A Service whose health check listens on port 32,000 of this node's address.
fn apply_checked_service(cluster: &Cluster) {
    let mut node = apiserver::node("node-a");
    node["status"] = json!({"addresses": [{"type": "InternalIP", "address": NODE_IP}]});
    cluster.server.apply(node);
    let mut service = apiserver::service("shop/checked", "10.96.0.30");
    let spec = &mut service["spec"];
    (spec["type"], spec["externalTrafficPolicy"]) = (json!("LoadBalancer"), json!("Local"));
    spec["healthCheckNodePort"] = json!(32_000);
    cluster.server.apply(service);
}

#[test]
fn a_health_check_that_cannot_listen_is_an_event_of_its_service() {
    let Some(cluster) = Cluster::new() else { return };
    let taken = cluster.node.host.enter(|| std::net::TcpListener::bind((NODE_IP, 32_000)).expect("free"));
    apply_checked_service(&cluster);
    let proxy = cluster.start();
    until(&proxy, "the Service has an Event", || !events(&cluster, "FailedToStartServiceHealthcheck").is_empty());
    let reported = events(&cluster, "FailedToStartServiceHealthcheck");
    assert_eq!(
        (reported.len(), &reported[0]["action"], &reported[0]["regarding"]["name"]),
        (1, &json!("Listen"), &json!("checked"))
    );
    drop(taken);
}

#[test]
fn a_server_that_refuses_events_harms_nothing() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.server.refuse_events(403);
    cluster.server.apply(with_external_ip("shop/old", "10.96.0.20", "2026-01-01T00:00:00Z"));
    cluster.server.apply(with_external_ip("shop/new", "10.96.0.21", "2026-02-01T00:00:00Z"));
    let proxy = cluster.start();
    cluster.until_web_reaches(&proxy, 11);
    until_metric(&cluster, &proxy, "pointsman_reported_events_total{reason=\"FrontendTaken\",result=\"failed\"} 1");
    cluster.endpoints(&[12]);
    cluster.until_web_reaches(&proxy, 12);
    assert_eq!(status(&cluster.node.host, "/healthz"), OK);
    assert_eq!(cluster.server.event_requests(), 2, "a refusal is not asked for again");
    assert_eq!(proxy.log().matches("an Event was not written").count(), 1, "{}", proxy.log());
}

#[test]
fn two_thousand_idle_connections_on_each_port_take_neither_health_nor_the_api_server() {
    // The ends of the clients are descriptors of this process.
    if raise_descriptor_limit() < 3 * IDLE_CONNECTIONS as u64 + 500 {
        return requirements::lacks(format_args!(
            "the limit of file descriptors is too low for 3 * {IDLE_CONNECTIONS} connections"
        ));
    }
    // A proxy whose limit is as low as systems have it, so that what is kept for the API server counts.
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("pointsman");
    let binary = std::env::var("POINTSMAN_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_pointsman").to_owned());
    std::fs::write(&program, format!("#!/bin/sh\nulimit -n 1024\nexec {binary} \"$@\"\n")).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("allowed");
    let Some(mut cluster) = Cluster::with_binary(&program) else { return };
    apply_checked_service(&cluster);
    let proxy = cluster.start();
    let checked = || cluster.node.host.enter(|| TcpStream::connect((NODE_IP, 32_000)).is_ok());
    until(&proxy, "the health check is served", checked);
    let idle: Vec<TcpStream> = cluster.node.host.enter(|| {
        let ports = [(Ipv4Addr::LOCALHOST, 10256), (Ipv4Addr::LOCALHOST, 10249), (NODE_IP, 32_000)];
        let connect = |address: (Ipv4Addr, u16)| {
            TcpStream::connect_timeout(&address.into(), Duration::from_secs(5)).expect("accepted")
        };
        ports.into_iter().flat_map(|address| (0..IDLE_CONNECTIONS).map(move |_| connect(address))).collect()
    });
    let asked = Instant::now();
    assert_eq!(status(&cluster.node.host, "/healthz"), OK, "{}", proxy.log());
    cluster.server.down();
    until(&proxy, "the loss is shown", || body(&cluster, "/healthz")["apiServer"]["connected"] == false);
    let server = &mut cluster.server;
    cluster.node.host.enter(|| server.up());
    cluster.endpoints(&[12]);
    cluster.until_web_reaches(&proxy, 12);
    until(&proxy, "it is connected again", || body(&cluster, "/livez")["apiServer"]["connected"] == true);
    println!("with {} connections: watches are back {:?} after the first look", idle.len(), asked.elapsed());
    let closed = "pointsman_connections_closed_total{port=\"health\",reason=\"too_many\"}";
    assert!(proxy.metrics(&cluster.node.host).contains(closed), "{}", proxy.metrics(&cluster.node.host));
}

#[test]
fn while_nothing_happens_no_thread_wakes_up() {
    let Some(cluster) = Cluster::new() else { return };
    let kubeconfig = cluster.server.write_kubeconfig(cluster.folder.path());
    // Watches that outlast the test.
    let args = ["--kubeconfig", kubeconfig.to_str().expect("a path of letters"), "--watch-timeout", "290"];
    let proxy = cluster.node.start_pointsman(&args);
    cluster.until_web_reaches(&proxy, 11);
    cluster.endpoints(&[12]);
    cluster.until_web_reaches(&proxy, 12);
    // The buffers of metrics are emptied some seconds after the last change, and idle threads end.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut before = proxy.wake_ups();
    loop {
        std::thread::sleep(QUIET);
        let now = proxy.wake_ups();
        if now == before {
            return;
        }
        assert!(Instant::now() < deadline, "wake-ups by thread within {QUIET:?}: {before:?}, then {now:?}");
        before = now;
    }
}
