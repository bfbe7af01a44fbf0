//! Every metric, described in one place. `docs/metrics.md` is this table; a test compares the two.
//!
//! Where kube-proxy has the metric, its name, labels and buckets are used, so that dashboards and alerts go on working;
//! ours start with `pointsman_`.

use std::collections::BTreeMap;
use std::fmt::Write;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

use crate::dataplane::{Family, Object, Operation, SetName, Verb};
use crate::diff::Plan;
use crate::state::{Event, Exposure, Skipped, WithoutLocal};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Counts by size, with these upper bounds.
    Histogram(Buckets),
}

/// Upper bounds of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Buckets {
    /// `first · 2^k` for `count` values of k from 0.
    Doubling {
        /// The smallest bound.
        first: f64,
        /// How many bounds.
        count: i32,
    },
    /// `first · 4^k` for `count` values of k from 0.
    Quadrupling {
        /// The smallest bound.
        first: f64,
        /// How many bounds.
        count: i32,
    },
}

/// A metric and its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// The labels, separated by commas; empty for none.
    pub labels: &'static str,
    /// What it counts or measures, with the unit.
    pub help: &'static str,
}

/// Events received from the sources.
pub const EVENTS: &str = "pointsman_events_total";
/// Problems found in objects.
pub const SKIPPED: &str = "pointsman_skipped_total";
/// Time from receiving an event to the acknowledged commit.
pub const EVENT_LATENCY: &str = "pointsman_event_to_commit_seconds";
/// Operations of one batch, by kind of object and verb.
pub const OPERATIONS: &str = "pointsman_batch_operations";
/// Size of one batch.
pub const BATCH_BYTES: &str = "pointsman_batch_bytes";
/// Elements that the kernel holds.
pub const ELEMENTS: &str = "pointsman_elements";
/// Syncs by result.
pub const SYNCS: &str = "pointsman_syncs_total";
/// Times that the kernel's state was read back.
pub const READ_BACKS: &str = "pointsman_read_backs_total";
/// Watches that ended and were started again.
pub const WATCH_RESTARTS: &str = "pointsman_watch_restarts_total";
/// Requests to the API server.
pub const API_REQUESTS: &str = "pointsman_api_requests_total";
/// Services known.
pub const SERVICES: &str = "pointsman_services";
/// The version, as a label.
pub const BUILD_INFO: &str = "pointsman_build_info";
/// Duration of a sync.
pub const SYNC_DURATION: &str = "kubeproxy_sync_proxy_rules_duration_seconds";
/// When the last sync succeeded.
pub const SYNC_LAST: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
/// When a sync was last asked for.
pub const SYNC_QUEUED: &str = "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds";
/// Failed commits.
pub const SYNC_FAILURES: &str = "kubeproxy_sync_proxy_rules_nftables_sync_failures_total";
/// Changes of EndpointSlices received.
pub const ENDPOINT_CHANGES: &str = "kubeproxy_sync_proxy_rules_endpoint_changes_total";
/// Changes of Services received.
pub const SERVICE_CHANGES: &str = "kubeproxy_sync_proxy_rules_service_changes_total";
/// Answers of `/healthz`.
pub const HEALTHZ: &str = "kubeproxy_proxy_healthz_total";
/// Answers of `/livez`.
pub const LIVEZ: &str = "kubeproxy_proxy_livez_total";
/// Service ports that a policy leaves without an endpoint on this node.
pub const WITHOUT_LOCAL: &str = "kubeproxy_sync_proxy_rules_no_local_endpoints_total";
/// Health-check ports of Services that could not be listened on.
pub const HEALTH_CHECK_FAILURES: &str = "pointsman_health_check_listen_failures_total";

/// Clients of Services with session affinity that were forgotten because their endpoint is gone.
pub const CLIENTS_FORGOTTEN: &str = "pointsman_affinity_forgotten_total";

/// From 1 ms to 16 s, as kube-proxy.
const KUBE_PROXY_SYNC: Type = Type::Histogram(Buckets::Doubling { first: 0.001, count: 15 });

