//! What a small change of one Service waits while a huge change of another is made. Needs root.
//!
//! The real loop runs on the real kernel in a network namespace of its own, with its followers and its watch over other programs. A cluster
//! of 1,000 Services is programmed. Then 100 times a second an endpoint of one of them is replaced, first alone, then while a
//! million elements of another Service arrive, and go again. The wait is the time from the event to the acknowledged commit that makes the new
//! endpoint reachable.
//!
//! ```text
//! cargo bench --bench fairness [-- [--docs] [--elements N] [--only KIND,KIND]]   default: 1000000 elements; --docs writes docs/performance.md
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop and may print")]

#[path = "common/mod.rs"]
mod common;
#[allow(dead_code, reason = "it serves other benchmarks, too")]
#[path = "scale/metered.rs"]
mod metered;
#[allow(dead_code, reason = "it serves other benchmarks, too")]
#[path = "common/running_loop.rs"]
mod running_loop;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::cluster::{self, NAMESPACE, Size};
use common::figures::{Spread, head, milliseconds, table, thousands, time};
use common::machine::Machine;
use common::{docs, namespace};
use metered::Commit;
use pointsman::conntrack::{ConntrackFollower, ConntrackSocket};
use pointsman::dataplane::Family;
use pointsman::drift::Reaction;
use pointsman::state::Event;
use running_loop::RunningLoop;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Changes a second.
const RATE: u32 = 100;
/// How many changes are made without another, to compare with.
const ALONE: u32 = 500;
/// The cluster.
const SIZE: Size = Size { services: 1_000, endpoints: 5 };
/// Ports of the huge Service.
const PORTS: u32 = 50;
/// What 99 of 100 changes may wait.
const GOAL: f64 = 100.0;
/// How long nothing may be committed until a huge change counts as done.
const QUIET: Duration = Duration::from_millis(500);

/// What a Service has so many of.
#[derive(Clone, Copy, Debug)]
enum Many {
    Endpoints,
    EndpointsWithAffinity,
    Ranges,
}

/// What happened while a huge change was made.
struct Measured {
    what: String,
    waits: Vec<f64>,
    operations: usize,
    took: Duration,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let elements = args.iter().position(|arg| arg == "--elements").and_then(|at| args.get(at + 1)?.parse().ok());
    let elements: u32 = elements.unwrap_or(1_000_000);
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1));
    namespace::leave();
    let looped = start(cluster::all(SIZE));
    let mut all = vec![Measured::while_running(&looped, "no other change", None)];
    let kinds = [
        (Many::Endpoints, "endpoints", "20 addresses × 50 ports × 1,000 endpoints"),
        (Many::EndpointsWithAffinity, "affinity", "10 addresses × 50 ports × 1,000 endpoints, with session affinity"),
        (Many::Ranges, "ranges", "10 load-balancer IPs × 50 ports × 2,000 source ranges"),
    ];
    let is_wanted = |kind: &str| only.is_none_or(|only| only.split(',').any(|name| name == kind));
    for (many, _, what) in kinds.into_iter().filter(|(_, kind, _)| is_wanted(kind)) {
        let (come, go) = huge(many, elements);
        all.push(Measured::while_running(&looped, &format!("{what} arrive"), Some(come)));
        all.push(Measured::while_running(&looped, "these are compared", None));
        all.push(Measured::while_running(&looped, "and go", Some(go)));
    }
    println!("{}\n", Machine::this());
    let text = report(&all);
    println!("{text}");
    if args.iter().any(|arg| arg == "--docs") {
        assert!(only.is_none(), "docs/performance.md has the table of all");
        docs::replace("fairness", &text);
    }
}

fn report(all: &[Measured]) -> String {
    let titles = ["Meanwhile", "operations", "which take", "changes", "p50", "p99", "longest", "p99 at most 100 ms"];
    let row = |measured: &Measured| {
        let spread = Spread::of(measured.waits.clone());
        let longest = measured.waits.iter().copied().fold(0.0, f64::max);
        vec![
            measured.what.clone(),
            thousands(measured.operations as u64),
            if measured.operations == 0 { "—".to_owned() } else { time(milliseconds(measured.took)) },
            thousands(measured.waits.len() as u64),
            time(spread.p50),
            time(spread.p99),
            time(longest),
            if spread.p99 <= GOAL { "met" } else { "missed" }.to_owned(),
        ]
    };
    table(&head(&titles), &all.iter().map(row).collect::<Vec<_>>())
}

/// A loop with its followers and its watch, whose commits so far are taken.
fn start(lists: Vec<Event>) -> RunningLoop {
    let looped = RunningLoop::start(lists, |proxy, supervisor| {
        let (conntrack, _) = ConntrackFollower::start(&Family::ALL, ConntrackSocket::default(), supervisor);
        proxy.with(conntrack).watching_over(Reaction::Repair)
    });
    while looped.commits.try_recv().is_ok() {}
    looped
}

