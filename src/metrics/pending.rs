//! The changes that are not programmed yet, for kube-proxy's counts of changes and for latencies.

use std::collections::BTreeMap;

use crate::pacing::Moment;
use jiff::Timestamp;
use metrics::{counter, gauge, histogram};

use super::{
    ENDPOINT_CHANGES, ENDPOINT_CHANGES_PENDING, EVENT_LATENCY, PROGRAMMING_DURATION, SERVICE_CHANGES,
    SERVICE_CHANGES_PENDING,
};
use crate::dataplane::Family;
use crate::state::{Event, Kind, ObjectName};

/// How many moments are remembered for one latency metric.
const MAX_LATENCIES: usize = 10_000;
/// How many are remembered for one EndpointSlice.
const MAX_LATENCIES_OF_SLICE: usize = 100;

/// What the counts need to know about an event after it was folded.
#[derive(Debug)]
pub(crate) struct Arrival {
    kind: Kind,
    /// The event carries a complete list.
    list: bool,
    /// The EndpointSlice that the event is about, with its family unless it was deleted.
    slice: Option<(ObjectName, Option<Family>)>,
    at: Moment,
    triggered: Option<Timestamp>,
}

/// The changes that wait to be programmed.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Changes that were made before this process started are no measure of it.
    started: Timestamp,
    /// Those that were folded since the last commit.
    newest: Waiting,
    /// Those of which a part was still waiting after a commit.
    older: Waiting,
}

/// Changes that are programmed together.
#[derive(Debug, Default)]
struct Waiting {
    endpoint_changes: usize,
    service_changes: usize,
    /// When the events arrived.
    arrived: Vec<Moment>,
    /// When the changes behind slices were made, by slice.
    triggered: BTreeMap<ObjectName, Vec<(Family, Timestamp)>>,
}

impl Arrival {
    /// An event that arrived `at` this moment, and `triggered`: when the change behind an EndpointSlice was made, if it says so.
    pub fn new(event: &Event, at: Moment, triggered: Option<Timestamp>) -> Self {
        let slice = match event {
            Event::SliceApplied(slice) => slice.object().map(|slice| (slice.name.clone(), Some(slice.family))),
            Event::SliceDeleted(name) => Some((name.clone(), None)),
            _ => None,
        };
        Self { kind: event.kind(), list: event.change() == "reset", slice, at, triggered }
    }
}

impl Pending {
    /// Nothing waits yet, in a process that began at `started`.
    pub fn since(started: Timestamp) -> Self {
        Self { started, newest: Waiting::default(), older: Waiting::default() }
    }

    /// An event was folded. It changed so many `services` or their endpoints, and may need a sync.
    pub fn folded(&mut self, arrival: Arrival, services: usize, needs_sync: bool) {
        // Of a list, only the Services that it changed are known.
        let changes = if arrival.list { services } else { 1 };
        let pending = if services > 0 { changes } else { 0 };
        match arrival.kind {
            Kind::Service => {
                counter!(SERVICE_CHANGES).increment(changes as u64);
                self.newest.service_changes += pending;
            }
            Kind::EndpointSlice => {
                counter!(ENDPOINT_CHANGES).increment(changes as u64);
                self.newest.endpoint_changes += pending;
            }
            Kind::ServiceCidr | Kind::Node => {}
        }
        if let Some((name, family)) = arrival.slice {
            self.slice(name, family, arrival.triggered, services > 0);
        }
        if needs_sync && self.newest.arrived.len() < MAX_LATENCIES {
            self.newest.arrived.push(arrival.at);
        }
    }

    fn slice(&mut self, name: ObjectName, family: Option<Family>, triggered: Option<Timestamp>, changed: bool) {
        let Some(family) = family else {
            // A deleted slice is never programmed, so there is nothing to measure.
            self.newest.triggered.remove(&name);
            self.older.triggered.remove(&name);
            return;
        };
        if let Some(at) = triggered.filter(|at| changed && *at > self.started)
            && self.newest.triggered.len() < MAX_LATENCIES
        {
            let of_slice = self.newest.triggered.entry(name).or_default();
            if of_slice.len() < MAX_LATENCIES_OF_SLICE {
                of_slice.push((family, at));
            }
        }
    }

    /// Shows how many changes wait.
    pub fn show(&self) {
        #[expect(clippy::cast_precision_loss, reason = "no cluster has 2^52 changes")]
        for (name, count) in [
            (ENDPOINT_CHANGES_PENDING, self.newest.endpoint_changes + self.older.endpoint_changes),
            (SERVICE_CHANGES_PENDING, self.newest.service_changes + self.older.service_changes),
        ] {
            gauge!(name).set(count as f64);
        }
    }

    /// All changes are programmed now: at `now`, which is `wall` by the system's clock.
    pub fn all_programmed(&mut self, now: Moment, wall: Timestamp) {
        self.older.record(now, wall);
        self.newest_programmed(now, wall);
    }

    /// The changes since the last commit are programmed now. Older ones go on waiting.
    pub fn newest_programmed(&mut self, now: Moment, wall: Timestamp) {
        self.newest.record(now, wall);
        self.show();
        super::recorded();
    }

    /// The changes since the last commit wait for further commits.
    pub fn newest_wait(&mut self) {
        self.older.add(std::mem::take(&mut self.newest));
    }
}

