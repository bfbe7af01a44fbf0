//! The monotonic clock, which gives the moments that the pure parts are handed as data. It is tokio's, which tests pause.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

use crate::pacing::Moment;

/// How long before the first look at the clock the moments begin, so that a paused clock, which may be behind, is never before that.
const HEAD_START: Duration = Duration::from_secs(24 * 60 * 60);

/// The beginning of all moments of this process.
static BEGINNING: LazyLock<Instant> = LazyLock::new(|| {
    #[expect(
        clippy::disallowed_types,
        reason = "a clock that one test pauses must not be the beginning for the others"
    )]
    let now = Instant::from_std(std::time::Instant::now());
    now.checked_sub(HEAD_START).unwrap_or(now)
});

/// This moment.
pub fn now() -> Moment {
    Moment::from_start(Instant::now().saturating_duration_since(*BEGINNING))
}

/// Sleeps until a moment.
pub async fn sleep_until(moment: Moment) {
    tokio::time::sleep_until(*BEGINNING + moment.since_start()).await;
}
