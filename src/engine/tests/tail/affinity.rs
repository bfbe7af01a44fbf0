//! What session affinity leaves for packets that are on their way.

use super::*;

#[test]
fn without_session_affinity_the_ids_of_endpoints_that_stay_are_left_for_a_while() {
    // How many are gone: one that is replaced is deleted and added.
    let by_id = |operations: &[String]| {
        let of_verb =
            |verb: &str| operations.iter().filter(|it| it.starts_with(&format!("{verb} endpoints-by-id "))).count();
        of_verb("delete") - of_verb("add")
    };
    for (endpoints, gone_at_once) in [("10.1.0.1 R r, 10.1.0.2 R r", 1), ("10.1.0.8 R r, 10.1.0.9 R r", 0), ("", 3)] {
        // Another one keeps the sets.
        let other = service("shop/other").ips(&["10.96.0.2"]).affinity(60);
        let of_other = slice("shop/other-1").ready(&["10.1.9.1", "10.1.9.2", "10.1.9.3"]);
        let web = [service("shop/web").affinity(60).into(), web(3).into()];
        let mut timed = Timed::with([other.into(), of_other.into()].into_iter().chain(web));
        timed.world.apply(slice("shop/web-1").endpoints(endpoints));
        let operations = timed.after(service("shop/web"));
        assert_eq!(by_id(&operations), gone_at_once, "{endpoints}: {operations:#?}");
        let later = timed.pass(GRACE * 3);
        assert_eq!(
            later.iter().map(|(operations, _)| by_id(operations)).sum::<usize>(),
            3 - gone_at_once,
            "{endpoints}"
        );
    }
}

#[test]
fn a_node_port_whose_clients_keep_their_endpoints_from_now_on_serves_packets_that_have_passed_the_new_look_up() {
    let mut timed = Timed::with([
        service("shop/web").node_port(30002).into(),
        slice("shop/web-1").endpoints("10.1.0.1 R r").into(),
    ]);
    let changed = timed.after(service("shop/web").node_port(30002).affinity(60));
    let left = "delete nodeport-slots-1 { tcp . 30002 }".to_owned();
    assert!(!changed.contains(&left), "{changed:#?}");
    let later = timed.pass(GRACE);
    assert!(later.iter().any(|(operations, _)| operations.contains(&left)), "{later:#?}");
}

#[test]
fn an_id_that_goes_soon_after_another_leads_to_an_endpoint_that_stays_for_a_while() {
    let only = |n: u8| slice("shop/web-1").endpoints(&format!("10.1.0.{n} R r"));
    let mut timed = Timed::with([service("shop/web").affinity(60).into(), only(1).into()]);
    let by_id = |operations: &[String]| -> Vec<String> {
        operations.iter().filter(|operation| operation.contains("endpoints-by-id")).cloned().collect()
    };
    let first = by_id(&timed.after(only(2)));
    assert_eq!(first.iter().filter(|it| it.starts_with("delete")).count(), 1, "at once: {first:#?}");
    let second = by_id(&timed.after(only(3)));
    assert_eq!(
        second.iter().filter(|it| it.contains("10.1.0.3")).count(),
        2,
        "its own, and that of the second: {second:#?}"
    );
    assert_eq!(second.iter().filter(|it| it.contains("10.1.0.2")).count(), 1, "nothing leads there: {second:#?}");
    let later = timed.pass(GRACE * 3);
    let gone: Vec<String> = later.iter().flat_map(|(operations, _)| operations.clone()).collect();
    assert_eq!(gone.len(), 1, "{later:#?}");
    assert!(!timed.world.engine.has_leftovers());
    assert_eq!(timed.pass(GRACE * 3), []);
}

#[test]
fn an_id_that_goes_when_the_packets_of_another_are_through_goes_at_once() {
    let only = |n: u8| slice("shop/web-1").endpoints(&format!("10.1.0.{n} R r"));
    for (time, ids_after) in [(GRACE - Duration::from_millis(1), 2), (GRACE, 1)] {
        let mut timed = Timed::with([service("shop/web").affinity(60).into(), only(1).into()]);
        timed.after(only(2));
        timed.pass(time);
        let second = timed.after(only(3));
        let added = second.iter().filter(|it| it.starts_with("add endpoints-by-id "));
        assert_eq!(added.count(), ids_after, "{time:?} later: {second:#?}");
    }
}

#[test]
fn an_id_that_goes_alone_goes_at_once_and_nothing_is_committed_later() {
    let mut timed = Timed::with([service("shop/web").affinity(60).into(), web(2).into()]);
    timed.after(web(1));
    timed.pass(GRACE * 3);
    let changed = timed.after(slice("shop/web-1").endpoints("10.1.0.9 R r"));
    assert_eq!(changed.iter().filter(|operation| operation.contains("endpoints-by-id")).count(), 2, "{changed:#?}");
    assert_eq!(timed.pass(GRACE * 3), []);
}

/// The operations of the only batch that follows these events.
fn change<const N: usize>(timed: &mut Timed, events: [Event; N]) -> Vec<String> {
    events.into_iter().for_each(|event| drop(timed.world.apply(event)));
    let batches = timed.commit();
    let [(operations, SyncProgress::CaughtUp)] = &batches[..] else { panic!("one batch: {batches:#?}") };
    operations.clone()
}

