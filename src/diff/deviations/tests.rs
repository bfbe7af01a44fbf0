use std::sync::Arc;

use super::*;
use crate::dataplane::{ElementChanges, TableOutline, Tables};
use crate::fixtures::{World, service, slice};
use crate::state::{Decoded, Event, Service};

fn world() -> World {
    let mut world = World::with([
        service("shop/web").ips(&["10.96.0.1"]).affinity(60).into(),
        service("shop/other").ips(&["10.96.0.2"]).affinity(60).into(),
        slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]).into(),
        slice("shop/other-1").ready(&["10.1.0.9"]).into(),
    ]);
    world.sync();
    world
}

/// What a look finds after a change of the IPv4 table, as text.
fn found(world: &World, change: impl FnOnce(&mut TableContents)) -> Vec<String> {
    let (mut outline, tables) = (Outline::default(), world.kernel.contents(&[Family::Ip]));
    let mut contents = tables.get(Family::Ip).expect("a table").clone();
    change(&mut contents);
    let (listed, others): (Vec<Element>, Vec<Element>) =
        contents.elements.drain(..).partition(|element| element.set.definition().interval);
    contents.elements = listed;
    let mut seen = BTreeMap::new();
    others.iter().for_each(|element| *seen.entry(element.set).or_default() += 1);
    outline.set(Family::Ip, Some(TableOutline { handle: 1, contents, counts: seen, ..TableOutline::default() }));
    let mut counts = ElementCounts::default();
    counts.restart(&world.acknowledged().count_elements());
    let deviations = world.acknowledged().deviations(&outline, &counts, &[Family::Ip]);
    deviations.iter().map(Deviation::to_string).collect()
}

const RECALL: &str = "recall-10.96.0.1-tcp-80";
const REMEMBER: &str = "remember-10.96.0.1-tcp-80";
const CLIENTS: &str = "clients-10.96.0.1-tcp-80";

/// What another program does to a table.
type Change = Box<dyn FnOnce(&mut TableContents)>;

#[test]
fn the_chains_and_maps_of_frontends_are_compared_with_what_these_have() {
    let world = world();
    assert_eq!(found(&world, |_| {}), [""; 0]);
    let edited = |name: &str| format!("chain {name} of ip was edited or is missing");
    let mut changes: Vec<(&str, Change, Vec<String>)> = Vec::new();
    changes.push(("a chain is missing", Box::new(|table| drop(table.chains.remove(RECALL))), vec![edited(RECALL)]));
    let edit = |table: &mut TableContents| table.chains.get_mut(REMEMBER).expect("a chain").fingerprint = None;
    changes.push(("a rule was edited", Box::new(edit), vec![edited(REMEMBER)]));
    let timeout = |table: &mut TableContents| {
        let other = table.chains[RECALL].clone();
        table.chains.get_mut(REMEMBER).expect("a chain").clone_from(&other);
    };
    changes.push(("the rules are those of another step", Box::new(timeout), vec![edited(REMEMBER)]));
    let all = |table: &mut TableContents| {
        table.chains.retain(|name, _| name != RECALL && name != REMEMBER);
        table.sets.remove(CLIENTS);
    };
    let map = format!("set {CLIENTS} of ip is missing or has another type");
    changes.push(("everything is missing", Box::new(all), vec![edited(RECALL), edited(REMEMBER), map]));
    let unknown = |table: &mut TableContents| {
        table.chains.insert("recall-10.96.0.9-tcp-80".to_owned(), table.chains[RECALL].clone());
        table.sets.insert("clients-10.96.0.9-tcp-80".to_owned(), table.sets[CLIENTS]);
    };
    let of_none = ["chain recall-10.96.0.9-tcp-80 of ip is unknown", "set clients-10.96.0.9-tcp-80 of ip is unknown"];
    changes.push(("a frontend without affinity", Box::new(unknown), of_none.map(str::to_owned).into()));
    for (what, change, expected) in changes {
        assert_eq!(found(&world, change), expected, "{what}");
    }
}

#[test]
fn elements_of_affinity_and_of_sources_are_counted_and_clients_are_not() {
    let world = world();
    let deleted = |table: &mut TableContents| {
        let by_id = SetName::EndpointsById(crate::dataplane::EndpointList::Any);
        let first = table.elements.iter().position(|element| element.set == by_id).expect("an element");
        table.elements.remove(first);
    };
    assert_eq!(found(&world, deleted), ["set endpoints-by-id of ip lacks 1 element(s)"]);
    let mut counts = ElementCounts::default();
    let frontend = "10.96.0.1 80/tcp";
    let clients = SetName::Clients(crate::fixtures::frontend(frontend));
    let delete = crate::dataplane::Operation::delete(Family::Ip, crate::dataplane::Object::Set(clients));
    counts.follow(&ElementChanges::made_by(&[delete]), |_, _| {});
    assert_eq!(counts.sets().count(), 0, "maps that packets fill are not counted");
}

