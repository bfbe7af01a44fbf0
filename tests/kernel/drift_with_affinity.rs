//! Drift where frontends have chains and maps of their own, and where sources are restricted.

use std::time::{Duration, Instant};

use crate::cluster::until;
use crate::common::manifests::{service, slice_of};
use crate::common::netns::{Family, Proxy, Transport};
use crate::drift::{FOUND, Kind, can_look, count, nft, repaired, watching};
use crate::world::{PORT, WEB, World, web};

/// Longer than the tests take, in seconds.
const LONG_TIMEOUT: u32 = 600;
/// The address of a load balancer that only some sources may use.
const FIREWALLED: &str = "203.0.113.20";

/// A cluster whose `default/web` has session affinity, with a load balancer that only some sources may use.
fn world() -> Option<World> {
    let world = World::with_web(&[11, 12, 13])?;
    world.manifests.apply(web().session_affinity(LONG_TIMEOUT));
    let sources = ["10.0.0.0/8", "192.0.2.0/25", "192.0.2.2/32"];
    world.manifests.apply(service("shop/lb").dual_stack(60).port("http", 80).firewalled(FIREWALLED, &sources));
    let slice = slice_of("shop/lb", Family::V4).port("http", 8080);
    world.manifests.apply(slice.endpoint(Family::V4.pod_ip(11)).endpoint(Family::V4.pod_ip(12)));
    Some(world)
}

/// Commits to a table of another program, and waits until a comparison of everything is over.
fn compare(world: &World, proxy: &Proxy, table: &str) {
    let compared = || {
        let metrics = proxy.metrics(&world.node.host);
        let line = metrics
            .lines()
            .find(|line| line.starts_with("pointsman_tables_verified_timestamp_seconds{extent=\"elements\"}"));
        line.unwrap_or_default().to_owned()
    };
    let before = compared();
    nft(world, &format!("add table inet {table}"));
    until(proxy, "everything is compared", || compared() != before);
}

#[test]
fn own_commits_with_affinity_and_with_source_ranges_are_no_drift_and_neither_are_clients() {
    if !can_look() {
        return;
    }
    let Some(world) = world() else { return };
    let proxy = watching(&world, &[]);
    let began = Instant::now();
    for round in 0_u16.. {
        if began.elapsed() > Duration::from_secs(8) {
            break;
        }
        world.set_web_endpoints(&[11, 12 + round % 2]);
        world.manifests.apply(web().session_affinity(LONG_TIMEOUT + u32::from(round % 3)));
        let with_affinity = service(&format!("shop/s{}", round % 7)).dual_stack(100 + round % 7).port("http", 80);
        let with_affinity = if round % 2 == 0 { with_affinity.session_affinity(60) } else { with_affinity };
        world.manifests.apply(with_affinity);
        let slice = slice_of(&format!("shop/s{}", round % 7), Family::V4).port("http", 8080);
        world.manifests.apply(slice.endpoint(Family::V4.pod_ip(20 + round % 5)));
        let sources = [&["10.0.0.0/8"][..], &["10.0.0.0/9", "192.0.2.7/32"], &[]][usize::from(round % 3)];
        world.manifests.apply(service("shop/lb").dual_stack(60).port("http", 80).firewalled(FIREWALLED, sources));
        nft(&world, &format!("add table inet other{}", round % 10));
        // Adds and renews clients.
        let _ = world.ask_web(Family::V4, Transport::Tcp);
        std::thread::sleep(Duration::from_millis(20));
    }
    world.settle();
    compare(&world, &proxy, "another");
    assert_eq!(count(&proxy, FOUND), 0, "{}", proxy.log());
    let metrics = proxy.metrics(&world.node.host);
    assert!(!metrics.contains("pointsman_read_backs_total{cause=\"failure\"}"), "{metrics}");
    assert!(!metrics.contains("pointsman_read_backs_total{cause=\"drift\"}"), "{metrics}");
}

/// The first line of a listing that contains a text.
fn listed(world: &World, object: &[&str], text: &str) -> String {
    let listing = world.node.nft(object);
    listing
        .lines()
        .find(|line| line.contains(text))
        .unwrap_or_else(|| panic!("no {text:?} in {listing}"))
        .trim()
        .to_owned()
}

