//! The simulated world: one clock, an API server, a kernel, one process at a time, and clients.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use pointsman::apply::MemoryKernel;
use pointsman::dataplane::{Family, ForeignCommit, Operation, Writer};
use pointsman::diff::Acknowledged;
use pointsman::drift::{DriftNews, DriftStep};
use pointsman::engine::{FailureKind, Moment, Next, SyncProgress};
use pointsman::follow::{Effort, Follower as _, ReadBack};
use pointsman::observe::StatusBoard;
use pointsman::state::{Event, Kind};
use pointsman::status::DriftFacts;

use crate::api::{Micros, Server, Watch};
use crate::clients::Memory;
use crate::coverage::{Coverage, Fault};
use crate::kernel::{ForeignWrite, Kernel};
use crate::law;
use crate::model::Model;
use crate::process::{Comparison, InFlight, News, Process, Reading, micros, moment};
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::story::{Settings, Story};
use crate::work::Budget;

/// How long a packet may be among the rules: what packets may look up stays for that long.
const GRACE: Micros = 50_000;
/// More turns than this for one step: something wakes the loop again and again.
const MAX_TURNS: usize = 200_000;
/// More versions than this wait: packets are not judged.
const MAX_JUDGED: usize = 10;

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub law: &'static str,
    pub text: String,
}

pub type Checked = Result<(), Violation>;

/// What the kernel held from a moment on.
struct Generation {
    since: Micros,
    tables: MemoryKernel,
    /// The oldest version that may be programmed at its beginning.
    floor: usize,
}

pub struct World {
    pub now: Micros,
    pub random: Random,
    pub settings: Settings,
    pub server: Server,
    pub watches: [Watch; 4],
    pub kernel: Kernel,
    pub process: Process,
    /// What was asked for, in order; over all processes.
    pub versions: Vec<Rc<Model>>,
    /// When each was asked for.
    pub asked_at: Vec<Micros>,
    /// The version that is programmed for sure; later ones may be.
    pub floor: usize,
    /// Up to here all was committed, but for frontends that may be set aside.
    pub caught_up: usize,
    /// Frontends may be set aside.
    pub aside: bool,
    /// Another program wrote to our tables, and that is not repaired.
    pub tainted: bool,
    pub tainted_at: Micros,
    /// When the process began.
    pub begun_at: Micros,
    /// When something was last wrong with the kernel.
    pub wrong_at: Micros,
    generations: VecDeque<Generation>,
    /// So many times another program undoes a repair.
    pub fights: u32,
    pub memory: Memory,
    pub budget: Budget,
    /// What is done wrong on purpose.
    pub sabotage: Option<Sabotage>,
    /// A comparison during which the clock jumped puts off the next one until then.
    pub comparison_not_before: Micros,
    /// When the tables were last found to be as they were written again.
    pub untainted_at: Micros,
    pub met: Coverage,
    pub commits: u64,
    /// The lines of the story, if they are wanted.
    pub trace: Option<Vec<String>>,
}

macro_rules! tell {
    ($world:expr, $($text:tt)*) => {
        if let Some(trace) = &mut $world.trace {
            trace.push(format!("{:>14.6} s  {}", $world.now as f64 / 1e6, format!($($text)*)));
        }
    };
}
pub(crate) use tell;

