//! Health: whether the proxy keeps up, and whether load balancers should send traffic to this node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::StatusBoard;
use crate::dataplane::Family;
use crate::watch::Connection;

/// How many sync periods a change may wait before the proxy counts as unhealthy: as with kube-proxy.
const MAX_PENDING_SYNC_PERIODS: u32 = 2;
/// The default of kube-proxy's `syncPeriod`.
const DEFAULT_SYNC_PERIOD: Duration = Duration::from_secs(30);

/// The proxy's health. Written by the loop, read by the HTTP pages; clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<Mutex<HealthState>>,
    /// How long a change may wait before the proxy counts as unhealthy.
    max_pending: Duration,
    connection: Connection,
    board: StatusBoard,
}

#[derive(Debug, Default)]
struct HealthState {
    /// By [`Family::index`].
    families: [FamilyState; 2],
    node_eligible: Option<bool>,
    /// When a commit last failed.
    failed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct FamilyState {
    /// Since when a change waits to be programmed, without progress.
    pending_since: Option<Instant>,
    last_synced: Option<Timestamp>,
}

/// The health at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// No change waits to be programmed for longer than two sync periods without progress, in any family.
    pub healthy: bool,
    /// The node is neither being deleted nor about to be scaled down. Unknown nodes are not eligible.
    pub node_eligible: bool,
    /// When the last sync of any family succeeded.
    pub last_synced: Option<Timestamp>,
    families: [FamilyHealth; 2],
}

/// The health of one family at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyHealth {
    /// No change waits to be programmed for longer than two sync periods without progress.
    pub healthy: bool,
    /// When everything was last known to be programmed.
    pub last_synced: Option<Timestamp>,
}

impl HealthReport {
    /// The health of a family.
    pub fn family(&self, family: Family) -> FamilyHealth {
        let [ip, ip6] = self.families;
        match family {
            Family::Ip => ip,
            Family::Ip6 => ip6,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::with_sync_period(DEFAULT_SYNC_PERIOD)
    }
}

impl Health {
    /// Nothing is known yet. A change may wait for two sync periods before the proxy counts as unhealthy.
    pub fn with_sync_period(period: Duration) -> Self {
        let max_pending = period.saturating_mul(MAX_PENDING_SYNC_PERIODS);
        let connection = Connection::default();
        Self { state: Arc::default(), max_pending, board: StatusBoard::new(connection.clone()), connection }
    }

    /// The state of the watches. The health pages show it; it decides nothing.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What is known about the node.
    pub fn board(&self) -> &StatusBoard {
        &self.board
    }

    /// A change has to be programmed, in every family until it is [up to date](Self::up_to_date).
    pub fn requested(&self, now: Instant) {
        for family in &mut self.lock().families {
            family.pending_since.get_or_insert(now);
        }
    }

    /// A part of what waits was programmed: a huge change takes many commits, and the proxy is healthy while it makes them. This does not count
    /// for a while after a failure, or a proxy that begins again and again, and never comes to the end, would be healthy.
    pub fn progressed(&self, now: Instant) {
        let mut state = self.lock();
        if state.failed.is_some_and(|failed| now.duration_since(failed) < self.max_pending) {
            return;
        }
        for family in &mut state.families {
            family.pending_since = family.pending_since.map(|_| now);
        }
    }

    /// A commit failed, or the tables could not be read.
    pub fn failed(&self, now: Instant) {
        self.lock().failed = Some(now);
    }

    /// Everything is programmed.
    pub fn synced(&self, at: Timestamp) {
        Family::ALL.into_iter().for_each(|family| self.up_to_date(family, at));
    }

    /// Everything is programmed in this family; others may still wait.
    pub fn up_to_date(&self, family: Family, at: Timestamp) {
        if let Some(state) = self.lock().families.get_mut(family.index()) {
            *state = FamilyState { pending_since: None, last_synced: Some(at) };
        }
    }

