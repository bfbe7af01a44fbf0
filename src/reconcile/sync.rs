//! One sync: read if need be, diff, commit, and what follows from that.

use std::time::Duration;

use jiff::Timestamp;
use metrics::{counter, gauge, histogram};
use tokio::time::Instant;

use super::ahead::Reading;
use super::{Reconciler, bulk, report, separate, unix_seconds};
use crate::apply::{Backend, Error};
use crate::conntrack;
use crate::dataplane::Family;
use crate::diff::{Acknowledged, Plan};
use crate::forget::Departure;
use crate::metrics as names;

/// Pause after the second failure in a row; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// After how many failures in a row a plan is committed piece by piece.
const SEPARATE_AFTER: u32 = 2;

impl<B: Backend> Reconciler<B> {
    /// Brings the kernel in line: diff, commit, acknowledge. After an error the kernel is read at the next attempt.
    pub(super) async fn sync(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let full = self.acknowledged.is_none();
        let acknowledged = match self.acknowledged.take() {
            Some(acknowledged) => acknowledged,
            None => match self.read().await {
                Ok(acknowledged) => acknowledged,
                Err(error) => {
                    names::sync_duration(&self.scope.families, full, started.elapsed().as_secs_f64());
                    return Err(error);
                }
            },
        };
        self.aside.follow(&self.desired);
        let mut scope = self.scope.on(self.cluster.node());
        scope.except = self.aside.frontends();
        let mut plan = acknowledged.plan(&self.desired, &scope);
        if let Some(conntrack) = &self.conntrack {
            conntrack.committing(&self.cluster, &self.desired);
        }
        let result = if plan.is_empty() { Ok(0) } else { self.commit(&mut plan).await };
        self.measure(&plan, full, started, result.is_ok());
        match result {
            Ok(bytes) => {
                let mut changed = std::mem::take(&mut self.changed);
                changed.append(&mut conntrack::changed(&plan.frontends));
                self.acknowledge(plan, bytes, started);
                if let Some(conntrack) = &mut self.conntrack {
                    conntrack.committed(changed);
                }
                if let Some(service_health) = &mut self.service_health {
                    service_health.update(&self.desired.health_checks).await;
                }
                Ok(())
            }
            Err(error) => {
                self.spare(&plan);
                self.left.append(&mut plan.left);
                self.changed.append(&mut conntrack::changed(&plan.frontends));
                self.failed(&error);
                Err(error)
            }
        }
    }

    async fn read(&mut self) -> Result<Acknowledged, Error> {
        let ahead = match self.reading.take() {
            Some(reading) => reading.recent().await,
            None => None,
        };
        let read = match ahead {
            Some(read) => read,
            None => self.begin_to_read().finished().await,
        };
        match read {
            Ok(found) => {
                self.counts.restart(&found.counts);
                Ok(found.acknowledged)
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    pub(super) fn begin_to_read(&mut self) -> Reading {
        let cause = if self.failures == 0 { "start" } else { "failure" };
        counter!(names::READ_BACKS, "cause" => cause).increment(1);
        Reading::begin(self.backend.read(&self.scope.families))
    }

    async fn commit(&mut self, plan: &mut Plan) -> Result<usize, Error> {
        names::plan(plan);
        if self.failures < SEPARATE_AFTER && !self.aside.has_suspects() {
            return bulk::commit(&mut self.backend, plan).await;
        }
        let separated = separate::commit(&mut self.backend, plan).await?;
        let skipped = self.aside.set(&separated, &self.desired, self.longest_pause);
        report(&skipped);
        self.events.left_out(&skipped);
        // All others are served. What the kernel holds of these will be read.
        match separated.error {
            Some(error) => {
                self.failures = 0;
                Err(error)
            }
            None => Ok(separated.bytes),
        }
    }

    fn acknowledge(&mut self, plan: Plan, bytes: usize, started: Instant) {
        let now = Instant::now();
        self.desired.settle();
        self.counts.follow(&plan.operations);
        self.depart(&plan);
        self.acknowledged = Some(plan.next);
        self.due = false;
        self.failures = 0;
        self.aside.committed();
        if let Some(first_sync) = self.first_sync.take() {
            // Nobody may be listening any more.
            let _ = first_sync.send(());
        }
        let wall = Timestamp::now();
        self.pending.programmed(now, wall);
        self.health.synced(wall);
        for family in &self.scope.families {
            gauge!(names::SYNC_LAST, "ip_family" => family.label()).set(unix_seconds(wall));
        }
        names::without_local(&self.scope.families, &self.desired.without_local);
        #[expect(clippy::cast_precision_loss, reason = "no cluster has 2^52 Services")]
        gauge!(names::SERVICES).set(self.cluster.service_count() as f64);
        if plan.operations.is_empty() {
            counter!(names::SYNCS, "result" => "unchanged").increment(1);
            tracing::debug!("nothing to change");
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "no batch has 2^52 bytes")]
        histogram!(names::BATCH_BYTES).record(bytes as f64);
        counter!(names::SYNCS, "result" => "committed").increment(1);
        tracing::info!(
            operations = plan.operations.len(),
            frontends = plan.frontends.len(),
            bytes,
            milliseconds = (now.duration_since(started).as_secs_f64() * 1e6).round() / 1e3,
            "committed"
        );
    }

    /// A batch that failed says nothing against families for which it had nothing to do.
    fn spare(&self, plan: &Plan) {
        for family in Family::ALL {
            if !plan.operations.iter().any(|operation| operation.family == family) {
                self.health.up_to_date(family, Timestamp::now());
            }
        }
    }

    /// Has the clients of endpoints that are gone forgotten.
    fn depart(&mut self, plan: &Plan) {
        let mut left = std::mem::take(&mut self.left);
        let Some(departures) = &self.departures else { return };
        left.extend(&plan.left);
        let departure = if self.acknowledged_before {
            Departure::of(&left, &self.desired)
        } else {
            let has_clients = !left.is_empty() || plan.next.has_affinity();
            has_clients.then(|| Departure::after_start(&left, &self.desired, &self.scope.families))
        };
        self.acknowledged_before = true;
        if let Some(departure) = departure {
            // Nobody listens only when the process is about to end.
            let _ = departures.send(departure);
        }
    }

    fn failed(&mut self, error: &Error) {
        self.failures = self.failures.saturating_add(1);
        counter!(names::SYNCS, "result" => "failed").increment(1);
        let failures = self.failures;
        tracing::error!(%error, failures, "sync failed; the kernel will be read and the sync tried again");
    }

    /// Records how long a sync took: a full one for every family, others for the families that they wrote to.
    fn measure(&self, plan: &Plan, full: bool, started: Instant, succeeded: bool) {
        let written = |family: &&Family| plan.operations.iter().any(|operation| operation.family == **family);
        let families = || self.scope.families.iter();
        let seconds = started.elapsed().as_secs_f64();
        names::sync_duration(families().filter(|family| full || written(family)), full, seconds);
        for family in families().filter(|family| !succeeded && written(family)) {
            counter!(names::SYNC_FAILURES, "ip_family" => family.label()).increment(1);
        }
    }

    /// How long to wait after a failure. The first is tried again at once: most often somebody removed the table, and reading
    /// the kernel again is all that it takes.
    pub(super) fn pause(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            more => FIRST_PAUSE.saturating_mul(1 << (more - 2).min(16)).min(self.longest_pause),
        }
    }
}
