//! The state of the watch over our tables: what is suspected, what was found, and what comes next.

use std::time::Duration;

use super::pace::RepairPace;
use super::{DriftNews, DriftReport, Reaction};
use crate::dataplane::{ElementCounts, Family, ForeignCommit, Operation, Outline, Writer};
use crate::diff::{Acknowledged, Deviation, Differing, Expected, Plan, Written};
use crate::pacing::Moment;

/// A look is taken at most so often that it takes one part in so many of the time.
const LOOK_SHARE: u32 = 50;
/// The longest time between two looks. A process or a machine that stands still during a look must not be deaf for long.
const MAX_LOOK_PAUSE: Duration = Duration::from_secs(5);
/// A comparison, with up to four threads, takes at most one part in so many of the time: one percent of a core.
const COMPARE_SHARE: u32 = 400;
/// The least time between two comparisons.
const MIN_COMPARE_PAUSE: Duration = Duration::from_secs(1);
/// The time from one comparison to the next while nothing is suspected, and the longest one at all.
const QUIET_COMPARE_PAUSE: Duration = Duration::from_secs(600);
/// The time from the first sync to the first comparison: what others committed since the tables were read was not heard. Also the time to
/// the next one after a comparison that decided nothing.
const FIRST_COMPARE_PAUSE: Duration = Duration::from_secs(10);
/// For how long a comparison waits for changes that wait to be committed.
const MAX_COMPARE_DELAY: Duration = Duration::from_secs(60);
/// The longest time from the repair to its end: under many changes something always waits to be deleted.
const MAX_TIDYING: Duration = Duration::from_secs(1);
/// The most processes that are named.
const MAX_WRITERS: usize = 4;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftStep {
    /// Read the outline of the tables, then call [`looked`](DriftWatch::looked).
    Look,
    /// Read the tables while commits go on, then call [`compared`](DriftWatch::compared).
    Compare,
    /// Let the engine read the tables and compare them.
    Repair,
    /// Nothing, until this moment or something is heard.
    Wait(Option<Moment>),
}

/// Watches over our tables. Pure: time and what was read come in as data.
#[derive(Debug, Default)]
pub struct DriftWatch {
    reaction: Reaction,
    /// Something was heard since the last look.
    suspicion: Option<Suspicion>,
    /// What was heard before the last look, which found nothing: it may have replaced elements.
    looked_at: Option<Suspicion>,
    /// A look is wanted, for whatever cause.
    wants_look: bool,
    /// No look before this moment.
    look_at: Moment,
    compare: CompareSchedule,
    /// The tables' numbers; `None` while that is not known.
    handles: [Option<u64>; 2],
    drift: Option<Drift>,
    /// What the next reading for the engine is expected to find; `None` if nothing is known.
    expected: Option<Expected>,
    pace: RepairPace,
    /// When the tables were last seen to be as expected: by a look or a comparison.
    verified: Option<Moment>,
    /// When all elements were last seen to be as expected.
    compared: Option<Moment>,
}

/// When everything is compared.
#[derive(Debug, Default)]
struct CompareSchedule {
    /// One is running.
    is_running: bool,
    /// When the last one began.
    began: Moment,
    /// What was heard before it began.
    about: Option<Suspicion>,
    /// What was committed since it began.
    written: Written,
    /// More may have been written since it began.
    is_void: bool,
    /// The next one; `None` before the first sync.
    at: Option<Moment>,
    /// None before this moment.
    not_before: Moment,
}

/// What was heard.
#[derive(Debug)]
struct Suspicion {
    since: Moment,
    writers: Vec<Writer>,
}

/// A deviation that was found, or is taken for likely.
#[derive(Debug)]
struct Drift {
    report: DriftReport,
    found_at: Moment,
    /// It was told.
    is_told: bool,
    stage: Stage,
    /// When the repair began.
    repair_began: Moment,
    operations: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    RepairAt(Moment),
    Repairing,
    /// Everything is programmed, and what is not asked for is deleted when no packet can need it, at the latest then.
    Tidying(Moment),
    Observed,
}

impl Suspicion {
    fn add(&mut self, writers: impl IntoIterator<Item = Writer>) {
        for writer in writers {
            if self.writers.len() < MAX_WRITERS && !self.writers.contains(&writer) {
                self.writers.push(writer);
            }
        }
    }

    /// Adds `other` to what `slot` holds.
    fn merge(slot: &mut Option<Self>, other: Option<Self>) {
        let Some(other) = other else { return };
        match slot {
            Some(all) => {
                all.since = all.since.min(other.since);
                all.add(other.writers);
            }
            None => *slot = Some(other),
        }
    }
}

