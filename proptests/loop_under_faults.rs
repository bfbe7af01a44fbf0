//! The whole loop under a paused clock, over a kernel that fails when its seed says so.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod common;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{Model, assert_satisfies, cases, event, initial, settings};
use pointsman::apply::{Backend, Error, MemoryKernel, Receipt, Refusal};
use pointsman::dataplane::{Element, Family, Frontend, Key, Object, Operation, Protocol, Tables};
use pointsman::diff::Acknowledged;
use pointsman::engine::{Committed, EngineSettings};
use pointsman::follow::{Effort, Follower};
use pointsman::observe::{Events, Health};
use pointsman::proxy::{Proxy, Until};
use pointsman::state::{Compiled, Snapshot};
use pointsman::state::{
    Decoded, EndpointPlace, EndpointSlice, Event, Few, Identity, ObjectName, Service, ServiceCidr, ServicePort,
    SliceEndpoint, SlicePort, TrafficPolicy,
};
use pointsman::watch::Received;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A kernel in memory that fails at random until its time is over.
struct FaultyKernel {
    kernel: MemoryKernel,
    random: StdRng,
    faults_until: Instant,
    /// Commits fail, whatever the seed says.
    always_refuses: bool,
    /// Commits with an element of this frontend's address fail.
    refuses: Option<IpAddr>,
    commits: usize,
    reads: usize,
    /// When attempts to commit began. A commit right after a refused one is a step of the same attempt: the search for what is refused.
    moments: Vec<Instant>,
    /// The last commit was refused, and nothing was read since.
    is_search: bool,
}

fn refused(refusal: Refusal) -> Error {
    Error::Refused { doing: "committing a batch", refusal, detail: "injected".to_owned() }
}

fn timed_out() -> Error {
    Error::TimedOut { doing: "committing a batch", limit: Duration::from_secs(120) }
}

impl FaultyKernel {
    fn new(seed: u64, faults_for: Duration) -> Self {
        Self {
            kernel: MemoryKernel::new(),
            random: StdRng::seed_from_u64(seed),
            faults_until: Instant::now() + faults_for,
            always_refuses: false,
            refuses: None,
            commits: 0,
            reads: 0,
            moments: Vec::new(),
            is_search: false,
        }
    }

    fn is_refused(&self, operation: &Operation) -> bool {
        let Object::Element(element) = &operation.object else { return false };
        let (Key::Frontend(frontend) | Key::Slot(frontend, _)) = element.key else { return false };
        Some(frontend.addr) == self.refuses
    }

    /// One in `n`, while there are faults.
    fn strikes(&mut self, n: u32) -> bool {
        Instant::now() < self.faults_until && self.random.random_ratio(1, n)
    }
}

impl Backend for FaultyKernel {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.reads += 1;
        self.is_search = false;
        let result = if self.strikes(5) { Err(timed_out()) } else { Ok(self.kernel.contents(families)) };
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            result
        }
    }

    async fn clients(&mut self, frontend: Frontend) -> Result<Vec<Element>, Error> {
        self.kernel.clients(frontend).await
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        self.commits += 1;
        if !std::mem::take(&mut self.is_search) {
            self.moments.push(Instant::now());
        }
        if self.strikes(6) {
            // Somebody flushes the ruleset first.
            Family::ALL.into_iter().for_each(|family| self.kernel.remove_table(family));
        }
        if self.always_refuses || self.strikes(6) || operations.iter().any(|it| self.is_refused(it)) {
            self.is_search = true;
            return Err(refused(Refusal::Other));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let applied = self.kernel.apply(operations);
        if self.strikes(6) {
            // Applied, but the answer is lost.
            return Err(timed_out());
        }
        self.is_search = applied.is_err();
        applied.map(|()| Receipt::default()).map_err(refused)
    }
}

/// Runs `test` on a runtime whose clock stands still unless everybody sleeps.
fn paused<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test)
}

