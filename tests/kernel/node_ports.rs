//! NodePorts on the host's addresses, which come and go.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::netns::{Family, NODE_NAME};
use crate::world::World;

const NODE_PORT: u16 = 30_080;

#[test]
fn an_added_address_accepts_node_ports_at_once_and_a_removed_one_stops() {
    let Some(world) = World::new() else { return };
    let pod = Family::V4.pod_ip(11);
    world.node.serve(SocketAddr::new(pod, 8080));
    world.manifests.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "clusterIP": "10.96.0.10",
                 "ports": [{"name": "http", "port": 80, "nodePort": NODE_PORT}]},
    }));
    world.manifests.apply(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [pod.to_string()]}],
    }));
    let networks = ["--nodeport-addresses", "192.0.2.0/24"];
    let manifests = ["--manifests", world.manifests.path(), "--watch"];
    let proxy = world.node.start_pointsman(&[&networks[..], &manifests[..]].concat());
    let answers = |addr: &str| {
        let addr: IpAddr = addr.parse().expect("an address");
        let answer = world.node.tcp(addr, NODE_PORT).timeout(Duration::from_millis(200)).send();
        answer.is_ok_and(|answer| answer.server.ip() == pod)
    };
    let until = |addr: &str, expected: bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while answers(addr) != expected {
            assert!(Instant::now() < deadline, "{addr} should answer: {expected}\n{}", proxy.log());
        }
    };
    until("192.0.2.1", true);
    assert!(!answers("192.0.2.77"));
    world.node.host.ip_batch("addr add 192.0.2.77/24 dev client");
    until("192.0.2.77", true);
    world.node.host.ip_batch("addr del 192.0.2.77/24 dev client");
    until("192.0.2.77", false);
    assert!(answers("192.0.2.1"));
}

#[test]
fn with_a_node_object_of_one_family_node_ports_of_the_other_are_on_every_address() {
    let Some(world) = World::new() else { return };
    let pod = Family::V6.pod_ip(11);
    world.node.serve(SocketAddr::new(pod, 8080));
    world.manifests.apply(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    }));
    world.manifests.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "clusterIP": Family::V6.cluster_ip(10).to_string(),
                 "ports": [{"name": "http", "port": 80, "nodePort": NODE_PORT}]},
    }));
    world.manifests.apply(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [pod.to_string()]}],
    }));
    world.sync();
    for addr in ["fd00:192::1", "fd00:198::1"] {
        let addr: IpAddr = addr.parse().expect("an address");
        let answer = world.node.tcp(addr, NODE_PORT).send();
        assert_eq!(answer.map(|answer| answer.server.ip()), Ok(pod), "{addr}");
    }
    // The next process takes none of them away, even for a moment.
    world.assert_no_difference();
}
