//! Session affinity: clients stay with their endpoint until the timeout or until the endpoint goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::cluster::{page, until};
use crate::common::netns::{Family, Request, Transport, requirements};
use crate::world::{PORT, TARGET_PORT, WEB, World, pod_number, web};

/// A timeout in seconds, longer than any test takes.
const LONG_TIMEOUT: u32 = 600;

const NODE_PORT: u16 = 30_080;

const EXTERNAL: &str = "203.0.113.9";

/// A cluster whose `default/web` has this affinity timeout in seconds, with clients outside.
fn world(pods: &[u16], seconds: u32) -> Option<World> {
    let world = World::new()?;
    // Every address of these networks is one of the client's machine.
    world.node.client.ip_batch("route add local 172.20.0.0/16 dev lo\nroute add local fd00:172::/64 dev lo");
    world.node.host.ip_batch("route add 172.20.0.0/16 via 192.0.2.2\nroute add fd00:172::/64 via fd00:192::2");
    world.node.client.sysctl("ipv6/ip_nonlocal_bind", "1");
    world.serve(pods);
    world.manifests.apply(web().session_affinity(seconds));
    world.set_web_endpoints(pods);
    Some(world)
}

/// The address of client number `n`.
fn client(family: Family, n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    match family {
        Family::V4 => Ipv4Addr::new(172, 20, high, low).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x172, 0, 0, 0, 0, 0, n).into(),
    }
}

/// The pods that clients reach with a new connection each.
fn reached(
    world: &World,
    family: Family,
    transport: Transport,
    clients: impl Iterator<Item = u16>,
) -> BTreeMap<u16, u16> {
    let request = world.node.request(transport, family.cluster_ip(WEB), PORT);
    pods_reached_by(request, family, clients)
}

fn pods_reached_by(request: Request<'_>, family: Family, clients: impl Iterator<Item = u16>) -> BTreeMap<u16, u16> {
    let clients: Vec<u16> = clients.collect();
    let answers = request.send_from_each(clients.iter().map(|n| client(family, *n)));
    let pod =
        |answer: Result<crate::common::netns::Answer, _>| pod_number(answer.expect("the Service answers").server.ip());
    clients.into_iter().zip(answers.into_iter().map(pod)).collect()
}

/// How many clients the kernel remembers for each frontend of a family, by the name of its map.
fn remembered_by_frontend(world: &World, family: Family) -> BTreeMap<String, usize> {
    let listing = world.node.nft(&["-j", "list", "table", family.nft(), "pointsman"]);
    let listing: serde_json::Value = serde_json::from_str(&listing).expect("JSON");
    let maps = listing["nftables"].as_array().expect("a list").iter().filter_map(|item| item.get("map"));
    let name = |map: &serde_json::Value| map["name"].as_str().expect("a name").to_owned();
    let clients = maps.filter(|map| name(map).starts_with("clients-"));
    clients.map(|map| (name(map), map["elem"].as_array().map_or(0, Vec::len))).collect()
}

/// How many clients the kernel remembers for all frontends of a family.
fn remembered(world: &World, family: Family) -> usize {
    remembered_by_frontend(world, family).values().sum()
}

#[test]
fn every_client_keeps_its_endpoint_over_both_families_and_transports() {
    let pods = [11, 12, 13, 14, 15];
    let Some(world) = world(&pods, LONG_TIMEOUT) else { return };
    world.sync();
    for family in Family::ALL {
        for transport in Transport::ALL {
            let first = reached(&world, family, transport, 0..80);
            assert_eq!(first.values().copied().collect::<BTreeSet<_>>(), pods.into(), "all are used");
            for _ in 0..3 {
                assert_eq!(reached(&world, family, transport, 0..80), first, "{family} {transport}");
            }
        }
        // TCP and UDP are two ports of the Service.
        assert_eq!(remembered(&world, family), 160);
    }
    world.assert_no_difference();
}

