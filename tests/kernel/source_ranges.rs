//! Many `loadBalancerSourceRanges`, and tables in which an earlier version kept them differently.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{page, until};
use crate::common::manifests::{Service, service, slice_of};
use crate::common::netns::{Failure, Family, Transport};
use crate::world::{PORT, TARGET_PORT, World, pod_number};

/// The Service behind the load balancer.
const NAME: &str = "default/lb";
/// Its load-balancer IP.
const VIP: &str = "203.0.113.10";
/// Its ClusterIP number.
const NUMBER: u16 = 50;

/// The Service with this many ports and ranges, none of which holds the client's address.
fn behind_load_balancer(ports: u16, ranges: usize) -> Value {
    let ports = (0..ports).map(|n| (format!("p{n}"), PORT + n));
    let described: Service = service(NAME).cluster_ip(Family::V4.cluster_ip(NUMBER));
    let described = ports.fold(described, |described, (name, port)| described.port(&name, port));
    let mut described = Value::from(described);
    described["spec"]["type"] = json!("LoadBalancer");
    let range = |n: usize| format!("10.{}.{}.0/{}", n / 256, n % 256, 24 + n % 2);
    described["spec"]["loadBalancerSourceRanges"] = (0..ranges).map(range).collect();
    described["status"] = json!({"loadBalancer": {"ingress": [{"ip": VIP}]}});
    described
}

/// Makes pod 11 the endpoint of these ports.
fn set_endpoints(world: &World, ports: u16) {
    let slice = slice_of(NAME, Family::V4).endpoint(Family::V4.pod_ip(11));
    world.manifests.apply((0..ports).fold(slice, |slice, n| slice.port(&format!("p{n}"), TARGET_PORT)));
}

/// A connection of the client to the load-balancer IP.
fn ask(world: &World) -> Result<u16, Failure> {
    let vip: IpAddr = VIP.parse().expect("an address");
    let request = world.node.request(Transport::Tcp, vip, PORT).timeout(Duration::from_millis(300));
    request.send().map(|answer| pod_number(answer.server.ip()))
}

/// Turns the table into one of version 0.1.0, which kept the ranges of all frontends in one set of intervals.
const ONE_SET: &str = "
    add set ip pointsman allowed-sources { typeof ip daddr . meta l4proto . th dport . ip saddr; flags interval; }
    add element ip pointsman allowed-sources { 203.0.113.10 . tcp . 80 . 192.0.2.2/31, 203.0.113.10 . tcp . 80 . 198.51.100.0/24 }
    add rule ip pointsman check-sources ip daddr . meta l4proto . th dport @firewalled \
        ip daddr . meta l4proto . th dport . ip saddr != @allowed-sources drop comment \"program 1111111111111111\"";

/// Or into one of a development version, which had a set for each length of prefixes.
const ONE_SET_FOR_EACH_LENGTH: &str = "
    add set ip pointsman allowed-sources-24 { typeof ip daddr . meta l4proto . th dport . ip saddr; }
    add set ip pointsman allowed-sources-31 { typeof ip daddr . meta l4proto . th dport . ip saddr; }
    add element ip pointsman allowed-sources-31 { 203.0.113.10 . tcp . 80 . 192.0.2.2 }
    add element ip pointsman allowed-sources-24 { 203.0.113.10 . tcp . 80 . 198.51.100.0 }
    add chain ip pointsman check-ranges
    add rule ip pointsman check-ranges ip daddr . meta l4proto . th dport . ip saddr & 255.255.255.0 @allowed-sources-24 return \
        comment \"program 2222222222222222\"
    add rule ip pointsman check-ranges ip daddr . meta l4proto . th dport . ip saddr & 255.255.255.254 @allowed-sources-31 return
    add rule ip pointsman check-ranges drop
    add rule ip pointsman check-sources ip daddr . meta l4proto . th dport @firewalled goto check-ranges \
        comment \"program 1111111111111111\"";

