//! The proxy itself: `pointsman` and `pointsman --once`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::Args;
use super::logging::Progress;
use super::take_over::TakeOver;
use super::{RECONFIGURED, configuration, pages, signal, source};
use crate::apply::AnyBackend;
use crate::conntrack::{Conntrack, Kernel};
use crate::forget;
use crate::observe::{Health, Note, ServiceHealth, Severity};
use crate::reconcile::{Reconciler, Until};
use crate::watch::StartedSource;

/// The time that open HTTP requests and unwritten Events get when the process ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The time that the purge of affinity clients gets when the process ends.
const AFFINITY_TIMEOUT: Duration = Duration::from_secs(2);

/// `--init-only`: what takes more permission than the rest.
pub(super) async fn init(args: &Args) -> anyhow::Result<ExitCode> {
    let backend = AnyBackend::open_tested(&args.backend_options(), &args.scope().families).await?;
    configuration::prepare_host(args);
    tracing::info!(backend = backend.description(), "the host is prepared");
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn run(args: &Args, progress: &Progress) -> anyhow::Result<ExitCode> {
    let (node_name, scope, settings) = (args.node_name()?, args.scope(), &args.settings);
    let backend = AnyBackend::open_tested(&args.backend_options(), &scope.families).await?;
    let forgetter = backend.open_another()?;
    // Before the health port is ours.
    let take_over = TakeOver::decide(args.take_over).await;
    let health = Health::with_sync_period(settings.sync_period);
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let (events, writing) = source::start_events(args).await?;
    if !args.once {
        let refused = pages::serve(args, &health, &scope.families, &shutdown, &tasks, &events, take_over).await;
        if let (Err(_), Some(writing)) = (&refused, writing) {
            drop(events);
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, writing).await;
            return refused.map(|()| ExitCode::SUCCESS);
        }
        refused?;
    }
    let StartedSource { events: mut received, ready: begun } =
        source::start(args, progress, health.connection()).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), backend = backend.description(), node = node_name, "started");
    events.note(Note::about_node(&node_name, Severity::Normal, "Starting", "the Service proxy starts".to_owned()));
    let working = args.once.then(|| progress.show("syncing"));
    let ending = shutdown.clone();
    tokio::spawn(async move {
        signal::shutdown_signal().await;
        tracing::info!("asked to end: the rules stay in place");
        ending.cancel();
    });
    let until = if args.once { Until::FirstSync } else { Until::Shutdown };
    let service_health = ServiceHealth::new(health.clone(), &scope.families, &settings.node_ports.unrestricted());
    let service_health = service_health.with_events(events.clone());
    let conntrack = Conntrack::start(&scope.families, Kernel::default());
    let mut reconciler = Reconciler::new(backend, scope, args.view(&node_name), health)
        .with_periods(settings.min_sync_period, settings.sync_period)
        .with_events(events)
        .with_conntrack(conntrack);
    if !args.once {
        reconciler = reconciler.with_service_health(service_health);
    }
    let (departures, departed) = mpsc::unbounded_channel();
    let forgetting = tokio::spawn(forget::run(forgetter, departed));
    let (synced, first_sync) = oneshot::channel();
    let taken_over = tokio::spawn(take_over.after(first_sync));
    reconciler = reconciler.with_departures(departures).telling_first_sync(synced);
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
        let done = reconciler.run(&mut received, until, &shutdown).await;
        shutdown.cancel();
        done
    };
    let begun = async {
        let begun = tokio::select! {
            begun = begun => begun,
            () = shutdown.cancelled() => return Ok(()),
        };
        match &begun {
            // Now wrong input can no longer stop the start, and the backend's test has made the kernel load the needed modules.
            Ok(()) if !args.once => configuration::prepare_host(args),
            Ok(()) => {}
            Err(_) => shutdown.cancel(),
        }
        begun
    };
    let (done, reconfigured, begun) = tokio::join!(reconciled, reconfigured, begun);
    drop(working);
    // What waits for the loop must not wait for ever.
    reconciler.end();
    if args.once {
        let _ = taken_over.await;
    }
    // What it does not get done now, the next start does.
    let _ = tokio::time::timeout(AFFINITY_TIMEOUT, forgetting).await;
    tasks.close();
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, tasks.wait()).await;
    begun?;
    done.context("the first sync failed")?;
    Ok(if reconfigured { ExitCode::from(RECONFIGURED) } else { ExitCode::SUCCESS })
}
