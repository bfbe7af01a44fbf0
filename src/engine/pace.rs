//! How large a slice may be so that it is planned and committed in as long as wished.

use std::time::Duration;

/// The least size of a slice, in operations.
const MIN_OPERATIONS: usize = 1_000;
/// The size of the first slice, before anything is known of the kernel's pace.
const FIRST_OPERATIONS: usize = 2_000;
/// A slice aims at so many tenths of the time that it may take: the same number of operations takes half as long again now and then.
const AIM_TENTHS: u32 = 7;
/// How much larger than the last slice the next one may be.
const MAX_GROWTH: usize = 4;

/// The size of the next slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlicePace {
    goal: Option<Duration>,
    operations: usize,
}

impl SlicePace {
    /// Slices that take about so long at most; `None` for no limit.
    pub fn new(longest: Option<Duration>) -> Self {
        let goal = longest.map(|longest| longest * AIM_TENTHS / 10);
        Self { goal, operations: if goal.is_some() { FIRST_OPERATIONS } else { usize::MAX } }
    }

    /// About how many operations the next slice may have.
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// A slice of so many operations took so long. Small ones say nothing of the pace.
    pub fn took(&mut self, operations: usize, time: Duration) {
        let Some(goal) = self.goal.filter(|_| operations >= MIN_OPERATIONS) else { return };
        let nanos = time.as_nanos().max(1);
        let at_this_pace = u128::try_from(operations).unwrap_or(u128::MAX).saturating_mul(goal.as_nanos()) / nanos;
        let most = operations.saturating_mul(MAX_GROWTH);
        self.operations = usize::try_from(at_this_pace).unwrap_or(usize::MAX).clamp(MIN_OPERATIONS, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(operations: usize, time: Duration) -> usize {
        let mut pace = SlicePace::new(Some(Duration::from_millis(50)));
        pace.took(operations, time);
        pace.operations()
    }

    #[test]
    fn slices_follow_the_kernels_pace_within_limits() {
        assert_eq!(next(2_000, Duration::from_millis(25)), 2_800);
        assert_eq!(next(20_000, Duration::from_millis(70)), 10_000);
        assert_eq!(next(2_000, Duration::from_micros(1)), 8_000, "grows no faster");
        assert_eq!(next(2_000, Duration::ZERO), 8_000);
        assert_eq!(next(2_000, Duration::from_secs(60)), MIN_OPERATIONS, "no smaller");
        assert_eq!(next(3, Duration::from_millis(1)), FIRST_OPERATIONS, "too small to tell");
    }
}
