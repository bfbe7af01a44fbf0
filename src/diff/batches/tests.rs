use std::sync::Arc;

use super::*;
use crate::dataplane::Family;
use crate::diff::{Acknowledged, diff};
use crate::fixtures::{World, frontend as frontend_of, scope, service, service_cidr, slice};
use crate::state::Event;

/// A cluster of Services with two local endpoints each, the API server's Service and DNS among them, and how it is programmed anew.
fn cluster() -> (World, Plan) {
    let mut world = World::new();
    let add = |world: &mut World, name: &str, n: u8, port: &str| {
        world.apply(service(name).ips(&[&format!("10.96.0.{n}")]).ports(&[port]));
        world.apply(slice(&format!("{name}-1")).ports(&[port]).endpoints(&format!("10.1.{n}.1 L r, 10.1.{n}.2 L r")));
    };
    for n in 1..=20 {
        add(&mut world, &format!("shop/web{n}"), n, "http 80/tcp");
    }
    add(&mut world, "kube-system/dns", 99, "dns 53/udp");
    add(&mut world, "default/kubernetes", 98, "https 443/tcp");
    world.apply(Event::ServiceCidrsReset(vec![service_cidr("services", &["10.96.0.0/16"])]));
    let plan = diff(&Acknowledged::nothing(), &world.desired, &scope());
    (world, plan)
}

/// The elements of each part, as `set key`.
fn parts(plan: &Plan, ends: &[usize]) -> Vec<Vec<String>> {
    let mut start = 0;
    let mut parts = Vec::new();
    for end in ends {
        let elements = plan.operations[start..*end].iter().filter_map(|operation| match &operation.object {
            Object::Element(element) => Some(format!("{} {}", element.set, element.key)),
            _ => None,
        });
        parts.push(elements.collect());
        start = *end;
    }
    parts
}

#[test]
fn a_small_plan_stays_as_it_is() {
    let (_, mut plan) = cluster();
    let before = plan.operations.clone();
    let step = before.len() / 2 + 1;
    assert_eq!(plan.divide(step), [before.len()]);
    assert_eq!(plan.operations, before);
}

#[test]
fn the_parts_are_the_whole_and_not_far_from_the_size_that_was_asked_for() {
    let (_, plan) = cluster();
    for step in [1, 2, 5, 50] {
        let mut divided = plan.clone();
        let ends = divided.divide(step);
        assert!(ends.is_sorted() && ends.last() == Some(&plan.operations.len()));
        let sizes: Vec<usize> = ends.iter().scan(0, |start, end| Some(end - std::mem::replace(start, *end))).collect();
        // The program comes first, and stays together.
        assert!(sizes[1..].iter().all(|size| *size <= step + 4), "{sizes:?}");
        assert!(sizes[1..sizes.len() - 1].iter().all(|size| *size >= step), "{sizes:?}");
        let text = |plan: &Plan| {
            let mut text: Vec<String> = plan.operations.iter().map(ToString::to_string).collect();
            text.sort();
            text
        };
        assert_eq!(text(&divided), text(&plan));
    }
}

#[test]
fn what_frontends_need_comes_first_then_the_clusters_own_services_and_what_restricts_comes_last() {
    let (_, mut plan) = cluster();
    let ends = plan.divide(1);
    let order = parts(&plan, &ends).concat();
    let position = |start: &str| {
        let matching = |found: &(usize, &String)| found.1.starts_with(start);
        let positions: Vec<usize> = order.iter().enumerate().filter(matching).map(|(n, _)| n).collect();
        (positions[0], positions[positions.len() - 1])
    };
    let (api, dns) = (position("internal-2 10.96.0.98 "), position("internal-2 10.96.0.99 "));
    assert!(position("hairpin ").1 < api.0.min(dns.0));
    assert!(api.1.max(dns.1) < position("internal-2 10.96.0.1 ").0);
    assert!(position("endpoints 10.96.0.20 ").1 < position("service-cidrs ").0);
    assert!(position("cluster-ips ").1 < position("service-cidrs ").0);
}