impl Waiting {
    /// Records how long the changes waited. None is left.
    fn record(&mut self, now: Moment, wall: Timestamp) {
        for at in self.arrived.drain(..) {
            histogram!(EVENT_LATENCY).record(now.since(at).as_secs_f64());
        }
        for (family, at) in std::mem::take(&mut self.triggered).into_values().flatten() {
            // The clock of the control plane may be ahead; the sum must not go down.
            let seconds = wall.duration_since(at).as_secs_f64().max(0.0);
            histogram!(PROGRAMMING_DURATION, "ip_family" => family.label()).record(seconds);
        }
        (self.endpoint_changes, self.service_changes) = (0, 0);
    }

    /// Adds later changes, and drops latencies beyond the bound.
    fn add(&mut self, later: Self) {
        self.endpoint_changes += later.endpoint_changes;
        self.service_changes += later.service_changes;
        let room = MAX_LATENCIES.saturating_sub(self.arrived.len());
        self.arrived.extend(later.arrived.into_iter().take(room));
        for (name, at) in later.triggered {
            if self.triggered.len() < MAX_LATENCIES || self.triggered.contains_key(&name) {
                let of_slice = self.triggered.entry(name).or_default();
                let room = MAX_LATENCIES_OF_SLICE.saturating_sub(of_slice.len());
                of_slice.extend(at.into_iter().take(room));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_shows, scrape};
    use super::*;
    use crate::fixtures::{name, service, slice};
    use jiff::ToSpan;

    fn received(event: impl Into<Event>, triggered: Option<Timestamp>) -> Arrival {
        Arrival::new(&event.into(), Moment::default(), triggered)
    }

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// So many seconds after the start.
    fn after(seconds: i64) -> Timestamp {
        start().checked_add(seconds.seconds()).unwrap()
    }

    #[test]
    fn changes_are_pending_until_they_are_programmed() {
        let shown = scrape(|| {
            let mut pending = Pending::since(start());
            pending.folded(received(service("shop/web"), None), 1, true);
            pending.folded(received(slice("shop/web-1"), None), 1, true);
            pending.folded(received(slice("shop/web-2"), None), 1, true);
            pending.folded(received(slice("shop/web-2"), None), 0, true);
            pending.folded(received(Event::SlicesReset(Vec::new()), None), 5, true);
            pending.show();
        });
        assert_shows(&shown, "kubeproxy_sync_proxy_rules_endpoint_changes_pending 7");
        assert_shows(&shown, "kubeproxy_sync_proxy_rules_endpoint_changes_total 8");
        assert_shows(&shown, "kubeproxy_sync_proxy_rules_service_changes_pending 1");
        assert_shows(&shown, "kubeproxy_sync_proxy_rules_service_changes_total 1");
        let shown = scrape(|| {
            let mut pending = Pending::since(start());
            pending.folded(received(service("shop/web"), None), 1, true);
            pending.all_programmed(Moment::default(), start());
        });
        assert_shows(&shown, "kubeproxy_sync_proxy_rules_service_changes_pending 0");
    }

    #[test]
    fn the_time_from_a_change_to_its_commit_is_measured_by_family() {
        let shown = scrape(|| {
            let mut pending = Pending::since(start());
            for (name, seconds, services) in [
                ("shop/web-1", 10, 1),
                ("shop/web-2", 4, 1),
                ("shop/before-the-start", -5, 1),
                ("shop/changed-nothing", 9, 0),
                ("shop/gone-1", 9, 1),
            ] {
                pending.folded(received(slice(name), Some(after(seconds))), services, true);
            }
            pending.folded(received(slice("shop/says-nothing"), None), 1, true);
            pending.folded(received(Event::SliceDeleted(name("shop/gone-1")), None), 1, true);
            pending.all_programmed(Moment::default(), after(11));
            pending.all_programmed(Moment::default(), after(20));
        });
        let of = "kubeproxy_network_programming_duration_seconds";
        assert_shows(&shown, &format!("{of}_count{{ip_family=\"IPv4\"}} 2"));
        assert_shows(&shown, &format!("{of}_sum{{ip_family=\"IPv4\"}} 8"));
        assert_shows(&shown, &format!("{of}_bucket{{ip_family=\"IPv4\",le=\"1\"}} 1"));
    }

    #[test]
    fn a_change_that_overtakes_a_larger_one_is_measured_when_it_is_programmed() {
        let shown = scrape(|| {
            let mut pending = Pending::since(start());
            pending.folded(received(slice("shop/large-1"), Some(after(1))), 1, true);
            pending.newest_wait();
            pending.folded(received(slice("shop/small-1"), Some(after(1))), 1, true);
            pending.newest_programmed(Moment::default(), after(2));
        });
        assert_shows(&shown, "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} 1");
        assert_shows(&shown, "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1");
    }

    #[test]
    fn a_clock_that_is_ahead_counts_as_no_time() {
        let shown = scrape(|| {
            let mut pending = Pending::since(start());
            pending.folded(received(slice("shop/web-1"), Some(after(60))), 1, true);
            pending.all_programmed(Moment::default(), after(1));
        });
        assert_shows(&shown, "kubeproxy_network_programming_duration_seconds_sum{ip_family=\"IPv4\"} 0");
    }
}
