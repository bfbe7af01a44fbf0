//! When the next request may be sent.
//!
//! kube-runtime's watcher starts a new watch the moment the last one ended, inside a single poll, so that no adaptor of its
//! stream can slow it down; and every restarted list resets the usual backoff. So each request passes a pace, and only a watch
//! that stayed open for a while resets it.
//!
//! ```text
//! attempt = a list, or a watch that does not follow one
//! delay(n-th attempt since a healthy watch) = 0, base, 2 base, 4 base … max, the upper half of each random
//! ```
//!
//! Pure: the moment and the random numbers come in as arguments.

use std::time::Duration;

use crate::pacing::{Backoff, Moment, TokenBucket, jitter};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A list, or its first page.
    List,
    /// A further page of a list.
    Page,
    /// A watch.
    Watch,
}

/// How fast requests may follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The delays before repeated attempts. The longest also bounds how long a server can make us wait.
    pub backoff: Backoff,
    /// How long a watch must stay open to count as healthy.
    pub healthy_after: Duration,
    /// Requests per second in the long run, whatever they are for.
    pub rate: f64,
    /// Requests that may be sent at once.
    pub burst: f64,
}

/// Permission to send one request after a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// How long to wait before sending it.
    pub delay: Duration,
    /// Attempts since the last healthy watch, this one included.
    pub attempts: u32,
    /// Watches in a row that were opened and ended too early to be healthy.
    pub early: u32,
    /// Whether the request starts a list or a watch again.
    pub restart: bool,
}

/// The pace of one client.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    /// Attempts since the last healthy watch.
    attempts: u32,
    /// Watches in a row that were opened and ended too early to be healthy.
    early: u32,
    /// There was an attempt before.
    started: bool,
    /// When the current watch was opened.
    open_since: Option<Moment>,
    /// A list was answered, and the watch that follows belongs to the same attempt.
    listed: bool,
    /// The server asked us to wait until then (`Retry-After`).
    not_before: Option<Moment>,
    bucket: TokenBucket,
}

/// A page costs a tenth of a request: the server's answers limit pages already, and a long list must not starve.
const PAGE_COST: f64 = 0.1;

impl Pace {
    /// A pace that has seen no request.
    pub fn new(limits: Limits, now: Moment) -> Self {
        let bucket = TokenBucket::new(limits.burst, limits.rate, now);
        Self {
            limits,
            attempts: 0,
            early: 0,
            started: false,
            open_since: None,
            listed: false,
            not_before: None,
            bucket,
        }
    }

    /// How long to wait before sending a request. `random` is from 0 to 1.
    pub fn permit(&mut self, purpose: Purpose, now: Moment, random: f64) -> Permit {
        let follows_list = std::mem::take(&mut self.listed) && purpose == Purpose::Watch;
        let attempt = purpose != Purpose::Page && !follows_list;
        let restart = attempt && std::mem::replace(&mut self.started, true);
        let backoff = if attempt { self.backoff(now, random) } else { Duration::ZERO };
        let asked = self.not_before.take().map_or(Duration::ZERO, |until| until.since(now));
        let cost = if purpose == Purpose::Page { PAGE_COST } else { 1.0 };
        let delay = backoff.max(asked).max(self.bucket.take(cost, now));
        Permit { delay, attempts: self.attempts, early: self.early, restart }
    }

    /// A request was answered with success.
    pub fn answered(&mut self, purpose: Purpose, now: Moment) {
        match purpose {
            Purpose::Watch => self.open_since = Some(now),
            Purpose::List | Purpose::Page => self.listed = true,
        }
    }

    /// A request failed; the server may have said when to come back.
    pub fn failed(&mut self, retry_after: Option<Duration>, now: Moment) {
        self.not_before = retry_after.map(|delay| now + delay.min(self.limits.backoff.longest()));
    }

