//! UDP clients that keep their port: which flows move when endpoints go, and which stay.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pointsman::conntrack::{ConntrackSocket, Flow, Table};
use serde_json::json;

use crate::common::netns::{Answer, Connection, Failure, Family, Proxy, Transport};
use crate::world::{PORT, TARGET_PORT, WEB, World, assert_unbroken, pod_number, web, web_slice};

const NODE_PORT: u16 = 30_080;

/// How long a single packet may take.
const PACKET_TIMEOUT: Duration = Duration::from_millis(300);

/// Rules that track connections and nothing else: in a namespace without such rules the kernel does not track.
const TRACK: &str = "
table inet track {
  chain incoming {
    type filter hook prerouting priority 0; policy accept;
    ct state new accept
  }
}";

impl World {
    /// A UDP client outside that keeps its port, and the answer to its first packet.
    fn flow_to(&self, addr: IpAddr, port: u16) -> (Connection, Answer) {
        self.node.udp(addr, port).timeout(PACKET_TIMEOUT).open().expect("an endpoint answers")
    }

    /// The node's UDP flows to this address.
    fn flows(&self, to: IpAddr) -> Vec<Flow> {
        let family = if to.is_ipv4() { pointsman::dataplane::Family::Ip } else { pointsman::dataplane::Family::Ip6 };
        let mut flows = Vec::new();
        let mut each = |flow: Flow| flows.extend((flow.destination.ip() == to).then_some(flow));
        self.node
            .host
            .enter(|| ConntrackSocket::default().dump(family, &mut each))
            .expect("the kernel lists its flows");
        flows.sort();
        flows
    }
}

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The pod that a client's next packet reaches.
fn reached(client: &mut Connection) -> Result<u16, Failure> {
    client.ping().map(|answer| pod_number(answer.server.ip()))
}

#[test]
fn a_client_that_keeps_its_port_moves_on_within_one_sync_when_its_endpoint_is_replaced() {
    for family in Family::ALL {
        let Some(world) = World::with_web(&[11]) else { return };
        world.serve(&[12]);
        world.sync();
        let (mut client, first) = world.flow_to(family.cluster_ip(WEB), PORT);
        assert_eq!(pod_number(first.server.ip()), 11);
        world.set_web_endpoints(&[12]);
        world.sync();
        assert_eq!(reached(&mut client), Ok(12), "{family}");
    }
}

#[test]
fn a_running_proxy_moves_such_clients_and_counts_them() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12]);
    let proxy = world.follow();
    let mut clients = Family::ALL.map(|family| world.flow_to(family.cluster_ip(WEB), PORT).0);
    world.set_web_endpoints(&[12]);
    for client in &mut clients {
        until("the client reaches the new endpoint", || reached(client) == Ok(12));
    }
    for family in ["IPv4", "IPv6"] {
        let deleted = format!("kubeproxy_conntrack_reconciler_deleted_entries_total{{ip_family=\"{family}\"}} 1");
        until(&deleted, || proxy.metrics(&world.node.host).contains(&deleted));
        let took = format!("kubeproxy_conntrack_reconciler_sync_duration_seconds_count{{ip_family=\"{family}\"}}");
        assert!(proxy.metrics(&world.node.host).contains(&took));
    }
}

#[test]
fn a_flow_stays_with_a_terminating_endpoint_as_long_as_it_serves() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12]);
    let proxy = world.follow();
    let mut clients = Family::ALL.map(|family| world.flow_to(family.cluster_ip(WEB), PORT));
    let checks = || -> u32 {
        let metrics = proxy.metrics(&world.node.host);
        let counts = metrics
            .lines()
            .filter(|line| line.starts_with("kubeproxy_conntrack_reconciler_sync_duration_seconds_count"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).sum()
    };
    until("the flows were checked after the start", || checks() == 2);
    for family in Family::ALL {
        let ending = web_slice(family).endpoint(family.pod_ip(12)).endpoint(family.pod_ip(11)).terminating();
        world.manifests.apply(ending);
    }
    until("the flows were checked again", || checks() == 4);
    for (client, first) in &mut clients {
        assert_eq!(client.ping(), Ok(*first));
    }
    world.set_web_endpoints(&[12]);
    for (client, _) in &mut clients {
        until("the client reaches the endpoint that is left", || reached(client) == Ok(12));
    }
}

