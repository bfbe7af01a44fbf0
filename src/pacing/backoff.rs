//! Exponential backoff.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The pauses between attempts that keep failing: `first`, twice as long, four times as long … up to `longest`.
///
/// ```
/// use std::time::Duration;
/// use pointsman::pacing::Backoff;
///
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// let seconds = [0, 1, 2, 3, 6, 1000].map(|failures| backoff.pause(failures).as_secs());
/// assert_eq!(seconds, [0, 1, 2, 4, 30, 30]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The longest pause.
    pub const fn longest(self) -> Duration {
        self.longest
    }

    /// The pause after so many failures in a row; none before the first failure.
    pub fn pause(self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            // 2^31 times any pause that makes sense is beyond any longest one.
            Some(doublings) => self.first.saturating_mul(1 << doublings.min(31)).min(self.longest),
        }
    }
}

/// The pause times a factor within `factors`, so that many nodes do not act at the same moment. `random` is from 0 to 1.
pub fn jitter(pause: Duration, factors: RangeInclusive<f64>, random: f64) -> Duration {
    let (least, most) = factors.into_inner();
    pause.mul_f64(least + (most - least) * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_never_overflow() {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
        let pauses = [0, 1, 2, 3, 4, u32::MAX].map(|failures| backoff.pause(failures).as_millis());
        assert_eq!(pauses, [0, 200, 400, 800, 1000, 1000]);
        assert_eq!(Backoff::new(Duration::MAX, Duration::MAX).pause(40), Duration::MAX);
        let shorter = Backoff::new(Duration::from_secs(5), Duration::from_secs(1));
        assert_eq!(shorter.pause(1), Duration::from_secs(1), "the longest pause bounds the first one too");
    }

    #[test]
    fn jitter_stays_within_its_factors() {
        let pause = Duration::from_secs(10);
        let seconds = [-1.0, 0.0, 0.5, 1.0, 2.0].map(|random| jitter(pause, 0.5..=1.5, random).as_secs());
        assert_eq!(seconds, [5, 5, 10, 15, 15]);
    }
}
