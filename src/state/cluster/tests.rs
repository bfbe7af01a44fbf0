use super::*;
use crate::fixtures::{NODE, World, empty_lists, name, node, problem, service, service_cidr, slice};
use crate::state::{Decoded, Event, Problem, Reason};

#[test]
fn an_event_touches_the_service_that_it_is_about() {
    let mut world = World::new();
    assert_eq!(world.apply(service("shop/web")).services(), ["shop/web"]);
    assert_eq!(world.apply(slice("shop/web-1").ready(&["10.1.0.1"])).services(), ["shop/web"]);
    assert_eq!(world.apply(Event::SliceDeleted(name("shop/web-1"))).services(), ["shop/web"]);
    assert_eq!(world.apply(Event::ServiceDeleted(name("shop/web"))).services(), ["shop/web"]);
}

#[test]
fn an_object_that_did_not_change_touches_nothing() {
    let mut world = World::new();
    let events: [Event; 3] = [
        service("shop/web").into(),
        slice("shop/web-1").ready(&["10.1.0.1"]).into(),
        Event::ServiceCidrApplied(service_cidr("kubernetes", &["10.96.0.0/16"])),
    ];
    for event in events {
        world.apply(event.clone());
        world.apply(event).assert_nothing();
    }
}

#[test]
fn deleting_what_is_unknown_touches_nothing() {
    let mut world = World::new();
    for event in [
        Event::ServiceDeleted(name("shop/web")),
        Event::SliceDeleted(name("shop/web-1")),
        Event::ServiceCidrDeleted(name("kubernetes")),
        Event::NodeDeleted(name("node-a")),
    ] {
        world.apply(event).assert_nothing();
    }
}

#[test]
fn a_snapshot_never_changes() {
    let mut world = World::new();
    world.apply(service("shop/web"));
    let before = world.cluster().clone();
    world.apply(Event::ServiceDeleted(name("shop/web")));
    assert!(before.service(&name("shop/web")).is_some());
    assert!(world.cluster().service(&name("shop/web")).is_none());
}

#[test]
fn the_slices_of_a_service_are_in_order_of_their_names_whatever_the_order_of_arrival() {
    let mut world = World::new();
    for slice_name in ["shop/web-b", "shop/web-c", "shop/web-a"] {
        world.apply(slice(slice_name));
    }
    let names = |world: &World| -> Vec<String> {
        world.cluster().slices_of(&name("shop/web")).iter().map(|slice| slice.name.to_string()).collect()
    };
    assert_eq!(names(&world), ["shop/web-a", "shop/web-b", "shop/web-c"]);
    world.apply(slice("shop/web-b").ready(&["10.1.0.1"]));
    assert_eq!(names(&world), ["shop/web-a", "shop/web-b", "shop/web-c"]);
    world.apply(Event::SliceDeleted(name("shop/web-a")));
    assert_eq!(names(&world), ["shop/web-b", "shop/web-c"]);
}

#[test]
fn slices_of_other_services_and_namespaces_are_not_mixed_in() {
    let mut world = World::new();
    for slice_name in ["shop/web-1", "shop/db-1", "lab/web-1"] {
        world.apply(slice(slice_name));
    }
    assert_eq!(world.cluster().slices_of(&name("shop/web")).len(), 1);
    assert_eq!(world.cluster().slices_of(&name("shop/web"))[0].name.namespace(), "shop");
}

#[test]
fn a_changed_label_moves_the_endpoints_to_another_service() {
    let mut world = World::new();
    world.apply(service("shop/web").ips(&["10.96.0.1"]));
    world.apply(service("shop/db").ips(&["10.96.0.2"]));
    world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
    let seen = world.apply(slice("shop/web-1").of("db").ready(&["10.1.0.1"]));
    assert_eq!(seen.services(), ["shop/db", "shop/web"]);
    assert_eq!(world.at("10.96.0.1 80/tcp"), "shop/web:http rejects");
    assert_eq!(world.at("10.96.0.2 80/tcp"), "shop/db:http -> 10.1.0.1:8080");
    // Its deletion comes without the label.
    assert_eq!(world.apply(Event::SliceDeleted(name("shop/web-1"))).services(), ["shop/db"]);
    assert_eq!(world.at("10.96.0.2 80/tcp"), "shop/db:http rejects");
}

