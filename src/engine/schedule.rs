//! When the next attempt may be made.

use std::time::Duration;

use super::Moment;
use crate::pacing::Backoff;

/// The pause after the second failure in a row; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause while events go on arriving: one of them may be the cure, or need nothing of what fails.
const MAX_PAUSE_WITH_EVENTS: Duration = Duration::from_secs(5);

/// Whether something waits to be committed, and until when it has to.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    min_sync_period: Duration,
    backoff: Backoff,
    due: bool,
    failures: u32,
    /// An event came since the last attempt.
    heard: bool,
    /// No attempt before this moment.
    not_before: Moment,
    /// After a failure: the next attempt without an event.
    retry_at: Moment,
}

impl Schedule {
    pub fn new(min_sync_period: Duration, longest_pause: Duration) -> Self {
        let start = Moment::default();
        Self {
            min_sync_period,
            backoff: Backoff::new(FIRST_PAUSE, longest_pause),
            due: false,
            failures: 0,
            heard: false,
            not_before: start,
            retry_at: start,
        }
    }

    /// The pauses between attempts.
    pub fn backoff(&self) -> Backoff {
        self.backoff
    }

    /// Whether something waits to be committed.
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// How many attempts failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when to wait; `None` if not at all.
    pub fn wait(&self, now: Moment) -> Option<Moment> {
        let at = if self.failures > 0 && !self.heard { self.retry_at } else { self.not_before };
        Some(at).filter(|at| now < *at)
    }

    /// Something was heard, and whether it asks for a commit.
    pub fn heard(&mut self, is_change: bool) {
        self.heard = true;
        self.due |= is_change;
    }

    /// Everything is programmed.
    pub fn caught_up(&mut self, now: Moment) {
        (self.due, self.failures, self.heard) = (false, 0, false);
        self.not_before = now + self.min_sync_period;
    }

    /// An attempt failed. The first time it is made again at once: most often another program removed the table, and reading it again is
    /// all that it takes.
    pub fn failed(&mut self, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.heard = false;
        let pause = self.backoff.pause(self.failures.saturating_sub(1));
        self.not_before = now + pause.min(MAX_PAUSE_WITH_EVENTS).max(self.min_sync_period);
        self.retry_at = now + pause.max(self.min_sync_period);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_start(Duration::from_millis(milliseconds))
    }

    #[test]
    fn attempts_are_made_at_once_then_after_pauses_that_double_up_to_the_longest() {
        let mut schedule = Schedule::new(Duration::ZERO, Duration::from_secs(30));
        let pauses = [None, Some(200), Some(400), Some(800), Some(1_600), Some(3_200), Some(6_400), Some(12_800)];
        for pause in pauses.into_iter().chain([Some(25_600), Some(30_000), Some(30_000)]) {
            schedule.failed(at(0));
            assert_eq!(schedule.wait(at(0)), pause.map(at));
        }
        schedule.heard(false);
        assert_eq!(schedule.wait(at(0)), Some(at(5_000)), "an event may be the cure");
    }

    #[test]
    fn the_least_period_runs_from_the_end_of_a_sync_and_holds_for_failures_too() {
        let mut schedule = Schedule::new(Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!(schedule.wait(at(0)), None, "an idle proxy commits at once");
        schedule.caught_up(at(100));
        assert_eq!(schedule.wait(at(200)), Some(at(1_100)));
        schedule.failed(at(1_100));
        assert_eq!(schedule.wait(at(1_100)), Some(at(2_100)));
        assert_eq!(schedule.wait(at(2_100)), None);
    }
}
