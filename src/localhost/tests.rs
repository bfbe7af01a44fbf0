//! Real connections on the loopback interface, at ports that the kernel gives.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::*;
use crate::dataplane::Endpoint;
use crate::fixtures::{World, ip, name, service, slice};
use crate::state::{Exposure, Outcome};

const LIMITS: LoopbackLimits = LoopbackLimits { connections: 64, per_port: 32, listeners: 8 };

/// Served NodePorts that a test changes by hand.
struct Served {
    pending: Arc<PendingPorts>,
    _supervisor: Supervisor,
}

impl Served {
    fn new(limits: LoopbackLimits) -> Self {
        let (pending, supervisor) = (Arc::<PendingPorts>::default(), Supervisor::default());
        supervisor.spawn("a test", LoopbackPorts::new(limits, Events::default()).run(Arc::clone(&pending)));
        Self { pending, _supervisor: supervisor }
    }

    fn set(&self, port: u16, spec: Option<FrontendSpec>) {
        let key = (Family::Ip, NonZeroU16::new(port).unwrap());
        self.pending.lock().insert(key, spec.map(Arc::new));
        self.pending.changed.notify_one();
    }
}

/// A service port with these endpoints.
fn spec(service: &str, endpoints: &[SocketAddr]) -> FrontendSpec {
    let mut endpoints: Vec<Endpoint> = endpoints.iter().map(|at| Endpoint { addr: at.ip(), port: at.port() }).collect();
    endpoints.sort_unstable();
    FrontendSpec {
        service: name(service),
        owner: service.into(),
        created: None,
        exposure: Exposure::External,
        outcome: if endpoints.is_empty() { Outcome::Reject } else { Outcome::Balance(endpoints.into()) },
        affinity: None,
        sources: None,
    }
}

