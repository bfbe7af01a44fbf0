//! The sources of events: the API server, manifests on disk, a recorded journal.
//!
//! ```text
//! API server ┐
//! manifests  ├─▶ wire types (lenient) ─▶ domain objects (validated) ─▶ Event
//! journal    ┘
//! host       ──▶ addresses of its interfaces ─▶ Event
//! ```
//!
//! A source knows nothing of nftables. It decodes only the fields that are read, and a bad object never makes it fail: parts that
//! cannot be used are left out and named in the object's `problems`.

mod connection;
mod decode;
pub mod host;
pub mod journal;
mod kubernetes;
mod manifests;
mod start;
mod wire;

pub use connection::{Connection, ConnectionReport, MissingInput};
pub use kubernetes::{
    ApiClient, ConfigError, KubernetesOptions, Pings, SliceDecoder, api_resource, client_config,
    watch as watch_api_server,
};
pub use manifests::{ManifestError, Manifests};
pub use start::{HostAddresses, ObjectSource, SourceError, SourceOptions, StartedSource, start};
pub use wire::Encoding;

use crate::clock;
use crate::state::Event;
pub use crate::state::Received;

impl Received {
    /// The event, received at this moment.
    pub fn now(event: Event) -> Self {
        Self { event, at: clock::now(), triggered: None }
    }
}

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// The sources' end of the queue to the loop.
pub type EventSender = tokio::sync::mpsc::Sender<Received>;