#[test]
fn after_the_last_object_is_gone_nothing_is_left() {
    let mut world = World::new();
    for event in ["shop/web-1", "shop/web-2", "lab/db-1"] {
        world.apply(slice(event));
    }
    for event in ["shop/web-1", "shop/web-2", "lab/db-1"] {
        world.apply(Event::SliceDeleted(name(event)));
    }
    assert!(world.cluster().services.is_empty() && world.cluster().slice_owners.is_empty());
}

#[test]
fn a_reset_with_the_same_content_touches_nothing() {
    let mut world = World::new();
    let (web, db) = (service("shop/web"), service("shop/db"));
    let (one, two) = (slice("shop/web-1").ready(&["10.1.0.1"]), slice("shop/db-1"));
    let resets = [
        Event::ServicesReset(vec![web.clone().decoded(), db.clone().decoded()]),
        Event::SlicesReset(vec![one.clone().decoded(), two.clone().decoded()]),
        Event::ServiceCidrsReset(vec![service_cidr("kubernetes", &["10.96.0.0/16"])]),
        Event::NodesReset(vec![node("node-a")]),
    ];
    for reset in resets.clone() {
        world.apply(reset);
    }
    for reset in resets {
        world.apply(reset).assert_nothing();
    }
    let in_another_order = Event::ServicesReset(vec![db.decoded(), web.decoded()]);
    world.apply(in_another_order).assert_nothing();
}

#[test]
fn a_reset_removes_what_is_not_listed_and_touches_only_what_differs() {
    let mut world = World::new();
    for service_name in ["shop/gone", "shop/same", "shop/changed"] {
        world.apply(service(service_name));
    }
    let list = [service("shop/same"), service("shop/changed").local(), service("shop/new")];
    let seen = world.apply(Event::ServicesReset(list.map(|s| s.decoded()).into()));
    assert_eq!(seen.services(), ["shop/changed", "shop/gone", "shop/new"]);
    assert!(world.cluster().service(&name("shop/gone")).is_none());
    assert_eq!(world.cluster().service_count(), 3);

    world.apply(slice("shop/same-1"));
    world.apply(slice("shop/new-1"));
    let seen = world.apply(Event::SlicesReset(vec![slice("shop/new-1").decoded()]));
    assert_eq!(seen.services(), ["shop/same"]);

    world.apply(Event::ServiceCidrApplied(service_cidr("kubernetes", &["10.96.0.0/16"])));
    assert!(world.apply(Event::ServiceCidrsReset(Vec::new())).changes.service_networks());
    assert_eq!(world.cluster().service_networks(), []);
}

#[test]
fn an_object_that_cannot_be_read_stays_as_it_was_and_is_reported() {
    let mut world = World::new();
    world.apply(service("shop/web"));
    world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
    let web = || Decoded::unreadable(name("shop/web"), problem("spec"));
    let web_1 = || Decoded::unreadable(name("shop/web-1"), problem("endpoints"));
    for (event, object) in [
        (Event::ServiceApplied(web()), "Service shop/web: spec"),
        (Event::ServicesReset(vec![web()]), "Service shop/web: spec"),
        (Event::SliceApplied(web_1()), "EndpointSlice shop/web-1: endpoints"),
        (Event::SlicesReset(vec![web_1()]), "EndpointSlice shop/web-1: endpoints"),
    ] {
        let seen = world.apply(event);
        assert_eq!(seen.services(), [""; 0]);
        let report = format!("{object}: what was found; its last version stays in force (bad-port)");
        assert_eq!(seen.reports(), [report]);
        assert!(world.cluster().service(&name("shop/web")).is_some());
    }
}