#[test]
fn the_ranges_of_cluster_ips_are_compared_one_by_one() {
    let mut world = world();
    let networks = ["10.96.0.0/16", "10.100.0.0/16"];
    world.sync_after(Event::ServiceCidrsReset(vec![crate::fixtures::service_cidr("services", &networks)]));
    assert_eq!(found(&world, |_| {}), [""; 0]);
    let range = |network: &str| Element::member(SetName::ServiceCidrs, Key::Network(network.parse().unwrap()));
    let says = |count: usize, network: &str| {
        vec![
            Deviation::Shared(count, SharedElement { set: SetName::ServiceCidrs, key: range(network).key }).to_string(),
        ]
    };
    assert_eq!(found(&world, |table| table.elements.push(range("10.98.0.0/16"))), says(1, "10.98.0.0/16"));
    let replaced = |table: &mut TableContents| {
        table.elements.retain(|element| *element != range("10.100.0.0/16"));
        table.elements.push(range("10.98.0.0/16"));
    };
    assert_eq!(found(&world, replaced), says(2, "10.100.0.0/16"));
}

#[test]
fn what_checks_the_sources_of_a_frontend_is_compared_with_what_it_has() {
    let Decoded::Object(lb) = service("shop/lb").ips(&["10.96.0.2"]).decoded() else { panic!("a Service") };
    let lb = Event::ServiceApplied(Decoded::Object(Arc::new(Service {
        load_balancer_ips: vec![crate::fixtures::ip("203.0.113.1")].into(),
        source_ranges: ["192.0.2.0/24", "10.0.0.0/8"].map(|range| range.parse().unwrap()).into_iter().collect(),
        ..(*lb).clone()
    })));
    let world = World::with([lb]);
    let frontend = crate::fixtures::frontend("203.0.113.1 80/tcp");
    let (set, chain) = (SetName::Sources(frontend).to_string(), ChainName::check_sources(frontend).to_string());
    let remove = |range: &str| {
        let source = Element::source(frontend, range.parse().unwrap());
        move |table: &mut TableContents| table.elements.retain(|element| *element != source)
    };
    assert_eq!(found(&world, |_| {}), [""; 0]);
    assert_eq!(found(&world, remove("10.0.0.0/8")), [format!("set {set} of ip lacks 1 element(s)")]);
    let replace = |table: &mut TableContents| {
        remove("10.0.0.0/8")(table);
        table.elements.push(Element::source(frontend, "10.0.0.0/9".parse().unwrap()));
    };
    assert_eq!(found(&world, replace), ["the elements of 203.0.113.1:80/tcp differ"]);
    let edit = |table: &mut TableContents| table.chains.get_mut(&chain).expect("a chain").fingerprint = None;
    assert_eq!(found(&world, edit), [format!("chain {chain} of ip was edited or is missing")]);
    let all = |table: &mut TableContents| {
        table.chains.remove(&chain);
        table.sets.remove(&set);
        table.elements.retain(|element| element.set != SetName::Sources(frontend));
    };
    let missing = [
        format!("chain {chain} of ip was edited or is missing"),
        format!("set {set} of ip is missing or has another type"),
    ];
    assert_eq!(found(&world, all), missing);
    let unknown = |table: &mut TableContents| {
        table.chains.insert("check-sources-10.96.0.9-tcp-80".to_owned(), table.chains[&chain].clone());
    };
    assert_eq!(found(&world, unknown), ["chain check-sources-10.96.0.9-tcp-80 of ip is unknown"]);
    let mut tables: Tables = world.kernel.contents(&Family::ALL);
    let mut table = tables.get(Family::Ip).expect("a table").clone();
    edit(&mut table);
    tables.set(Family::Ip, Some(table));
    let held = world.acknowledged();
    let deviations = held.differing(&Acknowledged::from(tables), &Family::ALL).deviations(&Written::default());
    let deviations: Vec<String> = deviations.iter().map(Deviation::to_string).collect();
    assert_eq!(deviations, [format!("chain {chain} of ip was edited or is missing")]);
}

#[test]
fn a_comparison_finds_a_missing_chain_of_a_frontend() {
    let world = world();
    let mut tables: Tables = world.kernel.contents(&Family::ALL);
    let differing = |tables: Tables| world.acknowledged().differing(&Acknowledged::from(tables), &Family::ALL);
    assert!(differing(tables.clone()).is_empty());
    let mut table = tables.get(Family::Ip).expect("a table").clone();
    table.chains.remove(RECALL);
    let mut changed = tables.clone();
    changed.set(Family::Ip, Some(table));
    let found = differing(changed).deviations(&Written::default());
    let found: Vec<String> = found.iter().map(Deviation::to_string).collect();
    assert_eq!(found, [format!("chain {RECALL} of ip was edited or is missing")]);
    let mut table = tables.get(Family::Ip).expect("a table").clone();
    let by_id = SetName::EndpointsById(crate::dataplane::EndpointList::Any);
    let first = table.elements.iter().position(|element| element.set == by_id).expect("an element");
    table.elements.remove(first);
    tables.set(Family::Ip, Some(table));
    let found = differing(tables).deviations(&Written::default());
    assert!(matches!(found.as_slice(), [Deviation::Frontends(1, _)]), "{found:?}");
}