#[test]
fn after_the_timeout_a_client_is_balanced_again() {
    let Some(world) = world(&[11, 12, 13, 14], 1) else { return };
    world.sync();
    let first = reached(&world, Family::V4, Transport::Udp, 0..60);
    std::thread::sleep(Duration::from_millis(1200));
    // The chance that all 60 draw what they drew before is 4^-60.
    assert_ne!(reached(&world, Family::V4, Transport::Udp, 0..60), first);
}

#[test]
fn each_new_connection_restarts_the_timeout() {
    let Some(world) = world(&[11, 12, 13, 14], 2) else { return };
    world.sync();
    let first = reached(&world, Family::V4, Transport::Udp, 0..40);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(1000));
        assert_eq!(reached(&world, Family::V4, Transport::Udp, 0..40), first);
    }
}

#[test]
fn a_removed_endpoint_moves_its_own_clients_and_no_others() {
    let Some(world) = world(&[11, 12, 13, 14], LONG_TIMEOUT) else { return };
    let _proxy = world.follow();
    for family in Family::ALL {
        let first = reached(&world, family, Transport::Udp, 0..100);
        let stay: Vec<u16> = first.iter().filter(|(_, pod)| **pod != 12).map(|(client, _)| *client).collect();
        world.set_web_endpoints(&[11, 13, 14]);
        world.settle();
        let second = reached(&world, family, Transport::Udp, 0..100);
        assert!(second.values().all(|pod| *pod != 12));
        assert!(stay.iter().all(|client| second[client] == first[client]), "{family}");
        // Back again, it gets new clients only.
        world.set_web_endpoints(&[11, 12, 13, 14]);
        world.settle();
        assert_eq!(reached(&world, family, Transport::Udp, 0..100), second);
    }
}

#[test]
fn a_restart_forgets_only_the_clients_of_endpoints_that_are_gone() {
    let Some(world) = world(&[11, 12, 13], LONG_TIMEOUT) else { return };
    world.follow().kill();
    let first = reached(&world, Family::V4, Transport::Tcp, 0..60);
    let proxy = world.follow();
    assert_eq!(reached(&world, Family::V4, Transport::Tcp, 0..60), first);
    proxy.kill();
    world.set_web_endpoints(&[11, 13]);
    world.sync();
    let second = reached(&world, Family::V4, Transport::Tcp, 0..60);
    assert!(second.values().all(|pod| *pod != 12));
    assert!(first.iter().filter(|(_, pod)| **pod != 12).all(|(client, pod)| second[client] == *pod));
}

#[test]
fn node_ports_and_external_addresses_keep_clients_too() {
    let pods = [11, 12, 13, 14];
    let Some(world) = world(&pods, LONG_TIMEOUT) else { return };
    let service = web().session_affinity(LONG_TIMEOUT).node_port("udp", NODE_PORT).external_ip(EXTERNAL);
    world.manifests.apply(service);
    // A Service whose port has the NodePort's number: its clients are not those of the NodePort.
    world.serve(&[21]);
    let other = crate::common::manifests::service("default/other").dual_stack(40).udp_port("udp", NODE_PORT);
    world.manifests.apply(other);
    let slice = crate::common::manifests::slice_of("default/other", Family::V4).port_of("UDP", "udp", TARGET_PORT);
    world.manifests.apply(slice.endpoint(Family::V4.pod_ip(21)));
    let networks = ["--nodeport-addresses", "192.0.2.0/24"];
    let proxy =
        world.node.start_pointsman(&[&networks[..], &["--manifests", world.manifests.path(), "--watch"]].concat());
    let to = |addr: &str, port| world.node.request(Transport::Udp, addr.parse().expect("an address"), port);
    let ask = |addr: &str, port| pods_reached_by(to(addr, port), Family::V4, 0..40);
    until(&proxy, "the NodePort answers", || {
        to("192.0.2.1", NODE_PORT).timeout(Duration::from_millis(300)).send().is_ok()
    });
    // First: it must not be remembered for the NodePort.
    assert_eq!(ask("10.96.0.40", NODE_PORT).values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([21]));
    for (addr, port) in [("192.0.2.1", NODE_PORT), (EXTERNAL, PORT)] {
        let first = ask(addr, port);
        assert_eq!(first.values().copied().collect::<BTreeSet<_>>(), pods.into(), "{addr}");
        assert_eq!(ask(addr, port), first, "{addr}");
    }
}