/// Runs the loop for so long.
async fn run_for(proxy: &mut Proxy<FaultyKernel>, events: &mut mpsc::Receiver<Received>, time: Duration) {
    let shutdown = CancellationToken::new();
    let later = async {
        tokio::time::sleep(time).await;
        shutdown.cancel();
    };
    let (run, ()) = tokio::join!(proxy.run(events, Until::Shutdown, &shutdown), later);
    assert!(run.is_ok());
}

/// The loop over this kernel.
fn proxy_over(kernel: FaultyKernel, health: Health) -> Proxy<FaultyKernel> {
    Proxy::new(kernel, settings()).with_observers(health, Events::default())
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever fails and whenever: a minute after the last fault the kernel holds what the cluster asks for, the proxy says
    /// that it is healthy, and then it is silent.
    #[test]
    fn the_kernel_converges_and_the_loop_falls_silent(
        events in prop::collection::vec((event(), 0u64..3_000), 0..40),
        seed in any::<u64>(),
    ) {
        paused(async {
            let health = Health::default();
            let kernel = FaultyKernel::new(seed, Duration::from_secs(30));
            let mut proxy = proxy_over(kernel, health.clone());
            let (sender, mut receiver) = mpsc::channel(1_000);
            let shutdown = CancellationToken::new();
            let mut model = Model::default();
            let feed = async {
                for event in initial() {
                    sender.send(Received::now(event)).await.expect("the loop runs");
                }
                for (event, pause) in events {
                    model.apply(&event);
                    sender.send(Received::now(event)).await.expect("the loop runs");
                    // Often nothing, so that events arrive together; sometimes longer than the longest pause of retries.
                    tokio::time::sleep(Duration::from_millis(if pause < 1_500 { 0 } else { pause })).await;
                }
                tokio::time::sleep(Duration::from_secs(100)).await;
                shutdown.cancel();
            };
            let (run, ()) = tokio::join!(proxy.run(&mut receiver, Until::Shutdown, &shutdown), feed);
            prop_assert!(run.is_ok());
            let report = health.report(Instant::now());
            prop_assert!(report.healthy && report.last_synced.is_some());
            let held = Acknowledged::from(proxy.backend().kernel.contents(&Family::ALL));
            assert_satisfies(&held, &model)?;

            // Silent: an hour without events makes no calls.
            let (commits, reads) = (proxy.backend().commits, proxy.backend().reads);
            run_for(&mut proxy, &mut receiver, Duration::from_secs(3_600)).await;
            prop_assert_eq!((proxy.backend().commits, proxy.backend().reads), (commits, reads));
            Ok(())
        })?;
    }
}

#[test]
fn before_all_lists_are_complete_the_kernel_is_read_once_and_nothing_is_written() {
    paused(async {
        let mut proxy = proxy_over(FaultyKernel::new(0, Duration::ZERO), Health::default());
        let (sender, mut receiver) = mpsc::channel(10);
        for event in initial().into_iter().take(3) {
            sender.send(Received::now(event)).await.expect("room");
        }
        run_for(&mut proxy, &mut receiver, Duration::from_secs(86_400)).await;
        assert_eq!((proxy.backend().commits, proxy.backend().reads), (0, 1));
    });
}

#[test]
fn what_was_read_ahead_is_good_for_a_while_and_then_read_again() {
    paused(async {
        for (wait, reads) in [(Duration::ZERO, 1), (Duration::from_secs(8), 1), (Duration::from_secs(60), 2)] {
            let kernel = FaultyKernel::new(0, Duration::ZERO);
            let mut proxy = proxy_over(kernel, Health::default());
            let (sender, mut receiver) = mpsc::channel(10);
            let feed = async {
                tokio::time::sleep(wait).await;
                for event in initial() {
                    sender.send(Received::now(event)).await.expect("room");
                }
            };
            let shutdown = CancellationToken::new();
            let (run, ()) = tokio::join!(proxy.run(&mut receiver, Until::FirstSync, &shutdown), feed);
            assert!(run.is_ok());
            assert_eq!((proxy.backend().commits, proxy.backend().reads), (1, reads), "after {wait:?}");
        }
    });
}

