//! The proxy as it runs in a cluster: events from an API server, health and metrics pages, signals.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::apiserver::{self, ApiServer, Resource};
use crate::common::netns::{Family, Namespace, Node, Proxy, requirements};

/// How long a condition may take to hold.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The ClusterIP of `default/web`.
const WEB: &str = "10.96.0.10";

/// A node whose API server listens inside it, with `default/web` and one endpoint that answers.
pub struct Cluster {
    pub node: Node,
    pub server: ApiServer,
    pub folder: tempfile::TempDir,
}

impl Cluster {
    pub fn new() -> Option<Self> {
        Self::with_binary(Path::new(env!("CARGO_BIN_EXE_pointsman")))
    }

    /// The same, for another program as the proxy.
    pub fn with_binary(binary: &Path) -> Option<Self> {
        let nft = requirements::nft_or_skip()?;
        let node = Node::new(binary, nft);
        let server = node.host.enter(ApiServer::start);
        server.apply(apiserver::service_cidr("kubernetes", &["10.96.0.0/16"]));
        server.apply(apiserver::node("node-a"));
        server.apply(apiserver::service("default/web", WEB));
        let cluster = Self { node, server, folder: tempfile::tempdir().expect("a folder") };
        cluster.endpoints(&[11]);
        for pod in [11, 12, 13] {
            cluster.node.serve(SocketAddr::new(Family::V4.pod_ip(pod), 8080));
        }
        Some(cluster)
    }

    /// Makes these pods the endpoints of `default/web`.
    pub fn endpoints(&self, pods: &[u16]) {
        let addresses: Vec<String> = pods.iter().map(|pod| Family::V4.pod_ip(*pod).to_string()).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        self.server.apply(apiserver::slice("default/web-1", "web", &addresses));
    }

    /// Starts the proxy.
    pub fn start(&self) -> Proxy {
        let kubeconfig = self.server.write_kubeconfig(self.folder.path());
        let kubeconfig = kubeconfig.to_str().expect("a path of letters");
        self.node.start_pointsman(&["--kubeconfig", kubeconfig, "--watch-timeout", "2", "--log-level", "info"])
    }

    /// Waits until a new connection to `default/web` reaches this pod.
    pub fn until_web_reaches(&self, proxy: &Proxy, pod: u16) {
        let expected = Family::V4.pod_ip(pod);
        until(proxy, &format!("web reaches {expected}"), || {
            let request = self.node.tcp(WEB.parse().expect("an address"), 80);
            request.timeout(Duration::from_millis(300)).send().is_ok_and(|answer| answer.server.ip() == expected)
        });
    }
}

/// Waits until a condition holds.
pub fn until(proxy: &Proxy, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}\n{}", proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Status line and body of a page that the proxy serves on the node.
pub fn page(host: &Namespace, port: u16, path: &str) -> Option<(String, String)> {
    host.enter(|| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.lines().next()?.to_owned(), body.to_owned()))
    })
}

/// The status line of a health page.
pub fn status(host: &Namespace, path: &str) -> String {
    page(host, 10256, path).map_or_else(|| "no answer".to_owned(), |(status, _)| status)
}