impl Drift {
    fn new(report: DriftReport, is_told: bool, stage: Stage, now: Moment) -> Self {
        Self { report, found_at: now, is_told, stage, repair_began: now, operations: 0 }
    }

    /// Deviations are found while it is not repaired. It is news if they are others, or what is told names other programs.
    fn goes_on(&mut self, suspicion: Option<Suspicion>, deviations: Vec<Deviation>) -> Option<DriftNews> {
        let is_other = self.report.deviations != deviations;
        self.report.deviations = deviations;
        if is_other && let Some(suspicion) = suspicion {
            let mut all = Suspicion { since: self.report.since, writers: std::mem::take(&mut self.report.writers) };
            all.add(suspicion.writers);
            self.report.writers = all.writers;
        }
        (is_other && self.is_told).then(|| DriftNews::Widened { report: self.report.clone() })
    }
}

impl DriftWatch {
    /// A watch that reacts so. It begins with [`synced`](Self::synced).
    pub fn new(reaction: Reaction) -> Self {
        Self { reaction, ..Self::default() }
    }

    /// The drift that was found and is not repaired.
    pub fn drift(&self) -> Option<&DriftReport> {
        self.drift.as_ref().filter(|drift| drift.is_told).map(|drift| &drift.report)
    }

    /// When the tables were last seen to be as expected, but for elements that were replaced; and when with all elements.
    pub fn verified(&self) -> (Option<Moment>, Option<Moment>) {
        (self.verified, self.compared)
    }

    /// Whether the engine is about to settle what was found.
    pub fn is_repairing(&self) -> bool {
        self.drift.as_ref().is_some_and(|drift| drift.stage == Stage::Repairing)
    }

    /// The first sync is done, and commits of others are heard from now on.
    pub fn synced(&mut self, now: Moment) {
        self.wants_look = true;
        self.compare.at = Some(now + FIRST_COMPARE_PAUSE);
    }

    /// Another process committed something, to whatever table.
    pub fn heard(&mut self, commit: ForeignCommit, now: Moment) {
        let suspicion = Suspicion { since: now, writers: vec![commit.writer] };
        Suspicion::merge(&mut self.suspicion, Some(suspicion));
        self.wants_look = true;
    }

    /// More was committed than could be heard.
    pub fn lost(&mut self, now: Moment) {
        Suspicion::merge(&mut self.suspicion, Some(Suspicion { since: now, writers: Vec::new() }));
        self.wants_look = true;
    }

    /// What to do next. `held`: what the kernel acknowledged; `None` while a commit or a reading of the engine's is on its way. `is_busy`: more
    /// waits to be committed, which a comparison would hold up.
    pub fn next(&mut self, held: Option<&Acknowledged>, is_busy: bool, now: Moment) -> DriftStep {
        let Some(held) = held else { return DriftStep::Wait(None) };
        if let Some(drift) = &mut self.drift
            && let Stage::RepairAt(at) = drift.stage
        {
            if at > now {
                // What else is changed meanwhile is told.
                return match self.wants_look {
                    true if self.look_at <= now => DriftStep::Look,
                    true => DriftStep::Wait(Some(at.min(self.look_at))),
                    false => DriftStep::Wait(Some(at)),
                };
            }
            (drift.stage, drift.repair_began) = (Stage::Repairing, now);
            self.expected = Some(Expected { held: held.clone(), written: Written::default() });
            return DriftStep::Repair;
        }
        match self.drift.as_ref().map(|drift| drift.stage) {
            Some(Stage::Repairing) => return DriftStep::Wait(None),
            Some(Stage::Tidying(at)) => return DriftStep::Wait(Some(at)),
            _ => {}
        }
        if self.wants_look && self.look_at <= now {
            return DriftStep::Look;
        }
        let delay = if is_busy { MAX_COMPARE_DELAY } else { Duration::ZERO };
        let compare_at = self.compare.at.filter(|_| !self.compare.is_running).map(|at| at + delay);
        if !self.wants_look && compare_at.is_some_and(|at| at <= now) {
            (self.compare.is_running, self.compare.began) = (true, now);
            self.compare.about = self.looked_at.take();
            (self.compare.written, self.compare.is_void) = (Written::default(), false);
            return DriftStep::Compare;
        }
        // A comparison that is due waits for the look.
        DriftStep::Wait(if self.wants_look { Some(self.look_at) } else { compare_at })
    }