#[test]
fn the_first_sync_waits_for_the_kernel_only_as_long_as_reading_takes_from_the_start() {
    paused(async {
        let begin = Instant::now();
        let kernel = FaultyKernel::new(0, Duration::ZERO);
        let mut proxy = proxy_over(kernel, Health::default());
        let (sender, mut receiver) = mpsc::channel(10);
        let feed = async {
            // As long as this kernel takes to be read.
            tokio::time::sleep(Duration::from_millis(20)).await;
            for event in initial() {
                sender.send(Received::now(event)).await.expect("room");
            }
        };
        let shutdown = CancellationToken::new();
        let (run, ()) = tokio::join!(proxy.run(&mut receiver, Until::FirstSync, &shutdown), feed);
        assert!(run.is_ok());
        let commit = proxy.backend().moments[0] - begin;
        assert!(commit < Duration::from_millis(30), "{commit:?}");
    });
}

#[test]
fn while_attempts_fail_events_wait_for_the_next_one() {
    paused(async {
        let mut kernel = FaultyKernel::new(0, Duration::ZERO);
        kernel.always_refuses = true;
        let mut proxy = proxy_over(kernel, Health::default());
        let (sender, mut receiver) = mpsc::channel(10_000);
        let shutdown = CancellationToken::new();
        let feed = async {
            for event in initial() {
                sender.send(Received::now(event)).await.expect("room");
            }
            for n in 0..1_000 {
                let addr = std::net::Ipv4Addr::from(0x0a00_0000 + n);
                sender.send(Received::now(Event::HostAddresses(vec![addr.into()]))).await.expect("room");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            shutdown.cancel();
        };
        let (run, ()) = tokio::join!(proxy.run(&mut receiver, Until::Shutdown, &shutdown), feed);
        assert!(run.is_ok());
        // At once, at once again, and after 0.2, 0.4, 0.8, 1.6 and 3.2 s.
        assert_eq!(proxy.backend().moments.len(), 7);
    });
}

/// The addresses of the frontends that a kernel holds.
fn addresses(kernel: &FaultyKernel) -> BTreeSet<IpAddr> {
    let held = Acknowledged::from(kernel.kernel.contents(&Family::ALL));
    held.frontends.keys().map(|frontend| frontend.addr).collect()
}

#[test]
fn a_frontend_that_the_kernel_refuses_is_set_aside_and_all_others_are_programmed() {
    paused(async {
        let refused: IpAddr = [10, 96, 3, 9].into();
        let mut kernel = FaultyKernel::new(0, Duration::ZERO);
        kernel.refuses = Some(refused);
        let health = Health::default();
        let mut proxy = proxy_over(kernel, health.clone());
        let (sender, mut receiver) = mpsc::channel(100);
        for event in many(2_000) {
            sender.send(Received::now(event)).await.expect("room");
        }
        run_for(&mut proxy, &mut receiver, Duration::from_secs(5)).await;
        let held = addresses(proxy.backend());
        assert_eq!((held.len(), held.contains(&refused)), (1_999, false));
        assert!(health.report(Instant::now()).healthy, "the others are up to date");

        // Others change as ever, without an attempt at the refused one.
        let (commits, reads) = (proxy.backend().commits, proxy.backend().reads);
        let [Event::ServicesReset(more), Event::SlicesReset(slices), ..] = many(2_010) else { unreachable!() };
        for service in more.into_iter().skip(2_000) {
            sender.send(Received::now(Event::ServiceApplied(service))).await.expect("room");
        }
        for slice in slices.into_iter().skip(2_000) {
            sender.send(Received::now(Event::SliceApplied(slice))).await.expect("room");
        }
        run_for(&mut proxy, &mut receiver, Duration::from_secs(1)).await;
        assert_eq!(addresses(proxy.backend()).len(), 2_009);
        assert_eq!(proxy.backend().commits - commits, 1, "in one batch");
        assert_eq!(proxy.backend().reads, reads);

        // It is tried again, and is there as soon as the kernel accepts it.
        proxy.backend().refuses = None;
        run_for(&mut proxy, &mut receiver, Duration::from_secs(31)).await;
        assert_eq!(addresses(proxy.backend()).len(), 2_010);
    });
}

#[test]
fn what_the_kernel_held_of_a_refused_frontend_stays_and_another_version_of_it_is_tried_at_once() {
    paused(async {
        let addr: IpAddr = [10, 96, 0, 0].into();
        let mut proxy = proxy_over(FaultyKernel::new(0, Duration::ZERO), Health::default());
        let (sender, mut receiver) = mpsc::channel(100);
        let moved = |to: u8| {
            let [_, Event::SlicesReset(slices), ..] = many(1) else { unreachable!() };
            let Some(Decoded::Object(slice)) = slices.into_iter().next() else { unreachable!() };
            let mut slice = Arc::unwrap_or_clone(slice);
            slice.endpoints[0].addr = [10, 1, 0, to].into();
            Received::now(Event::SliceApplied(Decoded::Object(Arc::new(slice))))
        };
        let shutdown = CancellationToken::new();
        let endpoint = |backend: &FaultyKernel| {
            let held = Acknowledged::from(backend.kernel.contents(&Family::ALL));
            let of_frontend = held.frontends.iter().find(|(frontend, _)| frontend.addr == addr);
            of_frontend
                .and_then(|(_, installed)| installed.endpoints(TrafficPolicy::Cluster).next())
                .map(|endpoint| endpoint.addr)
        };
        for event in many(3) {
            sender.send(Received::now(event)).await.expect("room");
        }
        proxy.run(&mut receiver, Until::FirstSync, &shutdown).await.expect("a sync");
        proxy.backend().refuses = Some(addr);
        for event in [
            moved(2),
            Received::now(another_cidr(1)),
            Received::now(Event::ServiceDeleted(ObjectName::new("shop", "web-1"))),
        ] {
            sender.send(event).await.expect("room");
        }
        let feed = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            sender.send(moved(3)).await.expect("room");
            tokio::time::sleep(Duration::from_secs(3)).await;
            shutdown.cancel();
        };
        let (run, ()) = tokio::join!(proxy.run(&mut receiver, Until::Shutdown, &shutdown), feed);
        assert!(run.is_ok());
        assert_eq!(endpoint(proxy.backend()), Some([10, 1, 0, 1].into()), "as before");
        assert_eq!(addresses(proxy.backend()).len(), 2, "the deleted one is gone");

        proxy.backend().refuses = None;
        sender.send(moved(4)).await.expect("room");
        run_for(&mut proxy, &mut receiver, Duration::from_secs(6)).await;
        assert_eq!(endpoint(proxy.backend()), Some([10, 1, 0, 4].into()));
    });
}

