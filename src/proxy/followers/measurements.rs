//! Measures what arrives, what is committed, and what fails.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use metrics::{counter, gauge, histogram};

use crate::clock;
use crate::dataplane::{Family, ForeignCommit};
use crate::diff::{Deviation, Plan};
use crate::drift::DriftNews;
use crate::engine::{Committed, Failed, Failure, SyncProgress};
use crate::follow::{Effort, Follower, ReadBack, ReadCause};
use crate::metrics::{self as names, Arrival, Pending, ShownCounts};
use crate::pacing::Moment;
use crate::state::{Compiled, Folded, Received, Snapshot};

/// Keeps the metrics.
#[derive(Debug)]
pub struct MetricsFollower {
    families: Vec<Family>,
    counts: ShownCounts,
    /// What was received and is not committed yet.
    pending: Pending,
    /// The event that is being folded.
    arrival: Option<Arrival>,
    sync: Option<SyncInProgress>,
    programs: ProgramLabels,
}

/// The names of other programs that are labels. Their number is bounded, whatever names there are.
#[derive(Debug, Default)]
struct ProgramLabels(BTreeSet<String>);

impl ProgramLabels {
    const MAX: usize = 20;

    fn label(&mut self, program: &str) -> String {
        if self.0.len() < Self::MAX && !self.0.contains(program) {
            self.0.insert(program.to_owned());
        }
        if self.0.contains(program) { program.to_owned() } else { "other".to_owned() }
    }
}

/// What is known of the sync that goes on: from the reading, or from the first of its plans, until everything is programmed.
#[derive(Debug)]
struct SyncInProgress {
    began: Moment,
    /// The tables were read.
    is_full: bool,
    /// The families that were written to.
    written: BTreeSet<Family>,
}

impl MetricsFollower {
    /// Of the tables of these families.
    pub fn new(families: &[Family]) -> Self {
        Self {
            families: families.to_vec(),
            counts: ShownCounts::default(),
            pending: Pending::since(Timestamp::now()),
            arrival: None,
            sync: None,
            programs: ProgramLabels::default(),
        }
    }

    /// A plan of the sync was sent. Making and sending it took so long.
    fn sent(&mut self, plan: &Plan, took: Duration) {
        let now = clock::now();
        let began = Moment::from_start(now.since_start().saturating_sub(took));
        let sync = self.sync.get_or_insert(SyncInProgress { began, is_full: false, written: BTreeSet::new() });
        sync.written.extend(plan.operations.iter().map(|operation| operation.family));
        if !plan.is_empty() {
            names::plan(plan);
        }
    }

    /// The sync ends. Records how long it took: a full one for every family, others for the families that they wrote to.
    fn end_sync(&mut self) {
        let Some(SyncInProgress { began, is_full, written }) = self.sync.take() else { return };
        let families = self.families.iter().filter(|family| is_full || written.contains(family));
        names::sync_duration(families, is_full, clock::now().since(began).as_secs_f64());
    }

    fn families_at(&self, name: &'static str, at: Timestamp) {
        for family in &self.families {
            gauge!(name, "ip_family" => family.label()).set(at.as_duration().as_secs_f64());
        }
    }
}

/// Records the length of a batch.
fn batch_bytes(effort: Effort) {
    #[expect(clippy::cast_precision_loss, reason = "no batch has 2^52 bytes")]
    histogram!(names::BATCH_BYTES).record(effort.bytes as f64);
}

impl Follower for MetricsFollower {
    fn received(&mut self, received: &Received) {
        names::event(&received.event);
        self.arrival = Some(Arrival::new(&received.event, received.at, received.triggered));
    }

    fn folded(&mut self, folded: &Folded, _: &Snapshot) {
        folded.skipped.iter().for_each(names::skipped);
        if let Some(arrival) = self.arrival.take() {
            self.pending.folded(arrival, folded.services, folded.changed);
        }
    }

