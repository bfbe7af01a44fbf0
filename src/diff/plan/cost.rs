//! Work is O(change): counted in comparisons of frontends, which nothing that grows with the cluster can do without.

use std::net::Ipv4Addr;

use super::*;
use crate::dataplane::comparisons::count;
use crate::engine::{Moment, Next};
use crate::fixtures::{World, scope, service, slice};
use crate::state::{Desired, Event};

/// Comparisons that a change may cost for each doubling of the cluster. Measured: 5 to 8.
const PER_DOUBLING: usize = 10;

/// A programmed world with this many Services of four endpoints each, but the first: an endpoint less is no new class.
fn world(services: u32) -> World {
    let mut world = World::new();
    let all = (0..services).map(|n| service_of(n).decoded()).collect();
    let slices = (0..services).map(|n| slice_of(n).decoded()).collect();
    world.apply(Event::ServicesReset(all));
    world.apply(Event::SlicesReset(slices));
    world.apply(slice_of(0).emptied().endpoints("10.1.0.1 R r, 10.1.0.2 R r, 10.1.0.3 R r"));
    world.sync();
    world
}

fn service_of(n: u32) -> crate::fixtures::ServiceBuilder {
    service(&format!("shop/web{n}")).ips(&[&Ipv4Addr::from(0x0a60_0000 + n).to_string()])
}

fn slice_of(n: u32) -> crate::fixtures::SliceBuilder {
    let pod = Ipv4Addr::from(0x0a80_0000 + n);
    slice(&format!("shop/web{n}-1")).endpoints(&format!("10.1.0.1 R r, 10.1.0.2 R r, 10.1.0.3 R r, {pod} L r"))
}

/// One change, from the event to the plan: its operations and the comparisons that it took.
fn step(world: &World, event: impl Into<Event>) -> (usize, usize) {
    let (mut engine, event) = (world.engine.clone(), event.into());
    let (next, comparisons) = count(|| {
        engine.fold(event);
        engine.compile();
        engine.next(Moment::default())
    });
    let Next::Commit(plan) = next else { panic!("{next:?}") };
    (plan.operations.len(), comparisons)
}

/// The changes whose cost is measured in a cluster of this size, and how many operations each takes.
fn changes(services: u32) -> Vec<(&'static str, Event, usize)> {
    let middle = services / 2;
    let pods = |text: &str| slice_of(middle).emptied().endpoints(text).into();
    let gone = Event::ServiceDeleted(crate::fixtures::name(&format!("shop/web{middle}")));
    vec![
        ("an endpoint is replaced", pods("10.1.0.1 R r, 10.1.0.2 R r, 10.1.0.3 R r, 10.1.0.4 R r"), 3),
        ("an endpoint goes", pods("10.1.0.1 R r, 10.1.0.2 R r, 10.1.0.3 R r"), 4),
        ("a Service comes", service_of(services).into(), 2),
        ("a Service goes", gone, 7),
    ]
}

#[test]
fn a_change_takes_comparisons_in_the_order_of_the_logarithm_of_the_cluster() {
    let sizes = [1_000, 8_000, 64_000];
    let mut costs = vec![Vec::new(); 4];
    for services in sizes {
        let world = world(services);
        for (kind, (what, event, expected)) in changes(services).into_iter().enumerate() {
            let (operations, comparisons) = step(&world, event);
            println!("{services} Services, {what}: {operations} operations, {comparisons} comparisons");
            assert_eq!(operations, expected, "{what}");
            let limit = PER_DOUBLING * services.ilog2() as usize;
            assert!(comparisons < limit, "{what} among {services} Services: {comparisons} of {limit}");
            costs[kind].push(comparisons);
        }
    }
    for cost in costs {
        let more = cost[2].saturating_sub(cost[0]);
        assert!(more <= 6 * PER_DOUBLING, "64 times the Services cost {} comparisons after {}", cost[2], cost[0]);
    }
}

#[test]
fn without_a_change_nothing_is_compared() {
    let world = world(8_000);
    let mut engine = world.engine.clone();
    let (next, comparisons) = count(|| engine.next(Moment::default()));
    assert!(matches!(next, Next::Wait(None)) && comparisons == 0);
    let (folded, comparisons) = count(|| engine.fold(slice_of(7).into()));
    assert!(!folded.changed && comparisons == 0);
}

#[test]
fn after_reading_everything_is_compared() {
    let world = world(1_000);
    let read = world.acknowledged().unverified();
    let (plan, comparisons) = count(|| diff(&read, world.desired(), &scope()));
    assert!(
        plan.is_empty() && comparisons > 1_000,
        "{comparisons}: the count sees what a comparison of everything costs"
    );
}

#[test]
fn the_first_sync_takes_comparisons_in_the_order_of_the_cluster() {
    let of = |services: u32| {
        let world = world(services);
        count(|| diff(&Acknowledged::empty(), &Desired::from_cluster(world.cluster()), &scope())).1
    };
    let (small, large) = (of(1_000), of(8_000));
    assert!(large < small * 8 * 2, "8 times the Services cost {large} comparisons after {small}");
}

/// A world in which one Service has so many external IPs and ports, programmed, and how much work the change of one endpoint is.
fn work_of_one_endpoint(addresses: u32, ports: u16) -> usize {
    let addrs: Vec<String> = (0..addresses).map(|n| Ipv4Addr::from(0xcb00_0000 + n).to_string()).collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    let named = |base: u16| (0..ports).map(|n| format!("p{n} {}/tcp", base + n)).collect::<Vec<_>>();
    let (front, back) = (named(1_000), named(8_000));
    let [front, back] = [&front, &back].map(|ports| ports.iter().map(String::as_str).collect::<Vec<_>>());
    let slice = |endpoints: &[&str]| slice("shop/huge-1").ports(&back).ready(endpoints);
    let mut world = World::with([
        service("shop/huge").ports(&front).external_ips(&addrs).into(),
        slice(&["10.1.0.1", "10.1.0.2"]).into(),
    ]);
    let (operations, comparisons) = count(|| world.sync_after(slice(&["10.1.0.1", "10.1.0.3"])).len());
    assert_eq!(
        operations,
        2 * (addresses as usize + 1) * usize::from(ports),
        "each frontend has one endpoint replaced"
    );
    comparisons
}

#[test]
fn a_change_of_one_service_takes_comparisons_in_the_order_of_its_frontends() {
    // Both are more than a slice takes.
    let sizes = [(100, 20), (200, 40), (400, 80)];
    let work = sizes.map(|(addresses, ports)| work_of_one_endpoint(addresses, ports));
    println!("2,020 frontends: {} comparisons; 8,040: {}; 32,080: {}", work[0], work[1], work[2]);
    for pair in work.windows(2) {
        // 4 times the frontends, and the logarithm of their number.
        assert!(pair[1] < pair[0] * 4 * 5 / 4, "{pair:?}");
    }
}

#[test]
fn a_frontend_that_many_services_want_costs_as_many_steps_as_there_are_services() {
    let mut world = World::with([service("shop/web").external_ips(&["203.0.113.1"]).created(1).into()]);
    for n in 0..500 {
        let addr = Ipv4Addr::from(0x0a60_1000 + n).to_string();
        let seen =
            world.apply(service(&format!("shop/other{n}")).ips(&[&addr]).external_ips(&["203.0.113.1"]).created(2));
        assert_eq!(seen.skipped.len(), 1, "only the new one is told");
    }
    let seen = world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
    assert_eq!(seen.skipped, [], "those who lose it lost it before");
}
