//! Health checks of Services: a load balancer outside asks the node whether it has endpoints.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::netns::{Family, NODE_NAME, Namespace, Proxy};
use crate::world::{World, web, web_slice};

/// How long an answer may take to be as expected.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The health-check port of `default/web`.
const CHECK_PORT: u16 = 32_000;

/// The node's address for NodePorts, on the link to the client.
fn node_ip(family: Family) -> IpAddr {
    match family {
        Family::V4 => [192, 0, 2, 1].into(),
        Family::V6 => [0xfd00, 0x192, 0, 0, 0, 0, 0, 1].into(),
    }
}

/// The Node object, with an address of each family.
fn node() -> serde_json::Value {
    let address = |family| json!({"type": "InternalIP", "address": node_ip(family)});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE_NAME},
        "status": {"addresses": Family::ALL.map(address)},
    })
}

/// `default/web` behind a load balancer, which asks at this port.
fn checked(port: u16) -> serde_json::Value {
    let mut service = serde_json::Value::from(web().health_checked(port));
    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}, {"ip": "fd00:203::10"}]}});
    service
}

fn world(node_object: bool) -> Option<World> {
    let world = World::new()?;
    if node_object {
        world.manifests.apply(node());
    }
    world.manifests.apply(checked(CHECK_PORT));
    world.set_web_endpoints(&[11]);
    Some(world)
}

/// Status and weight that a health check answers; nothing if it cannot be reached.
fn ask(from: &Namespace, addr: IpAddr, port: u16) -> Option<(u16, usize)> {
    from.enter(|| {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(addr, port), Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let weight = answer.lines().find_map(|line| line.strip_prefix("x-load-balancing-endpoint-weight: "))?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
        assert_eq!(body["service"], json!({"namespace": "default", "name": "web"}));
        assert_eq!(body["localEndpoints"].to_string(), weight, "header and body agree");
        Some((answer.split(' ').nth(1)?.parse().ok()?, weight.parse().ok()?))
    })
}

