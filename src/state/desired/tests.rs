use super::*;
use crate::fixtures::{NODE, World, ip, name, node, service, service_cidr, slice};
use crate::state::{Decoded, Event};

const FRONTEND: &str = "10.96.0.1 80/tcp";

fn taken(loser: &str, winner: &str) -> String {
    taken_by(loser, winner, "holds this frontend and is older")
}

fn taken_by(loser: &str, winner: &str, rule: &str) -> String {
    format!("Service {loser}: 10.96.0.1:80/tcp: {winner} {rule} (frontend-taken)")
}

#[test]
fn every_port_of_every_cluster_ip_is_a_frontend() {
    let mut world = World::new();
    world.apply(service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]).ports(&["http 80/tcp", "dns 53/udp"]));
    world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
    for (frontend, expected) in [
        ("10.96.0.1 80/tcp", "shop/web:http -> 10.1.0.1:8080"),
        ("10.96.0.1 53/udp", "shop/web:dns rejects"),
        ("10.96.0.1 80/udp", "nothing"),
        ("fd00:96::1 80/tcp", "shop/web:http rejects"),
        ("fd00:96::1 53/udp", "shop/web:dns rejects"),
    ] {
        assert_eq!(world.at(frontend), expected, "{frontend}");
    }
    assert_eq!(world.desired().frontends.len(), 4);
}

#[test]
fn conditions_decide_between_balancing_dropping_and_refusing() {
    for (local, endpoints, expected) in [
        (false, "10.1.0.1 R r", "shop/web:http -> 10.1.0.1:8080"),
        (true, "10.1.0.1 R r", "shop/web:http drops"),
        (true, "10.1.0.1 R st", "shop/web:http drops"),
        (true, "10.1.0.1 L st, 10.1.0.2 R r", "shop/web:http -> 10.1.0.1:8080"),
        (true, "10.1.0.1 R t", "shop/web:http rejects"),
        (false, "10.1.0.1 L t, 10.1.0.1 R t", "shop/web:http rejects"),
        (false, "", "shop/web:http rejects"),
    ] {
        let mut world = World::new();
        let web = service("shop/web");
        world.apply(if local { web.local() } else { web });
        world.apply(slice("shop/web-1").endpoints(endpoints));
        assert_eq!(world.at(FRONTEND), expected, "{endpoints}");
    }
}

#[test]
fn endpoints_follow_their_conditions() {
    let mut world = World::new();
    world.apply(service("shop/web"));
    for (endpoints, expected) in [
        ("10.1.0.1 R r, 10.1.0.2 R r", "shop/web:http -> 10.1.0.1:8080 10.1.0.2:8080"),
        ("10.1.0.1 R r, 10.1.0.2 R st", "shop/web:http -> 10.1.0.1:8080"),
        ("10.1.0.1 R st, 10.1.0.2 R st", "shop/web:http -> 10.1.0.1:8080 10.1.0.2:8080"),
        ("10.1.0.1 R t, 10.1.0.2 R t", "shop/web:http rejects"),
        ("10.1.0.1 R -, 10.1.0.2 R r", "shop/web:http -> 10.1.0.2:8080"),
    ] {
        world.apply(slice("shop/web-1").endpoints(endpoints));
        assert_eq!(world.at(FRONTEND), expected, "{endpoints}");
    }
}

#[test]
fn of_two_services_the_older_holds_the_frontend_whichever_comes_first() {
    let (older, younger) = (service("shop/web").created(1), service("lab/web").created(2));
    for order in [[&older, &younger], [&younger, &older]] {
        let mut world = World::new();
        let reports: Vec<String> = order.into_iter().flat_map(|s| world.apply(s.clone()).reports()).collect();
        assert_eq!(world.at(FRONTEND), "shop/web:http rejects");
        assert_eq!(reports, [taken("lab/web", "shop/web:http")]);
    }
}

/// A Service with this external IP.
fn external(text: &str, created: i64, cluster_ip: &str, external_ip: &str) -> Event {
    let crate::state::Decoded::Object(service) = service(text).created(created).ips(&[cluster_ip]).decoded() else {
        unreachable!()
    };
    let external_ips = vec![crate::fixtures::ip(external_ip)].into();
    let service = crate::state::Service { external_ips, ..(*service).clone() };
    Event::ServiceApplied(crate::state::Decoded::Object(service.into()))
}

