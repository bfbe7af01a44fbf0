//! What Kubernetes' own network tests ask of a Service proxy and no other test here shows; docs/upstream-tests.md has all of them.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::manifests::slice_of;
use crate::common::netns::{Failure, Family, NODE_NAME, Proxy};
use crate::world::{PORT, TARGET_PORT, WEB, World, assert_unbroken, pod_number, web, web_slice};

/// A load balancer's IP that no interface has.
const BALANCER: &str = "203.0.113.80";

/// How long a request may take that gets no answer.
const SHORT: Duration = Duration::from_millis(300);

/// A proxy that accepts NodePorts on the node's address towards the client, once it has caught up.
fn follow_with_node_ports(world: &World) -> Proxy {
    let flags = ["--nodeport-addresses", "192.0.2.0/24", "--manifests", world.manifests.path(), "--watch"];
    world.node.start_pointsman(&flags)
}

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn ports_are_added_and_removed_live_beside_open_connections() {
    let Some(world) = World::with_web(&[11]) else { return };
    let _proxy = world.follow();
    let mut open = world.connections_to(&[11]);
    let ask = |family: Family, port| world.node.tcp(family.cluster_ip(WEB), port).timeout(SHORT).send();
    for family in Family::ALL {
        assert_eq!(ask(family, 81), Err(Failure::Refused));
        world.manifests.apply(web_slice(family).port("second", 8081).endpoint(family.pod_ip(11)));
        world.node.serve(SocketAddr::new(family.pod_ip(11), 8081));
    }
    world.manifests.apply(web().port("second", 81));
    world.settle();
    for family in Family::ALL {
        assert_eq!(ask(family, 81).expect("the new port answers").server.port(), 8081);
        assert_eq!(ask(family, PORT).expect("the old port answers").server.port(), TARGET_PORT);
    }
    world.manifests.apply(web());
    world.settle();
    for family in Family::ALL {
        assert_eq!(ask(family, 81), Err(Failure::Refused));
    }
    world.assert_web_reaches(&[11]);
    assert_unbroken(&mut open);
}

#[test]
fn a_service_that_becomes_an_external_name_and_a_node_port_service() {
    let Some(world) = World::with_web(&[11]) else { return };
    let _proxy = follow_with_node_ports(&world);
    let ask = |addr: IpAddr, port| world.node.tcp(addr, port).timeout(SHORT).send();
    let answers = |addr, port| until("an answer", || ask(addr, port).is_ok());
    let cluster_ip = Family::V4.cluster_ip(WEB);
    answers(cluster_ip, PORT);
    let external = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "uid": "web"},
        "spec": {"type": "ExternalName", "externalName": "example.com", "ports": [{"port": PORT, "protocol": "TCP"}]},
    });
    world.manifests.apply(external);
    until("the address, which no Service has, is dropped", || ask(cluster_ip, PORT) == Err(Failure::TimedOut));
    let mut node_port: Value = web().node_port("tcp", 30_081).into();
    node_port["spec"]["type"] = json!("NodePort");
    world.manifests.apply(node_port);
    answers(cluster_ip, PORT);
    answers("192.0.2.1".parse().expect("an address"), 30_081);
}

#[test]
fn endpoints_of_one_named_port_may_serve_different_numbers() {
    let Some(world) = World::with_web(&[11]) else { return };
    for family in Family::ALL {
        world.node.serve(SocketAddr::new(family.pod_ip(12), 9090));
        let other = slice_of("default/web", family).named("web-other").port_of_both_transports(9090);
        world.manifests.apply(other.endpoint(family.pod_ip(12)));
        let _proxy = world.follow();
        let answers = world.node.tcp(family.cluster_ip(WEB), PORT).send_many(100);
        let mut servers: Vec<_> = answers.into_iter().map(|answer| answer.expect("an answer").server).collect();
        servers.sort();
        servers.dedup();
        let expected = [(11, TARGET_PORT), (12, 9090)].map(|(pod, port)| SocketAddr::new(family.pod_ip(pod), port));
        assert_eq!(servers, expected, "{family}");
        world.manifests.delete("EndpointSlice", "default/web-other");
    }
}

