//! Watching over our tables while other programs commit to the same kernel: hears, looks, compares; [`DriftWatch`] decides.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::apply::{Backend, CommitListener, Error, ForeignNews};
use crate::clock;
use crate::dataplane::{ElementCounts, Family, Tables};
use crate::diff::{Acknowledged, Differing};
use crate::drift::{DriftWatch, Reaction};
use crate::pacing::Moment;

/// From this number of operations on a commit is made without a listener.
pub(super) const MAX_HEARD_OPERATIONS: usize = 5_000;

/// The watch, its ears and its running comparison.
pub(super) struct Guard {
    pub watch: DriftWatch,
    pub counts: ElementCounts,
    listener: Option<CommitListener>,
    /// The listener is closed while a large commit is made.
    is_closed: bool,
    comparison: Option<RunningComparison>,
    is_synced: bool,
}

/// A comparison in progress. Dropped, it ends.
struct RunningComparison {
    began: Moment,
    differing: AbortOnDropHandle<Result<Differing, Error>>,
}

/// What a guard waits for.
pub(super) enum GuardNews {
    /// Something was heard.
    Heard(ForeignNews),
    /// The listener failed, and has to be opened again.
    Deaf(Error),
    /// A comparison ended.
    Compared { differing: Result<Differing, Error>, took: Duration },
}

impl Guard {
    pub fn new(reaction: Reaction) -> Self {
        Self {
            watch: DriftWatch::new(reaction),
            counts: ElementCounts::default(),
            listener: None,
            is_closed: false,
            comparison: None,
            is_synced: false,
        }
    }

    /// Everything is programmed: the first time, the guard begins to listen. Not before, because a commit takes longer while a
    /// listener is open.
    pub fn caught_up(&mut self, backend: &impl Backend) {
        if !std::mem::replace(&mut self.is_synced, true) {
            self.listen(backend);
            self.watch.synced(clock::now());
            tracing::info!(hears_commits = self.listener.is_some(), "watching over our tables");
        }
    }

    /// Opens a listener. Without one the comparisons go on.
    pub fn listen(&mut self, backend: &impl Backend) {
        self.listener = match backend.listen() {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "commits of other programs cannot be heard; what they change of our tables is found by comparison, every ten minutes"
                );
                None
            }
        };
    }

    /// Closes the listener for a large commit, which would take nearly twice as long.
    pub fn close(&mut self) {
        self.is_closed |= self.listener.take().is_some();
    }

    /// A large plan is about to be committed: a comparison makes way.
    pub fn make_way(&mut self) {
        if self.watch.makes_way(clock::now()) {
            self.comparison = None;
        }
    }

    /// Opens the listener again, if it was closed. What was committed meanwhile was not heard, and has to be looked for.
    pub fn open_again(&mut self, backend: &impl Backend) {
        if std::mem::take(&mut self.is_closed) {
            self.listen(backend);
            self.watch.lost(clock::now());
        }
    }

    /// Waits for news; for ever without a guard.
    pub async fn news(guard: &mut Option<Self>) -> GuardNews {
        let Some(Self { listener, comparison, .. }) = guard else { return std::future::pending().await };
        let heard = async {
            match listener {
                Some(listener) => listener.news().await.map_or_else(GuardNews::Deaf, GuardNews::Heard),
                None => std::future::pending().await,
            }
        };
        let compared = async {
            match comparison {
                Some(running) => (&mut running.differing).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            heard = heard => return heard,
            ended = compared => ended,
        };
        let Some(RunningComparison { began, .. }) = comparison.take() else { return std::future::pending().await };
        let broken_off = |error| Error::Io { doing: "comparing our tables", source: std::io::Error::other(error) };
        let differing = ended.map_err(broken_off).flatten();
        GuardNews::Compared { differing, took: clock::now().since(began) }
    }

    /// What was heard and is waiting.
    pub fn waiting_news(&mut self) -> Option<ForeignNews> {
        self.listener.as_mut()?.waiting_news().ok().flatten()
    }

    /// Begins to compare the tables with what the kernel acknowledged. Commits go on meanwhile.
    pub fn begin_to_compare(
        &mut self,
        tables: impl Future<Output = Result<Tables, Error>> + Send + 'static,
        held: Acknowledged,
        families: &[Family],
    ) {
        let families = families.to_vec();
        let compare = async move {
            let tables = tables.await?;
            let compare = move || held.differing(&Acknowledged::from(tables), &families);
            let differing = tokio::task::spawn_blocking(compare).await;
            differing.map_err(|error| Error::Io { doing: "comparing our tables", source: std::io::Error::other(error) })
        };
        let differing = AbortOnDropHandle::new(tokio::spawn(compare));
        self.comparison = Some(RunningComparison { began: clock::now(), differing });
    }
}
