//! The proxy itself: `pointsman` and `pointsman --once`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use super::args::Args;
use super::logging::Progress;
use super::version::{COMMIT, VERSION};
use super::{RECONFIGURED, configuration, pages, signal, source, take_over};
use crate::apply::AnyBackend;
use crate::conntrack::{ConntrackFollower, ConntrackSocket};
use crate::dataplane::Family;
use crate::engine::EngineSettings;
use crate::host::raise_descriptor_limit;
use crate::localhost::{LocalhostFollower, LoopbackLimits};
use crate::observe::{
    AffinityFrontends, EventNote, EventType, FlowCounters, Health, PortLimits, ServiceHealth, watch_flows,
};
use crate::proxy::{AffinityFollower, FirstSyncFollower, Proxy, ServiceHealthFollower, Until};
use crate::tasks::Supervisor;
use crate::watch::{MissingInput, StartedSource};

/// The time that open HTTP requests and unwritten Events get when the process ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// `--init-only`: what takes more permission than the rest.
pub(super) async fn init(args: &Args) -> anyhow::Result<ExitCode> {
    let backend = AnyBackend::open_tested(&args.backend_options(), &args.scope().families).await?;
    configuration::prepare_host(args);
    tracing::info!(backend = backend.description(), "the host is prepared");
    Ok(ExitCode::SUCCESS)
}

/// Waits until the time has passed; for ever without a limit.
async fn passed(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(timeout) => {
            tokio::time::sleep(timeout).await;
            timeout
        }
        None => std::future::pending().await,
    }
}

pub(super) async fn run(args: &Args, progress: &Progress) -> anyhow::Result<ExitCode> {
    // From here on no signal ends the process between two steps, such as those of the self-test, which has a table of its own.
    let (mut interrupted, hangup) = (Box::pin(signal::shutdown_signal()), signal::ignore_hangup());
    let descriptors = raise_descriptor_limit();
    let limits = PortLimits::for_descriptors(descriptors);
    let (node_name, scope, settings) = (args.node_name()?, args.scope(), &args.settings);
    // Before anything is changed, and before the health port is ours.
    let (decision, _lock) = tokio::select! {
        begun = take_over::begin(args, &node_name) => begun?,
        () = &mut interrupted => bail!("interrupted before anything was programmed"),
    };
    let backend = AnyBackend::open_tested(&args.backend_options(), &scope.families).await?;
    let health = Health::with_sync_period(settings.sync_period);
    let connection = health.connection().clone();
    let shutdown = CancellationToken::new();
    let supervisor = Supervisor::new(shutdown.clone());
    let api = source::api_client(args).await?;
    let (events, writing) = source::start_events(args, api.as_ref(), &supervisor)?;
    let affinity = AffinityFrontends::default();
    if !args.once {
        health.board().programs_by(backend.description(), args.reaction().is_some());
        let refused =
            pages::serve(args, &health, (&scope.families, affinity.clone()), &limits, &supervisor, &events, &decision)
                .await;
        if let (Err(_), Some(writing)) = (&refused, writing) {
            drop(events);
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, writing).await;
            return refused.map(|()| ExitCode::SUCCESS);
        }
        refused?;
    }
    if !args.once {
        let watching = watch_flows(FlowCounters::of_this_namespace(), health.board().clone());
        supervisor.spawn("the watch over connection tracking", watching);
    }
    let StartedSource { events: mut received, ready: begun } =
        source::start(args, api, progress, health.connection(), &supervisor).await?;
    tracing::info!(version = VERSION, commit = COMMIT, backend = backend.description(), node = node_name, "started");
    events.note(EventNote::about_node(
        &node_name,
        EventType::Normal,
        "Starting",
        "the Service proxy starts".to_owned(),
    ));
    let working = args.once.then(|| progress.show("syncing"));
    let ending = shutdown.clone();
    let timeout = args.timeout;
    let asked = Arc::new(OnceLock::new());
    let reason = Arc::clone(&asked);
    supervisor.spawn_finite("ignoring SIGHUP", hangup);
    supervisor.spawn_finite("waiting for signals", async move {
        let why = tokio::select! {
            () = interrupted => "it was interrupted".to_owned(),
            timeout = passed(timeout) => format!("{timeout:?} (--timeout) have passed, and the log says what is missing"),
        };
        // Set only here.
        let _ = reason.set(why);
        tracing::info!("asked to end: the rules stay in place");
        ending.cancel();
    });
    let until = if args.once { Until::FirstSync } else { Until::Shutdown };
    let families = scope.families.clone();
    let (conntrack, looking) = ConntrackFollower::start(&families, ConntrackSocket::default(), &supervisor);
    let (first_sync, synced) = FirstSyncFollower::channel();
    let has_synced = Arc::new(OnceLock::new());
    let first = Arc::clone(&has_synced);
    let taken_over = supervisor.spawn_finite("the take-over", async move {
        if take_over::after_first_sync(decision, synced).await {
            // Set only here.
            let _ = first.set(());
        }
    });
    let periods = EngineSettings {
        min_sync_period: settings.min_sync_period,
        longest_pause: settings.sync_period,
        ..EngineSettings::new(scope, args.view(&node_name))
    };
    let mut proxy = Proxy::new(backend, periods)
        .with_observers(health.clone(), events.clone())
        .with(AffinityFollower(affinity))
        .with(conntrack)
        .with(first_sync);
    let loopback: BTreeSet<Family> =
        settings.node_ports.localhost.iter().filter(|family| families.contains(family)).copied().collect();
    if !args.once && !loopback.is_empty() {
        let limits = LoopbackLimits::for_descriptors(descriptors);
        proxy = proxy.with(LocalhostFollower::start(loopback, limits, events.clone(), &supervisor));
    }
    if let Some(reaction) = args.reaction().filter(|_| !args.once) {
        proxy = proxy.watching_over(reaction);
    }
    if !args.once {
        let service_health = ServiceHealth::new(health, &families, &settings.node_ports.unrestricted());
        let service_health = service_health.with_events(events).bounded(limits, supervisor.clone());
        proxy = proxy.with(ServiceHealthFollower::start(service_health, &supervisor));
    }
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
    let proxied = async {
        let done = proxy.run(&mut received, until, &shutdown).await;
        // What waits for the loop must not wait for ever.
        proxy.end();
        if args.once && done.is_ok() {
            tokio::select! {
                _ = looking => {}
                () = shutdown.cancelled() => {}
            }
        }
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
    let (done, reconfigured, begun) = tokio::join!(proxied, reconfigured, begun);
    drop(working);
    if args.once {
        let _ = taken_over.await;
    }
    supervisor.ended(SHUTDOWN_TIMEOUT).await;
    begun?;
    supervisor.check()?;
    done.context("the first sync failed")?;
    if args.once && has_synced.get().is_none() {
        bail!("there was no sync: {}", asked.get().map_or("the source ended", String::as_str));
    }
    if let Some(unread) = connection.what(MissingInput::Manifests).filter(|_| args.once) {
        bail!("the rest was programmed, but: {unread}. Services that it gave in an earlier run were removed");
    }
    Ok(if reconfigured { ExitCode::from(RECONFIGURED) } else { ExitCode::SUCCESS })
}
