use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::metrics::HEALTHZ;
use crate::observe::{AffinityFrontends, ClientCounts, ConnectionCounts};
use crate::watch::Connection;
use jiff::Timestamp;
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use std::sync::Mutex;

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Pages that are being served.
struct Served {
    address: SocketAddr,
    shutdown: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn new(pages: Pages) -> Self {
        let listener = Listener::bind(LOCAL, pages).await.unwrap();
        let (address, shutdown) = (listener.listener.local_addr().unwrap(), CancellationToken::new());
        let ended = tokio::spawn(listener.serve(PortLimits::default(), Supervisor::new(shutdown.clone())));
        Self { address, shutdown, ended }
    }

    async fn health(health: &Health) -> Self {
        Self::new(Pages::Health(health.clone(), Family::ALL.to_vec())).await
    }

    /// Status code, headers in lower case and body.
    async fn request(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    async fn code(&self, path: &str) -> u16 {
        self.request("GET", path).await.0
    }

    async fn body(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.request("GET", path).await.2).unwrap()
    }
}

/// The pages of the metrics address.
fn about(metrics: PrometheusHandle) -> Pages {
    let configuration = json!({"kind": "KubeProxyConfiguration", "mode": "nftables"});
    let command_line = vec!["pointsman".to_owned(), "--once".to_owned()];
    Pages::Metrics(Arc::new(About {
        connection: Connection::default(),
        node: "node-a".to_owned(),
        board: good().board().clone(),
        metrics,
        clients: Mutex::new(ClientCounts::new(&[], AffinityFrontends::default(), 0)),
        connections: Mutex::new(ConnectionCounts::new(&[], false)),
        has_counters: false,
        configuration,
        command_line,
        started: Timestamp::now(),
    }))
}

/// A health that has synced on an eligible node.
fn good() -> Health {
    let health = Health::default();
    health.node(true);
    health.synced(Timestamp::UNIX_EPOCH);
    health
}

#[tokio::test]
async fn a_synced_proxy_on_an_eligible_node_is_healthy() {
    let served = Served::health(&good()).await;
    assert_eq!((served.code("/healthz").await, served.code("/livez").await), (200, 200));
}

#[tokio::test]
async fn before_the_first_sync_it_is_alive_but_gets_no_traffic() {
    let health = Health::default();
    health.node(true);
    let served = Served::health(&health).await;
    assert_eq!((served.code("/healthz").await, served.code("/livez").await), (503, 200));
}

#[tokio::test]
async fn a_node_that_is_going_away_gets_no_traffic_but_is_alive() {
    let health = good();
    health.node(false);
    let served = Served::health(&health).await;
    assert_eq!((served.code("/healthz").await, served.code("/livez").await), (503, 200));
}

#[tokio::test]
async fn a_proxy_that_cannot_sync_is_neither_healthy_nor_alive() {
    let health = good();
    let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(61)) else { return };
    health.requested(long_ago);
    let served = Served::health(&health).await;
    assert_eq!((served.code("/healthz").await, served.code("/livez").await), (503, 503));
}

#[tokio::test]
async fn the_body_has_kube_proxys_fields() {
    let served = Served::health(&good()).await;
    let names = |body: &serde_json::Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let body = served.body("/healthz").await;
    assert_eq!(names(&body), ["currentTime", "healthy", "lastUpdated", "nodeEligible", "state", "status"]);
    assert_eq!((&body["healthy"], &body["nodeEligible"]), (&true.into(), &true.into()));
    for family in ["IPv4", "IPv6"] {
        let status = &body["status"][family];
        assert_eq!(*status, serde_json::json!({"healthy": true, "lastUpdated": "1970-01-01T00:00:00Z"}));
    }
    assert_eq!(body["lastUpdated"], body["currentTime"], "a healthy proxy says now");
    assert_eq!(names(&served.body("/livez").await), ["currentTime", "healthy", "lastUpdated", "state", "status"]);
}

#[tokio::test]
async fn an_unhealthy_proxy_says_when_it_last_synced() {
    let health = good();
    health.node(false);
    let body = Served::health(&health).await.body("/healthz").await;
    assert_eq!(body["lastUpdated"], "1970-01-01T00:00:00Z");
}

#[tokio::test]
async fn health_is_json_and_answers_any_method() {
    let served = Served::health(&good()).await;
    for method in ["GET", "POST", "OPTIONS"] {
        let (code, head, _) = served.request(method, "/healthz").await;
        assert_eq!(code, 200, "{method}");
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
    assert_eq!(served.code("/metrics").await, 404);
}

#[tokio::test]
async fn metrics_are_served_as_text() {
    let recorder = crate::metrics::recorder().unwrap();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || counter!(HEALTHZ, "code" => "200").increment(3));
    let served = Served::new(about(handle)).await;
    let (code, _, body) = served.request("GET", "/metrics").await;
    assert_eq!(code, 200);
    assert!(body.contains("kubeproxy_proxy_healthz_total{code=\"200\"} 3\n"), "{body}");
    assert!(body.contains("# TYPE process_cpu_seconds_total counter\n"), "{body}");
    assert_eq!(served.code("/livez").await, 404);
}

