//! The health pages over real HTTP: of a loop whose commits fail, and under clients that take connections and keep them.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use pointsman::apply::{Backend, Error, MemoryKernel, Receipt, Refusal};
use pointsman::dataplane::{Element, Family, Operation, Options, Tables};
use pointsman::diff::Scope;
use pointsman::engine::EngineSettings;
use pointsman::host::raise_descriptor_limit;
use pointsman::observe::{Events, Health, Listener, Pages, PortLimits};
use pointsman::proxy::{Proxy, Until};
use pointsman::state::{Event, View};
use pointsman::status::NodeState;
use pointsman::tasks::Supervisor;
use pointsman::watch::Received;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[allow(dead_code, clippy::print_stdout, reason = "this test program uses a part of it, and prints")]
#[path = "common/skip.rs"]
mod skip;

/// How long a change may wait in these tests.
const PATIENCE: Duration = Duration::from_millis(500);

/// A kernel whose commits fail while the switch is on, and each take some time.
struct Broken {
    kernel: MemoryKernel,
    broken: Arc<AtomicBool>,
    takes: Duration,
}

impl Backend for Broken {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.kernel.read(families)
    }

    async fn clients(&mut self, _: pointsman::dataplane::Frontend) -> Result<Vec<Element>, Error> {
        Ok(Vec::new())
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        tokio::time::sleep(self.takes).await;
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

/// A kernel whose second commit never ends.
struct Hanging {
    kernel: MemoryKernel,
    commits: usize,
}

impl Backend for Hanging {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.kernel.read(families)
    }

    async fn clients(&mut self, _: pointsman::dataplane::Frontend) -> Result<Vec<Element>, Error> {
        Ok(Vec::new())
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        self.commits += 1;
        if self.commits > 1 {
            std::future::pending::<()>().await;
        }
        self.kernel.apply(operations).expect("a valid batch");
        Ok(Receipt::default())
    }
}

fn service(name: &str, ip: &str) -> Received {
    let text = format!(
        r#"{{"service-applied":{{"object":{{"name":{{"namespace":"shop","name":"{name}"}},"cluster_ips":["{ip}"],
        "ports":[{{"name":"http","protocol":"TCP","port":80}}]}}}}}}"#
    );
    Received::now(serde_json::from_str(&text).expect("an event"))
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_is_behind_and_a_loop_that_is_gone_does_not_answer() {
    let health = Health::default();
    let view = View { node_name: "node-a".into(), ..View::default() };
    let kernel = Hanging { kernel: MemoryKernel::new(), commits: 0 };
    let mut proxy = Proxy::new(kernel, EngineSettings::new(Scope::dual_stack(Options::default()), view))
        .with_observers(health.clone(), Events::default());
    let (events, mut received) = mpsc::channel(10);
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(async move { proxy.run(&mut received, Until::Shutdown, &shutdown).await });
    let state = async || health.board().report().await.verdict;
    assert_eq!(state().await.state, NodeState::Starting);
    let node = r#"{"nodes-reset":[{"object":{"name":{"namespace":"","name":"node-a"}}}]}"#;
    let node: Event = serde_json::from_str(node).expect("an event");
    for event in
        [Event::ServicesReset(Vec::new()), Event::SlicesReset(Vec::new()), Event::ServiceCidrsReset(Vec::new()), node]
    {
        events.send(Received::now(event)).await.expect("the loop runs");
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(state().await.state, NodeState::Synced);
    events.send(service("web", "10.96.0.1")).await.expect("the loop runs");
    tokio::time::sleep(Duration::from_millis(900)).await;
    let verdict = state().await;
    assert_eq!(verdict.state, NodeState::Behind, "{verdict:?}");
    run.abort();
    let verdict = state().await;
    assert_eq!(verdict.state, NodeState::Behind, "{verdict:?}");
    assert!(verdict.why.contains("does not answer"), "{verdict:?}");
}

#[tokio::test]
async fn the_loop_is_healthy_and_answers_while_the_slices_of_a_huge_change_are_committed() {
    let health = Health::with_sync_period(PATIENCE / 2);
    let takes = PATIENCE / 10;
    let kernel = Broken { kernel: MemoryKernel::new(), broken: Arc::default(), takes };
    let view = View { node_name: "node-a".into(), ..View::default() };
    let settings = EngineSettings::new(Scope::dual_stack(Options::default()), view);
    let mut proxy = Proxy::new(kernel, EngineSettings { max_slice: 20, ..settings })
        .with_observers(health.clone(), Events::default());
    let (events, mut received) = mpsc::channel(10);
    let service = |i: usize| {
        format!(
            r#"{{"object":{{"name":{{"namespace":"shop","name":"web-{i}"}},"cluster_ips":["10.96.{}.{}"],
            "ports":[{{"name":"http","protocol":"TCP","port":80}}]}}}}"#,
            i / 250,
            i % 250 + 1
        )
    };
    let services: Vec<String> = (0..500).map(service).collect();
    for event in [
        format!(r#"{{"services-reset":[{}]}}"#, services.join(",")),
        r#"{"slices-reset":[]}"#.to_owned(),
        r#"{"service-cidrs-reset":[]}"#.to_owned(),
        r#"{"nodes-reset":[{"object":{"name":{"namespace":"","name":"node-a"}}}]}"#.to_owned(),
    ] {
        let event: Event = serde_json::from_str(&event).expect("an event");
        events.send(Received::now(event)).await.expect("the loop runs");
    }
    let began = Instant::now();
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(async move { proxy.run(&mut received, Until::FirstSync, &shutdown).await });
    while !run.is_finished() {
        assert!(health.report(Instant::now()).healthy, "after {:?}", began.elapsed());
        let report = health.board().report().await;
        assert!(run.is_finished() || report.snapshot.is_some(), "no answer between two slices: {:?}", report.verdict);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.await.expect("no panic").expect("no error");
    assert!(began.elapsed() > 2 * PATIENCE, "too quick to show anything: {:?}", began.elapsed());
}

/// How many connections a client opens and leaves idle.
const IDLE_CONNECTIONS: usize = 2_000;

#[tokio::test]
async fn a_client_with_two_thousand_idle_connections_leaves_the_page_to_others() {
    // A descriptor for each end, and some to spare.
    if raise_descriptor_limit() < 2 * IDLE_CONNECTIONS as u64 + 500 {
        return skip::lacks(format_args!(
            "the limit of file descriptors is too low for {IDLE_CONNECTIONS} connections"
        ));
    }
    let health = Health::default();
    health.node(true);
    health.synced(Timestamp::UNIX_EPOCH);
    let pages = Pages::Health(health, Family::ALL.to_vec());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), pages).await.expect("a free port");
    let (address, supervisor) = (listener.address().expect("bound"), Supervisor::default());
    tokio::spawn(listener.serve(PortLimits::for_descriptors(1_024), supervisor));
    let mut idle = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        idle.push(TcpStream::connect(address).await.expect("accepted"));
    }
    let asked = Instant::now();
    assert_eq!(page(address, "/healthz").await.0, 200);
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    let mut open = 0;
    for stream in &mut idle {
        let closed = tokio::time::timeout(Duration::from_millis(1), stream.read_u8()).await.is_ok();
        open += usize::from(!closed);
    }
    assert!(open < 100, "{open} of {IDLE_CONNECTIONS} idle connections are still open");
}

