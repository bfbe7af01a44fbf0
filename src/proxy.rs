//! The loop: it waits, folds, asks the engine what to do next, carries that out, and tells the followers.
//!
//! It holds no decision of its own. Events and backend are its parameters, and its time is tokio's clock, which tests pause. In the steady
//! state it sleeps until an event comes: nothing is listed, polled or rebuilt.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::apply::{Backend, Error, Receipt, Refusal};
use crate::clock;
use crate::diff::Plan;
use crate::drift::Reaction;
use crate::engine::{Engine, EngineSettings, Failure, FailureKind, Moment, Next};
use crate::follow::{Effort, Follower, ReadBack, ReadCause};
use crate::observe::{Events, Health, Inquiry};
use crate::state::Received;
use guard::{Guard, GuardNews};
use reading::Reading;

mod followers;
mod guard;
mod reading;
mod watch_over;

pub(crate) use followers::log_skipped;
pub use followers::{AffinityFollower, FirstSyncFollower, ServiceHealthFollower};
use followers::{EventsFollower, HealthFollower, LogFollower, MetricsFollower};

/// The most events that are folded before the next commit.
const MAX_EVENTS: usize = 100_000;
/// How long a running commit may go on when the process is asked to end.
const COMMIT_TIMEOUT_AT_END: Duration = Duration::from_secs(5);

/// When the loop ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After the first sync and the removal of what it left; a failure ends it with the error.
    FirstSync,
    /// Never: only when asked to.
    Shutdown,
}

/// Keeps a kernel in line with a cluster. Owned by one task.
pub struct Proxy<B> {
    engine: Engine,
    backend: B,
    followers: Vec<Box<dyn Follower>>,
    /// The tables are being read.
    reading: Option<Reading>,
    /// Watches over the tables, if other programs' changes matter.
    guard: Option<Guard>,
    /// Questions to the loop.
    inquiries: Option<mpsc::Receiver<Inquiry>>,
}

impl<B: Backend> Proxy<B> {
    /// A proxy of an empty cluster, before an unknown kernel.
    pub fn new(backend: B, settings: EngineSettings) -> Self {
        let settings = EngineSettings { slice_goal: Some(backend.longest_commit()), ..settings };
        Self {
            engine: Engine::new(settings),
            backend,
            followers: Vec::new(),
            reading: None,
            guard: None,
            inquiries: None,
        }
    }

    /// Tells this follower, too, after those that were added before.
    #[must_use]
    pub fn with(mut self, follower: impl Follower + 'static) -> Self {
        self.followers.push(Box::new(follower));
        self
    }

    /// Tells those who observe: the log, the metrics, the proxy's health, and the owners of objects by Events.
    #[must_use]
    pub fn with_observers(mut self, health: Health, events: Events) -> Self {
        self.inquiries = health.board().take_inquiries();
        let measurements = MetricsFollower::new(self.engine.families());
        let node_name = &self.engine.settings().view.node_name;
        health.board().report_to(events.clone(), Arc::clone(node_name));
        let events = EventsFollower::new(events, Arc::clone(node_name));
        self.with(LogFollower).with(measurements).with(events).with(HealthFollower(health))
    }