#[test]
fn affinity_is_switched_on_and_off_live_and_leaves_no_rules_behind() {
    let Some(world) = world(&[11, 12, 13, 14], LONG_TIMEOUT) else { return };
    world.manifests.apply(web());
    let proxy = world.follow();
    let without = world.objects().len();
    let moved = |before: &BTreeMap<u16, u16>| reached(&world, Family::V4, Transport::Udp, 0..60) != *before;
    assert!(moved(&reached(&world, Family::V4, Transport::Udp, 0..60)));
    for seconds in [LONG_TIMEOUT, LONG_TIMEOUT + 1] {
        world.manifests.apply(web().session_affinity(seconds));
        world.settle();
        let first = reached(&world, Family::V4, Transport::Udp, 0..60);
        assert!(!moved(&first), "on");
        world.manifests.apply(web());
        world.settle();
        assert!(moved(&first), "off");
        assert_eq!(world.objects().len(), without, "{}", proxy.log());
    }
}

#[test]
fn clients_beyond_the_capacity_are_balanced() {
    let Some(world) = world(&[11, 12, 13, 14], LONG_TIMEOUT) else { return };
    let finished =
        world.node.pointsman(&["--manifests", world.manifests.path(), "--once", "--affinity-capacity", "20"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let first = reached(&world, Family::V4, Transport::Udp, 0..20);
    reached(&world, Family::V4, Transport::Udp, 20..60);
    assert_eq!(reached(&world, Family::V4, Transport::Udp, 0..20), first);
    assert_eq!(remembered(&world, Family::V4), 20);
    // Another capacity takes effect at the next start.
    world.sync();
    reached(&world, Family::V4, Transport::Udp, 0..60);
    assert_eq!(remembered(&world, Family::V4), 60);
}

#[test]
fn the_metrics_count_the_clients_of_a_service_port_while_it_has_affinity() {
    let Some(world) = world(&[11, 12, 13, 14], LONG_TIMEOUT) else { return };
    if !requirements::kernel_counts_elements() {
        return requirements::skip("the kernel does not count elements");
    }
    let manifests = ["--manifests", world.manifests.path(), "--watch", "--affinity-capacity", "20"];
    let proxy = world.node.start_pointsman(&manifests);
    let is_synced = |(_, metrics): (_, String)| metrics.contains("pointsman_syncs_total{result=\"committed\"} 1");
    until(&proxy, "the first sync", || page(&world.node.host, 10249, "/metrics").is_some_and(is_synced));
    for (family, clients) in [(Family::V4, 30), (Family::V6, 7)] {
        reached(&world, family, Transport::Udp, 0..clients);
        reached(&world, family, Transport::Tcp, 0..3);
    }
    let shown = |start: &str| -> BTreeSet<String> {
        let page = proxy.metrics(&world.node.host);
        page.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    };
    let counts = [("IPv4", "tcp", 3), ("IPv4", "udp", 20), ("IPv6", "tcp", 3), ("IPv6", "udp", 7)].map(
        |(family, port, clients)| {
            format!(r#"pointsman_affinity_clients{{ip_family="{family}",service_port="default/web:{port}"}} {clients}"#)
        },
    );
    assert_eq!(shown("pointsman_affinity_clients{"), counts.into(), "{}", proxy.log());
    let full = shown("pointsman_affinity_full_frontends");
    assert_eq!(full, ["pointsman_affinity_full_frontends 1".to_owned()].into(), "UDP over IPv4 remembers all it may");
    world.manifests.apply(web());
    until(&proxy, "the clients are not shown any more", || shown("pointsman_affinity_clients{").is_empty());
}

#[test]
fn of_ten_thousand_clients_only_those_of_a_removed_endpoint_move() {
    let pods: Vec<u16> = (100..200).collect();
    let Some(world) = world(&pods, LONG_TIMEOUT) else { return };
    let _proxy = world.follow();
    let clients = 10_000;
    let first = reached(&world, Family::V4, Transport::Udp, 0..clients);
    assert_eq!(first.values().collect::<BTreeSet<_>>().len(), 100);
    assert_eq!(reached(&world, Family::V4, Transport::Udp, 0..clients), first, "all are sticky");
    let stay = first.values().filter(|pod| **pod != 150).count();
    world.set_web_endpoints(&pods.iter().copied().filter(|pod| *pod != 150).collect::<Vec<_>>());
    world.settle();
    // At once: nothing has to be swept first.
    let second = reached(&world, Family::V4, Transport::Udp, 0..clients);
    assert!(second.values().all(|pod| *pod != 150));
    let moved = first.iter().filter(|(client, pod)| second[*client] != **pod).count();
    assert_eq!(moved, usize::from(clients) - stay, "only its clients moved");
    println!("{clients} clients, {stay} stayed and {moved} moved");
}

/// Another program masquerades what leaves, at the priority of source translation.
fn masquerade_elsewhere(world: &World) {
    world.node.nft(&["add table ip elsewhere"]);
    world.node.nft(&["add chain ip elsewhere post { type nat hook postrouting priority 100; policy accept; }"]);
    world.node.nft(&["add rule ip elsewhere post ip daddr 10.0.0.0/8 masquerade"]);
}

#[test]
fn clients_are_remembered_whoever_masquerades_and_in_whatever_order_the_chains_were_attached() {
    for before in [true, false] {
        let Some(world) = world(&[11, 12, 13, 14], LONG_TIMEOUT) else { return };
        if before {
            masquerade_elsewhere(&world);
        }
        world.sync();
        if !before {
            masquerade_elsewhere(&world);
        }
        let first = reached(&world, Family::V4, Transport::Tcp, 0..60);
        assert_eq!(reached(&world, Family::V4, Transport::Tcp, 0..60), first, "attached before: {before}");
    }
}

#[test]
fn a_service_that_remembers_as_many_clients_as_it_may_takes_nothing_from_another() {
    let Some(world) = world(&[11, 12, 13, 14], LONG_TIMEOUT) else { return };
    let other = crate::common::manifests::service("default/other").dual_stack(40).udp_port("udp", PORT);
    world.manifests.apply(other.session_affinity(LONG_TIMEOUT));
    let slice = crate::common::manifests::slice_of("default/other", Family::V4).port_of("UDP", "udp", TARGET_PORT);
    let slice = [11, 12, 13, 14].into_iter().fold(slice, |slice, pod| slice.endpoint(Family::V4.pod_ip(pod)));
    world.manifests.apply(slice);
    let capacity = ["--manifests", world.manifests.path(), "--once", "--affinity-capacity", "40"];
    assert_eq!(world.node.pointsman(&capacity).code, Some(0));
    let ask_other = || {
        let request = world.node.request(Transport::Udp, "10.96.0.40".parse().expect("an address"), PORT);
        pods_reached_by(request, Family::V4, 0..40)
    };
    // The Service remembers as many clients as it may, and gets more.
    reached(&world, Family::V4, Transport::Udp, 0..200);
    let first = ask_other();
    assert_eq!(ask_other(), first);
    let counts = remembered_by_frontend(&world, Family::V4);
    assert_eq!(counts["clients-10.96.0.40-udp-80"], 40, "{counts:?}");
    assert_eq!(counts.values().filter(|count| **count == 40).count(), 2, "{counts:?}");
}

#[test]
fn packets_to_other_services_pass_the_same_rules_whatever_timeouts_there_are() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let rules = |world: &World| {
        let chain = |name: &str| world.node.nft(&["list", "chain", "ip", "pointsman", name]);
        ["services", "from-internal-2", "pick-2", "nat-postrouting", "filter-forward"].map(chain).concat()
    };
    world.sync();
    let before = rules(&world);
    for (n, seconds) in (50..).zip([10, 20, 30, 10_800]) {
        let name = format!("default/sticky-{n}");
        let service = crate::common::manifests::service(&name).dual_stack(n).udp_port("udp", PORT);
        world.manifests.apply(service.session_affinity(seconds));
        let slice = crate::common::manifests::slice_of(&name, Family::V4).port_of("UDP", "udp", TARGET_PORT);
        world.manifests.apply(slice.endpoint(Family::V4.pod_ip(11)));
    }
    world.sync();
    assert_eq!(rules(&world), before);
    assert_eq!(remembered_by_frontend(&world, Family::V4).len(), 4);
}

/// The id of the endpoint on each pod, as the kernel holds it for a Service of one family.
fn ids(world: &World, family: Family) -> BTreeMap<String, String> {
    let listing = world.node.nft(&["-j", "list", "map", family.nft(), "pointsman", "endpoints-by-id"]);
    let listing: serde_json::Value = serde_json::from_str(&listing).expect("JSON");
    let map = listing["nftables"].as_array().expect("a list").iter().find_map(|item| item.get("map")).expect("the map");
    let elements = map["elem"].as_array().expect("elements").iter();
    let udp = elements.filter(|element| element[0]["concat"][1] == "udp");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    udp.map(|element| (text(&element[1]["concat"][0]), text(&element[0]["concat"][3]))).collect()
}

#[test]
fn of_two_hundred_thousand_clients_none_reaches_an_endpoint_whose_removal_was_acknowledged() {
    const CLIENTS: u32 = 200_000;
    let pods = [11, 12, 13, 14];
    let Some(world) = world(&pods, LONG_TIMEOUT) else { return };
    let capacity = ["--manifests", world.manifests.path(), "--watch", "--affinity-capacity", "262144"];
    let proxy = world.node.start_pointsman(&capacity);
    until(&proxy, "the Service answers", || {
        let request = world.node.request(Transport::Udp, Family::V4.cluster_ip(WEB), PORT);
        request.timeout(Duration::from_millis(300)).send().is_ok()
    });
    // Most of them are at addresses from which no packet comes here: the map does not know.
    let ids = ids(&world, Family::V4);
    let id = |pod: u16| &ids[&Family::V4.pod_ip(pod).to_string()];
    let pod_of = |n: u32| pods[usize::try_from(n).expect("a small number") % pods.len()];
    let first = u32::from(Ipv4Addr::new(172, 20, 0, 0));
    let element = |n: u32| format!("{} : {}", Ipv4Addr::from(first + n), id(pod_of(n)));
    let map = format!("clients-{}-udp-{PORT}", Family::V4.cluster_ip(WEB));
    for begin in (0..CLIENTS).step_by(20_000) {
        let elements: Vec<String> = (begin..begin + 20_000).map(element).collect();
        let file = tempfile::NamedTempFile::new().expect("a file");
        let command = format!("add element ip pointsman {map} {{ {} }}\n", elements.join(", "));
        std::fs::write(file.path(), command).expect("written");
        world.node.nft(&["-f", file.path().to_str().expect("a plain name")]);
    }
    let some = || (0..2_000).map(|n| n * 4 + 1);
    let before = reached(&world, Family::V4, Transport::Udp, some().chain((0..2_000).map(|n| n * 4)));
    assert!(before.iter().all(|(client, pod)| *pod == pod_of(u32::from(*client))), "all are remembered");
    world.set_web_endpoints(&[11, 13, 14]);
    let removed = Family::V4.pod_ip(12).to_string();
    until(&proxy, "the endpoint is removed", || !self::ids(&world, Family::V4).contains_key(&removed));
    let after = reached(&world, Family::V4, Transport::Udp, some().chain((0..2_000).map(|n| n * 4)));
    assert!(after.values().all(|pod| *pod != 12));
    assert!(before.iter().all(|(client, pod)| *pod == 12 || after[client] == *pod), "the others stay");
    let log = proxy.log();
    println!(
        "{CLIENTS} clients; the commit: {}",
        log.lines().rfind(|line| line.contains("committed")).unwrap_or_default()
    );
}
