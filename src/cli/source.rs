//! Starting the source that the command line names.

use anyhow::Context;
use futures::FutureExt;
use futures::future::{self, BoxFuture};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::args::Args;
use super::logging::Progress;
use crate::observe::{EventRate, Events, publish};
use crate::state::{Event, NodePortAddresses};
use crate::watch::journal::Recorder;
use crate::watch::{
    Connection, EventSender, KubernetesOptions, Manifests, Received, api_client, client_config, host, watch_api_server,
};

/// Events that may wait between a source and the loop; a source with more to say waits itself.
const QUEUE: usize = 4_096;

/// A source at work.
pub(super) struct Source {
    pub events: mpsc::Receiver<Received>,
    /// Done when all that the operator named could be used; an error if not. What the cluster holds never makes it fail.
    pub begun: BoxFuture<'static, anyhow::Result<()>>,
}

/// Starts the source in the background, which tells `connection` whether it hears the API server. Fails if the operator's input
/// is wrong, as far as that shows at once.
pub(super) async fn start(args: &Args, progress: &Progress, connection: &Connection) -> anyhow::Result<Source> {
    let (events, received) = mpsc::channel(QUEUE);
    let (events, received) = match &args.record {
        None => (events, received),
        Some(file) => {
            let recorder = Recorder::open(file)?;
            let (recorded, replayed) = mpsc::channel(QUEUE);
            tokio::spawn(record(recorder, received, recorded));
            (events, replayed)
        }
    };
    if matches!(args.settings.node_ports, NodePortAddresses::Networks(_)) {
        start_host_addresses(events.clone());
    }
    let begun = if args.manifests.is_empty() {
        start_kubernetes(args, events, connection).await?;
        future::ok(()).boxed()
    } else {
        start_manifests(args, events, progress)?.boxed()
    };
    Ok(Source { events: received, begun })
}

/// Follows this host's addresses: those in the networks of `--nodeport-addresses` accept NodePorts.
fn start_host_addresses(events: EventSender) {
    tokio::spawn(async move {
        if let Err(error) = host::follow_addresses(events).await {
            tracing::error!(%error, "changes of this host's addresses go unnoticed by NodePorts until a restart");
        }
    });
}

async fn start_kubernetes(args: &Args, events: EventSender, connection: &Connection) -> anyhow::Result<()> {
    let config = client_config(args.settings.kubeconfig.as_deref(), args.flags.value("master")).await?;
    let options = KubernetesOptions { connection: connection.clone(), ..kubernetes_options(args)? };
    tokio::spawn(async move {
        if let Err(error) = watch_api_server(config, options, events).await {
            tracing::error!(%error, "the API server cannot be watched");
        }
    });
    Ok(())
}

fn kubernetes_options(args: &Args) -> anyhow::Result<KubernetesOptions> {
    let mut options = KubernetesOptions::new(args.node_name()?);
    (options.requests_per_second, options.burst) = (args.settings.requests_per_second, args.settings.burst);
    options.watch_timeout = std::time::Duration::from_secs(args.watch_timeout.into());
    Ok(options)
}

/// Where Kubernetes Events can be handed in, and the task that writes them; with manifests there is nobody to tell.
pub(super) async fn start_events(args: &Args) -> anyhow::Result<(Events, Option<JoinHandle<()>>)> {
    if !args.manifests.is_empty() || args.once {
        return Ok((Events::default(), None));
    }
    let config = client_config(args.settings.kubeconfig.as_deref(), args.flags.value("master")).await?;
    let client = api_client(config, &kubernetes_options(args)?)?;
    let (events, notes) = Events::queue();
    let writing = tokio::spawn(publish(client, args.node_name()?, notes, EventRate::default()));
    Ok((events, Some(writing)))
}

/// Reads the manifests and sends what they say; the future ends when they are read.
fn start_manifests(
    args: &Args,
    events: EventSender,
    progress: &Progress,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + use<>> {
    let (paths, node_name) = (args.manifests.clone(), args.node_name()?);
    let reading = progress.show("reading manifests");
    let loading = tokio::task::spawn_blocking(move || Manifests::load(&paths, &node_name));
    let follow = args.watch;
    Ok(async move {
        let (manifests, initial) = loading.await.context("reading the manifests was broken off")??;
        drop(reading);
        tokio::spawn(send_manifests(manifests, initial, events, follow));
        Ok(())
    })
}

async fn send_manifests(manifests: Manifests, initial: Vec<Event>, events: EventSender, follow: bool) {
    for event in initial {
        // A receiver that is gone needs no more events.
        if events.send(Received::now(event)).await.is_err() {
            return;
        }
    }
    if follow && let Err(error) = manifests.follow(events).await {
        tracing::error!(%error, "the manifests are no longer followed");
    }
}

/// Writes every event to the journal on its way.
async fn record(mut recorder: Recorder, mut from: mpsc::Receiver<Received>, to: EventSender) {
    let mut batch = Vec::new();
    while from.recv_many(&mut batch, QUEUE).await > 0 {
        if let Err(error) = recorder.append(&batch) {
            tracing::error!(%error, "events are missing from the journal");
        }
        for received in batch.drain(..) {
            if to.send(received).await.is_err() {
                return;
            }
        }
    }
}

/// Returns when the process is asked to end by SIGTERM or SIGINT.
pub(super) async fn asked_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be caught: SIGTERM will end the process at once, which does no harm");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests;
