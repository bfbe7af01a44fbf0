//! The loop: events in, commits out. The only place that knows sources' events, state, diff and backend.
//!
//! ```text
//! wait for events ─▶ fold all that have arrived ─▶ complete? changed? ─▶ diff ─▶ commit ─▶ acknowledged
//!       ▲                                                                   │ failed
//!       └──── read back, try again: at once, then with backoff (events wait) ◀───┘
//! ```
//!
//! The kernel is read for the first time while the first events arrive (`ahead`). The loop takes its events and its backend as
//! parameters, and its time from tokio's clock, which tests pause. In the steady state it sleeps until an event comes: nothing is
//! listed, polled or rebuilt.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use metrics::gauge;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apply::{Backend, Error};
use crate::conntrack::Conntrack;
use crate::dataplane::{Endpoint, Frontend};
use crate::diff::{Acknowledged, Scope};
use crate::forget::Departures;
use crate::metrics::{self as names, Arrival, ElementCounts, Pending};
use crate::observe::{Events, Health, ServiceHealth};
use crate::state::{Cluster, Desired, Event, Skipped, Touched, View};
use crate::watch::Received;
use ahead::Reading;
use separate::Aside;

mod ahead;
mod bulk;
mod separate;
mod sync;

/// Most events that are folded before a commit; more wait for the next one.
const MAX_FOLD: usize = 100_000;
/// Longest pause between attempts while events go on arriving: one of them may be the cure, or need nothing of what fails.
const SOON: Duration = Duration::from_secs(5);
/// Longest pause between attempts, unless configured: kube-proxy's `syncPeriod`.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a running commit may go on when the process is asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// When the loop ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After the first sync; a failure ends it with the error.
    FirstSync,
    /// Never: only when asked to.
    Shutdown,
}

/// Keeps a kernel in line with a cluster. Owned by one task.
pub struct Reconciler<B> {
    backend: B,
    scope: Scope,
    health: Health,
    cluster: Cluster,
    desired: Desired,
    /// What the kernel holds; `None` when it has to be read first.
    acknowledged: Option<Acknowledged>,
    /// The first reading, from the start until the first sync.
    reading: Option<Reading>,
    counts: ElementCounts,
    /// Whether `desired` may differ from `acknowledged`.
    due: bool,
    /// What was received and is not committed yet.
    pending: Pending,
    failures: u32,
    service_health: Option<ServiceHealth>,
    events: Events,
    longest_pause: Duration,
    /// The least time from the end of a sync to the next one.
    min_sync_period: Duration,
    departures: Option<Departures>,
    /// What clients left with batches before one that failed.
    left: BTreeSet<(Frontend, Endpoint)>,
    /// The frontends of plans that failed: some of them may have changed.
    changed: BTreeSet<Frontend>,
    /// A commit, or a look at the kernel, was acknowledged before.
    acknowledged_before: bool,
    /// Told after the first sync.
    first_sync: Option<oneshot::Sender<()>>,
    conntrack: Option<Conntrack>,
    aside: Aside,
}

impl<B: Backend> Reconciler<B> {
    /// A loop over an unknown kernel and an empty cluster.
    pub fn new(backend: B, scope: Scope, view: View, health: Health) -> Self {
        Self {
            backend,
            scope,
            health,
            cluster: Cluster::seen_from(view),
            desired: Desired::default(),
            acknowledged: None,
            reading: None,
            counts: ElementCounts::default(),
            due: false,
            pending: Pending::since(Timestamp::now()),
            failures: 0,
            service_health: None,
            events: Events::default(),
            longest_pause: LONGEST_PAUSE,
            min_sync_period: Duration::ZERO,
            departures: None,
            left: BTreeSet::new(),
            changed: BTreeSet::new(),
            acknowledged_before: false,
            first_sync: None,
            conntrack: None,
            aside: Aside::default(),
        }
    }

