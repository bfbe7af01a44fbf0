//! From requests to answers.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{self, Format, Protobuf};
use super::fault::{Fault, Faults, Verb};
use super::pods::{self, Pods};
use super::query::Query;
use super::store::{Object, Resource, Store};

/// The state that requests, faults and tests share.
#[derive(Default)]
pub struct Shared {
    pub store: Mutex<Store>,
    pub faults: Mutex<Faults>,
    pub requests: Mutex<Vec<(Resource, Verb, String)>>,
    pub bookmark_every: Mutex<Option<Duration>>,
    /// What is done with requests for protobuf.
    pub protobuf: Mutex<Protobuf>,
    /// The formats of all answers to lists and watches, in order.
    pub formats: Mutex<Vec<Format>>,
    /// The Events that were created, in order.
    pub events: Mutex<Vec<Value>>,
    /// How requests to create Events are refused, if they are.
    pub refuse_events: Mutex<Option<u16>>,
    /// How many such requests there were.
    pub event_requests: Mutex<usize>,
    /// The only values of `Authorization` that are answered, if there is a limit.
    pub tokens: Mutex<Option<Vec<String>>>,
    /// How many requests came with each value of `Authorization`.
    pub seen_tokens: Mutex<BTreeMap<String, usize>>,
    /// Pods, which nothing watches.
    pub pods: Mutex<Pods>,
    changes: watch::Sender<()>,
}

/// A piece of a streamed answer; an error cuts the connection.
type Piece = Result<Vec<u8>, io::Error>;

impl Shared {
    /// Wakes all watches.
    pub fn changed(&self) {
        self.changes.send_replace(());
    }

    /// The format of an answer to a request with these headers, or the status that refuses it.
    fn format(&self, headers: &HeaderMap) -> Result<Format, u16> {
        let format = self.protobuf.lock().unwrap().negotiate(headers)?;
        self.formats.lock().unwrap().push(format);
        Ok(format)
    }
}

/// What answers requests.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(answer).with_state(shared)
}

