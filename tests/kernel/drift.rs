//! Other programs change the proxy's tables: noticed, named, repaired, with packets flowing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, until};
use crate::common::apiserver;
use crate::common::manifests::{service, slice_of};
use crate::common::netns::{Family, Proxy, Transport, requirements};
use crate::world::{PORT, WEB, World};

/// What the log says of a repaired change.
pub const REPAIRED: &str = "our tables are as they should be again";
/// What the log says of a change that was found.
pub const FOUND: &str = "our tables were changed by";

/// How long a probe waits for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_millis(10);

/// Whether a look at the tables can be taken, which the nft backend cannot: `drift_through_nft.rs` has its tests.
pub fn can_look() -> bool {
    let is_nft = std::env::var("POINTSMAN_TEST_BACKEND").is_ok_and(|backend| backend == "nft");
    if is_nft {
        requirements::skip("the nft backend compares the tables instead of looking at them");
    }
    !is_nft
}

/// The name of the process that commits for nft: that of the loader, if nft is a script that calls it.
fn writer() -> &'static str {
    let nft = requirements::nft_or_skip().expect("it is there");
    let is_script = std::fs::read(nft).is_ok_and(|start| start.starts_with(b"#!"));
    if is_script { "\"ld-linux" } else { "\"nft\" (pid " }
}

/// A proxy that follows the manifests of the world and watches over its tables.
pub fn watching(world: &World, extra: &[&str]) -> Proxy {
    let args = [&["--manifests", world.manifests.path(), "--watch"], extra].concat();
    let proxy = world.node.start_pointsman(&args);
    until(&proxy, "it watches over the tables", || proxy.log().contains("watching over our tables"));
    world.settle();
    proxy
}

/// The line of the log that begins so.
pub fn line(proxy: &Proxy, text: &str) -> String {
    let log = proxy.log();
    log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text:?} in\n{log}")).to_owned()
}

pub fn count(proxy: &Proxy, text: &str) -> usize {
    proxy.log().matches(text).count()
}

/// Asks the Service over UDP, again and again, while `work` runs and until it is answered after that. Returns the longest time from the end
/// of `work` to an answer, for the families.
pub fn outage(world: &World, proxy: &Proxy, work: impl FnOnce()) -> Duration {
    work();
    let began = Instant::now();
    for family in Family::ALL {
        let request = world.node.request(Transport::Udp, family.cluster_ip(WEB), PORT).timeout(PROBE_TIMEOUT);
        while request.send().is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "{family}: no answer\n{}", proxy.log());
        }
    }
    began.elapsed()
}

/// The handle and the text of the first rule of a chain.
fn first_rule(world: &World, chain: &str) -> (String, String) {
    let listing = world.node.nft(&["-a", "list", "chain", "ip", "pointsman", chain]);
    let rule = listing.lines().find(|line| line.contains("comment")).expect("a stamped rule");
    let (rule, handle) = rule.trim().split_once(" # handle ").expect("a handle");
    (handle.to_owned(), rule.to_owned())
}

/// An endpoint of the Service, as nft lists it: key and data.
fn first_slot(world: &World) -> (String, String) {
    let listing = world.node.nft(&["list", "map", "ip", "pointsman", "endpoints"]);
    let element = listing.split(['{', '}', ',', '\n']).find(|text| text.contains(" : 10.128.")).expect("an endpoint");
    let (key, data) = element.trim().trim_start_matches("elements =").split_once(" : ").expect("key and data");
    (key.trim().to_owned(), data.trim().to_owned())
}

pub fn nft(world: &World, commands: &str) {
    let finished = world.node.nft_with_input(&["-f", "-"], commands);
    assert_eq!(finished.code, Some(0), "{commands}: {}", finished.stderr);
}

/// A kind of change: its name, what makes it, and what the log says of it.
pub type Kind = (&'static str, fn(&World), &'static str);

/// Starts a proxy, makes a change, and waits until it is repaired. Returns the proxy, the line of its log about the change, and for how long
/// the Service did not answer.
pub fn repaired(world: &World, (name, change, _): Kind) -> (Proxy, String, Duration) {
    let proxy = watching(world, &[]);
    let outage = outage(world, &proxy, || change(world));
    until(&proxy, name, || count(&proxy, REPAIRED) == 1);
    let found = line(&proxy, FOUND);
    (proxy, found, outage)
}