#[test]
fn an_unknown_object_that_cannot_be_read_stays_unknown() {
    let mut world = World::new();
    let unreadable = Decoded::unreadable(name("shop/web-1"), problem("addressType"));
    let seen = world.apply(Event::SliceApplied(unreadable));
    assert_eq!((seen.services().len(), seen.skipped.len()), (0, 1));
}

#[test]
fn a_problem_is_reported_when_it_appears_and_not_again() {
    let mut world = World::new();
    let bad = || service("shop/web").problem("spec.ports[0]");
    assert_eq!(world.apply(bad()).reports(), ["Service shop/web: spec.ports[0]: what was found (bad-port)"]);
    world.apply(bad()).assert_nothing();
    world.apply(Event::ServicesReset(vec![bad().decoded()])).assert_nothing();
    assert_eq!(world.apply(bad().local()).reports(), [""; 0], "another change of the same object");
    let worse = bad().problem("spec.ports[1]");
    assert_eq!(world.apply(worse).reports(), ["Service shop/web: spec.ports[1]: what was found (bad-port)"]);
    // Mended and broken again: news.
    world.apply(service("shop/web"));
    assert_eq!(world.apply(bad()).skipped.len(), 1);
}

#[test]
fn a_slice_without_a_service_is_not_reported_before_the_lists_are_complete_but_then() {
    let mut world = World::unlisted();
    assert_eq!(world.apply(slice("shop/web-1")).reports(), [""; 0]);
    assert_eq!(world.apply(slice("shop/db-1")).reports(), [""; 0]);
    assert_eq!(world.apply(service("shop/db")).reports(), [""; 0]);
    let [_, _, cidrs, nodes] = empty_lists();
    world.apply(Event::ServicesReset(vec![service("shop/db").decoded()]));
    world.apply(Event::SlicesReset(vec![slice("shop/db-1").decoded(), slice("shop/web-1").decoded()]));
    world.apply(nodes);
    let completed = world.apply(cidrs.clone());
    assert_eq!(completed.skipped.len(), 1, "{:?}", completed.reports());
    assert_eq!(completed.skipped[0].object.name, name("shop/web-1"));
    assert_eq!(world.apply(cidrs).reports(), [""; 0], "once");
}

#[test]
fn a_slice_that_names_no_service_is_reported_once() {
    let nameless = || slice("shop/web-1").of("").problem("metadata.labels[kubernetes.io/service-name]");
    assert_eq!(World::new().apply(nameless()).skipped.len(), 1, "once, and not also for a Service without a name");
    let mut world = World::unlisted();
    assert_eq!(world.apply(nameless()).skipped.len(), 1);
    let [services, _, cidrs, nodes] = empty_lists();
    let completing = [services, Event::SlicesReset(vec![nameless().decoded()]), cidrs, nodes];
    let reports: Vec<String> = completing.into_iter().flat_map(|event| world.apply(event).reports()).collect();
    assert_eq!(reports, [""; 0], "it was reported before");
}

#[test]
fn the_view_is_complete_after_lists_of_all_kinds_in_any_order() {
    let [a, b, c, d] = empty_lists();
    for order in [[&a, &b, &c, &d], [&d, &c, &b, &a], [&b, &d, &a, &c]] {
        let mut world = World::unlisted();
        for event in order {
            assert!(!world.cluster().is_complete(), "before {event:?}");
            world.apply(event.clone());
        }
        assert!(world.cluster().is_complete());
    }
    let mut world = World::unlisted();
    world.apply(service("shop/web"));
    world.apply(Event::NodesReset(vec![node("node-a")]));
    assert!(!world.cluster().is_complete(), "single objects are not a list");
}

