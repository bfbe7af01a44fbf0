//! What the loop does for its [`Guard`]: looks, comparisons and repairs, between its commits.

use super::guard::MAX_HEARD_OPERATIONS;
use super::{Guard, GuardNews, Proxy};
use crate::apply::{Backend, ForeignNews};
use crate::clock;
use crate::dataplane::Operation;
use crate::diff::Acknowledged;
use crate::drift::{DriftNews, DriftStep, DriftWatch};
use crate::engine::{Committed, Moment};
use crate::follow::{Follower, ReadBack};

impl<B: Backend> Proxy<B> {
    /// Takes the next steps of the watch. Returns when the next one is due.
    pub(super) async fn watch_over(&mut self) -> Option<Moment> {
        loop {
            let guard = self.guard.as_mut()?;
            let over = guard.watch.tidied(self.engine.has_leftovers(), clock::now());
            over.iter().for_each(|news| tell(&mut self.followers, news));
            let held = self.engine.acknowledged();
            match (guard.watch.next(held, self.engine.is_due(), clock::now()), held) {
                (DriftStep::Wait(at), _) => return at,
                (DriftStep::Repair, _) => self.engine.distrust(),
                (DriftStep::Compare, Some(held)) => {
                    let families = self.engine.families();
                    guard.begin_to_compare(self.backend.read_aside(families), held.clone(), families);
                }
                (DriftStep::Look, Some(_)) => self.look().await,
                (_, None) => return None,
            }
        }
    }

    /// Looks at the tables. Nothing is committed meanwhile, so what differs was not written here.
    async fn look(&mut self) {
        let (Some(guard), Some(held)) = (&mut self.guard, self.engine.acknowledged()) else { return };
        let (families, began) = (self.engine.families(), clock::now());
        let outline = self.backend.outline(families).await;
        // What was heard up to now may be the cause.
        hear(guard, &mut self.followers);
        let now = clock::now();
        let news = match outline {
            Ok(Some(outline)) => {
                let news = guard.watch.looked(&outline, (held, &guard.counts, families), now.since(began), now);
                tell_verified(&mut self.followers, &guard.watch, now);
                news
            }
            Ok(None) => {
                guard.watch.cannot_look(now);
                None
            }
            Err(error) => {
                tracing::warn!(%error, "cannot look at the tables; tried again");
                guard.watch.look_failed(now);
                None
            }
        };
        news.iter().for_each(|news| tell(&mut self.followers, news));
    }

    /// Takes what the guard waited for.
    pub(super) fn take_news(&mut self, news: GuardNews) {
        let Some(guard) = &mut self.guard else { return };
        match news {
            GuardNews::Heard(news) => take_heard(guard, &mut self.followers, news),
            GuardNews::Deaf(error) => {
                tracing::warn!(%error, "the socket that hears other programs' commits failed: opening another one");
                guard.listen(&self.backend);
                guard.watch.lost(clock::now());
            }
            GuardNews::Compared { differing, took } => {
                let differing = differing.inspect_err(|error| {
                    tracing::warn!(%error, "cannot compare the tables; tried again later");
                });
                let now = clock::now();
                let news = guard.watch.compared(differing.ok(), self.engine.acknowledged(), took, now);
                tell_verified(&mut self.followers, &guard.watch, now);
                news.iter().for_each(|news| tell(&mut self.followers, news));
            }
        }
    }

    /// A commit failed, or the tables could not be read: another program may be the cause. `tried`: as [`DriftWatch::failed`] says.
    pub(super) fn take_failure(&mut self, tried: Option<(Acknowledged, &[Operation])>) {
        if let Some(guard) = &mut self.guard {
            guard.open_again(&self.backend);
            hear(guard, &mut self.followers);
            guard.watch.failed(tried, clock::now());
        }
    }

    /// The tables were read for the engine.
    pub(super) fn guard_read(&mut self, read: &ReadBack, now: Moment) {
        let Some(guard) = &mut self.guard else { return };
        guard.counts.restart(&read.elements);
        let news = guard.watch.read_again(read.deviations.clone(), now);
        tell_verified(&mut self.followers, &guard.watch, now);
        news.iter().for_each(|news| tell(&mut self.followers, news));
    }

    /// A plan of so many operations is about to be committed.
    pub(super) fn guard_committing(&mut self, operations: usize) {
        if let Some(guard) = &mut self.guard
            && operations >= MAX_HEARD_OPERATIONS
        {
            hear(guard, &mut self.followers);
            guard.close();
            guard.make_way();
        }
    }

    /// A plan was committed.
    pub(super) fn guard_committed(&mut self, committed: &Committed, now: Moment) {
        let Some(guard) = &mut self.guard else { return };
        guard.open_again(&self.backend);
        guard.counts.follow(committed.element_changes(), |_, _| {});
        let progress = (committed.is_caught_up(), self.engine.has_leftovers());
        let news = guard.watch.committed(&committed.plan, progress, now);
        if committed.is_caught_up() {
            guard.caught_up(&self.backend);
        }
        tell_verified(&mut self.followers, &guard.watch, now);
        news.iter().for_each(|news| tell(&mut self.followers, news));
    }

    /// Whether no drift is being repaired.
    pub(super) fn is_drift_settled(&self) -> bool {
        self.guard.as_ref().is_none_or(|guard| !guard.watch.is_repairing())
    }
}

/// Takes what was heard and is waiting.
fn hear(guard: &mut Guard, followers: &mut [Box<dyn Follower>]) {
    while let Some(news) = guard.waiting_news() {
        take_heard(guard, followers, news);
    }
}

fn take_heard(guard: &mut Guard, followers: &mut [Box<dyn Follower>], news: ForeignNews) {
    let now = clock::now();
    match news {
        ForeignNews::Commits(commits) => {
            followers.iter_mut().for_each(|follower| follower.foreign_commits(&commits));
            commits.into_iter().for_each(|commit| guard.watch.heard(commit, now));
        }
        ForeignNews::Lost => {
            tracing::debug!("other programs commit faster than is heard");
            guard.watch.lost(now);
        }
    }
}

/// Tells that the tables were seen to be as expected, if that was now.
fn tell_verified(followers: &mut [Box<dyn Follower>], watch: &DriftWatch, now: Moment) {
    let (outline, elements) = watch.verified();
    if outline == Some(now) {
        followers.iter_mut().for_each(|follower| follower.verified(elements == Some(now)));
    }
}

fn tell(followers: &mut [Box<dyn Follower>], news: &DriftNews) {
    followers.iter_mut().for_each(|follower| follower.drift(news));
}
