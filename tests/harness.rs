//! The node of namespaces itself: without any rules its addresses answer and its routes lead where the other tests assume.

mod common;

use common::netns::{Failure, Family, Node, Request, Transport, requirements};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

fn bare_node() -> Option<Node> {
    requirements::nft_or_skip().map(|nft| Node::new(Path::new("/bin/false"), nft))
}

#[test]
fn every_pod_address_answers_the_client_with_its_identity() {
    let Some(node) = bare_node() else { return };
    for family in Family::ALL {
        let server = SocketAddr::new(family.pod_ip(11), 8080);
        node.serve(server);
        for transport in Transport::ALL {
            let answer = node.request(transport, server.ip(), server.port()).send().expect("routes lead to the pods");
            assert_eq!((answer.server, answer.seen_from.ip()), (server, family.client_ip()));
        }
    }
}

#[test]
fn a_pod_in_a_namespace_of_its_own_reaches_the_others_and_is_reached() {
    let Some(node) = bare_node() else { return };
    let pod = node.pod(7);
    for family in Family::ALL {
        let (own, other) = (SocketAddr::new(family.pod_ip(7), 8080), SocketAddr::new(family.pod_ip(11), 8080));
        node.serve_in(&pod, own);
        node.serve(other);
        assert_eq!(node.tcp(own.ip(), 8080).send().map(|answer| answer.server), Ok(own));
        let answer = Request::new(&pod, Transport::Udp, other).send().expect("pods reach each other");
        assert_eq!((answer.server, answer.seen_from.ip()), (other, own.ip()));
    }
}

#[test]
fn each_kind_of_failure_is_recognised_and_connections_stay_open() {
    let Some(node) = bare_node() else { return };
    for family in Family::ALL {
        let server = SocketAddr::new(family.pod_ip(11), 8080);
        node.serve(server);
        for transport in Transport::ALL {
            assert_eq!(node.request(transport, server.ip(), 1).send(), Err(Failure::Refused));
            // Without the proxy a packet to a ClusterIP follows the default route, which leads nowhere.
            let lost = node.request(transport, family.cluster_ip(1), 80).timeout(Duration::from_millis(100)).send();
            assert_eq!(lost, Err(Failure::TimedOut));
            let (mut connection, first) = node.request(transport, server.ip(), 8080).open().expect("the server is up");
            assert_eq!(connection.ping(), Ok(first), "the same flow, seen from the same port");
        }
    }
}

#[test]
fn forwarding_is_switched_on_inside_the_namespace_only() {
    let Some(node) = bare_node() else { return };
    let forwarding = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("a readable setting");
    let outside = forwarding();
    assert_eq!(node.host.enter(forwarding).trim(), "1");
    node.host.sysctl("ipv4/ip_forward", "0");
    node.pods.sysctl("ipv4/ip_forward", "1");
    assert_eq!(node.host.enter(forwarding).trim(), "0");
    assert_eq!(forwarding(), outside);
}