const KINDS: [Kind; 13] = [
    ("flush of the ruleset", |world| nft(world, "flush ruleset"), "table ip pointsman is missing"),
    ("flush of a family", |world| nft(world, "flush ruleset ip6"), "table ip6 pointsman is missing"),
    ("a table deleted", |world| nft(world, "delete table ip pointsman"), "table ip pointsman is missing"),
    (
        "flush of a chain",
        |world| nft(world, "flush chain ip pointsman services"),
        "chain services of ip was edited or is missing",
    ),
    (
        "flush of a map",
        |world| nft(world, "flush map ip pointsman endpoints"),
        "set endpoints of ip lacks 6 element(s)",
    ),
    (
        "an element deleted",
        |world| nft(world, "delete element ip pointsman cluster-ips { 10.96.0.10 }"),
        "set cluster-ips of ip lacks 1 element(s)",
    ),
    (
        "an element made by hand",
        |world| nft(world, "add element ip pointsman reject-services { 10.96.0.10 . tcp . 80 }"),
        "set reject-services of ip has 1 element(s) too many",
    ),
    (
        "a range deleted",
        |world| nft(world, "delete element ip pointsman service-cidrs { 10.96.0.0/16 }"),
        "1 element(s) differ, 10.96.0.0/16 of service-cidrs among them",
    ),
    (
        "a rule edited, with the same comment",
        |world| {
            let (handle, rule) = first_rule(world, "pick-3");
            let edited = rule.replace("mod 3", "mod 2");
            assert_ne!(edited, rule);
            nft(world, &format!("replace rule ip pointsman pick-3 handle {handle} {edited}"));
        },
        "chain pick-3 of ip was edited or is missing",
    ),
    (
        "a rule inserted",
        |world| nft(world, "insert rule ip pointsman services ip daddr 10.96.0.10 drop"),
        "chain services of ip was edited or is missing",
    ),
    (
        "a chain made by hand",
        |world| nft(world, "add chain ip pointsman mine { type filter hook forward priority 5; policy drop; }"),
        "chain mine of ip is unknown",
    ),
    (
        "an element replaced",
        |world| {
            let (key, data) = first_slot(world);
            let other = data.replace("10.128.0.", "10.128.9.");
            nft(
                world,
                &format!(
                    "delete element ip pointsman endpoints {{ {key} }}\nadd element ip pointsman endpoints {{ {key} : {other} }}"
                ),
            );
        },
        "the elements of 10.96.0.10:80/",
    ),
    (
        "the table made again from a dump",
        |world| {
            let dump = world.node.nft(&["list", "ruleset"]);
            nft(world, &format!("flush ruleset\n{dump}"));
        },
        "table ip pointsman was deleted and made again",
    ),
];

#[test]
fn another_pointsman_is_named_as_such() {
    let Some(world) = World::with_web(&[11]).filter(|_| can_look()) else { return };
    let proxy = watching(&world, &[]);
    let cleaned = world.node.pointsman(&["--cleanup=own", "--force"]);
    assert_eq!(cleaned.code, Some(0), "{}", cleaned.stderr);
    until(&proxy, "it repairs", || proxy.log().contains(REPAIRED));
    let found = line(&proxy, FOUND);
    assert!(found.contains("changed by \"pointsman\" (pid "), "{found}");
}