/// Whether a request has an accepted token. Counts it.
fn is_authorized(shared: &Shared, request: &Request) -> bool {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    *shared.seen_tokens.lock().unwrap().entry(header.to_owned()).or_default() += 1;
    shared.tokens.lock().unwrap().as_ref().is_none_or(|tokens| tokens.iter().any(|token| token == header))
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if !is_authorized(&shared, &request) {
        return status(Format::Json, 401, "Unauthorized");
    }
    if let Some(namespace) = events_namespace(request.uri().path()) {
        return create_event(&shared, namespace.to_owned(), request).await;
    }
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    if let Some(answer) = pods::answer(&shared, &uri, &headers).await {
        return answer;
    }
    let Some((resource, namespace)) = resource(request.uri().path()) else {
        return status(Format::Json, 404, "NotFound");
    };
    let format = match shared.format(request.headers()) {
        Ok(format) => format,
        Err(code) => return status(Format::Json, code, "NotAcceptable"),
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let query = Query { namespace, ..Query::parse(&query) };
    let verb = query.verb();
    shared.requests.lock().unwrap().push((resource, verb, query.text.clone()));
    let fault = shared.faults.lock().unwrap().take(resource, verb);
    let watch = matches!(verb, Verb::Watch | Verb::StreamingList);
    let body = match fault {
        Some(Fault::Status(code)) => return status(format, code, "Fault"),
        Some(Fault::NoAnswer) => std::future::pending().await,
        Some(Fault::Close) => Body::empty(),
        fault if watch => {
            let (pieces, body) = mpsc::channel(16);
            tokio::spawn(watch_resource(shared, resource, query, format, fault, pieces));
            stream(body)
        }
        Some(Fault::Stall) => {
            let (pieces, body) = mpsc::channel(1);
            tokio::spawn(async move { pieces.closed().await });
            stream(body)
        }
        fault => match list(&shared, resource, &query, format, fault) {
            Ok(body) => body,
            Err(refusal) => return *refusal,
        },
    };
    Response::builder().header("content-type", format.content_type(watch)).body(body).unwrap()
}

/// The resource that a path lists, and its namespace if there is one: `/api/v1/services`, `/api/v1/namespaces/shop/services`.
fn resource(path: &str) -> Option<(Resource, Option<String>)> {
    Resource::ALL.into_iter().find_map(|resource| {
        let (prefix, plural) = resource.path().rsplit_once('/')?;
        let rest = path.strip_prefix(prefix)?.strip_suffix(plural)?.strip_suffix('/')?;
        match rest.strip_prefix("/namespaces/") {
            None => rest.is_empty().then_some((resource, None)),
            Some(namespace) => Some((resource, Some(namespace.to_owned()))),
        }
    })
}

/// The namespace of a path to create Events.
fn events_namespace(path: &str) -> Option<&str> {
    path.strip_prefix("/apis/events.k8s.io/v1/namespaces/")?.strip_suffix("/events")
}

/// Creates an Event. Checks what a real server checks and a proxy may get wrong.
async fn create_event(shared: &Shared, namespace: String, request: Request) -> Response {
    *shared.event_requests.lock().unwrap() += 1;
    let refusal = *shared.refuse_events.lock().unwrap();
    if let Some(code) = refusal {
        return status(Format::Json, code, "Fault");
    }
    let body = axum::body::to_bytes(request.into_body(), 100_000).await.unwrap();
    let event: Value = serde_json::from_slice(&body).unwrap();
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let regarding = text("/regarding/namespace");
    let right_place = text("/metadata/namespace") == namespace
        && (if regarding.is_empty() { "default" } else { regarding }) == namespace;
    let complete = ["/eventTime", "/reportingController", "/reportingInstance", "/action", "/reason", "/regarding/uid"];
    if !right_place
        || complete.iter().any(|path| text(path).is_empty())
        || !["Normal", "Warning"].contains(&text("/type"))
    {
        return status(Format::Json, 422, "Invalid");
    }
    let mut events = shared.events.lock().unwrap();
    if events.iter().any(|other| other["metadata"] == event["metadata"]) {
        return status(Format::Json, 409, "AlreadyExists");
    }
    events.push(event);
    Response::builder().status(201).header("content-type", "application/json").body(Body::from(body)).unwrap()
}

fn stream(body: mpsc::Receiver<Piece>) -> Body {
    Body::from_stream(futures::stream::unfold(body, async |mut body| body.recv().await.map(|piece| (piece, body))))
}

pub(super) fn status(format: Format, code: u16, reason: &str) -> Response {
    Response::builder()
        .status(code)
        .header("content-type", format.content_type(false))
        .body(Body::from(format.status(code, reason, &format!("test: {reason}"))))
        .unwrap()
}

/// A list or one page of it. The token of the next page is the list's revision and the last key.
fn list(
    shared: &Shared,
    resource: Resource,
    query: &Query,
    format: Format,
    fault: Option<Fault>,
) -> Result<Body, Box<Response>> {
    let store = shared.store.lock().unwrap();
    let token = query.get("continue").and_then(|token| token.split_once('~'));
    let revision = token.map_or(store.revision(), |(revision, _)| revision.parse().unwrap());
    if store.is_expired(revision) {
        return Err(Box::new(status(format, 410, "Expired")));
    }
    let mut items = store.list(resource, &query.selection(), token.map(|(_, after)| after));
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    let all = items.len();
    if all > limit {
        items.truncate(limit);
        metadata["continue"] = json!(format!("{revision}~{}", items.last().unwrap().0));
        metadata["remainingItemCount"] = json!(all - limit);
    }
    let objects: Vec<_> = items.iter().map(|(_, object)| &**object).collect();
    let answer = match fault {
        Some(Fault::Garbage) => format.garbage(),
        _ => format.list(resource, &metadata, &objects),
    };
    if let Some(Fault::CutAfter(_)) = fault {
        let half = answer[..answer.len() / 2].to_owned();
        return Ok(Body::from_stream(futures::stream::iter([Ok(half), Err(io::Error::other("cut"))])));
    }
    Ok(Body::from(answer))
}

/// Sends a watch, until it times out, the client is gone, or the fault comes to bear.
async fn watch_resource(
    shared: Arc<Shared>,
    resource: Resource,
    query: Query,
    format: Format,
    fault: Option<Fault>,
    pieces: mpsc::Sender<Piece>,
) {
    let mut changes = shared.changes.subscribe();
    let selection = query.selection();
    // A streaming list is as new as this version or newer. Here it is always the newest.
    let from = query.get("resourceVersion").filter(|_| query.verb() == Verb::Watch);
    let from: u64 = from.and_then(|revision| revision.parse().ok()).unwrap_or(0);
    let mut left = match fault {
        Some(Fault::Stall) => return pieces.closed().await,
        Some(Fault::Expired) => 0,
        Some(Fault::CutAfter(events) | Fault::EndAfter(events)) => events,
        _ => usize::MAX,
    };
    let (mut lines, mut revision) = {
        let store = shared.store.lock().unwrap();
        if from > 0 && store.is_expired(from) || fault == Some(Fault::Expired) {
            (vec![expired(format)], None)
        } else if from > 0 {
            (encoded(format, store.events_since(resource, &selection, from)), Some(store.revision()))
        } else {
            let objects = store.list(resource, &selection, None);
            let mut lines: Vec<_> = objects.iter().map(|(_, object)| format.event("ADDED", object)).collect();
            if query.verb() == Verb::StreamingList {
                lines.push(bookmark(format, resource, store.revision(), true));
            }
            (lines, Some(store.revision()))
        }
    };
    match fault {
        Some(Fault::Garbage) => lines.insert(0, format.garbage()),
        Some(Fault::WrongLength) => lines.insert(0, vec![0xff; 64]),
        _ => {}
    }
    let seconds = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(1800);
    let end = Instant::now() + Duration::from_secs(seconds);
    let bookmarks = (*shared.bookmark_every.lock().unwrap()).unwrap_or(Duration::from_secs(60));
    loop {
        for line in std::mem::take(&mut lines) {
            if left == 0 && revision.is_some() {
                if let Some(Fault::CutAfter(_)) = fault {
                    let _ = pieces.send(Ok(line[..line.len() / 2].to_owned())).await;
                    // Let the half line out before the connection is cut.
                    sleep(Duration::from_millis(50)).await;
                    let _ = pieces.send(Err(io::Error::other("cut"))).await;
                }
                return;
            }
            left = left.saturating_sub(1);
            let ended = left == 0 && matches!(fault, Some(Fault::EndAfter(_)));
            if pieces.send(Ok(line)).await.is_err() || ended {
                return;
            }
        }
        let Some(seen) = revision else { return };
        tokio::select! {
            _ = changes.changed() => {}
            () = sleep(bookmarks) => lines.push(bookmark(format, resource, seen, false)),
            () = sleep_until(end) => return,
            () = pieces.closed() => return,
        }
        let store = shared.store.lock().unwrap();
        if lines.is_empty() {
            lines = encoded(format, store.events_since(resource, &selection, seen));
            revision = Some(store.revision());
        }
    }
}

fn encoded(format: Format, events: Vec<(&'static str, Arc<Object>)>) -> Vec<Vec<u8>> {
    events.into_iter().map(|(verb, object)| format.event(verb, &object)).collect()
}

fn expired(format: Format) -> Vec<u8> {
    format.event_of("ERROR", &answer::status(410, "Expired", "too old resource version"))
}

fn bookmark(format: Format, resource: Resource, revision: u64, initial_end: bool) -> Vec<u8> {
    let mut object = json!({
        "kind": resource.kind(), "apiVersion": resource.api_version(),
        "metadata": {"resourceVersion": revision.to_string()},
    });
    if initial_end {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    format.event_of("BOOKMARK", &object)
}
