//! `/connectionsz`: the connections of every service port so far, as JSON.

use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::about::About;
use crate::observe::ServicePortConnections;

/// The page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionsPage {
    /// When the counts were read, in seconds since the process started, by a clock that never goes back.
    pub read_at_seconds: f64,
    /// How many of the kernel's sets have no room for a further frontend.
    pub full_sets: usize,
    /// Every service port that had a connection, by name.
    pub service_ports: Vec<ServicePortConnections>,
}

/// The page. The kernel is asked, at most once in a while for all who ask.
pub(super) async fn page(State(about): State<Arc<About>>) -> Response {
    if !about.has_counters {
        let text = "connections are not counted: start the proxy with --counters\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let Some(snapshot) = about.board.report().await.snapshot else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the loop does not answer\n").into_response();
    };
    let read = move || {
        let mut counts = about.connections.lock().unwrap_or_else(PoisonError::into_inner);
        counts.refresh(&snapshot);
        counts.read_at().map(|read_at| ConnectionsPage {
            read_at_seconds: read_at.since_start().as_secs_f64(),
            full_sets: counts.full_sets(),
            service_ports: counts.ports(&snapshot),
        })
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Some(page)) => {
            let headers = [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
            (headers, serde_json::to_string(&page).unwrap_or_default()).into_response()
        }
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the kernel's counts cannot be read\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "the page of connections could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
