//! The shape of the ruleset: constant, whatever the cluster holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::common::manifests::{service, slice_of};
use crate::common::netns::Family;
use crate::world::{World, web_slice};

#[test]
fn the_number_of_objects_is_the_same_for_10_and_for_2000_services() {
    let Some(world) = World::new() else { return };
    world.manifests.apply_text("services.json", &services(10));
    world.sync();
    let few = names(&world);
    world.manifests.apply_text("services.json", &services(2000));
    world.sync();
    assert_eq!(count(&names(&world)), count(&few));
    assert_eq!(names(&world), few);
    world.assert_no_difference();
}

#[test]
fn a_service_of_a_new_size_adds_only_the_objects_of_its_class() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    let before = names(&world);
    for family in Family::ALL {
        world.manifests.apply(web_slice(family).endpoints((11..=20).map(|pod| family.pod_ip(pod))));
    }
    world.sync();
    for (kind, name) in names(&world).difference(&before) {
        assert!(name.ends_with("-16"), "{kind} {name} is not of class 16");
    }
}

#[test]
fn sctp_is_programmed() {
    let Some(world) = World::new() else { return };
    world.manifests.apply(service("telecom/diameter").dual_stack(30).port_of("SCTP", "diameter", 3868));
    for family in Family::ALL {
        let slice = slice_of("telecom/diameter", family).port_of("SCTP", "diameter", 3869);
        world.manifests.apply(slice.endpoint(family.pod_ip(11)));
    }
    world.sync();
    // This kernel may have no SCTP sockets, so the elements stand for the packets.
    for family in Family::ALL {
        let frontend = format!("{} . sctp . 3868", family.cluster_ip(30));
        let endpoints = world.node.nft(&["list", "map", family.nft(), "pointsman", "endpoints"]);
        assert!(endpoints.contains(&format!("{frontend} . 0")), "{endpoints}");
        assert!(endpoints.contains(&format!("{} . 3869", family.pod_ip(11))), "{endpoints}");
        let elements = world.node.nft(&["list", "set", family.nft(), "pointsman", "internal-1"]);
        assert!(elements.contains(&frontend), "{elements}");
    }
}

/// `number` Services with three endpoints each, as one list.
fn services(number: u16) -> String {
    let mut items: Vec<Value> = Vec::new();
    for index in 1..=number {
        let name = format!("default/service-{index}");
        items.push(service(&name).dual_stack(index).port("http", 80).into());
        for family in Family::ALL {
            let pods = [1, 2, 3].map(|pod| family.pod_ip(3 * index + pod));
            items.push(slice_of(&name, family).port("http", 8080).endpoints(pods).into());
        }
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// Kind and name of every object; rules are named by their chain and their place in it.
fn names(world: &World) -> BTreeSet<(String, String)> {
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for object in world.objects() {
        for kind in ["chain", "set", "map", "rule"] {
            let Some(body) = object.get(kind) else { continue };
            let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
            let name = if kind == "rule" {
                let chain = format!("{} {}", text("family"), text("chain"));
                let place = rules.entry(chain.clone()).or_default();
                *place += 1;
                // The rule that dispatches to a class lengthens a common chain: name it after the class.
                let class = dispatched_class(body);
                class.unwrap_or_else(|| format!("{chain} {place}"))
            } else {
                format!("{} {}", text("family"), text("name"))
            };
            names.insert((kind.to_owned(), name));
        }
    }
    names
}

fn dispatched_class(rule: &Value) -> Option<String> {
    let chain = rule["chain"].as_str()?;
    let target = rule["expr"].as_array()?.iter().find_map(|expression| expression["goto"]["target"].as_str());
    let of_class = |chain: &&str| ["pick-", "draw-", "from-internal-"].iter().any(|part| chain.contains(part));
    // The rules inside a class's own chain; else the one that leads there, from whichever chain.
    let own = Some(chain).filter(of_class).map(str::to_owned);
    own.or_else(|| target.filter(of_class).map(|target| format!("to {target}")))
}

fn count(names: &BTreeSet<(String, String)>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for (kind, _) in names {
        *counts.entry(kind.as_str()).or_default() += 1;
    }
    counts
}
