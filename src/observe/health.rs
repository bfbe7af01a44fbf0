//! Is the proxy keeping up, and should load balancers send this node traffic?

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// How long a change may wait to be programmed before the proxy counts as unhealthy, in sync periods: as with kube-proxy.
const SYNC_PERIODS: u32 = 2;
/// kube-proxy's `syncPeriod`, unless configured.
const SYNC_PERIOD: Duration = Duration::from_secs(30);

/// The proxy's health. Written by the loop, read by the HTTP pages; clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<Mutex<State>>,
    patience: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self::with_sync_period(SYNC_PERIOD)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Since when something waits to be programmed.
    pending_since: Option<Instant>,
    last_synced: Option<Timestamp>,
    node_eligible: Option<bool>,
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Nothing waits to be programmed for longer than two sync periods.
    pub healthy: bool,
    /// The node is neither being deleted nor about to be scaled down. Unknown nodes are not eligible.
    pub node_eligible: bool,
    /// When the last sync succeeded.
    pub last_synced: Option<Timestamp>,
}

impl Health {
    /// Nothing is known yet. A change may wait for two sync periods before the proxy counts as unhealthy.
    pub fn with_sync_period(period: Duration) -> Self {
        Self { state: Arc::default(), patience: period.saturating_mul(SYNC_PERIODS) }
    }

    /// Something has to be programmed.
    pub fn requested(&self, now: Instant) {
        self.lock().pending_since.get_or_insert(now);
    }

    /// Everything is programmed.
    pub fn synced(&self, at: Timestamp) {
        let mut state = self.lock();
        state.pending_since = None;
        state.last_synced = Some(at);
    }

    /// The node object says whether load balancers may use it.
    pub fn node(&self, eligible: bool) {
        self.lock().node_eligible = Some(eligible);
    }

    /// What is known now.
    pub fn report(&self, now: Instant) -> Report {
        let state = self.lock();
        Report {
            healthy: state.pending_since.is_none_or(|since| now.duration_since(since) < self.patience),
            node_eligible: state.node_eligible.unwrap_or(false),
            last_synced: state.last_synced,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn with_another_sync_period_a_change_may_wait_for_twice_as_long() {
        let health = Health::with_sync_period(Duration::from_secs(5));
        health.requested(Instant::now());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(health.report(Instant::now()).healthy);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!health.report(Instant::now()).healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_waits_for_a_minute_is_unhealthy_until_it_is_programmed() {
        let health = Health::default();
        assert!(health.report(Instant::now()).healthy);
        health.requested(Instant::now());
        tokio::time::advance(Duration::from_secs(59)).await;
        health.requested(Instant::now());
        assert!(health.report(Instant::now()).healthy);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!health.report(Instant::now()).healthy);
        health.synced(Timestamp::UNIX_EPOCH);
        assert!(health.report(Instant::now()).healthy);
    }

    #[test]
    fn an_unknown_node_is_not_eligible_and_a_vanished_one_stays_as_it_was() {
        let health = Health::default();
        assert!(!health.report(Instant::now()).node_eligible);
        health.node(true);
        assert!(health.report(Instant::now()).node_eligible);
    }
}