/// Waits until the client outside gets this answer in both families.
fn until_answered(world: &World, proxy: &Proxy, port: u16, expected: Option<(u16, usize)>) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    for family in Family::ALL {
        loop {
            let answer = ask(&world.node.client, node_ip(family), port);
            if answer == expected {
                break;
            }
            assert!(Instant::now() < deadline, "{family}: {answer:?} instead of {expected:?}\n{}", proxy.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn set_endpoints(world: &World, describe: impl Fn(Family) -> crate::common::manifests::Slice) {
    for family in Family::ALL {
        world.manifests.apply(describe(family));
    }
}

#[test]
fn a_node_says_how_many_ready_endpoints_it_has_and_follows_changes() {
    let Some(world) = world(true) else { return };
    let proxy = world.start();
    until_answered(&world, &proxy, CHECK_PORT, Some((200, 1)));
    world.set_web_endpoints(&[11, 12, 13]);
    until_answered(&world, &proxy, CHECK_PORT, Some((200, 3)));
    // Terminating ones still serve, but should get no new connections from outside.
    set_endpoints(&world, |family| web_slice(family).endpoint(family.pod_ip(11)).terminating());
    until_answered(&world, &proxy, CHECK_PORT, Some((503, 0)));
    set_endpoints(&world, |family| {
        web_slice(family).endpoint(family.pod_ip(11)).endpoint(family.pod_ip(12)).on("node-b")
    });
    until_answered(&world, &proxy, CHECK_PORT, Some((200, 1)));
    set_endpoints(&world, |family| web_slice(family).endpoint(family.pod_ip(12)).on("node-b"));
    until_answered(&world, &proxy, CHECK_PORT, Some((503, 0)));
    let metrics = proxy.metrics(&world.node.host);
    // Its TCP port and its UDP port, and no policy for the inside.
    for (policy, family, count) in [("external", "IPv4", 2), ("external", "IPv6", 2), ("internal", "IPv6", 0)] {
        let name = "kubeproxy_sync_proxy_rules_no_local_endpoints_total";
        let expected = format!("{name}{{traffic_policy=\"{policy}\",ip_family=\"{family}\"}} {count}");
        assert!(metrics.contains(&expected), "no {expected} in\n{metrics}");
    }
    world.manifests.apply(checked(CHECK_PORT + 1));
    until_answered(&world, &proxy, CHECK_PORT, None);
    until_answered(&world, &proxy, CHECK_PORT + 1, Some((503, 0)));
    world.set_web_endpoints(&[11]);
    until_answered(&world, &proxy, CHECK_PORT + 1, Some((200, 1)));
    world.manifests.delete("Service", "default/web");
    until_answered(&world, &proxy, CHECK_PORT + 1, None);
}

#[test]
fn only_the_nodes_own_addresses_answer_unless_all_accept_node_ports() {
    let Some(world) = world(true) else { return };
    let proxy = world.start();
    until_answered(&world, &proxy, CHECK_PORT, Some((200, 1)));
    for family in Family::ALL {
        let other = family.pods_gateway();
        assert_eq!(ask(&world.node.host, other, CHECK_PORT), None, "{other} is not the node's address for NodePorts");
    }
    drop(proxy);
    // Without the Node object: every address needs no name.
    let Some(world) = self::world(false) else { return };
    let proxy = world.node.start_pointsman(&[
        "--manifests",
        world.manifests.path(),
        "--watch",
        "--nodeport-addresses",
        "0.0.0.0/0,::/0",
    ]);
    until_answered(&world, &proxy, CHECK_PORT, Some((200, 1)));
    for family in Family::ALL {
        assert_eq!(ask(&world.node.host, family.pods_gateway(), CHECK_PORT), Some((200, 1)), "{family}");
    }
}

#[test]
fn a_taken_port_is_reported_and_served_when_it_is_free() {
    let Some(world) = world(true) else { return };
    let taken = world.node.host.enter(|| std::net::TcpListener::bind((node_ip(Family::V4), CHECK_PORT)).expect("free"));
    let proxy = world.start();
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while ask(&world.node.client, node_ip(Family::V6), CHECK_PORT) != Some((200, 1)) {
        assert!(Instant::now() < deadline, "{}", proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = proxy.log();
    let warning = log.lines().find(|line| line.contains("WARN") && line.contains("default/web"));
    assert!(warning.is_some_and(|line| line.contains("192.0.2.1:32000")), "no warning in\n{log}");
    let metrics = proxy.metrics(&world.node.host);
    assert!(metrics.contains("pointsman_health_check_listen_failures_total{ip_family=\"IPv4\"} 1"), "{metrics}");
    drop(taken);
    world.set_web_endpoints(&[11, 12]);
    until_answered(&world, &proxy, CHECK_PORT, Some((200, 2)));
}

#[test]
fn an_ipv6_address_that_is_tentative_at_the_start_is_served_by_itself_when_it_is_usable() {
    let Some(world) = world(true) else { return };
    let host = &world.node.host;
    let addr = node_ip(Family::V6);
    let listed = || host.command("ip").args(["-6", "-oneline", "addr", "show", "to", &addr.to_string()]).output();
    let listed = || String::from_utf8_lossy(&listed().expect("ip runs").stdout).into_owned();
    // Duplicate address detection takes seconds, in which nothing can be bound to the address.
    host.sysctl("ipv6/conf/client/accept_dad", "1");
    host.sysctl("ipv6/conf/client/dad_transmits", "4");
    host.ip_batch(&format!("addr del {addr}/64 dev client\naddr add {addr}/64 dev client\n"));
    let proxy = world.start();
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !proxy.log().contains("cannot listen on [fd00:192::1]:32000") {
        assert!(listed().contains("tentative") && Instant::now() < deadline, "{}\n{}", listed(), proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    // No sync follows.
    until_answered(&world, &proxy, CHECK_PORT, Some((200, 1)));
    assert!(proxy.log().contains("the health check is served now"), "{}", proxy.log());
}

#[test]
fn one_sync_and_dry_runs_listen_nowhere() {
    let Some(world) = world(true) else { return };
    // Both would fail with a warning if they tried to listen.
    let _taken = Family::ALL.map(|family| {
        world.node.host.enter(|| std::net::TcpListener::bind((node_ip(family), CHECK_PORT)).expect("the port is free"))
    });
    let once = world.node.pointsman(&["--manifests", world.manifests.path(), "--once"]);
    assert_eq!(once.code, Some(0), "{}", once.stderr);
    assert!(!once.stderr.contains("WARN") && !world.dry_run().stderr.contains("WARN"), "{}", once.stderr);
}
