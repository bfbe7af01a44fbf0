//! Large loads, which take several batches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::common::manifests::{service, slice_of};
use crate::common::netns::{Family, Transport};
use crate::world::{PORT, TARGET_PORT, World};

/// How many Services are loaded at once: each is 5 elements or more.
const SERVICES: u16 = 2_000;
/// The ClusterIP number of the first of them.
const FIRST_NUMBER: u16 = 1_000;

/// Writes all Services, with these endpoints each, in one step.
fn apply(world: &World, pods: &[u16]) {
    let mut items: Vec<Value> = Vec::new();
    for number in FIRST_NUMBER..FIRST_NUMBER + SERVICES {
        let name = format!("default/many-{number}");
        let addr = Family::V4.cluster_ip(number);
        items.push(service(&name).cluster_ip(addr).port("tcp", PORT).into());
        let slice = slice_of(&name, Family::V4).port("tcp", TARGET_PORT);
        items.push(slice.endpoints(pods.iter().map(|pod| Family::V4.pod_ip(*pod))).into());
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    world.manifests.apply_text("many.json", &list.to_string());
}

/// Asks random ones of these Services until the action is done; returns how often.
fn ask_during(world: &World, numbers: std::ops::Range<u16>, action: impl FnOnce()) -> usize {
    let done = AtomicBool::new(false);
    let mut asked = 0;
    thread::scope(|threads| {
        let asking = threads.spawn(|| {
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) {
                let number = rand::random_range(numbers.clone());
                let answer = world.node.request(Transport::Tcp, Family::V4.cluster_ip(number), PORT).send();
                answer.unwrap_or_else(|failure| panic!("Service {number}, request {asked}: {failure:?}"));
                asked += 1;
            }
            asked
        });
        action();
        done.store(true, Ordering::Relaxed);
        asked = asking.join().expect("every request is answered");
    });
    asked
}

#[test]
fn a_service_answers_while_thousands_of_others_are_loaded() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let _proxy = world.follow();
    let web = crate::world::WEB..crate::world::WEB + 1;
    let asked = ask_during(&world, web, || {
        apply(&world, &[11, 12]);
        world.settle();
    });
    println!("{asked} requests");
    assert!(asked > 50, "{asked} requests");
    let last = world.node.request(Transport::Tcp, Family::V4.cluster_ip(FIRST_NUMBER + SERVICES - 1), PORT).send();
    assert!(last.is_ok(), "{last:?}");
}

#[test]
fn no_connection_fails_while_all_endpoints_of_thousands_of_services_are_replaced() {
    let Some(world) = World::with_web(&[11, 12, 13, 14, 15]) else { return };
    apply(&world, &[11, 12]);
    let _proxy = world.follow();
    // Other slots, other classes, and back.
    for pods in [&[13, 14][..], &[11, 12, 15], &[14]] {
        let asked = ask_during(&world, FIRST_NUMBER..FIRST_NUMBER + SERVICES, || {
            apply(&world, pods);
            world.settle();
        });
        println!("{asked} requests");
        assert!(asked > 50, "{asked} requests");
    }
}

#[test]
fn a_start_that_changes_much_of_a_table_fails_no_connection() {
    let Some(world) = World::with_web(&[11, 12, 13, 14]) else { return };
    apply(&world, &[11, 12]);
    world.sync();
    apply(&world, &[12, 13, 14]);
    ask_during(&world, FIRST_NUMBER..FIRST_NUMBER + SERVICES, || world.sync());
    world.assert_no_difference();
}