impl World {
    pub fn new(story: &Story, is_told: bool, sabotage: Option<Sabotage>) -> Self {
        let watches = Kind::ALL.map(|kind| Watch::new(kind, 1_000 * (1 + story.seed % 7) * (1 + kind as u64 % 3)));
        let mut world = Self {
            now: 0,
            random: Random::new(story.seed),
            settings: story.settings.clone(),
            server: Server::default(),
            watches,
            kernel: Kernel::default(),
            process: Process::new(&story.settings),
            versions: vec![Rc::new(Model::new(&story.settings.packets))],
            asked_at: vec![0],
            floor: 0,
            caught_up: 0,
            aside: false,
            tainted: false,
            tainted_at: 0,
            begun_at: 0,
            wrong_at: 0,
            generations: VecDeque::new(),
            fights: 0,
            memory: Memory::default(),
            budget: Budget::default(),
            sabotage,
            comparison_not_before: 0,
            untainted_at: 0,
            met: Coverage::default(),
            commits: 0,
            trace: is_told.then(Vec::new),
        };
        world.remember_generation();
        world.kernel.keeps_endpoints = world.does(Sabotage::KeepsEndpoints);
        world.begin_process();
        world
    }

    /// A new process begins.
    pub fn begin_process(&mut self) {
        self.process = Process::new(&self.settings);
        if let Some(sabotage) = self.sabotage {
            sabotage.begin(&mut self.process);
        }
        self.process.inbox.push(Event::HostAddresses(self.settings.packets.host().into_iter().collect()));
        self.process.wake = Some(self.now);
        self.end_budget();
    }

    pub fn does(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, time: Micros) -> Checked {
        let end = self.now + time;
        for turns in 0.. {
            if turns > MAX_TURNS {
                return broken("the loop comes to rest", format!("{turns} turns within {time} us"));
            }
            self.turn()?;
            let flows = self.memory.due.iter().map(|(at, _)| *at).min();
            let next = self.watches.iter().filter_map(Watch::next_at).chain(self.process.next_at()).chain(flows).min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
        }
        self.now = end;
        self.turn()
    }

    /// Lets everything happen that is due now.
    pub fn turn(&mut self) -> Checked {
        for n in 0..4 {
            while let Some(event) = self.watches[n].receive(&self.server, self.now, &mut self.random, &mut self.met) {
                self.arrived(event);
            }
        }
        self.expire_clients();
        self.poll()?;
        self.look_at_flows();
        Ok(())
    }

    fn arrived(&mut self, event: Event) {
        self.met.count(Fault::Change);
        if event.change() == "reset" && self.process.complete[event.kind() as usize] {
            self.met.count(Fault::Relist);
        }
        tell!(self, "arrives: {}", told(&event));
        self.process.inbox.push(event);
    }

    /// What the process does now.
    fn poll(&mut self) -> Checked {
        if let Some(commit) = &self.process.commit {
            if commit.answer.is_none() && commit.apply_at <= self.now {
                self.apply()?;
            }
            match &self.process.commit {
                Some(commit) if commit.answer.is_some() && commit.done_at <= self.now => self.answered()?,
                _ => return Ok(()),
            }
        }
        if self.process.reading.as_ref().is_some_and(|reading| reading.done_at <= self.now) {
            self.take_reading();
        }
        if self.process.comparison.as_ref().is_some_and(|comparison| comparison.done_at <= self.now) {
            self.take_comparison();
        }
        self.hear();
        self.fold();
        loop {
            let look_at = self.watch_over();
            match self.process.engine.next(moment(self.now)) {
                Next::Wait(at) => {
                    self.process.is_idle = at.is_none() && self.process.reading.is_none();
                    if self.process.is_idle && self.process.engine.acknowledged().is_some() {
                        self.settled();
                    }
                    let at = at.filter(|_| !self.does(Sabotage::NeverRetries) || self.process.engine.failures() == 0);
                    self.process.wake = at.into_iter().chain(look_at).min().map(micros);
                    return Ok(());
                }
                Next::Read => {
                    tell!(self, "reads the tables");
                    self.end_budget();
                    let result = self.kernel.read(&mut self.met).map(|held| (held, self.kernel.foreign_writes));
                    self.note_wrong(result.is_none());
                    let took = 300 + self.random.below(20_000);
                    self.process.reading = Some(Reading { done_at: self.now + took, result });
                }
                Next::Commit(plan) => {
                    if !self.process.is_complete() {
                        return broken("nothing is programmed from incomplete lists", "a plan before all lists");
                    }
                    let mut plan = plan;
                    if self.does(Sabotage::RewritesEverything) && !plan.is_empty() && self.random.one_in(4) {
                        let again: Vec<_> = plan.operations.iter().cloned().cycle().take(1_000).collect();
                        plan.operations.extend(again);
                    }
                    self.spend(&plan)?;
                    self.process.flows.committing(self.process.engine.snapshot());
                    let version = self.versions.len() - 1;
                    let size = plan.operations.len() as u64;
                    let mut took = 200 + 4 * size + self.random.below(300);
                    if self.kernel.faults.slow > 0 {
                        self.kernel.faults.slow -= 1;
                        self.met.count(Fault::SlowKernel);
                        self.note_wrong(true);
                        took *= 100;
                    }
                    let is_empty = plan.is_empty();
                    let (apply_at, done_at) = (self.now + took, self.now + took + self.random.below(400));
                    let commit = InFlight { plan: *plan, version, sent: self.now, apply_at, done_at, answer: None };
                    self.process.commit = Some(commit);
                    if !is_empty {
                        return Ok(());
                    }
                    self.apply()?;
                    self.answered()?;
                }
            }
        }
    }