#[test]
fn every_kind_of_change_on_a_quiet_node_is_noticed_named_and_repaired() {
    if !can_look() {
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    println!("| Change | said in the log after | answers again after |\n|---|---|---|");
    for kind @ (name, _, expected) in KINDS {
        let (proxy, found, outage) = repaired(&world, kind);
        // Without the number of elements only a comparison sees these.
        let is_compared = expected.starts_with("set ") && !requirements::kernel_counts_elements();
        assert!(found.contains(if is_compared { " differ" } else { expected }), "{name}: {found}");
        assert!(found.contains(writer()), "{name}: {found}");
        let repaired = line(&proxy, REPAIRED);
        let milliseconds = repaired.split("milliseconds=").nth(1).expect("a time").split(' ').next().expect("a time");
        println!("| {name} | {milliseconds} ms | {} ms |", outage.as_millis());
        world.settle();
        for family in Family::ALL {
            let reached = world.reached(family, Transport::Tcp, 60);
            assert_eq!(reached, BTreeSet::from([11, 12, 13]), "{name}");
        }
        let metrics = proxy.metrics(&world.node.host);
        assert!(metrics.contains("pointsman_drifts_total{program=\""), "{name}: {metrics}");
        assert!(metrics.lines().any(|line| line == "pointsman_drifted 0"), "{name}: {metrics}");
    }
}

#[test]
fn an_old_dump_is_replaced_by_what_the_cluster_says_now() {
    if !can_look() {
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.serve(&[14]);
    let proxy = watching(&world, &[]);
    let dump = world.node.nft(&["list", "ruleset"]);
    world.set_web_endpoints(&[14]);
    world.settle();
    nft(&world, &format!("flush ruleset\n{dump}"));
    until(&proxy, "it is repaired", || count(&proxy, REPAIRED) == 1);
    world.settle();
    for family in Family::ALL {
        assert_eq!(world.reached(family, Transport::Tcp, 60), BTreeSet::from([14]));
    }
}

#[test]
fn a_rule_that_was_edited_while_no_proxy_ran_is_repaired_at_the_start() {
    if !can_look() {
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.sync();
    let (handle, rule) = first_rule(&world, "pick-3");
    nft(&world, &format!("replace rule ip pointsman pick-3 handle {handle} {}", rule.replace("mod 3", "mod 2")));
    assert_eq!(world.dry_run().code, Some(1), "the dry run shows it");
    world.sync();
    world.settle();
    assert_eq!(first_rule(&world, "pick-3").1, rule);
    world.assert_web_reaches(&[11, 12, 13]);
}

#[test]
fn own_commits_and_commits_to_other_tables_are_no_drift() {
    let Some(cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    until(&proxy, "it watches over the tables", || proxy.log().contains("watching over our tables"));
    let nft = |commands: &str| {
        let finished = cluster.node.nft_with_input(&["-f", "-"], commands);
        assert_eq!(finished.code, Some(0), "{commands}: {}", finished.stderr);
    };
    nft("add table inet firewall\nadd set inet firewall blocked { type ipv4_addr; }");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for n in (1..=250).cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                nft(&format!("add element inet firewall blocked {{ 192.0.2.{n} }}"));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let began = Instant::now();
        let mut round = 0_u16;
        // An hour of it is a search of its own (tests/README.md).
        let wanted = std::env::var("POINTSMAN_OWN_COMMITS_SECONDS").ok().and_then(|text| text.parse().ok());
        let (lasting, pause) = wanted.map_or((15, 1), |seconds: u64| (seconds, 5));
        while began.elapsed() < Duration::from_secs(lasting) {
            // Elements that are replaced, classes that come, and Services that come and go.
            cluster.endpoints(&[11 + round % 3, 14 + round % 2]);
            let name = format!("shop/s{}", round % 40);
            let service = apiserver::service(&name, &format!("10.96.7.{}", 1 + round % 40));
            match round / 40 % 2 {
                0 => cluster.server.apply(service),
                _ => cluster.server.delete(apiserver::Resource::Services, &name),
            }
            round = round.wrapping_add(1);
            std::thread::sleep(Duration::from_millis(pause));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    std::thread::sleep(Duration::from_millis(1_500));
    let metrics = proxy.metrics(&cluster.node.host);
    let shown = |start: &str| metrics.lines().find(|line| line.starts_with(start)).unwrap_or("none").to_owned();
    println!("{}; {}", shown("pointsman_syncs_total{result=\"committed\"}"), shown("pointsman_foreign_commits_total"));
    assert_eq!(count(&proxy, FOUND), 0, "{}", proxy.log());
    assert_eq!(shown("pointsman_drifts_total"), "none");
    if can_look() {
        assert_ne!(shown("pointsman_foreign_commits_total"), "none", "{metrics}");
    }
    assert!(!metrics.contains("pointsman_read_backs_total{cause=\"failure\"}"), "{metrics}");
}

#[test]
fn tables_with_every_kind_of_set_are_as_expected_after_commits_of_others() {
    if !can_look() {
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let every = service("shop/every").dual_stack(40).port("http", 80).session_affinity(600).node_port("http", 30_080);
    let mut every: serde_json::Value = every.external_ip("203.0.113.10").into();
    every["spec"]["type"] = serde_json::json!("LoadBalancer");
    every["spec"]["externalTrafficPolicy"] = serde_json::json!("Local");
    every["spec"]["loadBalancerSourceRanges"] = serde_json::json!(["192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32"]);
    every["status"] = serde_json::json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.11"}]}});
    world.manifests.apply(every);
    world.manifests.apply(service("shop/none").dual_stack(41).port("http", 80));
    for family in Family::ALL {
        let slice = slice_of("shop/every", family).port("http", 8080);
        world.manifests.apply(slice.endpoints((11..=20).map(|pod| family.pod_ip(pod))));
    }
    let proxy = watching(&world, &[]);
    nft(&world, "add table inet other");
    let is_compared = || {
        let metrics = proxy.metrics(&world.node.host);
        metrics.contains("pointsman_tables_verified_timestamp_seconds{extent=\"elements\"}")
    };
    until(&proxy, "everything was compared", is_compared);
    assert_eq!(count(&proxy, FOUND), 0, "{}", proxy.log());
    let listing = world.node.nft(&["list", "table", "ip", "pointsman"]);
    for set in [
        "map source-checks ",
        "map recall-clients ",
        "map nodeport-remember-clients ",
        "affinity-slots-16 ",
        "map endpoint-ids ",
        "map endpoints-by-id ",
        "map clients-10.96.0.40-tcp-80 ",
        "set hairpin ",
    ] {
        assert!(listing.contains(set), "{set} is not in {listing}");
    }
    world.settle();
}

#[test]
fn under_changes_a_flush_is_repaired_as_well() {
    if !can_look() {
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let proxy = watching(&world, &[]);
    let is_over = AtomicBool::new(false);
    let outage = std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0_u16.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("shop/s{}", round % 50);
                let slice = slice_of(&name, Family::V4).port("http", 8080).endpoint(Family::V4.pod_ip(20 + round % 7));
                world.manifests.apply(service(&name).dual_stack(100 + round % 50).port("http", 80));
                world.manifests.apply(slice);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        std::thread::sleep(Duration::from_millis(500));
        let outage = outage(&world, &proxy, || nft(&world, "flush ruleset"));
        std::thread::sleep(Duration::from_millis(500));
        is_over.store(true, Ordering::Relaxed);
        outage
    });
    until(&proxy, "it is repaired", || count(&proxy, REPAIRED) == 1);
    println!("under changes: answers again after {outage:?}; {}", line(&proxy, FOUND));
    assert!(line(&proxy, FOUND).contains(writer()), "{}", proxy.log());
    world.settle();
    world.assert_web_reaches(&[11, 12, 13]);
}

#[test]
fn the_reloads_of_a_firewall_manager_are_repaired_each_time_and_told() {
    if !can_look() {
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let proxy = watching(&world, &[]);
    let firewall =
        "flush ruleset\nadd table inet firewall\nadd chain inet firewall input { type filter hook input priority 0; }";
    for reload in 1..=3 {
        let outage = outage(&world, &proxy, || nft(&world, firewall));
        until(&proxy, "it is repaired", || count(&proxy, REPAIRED) == reload);
        println!("reload {reload}: answers again after {outage:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
    world.settle();
    assert!(world.node.nft(&["list", "tables"]).contains("inet firewall"), "the other table stays");
    assert_eq!(count(&proxy, "soon after each of 2 repairs"), 1, "{}", proxy.log());
}

#[test]
fn a_program_that_undoes_repairs_is_named_and_the_repairs_slow_down() {
    if !can_look() {
        return;
    }
    if !requirements::kernel_counts_elements() {
        requirements::skip("the kernel does not count elements, so comparisons set the pace of these repairs");
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let proxy = watching(&world, &[]);
    let began = Instant::now();
    let mut deletions = 0;
    while began.elapsed() < Duration::from_secs(10) {
        let delete = world.node.nft_with_input(&["-f", "-"], "delete element ip pointsman cluster-ips { 10.96.0.10 }");
        deletions += u32::from(delete.code == Some(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    let repairs = count(&proxy, REPAIRED);
    println!("{deletions} deletions and {repairs} repairs within {:?}", began.elapsed());
    // At once twice, then after a second each. The first four are told, then the eighth.
    assert!((4..=6).contains(&repairs), "{}", proxy.log());
    assert!((7..=14).contains(&deletions), "{deletions}: {}", proxy.log());
    let told = line(&proxy, "soon after each of");
    assert!(told.contains(writer()) && told.contains("The next repair waits"), "{told}");
    until(&proxy, "the last one is repaired", || world.dry_run().code == Some(0));
}

#[test]
fn an_observer_tells_and_repairs_nothing_and_without_a_watch_nothing_is_told() {
    if !can_look() {
        return;
    }
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let proxy = watching(&world, &["--drift", "observe"]);
    nft(&world, "delete element ip pointsman cluster-ips { 10.96.0.10 }");
    until(&proxy, "it is told", || count(&proxy, FOUND) == 1);
    assert!(line(&proxy, FOUND).contains("They are only observed (--drift observe)"), "{}", proxy.log());
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(world.dry_run().code, Some(1), "it is not repaired");
    nft(&world, "add element ip pointsman cluster-ips { 10.96.0.10 }");
    until(&proxy, "it is over", || count(&proxy, REPAIRED) == 1);
    drop(proxy);
    let proxy = world.node.start_pointsman(&["--manifests", world.manifests.path(), "--watch", "--drift", "off"]);
    until(&proxy, "it has synced", || proxy.log().contains("nothing had to change"));
    nft(&world, "delete element ip pointsman cluster-ips { 10.96.0.10 }");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!((count(&proxy, FOUND), world.dry_run().code), (0, Some(1)), "{}", proxy.log());
}
