//! Every metric, described in one place. `docs/metrics.md` is this table; a test compares the two.
//!
//! Where kube-proxy has the metric, its name, labels and buckets are used, so that dashboards and alerts go on working;
//! ours start with `pointsman_`.

mod kind;
mod pending;
pub(crate) mod process;

use std::collections::BTreeMap;
use std::fmt::Write;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};
use tokio::sync::Notify;

use crate::dataplane::{Family, Object, Operation, SetName, Verb};
use crate::diff::Plan;
use crate::state::{Event, Exposure, Skipped, WithoutLocal};

pub use kind::{Buckets, Metric, Type};
pub(crate) use pending::{Arrival, Pending};

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
/// Duration of a sync that read the kernel first.
pub const FULL_SYNC_DURATION: &str = "kubeproxy_sync_full_proxy_rules_duration_seconds";
/// Duration of a sync of changes.
pub const PARTIAL_SYNC_DURATION: &str = "kubeproxy_sync_partial_proxy_rules_duration_seconds";
/// Time from a change in the cluster to its commit.
pub const PROGRAMMING_DURATION: &str = "kubeproxy_network_programming_duration_seconds";
/// When the last sync succeeded.
pub const SYNC_LAST: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
/// When a sync was last asked for.
pub const SYNC_QUEUED: &str = "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds";
/// Failed commits.
pub const SYNC_FAILURES: &str = "kubeproxy_sync_proxy_rules_nftables_sync_failures_total";
/// Failed removals of what was emptied before, which kube-proxy does apart from its commits.
pub const CLEANUP_FAILURES: &str = "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total";
/// Changes of EndpointSlices not yet programmed.
pub const ENDPOINT_CHANGES_PENDING: &str = "kubeproxy_sync_proxy_rules_endpoint_changes_pending";
/// Changes of Services not yet programmed.
pub const SERVICE_CHANGES_PENDING: &str = "kubeproxy_sync_proxy_rules_service_changes_pending";
/// Requests to the API server, as every component of Kubernetes counts them.
pub const REST_REQUESTS: &str = "rest_client_requests_total";
/// How long the API server takes to answer.
pub const REST_DURATION: &str = "rest_client_request_duration_seconds";
/// Whether a kind's watch is open.
pub const CONNECTED: &str = "pointsman_api_server_connected";
/// When anything was last received in a kind's watch.
pub const LAST_HEARD: &str = "pointsman_api_server_last_heard_timestamp_seconds";
/// Events for people that were written to the API server.
pub const REPORTED: &str = "pointsman_reported_events_total";
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
/// Clients of Services with session affinity that the kernel remembers.
pub const CLIENTS: &str = "pointsman_affinity_clients";
/// How many may be remembered.
pub const CLIENTS_CAPACITY: &str = "pointsman_affinity_capacity";
/// Duration of one look for stale UDP flows.
pub const CONNTRACK_DURATION: &str = "kubeproxy_conntrack_reconciler_sync_duration_seconds";
/// Stale UDP flows that were removed.
pub const CONNTRACK_DELETED: &str = "kubeproxy_conntrack_reconciler_deleted_entries_total";
/// Looks for stale UDP flows that failed.
pub const CONNTRACK_FAILURES: &str = "pointsman_conntrack_failures_total";

/// From 1 ms to 16 s, as kube-proxy.
const KUBE_PROXY_SYNC: Type = Type::Histogram(Buckets::Doubling { first: 0.001, count: 15 });
/// From a quarter of a second to five minutes, as kube-proxy.
const PROGRAMMING: Type =
    Type::Histogram(Buckets::Ranges(&[(0.25, 0.5, 0.25), (1.0, 59.0, 1.0), (60.0, 115.0, 5.0), (120.0, 300.0, 30.0)]));
/// From 5 ms to a minute, as Kubernetes' clients.
const REST: Type =
    Type::Histogram(Buckets::Listed(&[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0]));

