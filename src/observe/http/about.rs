//! The pages on the metrics address, as kube-proxy has them: metrics, configuration, flags and status.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use jiff::Timestamp;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{connections, list, status};
use crate::metrics::{STATE, STATE_SINCE, VERIFIED, process};
use crate::observe::{ClientCounts, ConnectionCounts, StatusBoard, StatusReport};
use crate::state::Snapshot;
use crate::status::NodeState;
use crate::watch::Connection;

/// The format of metrics that every Prometheus reads.
const METRICS: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
const TEXT: [(HeaderName, &str); 2] =
    [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// The content of the pages.
pub struct About {
    /// The recorded metrics.
    pub metrics: PrometheusHandle,
    /// Counts that are read from the kernel at each scrape.
    pub clients: Mutex<ClientCounts>,
    /// The connections of Services, if packets count them.
    pub connections: Mutex<ConnectionCounts>,
    /// Whether they do.
    pub has_counters: bool,
    /// The configuration in effect, as a `KubeProxyConfiguration`.
    pub configuration: Value,
    /// The arguments of the process.
    pub command_line: Vec<String>,
    /// What its sources do not find.
    pub connection: Connection,
    /// This node's name.
    pub node: String,
    /// What is known about the node.
    pub board: StatusBoard,
    /// When it started.
    pub started: Timestamp,
}

pub(super) fn router(about: Arc<About>) -> Router {
    // The page takes a thread that may block, and the kernel. All scrapers together get one of each.
    let rendering = Arc::new(Semaphore::new(1));
    Router::new()
        .route("/metrics", get(async move |State(about): State<Arc<About>>| metrics(about, rendering).await))
        // Empty: no component has an SLI of its own, but scrapers expect the page.
        .route("/metrics/slis", any(async || (METRICS, "")))
        .route("/healthz", any(async || (TEXT, "ok")))
        .route("/proxyMode", any(async || (TEXT, "nftables")))
        .route("/configz", any(configz))
        .route("/flagz", any(flagz))
        .route("/statusz", any(statusz))
        .route("/listz", get(list::page))
        .route("/connectionsz", get(connections::page))
        .with_state(about)
}

async fn metrics(about: Arc<About>, rendering: Arc<Semaphore>) -> Response {
    let report = about.board.report().await;
    show_state(&report);
    // Fails only if the semaphore were closed. The thread keeps the permit: it goes on when the client is gone.
    let permit = rendering.acquire_owned().await.ok();
    let render = move || {
        let _permit = permit;
        metrics_page(&about, report.snapshot.as_ref())
    };
    // Asking the kernel and reading /proc block.
    match tokio::task::spawn_blocking(render).await {
        Ok(page) => (METRICS, page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The page of all metrics. Blocks while the kernel answers.
fn metrics_page(about: &About, snapshot: Option<&Snapshot>) -> String {
    let clients = about.clients.lock().unwrap_or_else(PoisonError::into_inner).render();
    let connections = {
        let mut counts = about.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = snapshot {
            counts.refresh(snapshot);
        }
        counts.render()
    };
    let mut page = about.metrics.render();
    page.push_str(&clients);
    page.push_str(&connections);
    page.push_str(&process::render());
    page
}

async fn configz(State(about): State<Arc<About>>) -> impl IntoResponse {
    let page = json!({"kubeproxy.config.k8s.io": about.configuration});
    ([(CONTENT_TYPE, "application/json")], page.to_string())
}

async fn flagz(State(about): State<Arc<About>>) -> impl IntoResponse {
    (TEXT, format!("pointsman flags\nFor people: the format may change.\n\n{}\n", about.command_line.join("\n")))
}

async fn statusz(State(about): State<Arc<About>>, headers: HeaderMap) -> Response {
    status::page(&about, &headers).await
}

/// Shows the node's state as metrics.
fn show_state(report: &StatusReport) {
    for state in NodeState::ALL {
        gauge!(STATE, "state" => state.label()).set(if state == report.verdict.state { 1.0 } else { 0.0 });
    }
    let now = Timestamp::now().as_duration().as_secs_f64();
    let time = |moment| now - report.now.since(moment).as_secs_f64();
    gauge!(STATE_SINCE).set(time(report.verdict.since));
    for (extent, moment) in [("outline", report.notes.looked), ("elements", report.notes.compared)] {
        if let Some(moment) = moment {
            gauge!(VERIFIED, "extent" => extent).set(time(moment));
        }
    }
}