    fn note_wrong(&mut self, is_wrong: bool) {
        if is_wrong {
            self.wrong_at = self.now;
        }
    }

    fn fold(&mut self) {
        if self.process.inbox.is_empty() {
            return;
        }
        for event in std::mem::take(&mut self.process.inbox) {
            let is_lost = self.does(Sabotage::LosesEvents) && event.change() == "applied" && self.random.one_in(20);
            self.process.fold(event, is_lost);
        }
        let process = &mut self.process;
        let compiled = process.engine.compile();
        let is_due = process.engine.is_due();
        process.flows.compiled(&compiled, process.engine.snapshot(), is_due);
        if is_due && process.is_complete() {
            process.board.pending(moment(self.now));
        }
        if self.process.is_complete() {
            self.versions.push(self.process.version());
            self.asked_at.push(self.now);
            self.allow();
            if !self.process.engine.is_due() && self.process.has_synced {
                self.nothing_waits();
            }
        }
    }

    /// All versions are programmed, but for frontends that may be set aside.
    fn nothing_waits(&mut self) {
        self.caught_up = self.versions.len() - 1;
        if !self.aside {
            self.floor = self.caught_up;
        }
    }

    /// The kernel takes the batch.
    fn apply(&mut self) -> Checked {
        let Some(commit) = &mut self.process.commit else { return Ok(()) };
        if commit.plan.operations.is_empty() {
            commit.answer = Some(crate::kernel::Answer { result: Ok(()), applied: false });
            return Ok(());
        }
        self.commits += 1;
        let mut answer = self.kernel.commit(&commit.plan.operations, &mut self.met);
        match self.sabotage {
            Some(Sabotage::BelievesLostBatches)
                if answer.result.as_ref().is_err_and(|it| it.kind == FailureKind::Unanswered) =>
            {
                answer.result = Ok(());
            }
            Some(Sabotage::Panics) => assert!(answer.result.is_ok(), "a batch was refused"),
            _ => {}
        }
        let (applied, is_wrong, size) = (answer.applied, answer.result.is_err(), commit.plan.operations.len());
        let is_refused = answer.result.as_ref().is_err_and(|failure| failure.kind == FailureKind::Refused);
        tell!(self, "commits {size} operations: {:?}", answer.result);
        if let Some(trace) = self.trace.as_mut().filter(|_| size <= 200) {
            trace.extend(commit.plan.operations.iter().map(|operation| format!("{:>20}{operation}", "")));
        }
        commit.answer = Some(answer);
        self.aside |= is_refused;
        self.note_wrong(is_wrong);
        if applied {
            self.remember_generation();
            self.judge_packets_on_their_way()?;
        }
        Ok(())
    }