#[test]
fn service_cidrs_are_merged_where_they_overlap() {
    let mut world = World::new();
    for (cidr, networks) in [("a", &["10.96.0.0/16", "fd00:96::/112"][..]), ("b", &["10.96.1.0/24", "10.97.0.0/16"])] {
        assert!(world.apply(Event::ServiceCidrApplied(service_cidr(cidr, networks))).changes.service_networks());
    }
    let text = |world: &World| world.cluster().service_networks().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(text(&world), ["10.96.0.0/15", "fd00:96::/112"]);
    world.apply(Event::ServiceCidrDeleted(name("a")));
    assert_eq!(text(&world), ["10.96.1.0/24", "10.97.0.0/16"]);
}

#[test]
fn only_this_nodes_object_is_kept_and_it_touches_nothing() {
    let mut world = World::new();
    world.apply(Event::NodeApplied(node("node-b"))).assert_nothing();
    assert_eq!(world.cluster().node(), None);
    world.apply(Event::NodeApplied(node("node-a"))).assert_nothing();
    assert_eq!(world.cluster().node().unwrap().name.name(), "node-a");
    world.apply(Event::NodeDeleted(name("node-b"))).assert_nothing();
    assert!(world.cluster().node().is_some());
    // A node that is gone keeps its last state: its traffic goes on.
    world.apply(Event::NodesReset(Vec::new())).assert_nothing();
    assert!(world.cluster().node().is_some());
}

