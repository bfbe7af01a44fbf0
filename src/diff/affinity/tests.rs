use super::*;
use crate::fixtures::{World, frontend, service, slice};

const WEB: &str = "10.96.0.1 80/tcp";

fn endpoint(n: u16) -> Endpoint {
    let [high, low] = n.to_be_bytes();
    Endpoint { addr: [10, 0, high, low].into(), port: 80 }
}

fn placed(installed: &EndpointsById, wanted: &[u16]) -> EndpointsById {
    let wanted: Vec<Endpoint> = wanted.iter().map(|n| endpoint(*n)).collect();
    place(Some(installed), &wanted)
}

fn id_of(list: &EndpointsById, n: u16) -> Option<EndpointId> {
    list.endpoints.iter().find(|(_, of)| *of == endpoint(n)).map(|(id, _)| *id)
}

#[test]
fn an_endpoint_that_stays_keeps_its_id_and_slots_have_no_gaps() {
    let mut list = placed(&EndpointsById::default(), &[1, 2, 3, 4]);
    for wanted in [&[1, 3, 4][..], &[3, 4], &[3, 4, 5, 6, 7], &[7], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
        let next = placed(&list, wanted);
        let stay = wanted.iter().filter(|n| id_of(&list, **n).is_some());
        assert!(stay.clone().all(|n| id_of(&next, *n) == id_of(&list, *n)), "{wanted:?}");
        assert!(next.slots.iter().map(|(slot, _)| *slot).eq(0..u32::try_from(wanted.len()).unwrap()));
        let drawn: BTreeSet<EndpointId> = next.slots.iter().map(|(_, id)| *id).collect();
        assert_eq!(drawn, next.endpoints.iter().map(|(id, _)| *id).collect());
        list = next;
    }
}

#[test]
fn endpoints_with_the_same_hash_have_different_ids() {
    let all: Vec<Endpoint> = (0..3).map(endpoint).collect();
    let taken = EndpointId::from_hash(hash(all[0]));
    let slots = [(0, taken)].into();
    let installed = EndpointsById { slots, endpoints: [(taken, all[1])].into() };
    let list = place(Some(&installed), &all);
    assert_eq!(list.endpoints.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(id_of(&list, 1), Some(taken), "it was there first");
}

#[test]
fn the_id_of_an_endpoint_that_leaves_is_not_reused_in_the_same_moment() {
    // They would have the same id.
    let [one, other] = [[0, 210, 148, 89], [1, 192, 0, 12]].map(|addr| Endpoint { addr: addr.into(), port: 80 });
    assert_eq!(own_id(one), own_id(other));
    let leaves = place(None, &[one]);
    let comes = place(Some(&leaves), &[other]);
    assert_ne!(comes.endpoints[0].0, leaves.endpoints[0].0);
}

#[test]
fn an_id_that_leads_to_another_endpoint_goes_back_to_its_own() {
    let of_one = placed(&EndpointsById::default(), &[1]);
    let (id, own) = of_one.endpoints[0];
    // Another program replaced the endpoint.
    let replaced = EndpointsById { endpoints: [(id, endpoint(2))].into(), ..of_one.clone() };
    assert_eq!(placed(&replaced, &[1]), of_one);
    // An id that waits to be deleted leads there, too, and comes first.
    for waits in [EndpointId(0), EndpointId(u32::MAX)] {
        let mut endpoints = vec![(waits, own), (id, own)];
        endpoints.sort_unstable();
        let installed = EndpointsById { endpoints: endpoints.into(), ..of_one.clone() };
        assert_eq!(placed(&installed, &[1]).endpoints, of_one.endpoints);
    }
}

fn world() -> World {
    World::with([
        service("shop/web").affinity(60).into(),
        service("shop/other").ips(&["10.96.0.2"]).into(),
        slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2", "10.1.0.3"]).into(),
        slice("shop/other-1").ready(&["10.1.0.9"]).into(),
    ])
}

/// The operations of the next plan, as text.
fn operations(world: &World) -> Vec<String> {
    world.plan().operations.iter().map(ToString::to_string).collect()
}

#[test]
fn an_endpoint_that_leaves_takes_its_id_along_and_touches_no_client() {
    let mut world = world();
    let gone = world.acknowledged().frontends[&frontend(WEB)].id_of([10, 1, 0, 3].into()).unwrap();
    world.apply(slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]));
    let operations = operations(&world);
    let by_id =
        format!("delete element ip pointsman endpoints-by-id {{ 10.96.0.1 . tcp . 80 . {gone} : 10.1.0.3 . 8080 }}");
    assert!(operations.contains(&by_id), "{operations:#?}");
    assert!(operations.iter().all(|operation| !operation.contains("clients")), "{operations:#?}");
    assert!(operations.iter().all(|it| !it.contains("recall") && !it.contains("remember")), "{operations:#?}");
}

