//! The decisions of the proxy, as one value: no input or output, no clock, no async.
//!
//! ```text
//! Event ─▶ fold ─▶ compile ─▶ next ─▶ Commit(plan) ─▶ committed | failed ─┐
//!            ▲                  │  └─▶ Read ─▶ read_back | read_failed ────┤
//!            └── more events ───┴─▶ Wait(until) ◀──────────────────────────┘
//! ```
//!
//! Whoever drives it carries out what [`Engine::next`] asks for and says how it went: the proxy, `--once`, `--dry-run`, `replay`, tests and
//! benchmarks. Time comes in as a [`Moment`].
//!
//! - **Slices.** A change is committed in slices, small changes first, each sized so that the kernel is busy for about
//!   [`EngineSettings::slice_goal`]. What arrives between two slices is taken into account by the next one. See `backlog`.
//! - **Two phases.** What packets that are on their way may still look up is deleted a grace period after the change, and no change waits for
//!   that. See `tail`.
//! - **Applied means acknowledged.** After an error nothing is assumed: the tables are read back and compared. It is tried again at once the
//!   first time, then after pauses that grow; a grace period later if a batch may just have taken effect. See `schedule`.
//! - **Quarantine.** When a plan fails again and again, the frontends that the kernel refuses are found by halving and left alone, and all
//!   others are programmed. See `bisect` and `quarantine`.

use std::sync::OnceLock;
use std::time::Duration;

use crate::dataplane::Family;
use crate::diff::{Acknowledged, Plan, Scope};
use crate::state::{Compiled, Event, Folded, Skipped, Snapshot, View};
use backlog::{Backlog, Comparison, Selection};
use bisect::Bisect;
use pace::SlicePace;
use quarantine::Quarantine;
use schedule::Schedule;
use tail::Tail;

mod backlog;
mod bisect;
mod outcome;
mod pace;
mod quarantine;
mod queue;
mod schedule;
mod tail;

pub use crate::pacing::Moment;
pub use outcome::{Committed, Failed, Failure, FailureKind, Next, SyncProgress};

/// For how long tables that were read before there was anything to commit count as read: an earlier process may still have been at work.
const READ_VALID_FOR: Duration = Duration::from_secs(10);
/// How long what packets may still look up stays after a change. A packet needs microseconds for the rules, and longer only while its
/// processor is taken away.
const GRACE: Duration = Duration::from_millis(50);
/// So many failures in a row, and the refused frontends are searched for.
const FAILURES_BEFORE_BISECT: u32 = 2;

/// What an engine is made for.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The tables that are written, and their program.
    pub scope: Scope,
    /// The place that the cluster is seen from.
    pub view: View,
    /// How long the kernel should be busy with one slice; `None` to commit everything in one batch.
    pub slice_goal: Option<Duration>,
    /// The most operations of one slice, whatever the kernel's pace; one that may not be divided can be larger.
    pub max_slice: usize,
    /// How long what packets that are on their way may look up stays after it is not asked for any more; `None` to delete it with the change.
    pub grace: Option<Duration>,
    /// The least time from the end of one sync to the next one, in which changes collect.
    pub min_sync_period: Duration,
    /// The longest pause before a failed sync is tried again.
    pub longest_pause: Duration,
}

/// The whole decision of the proxy. See [the module](self).
#[derive(Clone, Debug)]
pub struct Engine {
    settings: EngineSettings,
    /// The scope, with what the Node object decides filled in.
    scope: Scope,
    snapshot: Snapshot,
    kernel: Kernel,
    backlog: Backlog,
    bisect: Option<Bisect>,
    quarantine: Quarantine,
    schedule: Schedule,
    pace: SlicePace,
    tail: Tail,
}

/// What is known of the kernel's tables.
#[derive(Clone, Debug)]
enum Kernel {
    /// They have to be read.
    Unknown,
    /// They are being read.
    Reading,
    /// They hold this.
    Known {
        held: Box<Acknowledged>,
        /// When they were read; `None` after a commit was acknowledged.
        read_at: Option<Moment>,
    },
    /// They are being changed.
    Committing(Box<InFlight>),
}

/// A plan that was handed out.
#[derive(Clone, Debug)]
struct InFlight {
    /// It covers everything that was compiled since the last plan.
    has_all_new: bool,
    /// The first plan after the tables were read.
    after_reading: bool,
    /// It only deletes what earlier plans left.
    is_tail: bool,
    /// While refused frontends are searched for.
    step: Option<SearchStep>,
}