/// Every metric.
#[rustfmt::skip]
pub const ALL: [Metric; 39] = [
    Metric { name: SYNC_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of a sync, full or partial, in seconds. Failed ones too." },
    Metric { name: FULL_SYNC_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of a full sync, in seconds: the kernel is read and compared as a whole, at the start and after a failure." },
    Metric { name: PARTIAL_SYNC_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of a partial sync that wrote to the family's table, in seconds: diff of what changed, commit and acknowledgement." },
    Metric { name: PROGRAMMING_DURATION, kind: PROGRAMMING, labels: "ip_family", help: "Time from a change of pods or Services to its acknowledged commit, in seconds, as EndpointSlices tell it: the clocks of the control plane and of the node are both in it." },
    Metric { name: SYNC_LAST, kind: Type::Gauge, labels: "ip_family", help: "Unix time of the last successful sync, in seconds." },
    Metric { name: SYNC_QUEUED, kind: Type::Gauge, labels: "ip_family", help: "Unix time at which a sync was last asked for, in seconds." },
    Metric { name: SYNC_FAILURES, kind: Type::Counter, labels: "ip_family", help: "Commits that failed." },
    Metric { name: CLEANUP_FAILURES, kind: Type::Counter, labels: "ip_family", help: "Always 0: nothing is cleaned up apart from commits." },
    Metric { name: WITHOUT_LOCAL, kind: Type::Gauge, labels: "traffic_policy, ip_family", help: "Service ports with endpoints elsewhere, but none on this node, to which their internal or external traffic policy confines traffic: it is dropped." },
    Metric { name: ENDPOINT_CHANGES_PENDING, kind: Type::Gauge, labels: "", help: "Changes of EndpointSlices that are not programmed yet." },
    Metric { name: SERVICE_CHANGES_PENDING, kind: Type::Gauge, labels: "", help: "Changes of Services that are not programmed yet." },
    Metric { name: ENDPOINT_CHANGES, kind: Type::Counter, labels: "", help: "EndpointSlices added, changed or deleted; of a list, the Services whose EndpointSlices it changed." },
    Metric { name: SERVICE_CHANGES, kind: Type::Counter, labels: "", help: "Services added, changed or deleted; of a list, those that it changed." },
    Metric { name: CONNTRACK_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of one look for stale UDP flows in connection tracking and of their removal, in seconds. Failed ones too." },
    Metric { name: CONNTRACK_DELETED, kind: Type::Counter, labels: "ip_family", help: "Stale UDP flows that were removed from connection tracking." },
    Metric { name: HEALTHZ, kind: Type::Counter, labels: "code", help: "Answers of /healthz by status code." },
    Metric { name: LIVEZ, kind: Type::Counter, labels: "code", help: "Answers of /livez by status code." },
    Metric { name: EVENTS, kind: Type::Counter, labels: "kind, change", help: "Events received, by kind of object and by what happened: reset (a complete list), applied, deleted." },
    Metric { name: SKIPPED, kind: Type::Counter, labels: "kind, reason", help: "Parts of objects that were left out, by kind of object and reason." },
    Metric { name: EVENT_LATENCY, kind: Type::Histogram(Buckets::Doubling { first: 0.000_5, count: 17 }), labels: "", help: "Time from receiving an event to the acknowledged commit, in seconds, for events that changed something." },
    Metric { name: OPERATIONS, kind: Type::Histogram(Buckets::Quadrupling { first: 1.0, count: 11 }), labels: "object, verb", help: "Size of a diff: its operations, by kind of object and verb." },
    Metric { name: BATCH_BYTES, kind: Type::Histogram(Buckets::Quadrupling { first: 64.0, count: 11 }), labels: "", help: "Bytes sent for one diff, in one batch or several." },
    Metric { name: ELEMENTS, kind: Type::Gauge, labels: "ip_family, set", help: "Elements that the kernel acknowledged, by set or map." },
    Metric { name: SYNCS, kind: Type::Counter, labels: "result", help: "Syncs by result: committed, unchanged (the diff was empty), failed." },
    Metric { name: READ_BACKS, kind: Type::Counter, labels: "cause", help: "Times that our tables were read from the kernel: start, failure." },
    Metric { name: HEALTH_CHECK_FAILURES, kind: Type::Counter, labels: "ip_family", help: "Attempts to listen on a Service's healthCheckNodePort that failed on some address." },
    Metric { name: CLIENTS, kind: Type::Gauge, labels: "ip_family, map", help: "Clients of Services with session affinity that the kernel remembers, by map; expired ones that it has not removed yet included. Asked of the kernel at each scrape; absent where it does not tell." },
    Metric { name: CLIENTS_CAPACITY, kind: Type::Gauge, labels: "ip_family, map", help: "How many clients the map may hold: when it is full, further clients are balanced without affinity." },
    Metric { name: CLIENTS_FORGOTTEN, kind: Type::Counter, labels: "ip_family", help: "Clients of Services with session affinity that were forgotten because their endpoint left, or the affinity was switched off." },
    Metric { name: CONNTRACK_FAILURES, kind: Type::Counter, labels: "ip_family", help: "Looks for stale UDP flows that failed. They are repeated." },
    Metric { name: SERVICES, kind: Type::Gauge, labels: "", help: "Services known." },
    Metric { name: WATCH_RESTARTS, kind: Type::Counter, labels: "kind", help: "Watches that ended, for whatever reason, and were started again." },
    Metric { name: CONNECTED, kind: Type::Gauge, labels: "kind", help: "1 while the watch on this kind is open as far as can be told, else 0: what is known then grows old." },
    Metric { name: LAST_HEARD, kind: Type::Gauge, labels: "kind", help: "Unix time at which anything was last received in the watch on this kind, in seconds; a server sends bookmarks where there are no changes." },
    Metric { name: REPORTED, kind: Type::Counter, labels: "reason, result", help: "Kubernetes Events by reason and by what became of them: created, known (somebody reported the same before), failed, dropped (too many)." },
    Metric { name: REST_REQUESTS, kind: Type::Counter, labels: "code, method, host", help: "Requests to the API server by status code (or <error>), method and server." },
    Metric { name: REST_DURATION, kind: REST, labels: "verb, host", help: "Time until the API server answers a request, in seconds; the body of the answer may take longer." },
    Metric { name: API_REQUESTS, kind: Type::Counter, labels: "kind, code", help: "Requests to the API server, by kind of object and status code (or error)." },
    Metric { name: BUILD_INFO, kind: Type::Gauge, labels: "version", help: "Always 1; the label tells the version." },
];

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

/// Shows counters at 0 before their first event, so that a rate over them sees it.
pub fn start_at_zero(families: &[Family]) {
    for family in families {
        for name in [SYNC_FAILURES, CLEANUP_FAILURES] {
            counter!(name, "ip_family" => family.label()).absolute(0);
        }
    }
    for name in [HEALTHZ, LIVEZ] {
        for code in ["200", "503"] {
            counter!(name, "code" => code).absolute(0);
        }
    }
    for name in [ENDPOINT_CHANGES, SERVICE_CHANGES] {
        counter!(name).absolute(0);
    }
    for name in [ENDPOINT_CHANGES_PENDING, SERVICE_CHANGES_PENDING] {
        gauge!(name).set(0.0);
    }
}

/// The table of `docs/metrics.md`.
pub fn table() -> String {
    let mut table = String::from("| Name | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help } in ALL.into_iter().chain(process::ALL) {
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

/// Told when a histogram may have got new values.
static RECORDED: Notify = Notify::const_new();

/// Tells that histograms got new values, which are kept one by one until they are asked for, or the upkeep counts them.
pub(crate) fn recorded() {
    RECORDED.notify_one();
}

/// Waits until histograms get new values. For one waiter.
pub(crate) async fn new_values() {
    RECORDED.notified().await;
}

/// Counts an event.
pub(crate) fn event(event: &Event) {
    counter!(EVENTS, "kind" => event.kind().label(), "change" => event.change()).increment(1);
}

/// Records the duration of a sync.
pub(crate) fn sync_duration<'a>(families: impl IntoIterator<Item = &'a Family>, full: bool, seconds: f64) {
    let by_extent = if full { FULL_SYNC_DURATION } else { PARTIAL_SYNC_DURATION };
    for family in families {
        for name in [SYNC_DURATION, by_extent] {
            histogram!(name, "ip_family" => family.label()).record(seconds);
        }
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
pub(crate) mod tests;