impl Measured {
    /// Changes one Service again and again, until a huge change of another is done.
    fn while_running(looped: &RunningLoop, what: &str, huge: Option<Vec<Event>>) -> Self {
        let mut sent: BTreeMap<IpAddr, Instant> = BTreeMap::new();
        let (mut waits, mut operations) = (Vec::new(), 0);
        let begun = Instant::now();
        let (is_alone, mut done) = (huge.is_none(), None);
        huge.into_iter().flatten().for_each(|event| looped.send(event));
        for n in 0_u32.. {
            let is_over = if is_alone { n == ALONE } else { done.is_some_and(|done: Instant| done.elapsed() > QUIET) };
            if is_over {
                break;
            }
            let due = begun + Duration::from_secs(1) * n / RATE;
            // The same address never comes twice.
            let addr = cluster::later_ip(0x1_0000 + fresh());
            let event = replacing(addr);
            while let Ok(commit) = looped.commits.recv_timeout(due.saturating_duration_since(Instant::now())) {
                take(&commit, &mut sent, &mut waits);
                // A small change has a few.
                if commit.operations > 50 {
                    operations += commit.operations;
                    done = Some(commit.ended);
                }
            }
            sent.insert(addr.into(), Instant::now());
            looped.send(event);
        }
        while !sent.is_empty() {
            take(&looped.commits.recv_timeout(Duration::from_secs(60)).expect("a commit"), &mut sent, &mut waits);
        }
        Self {
            what: what.to_owned(),
            waits,
            operations,
            took: done.map_or_else(Duration::default, |done| done.saturating_duration_since(begun)),
        }
    }
}

/// Notes what a commit makes reachable. An endpoint that was replaced before it was committed is reachable no more, and waited as long.
fn take(commit: &Commit, sent: &mut BTreeMap<IpAddr, Instant>, waits: &mut Vec<f64>) {
    for addr in &commit.arrived {
        let Some(at) = sent.get(addr).copied() else { continue };
        let replaced: Vec<IpAddr> = sent.iter().filter(|(_, other)| **other <= at).map(|(addr, _)| *addr).collect();
        waits.extend(replaced.iter().filter_map(|addr| sent.remove(addr)).map(|at| milliseconds(commit.ended - at)));
    }
}

/// A number that was not drawn before.
fn fresh() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// The slice of Service 0 with this endpoint in place of the first.
fn replacing(addr: Ipv4Addr) -> Event {
    let others = (1..SIZE.endpoints).map(cluster::pod_ip);
    let pods = std::iter::once(addr).chain(others).map(|addr| (addr, "node-1".to_owned()));
    one(cluster::applied(&[cluster::slice_of(&cluster::name(0), pods)]))
}

fn one(events: Vec<Event>) -> Event {
    events.into_iter().next().expect("an event")
}

/// A huge Service with about so many elements: the events with which it comes, and those with which it goes.
fn huge(many: Many, elements: u32) -> (Vec<Event>, Vec<Event>) {
    let for_each_port = elements / PORTS;
    let (addresses, endpoints, ranges) = match many {
        Many::Endpoints => (20, for_each_port / 20, 0),
        Many::EndpointsWithAffinity => (10, for_each_port / 20, 0),
        Many::Ranges => (10, 1, for_each_port / 10),
    };
    let first = 0xcb00_0000;
    let address = |n: u32| Ipv4Addr::from_bits(first + n).to_string();
    let ports = || (0..PORTS).map(|n| (format!("p{n}"), 1_000 + n));
    let mut service = cluster::service(500_000);
    service["metadata"]["name"] = json!("huge");
    service["spec"]["ports"] = ports()
        .map(|(name, port)| json!({"name": name, "port": port, "protocol": "TCP", "targetPort": port}))
        .collect();
    if matches!(many, Many::Ranges) {
        service["spec"]["type"] = json!("LoadBalancer");
        service["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
        service["spec"]["loadBalancerSourceRanges"] =
            (0..ranges).map(|n| format!("{}/{}", Ipv4Addr::from_bits(0x0a00_0000 + (n << 8)), 24 + n % 8)).collect();
        service["status"]["loadBalancer"]["ingress"] = (0..addresses).map(|n| json!({"ip": address(n)})).collect();
    } else {
        // The ClusterIP is one of the addresses.
        service["spec"]["externalIPs"] = (1..addresses).map(address).collect();
    }
    if matches!(many, Many::EndpointsWithAffinity) {
        service["spec"]["sessionAffinity"] = json!("ClientIP");
    }
    let pods = |n: u32| {
        let pods =
            (n * 1_000..endpoints.min((n + 1) * 1_000)).map(|p| (cluster::pod_ip(1_000_000 + p), "node-1".to_owned()));
        let mut slice = cluster::slice_of("huge", pods);
        slice["metadata"]["name"] = json!(format!("huge-{n}"));
        slice["ports"] = ports().map(|(name, port)| json!({"name": name, "port": port, "protocol": "TCP"})).collect();
        slice
    };
    let slices: Vec<Value> = (0..endpoints.div_ceil(1_000)).map(pods).collect();
    let come = cluster::applied(&[slices, vec![service]].concat());
    let name = |event: &Event| match event {
        Event::ServiceApplied(service) => service.object().map(|object| Event::ServiceDeleted(object.name.clone())),
        Event::SliceApplied(slice) => slice.object().map(|object| Event::SliceDeleted(object.name.clone())),
        _ => None,
    };
    let go: Vec<Event> = come.iter().filter_map(name).collect();
    assert_eq!(go.len(), come.len(), "each object of {NAMESPACE}/huge goes again");
    (come, go)
}
