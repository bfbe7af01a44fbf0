//! Whether the API server has a Node of our name. A wrong name is the mistake that is made most often, and nothing else shows it.

use std::time::Duration;

use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use tokio::time::timeout;

use super::KubernetesOptions;
use super::api::api_resource;
use crate::state::{Event, Kind};
use crate::watch::MissingInput;
use crate::watch::connection::{found_node, warn_missing_node};

/// How many Nodes are named where ours is missing.
const NAMED_NODES: u32 = 5;

/// How long the server may take to name them.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What an event says about our Node: whether there is one. `None` if it is not about that.
pub fn existence(event: &Event) -> Option<bool> {
    match event {
        Event::NodesReset(nodes) => Some(!nodes.is_empty()),
        Event::NodeApplied(_) => Some(true),
        _ => None,
    }
}

/// Reports whether our Node exists. If it does not, that is news once, with the names of a few others.
pub async fn report(client: &Client, options: &KubernetesOptions, exists: bool) {
    let (connection, name) = (&options.connection, &options.node_name);
    if exists {
        return found_node(connection, name);
    }
    if connection.is_missing(MissingInput::Node) {
        return;
    }
    let nodes = Api::<DynamicObject>::all_with(client.clone(), &api_resource(Kind::Node));
    let few = ListParams::default().limit(NAMED_NODES);
    let others = match timeout(TIMEOUT, nodes.list_metadata(&few)).await {
        Ok(Ok(list)) => list.items.iter().map(ResourceExt::name_any).collect(),
        _ => Vec::new(),
    };
    warn_missing_node(connection, name, "the cluster", &others);
}