    /// The process learns what became of a batch.
    fn answered(&mut self) -> Checked {
        let Some(InFlight { mut plan, version, sent, answer: Some(answer), .. }) = self.process.commit.take() else {
            return Ok(());
        };
        let now = moment(self.now);
        let (engine, watch) = (&mut self.process.engine, &mut self.process.watch);
        match answer.result {
            Ok(()) => {
                let committed = engine.committed(plan, moment(sent), now);
                self.process.flows.committed(&committed, engine.snapshot(), Effort::default());
                if committed.is_caught_up() || self.sabotage == Some(Sabotage::SaysSynced) {
                    self.process.board.synced(now);
                }
                self.process.counts.follow(committed.element_changes(), |_, _| {});
                let progress = (committed.is_caught_up(), engine.has_leftovers());
                let news = watch.committed(&committed.plan, progress, now);
                news.iter().for_each(|news| note_drift(&self.process.board, news, now));
                if committed.is_caught_up() && !std::mem::replace(&mut self.process.has_synced, true) {
                    self.process.is_listening = self.settings.hears;
                    // Flows that began under the rules of an earlier process may be to addresses that this one does not know.
                    self.memory.epoch += 1;
                    if self.sabotage != Some(Sabotage::IgnoresOthers) {
                        watch.synced(now);
                    }
                }
                if !committed.refused.is_empty() {
                    self.met.count(Fault::Quarantined);
                }
                tell!(self, "acknowledged: {:?}", committed.progress);
                match committed.progress {
                    SyncProgress::CaughtUp => {
                        self.caught_up = version;
                        if !self.aside {
                            self.floor = version;
                        }
                        // What is set aside stays as the other program left it.
                        if self.process.read_writes == self.kernel.foreign_writes && !self.aside {
                            self.untaint();
                        }
                    }
                    SyncProgress::Newest | SyncProgress::Partial => self.met.count(Fault::Sliced),
                    SyncProgress::Tidied => {}
                }
                self.check_acknowledged()
            }
            Err(failure) => {
                let next = std::mem::take(&mut plan.next);
                let failed = engine.failed(plan, &failure, now);
                self.process.flows.failed(&failed, &failure, Duration::ZERO);
                if !failed.is_search {
                    self.process.board.failed(&failure.message, failed.failures, now);
                }
                if failed.is_search {
                    self.met.count(Fault::Searched);
                } else {
                    self.take_failure(Some((next, &failed.plan.operations)));
                }
                self.end_budget();
                Ok(())
            }
        }
    }

    /// The engine waits for events alone: nothing waits any more, and nothing is set aside.
    fn settled(&mut self) {
        if !self.process.has_synced || self.process.engine.is_due() || self.process.engine.has_leftovers() {
            return;
        }
        self.begin_budget();
        self.caught_up = self.versions.len() - 1;
        self.floor = self.caught_up;
        self.aside = false;
        if self.process.read_writes == self.kernel.foreign_writes {
            self.untaint();
        }
    }

    pub fn untaint(&mut self) {
        if std::mem::replace(&mut self.tainted, false) {
            tell!(self, "the tables are as they were written again");
            self.untainted_at = self.now;
            self.generations.clear();
            self.remember_generation();
        }
    }

    fn take_failure(&mut self, tried: Option<(Acknowledged, &[Operation])>) {
        self.hear();
        self.process.watch.failed(tried, moment(self.now));
    }