#[tokio::test]
async fn the_other_pages_of_the_metrics_address_are_those_of_kube_proxy() {
    let served = Served::new(about(crate::metrics::recorder().unwrap().handle())).await;
    for (path, expected) in [("/healthz", "ok"), ("/proxyMode", "nftables"), ("/metrics/slis", "")] {
        let (code, head, body) = served.request("GET", path).await;
        assert_eq!((code, body.as_str()), (200, expected), "{path}");
        assert!(head.contains("content-type: text/plain; "), "{path}: {head}");
    }
    assert_eq!(served.request("DELETE", "/metrics/slis").await.0, 200);
    let configuration = json!({"kind": "KubeProxyConfiguration", "mode": "nftables"});
    assert_eq!(served.body("/configz").await, json!({"kubeproxy.config.k8s.io": configuration}));
    assert!(served.request("GET", "/flagz").await.2.contains("\npointsman\n--once\n"));
    assert!(served.request("GET", "/statusz").await.2.contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(served.code("/debug/pprof/").await, 404);
}

#[tokio::test]
async fn without_counters_the_page_of_connections_says_how_to_get_them() {
    let served = Served::new(about(crate::metrics::recorder().unwrap().handle())).await;
    let (code, _, body) = served.request("GET", "/connectionsz").await;
    assert_eq!(code, 404);
    assert!(body.contains("start the proxy with --counters"), "{body}");
}

#[tokio::test]
async fn all_addresses_of_ipv4_stand_for_those_of_ipv6_as_well() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let listener = Listener::bind(everywhere, Pages::Health(good(), Vec::new())).await.unwrap();
    let (port, shutdown) = (listener.address().unwrap().port(), CancellationToken::new());
    let ended = tokio::spawn(listener.serve(PortLimits::default(), Supervisor::new(shutdown.clone())));
    let mut served = Served { address: SocketAddr::from(([127, 0, 0, 1], port)), shutdown, ended };
    assert_eq!(served.code("/livez").await, 200);
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        served.address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        assert_eq!(served.code("/livez").await, 200);
    }
}

#[tokio::test]
async fn an_address_that_becomes_free_is_served_then() {
    let taken = TcpListener::bind(LOCAL).await.unwrap();
    let (address, shutdown) = (taken.local_addr().unwrap(), CancellationToken::new());
    let pages = Pages::Health(good(), Vec::new());
    let serving = tokio::spawn(Listener::serve_when_free(
        address,
        pages,
        PortLimits::default(),
        Supervisor::new(shutdown.clone()),
    ));
    // Two attempts in vain; the clock goes on by itself when all tasks sleep.
    tokio::time::pause();
    tokio::time::sleep(2 * LISTEN_RETRY_PAUSE + Duration::from_millis(1)).await;
    drop(taken);
    tokio::time::sleep(LISTEN_RETRY_PAUSE).await;
    tokio::time::resume();
    let served = Served { address, shutdown, ended: serving };
    assert_eq!(served.code("/livez").await, 200);
    served.shutdown.cancel();
    served.ended.await.unwrap();
}

#[tokio::test]
async fn a_first_sync_that_never_succeeds_becomes_unhealthy() {
    let health = Health::with_sync_period(Duration::from_millis(25));
    health.node(true);
    let served = Served::health(&health).await;
    health.requested(Instant::now());
    assert_eq!(served.code("/livez").await, 200);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!((served.code("/healthz").await, served.code("/livez").await), (503, 503));
    let body = served.body("/livez").await;
    assert_eq!((&body["healthy"], &body["status"]["IPv4"]["healthy"]), (&false.into(), &false.into()));
}

#[tokio::test]
async fn a_lost_api_server_is_told_and_changes_no_status() {
    let health = good();
    health.connection().opened(crate::state::Kind::Service);
    let served = Served::health(&health).await;
    assert_eq!(served.body("/healthz").await["apiServer"]["connected"], true);
    health.connection().lost(crate::state::Kind::Service);
    for path in ["/healthz", "/livez"] {
        let (code, _, body) = served.request("GET", path).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, &body["apiServer"]["connected"]), (200, &false.into()), "{body}");
        let time = |field| body["apiServer"][field].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert!(time("lastHeard") <= time("since"), "{body}");
    }
}

#[tokio::test]
async fn pages_end_when_asked_to() {
    let served = Served::health(&good()).await;
    assert_eq!(served.code("/livez").await, 200);
    served.shutdown.cancel();
    served.ended.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_option() {
    let served = Served::health(&good()).await;
    let handle = crate::metrics::recorder().unwrap().handle();
    for (pages, option) in [(Pages::Health(good(), Vec::new()), "health checks: "), (about(handle), "metrics: ")] {
        let Err(error) = Listener::bind(served.address, pages).await else { panic!("bound twice") };
        let error = error.to_string();
        assert!(error.starts_with(&format!("cannot listen on {} for {option}", served.address)), "{error}");
        assert!(error.contains("-bind-address, or \"\" for none"), "{error}");
    }
}