    /// Whether load balancers may use this node, as its Node object says.
    pub fn node(&self, eligible: bool) {
        self.lock().node_eligible = Some(eligible);
    }

    /// The health now.
    pub fn report(&self, now: Instant) -> HealthReport {
        let state = self.lock();
        let families = state.families.map(|family| FamilyHealth {
            healthy: family.pending_since.is_none_or(|since| now.duration_since(since) < self.max_pending),
            last_synced: family.last_synced,
        });
        HealthReport {
            healthy: families.iter().all(|family| family.healthy),
            node_eligible: state.node_eligible.unwrap_or(false),
            last_synced: families.iter().filter_map(|family| family.last_synced).max(),
            families,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HealthState> {
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

    #[tokio::test(start_paused = true)]
    async fn a_huge_change_is_healthy_while_it_makes_progress() {
        let health = Health::default();
        health.requested(Instant::now());
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(59)).await;
            assert!(health.report(Instant::now()).healthy);
            health.progressed(Instant::now());
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(!health.report(Instant::now()).healthy, "it stopped");
    }

    #[tokio::test(start_paused = true)]
    async fn progress_without_anything_that_waits_is_nothing() {
        let health = Health::default();
        health.progressed(Instant::now());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(health.report(Instant::now()).healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn commits_that_go_on_to_fail_are_unhealthy_whatever_is_programmed_between_them() {
        let health = Health::default();
        health.requested(Instant::now());
        for _ in 0..6 {
            health.failed(Instant::now());
            tokio::time::advance(Duration::from_secs(10)).await;
            health.progressed(Instant::now());
        }
        assert!(!health.report(Instant::now()).healthy);
        tokio::time::advance(Duration::from_secs(60)).await;
        health.progressed(Instant::now());
        assert!(health.report(Instant::now()).healthy, "the failures are over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_waits_makes_the_proxy_unhealthy_whatever_the_other_does() {
        let health = Health::default();
        health.requested(Instant::now());
        health.up_to_date(Family::Ip6, Timestamp::UNIX_EPOCH);
        tokio::time::advance(Duration::from_secs(60)).await;
        let report = health.report(Instant::now());
        assert_eq!(
            [report.healthy, report.family(Family::Ip).healthy, report.family(Family::Ip6).healthy],
            [false, false, true]
        );
        health.up_to_date(Family::Ip6, Timestamp::UNIX_EPOCH);
        assert!(!health.report(Instant::now()).healthy);
        health.up_to_date(Family::Ip, Timestamp::UNIX_EPOCH);
        assert!(health.report(Instant::now()).healthy);
    }

    #[test]
    fn the_last_sync_is_told_of_each_family_and_the_newest_of_both() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let health = Health::default();
        let last_synced = || {
            let report = health.report(Instant::now());
            (report.last_synced, Family::ALL.map(|family| report.family(family).last_synced))
        };
        assert_eq!(last_synced(), (None, [None; 2]));
        health.up_to_date(Family::Ip6, at(100));
        assert_eq!(last_synced(), (Some(at(100)), [None, Some(at(100))]));
        health.up_to_date(Family::Ip, at(200));
        assert_eq!(last_synced(), (Some(at(200)), [Some(at(200)), Some(at(100))]));
        health.requested(Instant::now());
        health.failed(Instant::now());
        health.progressed(Instant::now());
        assert_eq!(last_synced(), (Some(at(200)), [Some(at(200)), Some(at(100))]), "a change does not take it back");
        health.synced(at(300));
        assert_eq!(last_synced(), (Some(at(300)), [Some(at(300)); 2]));
    }

    #[test]
    fn an_unknown_node_is_not_eligible_and_a_vanished_one_stays_as_it_was() {
        let health = Health::default();
        assert!(!health.report(Instant::now()).node_eligible);
        health.node(true);
        assert!(health.report(Instant::now()).node_eligible);
    }
}
