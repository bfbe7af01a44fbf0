//! NodePorts on the loopback addresses, with real connections in the node's own namespace.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{status, until};
use crate::common::netns::{Failure, Family, NODE_NAME, Proxy, Request, Transport};
use crate::world::{TARGET_PORT, World, pod_number};

const NODE_PORT: u16 = 30_080;
const LOCAL_PORT: u16 = 30_081;

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// A node that serves pods 11 and 12, of which 11 runs on it, with NodePorts of both policies in both families.
fn node_with_ports() -> Option<World> {
    let world = World::new()?;
    world.serve(&[11, 12]);
    world.manifests.apply(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"},
                                 {"type": "InternalIP", "address": "fd00:192::1"}]},
    }));
    for (name, number, port, policy) in [("web", 10, NODE_PORT, "Cluster"), ("local", 11, LOCAL_PORT, "Local")] {
        let ips = Family::ALL.map(|family| family.cluster_ip(number).to_string());
        world.manifests.apply(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "NodePort", "clusterIP": ips[0], "clusterIPs": ips, "ipFamilies": ["IPv4", "IPv6"],
                     "externalTrafficPolicy": policy, "internalTrafficPolicy": policy,
                     "ports": [{"name": "http", "port": 80, "nodePort": port}]},
        }));
        for family in Family::ALL {
            set_endpoints(&world, name, family, &[11, 12]);
        }
    }
    Some(world)
}

fn set_endpoints(world: &World, service: &str, family: Family, pods: &[u16]) {
    let (kind, suffix) = if family == Family::V4 { ("IPv4", 4) } else { ("IPv6", 6) };
    let endpoints: Vec<_> = pods
        .iter()
        .map(|pod| json!({"addresses": [family.pod_ip(*pod).to_string()], "nodeName": if *pod == 11 { NODE_NAME } else { "other" }}))
        .collect();
    world.manifests.apply(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
        "metadata": {"name": format!("{service}-{suffix}"), "namespace": "default",
                     "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": TARGET_PORT}], "endpoints": endpoints,
    }));
}

fn start(world: &World, extra: &[&str]) -> Proxy {
    let manifests = ["--manifests", world.manifests.path(), "--watch", "--nodeport-addresses", "primary,localhost"];
    let proxy = world.node.start_pointsman(&[&manifests[..], extra].concat());
    world.settle();
    proxy
}

/// The pods that answer on the loopback address, or how the last request failed.
fn reached(world: &World, family: Family, port: u16) -> Result<BTreeSet<u16>, Failure> {
    let request = Request::new(&world.node.host, Transport::Tcp, SocketAddr::new(loopback(family), port));
    let answers = request.timeout(Duration::from_secs(2)).send_many(40);
    answers.into_iter().map(|answer| Ok(pod_number(answer?.server.ip()))).collect()
}

fn until_reached(world: &World, proxy: &Proxy, family: Family, port: u16, expected: &Result<BTreeSet<u16>, Failure>) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = reached(world, family, port);
        if found == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "{family:?} {port}: {found:?}, not {expected:?}\n{}", proxy.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn node_ports_answer_on_both_loopback_addresses_as_they_do_to_the_node_itself() {
    let Some(world) = node_with_ports() else { return };
    let proxy = start(&world, &[]);
    let (both, refused) = (Ok(BTreeSet::from([11, 12])), Err(Failure::Refused));
    for family in Family::ALL {
        // The policy Local confines clients outside, not the node.
        for port in [NODE_PORT, LOCAL_PORT] {
            until_reached(&world, &proxy, family, port, &both);
        }
        set_endpoints(&world, "web", family, &[12]);
        until_reached(&world, &proxy, family, NODE_PORT, &Ok(BTreeSet::from([12])));
        set_endpoints(&world, "web", family, &[]);
        until_reached(&world, &proxy, family, NODE_PORT, &refused);
        set_endpoints(&world, "web", family, &[11, 12]);
        until_reached(&world, &proxy, family, NODE_PORT, &both);
    }
    let metrics = proxy.metrics(&world.node.host);
    for family in ["IPv4", "IPv6"] {
        let line = format!("kubeproxy_nftables_localhost_nodeport_listeners{{ip_family=\"{family}\"}} 2");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    // Nothing listens on any other address: outside, the rules translate.
    for addr in ["192.0.2.1", "fd00:192::1"] {
        let answer = world.node.tcp(addr.parse().expect("an address"), NODE_PORT).send();
        assert!(answer.is_ok(), "{addr}: {answer:?}");
    }
    let output = world.node.host.command("ss").arg("-Htln").output().expect("ss runs");
    let listening = String::from_utf8(output.stdout).expect("text");
    let ours = listening.lines().filter(|line| line.contains(":30080") || line.contains(":30081"));
    let ours: Vec<&str> = ours.filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(ours.len(), 4, "{listening}");
    assert!(ours.iter().all(|address| address.starts_with("127.0.0.1:") || address.starts_with("[::1]:")), "{ours:?}");
}

#[test]
fn without_the_word_or_without_the_gate_nothing_listens() {
    let Some(world) = node_with_ports() else { return };
    let gate = "--feature-gates=KubeProxyNFTablesLocalhostNodePorts=false";
    for flags in [&["--nodeport-addresses", "primary"][..], &["--nodeport-addresses", "primary,localhost", gate]] {
        let manifests = ["--manifests", world.manifests.path(), "--watch"];
        let proxy = world.node.start_pointsman(&[&manifests[..], flags].concat());
        until(&proxy, "it is ready", || status(&world.node.host, "/healthz") == "HTTP/1.0 200 OK");
        assert_eq!(reached(&world, Family::V4, NODE_PORT), Err(Failure::Refused), "{flags:?}");
        assert_eq!(proxy.terminate().code, Some(0));
    }
}

#[test]
fn a_taken_port_is_told_and_costs_only_itself() {
    let Some(world) = node_with_ports() else { return };
    let taken = world.node.host.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, NODE_PORT)).expect("a free port"));
    let proxy = start(&world, &[]);
    let both = Ok(BTreeSet::from([11, 12]));
    until_reached(&world, &proxy, Family::V4, LOCAL_PORT, &both);
    until_reached(&world, &proxy, Family::V6, NODE_PORT, &both);
    let warning = "the NodePort cannot be served on 127.0.0.1";
    assert_eq!(proxy.log().matches(warning).count(), 1, "{}", proxy.log());
    let metrics = proxy.metrics(&world.node.host);
    let failures = "kubeproxy_nftables_localhost_nodeport_listener_creation_failures_total{ip_family=\"IPv4\"}";
    assert!(metrics.contains(failures), "{metrics}");
    drop(taken);
    until_reached(&world, &proxy, Family::V4, NODE_PORT, &both);
    assert_eq!(proxy.log().matches(warning).count(), 1, "said once:\n{}", proxy.log());
}

