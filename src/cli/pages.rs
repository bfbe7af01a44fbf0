//! The HTTP pages, as the command line configures them.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use jiff::Timestamp;

use super::args::Args;
use super::logging;
use super::take_over::explain;
use crate::dataplane::Family;
use crate::metrics;
use crate::observe::{
    About, AffinityFrontends, ClientCounts, ConnectionCounts, Events, Health, Pages, PortLimits, TakenAddress,
    start_pages,
};
use crate::takeover::TakeOverDecision;
use crate::tasks::Supervisor;

/// Starts the HTTP pages.
pub(super) async fn serve(
    args: &Args,
    health: &Health,
    (families, affinity): (&[Family], AffinityFrontends),
    limits: &PortLimits,
    supervisor: &Supervisor,
    events: &Events,
    take_over: &TakeOverDecision,
) -> anyhow::Result<()> {
    let recorder = metrics::recorder().context("cannot set up metrics")?;
    let metrics = recorder.handle();
    ::metrics::set_global_recorder(recorder).context("cannot set up metrics")?;
    metrics::describe();
    metrics::start_at_zero(families);
    let command_line = std::env::args().collect();
    let configuration =
        serde_json::to_value(&args.settings.configuration).context("cannot write the configuration as JSON")?;
    let clients = Mutex::new(ClientCounts::new(families, affinity, args.affinity_capacity.get()));
    let connection = health.connection().clone();
    let about = About {
        metrics,
        clients,
        connections: Mutex::new(ConnectionCounts::new(families, args.counters)),
        has_counters: args.counters,
        configuration,
        command_line,
        connection,
        node: args.node_name()?,
        board: health.board().clone(),
        started: Timestamp::now(),
    };
    let pages = [
        (args.settings.metrics, Pages::Metrics(Arc::new(about))),
        (args.settings.healthz, Pages::Health(health.clone(), families.to_vec())),
    ];
    let pages = pages.into_iter().filter_map(|(address, pages)| Some((address?, pages))).collect();
    let taken = if args.settings.bind_address_hard_fail { TakenAddress::Fail } else { TakenAddress::Retry };
    for error in start_pages(pages, taken, &args.node_name()?, events, limits, supervisor).await {
        let error = explain(take_over, error.into());
        if taken == TakenAddress::Fail {
            return Err(error);
        }
        let error = logging::in_one_line(&error);
        tracing::error!("{error}; the proxy starts without these pages and tries again every 5 s");
    }
    Ok(())
}