/// What the search for refused frontends goes on from if the kernel refuses a plan.
#[derive(Clone, Debug)]
struct SearchStep {
    selection: Selection,
    /// What the tables held before the plan.
    before: Acknowledged,
}

impl EngineSettings {
    /// Both tables with the default program, seen from this place, with kube-proxy's periods.
    pub fn new(scope: Scope, view: View) -> Self {
        Self {
            scope,
            view,
            slice_goal: Some(Duration::from_millis(50)),
            max_slice: usize::MAX,
            grace: Some(GRACE),
            min_sync_period: Duration::ZERO,
            // kube-proxy's `syncPeriod`.
            longest_pause: Duration::from_secs(30),
        }
    }
}

impl Engine {
    /// An engine of an empty cluster, before an unknown kernel.
    pub fn new(settings: EngineSettings) -> Self {
        Self {
            scope: settings.scope.clone(),
            snapshot: Snapshot::seen_from(settings.view.clone()),
            kernel: Kernel::Unknown,
            backlog: Backlog::default(),
            bisect: None,
            quarantine: Quarantine::default(),
            schedule: Schedule::new(settings.min_sync_period, settings.longest_pause),
            pace: SlicePace::new(settings.slice_goal),
            tail: Tail::new(settings.grace),
            settings,
        }
    }

    /// What the engine was made for.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The cluster, and what it asked for when it was last compiled.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The families whose tables are written.
    pub fn families(&self) -> &[Family] {
        &self.settings.scope.families
    }

    /// The scope of the next plan, with what the Node object decides filled in.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What the kernel is known to hold; `None` while it is unknown, read or changed.
    pub fn acknowledged(&self) -> Option<&Acknowledged> {
        match &self.kernel {
            Kernel::Known { held, .. } => Some(held),
            _ => None,
        }
    }

    /// How many attempts failed in a row.
    pub fn failures(&self) -> u32 {
        self.schedule.failures()
    }

    /// Whether anything waits to be committed.
    pub fn is_due(&self) -> bool {
        self.schedule.is_due() || !self.backlog.is_empty()
    }

    /// Whether what earlier changes left waits to be deleted.
    pub fn has_leftovers(&self) -> bool {
        !self.tail.is_empty()
    }

    /// Takes in one event. Costs O(log n), or one comparison for each object of a complete list.
    pub fn fold(&mut self, event: Event) -> Folded {
        let is_about_node = matches!(event, Event::NodeApplied(_) | Event::NodesReset(_));
        let mut folded = self.snapshot.fold(event);
        if is_about_node && self.settings.scope.pods_by_node {
            self.scope = self.settings.scope.on(self.snapshot.cluster().node());
            folded.changed = true;
        }
        self.schedule.heard(folded.changed);
        folded
    }

    /// Compiles each Service that changed since the last time, once. To be called after events were folded and before [`Self::next`].
    pub fn compile(&mut self) -> Compiled {
        let mut compiled = self.snapshot.compile();
        self.backlog.add(std::mem::take(&mut compiled.changed), self.snapshot.desired());
        compiled
    }

    /// Takes what was heard so far for the complete cluster, as at the end of a journal.
    pub fn assume_complete(&mut self) {
        self.snapshot.assume_complete();
        self.schedule.heard(true);
    }

    /// What to do next.
    pub fn next(&mut self, now: Moment) -> Next {
        if self.quarantine.expire(now, &mut self.backlog) {
            self.schedule.heard(true);
        }
        self.tail.expire(now);
        let is_ready = self.is_due() && self.snapshot.cluster().is_complete();
        match &self.kernel {
            Kernel::Reading | Kernel::Committing(_) => return Next::Wait(None),
            Kernel::Unknown => {
                if let Some(at) = self.schedule.wait(now).filter(|_| self.schedule.failures() > 0) {
                    return Next::Wait(Some(at));
                }
                self.kernel = Kernel::Reading;
                return Next::Read;
            }
            Kernel::Known { .. } if !is_ready => return self.tidy(now),
            Kernel::Known { read_at: Some(at), .. } if now.since(*at) > READ_VALID_FOR => {
                self.kernel = Kernel::Reading;
                return Next::Read;
            }
            Kernel::Known { read_at: Some(_), .. } => {
                if let Some(at) = self.tail.through_at(now) {
                    return Next::Wait(Some(at));
                }
            }
            Kernel::Known { .. } => {}
        }
        match self.schedule.wait(now) {
            Some(at) => Next::Wait(Some(at)),
            None => self.plan(now),
        }
    }

