//! Starting the HTTP pages.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::Args;
use super::proxy::about_node;
use super::take_over::explain;
use crate::dataplane::Family;
use crate::metrics;
use crate::observe::{About, ClientCounts, EventType, Events, Health, Listener, Pages};
use crate::takeover::TakeOverDecision;

/// Starts the HTTP pages.
pub(super) async fn serve(
    args: &Args,
    health: &Health,
    families: &[Family],
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
    events: &Events,
    take_over: TakeOverDecision,
) -> anyhow::Result<()> {
    let recorder = metrics::recorder().context("cannot set up metrics")?;
    let metrics = recorder.handle();
    ::metrics::set_global_recorder(recorder).context("cannot set up metrics")?;
    metrics::describe();
    metrics::start_at_zero(families);
    let command_line = std::env::args().collect();
    let configuration =
        serde_json::to_value(&args.settings.configuration).context("cannot write the configuration as JSON")?;
    let clients = Mutex::new(ClientCounts::new(families, args.affinity_capacity.get()));
    let about = About { metrics, clients, configuration, command_line, started: Timestamp::now() };
    let pages = [
        (args.settings.metrics, Pages::Metrics(Arc::new(about))),
        (args.settings.healthz, Pages::Health(health.clone(), families.to_vec())),
    ];
    for (address, pages) in pages {
        let Some(address) = address else { continue };
        match Listener::bind(address, pages.clone()).await {
            Ok(listener) => {
                tasks.spawn(listener.serve(shutdown.clone()));
            }
            Err(error) => {
                let text = error.to_string();
                events.note(about_node(&args.node_name()?, EventType::Warning, error.reason, text));
                let error = explain(take_over, error.into());
                // Otherwise it is tried again: a node with a proxy and without its pages is better off than one with neither.
                if args.settings.bind_address_hard_fail {
                    return Err(error);
                }
                tracing::error!("{error:#}; tried again every 5 s, the proxy starts without it");
                tasks.spawn(Listener::serve_when_free(address, pages, shutdown.clone()));
            }
        }
    }
    Ok(())
}
