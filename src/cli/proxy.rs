//! The proxy itself: `pointsman` and `pointsman --once`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::Args;
use super::backend::Chosen;
use super::logging::Progress;
use super::{RECONFIGURED, configuration, source};
use crate::dataplane::Family;
use crate::forget;
use crate::observe::{Health, Listener, Pages, ServiceHealth, metrics};
use crate::reconcile::{Reconciler, Until};

/// How often an address that is taken is tried again, as kube-proxy does it.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
/// How long to wait at the end for clients that are being forgotten.
const FORGETTING: Duration = Duration::from_secs(2);

/// `--init-only`: what takes more permission than the rest.
pub(super) async fn init(args: &Args) -> anyhow::Result<ExitCode> {
    let backend = Chosen::tested(args, &args.scope().families).await?;
    configuration::apply_to_host(args, Path::new("/"));
    tracing::info!(backend = backend.description(), "the host is prepared");
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn run(args: &Args, progress: &Progress) -> anyhow::Result<ExitCode> {
    let (node_name, scope, settings) = (args.node_name()?, args.scope(), &args.settings);
    let backend = Chosen::tested(args, &scope.families).await?;
    let forgetter = backend.another()?;
    let health = Health::with_sync_period(settings.sync_period);
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    if !args.once {
        serve(args, &health, &scope.families, &shutdown, &tasks).await?;
    }
    let mut events = source::start(args, progress).await?;
    if !args.once {
        // After the test, which makes the kernel load what has these sysctls, and after all that wrong input can stop.
        configuration::apply_to_host(args, Path::new("/"));
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), backend = backend.description(), node = node_name, "started");
    let working = args.once.then(|| progress.show("syncing"));
    let ending = shutdown.clone();
    tokio::spawn(async move {
        source::asked_to_end().await;
        tracing::info!("asked to end: the rules stay in place");
        ending.cancel();
    });
    let until = if args.once { Until::FirstSync } else { Until::Shutdown };
    let service_health = ServiceHealth::new(health.clone(), &scope.families, &settings.node_ports.unrestricted());
    let mut reconciler = Reconciler::new(backend, scope, args.view(&node_name), health)
        .with_periods(settings.min_sync_period, settings.sync_period);
    if !args.once {
        reconciler = reconciler.with_service_health(service_health);
    }
    let (departures, departed) = mpsc::unbounded_channel();
    let forgetting = tokio::spawn(forget::run(forgetter, departed));
    reconciler = reconciler.with_departures(departures);
    // The end of either ends the other.
    let reconfigured = async {
        tokio::select! {
            () = configuration::changed(args), if !args.once => {
                shutdown.cancel();
                true
            }
            () = shutdown.cancelled() => false,
        }
    };
    let reconciled = async {
        let done = reconciler.run(&mut events, until, &shutdown).await;
        shutdown.cancel();
        done
    };
    let (done, reconfigured) = tokio::join!(reconciled, reconfigured);
    drop((working, reconciler));
    // What it does not get done now, the next start does.
    let _ = tokio::time::timeout(FORGETTING, forgetting).await;
    tasks.close();
    // Pages that a client does not finish reading must not keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
    done.context("the first sync failed")?;
    Ok(if reconfigured { ExitCode::from(RECONFIGURED) } else { ExitCode::SUCCESS })
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
        (args.settings.metrics, Pages::Metrics(handle)),
        (args.settings.healthz, Pages::Health(health.clone(), families.to_vec())),
    ];
    for (address, pages) in pages.into_iter().filter_map(|(address, pages)| Some((address?, pages))) {
        match Listener::bind(address, pages.clone()).await {
            Ok(listener) => {
                tasks.spawn(listener.serve(shutdown.clone()));
            }
            Err(error) if args.settings.bind_address_hard_fail => return Err(error.into()),
            Err(error) => {
                tracing::error!("{error}; trying again every {} seconds", LISTEN_AGAIN.as_secs());
                tasks.spawn(listen_again(address, pages, shutdown.clone()));
            }
        }
    }
    Ok(())
}

/// Serves pages as soon as their address is free.
async fn listen_again(address: SocketAddr, pages: Pages, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(LISTEN_AGAIN)).await.is_some() {
        if let Ok(listener) = Listener::bind(address, pages.clone()).await {
            tracing::info!(%address, "listening now");
            return listener.serve(shutdown).await;
        }
    }
}
