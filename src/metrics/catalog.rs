//! The names of the metrics, and the table of their descriptions.

use super::metric::{HistogramBuckets, Metric, MetricType};

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
/// Commits of other programs to the kernel's ruleset.
pub const FOREIGN_COMMITS: &str = "pointsman_foreign_commits_total";
/// Changes of our tables by other programs.
pub const DRIFTS: &str = "pointsman_drifts_total";
/// How long a change of our tables by another program lasted.
pub const DRIFT_DURATION: &str = "pointsman_drift_repair_duration_seconds";
/// Whether our tables deviate from what was written.
pub const DRIFTED: &str = "pointsman_drifted";
/// The node's state.
pub const STATE: &str = "pointsman_node_state";
/// Since when the node is in its state.
pub const STATE_SINCE: &str = "pointsman_node_state_since_timestamp_seconds";
/// When our tables were last seen to be as expected.
pub const VERIFIED: &str = "pointsman_tables_verified_timestamp_seconds";
/// Entries of connection tracking.
pub const CONNTRACK_ENTRIES: &str = "pointsman_conntrack_entries";
/// The most entries of connection tracking.
pub const CONNTRACK_LIMIT: &str = "pointsman_conntrack_limit";
/// When connection tracking is full.
pub const CONNTRACK_FILLS_IN: &str = "pointsman_conntrack_seconds_to_full";
/// Entries of connection tracking that could not be inserted.
pub const CONNTRACK_INSERT_FAILURES: &str = "pointsman_conntrack_insert_failures_total";
/// Packets dropped because connection tracking was full.
pub const CONNTRACK_DROPS: &str = "pointsman_conntrack_drops_total";
/// Entries of connection tracking that were dropped early.
pub const CONNTRACK_EARLY_DROPS: &str = "pointsman_conntrack_early_drops_total";
/// Watches that ended and were started again.
pub const WATCH_RESTARTS: &str = "pointsman_watch_restarts_total";
/// Requests to the API server.
pub const API_REQUESTS: &str = "pointsman_api_requests_total";
/// Bytes of the answers to lists and watches.
pub const API_RECEIVED: &str = "pointsman_api_received_bytes_total";
/// Services known.
pub const SERVICES: &str = "pointsman_services";
/// Names of Services in EndpointSlices that no Service has.
pub const WITHOUT_SERVICE: &str = "pointsman_services_missing";
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
/// Failed clean-ups of emptied objects, which kube-proxy does apart from its commits.
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
/// What the proxy needs beside lists of objects and does not have.
pub const MISSING_INPUT: &str = "pointsman_missing_input";
/// Kubernetes Events that were written to the API server.
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
/// NodePorts that are served on the loopback addresses.
pub const LOCALHOST_LISTENERS: &str = "kubeproxy_nftables_localhost_nodeport_listeners";
/// NodePorts that could not be served there.
pub const LOCALHOST_LISTENER_FAILURES: &str = "kubeproxy_nftables_localhost_nodeport_listener_creation_failures_total";
/// Connections to pages that were closed early.
pub const CONNECTIONS_CLOSED: &str = "pointsman_connections_closed_total";

/// Clients of Services with session affinity that the kernel remembers.
pub const CLIENTS: &str = "pointsman_affinity_clients";
/// How many clients of one frontend the kernel may remember.
pub const CLIENTS_CAPACITY: &str = "pointsman_affinity_capacity";
/// Frontends that can remember no further client.
pub const CLIENTS_FULL: &str = "pointsman_affinity_full_frontends";
/// New, refused and dropped connections of Services.
pub const SERVICE_CONNECTIONS: &str = "pointsman_service_connections_total";
/// Sets that can count no further frontend.
pub const CONNECTION_SETS_FULL: &str = "pointsman_service_connections_full_sets";
/// Duration of one search for stale UDP flows.
pub const CONNTRACK_DURATION: &str = "kubeproxy_conntrack_reconciler_sync_duration_seconds";
/// Stale UDP flows that were removed.
pub const CONNTRACK_DELETED: &str = "kubeproxy_conntrack_reconciler_deleted_entries_total";
/// Searches for stale UDP flows that failed.
pub const CONNTRACK_FAILURES: &str = "pointsman_conntrack_failures_total";