const KINDS: [Kind; 10] = [
    (
        "a chain of a frontend deleted",
        |world| {
            nft(
                world,
                "delete element ip pointsman recall-clients { 10.96.0.10 . tcp . 80 }\n\
                 delete chain ip pointsman recall-10.96.0.10-tcp-80",
            );
        },
        "chain recall-10.96.0.10-tcp-80 of ip was edited or is missing",
    ),
    (
        "a rule of a frontend edited, with the same comment",
        |world| {
            let chain = ["-a", "list", "chain", "ip", "pointsman", "recall-10.96.0.10-tcp-80"];
            let rule = listed(world, &chain, "comment");
            let (rule, handle) = rule.split_once(" # handle ").expect("a handle");
            let edited = rule.replace("timeout 10m", "timeout 20m");
            assert_ne!(edited, rule);
            nft(world, &format!("replace rule ip pointsman recall-10.96.0.10-tcp-80 handle {handle} {edited}"));
        },
        "chain recall-10.96.0.10-tcp-80 of ip was edited or is missing",
    ),
    (
        "the rules of a frontend flushed",
        |world| nft(world, "flush chain ip6 pointsman remember-fd00_10_96__a-tcp-80"),
        "chain remember-fd00_10_96__a-tcp-80 of ip6 was edited or is missing",
    ),
    (
        "a chain like that of a frontend made by hand",
        |world| nft(world, "add chain ip pointsman recall-10.96.0.99-tcp-80"),
        "chain recall-10.96.0.99-tcp-80 of ip is unknown",
    ),
    (
        "an endpoint deleted by its id",
        |world| {
            let map = ["list", "map", "ip", "pointsman", "endpoints-by-id"];
            let element = listed(world, &map, "10.96.0.10 . tcp . 80 . ");
            let start = element.find("10.96.0.10 . tcp . 80 . ").expect("it is there");
            let key = element[start..].split(" : ").next().expect("a key");
            nft(world, &format!("delete element ip pointsman endpoints-by-id {{ {key} }}"));
        },
        "set endpoints-by-id of ip lacks 1 element(s)",
    ),
    (
        "a source deleted",
        |world| {
            nft(world, "delete element ip pointsman sources-203.0.113.20-tcp-80 { 192.0.2.0/25 }");
        },
        "set sources-203.0.113.20-tcp-80 of ip lacks 1 element(s)",
    ),
    (
        "a source replaced",
        |world| {
            nft(
                world,
                "delete element ip pointsman sources-203.0.113.20-tcp-80 { 192.0.2.0/25 }
                add element ip pointsman sources-203.0.113.20-tcp-80 { 192.0.2.0/26 }",
            );
        },
        "the elements of 203.0.113.20:80/tcp differ",
    ),
    (
        "the rules that check the sources of a frontend deleted",
        |world| {
            nft(world, "flush chain ip pointsman check-sources-203.0.113.20-tcp-80");
        },
        "chain check-sources-203.0.113.20-tcp-80 of ip was edited or is missing",
    ),
    (
        "the rule that drops other sources deleted",
        |world| nft(world, "flush chain ip pointsman drop-other-sources"),
        "chain drop-other-sources of ip was edited or is missing",
    ),
    (
        "a frontend led past its check of sources",
        |world| nft(world, "delete element ip pointsman source-checks { 203.0.113.20 . tcp . 80 }"),
        "set source-checks of ip lacks 1 element(s)",
    ),
];

#[test]
fn changes_of_what_frontends_have_of_their_own_are_named_and_repaired() {
    if !can_look() {
        return;
    }
    let Some(world) = world() else { return };
    for kind @ (name, _, expected) in KINDS {
        let (proxy, found, _) = repaired(&world, kind);
        // A comparison of everything that comes before the look names the frontends of elements, and chains as the look does.
        let is_element = expected.starts_with("set ") && found.contains("the elements of");
        assert!(found.contains(expected) || is_element, "{name}: {found}");
        world.assert_no_difference();
        for family in Family::ALL {
            let stays = world.reached(family, Transport::Tcp, 20);
            assert_eq!(stays.len(), 1, "{name}: a client of {} stays with its endpoint", family.cluster_ip(WEB));
        }
        println!("{name}: repaired; port {PORT} answers");
        assert_eq!(count(&proxy, FOUND), 1, "{}", proxy.log());
    }
}
