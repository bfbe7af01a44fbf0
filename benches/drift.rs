//! What it costs to watch over the tables, and how soon they are repaired. In network namespaces of its own. Needs root and nft.
//!
//! - a commit of one element with a listener open and without, in turns (median);
//! - a start over empty tables with the watch and without, in turns (median);
//! - a look at tables of several kinds (median);
//! - a large cluster after another program changed its tables: from the end of that program to the acknowledged repair.
//!
//! ```text
//! cargo bench --bench drift [-- [--docs]]        --docs writes docs/performance.md
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

use std::io::Write as _;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::cluster::{self, Size};
use common::figures::{Spread, head, milliseconds, table, time};
use common::machine::Machine;
use common::{docs, namespace, nft};
use pointsman::apply::{Backend, Netlink};
use pointsman::dataplane::{Element, ElementCounts, Family, Key, Object, Operation, SetName};
use pointsman::diff::Acknowledged;
use pointsman::drift::Reaction;
use pointsman::state::{Decoded, Event, Service};
use running_loop::RunningLoop;
use tokio::time::Instant;

/// Rounds with a listener and as many without.
const ROUNDS: usize = 40;
/// Commits in each.
const COMMITS: u32 = 2_000;
/// Starts with the watch and as many without.
const STARTS: usize = 45;
/// Looks at each kind of table.
const LOOKS: usize = 50;
/// The cluster that starts and is repaired.
const LARGE: Size = Size { services: 10_000, endpoints: 5 };
/// What a commit may take longer, in milliseconds.
const COMMIT_GOAL: f64 = 0.003;
/// How many times as long a start may take.
const START_GOAL: f64 = 1.03;
/// Nothing is committed for so long: the tables are as they should be.
const QUIET: Duration = Duration::from_millis(500);

fn main() {
    let docs_too = std::env::args().any(|arg| arg == "--docs");
    let mut rows = Vec::new();
    let mut row = |what: &str, figures: String| rows.push(vec![what.to_owned(), figures]);
    let (without, with, differences) = in_a_namespace(commits);
    let more = Spread::of(differences).p50;
    let verdict = |met: bool| if met { "met" } else { "missed" };
    row("a commit of one element, without a listener", time(without));
    row("the same, with a listener", time(with));
    let goal = verdict(more <= COMMIT_GOAL);
    row(
        "more, in the median of rounds side by side",
        format!("{:.1} µs; the goal is at most 3 µs: {goal}", more * 1e3),
    );
    let large = cluster::all(LARGE);
    let starts: Vec<[f64; 2]> = (0..STARTS).map(|n| start_both(&large, n % 2 == 0)).collect();
    let of = |n: usize| starts.iter().map(|pair| pair[n]).collect::<Vec<f64>>();
    let paired = Spread::of(starts.iter().map(|[without, with]| with / without).collect()).p50;
    let size = LARGE.to_string();
    row(&format!("a start of {size} over empty tables, without the watch: median"), time(Spread::of(of(0)).p50));
    row("the same, with the watch: median", time(Spread::of(of(1)).p50));
    let goal = verdict(paired <= START_GOAL);
    row(
        &format!("as many times as long, in the median of {STARTS} pairs side by side"),
        format!("{paired:.3}; the goal is at most 1.03: {goal}"),
    );
    for (what, events) in [
        ("a look at the tables of 3 Services", cluster::all(Size { services: 3, endpoints: 3 })),
        ("a look at 10,000 × 5", large),
        (
            "a look at 5,000 Services with session affinity",
            edited(5_000, |service| service.session_affinity = NonZeroU32::new(60)),
        ),
        ("a look at 1,000 load-balancer IPs with 10 source ranges each", edited(1_000, limit)),
    ] {
        row(what, time(in_a_namespace(move || look(events))));
    }
    for (what, took) in in_a_namespace(repairs) {
        row(&format!("{size}, {what}: repaired after"), time(milliseconds(took)));
    }
    println!("{}\n", Machine::this());
    let text = table(&head(&["What", "time"]), &rows);
    println!("{text}");
    if docs_too {
        docs::replace("drift", &text);
    }
}

/// Runs work in a thread with a network namespace of its own, which threads and programs that it starts share.
fn in_a_namespace<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let run = || {
        namespace::leave();
        work()
    };
    std::thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Milliseconds of a commit without a listener and with one, and how much more the latter takes in each pair of rounds.