/// From 1 ms to 16 s, as kube-proxy.
const KUBE_PROXY_SYNC: MetricType = MetricType::Histogram(HistogramBuckets::Doubling { first: 0.001, count: 15 });
/// From a quarter of a second to five minutes, as kube-proxy.
const PROGRAMMING: MetricType = MetricType::Histogram(HistogramBuckets::Ranges(&[
    (0.25, 0.5, 0.25),
    (1.0, 59.0, 1.0),
    (60.0, 115.0, 5.0),
    (120.0, 300.0, 30.0),
]));
/// From 1 ms to about a minute.
const DRIFT: MetricType = MetricType::Histogram(HistogramBuckets::Quadrupling { first: 0.001, count: 9 });
/// From 5 ms to a minute, as Kubernetes' clients.
const REST: MetricType = MetricType::Histogram(HistogramBuckets::Listed(&[
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0,
]));

/// Every metric.
#[rustfmt::skip]
pub const ALL: [Metric; 60] = [
    Metric { name: SYNC_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of a sync, full or partial, in seconds, failed syncs included." },
    Metric { name: FULL_SYNC_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of a full sync, in seconds: the kernel is read and compared as a whole, at the start and after a failure." },
    Metric { name: PARTIAL_SYNC_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of a partial sync that wrote to the family's table, in seconds: diff of what changed, commit and acknowledgement." },
    Metric { name: PROGRAMMING_DURATION, kind: PROGRAMMING, labels: "ip_family", help: "Time from a change of pods or Services to its acknowledged commit, in seconds, as EndpointSlices tell it: the clocks of the control plane and of the node are both in it." },
    Metric { name: SYNC_LAST, kind: MetricType::Gauge, labels: "ip_family", help: "Unix time of the last successful sync, in seconds." },
    Metric { name: SYNC_QUEUED, kind: MetricType::Gauge, labels: "ip_family", help: "Unix time at which a sync was last asked for, in seconds." },
    Metric { name: SYNC_FAILURES, kind: MetricType::Counter, labels: "ip_family", help: "Commits that failed." },
    Metric { name: CLEANUP_FAILURES, kind: MetricType::Counter, labels: "ip_family", help: "Always 0: nothing is cleaned up apart from commits." },
    Metric { name: WITHOUT_LOCAL, kind: MetricType::Gauge, labels: "traffic_policy, ip_family", help: "Service ports with endpoints elsewhere, but none on this node, to which their internal or external traffic policy confines traffic: that traffic is dropped." },
    Metric { name: ENDPOINT_CHANGES_PENDING, kind: MetricType::Gauge, labels: "", help: "Changes of EndpointSlices that are not programmed yet." },
    Metric { name: SERVICE_CHANGES_PENDING, kind: MetricType::Gauge, labels: "", help: "Changes of Services that are not programmed yet." },
    Metric { name: ENDPOINT_CHANGES, kind: MetricType::Counter, labels: "", help: "EndpointSlices added, changed or deleted; of a list, the Services whose EndpointSlices it changed." },
    Metric { name: SERVICE_CHANGES, kind: MetricType::Counter, labels: "", help: "Services added, changed or deleted; of a list, those that it changed." },
    Metric { name: CONNTRACK_DURATION, kind: KUBE_PROXY_SYNC, labels: "ip_family", help: "Duration of one search for stale UDP flows in connection tracking and of their removal, in seconds, failed searches included." },
    Metric { name: CONNTRACK_DELETED, kind: MetricType::Counter, labels: "ip_family", help: "Stale UDP flows that were removed from connection tracking." },
    Metric { name: HEALTHZ, kind: MetricType::Counter, labels: "code", help: "Answers of /healthz by status code." },
    Metric { name: LIVEZ, kind: MetricType::Counter, labels: "code", help: "Answers of /livez by status code." },
    Metric { name: EVENTS, kind: MetricType::Counter, labels: "kind, change", help: "Events received, by kind of object and change: reset (a complete list), applied, deleted, addresses." },
    Metric { name: SKIPPED, kind: MetricType::Counter, labels: "kind, reason", help: "Parts of objects that were left out, by kind of object and reason." },
    Metric { name: EVENT_LATENCY, kind: MetricType::Histogram(HistogramBuckets::Doubling { first: 0.000_5, count: 17 }), labels: "", help: "Time from receiving an event to the acknowledged commit, in seconds, for events that changed something." },
    Metric { name: OPERATIONS, kind: MetricType::Histogram(HistogramBuckets::Quadrupling { first: 1.0, count: 11 }), labels: "object, verb", help: "Size of a diff: its operations, by kind of object and verb." },
    Metric { name: BATCH_BYTES, kind: MetricType::Histogram(HistogramBuckets::Quadrupling { first: 64.0, count: 11 }), labels: "", help: "Bytes sent for one diff, in one batch or several." },
    Metric { name: ELEMENTS, kind: MetricType::Gauge, labels: "ip_family, set", help: "Elements that the kernel acknowledged, by set or map." },
    Metric { name: SYNCS, kind: MetricType::Counter, labels: "result", help: "Syncs by result: committed, unchanged (the diff was empty), failed." },
    Metric { name: READ_BACKS, kind: MetricType::Counter, labels: "cause", help: "Times that our tables were read from the kernel and compared as a whole: at the start, after a failure, or because another program changed them (drift)." },
    Metric { name: HEALTH_CHECK_FAILURES, kind: MetricType::Counter, labels: "ip_family", help: "Attempts to listen on a Service's healthCheckNodePort that failed on some address." },
    Metric { name: LOCALHOST_LISTENERS, kind: MetricType::Gauge, labels: "ip_family", help: "TCP NodePorts that are served on the loopback address." },
    Metric { name: LOCALHOST_LISTENER_FAILURES, kind: MetricType::Counter, labels: "ip_family", help: "Attempts to serve a TCP NodePort on the loopback address that failed, because another program has the port." },
    Metric { name: CONNECTIONS_CLOSED, kind: MetricType::Counter, labels: "port, reason", help: "Connections that were closed early, by port (health, metrics, service_health) and reason: too_many (for a newer one), timeout (the client was silent for too long)." },
    Metric { name: CLIENTS, kind: MetricType::Gauge, labels: "ip_family, service_port", help: "Clients of a service port with session affinity that the kernel remembers, in all its frontends; including expired ones that it has not removed yet. Read from the kernel at each scrape; absent where it cannot be read, and after the service port is gone." },
    Metric { name: CLIENTS_CAPACITY, kind: MetricType::Gauge, labels: "", help: "How many clients each frontend with session affinity may remember: further clients are balanced without affinity until others expire." },
    Metric { name: CLIENTS_FULL, kind: MetricType::Gauge, labels: "", help: "Frontends with session affinity that remember as many clients as they may. Read from the kernel at each scrape." },
    Metric { name: SERVICE_CONNECTIONS, kind: MetricType::Counter, labels: "ip_family, service_port, result", help: "With --counters: connections of a service port, in all its frontends, by result: new (sent to an endpoint), refused (no endpoint), dropped (no endpoint that may be used from here, or a source that is not allowed); of the last two each attempt counts. The busiest 2,000 at most have a series each, the rest is service_port other. Read from the kernel at each scrape; absent without --counters, and after the Service is gone." },
    Metric { name: CONNECTION_SETS_FULL, kind: MetricType::Gauge, labels: "", help: "With --counters: sets of the kernel that count as many frontends as they may (65,535): connections to further ones are not counted." },
    Metric { name: CONNTRACK_FAILURES, kind: MetricType::Counter, labels: "ip_family", help: "Searches for stale UDP flows that failed. They are repeated." },
    Metric { name: SERVICES, kind: MetricType::Gauge, labels: "", help: "Services known." },
    Metric { name: WITHOUT_SERVICE, kind: MetricType::Gauge, labels: "", help: "Services that EndpointSlices name and that do not exist, or that are not proxied. For moments, while a Service comes or goes, that is usual." },
    Metric { name: FOREIGN_COMMITS, kind: MetricType::Counter, labels: "program", help: "Commits of other programs to the kernel's ruleset, to whatever table, by the name of the program (other, after 20 of them)." },
    Metric { name: DRIFTS, kind: MetricType::Counter, labels: "program, kind", help: "Changes of our tables by other programs: by program (several where any of some may have done it, unknown where none was heard) and kind of what was changed first: table, rules, elements." },
    Metric { name: DRIFT_DURATION, kind: DRIFT, labels: "", help: "Time from hearing of a foreign change of our tables until they are as they should be again, in seconds." },
    Metric { name: DRIFTED, kind: MetricType::Gauge, labels: "", help: "1 while our tables are known to deviate from what was written, 0 otherwise." },
    Metric { name: STATE, kind: MetricType::Gauge, labels: "state", help: "1 for the state that the node is in, 0 for the others: STARTING, SYNCED, BEHIND, STALE, DRIFTED. Derived at each scrape." },
    Metric { name: STATE_SINCE, kind: MetricType::Gauge, labels: "", help: "Unix time since which the node is in its state, in seconds." },
    Metric { name: VERIFIED, kind: MetricType::Gauge, labels: "extent", help: "Unix time at which our tables were last seen to be as expected, in seconds: outline (but for elements that were replaced), elements (all)." },
    Metric { name: CONNTRACK_ENTRIES, kind: MetricType::Gauge, labels: "", help: "Entries in connection tracking, looked up every minute; absent where it cannot be read." },
    Metric { name: CONNTRACK_LIMIT, kind: MetricType::Gauge, labels: "", help: "The most entries that connection tracking may have (nf_conntrack_max)." },
    Metric { name: CONNTRACK_FILLS_IN, kind: MetricType::Gauge, labels: "", help: "Seconds until connection tracking is full at the rate of the last minute; infinite while it does not grow." },
    Metric { name: CONNTRACK_INSERT_FAILURES, kind: MetricType::Counter, labels: "", help: "Entries that connection tracking could not insert, since the boot." },
    Metric { name: CONNTRACK_DROPS, kind: MetricType::Counter, labels: "", help: "Packets that were dropped because connection tracking was full, since the boot." },
    Metric { name: CONNTRACK_EARLY_DROPS, kind: MetricType::Counter, labels: "", help: "Entries that connection tracking dropped early to make room, since the boot." },
    Metric { name: WATCH_RESTARTS, kind: MetricType::Counter, labels: "kind", help: "Watches that ended, for whatever reason, and were started again." },
    Metric { name: CONNECTED, kind: MetricType::Gauge, labels: "kind", help: "1 while the watch on this kind is open, as far as the client can tell; 0 otherwise, while the known state grows old." },
    Metric { name: LAST_HEARD, kind: MetricType::Gauge, labels: "kind", help: "Unix time at which anything was last received in the watch on this kind, in seconds; a server sends bookmarks where there are no changes." },
    Metric { name: MISSING_INPUT, kind: MetricType::Gauge, labels: "input", help: "1 while an input is missing, 0 while it is there: node (the Node object of this node's name), host-addresses (the addresses of this host), manifests (all that --manifests names can be read)." },
    Metric { name: REPORTED, kind: MetricType::Counter, labels: "reason, result", help: "Kubernetes Events by reason and result: created, known (another node reported the same before), repeated (this node reported the same within the hour), elsewhere (other nodes report the Events of this namespace), failed, dropped (too many)." },
    Metric { name: REST_REQUESTS, kind: MetricType::Counter, labels: "code, method, host", help: "Requests to the API server by status code (or <error>), method and server." },
    Metric { name: REST_DURATION, kind: REST, labels: "verb, host", help: "Time until the API server answers a request, in seconds; the body of the answer may take longer." },
    Metric { name: API_REQUESTS, kind: MetricType::Counter, labels: "kind, code", help: "Requests to the API server, by kind of object and status code (or error)." },
    Metric { name: API_RECEIVED, kind: MetricType::Counter, labels: "kind", help: "Bytes of the API server's answers to lists and watches, by kind of object." },
    Metric { name: BUILD_INFO, kind: MetricType::Gauge, labels: "version", help: "Always 1; the label tells the version." },
];
