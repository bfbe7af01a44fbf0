//! The health pages of a loop whose commits fail, over real HTTP.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pointsman::apply::{Backend, Error, MemoryKernel, Receipt, Refusal};
use pointsman::dataplane::{Element, Family, Operation, Options, Tables};
use pointsman::diff::Scope;
use pointsman::engine::EngineSettings;
use pointsman::observe::{Events, Health, Listener, Pages};
use pointsman::proxy::{Proxy, Until};
use pointsman::state::{Event, View};
use pointsman::watch::Received;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a change may wait in these tests.
const PATIENCE: Duration = Duration::from_millis(500);

/// A kernel whose commits fail while the switch is on.
struct Broken {
    kernel: MemoryKernel,
    broken: Arc<AtomicBool>,
}

impl Backend for Broken {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.kernel.read(families)
    }

    async fn clients(&mut self, _: Family, _: bool) -> Result<Vec<Element>, Error> {
        Ok(Vec::new())
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        if self.broken.load(Ordering::SeqCst) {
            let detail = "broken for a test".to_owned();
            return Err(Error::Refused { doing: "committing a batch", refusal: Refusal::Other, detail });
        }
        self.kernel.apply(operations).expect("a valid batch");
        Ok(Receipt::default())
    }
}

/// Status and body of a page.
async fn page(address: SocketAddr, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.expect("the page is served");
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).expect("JSON"))
}

/// Waits until both pages answer so.
async fn until(address: SocketAddr, expected: (u16, u16)) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let answers = (page(address, "/healthz").await.0, page(address, "/livez").await.0);
        if answers == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{answers:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn commits_that_fail_for_too_long_are_unhealthy_from_the_first_sync_on_until_one_succeeds() {
    let health = Health::with_sync_period(PATIENCE / 2);
    let pages = Pages::Health(health.clone(), Family::ALL.to_vec());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), pages).await.expect("a free port");
    let (address, shutdown) = (listener.address().expect("bound"), CancellationToken::new());
    tokio::spawn(listener.serve(shutdown.clone()));
    let broken = Arc::new(AtomicBool::new(true));
    let kernel = Broken { kernel: MemoryKernel::new(), broken: Arc::clone(&broken) };
    let view = View { node_name: "node-a".into(), ..View::default() };
    let mut proxy = Proxy::new(kernel, EngineSettings::new(Scope::dual_stack(Options::default()), view))
        .with_observers(health, Events::default());
    let (events, mut received) = mpsc::channel(10);
    let ending = shutdown.clone();
    let run = tokio::spawn(async move { proxy.run(&mut received, Until::Shutdown, &ending).await });

    // Nothing is known yet, so nothing waits; but no load balancer should send traffic here.
    tokio::time::sleep(PATIENCE + Duration::from_millis(100)).await;
    until(address, (503, 200)).await;
    let node = r#"{"nodes-reset":[{"object":{"name":{"namespace":"","name":"node-a"}}}]}"#;
    let node: Event = serde_json::from_str(node).expect("an event");
    for event in
        [Event::ServicesReset(Vec::new()), Event::SlicesReset(Vec::new()), Event::ServiceCidrsReset(Vec::new()), node]
    {
        events.send(Received::now(event)).await.expect("the loop runs");
    }
    // The first sync fails, and goes on to fail.
    until(address, (503, 503)).await;
    let (_, body) = page(address, "/healthz").await;
    assert_eq!((&body["healthy"], &body["nodeEligible"]), (&false.into(), &true.into()), "{body}");
    assert_eq!(body["status"]["IPv6"]["healthy"], false, "{body}");
    assert_eq!(body["lastUpdated"], "1970-01-01T00:00:00Z", "there was no sync: {body}");

    broken.store(false, Ordering::SeqCst);
    until(address, (200, 200)).await;
    let (_, body) = page(address, "/healthz").await;
    assert_eq!((&body["healthy"], &body["status"]["IPv4"]["healthy"]), (&true.into(), &true.into()), "{body}");
    // A change of IPv4 alone fails: IPv6 has all that it should.
    broken.store(true, Ordering::SeqCst);
    let service = r#"{"service-applied":{"object":{"name":{"namespace":"shop","name":"web"},"cluster_ips":["10.96.0.1"],
        "ports":[{"name":"http","protocol":"TCP","port":80}]}}}"#;
    let service: Event = serde_json::from_str(service).expect("an event");
    events.send(Received::now(service)).await.expect("the loop runs");
    until(address, (503, 503)).await;
    let (_, body) = page(address, "/livez").await;
    let healthy = |family: &str| body["status"][family]["healthy"].clone();
    assert_eq!((healthy("IPv4"), healthy("IPv6")), (false.into(), true.into()), "{body}");
    broken.store(false, Ordering::SeqCst);
    until(address, (200, 200)).await;
    shutdown.cancel();
    run.await.expect("no panic").expect("no error");
}