    /// Tells the owners of objects what was left out of them, too.
    #[must_use]
    pub fn with_events(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// Lets at least `min` (0 unless set) pass between two syncs, in which changes collect, and at most `longest_pause` (30 s) before a
    /// failed one is tried again.
    #[must_use]
    pub fn with_periods(self, min: Duration, longest_pause: Duration) -> Self {
        Self { min_sync_period: min, longest_pause, ..self }
    }

    /// Serves the health checks of Services, too.
    #[must_use]
    pub fn with_service_health(self, service_health: ServiceHealth) -> Self {
        Self { service_health: Some(service_health), ..self }
    }

    /// Says which endpoints the clients of Services with session affinity left.
    #[must_use]
    pub fn with_departures(self, departures: Departures) -> Self {
        Self { departures: Some(departures), ..self }
    }

    /// Removes stale UDP flows after commits, too.
    #[must_use]
    pub fn with_conntrack(self, conntrack: Conntrack) -> Self {
        Self { conntrack: Some(conntrack), ..self }
    }

    /// Tells when everything is programmed for the first time.
    #[must_use]
    pub fn telling_first_sync(self, first_sync: oneshot::Sender<()>) -> Self {
        Self { first_sync: Some(first_sync), ..self }
    }

    /// Runs until shutdown, or until the first sync. The kernel's tables stay as they are at the end.
    ///
    /// When the sources end, it goes on with what it has.
    ///
    /// # Errors
    ///
    /// With [`Until::FirstSync`], what kept the first sync from succeeding. Otherwise none: failures are logged, counted and
    /// tried again.
    pub async fn run(
        &mut self,
        events: &mut mpsc::Receiver<Received>,
        until: Until,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let mut open = true;
        let mut arrived = Vec::new();
        let mut retry_at = self.aside.retry_at();
        let mut not_before: Option<Instant> = None;
        if self.acknowledged.is_none() && self.failures == 0 {
            self.reading = Some(self.begin_to_read());
        }
        loop {
            let retry = async {
                match retry_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                received = events.recv_many(&mut arrived, MAX_FOLD), if open => open = received > 0,
                () = retry => {}
            }
            self.fold(arrived.drain(..));
            if self.aside.take_back(Instant::now()) {
                // What the kernel holds of them is not what was wanted, so everything is compared.
                self.acknowledged = None;
                self.due = true;
            }
            if !self.due || !self.cluster.is_complete() {
                continue;
            }
            // Both for the least period and after failures, where each attempt reads the whole kernel.
            if let Some(at) = not_before.filter(|at| Instant::now() < *at) {
                retry_at = Some(at);
                continue;
            }
            let grace = async {
                shutdown.cancelled().await;
                tokio::time::sleep(GRACE).await;
            };
            let synced = tokio::select! {
                synced = self.sync() => synced,
                () = grace => return Ok(()),
            };
            let failed = synced.is_err();
            let pause = match synced {
                Ok(()) if until == Until::FirstSync => {
                    if let Some(conntrack) = self.conntrack.take() {
                        let finished = conntrack.finish();
                        tokio::select! {
                            () = finished => {}
                            () = shutdown.cancelled() => {}
                        }
                    }
                    return Ok(());
                }
                Ok(()) => Duration::ZERO,
                Err(error) if until == Until::FirstSync => return Err(error),
                Err(_) => self.pause(),
            };
            let now = Instant::now();
            not_before = Some(now + pause.min(SOON).max(self.min_sync_period));
            retry_at = if failed { Some(now + pause.max(self.min_sync_period)) } else { self.aside.retry_at() };
        }
    }

    /// The cluster as it was last folded.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The backend.
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Gives the backend back.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// Ends it together with the process. Everybody who listens to it learns of its end; what it knows is left to the system, which
    /// takes it back at once and not object by object.
    pub fn end(mut self) {
        let (cluster, desired) = (std::mem::take(&mut self.cluster), std::mem::take(&mut self.desired));
        std::mem::forget((cluster, desired, self.acknowledged.take()));
    }

    /// Folds events into the next snapshot, and that into what is desired, once it is complete.
    fn fold(&mut self, arrived: impl Iterator<Item = Received>) {
        let began_complete = self.cluster.is_complete();
        let mut touched = Touched::default();
        for received in arrived {
            names::event(&received.event);
            let Received { event, at, triggered } = received;
            let arrival = Arrival::new(&event, at, triggered);
            if matches!(&event, Event::NodeDeleted(name) if name.name() == self.cluster.node_name()) {
                tracing::warn!("this node's Node object was deleted; what it said stays in force");
            }
            let about_node = matches!(event, Event::NodeApplied(_) | Event::NodesReset(_));
            let was_complete = self.cluster.is_complete();
            let step = std::mem::take(&mut self.cluster).advance(event);
            self.cluster = step.cluster;
            report(&step.skipped);
            self.events.left_out(&step.skipped);
            let services = step.touched.service_count();
            if about_node && let Some(node) = self.cluster.node() {
                self.health.node(node.is_eligible());
            }
            // The Node object may also decide the program's options.
            let changed = !step.touched.is_empty() || (about_node && self.scope.pods_by_node);
            // Before, it is everything.
            if began_complete {
                touched.merge(step.touched);
            }
            // The first complete view has to be compared with the kernel even if it is empty.
            let needs_sync = changed || (self.cluster.is_complete() && !was_complete);
            self.due |= needs_sync;
            self.pending.folded(arrival, services, needs_sync);
        }
        self.pending.show();
        if !self.cluster.is_complete() {
            return;
        }
        let (desired, lost) = if began_complete {
            if let Some(conntrack) = &mut self.conntrack {
                conntrack.folded(&self.cluster, &touched);
            }
            std::mem::take(&mut self.desired).advance(&self.cluster, &touched)
        } else {
            // Lists come one by one, and little can be made of one without the others.
            Desired::first(&self.cluster)
        };
        self.desired = desired;
        report(&lost);
        self.events.left_out(&lost);
        if self.due {
            self.health.requested(Instant::now());
            for family in &self.scope.families {
                gauge!(names::SYNC_QUEUED, "ip_family" => family.label()).set(unix_seconds(Timestamp::now()));
            }
        }
    }
}

/// Logs and counts what was left out.
pub(crate) fn report(skipped: &[Skipped]) {
    for one in skipped {
        names::skipped(one);
        let (object, problem) = (&one.object, &one.problem);
        tracing::warn!(
            kind = object.kind.label(),
            object = %object.name,
            field = problem.field,
            reason = problem.reason.label(),
            "left out: {}",
            problem.found
        );
    }
}

fn unix_seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