#[test]
fn a_restart_over_the_same_content_commits_nothing() {
    paused(async {
        let mut kernel = FaultyKernel::new(0, Duration::ZERO);
        for expected_commits in [1, 1] {
            let (sender, mut receiver) = mpsc::channel(10);
            for event in initial() {
                sender.send(Received::now(event)).await.expect("room");
            }
            let mut proxy = proxy_over(kernel, Health::default());
            proxy.run(&mut receiver, Until::FirstSync, &CancellationToken::new()).await.expect("a sync");
            assert_eq!(proxy.backend().commits, expected_commits);
            kernel = proxy.into_backend();
        }
    });
}

#[test]
fn once_ends_when_what_it_left_is_deleted_and_another_one_finds_nothing_to_do() {
    paused(async {
        let mut kernel = FaultyKernel::new(0, Duration::ZERO);
        // Everything at once, then the removal of two Services in two batches.
        for (services, commits) in [(3, 1), (1, 3), (1, 3)] {
            let (sender, mut receiver) = mpsc::channel(10);
            for event in many(services) {
                sender.send(Received::now(event)).await.expect("room");
            }
            let mut proxy = proxy_over(kernel, Health::default());
            proxy.run(&mut receiver, Until::FirstSync, &CancellationToken::new()).await.expect("a sync");
            assert_eq!(proxy.backend().commits, commits);
            assert!(!proxy.engine().has_leftovers());
            assert_eq!(addresses(proxy.backend()).len(), usize::from(services));
            kernel = proxy.into_backend();
        }
    });
}

