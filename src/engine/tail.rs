//! What is left over of changes, until no packet can look it up any more.
//!
//! A packet that is among the rules while a batch takes effect reads some sets before it and others after it. So a plan leaves behind what such
//! a packet may need ([the law](crate::diff#two-phases)), and the tail deletes it a grace period after the commit. No change waits for
//! the tail, and none of it is deleted before its time. It goes along with the next change if it is small, and otherwise alone.
//!
//! Only the time is kept here. What is left over is part of what the kernel holds, so an error or a crash leaves an ordinary difference.
//! A reading does not tell what is left over for whom. So the plan that follows one waits until the packets are through that the newest
//! batch may have met.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Moment;
use super::backlog::{Comparison, Selection};
use crate::dataplane::Frontend;
use crate::diff::{Deletion, Left, Round, SharedElement};
use crate::pacing::Backoff;

/// The most leftovers that are deleted in the batch of a change: so few that the change does not wait for them.
pub(super) const MAX_WITH_CHANGE: usize = 64;

/// The changes whose leftovers wait.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// `None` if nothing is ever left over.
    grace: Option<Duration>,
    /// The number of the newest plan.
    round: Round,
    /// The last plan whose packets are through.
    expired: Round,
    waiting: VecDeque<LeftByPlan>,
    /// What may be deleted.
    frontends: BTreeSet<Frontend>,
    shared: BTreeSet<SharedElement>,
    /// When the packets are through that were among the rules while the newest batch took effect.
    through_at: Moment,
    /// How many batches that only deleted leftovers failed in a row.
    failures: u32,
    /// None is made before this moment.
    not_before: Moment,
}

/// What one plan left.
#[derive(Clone, Debug)]
struct LeftByPlan {
    round: Round,
    until: Moment,
    left: Left,
}

impl Tail {
    pub fn new(grace: Option<Duration>) -> Self {
        Self {
            grace,
            round: 0,
            expired: 0,
            waiting: VecDeque::new(),
            frontends: BTreeSet::new(),
            shared: BTreeSet::new(),
            through_at: Moment::default(),
            failures: 0,
            not_before: Moment::default(),
        }
    }

    /// A batch has taken effect by `now`, or may have.
    pub fn took_effect(&mut self, now: Moment) {
        self.through_at = now + self.grace.unwrap_or_default();
    }

    /// When packets are through that may need what is not known to be left over; `None` if they are.
    pub fn through_at(&self, now: Moment) -> Option<Moment> {
        Some(self.through_at).filter(|at| now < *at)
    }

    /// A batch that only deleted leftovers was not acknowledged. The next one follows after a pause.
    pub fn failed(&mut self, backoff: Backoff, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + backoff.pause(self.failures);
    }

    /// A batch that only deleted leftovers was acknowledged.
    pub fn succeeded(&mut self) {
        (self.failures, self.not_before) = (0, Moment::default());
    }

    /// Until when a batch that only deletes leftovers waits; `None` if not at all.
    pub fn wait(&self, now: Moment) -> Option<Moment> {
        Some(self.not_before).filter(|at| now < *at)
    }

    /// The tables are gone, with all that packets could look up.
    pub fn no_tables(&mut self) {
        self.through_at = Moment::default();
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.next_at().is_none() && !self.is_ready()
    }

    /// How many plans left something.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether something may be deleted now.
    pub fn is_ready(&self) -> bool {
        !self.frontends.is_empty() || !self.shared.is_empty()
    }

    /// When the next leftovers may be deleted, if some wait.
    pub fn next_at(&self) -> Option<Moment> {
        self.waiting.iter().find(|waiting| waiting.left.has_elements()).map(|waiting| waiting.until)
    }

    /// What the next plan may delete.
    pub fn begin_plan(&mut self) -> Deletion {
        self.round += 1;
        match self.grace {
            Some(_) => Deletion::Deferred { round: self.round, expired: self.expired },
            None => Deletion::AtOnce,
        }
    }

    /// The newest plan holds since `now`, and left this.
    pub fn add(&mut self, left: Left, now: Moment) {
        if let (Some(grace), false) = (self.grace, left.is_empty()) {
            self.waiting.push_back(LeftByPlan { round: self.round, until: now + grace, left });
        }
    }

    /// Whose time has come by `now` may be deleted.
    pub fn expire(&mut self, now: Moment) {
        while self.waiting.front().is_some_and(|waiting| waiting.until <= now)
            && let Some(LeftByPlan { round, left, .. }) = self.waiting.pop_front()
        {
            self.expired = round;
            self.frontends.extend(left.frontends);
            self.shared.extend(left.shared);
        }
    }

    /// Adds the keys of about so many leftovers to a selection. Those of a frontend that waits for a change go with that.
    pub fn take(
        &mut self,
        limit: usize,
        with: Comparison<'_>,
        waits: impl Fn(&Frontend) -> bool,
        selection: &mut Selection,
    ) {
        let mut size = 0;
        while size < limit
            && let Some(frontend) = self.frontends.pop_first()
        {
            if !waits(&frontend) && !with.quarantine.contains(&frontend) {
                size += 1 + with.held.leftover_count(&frontend);
                selection.frontends.push(frontend);
            }
        }
        while size < limit
            && let Some(element) = self.shared.pop_first()
        {
            size += 1;
            selection.shared.push(element);
        }
    }

    /// Forgets what waits: it is not known any more what the kernel holds.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.frontends.clear();
        self.shared.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_success_the_pauses_between_failures_begin_with_the_first_again() {
        let (seconds, now) = (Duration::from_secs, Moment::default());
        let backoff = Backoff::new(seconds(1), seconds(60));
        let mut tail = Tail::new(None);
        let pause = |tail: &mut Tail| {
            tail.failed(backoff, now);
            tail.wait(now)
        };
        assert_eq!([pause(&mut tail), pause(&mut tail)], [1, 2].map(|pause| Some(now + seconds(pause))));
        tail.succeeded();
        assert_eq!(tail.wait(now), None);
        assert_eq!(pause(&mut tail), Some(now + seconds(1)));
    }
}