    fn compiled(&mut self, compiled: &Compiled, snapshot: &Snapshot, is_due: bool) {
        compiled.skipped.iter().for_each(names::skipped);
        self.pending.show();
        if is_due && snapshot.cluster().is_complete() {
            self.families_at(names::SYNC_QUEUED, Timestamp::now());
        }
    }

    fn reading(&mut self, cause: ReadCause) {
        let cause = match cause {
            ReadCause::Start => "start",
            ReadCause::Failure => "failure",
            ReadCause::Drift => "drift",
        };
        counter!(names::READ_BACKS, "cause" => cause).increment(1);
        self.sync = Some(SyncInProgress { began: clock::now(), is_full: true, written: BTreeSet::new() });
    }

    fn read(&mut self, found: &ReadBack) {
        self.counts.restart(&found.elements);
    }

    fn read_failed(&mut self, _: &Failure, _: u32) {
        self.end_sync();
        counter!(names::SYNCS, "result" => "failed").increment(1);
    }

    fn committed(&mut self, committed: &Committed, snapshot: &Snapshot, effort: Effort) {
        committed.refused.iter().for_each(names::skipped);
        let plan = &committed.plan;
        self.counts.follow(committed.element_changes());
        if committed.is_tidying() {
            names::plan(plan);
            batch_bytes(effort);
            return;
        }
        self.sent(plan, effort.took);
        match committed.progress {
            SyncProgress::CaughtUp => self.pending.all_programmed(clock::now(), Timestamp::now()),
            SyncProgress::Newest => self.pending.newest_programmed(clock::now(), Timestamp::now()),
            SyncProgress::Partial => self.pending.newest_wait(),
            SyncProgress::Tidied => {}
        }
        if committed.is_caught_up() {
            self.end_sync();
            self.families_at(names::SYNC_LAST, Timestamp::now());
            names::without_local(&self.families, &snapshot.desired().without_local);
            let cluster = snapshot.cluster();
            for (name, count) in
                [(names::SERVICES, cluster.service_count()), (names::WITHOUT_SERVICE, cluster.missing_service_count())]
            {
                #[expect(clippy::cast_precision_loss, reason = "no cluster has 2^52 Services")]
                gauge!(name).set(count as f64);
            }
        }
        if plan.is_empty() {
            counter!(names::SYNCS, "result" => "unchanged").increment(1);
            return;
        }
        batch_bytes(effort);
        counter!(names::SYNCS, "result" => "committed").increment(1);
    }

    fn foreign_commits(&mut self, commits: &[ForeignCommit]) {
        for commit in commits {
            let program = self.programs.label(&commit.writer.program);
            counter!(names::FOREIGN_COMMITS, "program" => program).increment(1);
        }
    }

    fn drift(&mut self, news: &DriftNews) {
        match news {
            DriftNews::Found { report, .. } => {
                let program = self.programs.label(report.program());
                let kind = report.deviations.first().map_or("rules", Deviation::kind);
                counter!(names::DRIFTS, "program" => program, "kind" => kind).increment(1);
                gauge!(names::DRIFTED).set(1.0);
            }
            DriftNews::Widened { .. } => {}
            DriftNews::Repaired { lasted, .. } => {
                gauge!(names::DRIFTED).set(0.0);
                histogram!(names::DRIFT_DURATION).record(lasted.as_secs_f64());
                names::recorded();
            }
        }
    }

    fn failed(&mut self, failed: &Failed, _: &Failure, took: Duration) {
        self.sent(&failed.plan, took);
        if !failed.is_search {
            let plan = &failed.plan;
            let written = |family: &&Family| plan.operations.iter().any(|operation| operation.family == **family);
            for family in self.families.iter().filter(written) {
                counter!(names::SYNC_FAILURES, "ip_family" => family.label()).increment(1);
            }
            self.end_sync();
            counter!(names::SYNCS, "result" => "failed").increment(1);
        }
    }
}