    /// Watches over the tables, and reacts so when another program changes them.
    #[must_use]
    pub fn watching_over(mut self, reaction: Reaction) -> Self {
        self.guard = Some(Guard::new(reaction));
        self
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The backend.
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Gives the backend back.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// Ends the loop together with the process: followers learn of it, and the system takes the memory back at once and not object by
    /// object.
    pub fn end(self) {
        drop(self.followers);
        std::mem::forget(self.engine);
    }

    /// Runs until shutdown, or until the first sync. The kernel's tables stay as they are at the end.
    ///
    /// When the sources end, it goes on with what it has.
    ///
    /// # Errors
    ///
    /// With [`Until::FirstSync`], what kept the first sync from succeeding. Otherwise none: failures are logged, counted and tried again.
    pub async fn run(
        &mut self,
        events: &mut mpsc::Receiver<Received>,
        until: Until,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let mut arrived = Vec::new();
        let (mut wake, mut last_moment, mut has_synced) = (Some(clock::now()), None, false);
        loop {
            if self.wait(events, &mut arrived, wake, until, shutdown).await?.is_break() {
                return Ok(());
            }
            self.fold(&mut arrived);
            wake = loop {
                let look_at = self.watch_over().await;
                let began = clock::now();
                match self.engine.next(began) {
                    Next::Wait(_) if has_synced && !self.engine.has_leftovers() => return Ok(()),
                    Next::Wait(at) => break at.into_iter().chain(look_at).min(),
                    Next::Read => self.begin_to_read(),
                    Next::Commit(plan) => {
                        let done = self.commit(*plan, began, shutdown).await;
                        match (done, until) {
                            (None, _) => return Ok(()),
                            // What packets may still look up is deleted before the end, too.
                            (Some(Ok(true)), Until::FirstSync) => has_synced = true,
                            (Some(Err(error)), Until::FirstSync) => return Err(error),
                            // What was begun is brought to its end, if that is near.
                            (Some(Ok(false)), _)
                                if shutdown.is_cancelled()
                                    && clock::now() > *last_moment.get_or_insert(began + COMMIT_TIMEOUT_AT_END) =>
                            {
                                return Ok(());
                            }
                            // What has arrived meanwhile takes its turn before the next slice.
                            (Some(Ok(false)), _) if !shutdown.is_cancelled() => {
                                self.fold_arrived(events, &mut arrived).await;
                                self.answer_inquiries();
                            }
                            _ => {}
                        }
                    }
                }
            };
        }
    }

    /// Waits for events, the end of a reading, or a moment.
    async fn wait(
        &mut self,
        events: &mut mpsc::Receiver<Received>,
        arrived: &mut Vec<Received>,
        wake: Option<Moment>,
        until: Until,
        shutdown: &CancellationToken,
    ) -> Result<ControlFlow<()>, Error> {
        let is_open = !events.is_closed() || !events.is_empty();
        let moment = async {
            match wake {
                Some(at) => clock::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(ControlFlow::Break(())),
            // Before the events, which may never end.
            read = Reading::finished(&mut self.reading) => match (self.take_read(read), until) {
                (Err(error), Until::FirstSync) => Err(error),
                _ => Ok(ControlFlow::Continue(())),
            },
            inquiry = inquiry(&mut self.inquiries) => {
                self.answer(inquiry);
                Ok(ControlFlow::Continue(()))
            }
            news = Guard::news(&mut self.guard) => {
                self.take_news(news);
                Ok(ControlFlow::Continue(()))
            }
            _ = events.recv_many(arrived, MAX_EVENTS), if is_open => Ok(ControlFlow::Continue(())),
            () = moment => Ok(ControlFlow::Continue(())),
        }
    }

    /// Folds events, and compiles what they changed.
    fn fold(&mut self, arrived: &mut Vec<Received>) {
        for received in arrived.drain(..) {
            self.followers.iter_mut().for_each(|follower| follower.received(&received));
            let folded = self.engine.fold(received.event);
            let snapshot = self.engine.snapshot();
            self.followers.iter_mut().for_each(|follower| follower.folded(&folded, snapshot));
        }
        let compiled = self.engine.compile();
        let (snapshot, is_due) = (self.engine.snapshot(), self.engine.is_due());
        self.followers.iter_mut().for_each(|follower| follower.compiled(&compiled, snapshot, is_due));
    }

    /// Folds what has arrived, without waiting for more.
    async fn fold_arrived(&mut self, events: &mut mpsc::Receiver<Received>, arrived: &mut Vec<Received>) {
        // Sources may have to run on this very thread.
        tokio::task::yield_now().await;
        while arrived.len() < MAX_EVENTS
            && let Ok(received) = events.try_recv()
        {
            arrived.push(received);
        }
        self.fold(arrived);
    }

    /// Answers the questions that have arrived: whoever asks does not wait for all slices of a large change.
    fn answer_inquiries(&mut self) {
        while let Some(Ok(inquiry)) = self.inquiries.as_mut().map(mpsc::Receiver::try_recv) {
            self.answer(inquiry);
        }
    }

    fn answer(&self, inquiry: Inquiry) {
        // Who asked may be gone.
        let _ = inquiry.send(self.engine.snapshot().clone());
    }

    fn begin_to_read(&mut self) {
        let cause = match (self.engine.failures(), self.is_drift_settled()) {
            (1.., _) => ReadCause::Failure,
            (0, false) => ReadCause::Drift,
            (0, true) => ReadCause::Start,
        };
        self.followers.iter_mut().for_each(|follower| follower.reading(cause));
        let (families, expected) = (self.engine.families(), self.guard.as_ref().and_then(|it| it.watch.expected()));
        self.reading = Some(Reading::begin(self.backend.read(families), expected.cloned(), families));
    }

    fn take_read(&mut self, read: Result<ReadBack, Error>) -> Result<(), Error> {
        let now = clock::now();
        match read {
            Ok(found) => {
                self.followers.iter_mut().for_each(|follower| follower.read(&found));
                self.guard_read(&found, now);
                self.engine.read_back(found.held, now);
                Ok(())
            }
            Err(error) => {
                let (failure, failures) = (failure(&error), self.engine.read_failed(now));
                self.take_failure(None);
                self.followers.iter_mut().for_each(|follower| follower.read_failed(&failure, failures));
                Err(error)
            }
        }
    }

    /// Commits a plan, made since `began`. Whether everything is programmed after it; `None` if the process ends before the commit does.
    async fn commit(
        &mut self,
        mut plan: Plan,
        began: Moment,
        shutdown: &CancellationToken,
    ) -> Option<Result<bool, Error>> {
        let snapshot = self.engine.snapshot();
        self.followers.iter_mut().for_each(|follower| follower.committing(snapshot));
        self.guard_committing(plan.operations.len());
        let done = if plan.is_empty() { Ok(Receipt::default()) } else { self.send(&plan, shutdown).await? };
        let now = clock::now();
        let took = now.since(began);
        match done {
            Ok(Receipt { bytes }) => {
                let committed = self.engine.committed(plan, began, now);
                let (snapshot, effort) = (self.engine.snapshot(), Effort { bytes, took });
                self.followers.iter_mut().for_each(|follower| follower.committed(&committed, snapshot, effort));
                self.guard_committed(&committed, now);
                Some(Ok(committed.is_caught_up()))
            }
            Err(error) => {
                let failure = failure(&error);
                let next = std::mem::take(&mut plan.next);
                let failed = self.engine.failed(plan, &failure, now);
                self.followers.iter_mut().for_each(|follower| follower.failed(&failed, &failure, took));
                if !failed.is_search {
                    self.take_failure(Some((next, &failed.plan.operations)));
                }
                Some(if failed.is_search { Ok(false) } else { Err(error) })
            }
        }
    }

    /// Sends a plan to the kernel; `None` if the process ends before the kernel answers.
    async fn send(&mut self, plan: &Plan, shutdown: &CancellationToken) -> Option<Result<Receipt, Error>> {
        let at_end = async {
            shutdown.cancelled().await;
            tokio::time::sleep(COMMIT_TIMEOUT_AT_END).await;
        };
        tokio::select! {
            done = self.backend.commit(&plan.operations) => Some(done),
            () = at_end => None,
        }
    }
}

/// Waits for a question; for ever without a board.
async fn inquiry(inquiries: &mut Option<mpsc::Receiver<Inquiry>>) -> Inquiry {
    let Some(open) = inquiries else { return std::future::pending().await };
    match open.recv().await {
        Some(inquiry) => inquiry,
        None => std::future::pending().await,
    }
}

fn failure(error: &Error) -> Failure {
    let kind = match error.refusal() {
        Some(Refusal::Missing) => FailureKind::Missing,
        Some(_) => FailureKind::Refused,
        None => FailureKind::Unanswered,
    };
    Failure { kind, message: error.to_string() }
}
