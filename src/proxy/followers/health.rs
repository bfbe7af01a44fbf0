//! Health: of the proxy itself, and of Services for load balancers.

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::clock;
use crate::dataplane::ForeignCommit;
use crate::drift::{DriftNews, DriftReport};
use crate::engine::{Committed, Failed, Failure};
use crate::follow::{Effort, Follower};
use crate::observe::{Health, ServiceHealth};
use crate::state::{Compiled, Folded, HealthCheck, HealthChecks, Snapshot};
use crate::status::DriftFacts;
use crate::tasks::Supervisor;

/// Keeps the proxy's health: whether changes wait for too long, and whether load balancers may send this node traffic.
#[derive(Debug)]
pub struct HealthFollower(pub Health);

/// Keeps the answers to load balancers that ask for the endpoints of a Service on this node.
#[derive(Debug)]
pub struct ServiceHealthFollower(watch::Sender<HealthChecks>);

/// Tells once that everything is programmed.
#[derive(Debug)]
pub struct FirstSyncFollower(Option<oneshot::Sender<()>>);

impl Follower for HealthFollower {
    fn folded(&mut self, folded: &Folded, _: &Snapshot) {
        if let Some(eligible) = folded.node_eligible {
            self.0.node(eligible);
        }
    }

    fn compiled(&mut self, _: &Compiled, snapshot: &Snapshot, is_due: bool) {
        if is_due && snapshot.cluster().is_complete() {
            self.0.requested(Instant::now());
            self.0.board().pending(clock::now());
        }
    }

    fn committed(&mut self, committed: &Committed, _: &Snapshot, _: Effort) {
        if !committed.plan.is_empty() {
            self.0.board().committed();
        }
        if committed.is_tidying() {
            return;
        }
        if committed.is_caught_up() {
            self.0.synced(Timestamp::now());
            self.0.board().synced(clock::now());
        } else if !committed.plan.is_empty() {
            self.0.progressed(Instant::now());
        }
    }

    fn read_failed(&mut self, failure: &Failure, failures: u32) {
        self.0.failed(Instant::now());
        self.0.board().failed(&failure.message, failures, clock::now());
    }

    fn foreign_commits(&mut self, _: &[ForeignCommit]) {
        self.0.board().heard(clock::now());
    }

    fn verified(&mut self, all_elements: bool) {
        self.0.board().verified(all_elements, clock::now());
    }

    fn drift(&mut self, news: &DriftNews) {
        let text = |report: &DriftReport| format!("{} changed our tables: {}", report.writers(), report.deviations());
        match news {
            DriftNews::Found { report, .. } => {
                self.0.board().drifted(DriftFacts { since: report.since, text: text(report) });
            }
            DriftNews::Widened { report } => self.0.board().drift_goes_on(text(report)),
            DriftNews::Repaired { report, lasted, .. } => {
                let text = format!("{}; it lasted {lasted:.1?}", text(report));
                self.0.board().drift_is_over(text, clock::now());
            }
        }
    }

    fn failed(&mut self, failed: &Failed, failure: &Failure, _: std::time::Duration) {
        // The steps of a search for what the kernel refuses come to an end.
        if !failed.is_search {
            self.0.failed(Instant::now());
            self.0.board().failed(&failure.message, failed.failures, clock::now());
        }
        // A batch that failed says nothing against families for which nothing waited.
        failed.up_to_date.iter().for_each(|family| self.0.up_to_date(*family, Timestamp::now()));
    }
}

impl ServiceHealthFollower {
    /// Starts the task that binds ports and answers, as a task of `supervisor`.
    pub fn start(mut service_health: ServiceHealth, supervisor: &Supervisor) -> Self {
        let (newest, mut changes) = watch::channel(HealthChecks::default());
        supervisor.spawn_finite("the health checks of Services", async move {
            while changes.changed().await.is_ok() {
                let checks = changes.borrow_and_update().clone();
                service_health.update(&checks).await;
                service_health.retry(&mut changes).await;
            }
        });
        Self(newest)
    }
}

impl Follower for ServiceHealthFollower {
    fn committed(&mut self, committed: &Committed, snapshot: &Snapshot, _: Effort) {
        if committed.is_tidying() {
            return;
        }
        let newest = &snapshot.desired().health_checks;
        if committed.is_caught_up() {
            // Ports that were taken are tried again with every commit.
            let _ = self.0.send(newest.clone());
            return;
        }
        // Until everything is programmed, load balancers may only learn of endpoints that are gone.
        self.0.send_if_modified(|known| {
            let gone = known.checks.iter().filter(|(key, check)| {
                check.local_endpoints > 0 && newest.checks.get(*key).is_none_or(|check| check.local_endpoints == 0)
            });
            let gone: Vec<_> =
                gone.map(|(key, check)| (key.clone(), HealthCheck { local_endpoints: 0, ..*check })).collect();
            let is_modified = !gone.is_empty();
            known.checks.extend(gone);
            is_modified
        });
    }
}

impl FirstSyncFollower {
    /// The follower, and where it tells.
    pub fn channel() -> (Self, oneshot::Receiver<()>) {
        let (first_sync, told) = oneshot::channel();
        (Self(Some(first_sync)), told)
    }
}

impl Follower for FirstSyncFollower {
    fn committed(&mut self, committed: &Committed, _: &Snapshot, _: Effort) {
        if committed.is_caught_up()
            && let Some(first_sync) = self.0.take()
        {
            // Nothing may wait for it any more.
            let _ = first_sync.send(());
        }
    }
}
