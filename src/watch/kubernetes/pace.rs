//! When the next request may be sent.
//!
//! A watch that ends is followed by another one at once, and a list that succeeds says nothing about the watch after it. So each request
//! passes a pace, and only a watch that stayed open for a while resets it.
//!
//! ```text
//! attempt = a list, or a watch that does not follow one
//! delay(n-th attempt since a healthy watch) = 0, base, 2 base, 4 base … max, the upper half of each random
//! ```
//!
//! A server that is started again first refuses connections, then answers with errors while it gets ready. Both cost it little, so until
//! a while after the last refusal the longest delay is a few seconds. The random half of it spreads the nodes.
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
    /// The longest delay while the server cannot be reached, and for [`RESTART_TIME`] after that.
    pub unreachable_max: Duration,
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
    /// When the server was last found to be out of reach.
    unreachable_at: Option<Moment>,
    bucket: TokenBucket,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// There was no answer at all.
    Unreachable,
    /// The server answered with an error, and may have said when to come back.
    Refused(Option<Duration>),
}

/// How long after it could not be reached a server may still be getting ready.
const RESTART_TIME: Duration = Duration::from_secs(30);

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
            unreachable_at: None,
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

    /// A request failed.
    pub fn failed(&mut self, failure: RequestFailure, now: Moment) {
        self.not_before = match failure {
            RequestFailure::Refused(retry_after) => {
                retry_after.map(|delay| now + delay.min(self.limits.backoff.longest()))
            }
            RequestFailure::Unreachable => {
                self.unreachable_at = Some(now);
                None
            }
        };
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
        let mut pause = self.limits.backoff.pause(self.attempts);
        if self.unreachable_at.is_some_and(|at| now.since(at) < RESTART_TIME) {
            pause = pause.min(self.limits.unreachable_max);
        }
        self.attempts = self.attempts.saturating_add(1);
        jitter(pause, 0.5..=1.0, random)
    }
}

#[cfg(test)]
mod tests;