    fn take_reading(&mut self) {
        let Some(Reading { result, .. }) = self.process.reading.take() else { return };
        let now = moment(self.now);
        match result {
            Some((held, writes)) => {
                tell!(self, "the tables were read");
                self.process.read_writes = writes;
                self.process.counts.restart(&held.count_elements());
                let expected = self.process.watch.expected();
                let deviations = expected.map(|expected| expected.deviations(&held, &Family::ALL));
                let found = ReadBack { elements: held.count_elements(), held, deviations };
                self.process.flows.read(&found);
                let news = self.process.watch.read_again(found.deviations, now);
                news.iter().for_each(|news| note_drift(&self.process.board, news, now));
                self.process.engine.read_back(found.held, now);
            }
            None => {
                tell!(self, "the tables could not be read");
                let failures = self.process.engine.read_failed(now);
                self.process.board.failed("the tables cannot be read", failures, now);
                self.take_failure(None);
            }
        }
    }

    fn take_comparison(&mut self) {
        let Some(Comparison { held, began, result, .. }) = self.process.comparison.take() else { return };
        let now = moment(self.now);
        let differing = result.map(|(read, writes)| {
            let differing = held.differing(&read, &Family::ALL);
            if differing.is_empty() {
                // Otherwise it is compared with what was found, and not with what was written.
                let is_written = !self.process.engine.is_due() && !self.aside;
                if writes == self.kernel.foreign_writes && is_written {
                    self.untaint();
                }
            }
            differing
        });
        tell!(self, "compared: {differing:?}");
        let news = self.process.watch.compared(
            differing,
            self.process.engine.acknowledged(),
            Duration::from_micros(self.now - began),
            now,
        );
        news.iter().for_each(|news| note_drift(&self.process.board, news, now));
    }

    fn hear(&mut self) {
        let now = self.now;
        let due: Vec<News> = self.process.news.iter().filter(|(at, _)| *at <= now).map(|(_, news)| *news).collect();
        self.process.news.retain(|(at, _)| *at > now);
        for news in due {
            match news {
                News::Commit => {
                    let writer = Writer { program: "nft".to_owned(), pid: 7 };
                    self.process.watch.heard(ForeignCommit { generation: 0, writer }, moment(now));
                }
                News::Lost => self.process.watch.lost(moment(now)),
            }
        }
    }

    /// As the loop does between its commits.
    fn watch_over(&mut self) -> Option<Moment> {
        loop {
            let (process, now) = (&mut self.process, moment(self.now));
            let over = process.watch.tidied(process.engine.has_leftovers(), now);
            over.iter().for_each(|news| note_drift(&process.board, news, now));
            let held = process.engine.acknowledged();
            match (process.watch.next(held, process.engine.is_due(), now), held) {
                (DriftStep::Wait(at), _) => return at,
                (DriftStep::Repair, _) => process.engine.distrust(),
                (DriftStep::Compare, Some(held)) => {
                    let held = held.clone();
                    let result = self.kernel.read(&mut self.met).map(|held| (held, self.kernel.foreign_writes));
                    let done_at = self.now + 500 + self.random.below(20_000);
                    self.process.comparison = Some(Comparison { held, began: self.now, done_at, result });
                }
                (DriftStep::Look, Some(held)) => {
                    let outline = self.kernel.outline();
                    let took = Duration::from_micros(200);
                    let news = process.watch.looked(&outline, (held, &process.counts, &Family::ALL), took, now);
                    news.iter().for_each(|news| note_drift(&process.board, news, now));
                    tell!(self, "looks at the tables: {news:?}");
                }
                (_, None) => return None,
            }
        }
    }

    /// Another program writes to the kernel.
    pub fn foreign_write(&mut self, write: ForeignWrite) {
        if !self.kernel.write(write, &mut self.random, &mut self.met) {
            return;
        }
        tell!(self, "another program writes to our tables: {write:?}");
        (self.tainted, self.tainted_at) = (true, self.now);
        self.forget_clients();
        self.note_wrong(true);
        self.generations.clear();
        self.remember_generation();
        self.end_budget();
        self.foreign_commit(News::Commit);
    }

    /// The process hears that another program committed something.
    pub fn foreign_commit(&mut self, news: News) {
        if self.process.is_listening && !self.does(Sabotage::IgnoresOthers) {
            let at = self.now + self.random.below(2_000);
            self.process.news.push((at, news));
        } else {
            self.met.count(Fault::Unheard);
        }
    }

