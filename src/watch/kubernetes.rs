//! Events from the API server: watches on Services, EndpointSlices, ServiceCIDRs and this Node.
//!
//! [`watcher`] lists and watches as the server serves that. Around it:
//!
//! - Only complete lists become events: one `…Reset` each.
//! - Lists are requested as a stream, and by pages from a server that refuses streams.
//! - A pace for each kind ([`pace`]) delays requests when watches end at once, and only a healthy watch resets it.
//! - Objects are asked for in protobuf, and in JSON from a server or through a proxy that does not speak it ([`request`]).
//! - An object that cannot be decoded neither stops a list nor gets lost in a watch ([`object`]).
//! - While the server cannot be reached, attempts stay frequent, so that the watches return within 3 seconds after it does.
//! - A silent connection is closed soon after the server should have ended the watch.
//! - A series of errors is logged once, with advice, and never ends the source.

mod api;
mod config;
mod failure_log;
mod frames;
mod monitored_body;
mod object;
mod one_connection;
mod own_node;
mod pace;
mod request;
mod request_metrics;
mod source;
mod transport;
mod watcher;

use std::fmt;
use std::time::Duration;

use kube::Client;
use tokio::task::JoinSet;

use super::decode::WatchedKind;
use super::host::FollowForNode;
use super::{Connection, EventSender};
use crate::pacing::Backoff;
use crate::state::{EndpointSlice, Kind, Node, Service, ServiceCidr};
pub use object::SliceDecoder;
use pace::Limits;

pub use api::api_resource;
pub use config::{ConfigError, client_config};
pub use one_connection::Pings;

/// How the API server is watched. The defaults suit real clusters; tests shorten the times.
#[derive(Clone, Debug)]
pub struct KubernetesOptions {
    /// The name of this node's Node object.
    pub node_name: String,
    /// How long the server should keep a watch open, in whole seconds. It bounds how long a silently lost connection stays
    /// unnoticed.
    pub watch_timeout: Duration,
    /// How much longer than `watch_timeout` a connection may be silent before it is closed.
    pub silence_margin: Duration,
    /// When the connection is asked whether the server is still there.
    pub pings: Pings,
    /// How long the server may take to answer a request; the body of the answer may take longer.
    pub answer_within: Duration,
    /// Pause before the second attempt; it doubles with each further one.
    pub backoff_base: Duration,
    /// Longest pause between attempts.
    pub backoff_max: Duration,
    /// Longest pause while the server cannot be reached, and for a while after that.
    pub unreachable_max: Duration,
    /// How long a watch must stay open to count as healthy, which resets the pause.
    pub healthy_after: Duration,
    /// Requests per second in the long run, for each kind.
    pub requests_per_second: f64,
    /// Requests at once, for each kind.
    pub burst: f64,
    /// Whether to ask for protobuf first.
    pub protobuf: bool,
    /// Whether to ask for initial lists as a stream first.
    pub streaming_lists: bool,
    /// Objects per page of a paged list.
    pub page_size: u32,
    /// How often to request ServiceCIDRs again from a server that does not serve them, or does not allow us to read them.
    pub absent_retry: Duration,
    /// The state of the watches, which they update.
    pub connection: Connection,
}

impl KubernetesOptions {
    /// The defaults, for the node of this name.
    pub fn new(node_name: impl Into<String>) -> Self {
        Self {
            node_name: node_name.into(),
            watch_timeout: Duration::from_secs(290),
            silence_margin: Duration::from_secs(5),
            // As client-go does.
            pings: Pings { interval: Duration::from_secs(30), timeout: Duration::from_secs(15) },
            // The API server ends any other request after 60 s.
            answer_within: Duration::from_secs(60),
            backoff_base: Duration::from_millis(800),
            backoff_max: Duration::from_secs(30),
            unreachable_max: Duration::from_millis(2_500),
            healthy_after: Duration::from_secs(30),
            requests_per_second: 5.0,
            burst: 20.0,
            protobuf: true,
            streaming_lists: true,
            page_size: 500,
            absent_retry: Duration::from_secs(600),
            connection: Connection::default(),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            backoff: Backoff::new(self.backoff_base, self.backoff_max),
            unreachable_max: self.unreachable_max,
            healthy_after: self.healthy_after,
            // Zero would mean never: one request in ten seconds is the slowest rate that makes sense.
            rate: self.requests_per_second.max(0.1),
            burst: self.burst.max(1.0),
        }
    }
}

/// A client for one API server, with metrics of its requests. Clones share its connection.
#[derive(Clone)]
pub struct ApiClient {
    server: String,
    client: Client,
}

impl ApiClient {
    /// A client that has requested nothing yet.
    ///
    /// # Errors
    /// If none can be built from `config` (certificates, proxy).
    pub fn new(config: kube::Config, options: &KubernetesOptions) -> Result<Self, ConfigError> {
        let server = config.cluster_url.to_string();
        match transport::connect(config, options) {
            Ok(client) => Ok(Self { server, client }),
            Err(source) => Err(ConfigError::Client { server, source: Box::new(source) }),
        }
    }

    /// The client for other requests than those of the watches.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiClient").field(&self.server).finish()
    }
}

/// Watches all kinds and sends their events until the receiver is dropped; dropping the future ends it as well.
///
/// Each kind sends one `…Reset` event when its list is complete, then changes. The kinds do not wait for each other. Failures
/// of the server are logged and survived. `host` follows this host's addresses if the Node needs them.
pub async fn watch(api: ApiClient, options: KubernetesOptions, host: FollowForNode, events: EventSender) {
    let ApiClient { server, client } = api;
    Kind::ALL.into_iter().for_each(|kind| options.connection.expected(kind));
    tracing::info!(server, node = options.node_name, "watching the API server");
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_kind::<Service>(&client, &options, FollowForNode::never(), &events));
    tasks.spawn(watch_kind::<EndpointSlice>(&client, &options, FollowForNode::never(), &events));
    tasks.spawn(watch_kind::<ServiceCidr>(&client, &options, FollowForNode::never(), &events));
    tasks.spawn(watch_kind::<Node>(&client, &options, host, &events));
    drop(events);
    // No kind ends before the receiver is gone. If one panics, the others end with it.
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn watch_kind<T: WatchedKind>(
    client: &Client,
    options: &KubernetesOptions,
    host: FollowForNode,
    events: &EventSender,
) -> impl Future<Output = ()> + Send + use<T> {
    let paced = transport::paced(client, T::KIND, options);
    source::run::<T>(paced, client.clone(), options.clone(), host, events.clone())
}