    /// A look was taken, which took so long. The outline is compared with what the kernel acknowledged.
    pub fn looked(
        &mut self,
        outline: &Outline,
        (held, counts, families): (&Acknowledged, &ElementCounts, &[Family]),
        took: Duration,
        now: Moment,
    ) -> Option<DriftNews> {
        let mut deviations = held.deviations(outline, counts, families);
        for family in families.iter().copied() {
            let handle = outline.get(family).map(|table| table.handle);
            let known = std::mem::replace(&mut self.handles[family.index()], handle);
            if known.is_some() && handle.is_some() && known != handle {
                deviations.insert(0, Deviation::TableReplaced(family));
            }
        }
        self.wants_look = false;
        self.look_at = now + took.saturating_mul(LOOK_SHARE).min(MAX_LOOK_PAUSE);
        let suspicion = self.suspicion.take();
        if deviations.is_empty() {
            self.verified = Some(now);
            self.compare_soon(suspicion, now);
            return self.is_over(0, now);
        }
        self.found(suspicion, deviations, now)
    }

    /// A look does not see everything that may have been done.
    fn compare_soon(&mut self, suspicion: Option<Suspicion>, now: Moment) {
        if suspicion.is_some() {
            self.compare.at = self.compare.at.map(|at| at.min(self.compare.not_before.max(now)));
        }
        Suspicion::merge(&mut self.looked_at, suspicion);
    }

    /// Looks cannot be taken: everything is compared.
    pub fn cannot_look(&mut self, now: Moment) {
        self.wants_look = false;
        let suspicion = self.suspicion.take();
        self.compare_soon(suspicion, now);
    }

    /// A look failed. The next one follows soon.
    pub fn look_failed(&mut self, now: Moment) {
        self.look_at = now + MIN_COMPARE_PAUSE;
    }

    /// A large change is about to be committed, which a running comparison would hold up. Whether that is to be broken off: it is made
    /// later, and is not put off for ever.
    pub fn makes_way(&mut self, now: Moment) -> bool {
        let is_overdue = self.compare.at.is_some_and(|at| at + MAX_COMPARE_DELAY <= now);
        if !self.compare.is_running || is_overdue {
            return false;
        }
        self.compare.is_running = false;
        let suspicion = self.compare.about.take();
        Suspicion::merge(&mut self.looked_at, suspicion);
        true
    }

    /// What the kernel had acknowledged when [`DriftStep::Compare`] came was compared with the tables, which took so long; `None` if that
    /// failed. `held`: what it has acknowledged by now.
    pub fn compared(
        &mut self,
        differing: Option<Differing>,
        held: Option<&Acknowledged>,
        took: Duration,
        now: Moment,
    ) -> Option<DriftNews> {
        let pause = took.saturating_mul(COMPARE_SHARE).clamp(MIN_COMPARE_PAUSE, QUIET_COMPARE_PAUSE);
        self.compare.is_running = false;
        self.compare.not_before = now + pause;
        // What was heard meanwhile is compared as soon as may be.
        let pause = if self.looked_at.is_some() { pause } else { pause.max(QUIET_COMPARE_PAUSE) };
        self.compare.at = self.compare.at.map(|_| now + pause);
        let mut suspicion = self.compare.about.take();
        let written = std::mem::take(&mut self.compare.written);
        let held = held.filter(|_| !self.compare.is_void);
        let deviations = differing.and_then(|differing| match held {
            _ if differing.is_empty() => Some(Vec::new()),
            Some(held) => differing.deviations_beside(&written, held),
            // The engine reads the tables, or has read them.
            None => None,
        });
        let Some(deviations) = deviations else {
            // It decided nothing.
            let again = now + FIRST_COMPARE_PAUSE.max(self.compare.not_before.since(now));
            self.compare.at = self.compare.at.map(|at| at.min(again));
            self.compare_soon(suspicion, now);
            return None;
        };
        let found_meanwhile = self.drift.as_ref().is_some_and(|drift| drift.found_at >= self.compare.began);
        if deviations.is_empty() && found_meanwhile {
            // The tables may have been read before another program wrote what the look found.
            return None;
        }
        if deviations.is_empty() {
            (self.verified, self.compared) = (Some(now), Some(now));
            return self.is_over(0, now);
        }
        Suspicion::merge(&mut suspicion, self.looked_at.take());
        if self.drift.is_some() || self.reaction == Reaction::Observe {
            return self.found(suspicion, deviations, now);
        }
        // Something may have been missed while the kernel resized a set: the engine's reading decides.
        let (_, pause) = self.pace.found(now);
        let Suspicion { since, writers } = suspicion.unwrap_or(Suspicion { since: now, writers: Vec::new() });
        let report = DriftReport { since, writers, deviations };
        let stage = Stage::RepairAt(now + pause);
        self.drift = Some(Drift::new(report, false, stage, now));
        None
    }

