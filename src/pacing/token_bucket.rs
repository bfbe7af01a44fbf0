//! A limit on how many requests may be sent, in a burst and in the long run.

use std::time::Duration;

use super::Moment;

/// A token bucket: it holds `burst` tokens at most, and gains `per_second` of them.
///
/// It never refuses. A caller that takes more than there is waits until the missing tokens have come; later callers wait for
/// these as well.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    burst: f64,
    per_second: f64,
    /// The tokens at the moment `at`; below zero while they are owed.
    tokens: f64,
    at: Moment,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(burst: f64, per_second: f64, now: Moment) -> Self {
        Self { burst, per_second, tokens: burst, at: now }
    }

    /// Takes tokens, and says how long to wait before using them.
    pub fn take(&mut self, tokens: f64, now: Moment) -> Duration {
        let gained = now.since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst) - tokens;
        self.at = now;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        // Fails without a rate: then they never come.
        Duration::try_from_secs_f64(-self.tokens / self.per_second).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_waits_for_its_tokens() {
        let now = Moment::default();
        let mut bucket = TokenBucket::new(2.0, 0.1, now);
        let waits = [(); 4].map(|()| bucket.take(1.0, now).as_secs());
        assert_eq!(waits, [0, 0, 10, 20]);
        assert_eq!(bucket.take(1.0, now + Duration::from_secs(1_000)).as_secs(), 0);
    }

    #[test]
    fn a_bucket_that_gains_nothing_does_not_panic() {
        let now = Moment::default();
        let mut bucket = TokenBucket::new(1.0, 0.0, now);
        assert_eq!([bucket.take(1.0, now), bucket.take(1.0, now)], [Duration::ZERO, Duration::MAX]);
    }
}
