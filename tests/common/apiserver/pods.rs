//! Pods, and the proxy to their ports: what `pointsman status --all-nodes` asks for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Uri};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answer::Format;
use super::query::Query;
use super::serve::{Shared, status};

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// `namespace/name`
    pub name: String,
    pub node: Option<String>,
    /// One label, as `key=value`.
    pub label: String,
    pub phase: &'static str,
    pub deleting: bool,
    pub answer: PodAnswer,
}

/// What answers on the pod's ports.
#[derive(Clone, Debug)]
pub enum PodAnswer {
    /// Whatever listens at this address, with the port of the request.
    Host(std::net::IpAddr),
    /// This text, after a moment.
    Text(String, Duration),
    /// Nothing.
    Never,
}

/// The pods, and what was asked of them.
#[derive(Default)]
pub struct Pods {
    pub pods: BTreeMap<String, Pod>,
    pub pages: usize,
    /// Proxied requests at the moment, and the most so far.
    pub asked: usize,
    pub most_asked: usize,
}

impl Pod {
    /// A running pod of the DaemonSet.
    pub fn running(name: &str, node: &str, answer: PodAnswer) -> Self {
        let label = "app.kubernetes.io/name=pointsman".to_owned();
        let name = format!("kube-system/{name}");
        Self { name, node: Some(node.to_owned()), label, phase: "Running", deleting: false, answer }
    }

    fn object(&self) -> Value {
        let (namespace, name) = self.name.split_once('/').unwrap();
        let mut object = json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [{"name": "pointsman"}]},
            "status": {"phase": self.phase},
        });
        if let Some(node) = &self.node {
            object["spec"]["nodeName"] = json!(node);
        }
        if self.deleting {
            object["metadata"]["deletionTimestamp"] = json!("2026-11-26T03:00:00Z");
        }
        object
    }
}

/// Answers a request for pods or to one of their ports; `None` if it is for something else.
pub async fn answer(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let rest = uri.path().strip_prefix("/api/v1/namespaces/")?;
    let (namespace, rest) = rest.split_once('/')?;
    if rest == "pods" {
        return Some(list(shared, namespace, &Query::parse(uri.query().unwrap_or_default())));
    }
    let (pod, path) = rest.strip_prefix("pods/")?.split_once("/proxy/")?;
    let (name, port) = pod.split_once(':')?;
    let known = shared.pods.lock().unwrap().pods.get(&format!("{namespace}/{name}")).cloned();
    let Some(pod) = known else { return Some(status(Format::Json, 404, "NotFound")) };
    {
        let mut pods = shared.pods.lock().unwrap();
        pods.asked += 1;
        pods.most_asked = pods.most_asked.max(pods.asked);
    }
    let answer = proxied(&pod, port.parse().unwrap(), path, headers).await;
    shared.pods.lock().unwrap().asked -= 1;
    Some(answer)
}

fn list(shared: &Shared, namespace: &str, query: &Query) -> Response {
    let mut pods = shared.pods.lock().unwrap();
    pods.pages += 1;
    let prefix = format!("{namespace}/");
    let after = query.get("continue").unwrap_or_default().to_owned();
    let selector = query.get("labelSelector").unwrap_or_default();
    let chosen = pods.pods.values().filter(|pod| pod.name.starts_with(&prefix) && pod.label == selector);
    let chosen: Vec<&Pod> = chosen.filter(|pod| pod.name > after).collect();
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let page = &chosen[..chosen.len().min(limit)];
    let mut metadata = json!({"resourceVersion": "1"});
    if page.len() < chosen.len() {
        metadata["continue"] = json!(page.last().unwrap().name);
    }
    let items: Vec<Value> = page.iter().map(|pod| pod.object()).collect();
    let body = json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}).to_string();
    Response::builder().header("content-type", "application/json").body(Body::from(body)).unwrap()
}

async fn proxied(pod: &Pod, port: u16, path: &str, headers: &HeaderMap) -> Response {
    match &pod.answer {
        PodAnswer::Never => std::future::pending().await,
        PodAnswer::Text(text, after) => {
            tokio::time::sleep(*after).await;
            Response::builder().header("content-type", "application/json").body(Body::from(text.clone())).unwrap()
        }
        PodAnswer::Host(host) => match forwarded(SocketAddr::new(*host, port), path, headers).await {
            Ok(answer) => answer,
            Err(error) => {
                let message = format!("error trying to reach service: dial tcp {host}:{port}: connect: {error}");
                let body = json!({"kind": "Status", "status": "Failure", "message": message, "code": 503}).to_string();
                Response::builder().status(503).body(Body::from(body)).unwrap()
            }
        },
    }
}

async fn forwarded(to: SocketAddr, path: &str, headers: &HeaderMap) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(to).await?;
    let accept = headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nAccept: {accept}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let code: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Response::builder().status(code).body(Body::from(body.to_owned())).unwrap())
}