#[test]
fn a_thousand_connections_at_once_are_served() {
    const CONNECTIONS: usize = 1_000;
    let Some(world) = node_with_ports() else { return };
    let proxy = start(&world, &[]);
    for family in Family::ALL {
        until_reached(&world, &proxy, family, NODE_PORT, &Ok(BTreeSet::from([11, 12])));
        let at = SocketAddr::new(loopback(family), NODE_PORT);
        let begun = Instant::now();
        world.node.host.enter(|| {
            let connect = |_| {
                let stream = TcpStream::connect(at).expect("it is served");
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
                stream
            };
            let mut open: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
            open.iter_mut().for_each(|stream| stream.write_all(b"ping\n").expect("it is open"));
            for stream in &open {
                let mut line = String::new();
                BufReader::new(stream).read_line(&mut line).expect("an answer");
                assert!(!line.is_empty(), "an answer on every connection");
            }
        });
        println!("{family:?}: {CONNECTIONS} connections at once answered after {:?}", begun.elapsed());
    }
}

#[test]
fn no_neighbour_reaches_the_listener_even_where_the_host_routes_loopback_addresses() {
    let Some(world) = node_with_ports() else { return };
    let proxy = start(&world, &[]);
    until_reached(&world, &proxy, Family::V4, NODE_PORT, &Ok(BTreeSet::from([11, 12])));
    // As kube-proxy's iptables mode leaves a node.
    world.node.host.sysctl("ipv4/conf/all/route_localnet", "1");
    world.node.client.sysctl("ipv4/conf/all/route_localnet", "1");
    // The neighbour gives up its own loopback address and routes it to the node.
    world.node.client.ip_batch(
        "addr del 127.0.0.1/8 dev lo
         route add 127.0.0.0/8 via 192.0.2.1 src 192.0.2.2",
    );
    let at = SocketAddr::new(loopback(Family::V4), NODE_PORT);
    let request = Request::new(&world.node.client, Transport::Tcp, at).from(Family::V4.client_ip());
    let answer = request.timeout(Duration::from_millis(500)).send();
    assert!(answer.is_err(), "{answer:?}");
    until_reached(&world, &proxy, Family::V4, NODE_PORT, &Ok(BTreeSet::from([11, 12])));
}

/// Sends so many bytes to an address from inside the host, and says how many arrive there in a second.
fn throughput(world: &World, to: SocketAddr, listener: &TcpListener, length: usize) -> f64 {
    std::thread::scope(|threads| {
        let received = threads.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a connection");
            std::io::copy(&mut stream, &mut std::io::sink()).expect("the stream is read")
        });
        let begun = Instant::now();
        world.node.host.enter(|| {
            let mut stream = TcpStream::connect(to).expect("it is served");
            let piece = vec![7; 1 << 20];
            (0..length >> 20).for_each(|_| stream.write_all(&piece).expect("it is read"));
        });
        assert_eq!(received.join().expect("no panic"), length as u64, "every byte arrives");
        length as f64 / begun.elapsed().as_secs_f64()
    })
}

#[test]
fn a_large_transfer_arrives_complete() {
    const LENGTH: usize = 512 << 20;
    let Some(world) = node_with_ports() else { return };
    let endpoint = SocketAddr::new(Family::V4.pod_ip(13), TARGET_PORT);
    let listener = world.node.pods.enter(|| TcpListener::bind(endpoint).expect("a pod's address"));
    set_endpoints(&world, "web", Family::V4, &[13]);
    let proxy = start(&world, &[]);
    let listening = "kubeproxy_nftables_localhost_nodeport_listeners{ip_family=\"IPv4\"} 2";
    let deadline = Instant::now() + Duration::from_secs(10);
    while !proxy.metrics(&world.node.host).contains(listening) {
        assert!(Instant::now() < deadline, "{}", proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let direct = throughput(&world, endpoint, &listener, LENGTH);
    let carried = throughput(&world, SocketAddr::new(loopback(Family::V4), NODE_PORT), &listener, LENGTH);
    println!("one connection: {:.0} MB/s direct, {:.0} MB/s through the loopback address", direct / 1e6, carried / 1e6);
}