    /// Plans the next leftovers whose time has come. No change waits.
    fn tidy(&mut self, now: Moment) -> Next {
        let is_pausing = self.schedule.wait(now).max(self.tail.wait(now));
        while self.tail.is_ready() && is_pausing.is_none() {
            let Kernel::Known { held, .. } = std::mem::replace(&mut self.kernel, Kernel::Unknown) else { break };
            let (mut selection, limit) = (Selection::default(), self.pace.operations().min(self.settings.max_slice));
            self.take_leftovers(limit, &held, &mut selection);
            let plan = self.plan_keys(*held, selection);
            if !plan.is_empty() {
                let in_flight = InFlight { has_all_new: false, after_reading: false, is_tail: true, step: None };
                self.kernel = Kernel::Committing(Box::new(in_flight));
                return Next::Commit(Box::new(plan));
            }
            self.tail.add(plan.left, now);
            self.kernel = Kernel::Known { held: Box::new(plan.next), read_at: None };
        }
        let tail = if self.tail.is_ready() { is_pausing } else { self.tail.next_at() };
        Next::Wait([tail, self.quarantine.expires_at()].into_iter().flatten().min())
    }

    fn take_leftovers(&mut self, limit: usize, held: &Acknowledged, selection: &mut Selection) {
        let desired = self.snapshot.desired();
        let with = Comparison { held, desired, scope: &self.scope, quarantine: &self.quarantine };
        self.tail.take(limit, with, |frontend| self.backlog.waits(frontend), selection);
    }

    fn plan_keys(&mut self, held: Acknowledged, selection: Selection) -> Plan {
        let deletion = self.tail.begin_plan();
        let desired = self.snapshot.desired();
        held.plan(desired, &self.scope, &selection.into_keys(), self.backlog.upcoming(), deletion)
    }

    /// Plans the next slice. The last one of a change may be empty: it says that nothing is left to do.
    fn plan(&mut self, now: Moment) -> Next {
        let Kernel::Known { held, read_at } = std::mem::replace(&mut self.kernel, Kernel::Unknown) else {
            return Next::Wait(None);
        };
        let mut held = *held;
        let after_reading = read_at.is_some();
        let released = self.quarantine.release_changed(self.snapshot.desired(), &mut self.backlog);
        if self.bisect.is_none() && (released || self.schedule.failures() >= FAILURES_BEFORE_BISECT) {
            self.bisect = Some(Bisect::new(!held.frontends.is_empty()));
        }
        loop {
            let desired = self.snapshot.desired();
            let with = Comparison { held: &held, desired, scope: &self.scope, quarantine: &self.quarantine };
            let mut selection = match &mut self.bisect {
                Some(bisect) => bisect.select(&mut self.backlog, with),
                None => self.backlog.select(with, self.pace.operations().min(self.settings.max_slice), false),
            };
            let has_all_new = selection.has_all_new;
            // A plan that may not be divided is no step of a search: what replaces a table must not go without its elements.
            let searches = self.bisect.is_some() && !selection.is_whole;
            let step = searches.then(|| SearchStep { selection: selection.clone(), before: held.clone() });
            if self.bisect.is_none() {
                self.take_leftovers(tail::MAX_WITH_CHANGE, &held, &mut selection);
            }
            let plan = self.plan_keys(held, selection);
            if plan.is_empty() && !self.is_last() {
                self.tail.add(plan.left, now);
                held = plan.next;
                continue;
            }
            self.backlog.handed_out();
            self.kernel = Kernel::Committing(Box::new(InFlight { has_all_new, after_reading, is_tail: false, step }));
            return Next::Commit(Box::new(plan));
        }
    }

    /// Whether nothing is left to be planned.
    fn is_last(&self) -> bool {
        self.backlog.is_empty() && self.bisect.as_ref().is_none_or(Bisect::is_done)
    }