#[test]
fn an_address_comes_together_with_all_of_its_frontends() {
    let (mut world, _) = cluster();
    world.apply(service("kube-system/dns").ips(&["10.96.0.99"]).ports(&["dns 53/udp", "metrics 9153/tcp"]));
    let mut plan = diff(&Acknowledged::nothing(), &world.desired, &scope());
    let ends = plan.divide(1);
    for n in [1, 20, 98, 99] {
        let of_address = |element: &&String| {
            let (set, key) = element.split_once(' ').unwrap();
            let is_named = format!("{key} ").starts_with(&format!("10.96.0.{n} "));
            is_named && set != "service-cidrs"
        };
        let parts = parts(&plan, &ends);
        let having: Vec<_> = parts.iter().filter(|part| part.iter().any(|e| of_address(&e))).collect();
        assert_eq!(having.len(), 1, "{having:#?}");
        assert!(having[0].contains(&format!("cluster-ips 10.96.0.{n}")));
    }
}

#[test]
fn all_elements_of_a_frontend_are_in_one_part() {
    let (mut world, plan) = cluster();
    world.acknowledged = plan.next;
    // Every slot changes hands.
    for n in 1..=20 {
        world.apply(slice(&format!("shop/web{n}-1")).endpoints(&format!("10.2.{n}.1 L r, 10.2.{n}.2 R r")));
    }
    let mut plan = world.plan();
    let ends = plan.divide(3);
    assert!(ends.len() > 20);
    for n in 1..=20 {
        let of_frontend = format!("endpoints 10.96.0.{n} . ");
        let parts = parts(&plan, &ends);
        let having: Vec<_> = parts.iter().filter(|part| part.iter().any(|e| e.starts_with(&of_frontend))).collect();
        assert_eq!(having.len(), 1);
        assert_eq!(having[0].iter().filter(|element| element.starts_with(&of_frontend)).count(), 4);
    }
}

#[test]
fn a_table_that_is_made_again_or_gets_other_sets_is_filled_in_one_batch() {
    let (_, plan) = cluster();
    let first = plan.operations[0].clone();
    let is_whole = |operations: Vec<Operation>| {
        let mut plan = Plan { operations, ..plan.clone() };
        plan.divide(10).len() == 1
    };
    assert!(!is_whole(plan.operations.clone()));
    let rebuilt = [vec![Operation::delete(Family::Ip, Object::Table)], plan.operations.clone()].concat();
    assert!(is_whole(rebuilt));
    let unknown = Object::UnknownSet { name: "of-another-version".to_owned(), is_map: false };
    assert!(is_whole([plan.operations.clone(), vec![Operation::delete(Family::Ip, unknown)]].concat()));
    assert_eq!(first, Operation::add(Family::Ip, Object::Table));
    assert!(is_whole(plan.operations[1..].to_vec()), "the sets are new to a table that is there");
}

#[test]
fn a_frontend_that_the_plan_does_not_name_is_no_reason_to_lose_anything() {
    let (_, mut plan) = cluster();
    plan.frontends.retain(|change| change.frontend != frontend_of("10.96.0.7 80/tcp"));
    let operations = plan.operations.clone();
    assert_eq!(plan.divide(10), [operations.len()]);
    assert_eq!(plan.operations, operations);
}

#[test]
fn urgent_is_who_is_named_so_also_when_it_goes() {
    let (_, plan) = cluster();
    let urgent = |change: &FrontendChange| is_urgent(change);
    assert_eq!(plan.frontends.iter().filter(|change| urgent(change)).count(), 2);
    let gone = |change: &FrontendChange| FrontendChange {
        before: change.after.as_ref().map(Arc::clone),
        after: None,
        ..change.clone()
    };
    assert_eq!(plan.frontends.iter().map(gone).filter(urgent).count(), 2);
}