#[test]
fn changes_at_the_api_server_are_programmed() {
    let Some(cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    cluster.until_web_reaches(&proxy, 11);
    cluster.endpoints(&[12]);
    cluster.until_web_reaches(&proxy, 12);
    cluster.server.delete(Resource::Services, "default/web");
    let addr = WEB.parse().expect("an address");
    until(&proxy, "web is gone", || cluster.node.tcp(addr, 80).timeout(Duration::from_millis(100)).send().is_err());
    let ended = proxy.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn connections_survive_a_lost_api_server_and_missed_changes_follow() {
    let Some(mut cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    cluster.until_web_reaches(&proxy, 11);
    let request = cluster.node.tcp(WEB.parse().expect("an address"), 80);
    let (mut connection, _) = request.open().expect("web answers");
    cluster.server.down();
    std::thread::sleep(Duration::from_millis(2_500));
    cluster.until_web_reaches(&proxy, 11);
    cluster.endpoints(&[13]);
    let server = &mut cluster.server;
    cluster.node.host.enter(|| server.up());
    cluster.until_web_reaches(&proxy, 13);
    connection.ping().expect("the open connection is unbroken");
    assert_eq!(status(&cluster.node.host, "/healthz"), "HTTP/1.0 200 OK");
    let metrics = proxy.metrics(&cluster.node.host);
    assert!(metrics.contains("pointsman_watch_restarts_total{kind=\"EndpointSlice\"}"), "{metrics}");
}

#[test]
fn health_waits_for_the_first_sync_and_follows_the_node() {
    let Some(mut cluster) = Cluster::new() else { return };
    cluster.server.down();
    let proxy = cluster.start();
    until(&proxy, "pages are served", || status(&cluster.node.host, "/livez") == "HTTP/1.0 200 OK");
    assert_eq!(status(&cluster.node.host, "/healthz"), "HTTP/1.0 503 Service Unavailable");
    let server = &mut cluster.server;
    cluster.node.host.enter(|| server.up());
    until(&proxy, "it is ready", || status(&cluster.node.host, "/healthz") == "HTTP/1.0 200 OK");
    let (_, body) = page(&cluster.node.host, 10256, "/healthz").expect("a page");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&body["healthy"], &body["nodeEligible"]), (&true.into(), &true.into()), "{body}");
    assert_eq!(body["status"]["IPv4"]["healthy"], true, "{body}");

    let mut node = apiserver::node("node-a");
    node["spec"]["taints"] = serde_json::json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
    cluster.server.apply(node);
    until(&proxy, "the node is not eligible", || {
        status(&cluster.node.host, "/healthz") == "HTTP/1.0 503 Service Unavailable"
    });
    assert_eq!(status(&cluster.node.host, "/livez"), "HTTP/1.0 200 OK");
}

#[test]
fn metrics_count_events_operations_and_syncs() {
    let Some(cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    cluster.until_web_reaches(&proxy, 11);
    cluster.endpoints(&[12]);
    cluster.until_web_reaches(&proxy, 12);
    // The kernel holds a batch a little before nft ends and the proxy knows.
    until(&proxy, "the second commit is counted", || {
        proxy.metrics(&cluster.node.host).contains("pointsman_syncs_total{result=\"committed\"} 2")
    });
    let metrics = proxy.metrics(&cluster.node.host);
    for expected in [
        "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.001\"}",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"}",
        "kubeproxy_sync_proxy_rules_endpoint_changes_total 2",
        "pointsman_batch_operations_bucket{object=\"element\",verb=\"add\",le=\"1\"} 1",
        "pointsman_batch_operations_count{object=\"element\",verb=\"delete\"} 1",
        "pointsman_batch_bytes_count 2",
        "pointsman_elements{ip_family=\"IPv4\",set=\"endpoints\"} 1",
        "pointsman_events_total{kind=\"Service\",change=\"reset\"} 1",
        "pointsman_event_to_commit_seconds_count",
        "pointsman_syncs_total{result=\"committed\"} 2",
        "pointsman_read_backs_total{cause=\"start\"} 1",
        "pointsman_api_requests_total{kind=\"Service\",code=\"200\"}",
    ] {
        assert!(metrics.contains(expected), "no {expected} in\n{metrics}");
    }
}

#[test]
fn a_recorded_journal_replays_to_the_same_dataplane() {
    let Some(cluster) = Cluster::new() else { return };
    let journal = cluster.folder.path().join("journal.jsonl");
    let journal = journal.to_str().expect("a path of letters");
    let kubeconfig = cluster.server.write_kubeconfig(cluster.folder.path());
    let kubeconfig = kubeconfig.to_str().expect("a path of letters");
    let proxy = cluster.node.start_pointsman(&["--kubeconfig", kubeconfig, "--record", journal]);
    cluster.until_web_reaches(&proxy, 11);
    cluster.endpoints(&[12, 13]);
    until(&proxy, "two endpoints are programmed", || {
        cluster.node.nft(&["list", "map", "ip", "pointsman", "endpoints"]).matches("8080").count() == 2
    });
    proxy.kill();

    let replay = |extra: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pointsman"));
        let output = command.args(["replay", journal]).args(extra).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let last = replay(&[]);
    let endpoint = |pod| format!("+ endpoint {}:8080", Family::V4.pod_ip(pod));
    assert!(last.contains(&endpoint(12)) && last.contains(&endpoint(13)) && !last.contains(&endpoint(11)), "{last}");
    assert!(replay(&["--until", "4"]).contains(&endpoint(11)), "the four lists are the first events");
}
