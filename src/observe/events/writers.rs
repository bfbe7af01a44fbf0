//! Which nodes write the Events that every node would write alike.
//!
//! A hash of node and namespace ranks the nodes, in another order for each namespace. About eight nodes at the front write; the others stay
//! silent, without a request. So what the owner of a namespace can cause at the API server does not grow with the cluster.

use std::time::Duration;

use kube::core::params::ListParams;
use kube::core::{DynamicObject, Request};
use kube::{Client, Resource};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::publish::{REQUEST_TIMEOUT, fnv1a};
use crate::clock;
use crate::pacing::Moment;
use crate::state::Kind;
use crate::watch::api_resource;

/// How many nodes write, on average. That none does is then less likely than one in 2,000.
const WRITERS: f64 = 8.0;
/// The most nodes of a cluster that Kubernetes supports. Whoever writes among so many needs not ask how many there are.
const MAX_NODES: u32 = 5_000;
/// How long the number of nodes is taken for true.
const NODES_VALID_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it is not asked for again after a failure.
const FAILURE_VALID_FOR: Duration = Duration::from_secs(60 * 60);

/// Decides whether this node writes.
#[derive(Debug)]
pub(super) struct Writers {
    node: String,
    /// The number of nodes, and until when it is taken for true.
    nodes: Option<(u32, Moment)>,
}

/// The fields that are read of a list of one, to learn how many there are.
#[derive(Deserialize)]
struct NodeCount {
    metadata: NodeCountMetadata,
    #[serde(default)]
    items: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeCountMetadata {
    #[serde(default)]
    r#continue: String,
    remaining_item_count: Option<u32>,
}

impl Writers {
    /// For the node of this name.
    pub fn new(node: String) -> Self {
        Self { node, nodes: None }
    }

    /// Waits for this node's turn among the writers of a namespace; false if it is none of them. The turns are spread over `spread`.
    pub async fn turn(&mut self, client: &Client, namespace: &str, spread: Duration) -> bool {
        let rank = rank(&self.node, namespace);
        if let Some(nodes) = self.known().or((rank < share(MAX_NODES)).then_some(MAX_NODES)) {
            let place = rank / share(nodes);
            if place < 1.0 {
                tokio::time::sleep(spread.mul_f64(place)).await;
            }
            return place < 1.0;
        }
        // All nodes may be about to ask, once a day.
        tokio::time::sleep(spread.mul_f64(rank)).await;
        let (nodes, valid_for) = match timeout(REQUEST_TIMEOUT, count(client)).await {
            Ok(Ok(nodes)) => (nodes, NODES_VALID_FOR),
            failed => {
                tracing::debug!(error = ?failed, "the number of nodes is not known: this node writes Events of all namespaces");
                (1, FAILURE_VALID_FOR)
            }
        };
        self.nodes = Some((nodes, clock::now() + valid_for));
        rank < share(nodes)
    }

    fn known(&self) -> Option<u32> {
        self.nodes.filter(|(_, until)| clock::now() < *until).map(|(nodes, _)| nodes)
    }
}

/// The place of a node among those of a namespace, from 0 to 1.
fn rank(node: &str, namespace: &str) -> f64 {
    // The upper bits, as many as a float holds.
    #[expect(clippy::cast_precision_loss, reason = "32 bits fit")]
    let hash = (fnv1a(&[node, namespace]) >> 32) as f64;
    hash / f64::from(u32::MAX)
}

/// The part of the nodes that write.
fn share(nodes: u32) -> f64 {
    WRITERS / f64::from(nodes.max(1))
}

/// How many nodes there are: a list of one says how many remain.
async fn count(client: &Client) -> Result<u32, kube::Error> {
    let request = Request::new(DynamicObject::url_path(&api_resource(Kind::Node), None))
        .list_metadata(&ListParams::default().limit(1))
        .map_err(kube::Error::BuildRequest)?;
    let NodeCount { metadata, items } = client.request(request).await?;
    let listed = u32::try_from(items.len()).unwrap_or(u32::MAX);
    Ok(match metadata.remaining_item_count {
        Some(remaining) => listed.saturating_add(remaining),
        None if metadata.r#continue.is_empty() => listed,
        None => MAX_NODES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many nodes write for a namespace.
    fn writers(nodes: u32, namespace: &str) -> usize {
        let names = (0..nodes).map(|i| format!("ip-10-0-{}-{}.ec2.internal", i / 256, i % 256));
        names.filter(|node| rank(node, namespace) < share(nodes)).count()
    }

    #[test]
    fn a_few_nodes_write_however_many_there_are_and_others_for_another_namespace() {
        for nodes in 1..=8 {
            assert_eq!(writers(nodes, "shop"), nodes as usize);
        }
        for nodes in [20, 200, 5_000] {
            let counts: Vec<usize> = (0..200).map(|i| writers(nodes, &format!("team-{i}"))).collect();
            let mean = counts.iter().sum::<usize>() as f64 / 200.0;
            assert!((7.0..9.0).contains(&mean), "{mean} of {nodes}");
            assert!(counts.iter().all(|count| (1..=22).contains(count)), "{counts:?} of {nodes}");
        }
    }
}