#[test]
fn affinity_comes_and_goes_with_everything_that_belongs_to_it() {
    let mut world = world();
    let held = |world: &World| format!("{:?}", world.kernel.contents(&[crate::dataplane::Family::Ip]));
    assert!(held(&world).contains("clients-10.96.0.1-tcp-80") && held(&world).contains("endpoints-by-id"));
    world.apply(service("shop/web"));
    world.sync();
    for left in
        ["clients", "affinity\"", "affinity-", "endpoints-by-id", "endpoint-ids", "draw-id", "recall", "remember"]
    {
        assert!(!held(&world).contains(left), "{left} in {}", held(&world));
    }
    world.apply(service("shop/web").affinity(30));
    world.sync();
    assert!(held(&world).contains("clients-10.96.0.1-tcp-80"));
    world.apply(service("shop/web").affinity(30).ips(&["10.96.0.7"]));
    world.sync();
    assert!(!held(&world).contains("clients-10.96.0.1-tcp-80") && held(&world).contains("clients-10.96.0.7-tcp-80"));
}

#[test]
fn another_timeout_rewrites_its_chains_and_keeps_the_clients() {
    let mut world = world();
    world.apply(service("shop/web").affinity(61));
    let operations = operations(&world);
    assert_eq!(operations[0], "flush chain ip pointsman recall-10.96.0.1-tcp-80");
    assert_eq!(operations[1], "flush chain ip pointsman remember-10.96.0.1-tcp-80");
    assert!(operations[2..].iter().all(|rule| rule.starts_with("add rule ip pointsman re")));
    assert_eq!(operations.len(), 5);
}

#[test]
fn a_change_of_another_service_costs_nothing_for_affinity() {
    let mut world = world();
    world.apply(slice("shop/other-1").ready(&["10.1.0.8"]));
    assert_eq!(operations(&world).len(), 2);
}

#[test]
fn another_capacity_replaces_the_map_between_the_old_and_the_new_rules() {
    let mut world = world();
    let mut scope = crate::fixtures::scope();
    scope.options.affinity_capacity = 9;
    let plan = crate::diff::diff(&world.acknowledged().unverified(), world.desired(), &scope);
    assert!(plan.operations.iter().any(|operation| operation.to_string().contains("size 9")), "{:#?}", plan.operations);
    assert_eq!(world.kernel.apply(&plan.operations), Ok(()));
}

#[test]
fn what_was_altered_by_hand_is_written_again() {
    let mut world = world();
    let chain = ChainName::with_affinity(AffinityStep::Remember, frontend(WEB));
    assert_eq!(world.kernel.apply(&[Operation::flush(crate::dataplane::Family::Ip, chain)]), Ok(()));
    world.restart();
    world.sync();
    assert_eq!(operations(&world), [""; 0]);
    let chains = world.kernel.contents(&[crate::dataplane::Family::Ip]);
    assert_eq!(chains.get(crate::dataplane::Family::Ip).unwrap().chains["remember-10.96.0.1-tcp-80"].rules, 2);
}

#[test]
fn chains_and_maps_of_a_frontend_that_nothing_asks_for_are_deleted() {
    let mut world = world();
    let stranger = frontend("10.96.0.99 80/tcp");
    let family = crate::dataplane::Family::Ip;
    let chain = ChainName::with_affinity(AffinityStep::Recall, stranger);
    let made = [
        Operation::add(family, Object::Chain(chain, None)),
        Operation::add(family, Object::Clients { frontend: stranger, capacity: 9 }),
    ];
    for operations in [&made[..1], &made[1..], &made] {
        assert_eq!(world.kernel.apply(operations), Ok(()));
        world.restart();
        let repaired = world.sync();
        assert!(repaired.iter().all(|operation| operation.contains("10.96.0.99")), "{repaired:?}");
        assert_eq!(repaired.iter().filter(|it| it.starts_with("delete ")).count(), operations.len(), "{repaired:?}");
    }
}

#[test]
fn only_lists_with_elements_keep_their_sets() {
    let mut installed = InstalledAffinity::default();
    let sets = |installed: &InstalledAffinity| installed.sets_by_id(frontend(WEB)).count();
    assert_eq!(sets(&installed), 0);
    installed.lists[0] = placed(&EndpointsById::default(), &[1, 2]);
    assert_eq!(sets(&installed), 1);
    installed.lists[1] = EndpointsById { slots: Box::default(), ..installed.lists[0].clone() };
    assert_eq!(sets(&installed), 2, "endpoints without slots");
    installed.lists[1] = EndpointsById { endpoints: Box::default(), ..installed.lists[0].clone() };
    assert_eq!(sets(&installed), 2, "slots without endpoints");
}
