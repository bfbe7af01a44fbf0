use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use tokio::time::Instant;

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn name(n: &str) -> ObjectName {
    ObjectName::new("default", n)
}

/// Servers on the node's addresses, of IPv4.
fn servers(health: &Health) -> ServiceHealth {
    ServiceHealth::new(health.clone(), &[Family::Ip], &BTreeSet::new())
}

/// Checks of IPv4 at one address of this host, which is all of the node's.
fn checks(all: &[(&str, u16, usize)]) -> HealthChecks {
    let check = |(n, port, local_endpoints): &(&str, u16, usize)| {
        let port = NonZeroU16::new(*port).unwrap();
        ((name(n), Family::Ip), HealthCheck { port, local_endpoints: *local_endpoints })
    };
    HealthChecks { checks: all.iter().map(check).collect(), addresses: [LOCALHOST.into()].into() }
}

/// A free port.
async fn free_port() -> u16 {
    let socket = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    socket.local_addr().unwrap().port()
}

/// Three free ports.
fn free_ports() -> [u16; 3] {
    let all = [(); 3].map(|()| std::net::TcpListener::bind((LOCALHOST, 0)).unwrap());
    all.map(|socket| socket.local_addr().unwrap().port())
}

async fn send(addr: impl Into<IpAddr>, port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect((addr.into(), port)).await.ok()?;
    stream.write_all(format!("{request}\r\nhost: node\r\nconnection: close\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// Status and weight of an answer.
async fn ask(port: u16) -> Option<(u16, usize)> {
    let answer = send(LOCALHOST, port, "GET / HTTP/1.1").await?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let weight = answer.lines().find_map(|line| line.strip_prefix("x-load-balancing-endpoint-weight: "))?;
    Some((status, weight.parse().ok()?))
}

#[tokio::test]
async fn without_a_check_nothing_listens() {
    let mut servers = servers(&Health::default());
    servers.update(&checks(&[])).await;
    assert!(servers.servers.is_empty() && servers.ports.is_empty());
}

#[tokio::test]
async fn the_answer_follows_the_number_of_endpoints() {
    let port = free_port().await;
    let mut servers = servers(&Health::default());
    for (count, expected) in [(0, (503, 0)), (18, (200, 18)), (1, (200, 1)), (0, (503, 0))] {
        servers.update(&checks(&[("web", port, count)])).await;
        assert_eq!(ask(port).await, Some(expected));
    }
    servers.update(&checks(&[])).await;
    assert_eq!(ask(port).await, None, "closed");
}

#[tokio::test]
async fn headers_and_body_are_those_of_kube_proxy_at_any_path_and_to_any_method() {
    let port = free_port().await;
    let mut servers = servers(&Health::default());
    servers.update(&checks(&[("web", port, 2)])).await;
    for request in ["GET / HTTP/1.1", "GET /some/where?else HTTP/1.1", "POST /healthz HTTP/1.1", "DELETE /x HTTP/1.0"] {
        let answer = send(LOCALHOST, port, request).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.lines().next().unwrap().ends_with("200 OK"), "{request}: {head}");
        for header in
            ["content-type: application/json", "x-content-type-options: nosniff", "x-load-balancing-endpoint-weight: 2"]
        {
            assert!(head.lines().any(|line| line == header), "{request}: no {header} in {head}");
        }
        let expected = "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n\t\
                        \"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}";
        assert_eq!(body, expected, "{request}");
    }
}

#[tokio::test]
async fn an_unhealthy_proxy_sends_load_balancers_elsewhere() {
    let port = free_port().await;
    let health = Health::default();
    let mut servers = servers(&health);
    servers.update(&checks(&[("web", port, 2)])).await;
    tokio::time::pause();
    health.requested(Instant::now());
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    let answer = send(LOCALHOST, port, "GET / HTTP/1.1").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("weight: 2\r\n"), "{answer}");
    assert!(answer.ends_with("\"serviceProxyHealthy\": false\n}"), "{answer}");
}

#[tokio::test]
async fn what_did_not_change_stays_open_while_others_come_go_and_move() {
    let [stays, moves, goes] = free_ports();
    let mut servers = servers(&Health::default());
    servers.update(&checks(&[("stays", stays, 1), ("moves", moves, 2), ("goes", goes, 3)])).await;
    let page = Arc::clone(&servers.servers[&(name("stays"), Family::Ip)].page);
    // One moves to the port of another that goes, and a new one takes the port that became free.
    servers.update(&checks(&[("stays", stays, 1), ("moves", goes, 4), ("new", moves, 5)])).await;
    assert!(Arc::ptr_eq(&page, &servers.servers[&(name("stays"), Family::Ip)].page));
    assert_eq!([ask(stays).await, ask(goes).await, ask(moves).await], [Some((200, 1)), Some((200, 4)), Some((200, 5))]);
    assert!(servers.failed.is_empty());
}

#[tokio::test]
async fn a_connection_that_is_kept_open_ends_with_its_check() {
    let port = free_port().await;
    let mut servers = servers(&Health::default());
    servers.update(&checks(&[("web", port, 1)])).await;
    let mut stream = TcpStream::connect((LOCALHOST, port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: node\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    servers.update(&checks(&[])).await;
    let mut rest = Vec::new();
    tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_tried_again_at_each_update() {
    let taken = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let (port, other) = (taken.local_addr().unwrap().port(), free_port().await);
    let mut servers = servers(&Health::default());
    let wanted = checks(&[("other", other, 1), ("web", port, 1)]);
    servers.update(&wanted).await;
    assert!(servers.failed[&(name("web"), Family::Ip)].contains("cannot listen on 127.0.0.1:"), "{:?}", servers.failed);
    assert_eq!(ask(other).await, Some((200, 1)), "others are served");
    servers.update(&wanted).await;
    assert_eq!(servers.failed.len(), 1);
    drop(taken);
    servers.update(&wanted).await;
    assert_eq!(ask(port).await, Some((200, 1)));
    assert!(servers.failed.is_empty());
}

#[tokio::test]
async fn of_two_services_with_one_port_the_first_has_it_until_it_goes() {
    let port = free_port().await;
    let mut servers = servers(&Health::default());
    servers.update(&checks(&[("second", port, 2)])).await;
    servers.update(&checks(&[("first", port, 1), ("second", port, 2)])).await;
    assert_eq!(ask(port).await, Some((200, 2)));
    let reason = &servers.failed[&(name("first"), Family::Ip)];
    assert!(reason.ends_with("is that of the health check of Service default/second"), "{reason}");
    servers.update(&checks(&[("first", port, 1)])).await;
    assert_eq!(ask(port).await, Some((200, 1)));
}

#[tokio::test]
async fn sockets_follow_the_addresses_of_the_node() {
    let port = free_port().await;
    let mut servers = servers(&Health::default());
    let at = |addrs: &[Ipv4Addr]| HealthChecks {
        addresses: addrs.iter().map(|addr| (*addr).into()).collect(),
        ..checks(&[("web", port, 1)])
    };
    let second = Ipv4Addr::new(127, 0, 0, 2);
    let mut answered = Vec::new();
    for addrs in [&[][..], &[LOCALHOST], &[LOCALHOST, second], &[second], &[]] {
        servers.update(&at(addrs)).await;
        assert!(servers.failed.is_empty(), "{:?}", servers.failed);
        let answers = async |addr| send(addr, port, "GET / HTTP/1.1").await.is_some();
        answered.push((answers(LOCALHOST).await, answers(second).await));
    }
    assert_eq!(answered, [(false, false), (true, false), (true, true), (false, true), (false, false)]);
}

#[tokio::test]
async fn a_family_that_the_host_lacks_is_not_served() {
    let port = free_port().await;
    let mut servers = ServiceHealth::new(Health::default(), &[Family::Ip6], &BTreeSet::from(Family::ALL));
    servers.update(&checks(&[("web", port, 1)])).await;
    assert_eq!(ask(port).await, None);
    assert!(servers.failed.is_empty());
}

#[tokio::test]
async fn idle_connections_to_one_services_check_leave_the_others_to_load_balancers() {
    let [port, other, _] = free_ports();
    let mut servers = servers(&Health::default());
    servers.update(&checks(&[("web", port, 2), ("shop", other, 1)])).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect((LOCALHOST, port)).await.unwrap());
    }
    assert_eq!((ask(other).await, ask(port).await), (Some((200, 1)), Some((200, 2))));
    let mut open = 0;
    for stream in &mut idle {
        let closed = tokio::time::timeout(std::time::Duration::from_millis(1), stream.read_u8()).await.is_ok();
        open += usize::from(!closed);
    }
    assert!(open < 150, "{open} are still open");
}

#[tokio::test]
async fn a_check_for_which_no_descriptor_is_left_is_told_and_served_later() {
    let [port, other, _] = free_ports();
    let limits = PortLimits::default();
    let left = u32::try_from(limits.check_sockets.available_permits()).unwrap() - 1;
    let taken = Arc::clone(&limits.check_sockets).try_acquire_many_owned(left).unwrap();
    let mut servers = servers(&Health::default()).bounded(limits, Supervisor::default());
    let wanted = checks(&[("shop", other, 1), ("web", port, 2)]);
    servers.update(&wanted).await;
    assert_eq!((ask(other).await, ask(port).await), (Some((200, 1)), None));
    assert!(servers.failed.values().next().is_some_and(|reason| reason.contains("file descriptors")));
    drop(taken);
    servers.update(&wanted).await;
    assert_eq!(ask(port).await, Some((200, 2)));
}
