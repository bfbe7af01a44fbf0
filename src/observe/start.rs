//! Starting the HTTP pages and the writer of Kubernetes Events.

use std::net::SocketAddr;

use tokio::task::JoinHandle;

use super::{EventNote, EventRate, EventType, Events, ListenError, Listener, Pages, PortLimits, publish};
use crate::state::{Kind, ObjectName, ObjectRef};
use crate::tasks::Supervisor;

/// What happens when an address is taken at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenAddress {
    /// The start ends with the error.
    Fail,
    /// The pages are served once the address is free: a node with a proxy and without its pages is better than one with neither.
    Retry,
}

/// Serves each of `pages` in a task of its own until the shutdown, and notes an Event about this node for each address that is taken.
///
/// Returns those addresses' errors. With [`TakenAddress::Fail`] there is one at most, and the pages after it are not served.
pub async fn start_pages(
    pages: Vec<(SocketAddr, Pages)>,
    taken: TakenAddress,
    node_name: &str,
    events: &Events,
    limits: &PortLimits,
    supervisor: &Supervisor,
) -> Vec<ListenError> {
    let mut errors = Vec::new();
    for (address, pages) in pages {
        let (task, limits) = (pages.task(), limits.clone());
        match Listener::bind(address, pages.clone()).await {
            Ok(listener) => {
                supervisor.spawn_graceful(task, listener.serve(limits, supervisor.clone()));
            }
            Err(error) => {
                events.note(EventNote::about_node(node_name, EventType::Warning, error.reason, error.to_string()));
                errors.push(error);
                match taken {
                    TakenAddress::Fail => return errors,
                    TakenAddress::Retry => {
                        let serving = Listener::serve_when_free(address, pages, limits, supervisor.clone());
                        supervisor.spawn_graceful(task, serving);
                    }
                }
            }
        }
    }
    errors
}

/// Starts the task that writes Events to the API server, and returns where to hand them in. The task ends with the last handle.
pub fn start_events(client: kube::Client, node_name: String, supervisor: &Supervisor) -> (Events, JoinHandle<()>) {
    let (events, notes) = Events::queue();
    let writer = publish(client, node_name, notes, EventRate::default());
    let writer = supervisor.spawn_finite("the writer of Events", writer);
    (events, writer)
}

impl EventNote {
    /// A note about this node and the start of its proxy, as kube-proxy writes them.
    pub fn about_node(node_name: &str, event_type: EventType, reason: &'static str, text: String) -> Self {
        let about = ObjectRef { kind: Kind::Node, name: ObjectName::cluster_scoped(node_name) };
        Self { about, event_type, reason, action: "StartKubeProxy", text, on_every_node: false }
    }

    /// A note about this node and its tables.
    pub fn about_tables(node_name: &str, event_type: EventType, reason: &'static str, text: String) -> Self {
        Self { action: "Program", ..Self::about_node(node_name, event_type, reason, text) }
    }
}
