//! The HTTP pages: `/healthz` and `/livez` on one address, `/metrics` on another.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use jiff::Timestamp;
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::health::{Health, Report};
use super::metrics::{HEALTHZ, LIVEZ};
use crate::dataplane::Family;

/// How often the metrics' buffers are emptied when nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(30);

/// A set of pages.
#[derive(Clone)]
pub enum Pages {
    /// `/healthz` and `/livez`, with kube-proxy's bodies and status codes.
    Health(Health, Vec<Family>),
    /// `/metrics` in Prometheus' text format, and `/healthz` that always says ok.
    Metrics(PrometheusHandle),
}

/// Pages bound to an address, not yet served.
pub struct Listener {
    listener: TcpListener,
    pages: Pages,
}

/// An address could not be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for {what}: {source}. Choose another address with {flag}, or \"\" for none")]
pub struct ListenError {
    address: SocketAddr,
    what: &'static str,
    flag: &'static str,
    source: std::io::Error,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    ///
    /// The address is taken, or not one of this host's.
    pub async fn bind(address: SocketAddr, pages: Pages) -> Result<Self, ListenError> {
        let (what, flag) = match pages {
            Pages::Health(..) => ("health checks", "--healthz-bind-address"),
            Pages::Metrics(_) => ("metrics", "--metrics-bind-address"),
        };
        let listener =
            TcpListener::bind(address).await.map_err(|source| ListenError { address, what, flag, source })?;
        Ok(Self { listener, pages })
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, shutdown: CancellationToken) {
        let router = match self.pages {
            Pages::Health(health, families) => {
                Router::new().route("/healthz", any(healthz)).route("/livez", any(livez)).with_state((health, families))
            }
            Pages::Metrics(handle) => {
                tokio::spawn(upkeep(handle.clone(), shutdown.clone()));
                Router::new()
                    .route("/metrics", get(async move || handle.render()))
                    .route("/healthz", get(async || "ok"))
            }
        };
        let served = axum::serve(self.listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "an HTTP server ended");
        }
    }
}

async fn upkeep(handle: PrometheusHandle, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        handle.run_upkeep();
    }
}

type HealthState = State<(Health, Vec<Family>)>;

async fn healthz(State((health, families)): HealthState) -> Response {
    let report = health.report(Instant::now());
    // Not before the first sync: the dataplane of a new node is empty.
    let ok = report.healthy && report.node_eligible && report.last_synced.is_some();
    counter!(HEALTHZ, "code" => if ok { "200" } else { "503" }).increment(1);
    answer(report, ok, Some(report.node_eligible), &families)
}

async fn livez(State((health, families)): HealthState) -> Response {
    let report = health.report(Instant::now());
    counter!(LIVEZ, "code" => if report.healthy { "200" } else { "503" }).increment(1);
    answer(report, report.healthy, None, &families)
}

/// The body of kube-proxy's health pages; health checkers of some load balancers read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    last_updated: Timestamp,
    current_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_eligible: Option<bool>,
    healthy: bool,
    status: std::collections::BTreeMap<&'static str, FamilyStatus>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyStatus {
    last_updated: Timestamp,
    healthy: bool,
}

fn answer(report: Report, ok: bool, node_eligible: Option<bool>, families: &[Family]) -> Response {
    let now = Timestamp::now();
    let last_updated = report.last_synced.unwrap_or(Timestamp::UNIX_EPOCH);
    let status = FamilyStatus { last_updated, healthy: report.healthy };
    let body = Body {
        // Kept from before there were statuses by family: a healthy proxy says now.
        last_updated: if ok { now } else { last_updated },
        current_time: now,
        node_eligible,
        healthy: report.healthy,
        status: families.iter().map(|family| (family.label(), status)).collect(),
    };
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // The server's name tells ours from kube-proxy's, which has none.
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::SERVER, concat!("pointsman/", env!("CARGO_PKG_VERSION"))),
    ];
    (code, headers, serde_json::to_string(&body).unwrap_or_default()).into_response()
}

#[cfg(test)]
mod tests;