/// A start brings a table of an earlier version up to date in one batch, which the kernel makes valid at once: no packet meets rules without
/// ranges.
#[test]
fn a_table_with_sets_of_all_ranges_is_brought_up_to_date() {
    let Some(world) = World::with_web(&[11]) else { return };
    let mut service = behind_load_balancer(1, 0);
    set_endpoints(&world, 1);
    let with_ranges = |service: &mut Value, ranges: Value| {
        service["spec"]["loadBalancerSourceRanges"] = ranges;
        world.manifests.apply(service.clone());
    };
    for shape in [ONE_SET, ONE_SET_FOR_EACH_LENGTH] {
        with_ranges(&mut service, json!(["192.0.2.2/31", "198.51.100.0/24"]));
        world.sync();
        assert_eq!(ask(&world), Ok(11));
        let old = format!(
            "flush chain ip pointsman check-sources
            delete map ip pointsman source-checks
            delete chain ip pointsman check-sources-203.0.113.10-tcp-80
            delete set ip pointsman sources-203.0.113.10-tcp-80
            delete chain ip pointsman drop-other-sources
            add set ip pointsman firewalled {{ typeof ip daddr . meta l4proto . th dport; }}
            add element ip pointsman firewalled {{ 203.0.113.10 . tcp . 80 comment \"default/lb:p0\" }}{shape}"
        );
        let loaded = world.node.nft_with_input(&["-f", "-"], &old);
        assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
        assert_eq!(ask(&world), Ok(11), "the old table works");
        let proxy = world.start();
        world.settle();
        let listing = world.node.nft(&["list", "table", "ip", "pointsman"]);
        assert!(!listing.contains("allowed-sources") && !listing.contains("firewalled"), "{listing}");
        assert!(listing.contains("set sources-203.0.113.10-tcp-80 {"), "{listing}");
        assert_eq!(ask(&world), Ok(11));
        with_ranges(&mut service, json!(["198.51.100.0/24"]));
        world.settle();
        assert_eq!(ask(&world), Err(Failure::TimedOut), "{}", proxy.log());
        with_ranges(&mut service, json!(["0.0.0.0/1", "198.51.100.0/24", "192.0.0.0/2"]));
        world.settle();
        assert_eq!(ask(&world), Ok(11), "{}", proxy.log());
        with_ranges(&mut service, json!([]));
        world.settle();
        let listing = world.node.nft(&["list", "table", "ip", "pointsman"]);
        assert!(!listing.contains("sources"), "nothing is left of ranges: {listing}");
        assert_eq!(ask(&world), Ok(11), "{}", proxy.log());
    }
}

/// The number of operations that a sync logs.
fn operations(log: &str) -> usize {
    let numbers = log.lines().filter(|line| line.contains("committed")).filter_map(|line| {
        let (_, rest) = line.split_once("operations=")?;
        rest.split_whitespace().next()?.parse::<usize>().ok()
    });
    numbers.sum()
}

/// Two thousand ranges on fifty ports are a hundred thousand elements. Each is written once, and a change of another Service does not wait
/// for them.
#[test]
fn thousands_of_ranges_are_written_once_each_and_another_service_does_not_wait() {
    const PORTS: u16 = 50;
    /// The one in flight and the change itself, in each family; and on a busy machine some that pass before the manifests are read, and
    /// until the metrics are asked for.
    const MAX_COMMITS: u32 = 12;
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12]);
    set_endpoints(&world, PORTS);
    world.sync();
    // Another prefix length comes in between, and with the last the program shrinks again.
    let mut counts = Vec::new();
    for ranges in [250, 2_000] {
        world.manifests.apply(behind_load_balancer(PORTS, ranges));
        let began = Instant::now();
        let operations = operations(&world.sync_with_log());
        println!("{ranges} ranges on {PORTS} ports: {operations} operations in {:?}", began.elapsed());
        counts.push(operations - usize::from(PORTS) * ranges);
        assert_eq!(ask(&world), Err(Failure::TimedOut), "the client is in none of them");
        world.manifests.delete("Service", NAME);
        world.sync();
    }
    assert!(
        counts.iter().all(|count| *count < 12 * usize::from(PORTS)),
        "beside one operation for each range and port: {counts:?}"
    );
    let proxy = world.follow();
    until(&proxy, "the metrics are served", || page(&world.node.host, 10249, "/healthz").is_some());
    world.manifests.apply(behind_load_balancer(PORTS, 2_000));
    let commits = || -> u32 {
        let metrics = proxy.metrics(&world.node.host);
        let count = metrics.lines().find_map(|line| line.strip_prefix("pointsman_syncs_total{result=\"committed\"} "));
        count.and_then(|count| count.parse().ok()).unwrap_or_default()
    };
    let mut waits = Vec::new();
    let end = Instant::now() + Duration::from_secs(2);
    for turn in 0.. {
        if Instant::now() > end {
            break;
        }
        let pod = [12, 11][turn % 2];
        let (begin, before) = (Instant::now(), commits());
        world.set_web_endpoints(&[pod]);
        until(&proxy, "the other Service has its endpoint", || {
            world.ask_web(Family::V4, Transport::Tcp).map(|answer| pod_number(answer.server.ip())).ok() == Some(pod)
        });
        waits.push((commits() - before, begin.elapsed()));
    }
    world.settle();
    let (most, longest) = waits.iter().max().expect("some changes");
    println!("{} changes of another Service meanwhile, the longest wait: {most} commits, {longest:?}", waits.len());
    println!("{} commits in all", commits());
    // Commits, not seconds: on a busy machine a single commit of many ranges takes seconds.
    assert!(*most <= MAX_COMMITS, "{waits:?}");
    assert_eq!(ask(&world), Err(Failure::TimedOut));
}