#[test]
fn a_restart_leaves_valid_flows_as_they_are() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.follow().terminate();
    let mut clients = Vec::new();
    for family in Family::ALL {
        clients.extend((0..8).map(|_| world.flow_to(family.cluster_ip(WEB), PORT)));
    }
    let flows = || Family::ALL.map(|family| world.flows(family.cluster_ip(WEB)));
    let before = flows();
    assert_eq!(before.each_ref().map(Vec::len), [8, 8]);
    let proxy = world.follow();
    // Flows are checked in order: when this change is done, the check at the start is done too.
    world.set_web_endpoints(&[12, 13]);
    until("the flows of one endpoint are gone", || {
        flows().iter().flatten().all(|flow| pod_number(flow.server.ip()) != 11)
    });
    proxy.terminate();
    world.sync();
    let stay = |flows: &Vec<Flow>| -> Vec<Flow> {
        flows.iter().filter(|flow| pod_number(flow.server.ip()) != 11).copied().collect()
    };
    assert_eq!(flows(), before.each_ref().map(stay), "the same entries, by number");
    for (client, first) in clients.iter_mut().filter(|(_, first)| pod_number(first.server.ip()) != 11) {
        assert_eq!(client.ping(), Ok(*first));
    }
}

#[test]
fn a_client_reaches_a_service_that_was_scaled_to_zero_and_back() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12]);
    let _proxy = world.follow();
    for family in Family::ALL {
        world.set_web_endpoints(&[11]);
        until("the client reaches the first endpoint", || {
            world.node.udp(family.cluster_ip(WEB), PORT).timeout(PACKET_TIMEOUT).send().is_ok()
        });
        let (mut client, _) = world.flow_to(family.cluster_ip(WEB), PORT);
        world.set_web_endpoints(&[]);
        until("no endpoint answers", || client.ping().is_err());
        world.set_web_endpoints(&[12]);
        until("the client reaches the new endpoint", || reached(&mut client) == Ok(12));
    }
}

#[test]
fn the_flows_of_a_deleted_service_go_with_it() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let _proxy = world.follow();
    let _clients = Family::ALL.map(|family| world.flow_to(family.cluster_ip(WEB), PORT));
    world.manifests.delete("Service", "default/web");
    for family in Family::ALL {
        until("its flows are gone", || world.flows(family.cluster_ip(WEB)).is_empty());
    }
}

#[test]
fn flows_from_before_there_were_rules_are_translated_after_the_first_sync() {
    let Some(world) = World::with_web(&[11]) else { return };
    assert_eq!(world.node.nft_with_input(&["-f", "-"], TRACK).code, Some(0));
    for family in Family::ALL {
        let addr = family.cluster_ip(WEB);
        // The host sends the packet along its default route, which leads nowhere.
        let mut client = world.node.udp(addr, PORT).timeout(PACKET_TIMEOUT).connected();
        assert_eq!(client.ping(), Err(Failure::TimedOut));
        let flows = world.flows(addr);
        assert!(flows.len() == 1 && !flows[0].is_translated(), "{flows:?}");
        world.sync();
        assert_eq!(reached(&mut client), Ok(11));
        for family in Family::ALL {
            world.node.nft(&["delete", "table", family.nft(), "pointsman"]);
        }
    }
}

#[test]
fn flows_that_went_stale_without_a_proxy_are_deleted_at_the_start() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12]);
    world.follow().terminate();
    let mut clients = Family::ALL.map(|family| world.flow_to(family.cluster_ip(WEB), PORT).0);
    world.set_web_endpoints(&[12]);
    assert_eq!(world.dry_run().code, Some(1));
    for client in &mut clients {
        assert_eq!(reached(client), Ok(11), "a dry run changes nothing");
    }
    world.sync();
    for client in &mut clients {
        assert_eq!(reached(client), Ok(12));
    }
}