#[test]
fn with_once_a_failure_is_the_result() {
    paused(async {
        let mut kernel = FaultyKernel::new(0, Duration::ZERO);
        kernel.faults_until = Instant::now() + Duration::from_secs(3_600);
        let mut failed = false;
        for seed in 0..50 {
            kernel.random = StdRng::seed_from_u64(seed);
            let (sender, mut receiver) = mpsc::channel(10);
            for event in initial() {
                sender.send(Received::now(event)).await.expect("room");
            }
            let mut proxy = proxy_over(kernel, Health::default());
            failed |= proxy.run(&mut receiver, Until::FirstSync, &CancellationToken::new()).await.is_err();
            kernel = proxy.into_backend();
        }
        assert!(failed, "one of fifty faulty starts fails");
    });
}

/// Complete lists with this many Services, one endpoint each.
fn many(services: u16) -> [Event; 4] {
    let [_, _, service_cidrs, nodes] = initial();
    let name = |n: u16| ObjectName::new("shop", format!("web-{n}"));
    let service = |n: u16| {
        let ports = vec![ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: None }];
        let [high, low] = n.to_be_bytes();
        Service {
            name: name(n),
            created: None,
            cluster_ips: vec![[10, 96, high, low].into()],
            internal_traffic_local: false,
            external_traffic_local: false,
            external_ips: Few::new(),
            load_balancer_ips: Few::new(),
            source_ranges: Few::new(),
            session_affinity: None,
            health_check_node_port: None,
            ports,
            problems: Few::new(),
            uid: Identity::default(),
        }
    };
    let slice = |n: u16| EndpointSlice {
        name: name(n),
        service: name(n).name().into(),
        family: Family::Ip,
        ports: vec![SlicePort { name: "".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: vec![SliceEndpoint::new([10, 1, 0, 1].into(), EndpointPlace::default())],
        problems: Few::new(),
        uid: Identity::default(),
    };
    let services = (0..services).map(|n| (service(n), slice(n)));
    let (services, slices): (Vec<_>, Vec<_>) =
        services.map(|(service, slice)| (Decoded::Object(Arc::new(service)), Decoded::Object(Arc::new(slice)))).unzip();
    [Event::ServicesReset(services), Event::SlicesReset(slices), service_cidrs, nodes]
}

#[test]
fn a_large_load_takes_several_batches_and_converges_whichever_of_them_fail() {
    paused(async {
        for seed in 0..20 {
            let faults_for = if seed == 0 { Duration::ZERO } else { Duration::from_secs(30) };
            let kernel = FaultyKernel::new(seed, faults_for);
            let mut proxy = proxy_over(kernel, Health::default());
            let (sender, mut receiver) = mpsc::channel(10);
            let mut model = Model::default();
            for event in many(2_000) {
                model.apply(&event);
                sender.send(Received::now(event)).await.expect("room");
            }
            let shutdown = CancellationToken::new();
            let later = async {
                tokio::time::sleep(Duration::from_secs(100)).await;
                shutdown.cancel();
            };
            let (run, ()) = tokio::join!(proxy.run(&mut receiver, Until::Shutdown, &shutdown), later);
            assert!(run.is_ok());
            let backend = proxy.backend();
            assert!(backend.commits > 1 && backend.commits < 200, "{} batches", backend.commits);
            let held = Acknowledged::from(backend.kernel.contents(&Family::ALL));
            assert_satisfies(&held, &model).expect("what the cluster asks for");
        }
    });
}

/// Runs a loop with these periods over a faultless kernel, one event every 100 ms for 3 s; the moments of its commits.
async fn commits_with(min: Duration, kernel: FaultyKernel) -> Vec<Duration> {
    let begin = Instant::now();
    let periods = EngineSettings { min_sync_period: min, longest_pause: Duration::from_secs(2), ..settings() };
    let mut proxy = Proxy::new(kernel, periods).with_observers(Health::default(), Events::default());
    let (sender, mut receiver) = mpsc::channel(100);
    let shutdown = CancellationToken::new();
    let feed = async {
        for event in initial() {
            sender.send(Received::now(event)).await.expect("the loop runs");
        }
        for number in 1..=30_u8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            sender.send(Received::now(another_cidr(number))).await.expect("the loop runs");
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        shutdown.cancel();
    };
    let (run, ()) = tokio::join!(proxy.run(&mut receiver, Until::Shutdown, &shutdown), feed);
    assert!(run.is_ok());
    proxy.into_backend().moments.iter().map(|moment| *moment - begin).collect()
}

/// A ServiceCIDR that was not there before.
fn another_cidr(number: u8) -> Event {
    Event::ServiceCidrApplied(Decoded::Object(Arc::new(ServiceCidr {
        name: ObjectName::cluster_scoped(format!("cidr-{number}")),
        networks: vec![format!("10.96.{number}.0/24").parse().expect("a network")],
        problems: Few::new(),
        uid: Identity::default(),
    })))
}

#[test]
fn without_a_least_period_every_change_is_committed_at_once() {
    paused(async {
        let commits = commits_with(Duration::ZERO, FaultyKernel::new(0, Duration::ZERO)).await;
        assert_eq!(commits.len(), 31);
        assert!(commits[0] < Duration::from_millis(50), "{commits:?}");
    });
}

#[test]
fn with_a_least_period_changes_collect_and_the_first_and_the_last_are_not_forgotten() {
    paused(async {
        let period = Duration::from_secs(1);
        let commits = commits_with(period, FaultyKernel::new(0, Duration::ZERO)).await;
        assert!(commits[0] < Duration::from_millis(50), "an idle loop commits at once: {commits:?}");
        assert!(commits.windows(2).all(|pair| pair[1] - pair[0] >= period), "{commits:?}");
        // The last change comes after 3 s, and is committed with the period that runs then.
        assert_eq!(commits.len(), 4, "{commits:?}");
        assert!(commits[3] >= Duration::from_secs(3), "{commits:?}");
    });
}

#[test]
fn failures_are_tried_again_no_sooner_than_the_least_period_and_no_later_than_the_longest_pause() {
    paused(async {
        for seed in 0..20 {
            let period = Duration::from_millis(500);
            let commits = commits_with(period, FaultyKernel::new(seed, Duration::from_secs(10))).await;
            assert!(commits.windows(2).all(|pair| pair[1] - pair[0] >= period), "{commits:?}");
            let within = |pair: &[Duration]| pair[1] - pair[0] < Duration::from_secs(9);
            assert!(commits.windows(2).all(within), "{commits:?}");
        }
    });
}

/// Sends another event whenever events were compiled, so that the loop never runs out of them.
struct Feeder {
    events: mpsc::Sender<Received>,
    compiled: u64,
    synced: CancellationToken,
}

impl Follower for Feeder {
    fn compiled(&mut self, _: &Compiled, _: &Snapshot, _: bool) {
        self.compiled += 1;
        let addr = std::net::Ipv4Addr::from(0x0a00_0000 + u32::try_from(self.compiled % 65_536).unwrap());
        let _ = self.events.try_send(Received::now(Event::HostAddresses(vec![addr.into()])));
    }

    fn committed(&mut self, _: &Committed, _: &Snapshot, _: Effort) {
        self.synced.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_without_end_do_not_keep_the_tables_from_being_read() {
    let (sender, mut receiver) = mpsc::channel(100);
    for event in initial() {
        sender.send(Received::now(event)).await.expect("room");
    }
    let synced = CancellationToken::new();
    let feeder = Feeder { events: sender, compiled: 0, synced: synced.clone() };
    let mut proxy = Proxy::new(MemoryKernel::new(), settings()).with(feeder);
    let run = proxy.run(&mut receiver, Until::Shutdown, &synced);
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("a commit").expect("an orderly end");
}
