//! A flood of new flows over changes of every kind, on the real kernel: flows that fall between two snapshots are counted, and there is none.
//!
//! ```text
//! cargo test --test flood                                               some seconds
//! make flood FLOWS=10000000 TRANSITIONS=20000                           minutes, and prints what it saw
//! cargo test --test flood -- --flows N --transitions N --at-once        without a second phase: shows what it is for
//! ```

#![allow(clippy::disallowed_types, reason = "kernels and child processes live in real time, which no test can pause")]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test may stop, and may print")]

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod traffic;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster::{Flooded, Kind, NODE};
use common::netns::{Namespace, connect, requirements};
use pointsman::apply::{Backend, Netlink};
use pointsman::dataplane::{Family, Options};
use pointsman::diff::{Acknowledged, Scope};
use pointsman::engine::{Engine, EngineSettings, Moment, Next};
use pointsman::state::{NodePortAddresses, View};
use rand::SeedableRng;
use rand::rngs::StdRng;
use traffic::Counts;

/// How often one Service changes, under all packets, before the next one does.
const TURN: u64 = 100;

/// What a run has to reach.
struct Goal {
    flows: u64,
    transitions: u64,
    /// Everything is deleted with the change.
    at_once: bool,
}

/// What a run did.
#[derive(Debug, Default)]
struct Done {
    transitions: u64,
    commits: u64,
    counts: Counts,
}

/// The engine, and the kernel that it programs.
struct Driver {
    engine: Engine,
    backend: Netlink,
    began: Instant,
    commits: u64,
}

impl Goal {
    /// From the command line; without options a run of a few seconds.
    fn parse() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let number = |name: &str| {
            let at = args.iter().position(|arg| arg == name)?;
            Some(args.get(at + 1)?.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
        };
        Self {
            flows: number("--flows").unwrap_or(300_000),
            transitions: number("--transitions").unwrap_or(1_500),
            at_once: args.iter().any(|arg| arg == "--at-once"),
        }
    }
}

impl Driver {
    fn new(at_once: bool) -> Self {
        let network = "192.0.2.0/24".parse().expect("a network");
        let node_ports = NodePortAddresses::networks(vec![network]);
        let view = View { node_name: NODE.into(), node_ports, ..View::default() };
        let scope = Scope { families: vec![Family::Ip], ..Scope::dual_stack(Options::default()) };
        let mut settings = EngineSettings::new(scope, view);
        if at_once {
            settings.grace = None;
        }
        let backend = Netlink::open().expect("a netlink socket");
        Self { engine: Engine::new(settings), backend, began: Instant::now(), commits: 0 }
    }

    fn now(&self) -> Moment {
        Moment::from_start(self.began.elapsed())
    }

    fn fold(&mut self, events: Vec<pointsman::state::Event>) {
        events.into_iter().for_each(|event| drop(self.engine.fold(event)));
        self.engine.compile();
    }

    /// Commits all that is due.
    async fn commit(&mut self) {
        loop {
            match self.engine.next(self.now()) {
                Next::Commit(plan) => {
                    let sent = self.now();
                    self.backend.commit(&plan.operations).await.expect("the kernel takes every batch");
                    self.commits += u64::from(!plan.is_empty());
                    self.engine.committed(*plan, sent, self.now());
                }
                Next::Read => {
                    let held = self.backend.read(self.engine.families()).await.expect("the tables can be read");
                    self.engine.read_back(Acknowledged::from(held), self.now());
                }
                Next::Wait(_) => return,
            }
        }
    }
}

fn main() -> ExitCode {
    // What a filter of test names for all programs is to this one.
    let goal = Goal::parse();
    let Some(nft) = requirements::nft_or_skip() else { return ExitCode::SUCCESS };
    let began = Instant::now();
    let done = run(&goal, nft);
    let Done { transitions, commits, counts: Counts { translated, strays } } = done;
    println!(
        "flood: {translated} new flows were sent to endpoints over {transitions} transitions in {commits} commits \
         within {} s; {strays} fell between two snapshots",
        began.elapsed().as_secs()
    );
    if goal.at_once || strays == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(goal: &Goal, nft: &Path) -> Done {
    let (client, host) = (Namespace::new("client"), Namespace::new("host"));
    connect((&host, "client"), (&client, "eth0"));
    connect((&host, "uplink"), (&host, "nowhere"));
    host.sysctl("ipv4/ip_forward", "1");
    // What is not translated has a route, so that the filters see it.
    host.ip_batch(
        "addr add 192.0.2.1/24 dev client
         addr add 198.51.100.1/24 dev uplink
         neigh add 198.51.100.254 lladdr 02:00:00:00:00:01 dev uplink nud permanent
         route add default via 198.51.100.254",
    );
    client.ip_batch("addr add 192.0.2.2/24 dev eth0\nroute add default via 192.0.2.1");
    // The first kinds get several Services, as most changes are of their kind.
    let kinds = Kind::ALL.into_iter().chain([Kind::Sizes, Kind::Sizes, Kind::NoneAndSome, Kind::Policy]);
    let mut flooded: Vec<Flooded> = (1..).zip(kinds).map(|(number, kind)| Flooded::new(kind, number)).collect();
    let targets: Vec<_> = flooded.iter().map(Flooded::targets).collect();
    let served: Vec<_> =
        flooded.iter().filter(|service| service.is_always_served()).flat_map(Flooded::targets).collect();
    traffic::count(&host, nft, &served);
    let (ready, ends, focus) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|threads| {
        let driving = threads.spawn(|| {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                host.enter(|| drive(goal, &mut flooded, (&ready, &focus), || traffic::counts(&host, nft)))
            }));
            ready.store(true, Ordering::Relaxed);
            ends.store(true, Ordering::Relaxed);
            done
        });
        while !ready.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        traffic::send(&client, &targets, &focus, &ends);
        driving.join().expect("it catches its panics").unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Changes one Service after the other, and directs the packets to it, until both goals are reached.
fn drive(
    goal: &Goal,
    flooded: &mut [Flooded],
    (ready, focus): (&AtomicBool, &AtomicUsize),
    counts: impl Fn() -> Counts,
) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut driver = Driver::new(goal.at_once);
        driver.fold(cluster::begin());
        flooded.iter().for_each(|service| driver.fold(service.events()));
        driver.commit().await;
        ready.store(true, Ordering::Relaxed);
        let (mut random, mut done) = (StdRng::seed_from_u64(1), Done::default());
        loop {
            let service = (done.transitions / TURN) as usize % flooded.len();
            focus.store(service, Ordering::Relaxed);
            flooded[service].change(&mut random);
            driver.fold(flooded[service].events());
            driver.commit().await;
            done.transitions += 1;
            // The sender gets its share of the processors, and now and then everything that was left is deleted before the next change.
            let turn_ends = done.transitions.is_multiple_of(TURN);
            let pause = if turn_ends { 120 } else { 1 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if done.transitions >= goal.transitions && turn_ends {
                done.counts = counts();
                if done.counts.translated >= goal.flows {
                    done.commits = driver.commits;
                    return done;
                }
            }
        }
    })
}