#[test]
fn a_cluster_ip_comes_before_the_external_ip_of_an_older_service() {
    for cluster_ip_first in [true, false] {
        let mut world = World::new();
        let mut events: Vec<Event> =
            vec![service("kube/dns").created(9).into(), external("shop/thief", 1, "10.96.0.9", "10.96.0.1")];
        if !cluster_ip_first {
            events.reverse();
        }
        let reports: Vec<String> = events.into_iter().flat_map(|event| world.apply(event).reports()).collect();
        assert_eq!(world.at(FRONTEND), "kube/dns:http rejects");
        let report = "Service shop/thief: 10.96.0.1:80/tcp: kube/dns:http holds this frontend: it is its ClusterIP (frontend-taken)";
        assert_eq!(reports, [report]);
    }
}

#[test]
fn of_two_external_claims_one_with_endpoints_comes_first_and_gives_way_when_they_are_gone() {
    let mut world = World::new();
    world.apply(external("shop/old", 1, "10.96.0.8", "192.0.2.1"));
    world.apply(external("shop/new", 2, "10.96.0.9", "192.0.2.1"));
    let at = |world: &World| world.at("192.0.2.1 80/tcp");
    assert_eq!(at(&world), "shop/old:http rejects");
    let reports = world.apply(slice("shop/new-1").ready(&["10.1.0.1"])).reports();
    assert_eq!(at(&world), "shop/new:http -> 10.1.0.1:8080");
    assert!(reports[0].contains("Service shop/old") && reports[0].contains("has endpoints"), "{reports:?}");
    world.apply(slice("shop/old-1").ready(&["10.1.0.2"]));
    assert_eq!(at(&world), "shop/old:http -> 10.1.0.2:8080");
    world.apply(slice("shop/old-1"));
    assert_eq!(at(&world), "shop/new:http -> 10.1.0.1:8080");
}

#[test]
fn a_service_of_unknown_age_comes_last_and_names_decide_between_equals() {
    for (a, b, winner) in [
        (service("shop/a"), service("shop/b").created(9), "shop/b:http rejects"),
        (service("shop/a"), service("shop/b"), "shop/a:http rejects"),
        (service("shop/a").created(3), service("shop/b").created(3), "shop/a:http rejects"),
        (service("shop/a").created(3), service("lab/b").created(3), "lab/b:http rejects"),
    ] {
        for order in [[&a, &b], [&b, &a]] {
            let mut world = World::new();
            order.into_iter().for_each(|s| drop(world.apply(s.clone())));
            assert_eq!(world.at(FRONTEND), winner);
        }
    }
}

#[test]
fn who_lost_a_frontend_is_reported_once() {
    let mut world = World::new();
    world.apply(service("shop/web").created(1));
    assert_eq!(world.apply(service("lab/web").created(2)).skipped.len(), 1);
    assert_eq!(world.apply(slice("lab/web-1").ready(&["10.1.0.1"])).reports(), [""; 0], "its endpoints change");
    assert_eq!(world.apply(slice("shop/web-1").ready(&["10.1.0.2"])).reports(), [""; 0], "the winner's change");
    assert_eq!(world.apply(service("db/web").created(3)).reports(), [taken("db/web", "shop/web:http")], "only the new");
}

#[test]
fn of_three_that_come_at_once_each_loser_is_reported_once() {
    let mut world = World::new();
    let all = [service("shop/a").created(1), service("shop/b").created(2), service("shop/c").created(3)];
    let seen = world.apply(Event::ServicesReset(all.map(|s| s.decoded()).into()));
    assert_eq!(seen.reports(), [taken("shop/b", "shop/a:http"), taken("shop/c", "shop/a:http")]);
}

#[test]
fn when_the_winner_leaves_the_loser_takes_over() {
    for leaving in [
        Event::ServiceDeleted(name("shop/web")),
        service("shop/web").created(1).ips(&["10.96.0.9"]).into(),
        service("shop/web").created(1).ports(&["http 81/tcp"]).into(),
    ] {
        let mut world = World::new();
        world.apply(service("shop/web").created(1));
        world.apply(service("lab/web").created(2));
        world.apply(slice("lab/web-1").ready(&["10.1.0.1"]));
        assert_eq!(world.apply(leaving).reports(), [""; 0]);
        assert_eq!(world.at(FRONTEND), "lab/web:http -> 10.1.0.1:8080");
    }
}

