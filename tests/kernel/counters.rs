//! Counters: what packets count equals what was sent, whatever changes meanwhile.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::manifests::{service, slice_of};
use crate::common::netns::{Failure, Family, Finished, Proxy, Request, Transport};
use crate::world::{PORT, TARGET_PORT, World};

/// So long a packet that is dropped is waited for. A UDP client sends one packet.
const SHORT: Duration = Duration::from_millis(40);

/// What was counted: by family, service port and result.
type Counted = BTreeMap<(String, String, String), u64>;

fn start(world: &World, counters: bool) -> Proxy {
    let mut args = vec!["--manifests", world.manifests.path(), "--watch", "--nodeport-addresses", "192.0.2.0/24"];
    args.extend(counters.then_some("--counters"));
    let proxy = world.node.start_pointsman(&args);
    settle(world, counters, &proxy);
    proxy
}

/// Waits until the kernel holds what the manifests say, and the program of a proxy with or without counters.
fn settle(world: &World, counters: bool, proxy: &Proxy) {
    let mut args = vec!["--manifests", world.manifests.path(), "--dry-run", "--nodeport-addresses", "192.0.2.0/24"];
    args.extend(counters.then_some("--counters"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let plan = world.node.pointsman(&args);
        if plan.code == Some(0) {
            return;
        }
        assert!(Instant::now() < deadline, "{}\n{}", plan.stdout, proxy.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The metrics, once they were read at this moment.
fn counted(world: &World, proxy: &Proxy) -> Counted {
    // What was read just now is not read again.
    std::thread::sleep(Duration::from_millis(400));
    let page = proxy.metrics(&world.node.host);
    let lines = page.lines().filter_map(|line| line.strip_prefix("pointsman_service_connections_total{"));
    let parse = |line: &str| {
        let (labels, count) = line.split_once("} ").expect("a sample");
        let value = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\"")).expect("a label");
            rest.split('"').next().expect("a value").to_owned()
        };
        ((value("ip_family"), value("service_port"), value("result")), count.parse().expect("a count"))
    };
    lines.map(parse).collect()
}

/// The counts of a service port: new, refused and dropped.
fn of(counted: &Counted, family: Family, port: &str) -> [u64; 3] {
    let family = if family == Family::V4 { "IPv4" } else { "IPv6" };
    ["new", "refused", "dropped"].map(|result| {
        let key = (family.to_owned(), port.to_owned(), result.to_owned());
        counted.get(&key).copied().unwrap_or_default()
    })
}

fn top(world: &World, args: &[&str]) -> Finished {
    let mut command = world.node.host.command(env!("CARGO_BIN_EXE_pointsman"));
    command.arg("top").args(args).env_remove("POINTSMAN_LOG").output().expect("it starts").into()
}

/// The Service with this number: over TCP if it is even, else over UDP; every third one with session affinity.
fn one_of_ten(n: u16) -> (String, Transport, Value) {
    let name = format!("load/s{n}");
    let transport = Transport::ALL[usize::from(n % 2)];
    let described = service(&name).dual_stack(100 + n);
    let described = match transport {
        Transport::Tcp => described.port("p", PORT),
        Transport::Udp => described.udp_port("p", PORT),
    };
    (name, transport, if n.is_multiple_of(3) { described.session_affinity(600).into() } else { described.into() })
}

fn set_endpoints(world: &World, n: u16, pods: &[u16]) {
    let (name, transport, _) = one_of_ten(n);
    for family in Family::ALL {
        let slice = slice_of(&name, family).port_of(&transport.to_string().to_uppercase(), "p", TARGET_PORT);
        world.manifests.apply(slice.endpoints(pods.iter().map(|pod| family.pod_ip(*pod))));
    }
}

#[test]
fn ten_thousand_connections_over_twenty_frontends_are_counted_while_endpoints_change() {
    const EACH: u16 = 500;
    let Some(world) = World::new() else { return };
    let pods: Vec<u16> = (11..31).collect();
    world.serve(&pods);
    for n in 0..10 {
        world.manifests.apply(one_of_ten(n).2);
        set_endpoints(&world, n, &pods[..3]);
    }
    let proxy = start(&world, true);
    let is_done = AtomicBool::new(false);
    let (mut changes, mut classes) = (0, std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        let clients = Family::ALL.map(|family| {
            let world = &world;
            scope.spawn(move || {
                for _ in 0..EACH / 50 {
                    for n in 0..10 {
                        let (_, transport, _) = one_of_ten(n);
                        let request = world.node.request(transport, family.cluster_ip(100 + n), PORT);
                        for answer in request.send_many(50) {
                            answer.expect("every connection is served");
                        }
                    }
                }
            })
        });
        scope.spawn(|| {
            clients.into_iter().for_each(|client| client.join().expect("all are served"));
            is_done.store(true, Ordering::Relaxed);
        });
        while !is_done.load(Ordering::Relaxed) {
            // From 1 to 20 endpoints: into other classes and back, also large ones.
            let n = changes % 10;
            let size = usize::from(1 + changes * 7 % 20);
            classes.insert(size);
            set_endpoints(&world, n, &pods[..size]);
            changes += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    settle(&world, true, &proxy);
    let counts = counted(&world, &proxy);
    for family in Family::ALL {
        for n in 0..10 {
            assert_eq!(of(&counts, family, &format!("load/s{n}:p")), [EACH.into(), 0, 0], "{family} {n}: {counts:?}");
        }
    }
    println!(
        "{changes} changes of endpoints, {} sizes, {} connections counted",
        classes.len(),
        counts.values().sum::<u64>()
    );
    assert!(changes > 20, "{changes} changes");

    // A restart adopts what was counted; and nothing of it looks like another program's change.
    proxy.kill();
    let proxy = start(&world, true);
    assert_eq!(counted(&world, &proxy), counts);
    world.node.nft(&["add", "table", "ip", "other"]);
    std::thread::sleep(Duration::from_millis(500));
    let metrics = proxy.metrics(&world.node.host);
    assert!(!metrics.contains("pointsman_drifts_total{"), "{}", proxy.log());
}

#[test]
fn refused_and_dropped_connections_are_counted_for_their_service() {
    const VIP: &str = "203.0.113.10";
    let Some(world) = World::new() else { return };
    world.serve(&[11]);
    let both = |name: &str, number| service(name).dual_stack(number).port_of_both_transports(PORT);
    world.manifests.apply(both("shop/none", 50).node_port("udp", 30_050));
    world.manifests.apply(both("shop/local", 51).internal_traffic_local());
    world.manifests.apply(both("shop/guarded", 52).firewalled(VIP, &["198.51.100.0/24"]));
    for family in Family::ALL {
        let slice = |name| slice_of(name, family).port_of_both_transports(TARGET_PORT).endpoint(family.pod_ip(11));
        world.manifests.apply(slice("shop/local").on("node-b"));
        world.manifests.apply(slice("shop/guarded"));
    }
    let proxy = start(&world, true);
    let to = |transport, addr: IpAddr, port| world.node.request(transport, addr, port).timeout(SHORT);
    let from_host = |family: Family, number| {
        let request = Request::new(&world.node.host, Transport::Udp, (family.cluster_ip(number), PORT).into());
        request.timeout(SHORT).send()
    };
    for family in Family::ALL {
        let ask = |transport, number| to(transport, family.cluster_ip(number), PORT);
        for (transport, number, times, expected) in [
            (Transport::Tcp, 50, 7, Failure::Refused),
            (Transport::Udp, 50, 5, Failure::Refused),
            (Transport::Udp, 51, 4, Failure::TimedOut),
        ] {
            for answer in ask(transport, number).send_many(times) {
                assert_eq!(answer, Err(expected), "{family} {transport} {number}");
            }
        }
        assert!(ask(Transport::Udp, 52).send().is_ok(), "{family}");
        assert_eq!(from_host(family, 50), Err(Failure::Refused), "{family}");
    }
    let vip: IpAddr = VIP.parse().expect("an address");
    for answer in to(Transport::Udp, vip, PORT).send_many(6) {
        assert_eq!(answer, Err(Failure::TimedOut));
    }
    for answer in to(Transport::Udp, "192.0.2.1".parse().expect("an address"), 30_050).send_many(3) {
        assert_eq!(answer, Err(Failure::Refused));
    }
    // A port that no Service has is refused and counts for none.
    assert_eq!(to(Transport::Udp, Family::V4.cluster_ip(50), 81).send(), Err(Failure::Refused));

    let counts = counted(&world, &proxy);
    for (family, port, expected) in [
        (Family::V4, "shop/none:tcp", [0, 7, 0]),
        (Family::V6, "shop/none:tcp", [0, 7, 0]),
        (Family::V4, "shop/none:udp", [0, 5 + 1 + 3, 0]),
        (Family::V6, "shop/none:udp", [0, 5 + 1, 0]),
        (Family::V4, "shop/local:udp", [0, 0, 4]),
        (Family::V6, "shop/local:udp", [0, 0, 4]),
        (Family::V4, "shop/guarded:udp", [1, 0, 6]),
        (Family::V6, "shop/guarded:udp", [1, 0, 0]),
    ] {
        assert_eq!(of(&counts, family, port), expected, "{family} {port}: {counts:?}");
    }
    assert_eq!(counts.values().sum::<u64>(), 7 + 7 + 9 + 6 + 4 + 4 + 7 + 1);

    // The command shows the same.
    let shown = top(&world, &["--interval", "1s", "-o", "json"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(shown["total"]["connections"], serde_json::json!({"new": 2, "refused": 29, "dropped": 14}), "{shown}");
    let local =
        shown["servicePorts"].as_array().expect("a list").iter().find(|port| port["servicePort"] == "shop/local:udp");
    let local = local.expect("it is listed");
    assert_eq!((&local["used"], &local["endpoints"]), (&0.into(), &1.into()), "{shown}");
    let shown = top(&world, &["--interval", "1s", "--sort", "dropped", "--limit", "1"]);
    println!("{}", shown.stdout);
    assert!(shown.stdout.lines().nth(1).is_some_and(|line| line.starts_with("shop/local:udp ")), "{}", shown.stdout);

    // The series and the counts of a Service go with it.
    world.manifests.delete("Service", "shop/none");
    settle(&world, true, &proxy);
    assert!(!counted(&world, &proxy).keys().any(|(_, port, _)| port.starts_with("shop/none")));
    for set in ["refused-connections", "nodeport-refused-connections"] {
        let listing = world.node.nft(&["list", "set", "ip", "pointsman", set]);
        assert!(!listing.contains("elements"), "{listing}");
    }
}

#[test]
fn counters_are_switched_on_and_off_at_a_restart_and_no_connection_is_lost() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let proxy = start(&world, false);
    let without = world.objects();
    let answer = top(&world, &["--interval", "1s"]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.contains("Start it with --counters"), "{}", answer.stderr);
    assert_eq!(counted(&world, &proxy), Counted::new());
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut sent = 0;
            while !is_done.load(Ordering::Relaxed) {
                for family in Family::ALL {
                    world.ask_web(family, Transport::Udp).expect("every connection is served");
                    sent += 1;
                }
                // Each connection takes a source port of the client, of which there are some thousands.
                std::thread::sleep(Duration::from_millis(3));
            }
            sent
        });
        proxy.kill();
        for counters in [true, false, true, true, false] {
            let proxy = start(&world, counters);
            let listing = world.objects();
            if !counters {
                assert_eq!(strip(&listing), strip(&without), "nothing is left of the counters");
            }
            let counts = counted(&world, &proxy);
            assert_eq!(of(&counts, Family::V4, "default/web:udp")[0] > 0, counters, "{counts:?}");
            proxy.kill();
        }
        is_done.store(true, Ordering::Relaxed);
        println!("{} connections while counters were switched", clients.join().expect("all are served"));
    });
}

/// Objects without the kernel's numbers of them, in order.
fn strip(objects: &[Value]) -> Vec<String> {
    let mut all: Vec<String> = objects
        .iter()
        .map(|object| {
            let mut object = object.clone();
            for (_, inner) in object.as_object_mut().into_iter().flatten() {
                inner.as_object_mut().map(|inner| inner.remove("handle"));
            }
            object.to_string()
        })
        .collect();
    all.sort();
    all
}
