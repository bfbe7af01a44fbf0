//! The board: what the parts of the process know about the node. The pages ask it, and derive the node's state from it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{EventNote, EventType, Events};
use crate::clock;
use crate::pacing::Moment;
use crate::state::{InputHash, Snapshot};
use crate::status::{ApiFacts, DriftFacts, Failing, NodeFacts, NodeState, NodeVerdict, PressureReport};
use crate::watch::Connection;

/// How long the loop may take to answer. It is about a commit at most.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(400);
/// How many questions may wait for the loop.
const MAX_WAITING: usize = 8;

/// A question to the loop, which answers with its newest snapshot.
pub type Inquiry = oneshot::Sender<Snapshot>;

/// What is known about the node. Clones share it.
#[derive(Clone, Debug)]
pub struct StatusBoard {
    notes: Arc<Mutex<Notes>>,
    connection: Connection,
    questions: mpsc::Sender<Inquiry>,
    /// Until the loop takes it.
    inquiries: Arc<Mutex<Option<mpsc::Receiver<Inquiry>>>>,
    hash: Arc<Mutex<InputHash>>,
}

/// What was noted.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// The facts that decide.
    facts: NodeFacts,
    /// How the kernel is programmed.
    pub backend: String,
    /// Whether other programs' changes are noticed.
    pub is_watched: bool,
    /// When another program committed something that was not looked at yet.
    pub heard: Option<Moment>,
    /// How many batches were committed.
    pub commits: u64,
    /// How many commits or readings failed.
    pub failures: u64,
    /// How many drifts were found.
    pub drifts: u64,
    /// The last drift that was repaired: when that was, and what is said about it.
    pub last_repair: Option<(Moment, String)>,
    /// When our tables were last seen to be as expected, but for elements that were replaced.
    pub looked: Option<Moment>,
    /// When all elements were last seen to be as expected.
    pub compared: Option<Moment>,
    /// Connection tracking, if it can be read.
    pub flows: Option<PressureReport>,
    /// The state that was last reported, for Events.
    reported: Option<NodeVerdict>,
    events: Option<(Events, Arc<str>)>,
}

/// The answer of the board.
#[derive(Clone, Debug)]
pub struct StatusReport {
    /// When it was asked.
    pub now: Moment,
    /// The state.
    pub verdict: NodeVerdict,
    /// Since when something waits to be programmed.
    pub pending: Option<Moment>,
    /// The drift that is not repaired.
    pub drift: Option<DriftFacts>,
    /// What was noted.
    pub notes: Notes,
    /// The newest snapshot, if the loop answered.
    pub snapshot: Option<Snapshot>,
}

impl StatusBoard {
    /// A board without notes. The process starts now.
    pub fn new(connection: Connection) -> Self {
        let (questions, inquiries) = mpsc::channel(MAX_WAITING);
        let now = clock::now();
        let facts = NodeFacts { started: now, settled: now, ..NodeFacts::default() };
        Self {
            notes: Arc::new(Mutex::new(Notes { facts, ..Notes::default() })),
            connection,
            questions,
            inquiries: Arc::new(Mutex::new(Some(inquiries))),
            hash: Arc::default(),
        }
    }

