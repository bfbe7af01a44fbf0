//! The proxy itself: `pointsman` and `pointsman --once`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::Args;
use super::backend::Chosen;
use super::logging::Progress;
use super::source;
use crate::dataplane::Family;
use crate::forget;
use crate::observe::{Health, Listener, Pages, ServiceHealth, metrics};
use crate::reconcile::{Reconciler, Until};

/// How long to wait at the end for clients that are being forgotten.
const FORGETTING: Duration = Duration::from_secs(2);

pub(super) async fn run(args: &Args, progress: &Progress) -> anyhow::Result<ExitCode> {
    let (node_name, scope) = (args.node_name()?, args.scope()?);
    let backend = Chosen::tested(args, &scope.families).await?;
    let forgetter = backend.another()?;
    let health = Health::default();
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    if !args.once {
        serve(args, &health, &scope.families, &shutdown, &tasks).await?;
    }
    let mut events = source::start(args, progress).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), backend = backend.description(), node = node_name, "started");
    let working = args.once.then(|| progress.show("syncing"));
    let ending = shutdown.clone();
    tokio::spawn(async move {
        source::asked_to_end().await;
        tracing::info!("asked to end: the rules stay in place");
        ending.cancel();
    });
    let until = if args.once { Until::FirstSync } else { Until::Shutdown };
    let service_health = ServiceHealth::new(health.clone(), &scope.families, &args.nodeport_addresses.unrestricted());
    let mut reconciler = Reconciler::new(backend, scope, args.view(&node_name), health);
    if !args.once {
        reconciler = reconciler.with_service_health(service_health);
    }
    let (departures, departed) = mpsc::unbounded_channel();
    let forgetting = tokio::spawn(forget::run(forgetter, departed));
    reconciler = reconciler.with_departures(departures);
    let done = reconciler.run(&mut events, until, &shutdown).await;
    drop((working, reconciler));
    // What it does not get done now, the next start does.
    let _ = tokio::time::timeout(FORGETTING, forgetting).await;
    shutdown.cancel();
    tasks.close();
    // Pages that a client does not finish reading must not keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
    done.context("the first sync failed")?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the HTTP pages.
async fn serve(
    args: &Args,
    health: &Health,
    families: &[Family],
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<()> {
    let recorder = metrics::recorder().context("cannot set up metrics")?;
    let handle = recorder.handle();
    ::metrics::set_global_recorder(recorder).context("cannot set up metrics")?;
    metrics::describe();
    let pages = [
        (args.metrics_bind_address, Pages::Metrics(handle)),
        (args.healthz_bind_address, Pages::Health(health.clone(), families.to_vec())),
    ];
    for (address, pages) in pages {
        if let Some(address) = address.0 {
            let listener = Listener::bind(address, pages).await?;
            tasks.spawn(listener.serve(shutdown.clone()));
        }
    }
    Ok(())
}