/// Every metric.
#[rustfmt::skip]
pub const ALL: [Metric; 23] = [
    Metric { name: SYNC_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of a sync that wrote to the family's table: diff, commit and acknowledgement, in seconds. Failed ones too." },
    Metric { name: SYNC_LAST, kind: Type::Gauge, labels: "ip_family", help: "Unix time of the last successful sync, in seconds." },
    Metric { name: SYNC_QUEUED, kind: Type::Gauge, labels: "ip_family", help: "Unix time at which a sync was last asked for, in seconds." },
    Metric { name: SYNC_FAILURES, kind: Type::Counter, labels: "ip_family", help: "Commits that failed." },
    Metric { name: WITHOUT_LOCAL, kind: Type::Gauge, labels: "traffic_policy, ip_family", help: "Service ports with endpoints elsewhere, but none on this node, to which their internal or external traffic policy confines traffic: it is dropped." },
    Metric { name: ENDPOINT_CHANGES, kind: Type::Counter, labels: "", help: "EndpointSlices added, changed or deleted." },
    Metric { name: SERVICE_CHANGES, kind: Type::Counter, labels: "", help: "Services added, changed or deleted." },
    Metric { name: HEALTHZ, kind: Type::Counter, labels: "code", help: "Answers of /healthz by status code." },
    Metric { name: LIVEZ, kind: Type::Counter, labels: "code", help: "Answers of /livez by status code." },
    Metric { name: EVENTS, kind: Type::Counter, labels: "kind, change", help: "Events received, by kind of object and by what happened: reset (a complete list), applied, deleted." },
    Metric { name: SKIPPED, kind: Type::Counter, labels: "kind, reason", help: "Parts of objects that were left out, by kind of object and reason." },
    Metric { name: EVENT_LATENCY, kind: Type::Histogram(Buckets::Doubling { first: 0.000_5, count: 17 }), labels: "", help: "Time from receiving an event to the acknowledged commit, in seconds, for events that changed something." },
    Metric { name: OPERATIONS, kind: Type::Histogram(Buckets::Quadrupling { first: 1.0, count: 11 }), labels: "object, verb", help: "Size of a diff: operations of one batch, by kind of object and verb." },
    Metric { name: BATCH_BYTES, kind: Type::Histogram(Buckets::Quadrupling { first: 64.0, count: 11 }), labels: "", help: "Size of an encoded batch, in bytes." },
    Metric { name: ELEMENTS, kind: Type::Gauge, labels: "ip_family, set", help: "Elements that the kernel acknowledged, by set or map." },
    Metric { name: SYNCS, kind: Type::Counter, labels: "result", help: "Syncs by result: committed, unchanged (the diff was empty), failed." },
    Metric { name: READ_BACKS, kind: Type::Counter, labels: "cause", help: "Times that our tables were read from the kernel: start, failure." },
    Metric { name: HEALTH_CHECK_FAILURES, kind: Type::Counter, labels: "ip_family", help: "Attempts to listen on a Service's healthCheckNodePort that failed on some address." },
    Metric { name: CLIENTS_FORGOTTEN, kind: Type::Counter, labels: "ip_family", help: "Clients of Services with session affinity that were forgotten because their endpoint left, or the affinity was switched off." },
    Metric { name: SERVICES, kind: Type::Gauge, labels: "", help: "Services known." },
    Metric { name: WATCH_RESTARTS, kind: Type::Counter, labels: "kind", help: "Watches that ended, for whatever reason, and were started again." },
    Metric { name: API_REQUESTS, kind: Type::Counter, labels: "kind, code", help: "Requests to the API server, by kind of object and status code (or error)." },
    Metric { name: BUILD_INFO, kind: Type::Gauge, labels: "version", help: "Always 1; the label tells the version." },
];

impl Buckets {
    /// The upper bounds.
    pub fn bounds(self) -> Vec<f64> {
        let (first, factor, count) = match self {
            Self::Doubling { first, count } => (first, 2.0_f64, count),
            Self::Quadrupling { first, count } => (first, 4.0_f64, count),
        };
        (0..count).map(|k| first * factor.powi(k)).collect()
    }
}

/// A recorder with the buckets of every histogram; it still has to be installed.
///
/// # Errors
///
/// None in practice: no histogram has an empty list of buckets.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        if let Type::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), &buckets.bounds())?;
        }
    }
    Ok(builder.build_recorder())
}

