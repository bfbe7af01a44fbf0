//! New ClusterIPs that come in several slices.

use std::collections::BTreeSet;

use super::*;
use crate::apply::MemoryKernel;
use crate::dataplane::{Packet, PacketOutcome, Protocol};
use crate::diff::SharedElement;
use crate::fixtures::ip;
use crate::state::SharedDemand;

/// So many ports has the Service that comes.
const PORTS: u16 = 6;

/// What becomes of a connection to a port of its address.
fn fate(kernel: &MemoryKernel, port: u16) -> BTreeSet<PacketOutcome> {
    let packet = Packet {
        saddr: ip("192.0.2.9"),
        daddr: ip("10.96.9.9"),
        protocol: Protocol::Tcp,
        dport: port,
        iif: Some("eth0".to_owned()),
        opens: true,
    };
    kernel.outcomes(&packet, &BTreeSet::new())
}

/// A world with so many small Services that theirs is the class that is tested first, and with ranges of ClusterIPs.
fn with_small_services(world: &mut World) {
    for n in 1..=20 {
        world.apply(small(n));
        world.apply(small_slice(n, 1));
    }
    world.apply(Event::ServiceCidrsReset(vec![service_cidr("services", &["10.96.0.0/16"])]));
}

/// Another Service that names this address as an external one, with two of these ports.
fn edge() -> ServiceBuilder {
    let ports = ["a 1/tcp", "b 3/tcp"];
    service("shop/edge").ips(&["10.96.0.200"]).ports(&ports).external_ips(&["10.96.9.9"])
}

/// Commits everything. After each slice each port gets what it got before or what it gets in the end.
fn check_slices(world: &mut World) {
    let fates = |world: &World| (1..=PORTS).map(|port| fate(&world.kernel, port)).collect::<Vec<_>>();
    let (mut end, before) = (world.clone(), fates(world));
    end.sync();
    let after = fates(&end);
    let mut slices = 0;
    while world.slice().is_some() {
        slices += 1;
        for (n, fate) in fates(world).into_iter().enumerate() {
            assert!(fate == before[n] || fate == after[n], "port {} in slice {slices}: {fate:?}", n + 1);
        }
    }
    assert!(slices > 2, "{slices}");
}

/// The address of that Service becomes the ClusterIP of a huge one.
fn check_takeover(of_edge: Option<SliceBuilder>) {
    let mut world = World::sliced(40);
    with_small_services(&mut world);
    world.apply(edge());
    if let Some(endpoints) = of_edge {
        world.apply(endpoints);
    }
    world.sync();
    world.apply(huge_slice(PORTS, 30, 0));
    world.apply(huge(PORTS));
    check_slices(&mut world);
}

#[test]
fn an_external_address_that_becomes_a_cluster_ip_is_served_all_the_time() {
    check_takeover(Some(slice("shop/edge-1").ports(&["a 1/tcp", "b 3/tcp"]).ready(&["10.1.200.1"])));
}

#[test]
fn an_external_address_that_refuses_and_becomes_a_cluster_ip_refuses_until_it_is_served() {
    check_takeover(None);
}

#[test]
fn a_port_that_gets_endpoints_while_its_address_comes_refuses_until_it_is_served() {
    let mut world = World::sliced(40);
    with_small_services(&mut world);
    world.sync();
    let of_port = |slice: SliceBuilder, port: u16| slice.ports(&[&format!("p{port} {port}/tcp")]);
    for port in 2..=PORTS {
        let addrs: Vec<String> = (1..=30).map(|n| format!("10.100.{port}.{n}")).collect();
        let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
        world.apply(of_port(slice(&format!("shop/huge-{port}")), port).ready(&addrs));
    }
    world.apply(huge(PORTS));
    let rejects = frontend("10.96.9.9 1/tcp");
    while !world.acknowledged().frontends.contains_key(&rejects) {
        world.slice().unwrap();
    }
    world.apply(of_port(slice("shop/huge-1"), 1).ready(&["10.1.201.1", "10.1.201.2"]));
    check_slices(&mut world);
}

#[test]
fn a_new_address_whose_ports_were_deleted_a_moment_ago_comes_with_the_last_of_them() {
    let mut world = World::sliced(40);
    world.engine = Engine::new(EngineSettings { grace: Some(GRACE), ..world.engine.settings().clone() });
    crate::fixtures::empty_lists().into_iter().for_each(|event| drop(world.apply(event)));
    with_small_services(&mut world);
    world.apply(huge_slice(PORTS, 30, 0));
    world.apply(huge(PORTS));
    world.sync();
    world.apply(Event::ServiceDeleted(name("shop/huge")));
    world.sync();
    assert!(world.engine.has_leftovers());
    world.apply(huge(PORTS));
    check_slices(&mut world);
}

#[test]
fn small_changes_do_not_wait_for_a_new_address_of_which_a_port_is_small() {
    let mut world = World::sliced(SLICE);
    let ports: Vec<String> = (2..=40).map(|port| format!("p{port} {port}/tcp")).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let addrs: Vec<String> = (0..1_500).map(|n| format!("10.100.{}.{}", n / 250, 1 + n % 250)).collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    world.apply(slice("shop/huge-1").ports(&ports).ready(&addrs));
    world.apply(huge(40));
    for n in 1..=5 {
        world.apply(small(n));
        world.apply(small_slice(n, 1));
    }
    let mut waited = 0;
    let is_small = |frontend: &&Frontend| frontend.port == 80;
    while world.acknowledged().frontends.keys().filter(is_small).count() < 5 {
        world.slice().unwrap();
        waited += 1;
    }
    assert!(waited <= 3, "{waited} slices");
}

#[test]
fn a_new_port_is_not_programmed_before_its_address() {
    let mut world = World::sliced(40);
    with_small_services(&mut world);
    world.sync();
    world.apply(huge_slice(PORTS, 30, 0));
    world.apply(huge(PORTS));
    world.slice().unwrap();
    world.apply(slice("shop/huge-2").ports(&["p7 7/tcp"]).ready(&["10.1.201.1", "10.1.201.2"]));
    world.apply(huge(PORTS + 1));
    let progress: Vec<_> = std::iter::from_fn(|| world.slice()).map(|it| it.progress).collect();
    assert!(!progress.contains(&SyncProgress::Newest), "{progress:?}");
}

#[test]
fn a_small_change_is_told_as_programmed_while_an_address_still_comes() {
    let mut world = World::sliced(40);
    with_small_services(&mut world);
    world.sync();
    world.apply(huge_slice(40, 30, 0));
    world.apply(huge(40));
    world.slice().unwrap();
    for n in 1..=8 {
        world.apply(small_slice(n, 2));
        assert_eq!(world.slice().unwrap().progress, SyncProgress::Newest, "change {n}");
    }
    let address = SharedElement::from(SharedDemand::ClusterIp(ip("10.96.9.9")));
    assert!(!world.acknowledged().shared.contains(&address));
}
