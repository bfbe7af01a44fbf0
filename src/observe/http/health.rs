//! `/healthz` and `/livez` for load balancers and probes, with kube-proxy's bodies and status codes.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use jiff::Timestamp;
use metrics::counter;
use serde::Serialize;
use tokio::time::Instant;

use crate::dataplane::Family;
use crate::metrics::{HEALTHZ, LIVEZ};
use crate::observe::health::{FamilyHealth, Health, HealthReport};
use crate::status::NodeState;

type HealthPages = State<(Health, Vec<Family>)>;

pub(super) fn router(health: Health, families: Vec<Family>) -> Router {
    Router::new().route("/healthz", any(healthz)).route("/livez", any(livez)).with_state((health, families))
}

async fn healthz(State((health, families)): HealthPages) -> Response {
    let report = health.report(Instant::now());
    // Not before the first sync: the dataplane of a new node is empty.
    let synced = families.iter().all(|family| report.family(*family).last_synced.is_some());
    let ok = report.healthy && report.node_eligible && synced;
    counter!(HEALTHZ, "code" => if ok { "200" } else { "503" }).increment(1);
    answer(&health, report, ok, Some(report.node_eligible), &families).await
}

async fn livez(State((health, families)): HealthPages) -> Response {
    let report = health.report(Instant::now());
    counter!(LIVEZ, "code" => if report.healthy { "200" } else { "503" }).increment(1);
    answer(&health, report, report.healthy, None, &families).await
}

/// The body of kube-proxy's health pages, with `apiServer`, `missing` and `state` added.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthPage {
    last_updated: Timestamp,
    current_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    healthy: bool,
    status: BTreeMap<&'static str, FamilyStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_server: Option<ApiServerStatus>,
    /// What the proxy needs and does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    state: StateOfNode,
}

/// What the node knows about itself, in one word. It does not decide the status.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StateOfNode {
    state: NodeState,
    since: Timestamp,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyStatus {
    last_updated: Timestamp,
    healthy: bool,
}

impl From<FamilyHealth> for FamilyStatus {
    fn from(report: FamilyHealth) -> Self {
        Self { last_updated: report.last_synced.unwrap_or(Timestamp::UNIX_EPOCH), healthy: report.healthy }
    }
}

/// Whether the watches are open. This does not decide the status: a node without the API server still serves what it knows, and
/// taking all nodes out of service would turn an outage of the control plane into an outage of the cluster.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiServerStatus {
    connected: bool,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heard: Option<Timestamp>,
}

async fn answer(
    health: &Health,
    report: HealthReport,
    ok: bool,
    node_eligible: Option<bool>,
    families: &[Family],
) -> Response {
    let status = health.board().report().await;
    let now = Timestamp::now();
    let last_updated = report.last_synced.unwrap_or(Timestamp::UNIX_EPOCH);
    let api_server = health.connection().report().map(|report| ApiServerStatus {
        connected: report.connected,
        since: report.since,
        last_heard: report.last_heard,
    });
    let body = HealthPage {
        // As in kube-proxy, a healthy proxy says now. The statuses by family say when.
        last_updated: if ok { now } else { last_updated },
        current_time: now,
        node_eligible,
        healthy: report.healthy,
        status: families.iter().map(|family| (family.label(), FamilyStatus::from(report.family(*family)))).collect(),
        api_server,
        missing: health.connection().missing(),
        state: StateOfNode {
            state: status.verdict.state,
            since: now.saturating_sub(status.now.since(status.verdict.since)).unwrap_or(now),
            why: status.verdict.why,
        },
    };
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // kube-proxy names no server, so this header tells the two apart.
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::SERVER, concat!("pointsman/", env!("CARGO_PKG_VERSION"))),
    ];
    (code, headers, serde_json::to_string(&body).unwrap_or_default()).into_response()
}