/// Describes every metric to the installed recorder.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            Type::Counter => describe_counter!(metric.name, metric.help),
            Type::Gauge => describe_gauge!(metric.name, metric.help),
            Type::Histogram(_) => describe_histogram!(metric.name, metric.help),
        }
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// The table of `docs/metrics.md`.
pub fn table() -> String {
    let mut table = String::from("| Name | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help } in ALL {
        let kind = match kind {
            Type::Counter => "counter".to_owned(),
            Type::Gauge => "gauge".to_owned(),
            Type::Histogram(buckets) => {
                let bounds = buckets.bounds();
                let (first, last) = (bounds.first().unwrap_or(&0.0), bounds.last().unwrap_or(&0.0));
                format!("histogram, {} buckets from {first} to {last}", bounds.len())
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {help} |");
    }
    table
}

/// Counts an event.
pub(crate) fn event(event: &Event) {
    counter!(EVENTS, "kind" => event.kind().label(), "change" => event.change()).increment(1);
    match event {
        Event::SliceApplied(_) | Event::SliceDeleted(_) => counter!(ENDPOINT_CHANGES).increment(1),
        Event::ServiceApplied(_) | Event::ServiceDeleted(_) => counter!(SERVICE_CHANGES).increment(1),
        _ => {}
    }
}

/// Counts something that was left out.
pub(crate) fn skipped(skipped: &Skipped) {
    counter!(SKIPPED, "kind" => skipped.object.kind.label(), "reason" => skipped.problem.reason.label()).increment(1);
}

/// Shows how many service ports a policy leaves without an endpoint on this node.
pub(crate) fn without_local(families: &[Family], counts: &WithoutLocal) {
    for (policy, exposure) in [("internal", Exposure::Internal), ("external", Exposure::External)] {
        for family in families {
            let count = counts.count(exposure, *family);
            gauge!(WITHOUT_LOCAL, "traffic_policy" => policy, "ip_family" => family.label()).set(f64::from(count));
        }
    }
}

/// Records the size of a diff that is about to be committed.
pub(crate) fn plan(plan: &Plan) {
    let mut sizes: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for operation in &plan.operations {
        *sizes.entry((operation.object.label(), operation.verb.nft())).or_default() += 1;
    }
    for ((object, verb), size) in sizes {
        histogram!(OPERATIONS, "object" => object, "verb" => verb).record(f64::from(size));
    }
}

/// The number of elements in each set, kept up to date from the batches.
#[derive(Debug, Default)]
pub(crate) struct ElementCounts(BTreeMap<(Family, SetName), i64>);

impl ElementCounts {
    /// Starts again from what was read; sets that are empty now are shown as such.
    pub(crate) fn restart(&mut self, counts: &BTreeMap<(Family, SetName), usize>) {
        for count in self.0.values_mut() {
            *count = 0;
        }
        self.0.extend(counts.iter().map(|(set, count)| (*set, i64::try_from(*count).unwrap_or(i64::MAX))));
        self.0.keys().for_each(|set| self.show(*set));
    }

    /// Follows an acknowledged batch.
    pub(crate) fn follow(&mut self, operations: &[Operation]) {
        let mut changed: BTreeMap<(Family, SetName), i64> = BTreeMap::new();
        for operation in operations {
            if let Object::Element(element) = &operation.object {
                let step = if operation.verb == Verb::Add { 1 } else { -1 };
                *changed.entry((operation.family, element.set)).or_default() += step;
            } else if let (Verb::Delete, Object::Set(set)) = (operation.verb, &operation.object) {
                // A set that goes takes its elements along.
                let held = self.0.get(&(operation.family, *set)).copied().unwrap_or_default();
                *changed.entry((operation.family, *set)).or_default() -= held;
            }
        }
        for (set, change) in changed {
            *self.0.entry(set).or_default() += change;
            self.show(set);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "no set holds 2^52 elements")]
    fn show(&self, (family, set): (Family, SetName)) {
        let count = self.0.get(&(family, set)).copied().unwrap_or_default();
        gauge!(ELEMENTS, "ip_family" => family.label(), "set" => set.to_string()).set(count as f64);
    }
}

#[cfg(test)]
mod tests;