#[test]
fn when_a_loser_leaves_nothing_happens_at_the_frontend() {
    let mut world = World::new();
    world.apply(service("shop/web").created(1));
    world.apply(service("lab/web").created(2));
    world.apply(Event::ServiceDeleted(name("lab/web")));
    let claims = world.desired().frontends.get_max().unwrap().1.clone();
    assert_eq!((&*claims.winner().owner, claims.losers().len()), ("shop/web:http", 0));
}

#[test]
fn an_older_service_that_takes_a_frontend_over_makes_the_former_holder_a_loser() {
    let mut world = World::new();
    world.apply(service("lab/web").created(2));
    assert_eq!(world.apply(service("shop/web").created(1)).reports(), [taken("lab/web", "shop/web:http")]);
}

#[test]
fn two_ports_of_one_service_on_one_frontend_are_a_clash_that_the_first_by_name_wins() {
    let mut world = World::new();
    let seen = world.apply(service("shop/web").ports(&["b 80/tcp", "a 80/tcp"]));
    assert_eq!(seen.reports(), [taken_by("shop/web", "shop/web:a", "holds this frontend, and its name comes first")]);
    world.apply(Event::ServiceDeleted(name("shop/web")));
    assert_eq!(*world.desired(), Desired::default());
}

#[test]
fn a_shared_element_stays_while_it_is_asked_for() {
    let mut world = World::new();
    let count = |world: &World| world.desired().shared.values().copied().collect::<Vec<_>>();
    world.apply(service("shop/web"));
    world.apply(service("shop/dns").ports(&["dns 53/udp"]));
    assert_eq!(count(&world), [2], "one ClusterIP, asked for twice");
    world.apply(Event::ServiceDeleted(name("shop/web")));
    assert_eq!(count(&world), [1]);
    world.apply(Event::ServiceDeleted(name("shop/dns")));
    assert_eq!(count(&world), [0; 0]);
}

#[test]
fn only_used_endpoints_on_this_node_are_watched_for_connections_to_themselves() {
    for (endpoints, expected) in [
        ("10.1.0.1 L r, 10.1.0.2 R r", vec!["10.1.0.1:8080"]),
        ("10.1.0.1 L st, 10.1.0.2 R r", vec![]),
        ("10.1.0.1 L st, 10.1.0.2 R st", vec!["10.1.0.1:8080"]),
    ] {
        let mut world = World::new();
        world.apply(service("shop/web"));
        world.apply(slice("shop/web-1").endpoints(endpoints));
        let local = world.desired().shared.keys().filter_map(|demand| match demand {
            SharedDemand::LocalEndpoint(endpoint, _) => Some(endpoint.to_string()),
            _ => None,
        });
        assert_eq!(local.collect::<Vec<_>>(), expected, "{endpoints}");
    }
}

#[test]
fn service_cidrs_replace_each_other() {
    let mut world = World::new();
    let networks =
        |world: &World| world.desired().shared.keys().map(|demand| format!("{demand:?}")).collect::<Vec<_>>();
    world.apply(Event::ServiceCidrApplied(service_cidr("a", &["10.96.0.0/16"])));
    world.apply(Event::ServiceCidrApplied(service_cidr("b", &["10.96.7.0/24"])));
    assert_eq!(networks(&world), ["ServiceNetwork(10.96.0.0/16)"]);
    world.apply(Event::ServiceCidrDeleted(name("a")));
    assert_eq!(networks(&world), ["ServiceNetwork(10.96.7.0/24)"]);
}

#[test]
fn a_slice_that_decides_nothing_leaves_the_very_same_snapshot() {
    let mut world = World::new();
    world.apply(service("shop/web"));
    world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
    let before = world.desired().clone();
    // A starting pod, a port that no Service has, an endpoint that another slice has too.
    world.apply(slice("shop/web-1").endpoints("10.1.0.1 R r, 10.1.0.2 R -"));
    world.apply(slice("shop/web-2").ports(&["metrics 9090/tcp"]).ready(&["10.1.0.3"]));
    world.apply(slice("shop/web-3").ready(&["10.1.0.1"]));
    assert!(world.desired().frontends.ptr_eq(&before.frontends) && world.desired().shared.ptr_eq(&before.shared));
}

