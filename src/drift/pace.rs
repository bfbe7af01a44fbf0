//! How soon a drift is repaired: at once, unless repairs are undone again and again.

use std::time::Duration;

use crate::pacing::{Backoff, Moment};

/// So many repairs are made at once before the first pause.
const REPAIRS_AT_ONCE: u32 = 2;
/// From the pause after these repairs to the longest one.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// A repair that lasted so long, and eight times the last pause, was not undone.
const LASTED: Duration = Duration::from_secs(60);

/// The pauses before repairs. Two programs that undo each other would burn a core for nothing: each further repair waits longer.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairPace {
    repairs: u32,
    last: Option<Moment>,
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

    /// A repair was made.
    pub fn repaired(&mut self, now: Moment) {
        self.repairs = self.repairs.saturating_add(1);
        self.last = Some(now);
    }

    fn pause(&self) -> Duration {
        PAUSES.pause((self.repairs + 1).saturating_sub(REPAIRS_AT_ONCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_that_are_undone_wait_longer_and_longer_and_one_that_lasts_ends_that() {
        let (mut pace, mut now, mut pauses) = (RepairPace::default(), Moment::default(), Vec::new());
        for _ in 0..10 {
            let (_, pause) = pace.found(now);
            pauses.push(pause.as_secs());
            now = now + pause;
            pace.repaired(now);
        }
        assert_eq!(pauses, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pace.found(now + Duration::from_secs(479)).1.as_secs(), 60);
        assert_eq!(pace.found(now + Duration::from_secs(481)), (0, Duration::ZERO));
    }
}
