//! Time as data.

use std::time::Duration;

/// A moment on a monotonic clock, counted from a beginning that is the same for all moments that are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The moment that is so long after the beginning.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the beginning it is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How long after `earlier` it is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    /// The moment that is so much later.
    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }
}
