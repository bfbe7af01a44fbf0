//! How soon a drift is repaired: at once, unless repairs are undone again and again.

use std::time::Duration;

use crate::pacing::{Backoff, Moment};

/// So many repairs are made at once before the first pause.
const REPAIRS_AT_ONCE: u32 = 2;
/// From the pause after these repairs to the longest one.
const PAUSES: Backoff = Backoff::new(SHORTEST_PAUSE, Duration::from_secs(60));
/// No shorter pause.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// A pause is at most so many times as long as the last repair took, or the shortest one: packets find no Service while our tables are gone,
/// and a repair that takes milliseconds costs less than that.
const MAX_REPAIRS_LONG: u32 = 5;
/// A repair that lasted so long, and eight times the last pause, was not undone.
const LASTED: Duration = Duration::from_secs(60);

/// The pauses before repairs. Two programs that undo each other would burn a core for nothing: each further repair waits longer, as long as
/// the pauses are short beside the repairs.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairPace {
    repairs: u32,
    last: Option<Moment>,
    /// How long the last repair took.
    took: Duration,
}

impl RepairPace {
    /// How many repairs preceded a drift that is found now, each soon after the other; and how long the next one waits.
    pub fn found(&mut self, now: Moment) -> (u32, Duration) {
        let lasted = LASTED.max(self.pause() * 8);
        if self.last.is_some_and(|last| now.since(last) > lasted) {
            self.repairs = 0;
        }
        (self.repairs, self.pause())
    }

    /// A repair was made, which took so long.
    pub fn repaired(&mut self, took: Duration, now: Moment) {
        self.repairs = self.repairs.saturating_add(1);
        self.took = took;
        self.last = Some(now);
    }

    /// How many repairs were made, each soon after the other.
    pub fn repairs(&self) -> u32 {
        self.repairs
    }

    fn pause(&self) -> Duration {
        let longest = SHORTEST_PAUSE.max(self.took * MAX_REPAIRS_LONG);
        PAUSES.pause((self.repairs + 1).saturating_sub(REPAIRS_AT_ONCE)).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_that_are_undone_wait_longer_and_longer_and_one_that_lasts_ends_that() {
        let pauses = |pace: &mut RepairPace, took: Duration| {
            let (mut now, mut pauses) = (Moment::default(), Vec::new());
            for _ in 0..10 {
                let (_, pause) = pace.found(now);
                pauses.push(pause.as_secs());
                now = now + pause;
                pace.repaired(took, now);
            }
            (now, pauses)
        };
        let mut pace = RepairPace::default();
        let (now, slow) = pauses(&mut pace, Duration::from_secs(30));
        assert_eq!(slow, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pace.found(now + Duration::from_secs(479)).1.as_secs(), 60);
        assert_eq!(pace.found(now + Duration::from_secs(481)), (0, Duration::ZERO));
        let (_, quick) = pauses(&mut RepairPace::default(), Duration::from_millis(3));
        assert_eq!(quick, [0, 0, 1, 1, 1, 1, 1, 1, 1, 1], "the tables are gone for longer than a repair costs");
        let (_, between) = pauses(&mut RepairPace::default(), Duration::from_secs(1));
        assert_eq!(between, [0, 0, 1, 2, 4, 5, 5, 5, 5, 5]);
    }
}