    /// A commit failed, or the tables could not be read: the engine reads them by itself. `tried`: what the tables hold after the commit,
    /// and its operations, some or all of which may have taken effect; `None` after a reading.
    pub fn failed(&mut self, tried: Option<(Acknowledged, &[Operation])>, now: Moment) {
        if let Some((held, operations)) = tried {
            let mut written = Written::default();
            written.add(operations);
            self.expected = Some(Expected { held, written });
            self.compare.is_void = true;
        }
        if let Some(drift) = &mut self.drift {
            (drift.stage, drift.repair_began) = (Stage::Repairing, now);
        } else if self.suspicion.is_some() {
            Suspicion::merge(&mut self.suspicion, self.looked_at.take());
            let Some(Suspicion { since, writers }) = self.suspicion.take() else { return };
            let report = DriftReport { since: since.min(now), writers, deviations: Vec::new() };
            self.drift = Some(Drift::new(report, false, Stage::Repairing, now));
            self.wants_look = false;
        }
    }

    /// What the reading of the engine that is due is expected to find; `None` if nothing is known.
    pub fn expected(&self) -> Option<&Expected> {
        self.expected.as_ref()
    }

    /// The engine has read the tables. `deviations`: from what was [expected](Self::expected). Nothing is committed during this reading: so
    /// it decides, and only now it is told what a comparison found.
    pub fn read_again(&mut self, deviations: Option<Vec<Deviation>>, now: Moment) -> Option<DriftNews> {
        self.expected = None;
        self.compare.is_void = true;
        // What was read may be of other tables than those of the last look, and nothing but its content counts.
        self.handles = [None; 2];
        self.wants_look |= self.compare.at.is_some();
        let is_open = |drift: &&mut Drift| drift.stage == Stage::Repairing && !drift.is_told;
        let drift = self.drift.as_mut().filter(is_open)?;
        let deviations = deviations.unwrap_or_default();
        if deviations.is_empty() {
            self.drift = None;
            (self.verified, self.compared) = (Some(now), Some(now));
            return None;
        }
        drift.report.deviations = deviations;
        drift.is_told = true;
        let report = drift.report.clone();
        let (repairs, _) = self.pace.found(now);
        Some(DriftNews::Found { report, pause: Some(Duration::ZERO), repairs })
    }

    /// A plan was committed. `is_last`: everything is programmed; `has_leftovers`: what is not asked for waits to be deleted.
    pub fn committed(&mut self, plan: &Plan, (is_last, has_leftovers): (bool, bool), now: Moment) -> Option<DriftNews> {
        if self.compare.is_running {
            self.compare.written.add(&plan.operations);
        }
        for change in plan.tables.iter().filter(|change| change.created || change.rebuilt) {
            self.handles[change.family.index()] = None;
            // Learns the new number.
            self.wants_look = true;
        }
        let is_own = |drift: &&mut Drift| matches!(drift.stage, Stage::Repairing | Stage::Tidying(_));
        let drift = self.drift.as_mut().filter(is_own)?;
        drift.operations += plan.operations.len();
        if drift.stage != Stage::Repairing {
            return self.tidied(has_leftovers, now);
        }
        if !is_last {
            return None;
        }
        drift.stage = Stage::Tidying(now + MAX_TIDYING);
        let took = now.since(drift.repair_began);
        self.pace.repaired(took, now);
        self.tidied(has_leftovers, now)
    }

    /// Ends a repair when nothing waits to be deleted any more.
    pub fn tidied(&mut self, has_leftovers: bool, now: Moment) -> Option<DriftNews> {
        let drift = self.drift.as_ref()?;
        let Stage::Tidying(at) = drift.stage else { return None };
        let operations = drift.operations;
        (!has_leftovers || at <= now).then(|| self.is_over(operations, now)).flatten()
    }

    fn found(&mut self, suspicion: Option<Suspicion>, deviations: Vec<Deviation>, now: Moment) -> Option<DriftNews> {
        if let Some(drift) = &mut self.drift {
            return drift.goes_on(suspicion, deviations);
        }
        let Suspicion { since, writers } = suspicion.unwrap_or(Suspicion { since: now, writers: Vec::new() });
        let (repairs, pause) = self.pace.found(now);
        let (stage, pause) = match self.reaction {
            Reaction::Repair => (Stage::RepairAt(now + pause), Some(pause)),
            Reaction::Observe => (Stage::Observed, None),
        };
        let report = DriftReport { since, writers, deviations };
        self.drift = Some(Drift::new(report.clone(), true, stage, now));
        Some(DriftNews::Found { report, pause, repairs })
    }

    /// Everything is as it should be.
    fn is_over(&mut self, operations: usize, now: Moment) -> Option<DriftNews> {
        let Drift { report, is_told, .. } = self.drift.take()?;
        let (lasted, repairs) = (now.since(report.since), self.pace.repairs());
        is_told.then_some(DriftNews::Repaired { report, lasted, operations, repairs })
    }
}

#[cfg(test)]
mod tests;