#[test]
fn large_requests_arrive_over_both_transports() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    for family in Family::ALL {
        let to = SocketAddr::new(family.cluster_ip(WEB), PORT);
        world.node.client.enter(|| {
            let mut stream = TcpStream::connect(to).expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
            let mut line = vec![b'x'; 1_000_000];
            line.push(b'\n');
            stream.write_all(&line).expect("the server reads a megabyte");
            let mut answer = [0; 256];
            let length = stream.read(&mut answer).expect("an answer");
            assert!(length > 0, "{family}");
            // Larger than the MTU: the datagram travels in fragments.
            let socket = UdpSocket::bind((if to.is_ipv4() { "0.0.0.0" } else { "::" }, 0)).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
            socket.send_to(&vec![b'x'; 8_000], to).expect("sent");
            let (length, from) = socket.recv_from(&mut answer).expect("an answer");
            assert!(length > 0 && from == to, "{family}");
        });
    }
}

#[test]
fn no_connection_fails_while_a_load_balancers_endpoints_are_rolled_under_either_policy() {
    for policy in ["Cluster", "Local"] {
        let Some(world) = World::with_web(&[11, 12, 13]) else { return };
        world.serve(&[21, 22, 23]);
        let mut service: Value = web().into();
        (service["spec"]["type"], service["spec"]["externalTrafficPolicy"]) = (json!("LoadBalancer"), json!(policy));
        service["status"] = json!({"loadBalancer": {"ingress": [{"ip": BALANCER}]}});
        world.manifests.apply(service);
        let set = |pods: &[u16]| {
            let local =
                |slice: crate::common::manifests::Slice, pod| slice.endpoint(Family::V4.pod_ip(pod)).on(NODE_NAME);
            world.manifests.apply(pods.iter().fold(web_slice(Family::V4), |slice, pod| local(slice, *pod)));
            world.settle();
        };
        let _proxy = world.start();
        set(&[11, 12, 13]);
        let request = world.node.tcp(BALANCER.parse().expect("an address"), PORT).timeout(Duration::from_secs(1));
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let traffic = scope.spawn(|| {
                let mut reached = std::collections::BTreeSet::new();
                let (begun, mut count) = (Instant::now(), 0);
                while !ended.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
                    let answer = request.send().unwrap_or_else(|failure| panic!("{policy}: {failure:?} after {count}"));
                    reached.insert(pod_number(answer.server.ip()));
                    count += 1;
                }
                reached
            });
            for pods in [&[21, 12, 13][..], &[21, 22, 13], &[21, 22, 23]] {
                set(pods);
                std::thread::sleep(Duration::from_millis(200));
            }
            ended.store(true, Ordering::Relaxed);
            let reached = traffic.join().expect("no connection failed");
            assert!(reached.contains(&21) && reached.contains(&23), "{policy}: {reached:?}");
        });
    }
}

#[test]
fn a_new_target_port_of_a_node_port_moves_udp_clients_that_keep_their_port() {
    const NODE_PORT: u16 = 30_082;
    let Some(world) = World::with_web(&[11]) else { return };
    world.node.serve(SocketAddr::new(Family::V4.pod_ip(11), 9090));
    world.manifests.apply(web().node_port("udp", NODE_PORT));
    let _proxy = follow_with_node_ports(&world);
    let node: IpAddr = "192.0.2.1".parse().expect("an address");
    let request = world.node.udp(node, NODE_PORT).timeout(SHORT);
    until("the NodePort answers", || request.send().is_ok());
    let (mut client, first) = request.open().expect("an endpoint answers");
    assert_eq!(first.server.port(), TARGET_PORT);
    let slice = slice_of("default/web", Family::V4).port_of_both_transports(9090);
    world.manifests.apply(slice.endpoint(Family::V4.pod_ip(11)));
    until("the client reaches the new port", || client.ping().is_ok_and(|answer| answer.server.port() == 9090));
}