    fn backoff(&mut self, now: Moment, random: f64) -> Duration {
        self.early = match self.open_since.take() {
            Some(since) if now.since(since) >= self.limits.healthy_after => {
                self.attempts = 0;
                0
            }
            Some(_) => self.early.saturating_add(1),
            // It was not even opened, which is another failure.
            None => 0,
        };
        let pause = self.limits.backoff.pause(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        jitter(pause, 0.5..=1.0, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        backoff: Backoff::new(Duration::from_millis(800), Duration::from_secs(30)),
        healthy_after: Duration::from_secs(10),
        rate: 5.0,
        burst: 20.0,
    };

    /// Plays `seconds` of requests that are each answered, and whose watches end after `lifetime`; returns how many were sent.
    fn requests_in(seconds: u64, lifetime: Duration, purposes: &[Purpose]) -> usize {
        let start = Moment::default();
        let mut now = start;
        let mut pace = Pace::new(LIMITS, now);
        let mut sent = 0;
        for purpose in purposes.iter().cycle() {
            now = now + pace.permit(*purpose, now, 1.0).delay;
            if now.since(start) > Duration::from_secs(seconds) {
                return sent;
            }
            sent += 1;
            pace.answered(*purpose, now);
            if *purpose == Purpose::Watch {
                now = now + lifetime;
            }
        }
        sent
    }

    #[test]
    fn watches_that_end_at_once_become_rare() {
        assert_eq!(requests_in(3, Duration::ZERO, &[Purpose::Watch]), 3, "at 0, 0.8 and 2.4 s");
        assert!(requests_in(3600, Duration::ZERO, &[Purpose::Watch]) < 130);
    }

    #[test]
    fn lists_that_succeed_do_not_reset_the_pace() {
        let sent = requests_in(3600, Duration::ZERO, &[Purpose::List, Purpose::Watch]);
        assert!(sent < 260, "{sent}");
    }

    #[test]
    fn a_healthy_watch_is_followed_at_once() {
        let sent = requests_in(2900, Duration::from_secs(290), &[Purpose::Watch]);
        assert_eq!(sent, 11);
    }

    #[test]
    fn the_watch_after_a_list_is_not_delayed() {
        let now = Moment::default();
        let mut pace = Pace::new(LIMITS, now);
        for purpose in [Purpose::List, Purpose::Page, Purpose::Page, Purpose::Watch] {
            assert_eq!(pace.permit(purpose, now, 1.0).delay, Duration::ZERO, "{purpose:?}");
            pace.answered(purpose, now);
        }
        assert_ne!(pace.permit(Purpose::Watch, now, 1.0).delay, Duration::ZERO);
    }

    #[test]
    fn a_list_of_200_pages_takes_no_extra_time() {
        let mut now = Moment::default();
        let mut pace = Pace::new(LIMITS, now);
        let mut waited = Duration::ZERO;
        for _ in 0..200 {
            waited += pace.permit(Purpose::Page, now, 1.0).delay;
            now = now + Duration::from_millis(20);
        }
        assert_eq!(waited, Duration::ZERO);
    }

    #[test]
    fn a_server_that_asks_for_rest_gets_it_within_reason() {
        let now = Moment::default();
        let mut pace = Pace::new(LIMITS, now);
        pace.failed(Some(Duration::from_secs(7)), now);
        assert_eq!(pace.permit(Purpose::List, now, 1.0).delay, Duration::from_secs(7));
        pace.failed(Some(Duration::from_secs(86_400)), now);
        assert_eq!(pace.permit(Purpose::List, now, 1.0).delay, LIMITS.backoff.longest());
    }

    #[test]
    fn watches_that_end_early_are_told_from_requests_that_fail() {
        let now = Moment::default();
        let mut pace = Pace::new(LIMITS, now);
        let early: Vec<_> = [true, true, true, false, true, true]
            .map(|opens| {
                let permit = pace.permit(Purpose::Watch, now, 1.0);
                if opens {
                    pace.answered(Purpose::Watch, now)
                } else {
                    pace.failed(None, now)
                }
                permit.early
            })
            .to_vec();
        assert_eq!(early, [0, 1, 2, 3, 0, 1]);
    }

    #[test]
    fn the_delay_never_overflows() {
        let now = Moment::default();
        let mut pace = Pace::new(LIMITS, now);
        pace.attempts = u32::MAX;
        assert!(pace.permit(Purpose::Watch, now, 1.0).delay <= Duration::from_secs(30));
    }
}