/// An endpoint that repeats what it hears, and at the end of that says its own port.
async fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.write_all(address.port().to_string().as_bytes()).await;
            });
        }
    });
    address
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A connection to a NodePort, once it is served.
async fn connect(port: u16) -> TcpStream {
    for _ in 0..200 {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
            return stream;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("port {port} is not served");
}

/// What comes back for a text and the end of what this side says.
async fn ask(port: u16, text: &str) -> String {
    let mut stream = connect(port).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn is_refused(port: u16) {
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("port {port} is still served");
}

#[tokio::test]
async fn a_side_that_has_said_everything_still_hears_the_other_one() {
    let (served, port, endpoint) = (Served::new(LIMITS), free_port(), endpoint().await);
    served.set(port, Some(spec("shop/web", &[endpoint])));
    assert_eq!(ask(port, "hello ").await, format!("hello {}", endpoint.port()));
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let (served, port, endpoint) = (Served::new(LIMITS), free_port(), endpoint().await);
    served.set(port, Some(spec("shop/web", &[endpoint, SocketAddr::from(([127, 0, 0, 1], free_port()))])));
    for _ in 0..20 {
        assert_eq!(ask(port, "").await, endpoint.port().to_string());
    }
}

#[tokio::test]
async fn affinity_keeps_a_client_at_its_endpoint_while_that_is_there() {
    let (served, port) = (Served::new(LIMITS), free_port());
    let endpoints = [endpoint().await, endpoint().await, endpoint().await];
    let with_affinity = |endpoints: &[SocketAddr]| FrontendSpec {
        affinity: std::num::NonZeroU32::new(100),
        ..spec("shop/web", endpoints)
    };
    served.set(port, Some(with_affinity(&endpoints)));
    let first = ask(port, "").await;
    for _ in 0..20 {
        assert_eq!(ask(port, "").await, first);
    }
    let others: Vec<_> = endpoints.into_iter().filter(|other| other.port().to_string() != first).collect();
    served.set(port, Some(with_affinity(&others)));
    sleep(Duration::from_millis(100)).await;
    assert_ne!(ask(port, "").await, first);
}

#[tokio::test]
async fn without_endpoints_connections_are_refused_and_open_ones_go_on() {
    let (served, port, endpoint) = (Served::new(LIMITS), free_port(), endpoint().await);
    served.set(port, Some(spec("shop/web", &[endpoint])));
    let mut open = connect(port).await;
    open.write_all(b"a").await.unwrap();
    open.read_u8().await.unwrap();
    served.set(port, Some(spec("shop/web", &[])));
    is_refused(port).await;
    open.write_all(b"b").await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'b');
    served.set(port, Some(spec("shop/web", &[endpoint])));
    assert_eq!(ask(port, "").await, endpoint.port().to_string());
}

#[tokio::test]
async fn connections_end_with_their_node_port_and_when_another_service_gets_it() {
    let (served, port, endpoint) = (Served::new(LIMITS), free_port(), endpoint().await);
    for next in [None, Some(spec("shop/other", &[endpoint]))] {
        served.set(port, Some(spec("shop/web", &[endpoint])));
        let mut open = connect(port).await;
        open.write_all(b"a").await.unwrap();
        open.read_u8().await.unwrap();
        served.set(port, next);
        let end = timeout(Duration::from_secs(5), open.read(&mut [0; 8])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    assert_eq!(ask(port, "").await, endpoint.port().to_string());
}

#[tokio::test]
async fn a_port_that_another_program_has_costs_only_that_port_and_is_served_once_it_is_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (served, endpoint) = (Served::new(LIMITS), endpoint().await);
    let (taken_port, port) = (taken.local_addr().unwrap().port(), free_port());
    served.set(taken_port, Some(spec("shop/unlucky", &[endpoint])));
    served.set(port, Some(spec("shop/web", &[endpoint])));
    assert_eq!(ask(port, "").await, endpoint.port().to_string());
    drop(taken);
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(ask(taken_port, "").await, endpoint.port().to_string());
}

#[tokio::test]
async fn at_the_bound_of_connections_the_next_ones_wait_and_other_ports_do_not() {
    let limits = LoopbackLimits { connections: 8, per_port: 4, listeners: 8 };
    let (served, busy, quiet, endpoint) = (Served::new(limits), free_port(), free_port(), endpoint().await);
    served.set(busy, Some(spec("shop/busy", &[endpoint])));
    served.set(quiet, Some(spec("shop/quiet", &[endpoint])));
    let mut open = Vec::new();
    for _ in 0..6 {
        let mut stream = connect(busy).await;
        stream.write_all(b"a").await.unwrap();
        open.push(stream);
    }
    for stream in &mut open[..4] {
        stream.read_u8().await.unwrap();
    }
    let waiting = timeout(Duration::from_millis(200), open[4].read_u8()).await;
    assert!(waiting.is_err(), "the fifth waits");
    assert_eq!(ask(quiet, "").await, endpoint.port().to_string());
    drop(open.remove(0));
    timeout(Duration::from_secs(5), open[3].read_u8()).await.expect("one that waited is served").unwrap();
}

#[tokio::test]
async fn a_side_that_does_not_read_holds_up_the_other_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (served, port) = (Served::new(LIMITS), free_port());
    served.set(port, Some(spec("shop/web", &[listener.local_addr().unwrap()])));
    let mut client = connect(port).await;
    let (mut endpoint, _) = listener.accept().await.unwrap();
    let piece = vec![7; 1 << 16];
    let mut sent = 0;
    while timeout(Duration::from_millis(300), client.write_all(&piece)).await.is_ok() {
        sent += piece.len();
        assert!(sent < 64 << 20, "nothing is bounded");
    }
    let mut received = vec![0; sent];
    timeout(Duration::from_secs(5), endpoint.read_exact(&mut received)).await.expect("all arrives").unwrap();
}

#[test]
fn the_follower_hands_on_tcp_node_ports_of_its_families_and_nothing_else() {
    let mut world = World::new();
    let mut follower = LocalhostFollower { families: BTreeSet::from([Family::Ip]), pending: Arc::default() };
    let compile = |world: &mut World, follower: &mut LocalhostFollower| {
        let compiled = world.engine.compile();
        follower.compiled(&compiled, world.engine.snapshot(), true);
        let changes = std::mem::take(&mut *follower.pending.lock());
        changes.into_iter().map(|((_, port), spec)| (port.get(), spec.is_some())).collect::<Vec<_>>()
    };
    world.engine.fold(service("shop/web").ips(&["10.96.0.1", "fd00::1"]).node_port(30_080).into());
    world.engine.fold(slice("shop/web-1").ready(&["10.1.0.1"]).into());
    world.engine.fold(service("shop/dns").ips(&["10.96.0.2"]).ports(&["dns 53/udp"]).node_port(30_053).into());
    world.engine.fold(service("shop/internal").ips(&["10.96.0.3"]).into());
    assert_eq!(compile(&mut world, &mut follower), [(30_080, true)]);
    world.engine.fold(service("shop/internal").ips(&["10.96.0.4"]).into());
    assert_eq!(compile(&mut world, &mut follower), []);
    world.engine.fold(crate::state::Event::ServiceDeleted(name("shop/web")));
    assert_eq!(compile(&mut world, &mut follower), [(30_080, false)]);
    let _ = ip("10.1.0.1");
}