/// A proxy of `default/web` as a NodePort Service, accepted on these addresses.
fn follow_node_port(world: &World, addresses: &str) -> Proxy {
    let mut service: serde_json::Value = web().into();
    service["spec"]["type"] = json!("NodePort");
    for port in service["spec"]["ports"].as_array_mut().expect("ports") {
        port["nodePort"] = json!(NODE_PORT);
    }
    world.manifests.apply(service);
    let args = ["--manifests", world.manifests.path(), "--watch", "--nodeport-addresses", addresses];
    let proxy = world.node.start_pointsman(&args);
    for family in Family::ALL {
        let request = world.node.udp(node_ip(family), NODE_PORT).timeout(PACKET_TIMEOUT);
        until("the NodePort answers", || request.send().is_ok());
    }
    proxy
}

/// The node's address outside.
fn node_ip(family: Family) -> IpAddr {
    let text = match family {
        Family::V4 => "192.0.2.1",
        Family::V6 => "fd00:192::1",
    };
    text.parse().expect("an address")
}

#[test]
fn clients_of_a_node_port_move_on_too_wherever_node_ports_are_accepted() {
    for addresses in ["192.0.2.0/24,fd00:192::/64", "0.0.0.0/0,::/0"] {
        let Some(world) = World::with_web(&[11]) else { return };
        world.serve(&[12]);
        let _proxy = follow_node_port(&world, addresses);
        let mut clients = Family::ALL.map(|family| world.flow_to(node_ip(family), NODE_PORT).0);
        world.set_web_endpoints(&[12]);
        for client in &mut clients {
            until("the client reaches the new endpoint", || reached(client) == Ok(12));
        }
    }
}

#[test]
fn a_flow_through_the_node_to_the_number_of_a_node_port_elsewhere_is_left_alone() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12]);
    for family in Family::ALL {
        world.node.serve(SocketAddr::new(family.pod_ip(50), NODE_PORT));
    }
    let _proxy = follow_node_port(&world, "0.0.0.0/0,::/0");
    let mut unrelated = Family::ALL.map(|family| world.flow_to(family.pod_ip(50), NODE_PORT));
    let flows = || Family::ALL.map(|family| world.flows(family.pod_ip(50)));
    let before = flows();
    assert_eq!(before.each_ref().map(Vec::len), [1, 1]);
    let mut clients = Family::ALL.map(|family| world.flow_to(node_ip(family), NODE_PORT).0);
    world.set_web_endpoints(&[12]);
    for client in &mut clients {
        until("the NodePort's own client moves on", || reached(client) == Ok(12));
    }
    assert_eq!(flows(), before);
    for (client, first) in &mut unrelated {
        assert_eq!(client.ping(), Ok(*first));
    }
}

#[test]
fn tcp_connections_are_left_alone() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12]);
    let _proxy = world.follow();
    let mut open = world.connections_to(&[11]);
    let mut clients = Family::ALL.map(|family| world.flow_to(family.cluster_ip(WEB), PORT).0);
    world.set_web_endpoints(&[12]);
    for client in &mut clients {
        until("the client over UDP moves on", || reached(client) == Ok(12));
    }
    assert_unbroken(&mut open);
    assert_eq!(open.len(), 2);
}

#[test]
fn another_service_of_the_same_endpoints_keeps_its_flows() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12]);
    let other = "default/other";
    world.manifests.apply(crate::common::manifests::service(other).dual_stack(30).udp_port("udp", PORT));
    for family in Family::ALL {
        let slice = crate::common::manifests::slice_of(other, family).port_of("UDP", "udp", TARGET_PORT);
        world.manifests.apply(slice.endpoint(family.pod_ip(11)));
    }
    let _proxy = world.follow();
    let mut kept = Family::ALL.map(|family| world.flow_to(family.cluster_ip(30), PORT));
    let mut clients = Family::ALL.map(|family| world.flow_to(family.cluster_ip(WEB), PORT).0);
    world.set_web_endpoints(&[12]);
    for client in &mut clients {
        until("the client moves on", || reached(client) == Ok(12));
    }
    for (client, first) in &mut kept {
        assert_eq!(client.ping(), Ok(*first));
    }
    assert!(world.ask_web(Family::V4, Transport::Udp).is_ok());
}
