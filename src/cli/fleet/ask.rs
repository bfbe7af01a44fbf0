//! Asking all nodes: the list of pods, and the page of each.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures::{StreamExt, stream};
use http::Request;
use http::header::ACCEPT;
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::request::Request as RequestBuilder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::FleetNode;
use crate::observe::StatusPage;

/// How many nodes are asked at a time: what a thousand of them cost the API server and the network at once is no more than that.
const MAX_NODES_AT_ONCE: usize = 64;
/// How long a node may take.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a page of the list of pods may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// Pods in a page of the list.
const PODS_PER_PAGE: u32 = 500;
/// The most bytes of an answer: a page of pods with long specifications, or a status.
const MAX_ANSWER: usize = 64 << 20;
/// The longest part of an error that is shown.
const MAX_ERROR: usize = 160;

/// Which pods are asked, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct FleetQuery<'a> {
    pub namespace: &'a str,
    pub selector: &'a str,
    pub port: u16,
}

#[derive(Debug, Deserialize)]
struct PodListForm {
    #[serde(default)]
    metadata: PodListMeta,
    #[serde(default)]
    items: Vec<PodForm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodListMeta {
    r#continue: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PodForm {
    metadata: PodMeta,
    #[serde(default)]
    spec: PodSpecForm,
    #[serde(default)]
    status: PodStatusForm,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodMeta {
    name: String,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpecForm {
    node_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct PodStatusForm {
    phase: Option<String>,
}

/// Asks every node once. Nodes that do not answer are in the result, too.
///
/// # Errors
///
/// If the pods cannot be listed.
pub(super) async fn ask_all(client: &Client, query: FleetQuery<'_>) -> anyhow::Result<Vec<FleetNode>> {
    let pods = pods(client, query).await?;
    let asked = stream::iter(pods).map(|pod| ask_node(client, query, pod)).buffer_unordered(MAX_NODES_AT_ONCE);
    Ok(asked.collect().await)
}

/// One pod for each node, and those that have no node yet. A pod that is being deleted stands for its node only while no other does.
async fn pods(client: &Client, query: FleetQuery<'_>) -> anyhow::Result<Vec<PodForm>> {
    let path = format!("/api/v1/namespaces/{}/pods", query.namespace);
    let (mut by_node, mut without_node): (BTreeMap<String, PodForm>, Vec<PodForm>) = (BTreeMap::new(), Vec::new());
    let mut params = ListParams::default().labels(query.selector).limit(PODS_PER_PAGE);
    loop {
        let request = RequestBuilder::new(&path).list(&params).context("the list of pods cannot be asked for")?;
        let page: PodListForm = tokio::time::timeout(LIST_TIMEOUT, get(client, request))
            .await
            .map_err(|_| anyhow!("no answer"))
            .and_then(|it| it)
            .with_context(|| {
                format!(
                    "cannot list the pods in {}. The right to list pods there is needed: see docs/at-3-am.md",
                    query.namespace
                )
            })?;
        for pod in page.items {
            match pod.spec.node_name.clone() {
                None => without_node.push(pod),
                Some(node) if pod.metadata.deletion_timestamp.is_none() => drop(by_node.insert(node, pod)),
                Some(node) => drop(by_node.entry(node).or_insert(pod)),
            }
        }
        match page.metadata.r#continue.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    Ok(by_node.into_values().chain(without_node).collect())
}

async fn ask_node(client: &Client, query: FleetQuery<'_>, pod: PodForm) -> FleetNode {
    let PodForm { metadata: PodMeta { name, .. }, spec, status } = pod;
    let phase = status.phase.unwrap_or_default();
    let asked = async {
        if phase != "Running" {
            bail!("the pod is {phase}");
        }
        let path = format!("/api/v1/namespaces/{}/pods/{name}:{}/proxy/statusz", query.namespace, query.port);
        let request = Request::get(path).header(ACCEPT, "application/json").body(Vec::new())?;
        let page = tokio::time::timeout(NODE_TIMEOUT, get(client, request)).await;
        page.map_err(|_| anyhow!("no answer within {NODE_TIMEOUT:?}"))?
    };
    let (status, error): (Option<StatusPage>, _) = match asked.await {
        Ok(page) => (Some(page), None),
        Err(error) => (None, Some(shortened(&format!("{error:#}")))),
    };
    FleetNode { node: spec.node_name.unwrap_or_default(), pod: name, status: status.map(Box::new), error }
}

/// Sends a request and decodes the answer.
async fn get<T: DeserializeOwned>(client: &Client, request: Request<Vec<u8>>) -> anyhow::Result<T> {
    let answer = client.send(request.map(Body::from)).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| anyhow!("{error}"))?;
    let body = body.to_bytes();
    if !status.is_success() {
        bail!("{status}: {}", refusal(&body));
    }
    serde_json::from_slice(&body).context("the answer is not what a Pointsman of this version says")
}

/// What an answer says about a failure: the message of a Status object, or the text.
fn refusal(body: &[u8]) -> String {
    let status: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = status.as_ref().and_then(|status| status["message"].as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

/// An error in one line of bounded length.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_ERROR) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
