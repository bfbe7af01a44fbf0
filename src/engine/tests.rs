use super::*;
use crate::dataplane::{Frontend, Key, Object, Operation, SetName, Verb};
use crate::fixtures::{ServiceBuilder, SliceBuilder, World, frontend, name, service, service_cidr, slice};
use crate::state::compilations;

mod arriving;
mod failures;
mod node;
mod search;
mod tail;

/// The most operations of a slice, but for one address.
const SLICE: usize = 2_000;

/// A Service of many ports, on one address.
fn huge(ports: u16) -> ServiceBuilder {
    let ports: Vec<String> = (1..=ports).map(|port| format!("p{port} {port}/tcp")).collect();
    service("shop/huge").ips(&["10.96.9.9"]).ports(&ports.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Its endpoints, of which the last two bytes differ from round to round.
fn huge_slice(ports: u16, endpoints: u16, round: u8) -> SliceBuilder {
    let ports: Vec<String> = (1..=ports).map(|port| format!("p{port} {port}/tcp")).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let addrs: Vec<String> =
        (0..endpoints).map(|n| format!("10.{}.{}.{}", 100 + round, n / 250, 1 + n % 250)).collect();
    slice("shop/huge-1").ports(&ports).ready(&addrs.iter().map(String::as_str).collect::<Vec<_>>())
}

fn small(n: u8) -> ServiceBuilder {
    service(&format!("shop/small{n}")).ips(&[&format!("10.96.0.{n}")])
}

fn small_slice(n: u8, endpoint: u8) -> SliceBuilder {
    slice(&format!("shop/small{n}-1")).ready(&[&format!("10.1.{n}.{endpoint}")])
}

/// A world with a huge Service of 200 ports with 1,000 endpoints and some small ones, in which everything is programmed.
fn programmed() -> World {
    let mut world = World::sliced(SLICE);
    world.apply(huge(200));
    world.apply(huge_slice(200, 1_000, 0));
    for n in 1..=5 {
        world.apply(small(n));
        world.apply(small_slice(n, 1));
    }
    world.sync();
    world
}

fn changes_of(committed: &Committed) -> Vec<Frontend> {
    committed.plan.frontends.iter().map(|change| change.frontend).collect()
}

#[test]
fn a_small_change_right_behind_a_huge_one_is_in_the_first_slice() {
    let mut world = programmed();
    world.apply(huge_slice(200, 1_000, 1));
    world.apply(small_slice(1, 2));
    let first = world.slice().unwrap();
    assert!(changes_of(&first).contains(&frontend("10.96.0.1 80/tcp")));
    assert_eq!(first.progress, SyncProgress::Partial);
    let more = std::iter::from_fn(|| world.slice()).count();
    assert!(more > 190, "one frontend of the huge Service for each slice: {more}");
}

#[test]
fn a_small_change_that_arrives_between_two_slices_is_in_the_next_one() {
    let mut world = programmed();
    world.apply(huge_slice(200, 1_000, 1));
    for n in 1..=5 {
        world.slice().unwrap();
        world.apply(small_slice(n, 2));
        let next = world.slice().unwrap();
        assert!(changes_of(&next).contains(&frontend(&format!("10.96.0.{n} 80/tcp"))));
        assert_eq!(next.progress, SyncProgress::Newest, "what is new is programmed, the huge change is not");
    }
}

#[test]
fn a_change_is_told_as_programmed_although_another_one_arrived_while_it_was_committed() {
    let (mut world, now) = (programmed(), Moment::default());
    world.apply(small_slice(1, 2));
    let Next::Commit(plan) = world.engine.next(now) else { panic!("there is a change") };
    world.kernel.apply(&plan.operations).unwrap();
    world.apply(small_slice(2, 2));
    assert_eq!(world.engine.committed(*plan, now, now).progress, SyncProgress::Newest);
    assert_eq!(world.slice().unwrap().progress, SyncProgress::CaughtUp);
}

#[test]
fn a_small_change_is_committed_without_a_slice_of_the_huge_one_beside_it() {
    let mut world = programmed();
    world.apply(huge_slice(200, 1_000, 1));
    let mut sizes = Vec::new();
    for n in (1..=5).cycle().take(20) {
        let slice = world.slice().unwrap();
        assert!(slice.plan.operations.len() >= SLICE, "the huge change goes on between two small ones");
        let endpoint = 2 + u8::try_from(sizes.len() / 5).unwrap();
        world.apply(small_slice(n, endpoint));
        sizes.push(world.slice().unwrap().plan.operations.len());
    }
    assert!(sizes.iter().all(|size| *size <= 20), "operations that a small change waits for: {sizes:?}");
}

#[test]
fn a_huge_change_goes_on_while_small_ones_never_end() {
    let mut world = programmed();
    world.apply(huge_slice(200, 1_000, 1));
    let (huge, mut changed) = (frontend("10.96.9.9 1/tcp").addr, std::collections::BTreeSet::new());
    for plans in 0_u16.. {
        if changed.len() == 200 {
            break;
        }
        let [n, endpoint] = [plans % 5, plans / 5 % 2].map(|number| 1 + u8::try_from(number).unwrap());
        world.apply(small_slice(n, 1 + endpoint));
        changed.extend(changes_of(&world.slice().unwrap()).into_iter().filter(|one| one.addr == huge));
        assert!(changed.len() * 2 >= usize::from(plans / 2), "a frontend in every second plan: {}", changed.len());
    }
}

#[test]
fn a_huge_change_comes_to_an_end_under_a_stream_of_others() {
    let mut world = programmed();
    world.apply(service("shop/medium").ips(&["10.96.1.1"]));
    world.apply(huge_slice(200, 1_000, 1));
    let last = frontend("10.96.9.9 200/tcp");
    for round in 0..1_000 {
        // As large as a slice, each time.
        let addrs: Vec<String> = (0..SLICE / 2).map(|n| format!("10.{}.{}.{}", round % 2, n / 250, n % 250)).collect();
        world.apply(slice("shop/medium-1").ready(&addrs.iter().map(String::as_str).collect::<Vec<_>>()));
        if changes_of(&world.slice().unwrap()).contains(&last) {
            return;
        }
    }
    panic!("the huge change starves");
}

#[test]
fn a_slice_is_not_larger_than_it_may_be_but_for_what_belongs_together() {
    let mut world = programmed();
    world.apply(huge_slice(200, 500, 1));
    while let Some(committed) = world.slice() {
        assert!(committed.plan.operations.len() <= SLICE + 1_500, "{}", committed.plan.operations.len());
    }
}

#[test]
fn many_small_changes_are_sliced_too() {
    let mut world = World::sliced(100);
    world.sync();
    for n in 1..=200 {
        world.apply(small(n));
        world.apply(small_slice(n, 1));
    }
    let slices: Vec<usize> = std::iter::from_fn(|| world.slice()).map(|it| it.plan.operations.len()).collect();
    assert!(slices.len() >= 6 && slices.iter().all(|size| *size <= 120), "{slices:?}");
}

#[test]
fn a_change_that_changes_again_while_it_waits_is_committed_in_its_newest_version_once() {
    let mut world = programmed();
    world.apply(huge_slice(200, 1_000, 1));
    world.slice().unwrap();
    world.apply(huge_slice(200, 1_000, 2));
    let operations: usize = std::iter::from_fn(|| world.slice()).map(|it| it.plan.operations.len()).sum();
    // 200 frontends with 1,000 slots each, replaced once, and a few twice.
    assert!((400_000..404_000).contains(&operations), "{operations}");
    world.restart();
    assert_eq!(world.sync(), [""; 0]);
}

/// A cluster of Services with two local endpoints each, the API server's Service and DNS among them, that is to be programmed.
fn cluster() -> World {
    let mut world = World::sliced(1);
    let mut add = |name: &str, n: u8, ports: &[&str]| {
        world.apply(service(name).ips(&[&format!("10.96.0.{n}")]).ports(ports));
        let endpoints = format!("10.1.{n}.1 L r, 10.1.{n}.2 L r");
        world.apply(slice(&format!("{name}-1")).ports(ports).endpoints(&endpoints));
    };
    for n in 1..=20 {
        add(&format!("shop/web{n}"), n, &["http 80/tcp"]);
    }
    add("kube-system/dns", 99, &["dns 53/udp", "metrics 9153/tcp"]);
    add("default/kubernetes", 98, &["https 443/tcp"]);
    world.apply(Event::ServiceCidrsReset(vec![service_cidr("services", &["10.96.0.0/16"])]));
    world
}

/// The elements of each slice, as `set key`.
fn slices(world: &mut World) -> Vec<Vec<String>> {
    let elements = |operation: &Operation| match &operation.object {
        Object::Element(element) => Some(format!("{} {}", element.set, element.key)),
        _ => None,
    };
    std::iter::from_fn(|| world.slice()).map(|it| it.plan.operations.iter().filter_map(elements).collect()).collect()
}

#[test]
fn what_frontends_need_comes_first_then_the_clusters_own_services_and_what_restricts_comes_last() {
    let slices = slices(&mut cluster());
    let position = |start: &str| {
        let has = |(_, slice): &(usize, &Vec<String>)| slice.iter().any(|element| element.starts_with(start));
        let positions: Vec<usize> = slices.iter().enumerate().filter(has).map(|(n, _)| n).collect();
        (positions[0], positions[positions.len() - 1])
    };
    let (api, dns) = (position("internal-2 10.96.0.98 "), position("internal-2 10.96.0.99 "));
    assert!(position("hairpin ").1 < api.0.min(dns.0));
    assert!(api.1.max(dns.1) < position("internal-2 10.96.0.1 ").0);
    assert!(position("endpoints 10.96.0.20 ").1 <= position("service-cidrs ").0);
    assert!(position("cluster-ips ").1 <= position("service-cidrs ").0);
}

/// The numbers of the slices with elements of an address, and of the one that makes it a ClusterIP.
fn slices_of_address(slices: &[Vec<String>], addr: &str) -> (Vec<usize>, usize) {
    let is_of_address = |element: &String| {
        let (set, key) = element.split_once(' ').unwrap();
        format!("{key} ").starts_with(&format!("{addr} ")) && set != "service-cidrs"
    };
    let having = |(n, slice): (usize, &Vec<String>)| slice.iter().any(is_of_address).then_some(n);
    let gate = format!("cluster-ips {addr}");
    let gates: Vec<usize> = (0..slices.len()).filter(|n| slices[*n].contains(&gate)).collect();
    assert_eq!(gates.len(), 1, "{addr}: {slices:#?}");
    (slices.iter().enumerate().filter_map(having).collect(), gates[0])
}

#[test]
fn a_new_address_comes_together_with_all_of_its_frontends_or_with_the_last_of_them() {
    let slices = slices(&mut cluster());
    for n in [1, 20, 98, 99] {
        let (having, gate) = slices_of_address(&slices, &format!("10.96.0.{n}"));
        assert_eq!(having.last(), Some(&gate), "{slices:#?}");
        assert_eq!(having.len(), if n == 99 { 2 } else { 1 }, "DNS has two ports: {slices:#?}");
        assert_eq!(having[having.len() - 1] - having[0], having.len() - 1, "no other comes between: {slices:#?}");
    }
}

/// A world to which a huge Service of 20 ports with 1,000 endpoints has just come.
fn with_a_new_huge_service() -> World {
    let mut world = World::sliced(SLICE);
    world.sync();
    world.apply(huge_slice(20, 1_000, 0));
    world.apply(huge(20));
    world
}

#[test]
fn a_new_service_of_many_ports_and_endpoints_comes_in_slices() {
    let mut world = with_a_new_huge_service();
    let slices = slices(&mut world);
    assert!(
        slices.iter().all(|slice| slice.len() <= SLICE + 1_500),
        "{:?}",
        slices.iter().map(Vec::len).collect::<Vec<_>>()
    );
    let (having, gate) = slices_of_address(&slices, "10.96.9.9");
    assert!(having.len() >= 8, "{having:?}");
    assert_eq!(having.last(), Some(&gate));
    world.restart();
    assert_eq!(world.sync(), [""; 0]);
}

#[test]
fn a_new_service_of_many_ports_that_goes_again_half_way_leaves_nothing() {
    let mut world = with_a_new_huge_service();
    world.slice().unwrap();
    world.slice().unwrap();
    world.apply(Event::ServiceDeleted(name("shop/huge")));
    let rest = slices(&mut world);
    assert!(!rest.iter().flatten().any(|element| element.starts_with("cluster-ips ")), "{rest:#?}");
    assert!(world.acknowledged().frontends.is_empty());
    world.restart();
    assert_eq!(world.sync(), [""; 0]);
}

#[test]
fn a_deleted_address_goes_after_its_frontends() {
    let mut world = cluster();
    world.sync();
    world.apply(Event::ServiceDeleted(name("kube-system/dns")));
    let slices = slices(&mut world);
    let last = |start: &str| slices.iter().rposition(|slice| slice.iter().any(|element| element.starts_with(start)));
    assert!(last("cluster-ips 10.96.0.99") >= last("internal-2 10.96.0.99 "), "{slices:#?}");
    assert!(last("hairpin ") > last("internal-2 10.96.0.99 "), "{slices:#?}");
}

#[test]
fn the_program_is_made_with_the_first_slice_for_all_that_follow() {
    let mut world = cluster();
    world.apply(service("shop/sticky").ips(&["10.96.0.50"]).affinity(60));
    world.apply(slice("shop/sticky-1").ready(&["10.1.50.1", "10.1.50.2", "10.1.50.3"]));
    let tables: Vec<usize> = std::iter::from_fn(|| world.slice()).map(|it| it.plan.tables.len()).collect();
    assert_eq!((tables[0], tables[1..].iter().sum::<usize>()), (2, 0), "{tables:?}");
}

#[test]
fn a_table_that_gets_other_sets_is_filled_in_one_batch() {
    let mut world = cluster();
    world.sync();
    // An earlier version had no such set.
    let set = SetName::Hairpin;
    let flush = |name: &str| Operation::flush(crate::dataplane::Family::Ip, name.to_owned().into());
    let tables = world.kernel.contents(&[crate::dataplane::Family::Ip]);
    let chains = tables.get(crate::dataplane::Family::Ip).unwrap().chains.keys().map(|name| flush(name));
    let mut operations: Vec<Operation> = chains.collect();
    operations.push(Operation::delete(crate::dataplane::Family::Ip, Object::Set(set)));
    assert_eq!(world.kernel.apply(&operations), Ok(()));
    for n in 1..=20 {
        world.apply(slice(&format!("shop/web{n}-1")).endpoints(&format!("10.2.{n}.1 L r, 10.2.{n}.2 R r")));
    }
    world.restart();
    let changes = |operation: &&Operation| matches!(operation.object, Object::Element(_));
    let sizes: Vec<usize> = std::iter::from_fn(|| world.slice())
        .map(|it| it.plan.operations.iter().filter(changes).count())
        .filter(|size| *size > 0)
        .collect();
    assert_eq!(sizes.len(), 1, "{sizes:?}");
}

#[test]
fn a_change_is_compiled_once() {
    let mut world = programmed();
    assert_eq!(compilations::count(|| drop(world.engine.fold(small_slice(1, 9).into()))), 0);
    let several = [small_slice(2, 9), small_slice(2, 10), small_slice(1, 10)];
    several.into_iter().for_each(|event| drop(world.engine.fold(event.into())));
    assert_eq!(compilations::count(|| drop(world.engine.compile())), 2, "two Services changed");
    assert_eq!(compilations::count(|| drop(world.sync())), 0);
}

#[test]
fn a_first_sync_is_programmed_only_with_its_last_slice() {
    let mut world = World::sliced(100);
    for n in 1..=200 {
        world.apply(small(n));
        world.apply(small_slice(n, 1));
    }
    let progress: Vec<_> = std::iter::from_fn(|| world.slice()).map(|it| it.progress).collect();
    let (last, before) = progress.split_last().unwrap();
    assert!(before.iter().all(|it| *it == SyncProgress::Partial) && *last == SyncProgress::CaughtUp, "{progress:?}");
}

#[test]
fn a_change_of_many_keys_is_not_programmed_with_its_first_slice() {
    let mut world = World::sliced(100);
    world.apply(huge(1_100));
    world.sync();
    world.apply(huge_slice(1_100, 1, 0));
    assert_eq!(world.slice().unwrap().progress, SyncProgress::Partial);
}

#[test]
fn ranges_of_sources_count_in_the_size_of_a_slice() {
    let mut world = World::sliced(SLICE);
    world.sync();
    let crate::state::Decoded::Object(service) = service("shop/lb").decoded() else { unreachable!() };
    let mut service = (*service).clone();
    let ip = |n: u8| crate::fixtures::ip(&format!("192.0.2.{n}"));
    service.load_balancer_ips = (1..=50).map(ip).collect();
    let range = |n: u16| format!("10.{}.{}.0/24", n / 100, (n % 100) * 2).parse().unwrap();
    service.source_ranges = (0..1_000).map(range).collect();
    world.apply(Event::ServiceApplied(crate::state::Decoded::Object(service.into())));
    world.apply(slice("shop/lb-1").ready(&["10.1.0.1"]));
    let sizes: Vec<usize> = std::iter::from_fn(|| world.slice()).map(|it| it.plan.operations.len()).collect();
    assert!(sizes.iter().all(|size| *size <= SLICE + 1_100), "{sizes:?}");
}

#[test]
fn a_frontend_waits_once_however_often_it_changes() {
    let mut world = World::sliced(100);
    world.apply(huge(200));
    world.apply(huge_slice(200, 100, 0));
    world.sync();
    for n in 0..20 {
        world.apply(huge_slice(200, 100 + n, 1));
        world.slice();
    }
    assert!(world.engine.backlog.waiting() <= 200);
}

#[test]
fn one_endpoint_less_of_a_huge_service_is_one_slice() {
    let mut world = programmed();
    world.apply(huge_slice(200, 999, 0));
    let sizes: Vec<usize> = std::iter::from_fn(|| world.slice()).map(|it| it.plan.operations.len()).collect();
    assert_eq!(sizes, [200]);
}

#[test]
fn one_endpoint_more_or_less_of_a_huge_service_is_a_small_plan() {
    let mut world = programmed();
    let committed = world.sync_after(huge_slice(200, 999, 0));
    let slots = |operation: &&String| operation.contains(" endpoints ");
    assert_eq!(committed.iter().filter(slots).count(), 200, "one slot for each port");
}

#[test]
fn an_engine_waits_for_complete_lists_and_reads_the_tables_meanwhile() {
    let mut engine = World::unlisted().engine;
    let now = Moment::default();
    assert!(matches!(engine.next(now), Next::Read));
    assert!(matches!(engine.next(now), Next::Wait(None)));
    engine.read_back(Acknowledged::empty(), now);
    assert!(matches!(engine.next(now), Next::Wait(None)));
    for event in crate::fixtures::empty_lists() {
        engine.fold(event);
    }
    engine.compile();
    let later = now + READ_VALID_FOR + Duration::from_millis(1);
    assert!(matches!(engine.clone().next(later), Next::Read), "it was read too long ago");
    assert!(matches!(engine.next(now), Next::Commit(_)));
}

#[test]
fn what_was_heard_is_programmed_once_it_is_assumed_to_be_all() {
    let mut world = World::unlisted();
    world.apply(small(1));
    assert_eq!(world.sync(), [""; 0], "more may come");
    world.engine.assume_complete();
    world.engine.compile();
    assert!(world.sync().iter().any(|operation| operation.contains("10.96.0.1")));
}

#[test]
fn a_deleted_and_a_new_element_of_one_slot_are_in_one_slice() {
    let mut world = cluster();
    world.sync();
    for n in 1..=20 {
        world.apply(slice(&format!("shop/web{n}-1")).endpoints(&format!("10.2.{n}.1 L r, 10.2.{n}.2 R r")));
    }
    while let Some(committed) = world.slice() {
        let of = |verb: Verb| -> Vec<Key> {
            let of_verb = committed.plan.operations.iter().filter(|operation| operation.verb == verb);
            let slots = of_verb.filter_map(|operation| match &operation.object {
                Object::Element(element) if matches!(element.key, Key::Slot(..)) => Some(element.key),
                _ => None,
            });
            slots.collect()
        };
        assert_eq!(of(Verb::Delete), of(Verb::Add));
    }
}