    /// The kernel acknowledged a plan, or the plan had no operations. `began` is when the plan was begun: a change that arrives then waits
    /// for the planning, too.
    pub fn committed(&mut self, mut plan: Plan, began: Moment, now: Moment) -> Committed {
        let held = std::mem::take(&mut plan.next);
        let before = std::mem::replace(&mut self.kernel, Kernel::Known { held: Box::new(held), read_at: None });
        let (has_all_new, after_reading, is_tail) = match before {
            Kernel::Committing(batch) => (batch.has_all_new, batch.after_reading, batch.is_tail),
            _ => (false, false, false),
        };
        self.pace.took(plan.operations.len(), now.since(began));
        let element_changes = OnceLock::new();
        if !plan.is_empty() {
            self.tail.took_effect(now);
        }
        self.tail.add(std::mem::take(&mut plan.left), now);
        if is_tail {
            self.tail.succeeded();
            let progress = SyncProgress::Tidied;
            return Committed { plan, element_changes, after_reading, progress, refused: Vec::new() };
        }
        if let Some(bisect) = &mut self.bisect {
            bisect.accepted(&plan);
        }
        let progress = self.progress(has_all_new);
        let mut refused = Vec::new();
        if progress == SyncProgress::CaughtUp {
            refused = self.conclude_bisect(now);
            self.schedule.caught_up(now);
        }
        Committed { plan, element_changes, after_reading, progress, refused }
    }

    fn progress(&self, has_all_new: bool) -> SyncProgress {
        match (self.is_last(), has_all_new) {
            (true, _) => SyncProgress::CaughtUp,
            (false, true) => SyncProgress::Newest,
            (false, false) => SyncProgress::Partial,
        }
    }

    /// Puts what a search found into quarantine. Returns what was left out of which object.
    fn conclude_bisect(&mut self, now: Moment) -> Vec<Skipped> {
        let Some(bisect) = self.bisect.take() else {
            return Vec::new();
        };
        let expires_at = now + self.settings.longest_pause;
        self.quarantine.add(bisect.into_refused(), self.snapshot.desired(), expires_at)
    }

    /// A plan was not acknowledged: some, all or nothing of it may be committed.
    pub fn failed(&mut self, mut plan: Plan, failure: &Failure, now: Moment) -> Failed {
        let kernel = std::mem::replace(&mut self.kernel, Kernel::Unknown);
        plan.next = Acknowledged::default();
        if matches!(&kernel, Kernel::Committing(batch) if batch.is_tail) {
            self.tail.failed(self.schedule.backoff(), now);
        }
        if let (Kernel::Committing(batch), Some(bisect)) = (kernel, &mut self.bisect)
            && failure.kind == FailureKind::Refused
            && let Some(step) = batch.step
            && bisect.refused(step.selection, &failure.message, &mut self.backlog)
        {
            self.kernel = Kernel::Known { held: Box::new(step.before), read_at: None };
            return Failed::searching(plan);
        }
        self.tail.clear();
        if failure.kind == FailureKind::Unanswered {
            self.tail.took_effect(now);
        }
        let bisect = self.bisect.take();
        let waits = |family: Family| {
            plan.operations.iter().any(|operation| operation.family == family)
                || self.backlog.concerns(family)
                || bisect.as_ref().is_some_and(|bisect| bisect.concerns(family))
        };
        let up_to_date = self.families().iter().copied().filter(|family| !waits(*family)).collect();
        self.backlog.compare_everything();
        self.schedule.failed(now);
        Failed { plan, up_to_date, failures: self.schedule.failures(), is_search: false }
    }

    /// The tables were read: they hold this.
    pub fn read_back(&mut self, held: Acknowledged, now: Moment) {
        self.tail.clear();
        self.backlog.compare_everything();
        self.schedule.heard(true);
        let held = held.for_scope(&self.scope);
        if !self.families().iter().any(|family| held.has_table(*family)) {
            self.tail.no_tables();
        }
        self.kernel = Kernel::Known { held: Box::new(held), read_at: Some(now) };
    }

    /// Another program may have written to the tables: they are read and compared, and what differs is committed. Does nothing while a
    /// commit or a reading is on its way.
    pub fn distrust(&mut self) {
        if matches!(self.kernel, Kernel::Known { .. }) {
            self.kernel = Kernel::Unknown;
            self.schedule.heard(true);
        }
    }

    /// The tables could not be read. Returns how many attempts failed in a row.
    pub fn read_failed(&mut self, now: Moment) -> u32 {
        self.kernel = Kernel::Unknown;
        self.schedule.failed(now);
        self.schedule.failures()
    }
}

#[cfg(test)]
mod tests;
