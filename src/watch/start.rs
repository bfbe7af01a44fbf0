//! Starting a source in the background: the API server or manifests, a journal of what they send, and this host's addresses.

use std::path::PathBuf;

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};

use super::host::FollowForNode;
use super::journal::{JournalError, Recorder};
use super::{
    ApiClient, Connection, EventSender, KubernetesOptions, ManifestError, Manifests, Received, watch_api_server,
};
use crate::state::Event;
use crate::tasks::Supervisor;

/// The number of events that may wait between a source and the loop. A source that is faster than the loop waits.
const QUEUE_CAPACITY: usize = 4_096;

/// What to start.
#[derive(Debug)]
pub struct SourceOptions {
    /// Where Kubernetes objects come from.
    pub objects: ObjectSource,
    /// The journal to append every event to.
    pub record: Option<PathBuf>,
    /// When to follow this host's addresses.
    pub host_addresses: HostAddresses,
    /// Where the source says what it does not find.
    pub connection: Connection,
}

/// When this host's addresses are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAddresses {
    /// Never.
    Ignored,
    /// When the Node object has addresses of one family only: NodePorts of the other are then on all of them.
    IfNodeLacksFamily,
    /// From the start: networks decide which of them accept NodePorts.
    Followed,
}

/// Where Kubernetes objects come from.
#[derive(Debug)]
pub enum ObjectSource {
    /// Watches on the API server.
    ApiServer {
        /// The API server.
        api: ApiClient,
        /// How to watch.
        options: Box<KubernetesOptions>,
    },
    /// Manifests on disk or on standard input.
    Manifests {
        /// Files, folders, or `-`.
        paths: Vec<PathBuf>,
        /// The name of this node's Node object.
        node_name: String,
        /// Whether to follow changes of the files.
        follow: bool,
    },
}

/// A running source.
pub struct StartedSource {
    /// Everything that the source sends.
    pub events: mpsc::Receiver<Received>,
    /// Completes once all input that the operator named has been read, with an error if some of it cannot be used. Objects of the
    /// cluster never cause an error.
    pub ready: BoxFuture<'static, Result<(), SourceError>>,
}

/// A source cannot start: the operator's input is wrong.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The manifests cannot be used.
    #[error(transparent)]
    Manifests(#[from] ManifestError),
    /// The task that reads the manifests died.
    #[error("reading the manifests was interrupted: {0}")]
    Interrupted(#[from] JoinError),
}

/// Starts a source in the background, in tasks of `supervisor`.
///
/// # Errors
///
/// If the operator's input is wrong, as far as that can be seen at once. [`StartedSource::ready`] reports the rest.
pub async fn start(options: SourceOptions, supervisor: &Supervisor) -> Result<StartedSource, SourceError> {
    let SourceOptions { objects, record, host_addresses, connection } = options;
    let (events, received) = mpsc::channel(QUEUE_CAPACITY);
    let node_name = match &objects {
        ObjectSource::ApiServer { options, .. } => options.node_name.clone(),
        ObjectSource::Manifests { node_name, .. } => node_name.clone(),
    };
    let received = match record {
        None => received,
        Some(file) => {
            let recorder = Recorder::open(&file, &node_name)?;
            let (recorded, replayed) = mpsc::channel(QUEUE_CAPACITY);
            supervisor.spawn_finite("the journal", record_events(recorder, received, recorded));
            replayed
        }
    };
    let mut host = match host_addresses {
        HostAddresses::Ignored => FollowForNode::never(),
        HostAddresses::IfNodeLacksFamily | HostAddresses::Followed => {
            FollowForNode::new(events.clone(), connection.clone(), supervisor.clone())
        }
    };
    if host_addresses == HostAddresses::Followed {
        // Before the objects: without its addresses the first sync would take those from the kernel that an earlier run left.
        host.start().await;
    }
    let ready = match objects {
        ObjectSource::ApiServer { api, options } => {
            supervisor.spawn("watching the API server", watch_api_server(api, *options, host, events));
            future::ok(()).boxed()
        }
        ObjectSource::Manifests { paths, node_name, follow } => {
            start_manifests(paths, node_name, follow, connection, host, events, supervisor.clone()).boxed()
        }
    };
    Ok(StartedSource { events: received, ready })
}

/// Starts to read the manifests. The future ends once they are read.
fn start_manifests(
    paths: Vec<PathBuf>,
    node_name: String,
    follow: bool,
    connection: Connection,
    host: FollowForNode,
    events: EventSender,
    supervisor: Supervisor,
) -> impl Future<Output = Result<(), SourceError>> + Send + use<> {
    let loading = spawn_blocking(move || Manifests::load_strictly(&paths, &node_name, follow, connection));
    async move {
        let (manifests, initial) = loading.await??;
        if follow {
            supervisor.spawn("following the manifests", follow_manifests(manifests, initial, host, events));
        } else {
            supervisor.spawn_finite("reading the manifests", async move {
                let mut host = host;
                send(initial, &mut host, &events).await;
            });
        }
        Ok(())
    }
}

/// Sends events, until the receiver is gone, which then needs no further ones.
async fn send(initial: Vec<Event>, host: &mut FollowForNode, events: &EventSender) {
    for event in initial {
        host.before(&event).await;
        if events.send(Received::now(event)).await.is_err() {
            return;
        }
    }
}

async fn follow_manifests(
    manifests: Manifests,
    initial: Vec<Event>,
    mut host: FollowForNode,
    events: EventSender,
) -> Result<(), ManifestError> {
    send(initial, &mut host, &events).await;
    manifests.follow(host, events).await
}

/// Appends every event to the journal and passes it on.
async fn record_events(
    mut recorder: Recorder,
    mut from: mpsc::Receiver<Received>,
    to: EventSender,
) -> Result<(), JoinError> {
    let mut batch = Vec::new();
    while from.recv_many(&mut batch, QUEUE_CAPACITY).await > 0 {
        // Writing to a disk may block.
        let append = move || {
            let done = recorder.append(&batch);
            (recorder, batch, done)
        };
        let done;
        (recorder, batch, done) = spawn_blocking(append).await?;
        if let Err(error) = done {
            tracing::error!(%error, "events are missing from the journal");
        }
        for received in batch.drain(..) {
            if to.send(received).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