/// What a comparison finds of a frontend that differs in the elements of a reading, if meanwhile this was committed.
fn found_meanwhile(meanwhile: impl FnOnce(&mut World)) -> Vec<String> {
    let mut world = world();
    let before = world.acknowledged();
    let mut read = before.clone();
    read.frontends.remove(&crate::fixtures::frontend("10.96.0.1 80/tcp"));
    let strange = crate::fixtures::frontend("10.96.0.9 80/tcp");
    read.frontends
        .insert(strange, std::sync::Arc::clone(&before.frontends[&crate::fixtures::frontend("10.96.0.2 80/tcp")]));
    let differing = before.differing(&read, &Family::ALL);
    meanwhile(&mut world);
    let mut written = Written::default();
    written.add(&world.plan().operations);
    differing.deviations(&written).iter().map(Deviation::to_string).collect()
}

#[test]
fn what_was_committed_while_the_kernel_was_read_is_no_deviation() {
    let elements = |found: Vec<String>| found.into_iter().filter(|it| it.contains("elements")).collect::<Vec<_>>();
    let both = elements(found_meanwhile(|_| {}));
    assert!(both.len() == 1 && both[0].contains("10.96.0.1:80/tcp"), "{both:?}");
    let unknown = elements(found_meanwhile(|world| drop(world.apply(slice("shop/web-1").ready(&["10.1.0.3"])))));
    assert!(unknown.len() == 1 && unknown[0].contains("10.96.0.9:80/tcp"), "only the unknown one is left: {unknown:?}");
    let known = elements(found_meanwhile(|world| drop(world.apply(service("shop/new").ips(&["10.96.0.9"])))));
    assert!(known.len() == 1 && known[0].contains("10.96.0.1:80/tcp"), "the unknown one came: {known:?}");
    assert_ne!(known, both, "both are counted");
}

#[test]
fn a_frontend_that_changed_meanwhile_and_was_read_as_neither_of_both_says_nothing() {
    let web = crate::fixtures::frontend("10.96.0.1 80/tcp");
    let (mut world, other) = (world(), crate::fixtures::frontend("10.96.0.2 80/tcp"));
    let before = world.acknowledged();
    world.apply(slice("shop/web-1").ready(&["10.1.0.3"]));
    let mut written = Written::default();
    written.add(&world.plan().operations);
    world.sync();
    let now = world.acknowledged();
    assert_ne!(before.frontends[&web], now.frontends[&web]);
    let found = |read: &Acknowledged| before.differing(read, &Family::ALL).deviations_beside(&written, &now);
    assert_eq!(found(&now), Some(Vec::new()), "it was read after the change");
    let mut read = now.clone();
    read.frontends.insert(web, std::sync::Arc::clone(&before.frontends[&other]));
    assert_eq!(found(&read), None, "another program may have replaced what was read");
    read.frontends.remove(&other);
    assert!(found(&read).is_some_and(|found| !found.is_empty()), "of the other one something can be said");
}

#[test]
fn a_table_that_is_missing_while_its_program_changed_says_nothing() {
    let mut world = world();
    let before = world.acknowledged();
    let nine: Vec<String> = (1..=9).map(|n| format!("10.1.0.{n}")).collect();
    world.apply(slice("shop/web-1").ready(&nine.iter().map(String::as_str).collect::<Vec<_>>()));
    let mut written = Written::default();
    written.add(&world.plan().operations);
    assert!(written.has_program(Family::Ip), "a size class came");
    world.sync();
    let now = world.acknowledged();
    let found = |read: &Acknowledged| before.differing(read, &Family::ALL).deviations_beside(&written, &now);
    assert_eq!(found(&now), Some(Vec::new()), "it was read after the change");
    let mut read = now.clone();
    read.tables[Family::Ip.index()] = None;
    assert_eq!(found(&read), None, "another program may have deleted the table");
}

#[test]
fn a_table_with_other_chains_or_sets_and_one_that_is_not_there_have_another_program() {
    let chain =
        InstalledTable { chains: [("a".to_owned(), ChainContents::default())].into(), ..InstalledTable::default() };
    let set = SetContents { is_map: false, recognised: true, capacity: None };
    let set = InstalledTable { sets: [("a".to_owned(), set)].into(), ..InstalledTable::default() };
    let all = [None, Some(InstalledTable::default()), Some(chain), Some(set)];
    for (n, one) in all.iter().enumerate() {
        for (m, other) in all.iter().enumerate() {
            assert_eq!(is_same_program(one.as_ref(), other.as_ref()), n == m, "{one:?} {other:?}");
        }
    }
}
