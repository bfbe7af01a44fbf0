//! The whole loop under a paused clock, over a kernel that fails when its seed says so.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod common;

use std::time::Duration;

use common::{Model, assert_satisfies, cases, event, initial, scope};
use pointsman::apply::{Backend, Error, MemoryKernel, Receipt, Refusal};
use pointsman::dataplane::{Element, Family, Operation, Tables};
use pointsman::diff::Acknowledged;
use pointsman::observe::Health;
use pointsman::reconcile::{Reconciler, Until};
use pointsman::state::View;
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
    commits: usize,
    reads: usize,
}

fn refused() -> Error {
    Error::Refused { doing: "committing a batch", refusal: Refusal::Other, detail: "injected".to_owned() }
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
            commits: 0,
            reads: 0,
        }
    }

    /// One in `n`, while there are faults.
    fn strikes(&mut self, n: u32) -> bool {
        Instant::now() < self.faults_until && self.random.random_ratio(1, n)
    }
}

impl Backend for FaultyKernel {
    async fn read(&mut self, families: &[Family]) -> Result<Tables, Error> {
        self.reads += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.strikes(5) { Err(timed_out()) } else { Ok(self.kernel.contents(families)) }
    }

    async fn clients(&mut self, family: Family, node_port: bool) -> Result<Vec<Element>, Error> {
        self.kernel.clients(family, node_port).await
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        self.commits += 1;
        if self.strikes(6) {
            // Somebody flushes the ruleset first.
            Family::ALL.into_iter().for_each(|family| self.kernel.remove_table(family));
        }
        if self.strikes(6) {
            return Err(refused());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let applied = self.kernel.apply(operations);
        if self.strikes(6) {
            // Applied, but the answer is lost.
            return Err(timed_out());
        }
        applied.map(|()| Receipt::default()).map_err(|_| refused())
    }
}

/// Runs `test` on a runtime whose clock stands still unless everybody sleeps.
fn paused<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test)
}

/// Where the loop looks from.
fn view() -> View {
    View { node_name: common::NODE.into(), ..View::default() }
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
            let mut reconciler = Reconciler::new(kernel, scope(), view(), health.clone());
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
            let (run, ()) = tokio::join!(reconciler.run(&mut receiver, Until::Shutdown, &shutdown), feed);
            prop_assert!(run.is_ok());
            let report = health.report(Instant::now());
            prop_assert!(report.healthy && report.last_synced.is_some());
            let held = Acknowledged::from(reconciler.backend().kernel.contents(&Family::ALL));
            assert_satisfies(&held, &model)?;

            // Silent: an hour without events makes no calls.
            let (commits, reads) = (reconciler.backend().commits, reconciler.backend().reads);
            let shutdown = CancellationToken::new();
            let hour = async {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
                shutdown.cancel();
            };
            let (run, ()) = tokio::join!(reconciler.run(&mut receiver, Until::Shutdown, &shutdown), hour);
            prop_assert!(run.is_ok());
            prop_assert_eq!((reconciler.backend().commits, reconciler.backend().reads), (commits, reads));
            Ok(())
        })?;
    }
}

#[test]
fn nothing_is_read_or_written_before_all_lists_are_complete() {
    paused(async {
        let mut reconciler = Reconciler::new(FaultyKernel::new(0, Duration::ZERO), scope(), view(), Health::default());
        let (sender, mut receiver) = mpsc::channel(10);
        for event in initial().into_iter().take(3) {
            sender.send(Received::now(event)).await.expect("room");
        }
        let shutdown = CancellationToken::new();
        let day = async {
            tokio::time::sleep(Duration::from_secs(86_400)).await;
            shutdown.cancel();
        };
        let (run, ()) = tokio::join!(reconciler.run(&mut receiver, Until::Shutdown, &shutdown), day);
        assert!(run.is_ok());
        assert_eq!((reconciler.backend().commits, reconciler.backend().reads), (0, 0));
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
            let mut reconciler = Reconciler::new(kernel, scope(), view(), Health::default());
            reconciler.run(&mut receiver, Until::FirstSync, &CancellationToken::new()).await.expect("a sync");
            assert_eq!(reconciler.backend().commits, expected_commits);
            kernel = reconciler.into_backend();
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
            let mut reconciler = Reconciler::new(kernel, scope(), view(), Health::default());
            failed |= reconciler.run(&mut receiver, Until::FirstSync, &CancellationToken::new()).await.is_err();
            kernel = reconciler.into_backend();
        }
        assert!(failed, "one of fifty faulty starts fails");
    });
}