#[test]
fn a_node_ip_stands_for_the_node_objects_address_of_its_family() {
    let ports = |node_ip: Option<&str>, addresses: &[&str]| {
        let view = View { node_name: "node-a".into(), node_ip: node_ip.map(crate::fixtures::ip), ..View::default() };
        let node = crate::state::Node {
            name: name("node-a"),
            addresses: addresses.iter().map(|addr| crate::fixtures::ip(addr)).collect(),
            ..crate::state::Node::default()
        };
        let mut cluster = Cluster::seen_from(view);
        let applied = cluster.apply(Event::NodesReset(vec![Decoded::Object(Arc::new(node))]));
        assert!(applied.changes.node_port_addresses() && !applied.changes.service_networks());
        let other = cluster.apply(Event::SliceApplied(crate::fixtures::slice("shop/web-1").decoded()));
        assert!(!other.changes.node_port_addresses());
        cluster.node_port_addresses().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let both = ["192.0.2.1", "fd00::1"];
    assert_eq!(ports(None, &both), both);
    assert_eq!(ports(Some("192.0.2.7"), &both), ["192.0.2.7", "fd00::1"]);
    assert_eq!(ports(Some("fd00::7"), &both), ["192.0.2.1", "fd00::7"]);
    assert_eq!(ports(Some("fd00::7"), &["192.0.2.1"]), ["192.0.2.1", "fd00::7"]);
}

#[test]
fn with_node_addresses_of_one_family_all_addresses_of_the_other_accept_node_ports() {
    let ip = crate::fixtures::ip;
    let accepted = |own: &[&str]| {
        let mut cluster = Cluster::new("node-a");
        cluster.apply(Event::HostAddresses(
            ["127.0.0.1", "192.0.2.1", "192.0.2.2", "::1", "fe80::1", "fd00::1", "fd00::2"].map(ip).to_vec(),
        ));
        let node = crate::state::Node {
            name: name("node-a"),
            addresses: own.iter().map(|addr| ip(addr)).collect(),
            ..crate::state::Node::default()
        };
        cluster.apply(Event::NodesReset(vec![Decoded::Object(Arc::new(node))]));
        cluster.node_port_addresses().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(accepted(&["192.0.2.1"]), ["192.0.2.1", "fd00::1", "fd00::2"]);
    assert_eq!(accepted(&["fd00::2"]), ["192.0.2.1", "192.0.2.2", "fd00::2"]);
    assert_eq!(accepted(&["192.0.2.2", "fd00::1"]), ["192.0.2.2", "fd00::1"]);
    assert_eq!(accepted(&["127.0.0.1", "fd00::1"]), ["192.0.2.1", "192.0.2.2", "fd00::1"]);
    assert_eq!(accepted(&[]), [""; 0]);
}

#[test]
fn problems_of_this_node_are_reported_once_and_those_of_others_never() {
    let problem = crate::fixtures::problem("spec.podCIDRs[0]");
    let bad = |node: &str, zone: Option<&str>| {
        let zone = zone.map(Into::into);
        let node = crate::state::Node { name: ObjectName::cluster_scoped(node), zone, ..Default::default() };
        Event::NodeApplied(Decoded::Object(Arc::new(crate::state::Node {
            problems: vec![problem.clone()].into(),
            ..node
        })))
    };
    let mut cluster = Cluster::new("node-a");
    assert_eq!(cluster.apply(bad("node-b", None)).skipped, []);
    let skipped = cluster.apply(bad("node-a", None)).skipped;
    assert_eq!(skipped.iter().map(|it| (it.object.kind, &it.problem)).collect::<Vec<_>>(), [(Kind::Node, &problem)]);
    assert_eq!(cluster.apply(bad("node-a", Some("zone-a"))).skipped, []);
}

#[test]
fn a_service_may_go_before_its_slices_or_come_after_them() {
    let mut world = World::new();
    assert_eq!(world.apply(slice("shop/web-1").ready(&["10.1.0.1"])).skipped, []);
    // Its endpoints are there when the Service comes.
    assert_eq!(world.apply(service("shop/web")).skipped, []);
    assert_eq!(world.at("10.96.0.1 80/tcp"), "shop/web:http -> 10.1.0.1:8080");
    assert_eq!(world.apply(Event::ServiceDeleted(name("shop/web"))).skipped, []);
    assert_eq!(world.apply(slice("shop/web-2").ready(&["10.1.0.1"])).skipped, []);
    assert_eq!(world.apply(slice("shop/web-2").of("db")).skipped, []);
    assert_eq!(world.cluster().missing_service_count(), 2);
}

#[test]
fn an_unreadable_object_keeps_its_last_version_only_if_it_is_the_same_object() {
    let uid = crate::state::Uid::new;
    for (then, stays, says) in [
        (Some("a"), true, "; its last version stays in force"),
        (None, true, "; its last version stays in force"),
        (Some("b"), false, "; the object of this name that was there before is gone"),
    ] {
        let mut cluster = Cluster::new("node-a");
        empty_lists().into_iter().for_each(|event| drop(cluster.apply(event)));
        let Decoded::Object(web) = service("shop/web").decoded() else { panic!("a Service") };
        let web = crate::state::Service { uid: crate::state::Identity(uid("a")), ..(*web).clone() };
        cluster.apply(Event::ServiceApplied(Decoded::Object(Arc::new(web))));
        let problem = Problem::new("", Reason::Undecodable, "bad");
        let unreadable = Decoded::unreadable(name("shop/web"), problem).with_uid(then.and_then(uid));
        let json = serde_json::to_string(&unreadable).unwrap();
        assert_eq!(serde_json::from_str::<Decoded<crate::state::Service>>(&json).unwrap(), unreadable);
        let applied = cluster.apply(Event::ServicesReset(vec![unreadable]));
        assert_eq!(cluster.service(&name("shop/web")).is_some(), stays, "{then:?}");
        assert_eq!(applied.skipped[0].problem.found, format!("bad{says}"));
    }
}

#[test]
fn an_unreadable_node_is_said_to_keep_its_last_version_only_if_there_is_one() {
    let mut world = World::new();
    let unreadable = || Event::NodeApplied(Decoded::unreadable(ObjectName::cluster_scoped(NODE), problem("spec")));
    let found = |world: &mut World| world.apply(unreadable()).skipped[0].problem.found.clone();
    assert!(!found(&mut world).contains("its last version stays in force"));
    world.apply(Event::NodeApplied(node(NODE)));
    assert!(found(&mut world).contains("its last version stays in force"));
}