    /// Where the loop finds its questions. For one loop.
    pub fn take_inquiries(&self) -> Option<mpsc::Receiver<Inquiry>> {
        self.inquiries.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes Events about changes of the state on the Node of this name.
    pub fn report_to(&self, events: Events, node_name: Arc<str>) {
        self.lock().events = Some((events, node_name));
    }

    /// The kernel is programmed by this backend. `is_watched`: other programs' changes are noticed.
    pub fn programs_by(&self, backend: String, is_watched: bool) {
        let mut notes = self.lock();
        (notes.backend, notes.is_watched) = (backend, is_watched);
    }

    /// Something waits to be programmed.
    pub fn pending(&self, now: Moment) {
        self.lock().facts.pending.get_or_insert(now);
    }

    /// A batch was committed.
    pub fn committed(&self) {
        self.lock().commits += 1;
    }

    /// Everything is programmed.
    pub fn synced(&self, now: Moment) {
        let mut notes = self.lock();
        let facts = &mut notes.facts;
        let was_behind = facts.failing.take().is_some()
            || facts.pending.is_some_and(|since| now.since(since) > Duration::from_secs(1));
        if facts.synced.replace(now).is_none() || was_behind {
            facts.settled = now;
        }
        facts.pending = None;
    }

    /// A commit or a reading failed.
    pub fn failed(&self, message: &str, attempts: u32, now: Moment) {
        let mut notes = self.lock();
        notes.failures += 1;
        let since = notes.facts.failing.as_ref().map_or(now, |failing| failing.since);
        notes.facts.failing = Some(Failing { since, attempts, message: message.to_owned() });
        notes.facts.pending.get_or_insert(now);
    }

    /// Another program changed our tables.
    pub fn drifted(&self, drift: DriftFacts) {
        let mut notes = self.lock();
        notes.drifts += 1;
        notes.facts.drift = Some(drift);
        notes.heard = None;
    }

    /// Something else was changed before it was repaired.
    pub fn drift_goes_on(&self, text: String) {
        if let Some(drift) = &mut self.lock().facts.drift {
            drift.text = text;
        }
    }

    /// Another program committed something, and whether that concerns us was not looked at yet.
    pub fn heard(&self, now: Moment) {
        self.lock().heard.get_or_insert(now);
    }

    /// Our tables are as they should be again.
    pub fn drift_is_over(&self, text: String, now: Moment) {
        let mut notes = self.lock();
        (notes.facts.drift, notes.facts.settled) = (None, now);
        notes.last_repair = Some((now, text));
    }

    /// Our tables were seen to be as expected: all elements, or all but those that were replaced.
    pub fn verified(&self, all_elements: bool, now: Moment) {
        let mut notes = self.lock();
        (notes.looked, notes.heard) = (Some(now), None);
        if all_elements {
            notes.compared = Some(now);
        }
    }

    /// Connection tracking is so full.
    pub fn flows(&self, report: Option<PressureReport>) {
        self.lock().flows = report;
    }

    /// The report for this moment. Asks the loop, and waits for it a moment.
    pub async fn report(&self) -> StatusReport {
        let snapshot = self.ask().await;
        let now = clock::now();
        let mut notes = self.lock();
        match (&snapshot, notes.facts.silent) {
            (Some(_), Some(_)) => (notes.facts.silent, notes.facts.settled) = (None, now),
            (None, None) => notes.facts.silent = Some(now),
            _ => {}
        }
        let verdict = notes.verdict(self.connection.facts(), now);
        notes.note_change(&verdict, now);
        let (pending, drift) = (notes.facts.pending, notes.facts.drift.clone());
        StatusReport { now, verdict, pending, drift, notes: notes.clone(), snapshot }
    }

    /// The state at this moment, with what is known of the watches. Does not ask the loop.
    pub fn verdict(&self, api: Option<ApiFacts>, now: Moment) -> NodeVerdict {
        self.lock().verdict(api, now)
    }

    /// The hash of what was received, up to this snapshot. Costs what changed since it was last asked for; the first time everything.
    pub fn input_hash(&self, snapshot: &Snapshot) -> u64 {
        self.hash.lock().unwrap_or_else(PoisonError::into_inner).update(snapshot.cluster())
    }

    /// The newest snapshot; `None` if the loop does not answer soon.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        self.ask().await
    }

    async fn ask(&self) -> Option<Snapshot> {
        let has_loop = self.inquiries.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if !has_loop {
            return None;
        }
        let (inquiry, answer) = oneshot::channel();
        self.questions.try_send(inquiry).ok()?;
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.ok()?.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn verdict(&mut self, api: Option<ApiFacts>, now: Moment) -> NodeVerdict {
        self.facts.api = api;
        self.facts.verdict(now)
    }

    /// Writes an Event if the state changed to or from STALE or BEHIND. Drifts have Events of their own.
    fn note_change(&mut self, verdict: &NodeVerdict, now: Moment) {
        let before = self.reported.replace(verdict.clone());
        let Some((events, node_name)) = &self.events else { return };
        let is_told = |state| matches!(state, NodeState::Stale | NodeState::Behind);
        let Some(before) = before.filter(|before| before.state != verdict.state) else { return };
        let (event_type, text) = if is_told(verdict.state) {
            (EventType::Warning, format!("the proxy is {}: {}", verdict.state, verdict.why))
        } else if is_told(before.state) {
            let lasted = now.since(before.since).as_secs();
            (EventType::Normal, format!("the proxy is {} again, after {lasted} s of {}", verdict.state, before.state))
        } else {
            return;
        };
        events.note(EventNote::about_tables(node_name, event_type, "ProxyState", text));
    }
}

impl Connection {
    /// What is known of the watches; `None` when no API server is watched.
    fn facts(&self) -> Option<ApiFacts> {
        let report = self.report()?;
        let heard = self.longest_silent().map(|(kind, heard)| (kind.label(), heard));
        let (lost, connected) =
            if report.connected { (None, Some(report.since_moment)) } else { (Some(report.since_moment), None) };
        Some(ApiFacts { lost, heard, connected })
    }
}