#[tokio::test]
async fn a_client_that_uses_its_connection_keeps_it_while_others_of_it_are_closed() {
    let pages = Pages::Health(Health::default(), Family::ALL.to_vec());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), pages).await.expect("a free port");
    let address = listener.address().expect("bound");
    tokio::spawn(listener.serve(PortLimits::for_descriptors(256), Supervisor::default()));
    let mut used = TcpStream::connect(address).await.expect("accepted");
    let mut idle = Vec::new();
    for _ in 0..100 {
        used.write_all(b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n").await.expect("still open");
        let mut answer = [0; 12];
        used.read_exact(&mut answer).await.expect("still open");
        assert_eq!(&answer, b"HTTP/1.1 200");
        while used.try_read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
        idle.push(TcpStream::connect(address).await.expect("accepted"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_half_a_request_is_not_waited_for() {
    let pages = Pages::Health(Health::default(), Family::ALL.to_vec());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), pages).await.expect("a free port");
    let address = listener.address().expect("bound");
    tokio::spawn(listener.serve(PortLimits::default(), Supervisor::default()));
    let mut stream = TcpStream::connect(address).await.expect("accepted");
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.expect("sent");
    let asked = Instant::now();
    // The clock goes on by itself when all tasks sleep.
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!((asked.elapsed().as_secs(), answer.len()), (10, 0));
}

#[tokio::test]
async fn commits_that_fail_for_too_long_are_unhealthy_from_the_first_sync_on_until_one_succeeds() {
    let health = Health::with_sync_period(PATIENCE / 2);
    let pages = Pages::Health(health.clone(), Family::ALL.to_vec());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), pages).await.expect("a free port");
    let (address, shutdown) = (listener.address().expect("bound"), CancellationToken::new());
    tokio::spawn(listener.serve(PortLimits::default(), Supervisor::new(shutdown.clone())));
    let broken = Arc::new(AtomicBool::new(true));
    let kernel = Broken { kernel: MemoryKernel::new(), broken: Arc::clone(&broken), takes: Duration::ZERO };
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