fn commits() -> (f64, f64, Vec<f64>) {
    namespace::runtime().block_on(async {
        let mut netlink = Netlink::open().expect("netlink works");
        let set = SetName::ClusterIps;
        let begin = [Operation::add(Family::Ip, Object::Table), Operation::add(Family::Ip, Object::Set(set))];
        netlink.commit(&begin).await.expect("committed");
        let element = |n: u32| Element::member(set, Key::Addr(cluster::cluster_ip(n % 250).into()));
        let (mut medians, mut differences) = ([Vec::new(), Vec::new()], Vec::new());
        for round in 0..ROUNDS {
            let mut pair = [0.0; 2];
            // Either is the first as often as the other.
            for turn in [round % 2, 1 - round % 2] {
                let listener = (turn == 1).then(|| netlink.listen().expect("a socket").expect("it can listen"));
                let mut times = Vec::new();
                for n in 0..COMMITS {
                    let add = if n % 2 == 0 { Operation::add_element } else { Operation::delete_element };
                    let operation = add(element(n / 2));
                    let began = Instant::now();
                    netlink.commit(&[operation]).await.expect("committed");
                    times.push(began.elapsed());
                }
                pair[turn] = Spread::of_times(times).p50;
                medians[turn].push(pair[turn]);
                if let Some(mut listener) = listener {
                    assert_eq!(listener.waiting_news().expect("open"), None, "own commits are not heard");
                }
            }
            differences.push(pair[1] - pair[0]);
        }
        let [without, with] = medians.map(|all| Spread::of(all).p50);
        (without, with, differences)
    })
}

/// Milliseconds of a start without the watch and with it.
fn start_both(events: &[Event], watched_first: bool) -> [f64; 2] {
    let mut both = [0.0; 2];
    for with in [watched_first, !watched_first] {
        let events = events.to_vec();
        let took = in_a_namespace(move || {
            let began = Instant::now();
            let looped = start(events, with);
            let took = began.elapsed();
            looped.stop();
            took
        });
        both[usize::from(with)] = milliseconds(took);
    }
    both
}

/// Milliseconds of a look at the tables of such a cluster.
fn look(events: Vec<Event>) -> f64 {
    start(events, false).stop();
    namespace::runtime().block_on(async {
        let mut netlink = Netlink::open().expect("netlink works");
        let held = Acknowledged::from(netlink.read(&Family::ALL).await.expect("read"));
        let mut counts = ElementCounts::default();
        counts.restart(&held.count_elements());
        let mut times = Vec::new();
        for _ in 0..LOOKS {
            let began = Instant::now();
            let outline = netlink.outline(&Family::ALL).await.expect("read").expect("an outline");
            let deviations = held.deviations(&outline, &counts, &Family::ALL);
            times.push(began.elapsed());
            assert_eq!(deviations, []);
        }
        Spread::of_times(times).p50
    })
}

/// How long it takes until the tables of a large cluster are repaired, after each of some changes.
fn repairs() -> Vec<(&'static str, Duration)> {
    let looped = start(cluster::all(LARGE), true);
    let mut all = Vec::new();
    for (what, commands) in [
        ("`flush ruleset`", "flush ruleset".to_owned()),
        ("one element deleted", format!("delete element ip pointsman cluster-ips {{ {} }}", cluster::cluster_ip(7))),
        ("`flush map ip pointsman endpoints`", "flush map ip pointsman endpoints".to_owned()),
    ] {
        // Also what an earlier repair left.
        while looped.commits.recv_timeout(QUIET * 4).is_ok() {}
        load(&commands);
        let began = Instant::now();
        let mut last = looped.commits.recv_timeout(Duration::from_secs(60)).expect("a repair").ended;
        while let Ok(commit) = looped.commits.recv_timeout(QUIET) {
            last = commit.ended;
        }
        all.push((what, last.saturating_duration_since(began)));
    }
    looped.stop();
    all
}

/// Runs nft in the namespace of this thread.
fn load(commands: &str) {
    let mut child = Command::new(nft()).args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft starts");
    child.stdin.take().expect("piped").write_all(commands.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "{commands}");
}

/// A loop that watches over its tables or does not.
fn start(lists: Vec<Event>, watching: bool) -> RunningLoop {
    RunningLoop::start(lists, move |proxy, _| if watching { proxy.watching_over(Reaction::Repair) } else { proxy })
}

/// A cluster of so many Services, each changed.
fn edited(services: u32, edit: fn(&mut Service)) -> Vec<Event> {
    let change = |decoded: Decoded<Service>| match decoded {
        Decoded::Object(mut service) => {
            edit(Arc::make_mut(&mut service));
            Decoded::Object(service)
        }
        other => other,
    };
    let change = |event: Event| match event {
        Event::ServicesReset(all) => Event::ServicesReset(all.into_iter().map(change).collect()),
        other => other,
    };
    cluster::all(Size { services, endpoints: 5 }).into_iter().map(change).collect()
}

/// With a load-balancer IP that only ten ranges may use.
fn limit(service: &mut Service) {
    let number = service.cluster_ips.iter().find_map(|addr| match addr {
        std::net::IpAddr::V4(addr) => Some(addr.to_bits()),
        std::net::IpAddr::V6(_) => None,
    });
    service.load_balancer_ips =
        number.map(|n| std::net::Ipv4Addr::from_bits(n | 0x8000_0000).into()).into_iter().collect();
    service.source_ranges = (0..10).map(|n| format!("192.0.{n}.0/24").parse().expect("a network")).collect();
}
