use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

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
        let ended = tokio::spawn(listener.serve(shutdown.clone()));
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
    assert_eq!(names(&body), ["currentTime", "healthy", "lastUpdated", "nodeEligible", "status"]);
    assert_eq!((&body["healthy"], &body["nodeEligible"]), (&true.into(), &true.into()));
    for family in ["IPv4", "IPv6"] {
        let status = &body["status"][family];
        assert_eq!(*status, serde_json::json!({"healthy": true, "lastUpdated": "1970-01-01T00:00:00Z"}));
    }
    assert_eq!(body["lastUpdated"], body["currentTime"], "a healthy proxy says now");
    assert_eq!(names(&served.body("/livez").await), ["currentTime", "healthy", "lastUpdated", "status"]);
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
    let recorder = crate::observe::metrics::recorder().unwrap();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || counter!(HEALTHZ, "code" => "200").increment(3));
    let served = Served::new(Pages::Metrics(handle)).await;
    let (code, _, body) = served.request("GET", "/metrics").await;
    assert_eq!(code, 200);
    assert!(body.contains("kubeproxy_proxy_healthz_total{code=\"200\"} 3\n"), "{body}");
    assert_eq!(served.request("GET", "/healthz").await.2, "ok");
    assert_eq!(served.code("/livez").await, 404);
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
    let handle = crate::observe::metrics::recorder().unwrap().handle();
    for (pages, option) in
        [(Pages::Health(good(), Vec::new()), "health checks: "), (Pages::Metrics(handle), "metrics: ")]
    {
        let Err(error) = Listener::bind(served.address, pages).await else { panic!("bound twice") };
        let error = error.to_string();
        assert!(error.starts_with(&format!("cannot listen on {} for {option}", served.address)), "{error}");
        assert!(error.contains("-bind-address, or \"\" for none"), "{error}");
    }
}