#[test]
fn folding_gives_what_compiling_from_scratch_gives() {
    let mut world = World::new();
    world.apply(slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r"));
    world.apply(service("shop/web").created(2));
    world.apply(service("lab/web").created(1));
    world.apply(Event::ServiceCidrApplied(service_cidr("a", &["10.96.0.0/16"])));
    world.apply(service("lab/web").created(1).local());
    assert_eq!(*world.desired(), Desired::from_cluster(world.cluster()));
    assert_eq!(Desired::from_cluster(&Cluster::new(NODE)), Desired::default());
}

#[test]
fn a_node_port_that_another_services_address_hides_is_a_clash() {
    let mut world = World::new();
    let mut node = (**node("node-a").object().unwrap()).clone();
    node.addresses = vec![ip("192.0.2.1")];
    world.apply(Event::NodeApplied(Decoded::Object(Arc::new(node))));
    world.apply(service("shop/web").node_port(30080));
    let external = |port: u16| {
        let Decoded::Object(other) = service("shop/other").ips(&["10.96.0.2"]).decoded() else { panic!("a Service") };
        let mut other = (*other).clone();
        other.ports[0].port = port;
        other.load_balancer_ips = vec![ip("192.0.2.1")].into();
        Event::ServiceApplied(Decoded::Object(Arc::new(other)))
    };
    assert_eq!(world.apply(external(80)).reports(), [""; 0]);
    let text = "Service shop/web: 192.0.2.1:30080/tcp: shop/other:http has this address and port, so the NodePort is not reached there \
                (frontend-taken)";
    assert_eq!(world.apply(external(30080)).reports(), [text]);
    assert_eq!(world.apply(slice("shop/other-1").ready(&["10.1.0.1"])).reports(), [""; 0], "no news");
    assert_eq!(world.apply(external(81)).reports(), [""; 0]);
    assert_eq!(world.apply(external(30080)).reports(), [text], "news again");
}

#[test]
fn while_no_node_is_known_addresses_of_an_earlier_run_stay() {
    let mut world = World::new();
    world.apply(service("shop/web"));
    assert!(!world.desired().knows_node_port_addresses);
    let mut node = (**node("node-a").object().unwrap()).clone();
    node.addresses = vec![ip("192.0.2.1")];
    world.apply(Event::NodeApplied(Decoded::Object(Arc::new(node))));
    assert!(world.desired().knows_node_port_addresses);
}

#[test]
fn an_address_that_begins_or_ceases_to_accept_node_ports_has_changed() {
    let addresses = |all: &[&str]| -> Arc<[IpAddr]> { all.iter().map(|text| ip(text)).collect() };
    let both = [addresses(&["192.0.2.1", "192.0.2.2"]), addresses(&["192.0.2.2", "192.0.2.3"])];
    let compiled = Compiled { node_port_addresses: Some(both), ..Compiled::default() };
    assert_eq!(compiled.changed_node_port_addresses(), [ip("192.0.2.1"), ip("192.0.2.3")]);
    assert!(Compiled::default().changed_node_port_addresses().is_empty());
}

#[test]
fn a_change_weighs_as_much_as_all_of_its_frontends_and_nothing_if_it_is_urgent() {
    let changed = |name: &str| {
        let world = World::new();
        let mut cluster = world.cluster().clone();
        let mut desired = world.desired().clone();
        let web = service(name).ips(&["10.96.0.1", "fd00:96::1"]).ports(&["http 80/tcp", "alt 81/tcp"]);
        let slice =
            slice(&format!("{name}-1")).ports(&["http 8080/tcp", "alt 8081/tcp"]).ready(&["10.1.0.1", "10.1.0.2"]);
        let mut changes = cluster.apply(web.into()).changes;
        changes.merge(cluster.apply(slice.into()).changes);
        match desired.update(&mut cluster, &changes).changed {
            ChangedKeys::These { frontends, .. } => frontends,
            ChangedKeys::Everything => panic!("only some changed"),
        }
    };
    let frontends = changed("shop/web");
    let elements: u32 = frontends.iter().map(|changed| changed.elements).sum();
    assert_eq!(frontends.iter().map(|changed| changed.weight).collect::<Vec<_>>(), [elements; 4]);
    assert!(frontends.iter().all(|changed| changed.elements > 0), "{frontends:?}");
    assert!(changed("default/kubernetes").iter().all(|changed| changed.weight == 0));
}