/// The Service with endpoints on this node only, for clients outside.
fn with_local_endpoints(service: ServiceBuilder) -> Event {
    let crate::state::Decoded::Object(service) = service.decoded() else { panic!("a Service") };
    let service = crate::state::Service { external_traffic_local: true, ..crate::state::Service::clone(&service) };
    Event::ServiceApplied(crate::state::Decoded::Object(service.into()))
}

fn at(endpoint: &str) -> Event {
    slice("shop/web-1").ready(&[endpoint]).into()
}

#[test]
fn ids_of_endpoints_on_this_node_stay_for_a_while_when_all_clients_come_to_share_one_list() {
    let web = || service("shop/web").load_balancer_ips(&["198.51.100.1"]).affinity(60);
    let endpoints = slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r");
    // Another one keeps the sets.
    let other = service("shop/other").ips(&["10.96.0.2"]).load_balancer_ips(&["198.51.100.2"]).affinity(60);
    let of_other = slice("shop/other-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r");
    let mut timed =
        Timed::with([with_local_endpoints(other), of_other.into(), with_local_endpoints(web()), endpoints.into()]);
    let local = |operations: &[String]| operations.iter().filter(|it| it.starts_with("delete local-")).count();
    let at_once = timed.after(web());
    assert_eq!(local(&at_once), 0, "{at_once:#?}");
    let later: Vec<String> = timed.pass(GRACE * 3).into_iter().flat_map(|(operations, _)| operations).collect();
    assert_eq!(local(&later), 3, "a class, a slot and an id: {at_once:#?} {later:#?}");
}

#[test]
fn classes_that_hide_session_affinity_for_a_while_lead_to_endpoints_that_stay() {
    let web = || service("shop/web").external_ips(&["198.51.100.1"]);
    // Others keep the order of the classes as it is.
    let other = service("shop/other").ips(&["10.96.0.2"]).external_ips(&["198.51.100.2"]).affinity(60);
    let of_other = slice("shop/other-1").ready(&["10.1.0.7"]);
    let mut timed = Timed::with([other.into(), of_other.into(), web().into(), at("10.1.0.1")]);
    let operations = change(&mut timed, [web().affinity(60).into(), at("10.1.0.9")]);
    let slot = "add endpoints { 198.51.100.1 . tcp . 80 . 0 : 10.1.0.9 . 8080 }".to_owned();
    assert!(operations.contains(&slot), "new packets meet slots-1 first: {operations:#?}");
}

#[test]
fn ids_that_new_packets_may_still_draw_lead_to_endpoints_that_stay() {
    let mut timed = Timed::with([service("shop/web").affinity(60).into(), at("10.1.0.1")]);
    // A class that the table did not know changes the order.
    let operations = change(&mut timed, [service("shop/web").into(), at("10.1.0.9")]);
    let by_id = |it: &&String| it.starts_with("add endpoints-by-id ") && it.contains("10.1.0.9");
    assert_eq!(operations.iter().filter(by_id).count(), 1, "{operations:#?}");
}

#[test]
fn no_slot_leads_to_an_id_that_waits_to_be_deleted() {
    let range = |from: u8, to: u8| {
        let endpoints: Vec<String> = (from..to).map(|n| format!("10.1.0.{n} R r")).collect();
        slice("shop/web-1").endpoints(&endpoints.join(", "))
    };
    let mut timed = Timed::with([service("shop/web").affinity(60).into(), range(0, 40).into()]);
    timed.after(range(2, 36));
    timed.after(range(4, 20));
    let held = timed.world.acknowledged();
    let by_id = held.frontends[&frontend("10.96.0.1 80/tcp")].affinity.as_ref().unwrap().lists[0].clone();
    let spec = timed.world.desired().frontends[&frontend("10.96.0.1 80/tcp")].clone();
    let wanted = spec.winner().endpoints(crate::state::TrafficPolicy::Cluster).len();
    let waits = |id: &_| by_id.slots[..wanted].iter().all(|(_, of)| of != id);
    assert!(by_id.endpoints.iter().any(|(id, _)| waits(id)), "some ids wait");
    assert!(by_id.slots.len() > 16, "some slots wait");
    assert!(by_id.slots.iter().all(|(_, id)| !waits(id)), "{by_id:#?}");
}

#[test]
fn an_id_that_goes_with_session_affinity_soon_after_another_leads_to_an_endpoint_that_stays_for_a_while() {
    // Another one keeps the sets.
    let other = [
        service("shop/other").ips(&["10.96.0.2"]).affinity(60).into(),
        slice("shop/other-1").ready(&["10.1.9.1"]).into(),
    ];
    let web = [service("shop/web").affinity(60).into(), slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]).into()];
    let mut timed = Timed::with(other.into_iter().chain(web));
    timed.after(slice("shop/web-1").ready(&["10.1.0.2", "10.1.0.3"]));
    let endpoints = slice("shop/web-1").ready(&["10.1.0.3", "10.1.0.4"]);
    let changed = change(&mut timed, [endpoints.into(), service("shop/web").into()]);
    let by_id: Vec<_> = changed.iter().filter(|it| it.contains(" endpoints-by-id ")).collect();
    assert_eq!(by_id.len(), 2, "the id of the second endpoint leads elsewhere: {by_id:#?}");
    assert!(by_id[0].starts_with("delete") && by_id[0].contains("10.1.0.2"), "{by_id:#?}");
    assert!(by_id[1].starts_with("add") && !by_id[1].contains("10.1.0.2"), "{by_id:#?}");
    timed.pass(GRACE * 3);
    assert!(!timed.world.engine.has_leftovers());
    assert_eq!(timed.pass(GRACE * 3), []);
}