    fn remember_generation(&mut self) {
        let tables = self.kernel.tables.clone();
        self.generations.push_back(Generation { since: self.now, tables, floor: self.floor });
        if self.generations.len() > 3 {
            self.generations.pop_front();
        }
    }

    /// Forgets what packets on their way could have met: the rules are others now.
    pub fn forget_generations(&mut self) {
        self.generations.clear();
        self.remember_generation();
    }

    /// Packets that are among the rules when a batch takes effect.
    fn judge_packets_on_their_way(&mut self) -> Checked {
        if self.tainted {
            return Ok(());
        }
        let newest = self.generations.len() - 1;
        let host = self.settings.packets.host();
        for begin in (0..newest).rev() {
            // It begins in the first of these, and is through within the grace period after the second took effect.
            if self.now - self.generations[begin + 1].since >= GRACE {
                break;
            }
            let first = self.generations[begin].floor;
            let versions = &self.versions[first..];
            if versions.len() > MAX_JUDGED {
                break;
            }
            let tables: Vec<&MemoryKernel> = self.generations.range(begin..).map(|it| &it.tables).collect();
            for _ in 0..2 {
                let model = Rc::clone(self.random.pick(versions));
                let packet = law::packet(&mut self.random, &model);
                self.met.count(Fault::InFlight);
                if let Some(outcome) = law::stray(&tables, versions, &packet, &host) {
                    let text = format!("{packet:?} on its way becomes {outcome:?}");
                    return broken("no packet falls between two snapshots", text);
                }
            }
        }
        Ok(())
    }

    /// New connections.
    pub fn connect(&mut self, count: u64) -> Checked {
        if self.tainted || self.versions.len() - self.floor > MAX_JUDGED {
            return Ok(());
        }
        let host = self.settings.packets.host();
        for _ in 0..count {
            let versions = &self.versions[self.floor..];
            let model = Rc::clone(self.random.pick(versions));
            let packet = law::packet(&mut self.random, &model);
            self.met.count(Fault::Connection);
            if let Some(outcome) = law::stray(&[&self.kernel.tables], versions, &packet, &host) {
                let text = format!("{packet:?} becomes {outcome:?}");
                return broken("no packet goes where no version since the last acknowledged one sends it", text);
            }
            let found = self.kernel.tables.outcomes(&packet, &host);
            tell!(self, "{packet:?} becomes {found:?}");
            self.opened(&packet, &found)?;
        }
        Ok(())
    }

    /// What is acknowledged is what the kernel holds, as far as no other program wrote to it.
    fn check_acknowledged(&self) -> Checked {
        let Some(known) = self.process.engine.acknowledged() else { return Ok(()) };
        if self.tainted || self.process.engine.has_leftovers() {
            return Ok(());
        }
        let held = self.kernel.held();
        if held.frontends != known.frontends || held.shared != known.shared {
            let text = format!(
                "known:\n{:#?}\nheld:\n{:#?}",
                (&known.frontends, &known.shared),
                (&held.frontends, &held.shared)
            );
            return broken("what is acknowledged is what the kernel holds", text);
        }
        Ok(())
    }
}

pub fn broken(law: &'static str, text: impl Into<String>) -> Checked {
    Err(Violation { law, text: text.into() })
}

/// Tells the board of a drift, as the proxy does.
fn note_drift(board: &StatusBoard, news: &DriftNews, now: Moment) {
    match news {
        DriftNews::Found { report, .. } => {
            board.drifted(DriftFacts { since: report.since, text: report.deviations() });
        }
        DriftNews::Widened { report } => board.drift_goes_on(report.deviations()),
        DriftNews::Repaired { .. } => board.drift_is_over(String::new(), now),
    }
}

/// An event as a line.
fn told(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_default()
}
