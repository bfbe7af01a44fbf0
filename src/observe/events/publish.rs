//! From notes to objects of events.k8s.io/v1.
//!
//! The name of an Event is made of what it says. Where every node would say the same, the first to say it creates the Event and
//! the others are told that it exists: one Event for a cluster, and none again for a relist or a restart while it is kept.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use kube::Client;
use kube::core::Request;
use kube::core::params::{ListParams, PostParams};
use metrics::counter;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::Note;
use crate::metrics::REPORTED;
use crate::pacing::{TokenBucket, jitter};
use crate::state::{Kind, ObjectName};

/// Who reports: Events of kube-proxy say `kube-proxy`, and nothing is known to look for that.
const CONTROLLER: &str = "pointsman";
/// Most bytes of an Event's note (API validation: 1024).
const MAX_TEXT: usize = 1_000;
/// Attempts for one note while the server does not answer or is in trouble.
const TRIES: u32 = 3;
/// How long one attempt may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the next attempt: half of it at least, and half as much again at most.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// How fast Events may be written.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So many at once.
    pub burst: u32,
    /// One more in each of these.
    pub every: Duration,
    /// Notes that every node makes are held back for a random part of this, so that most nodes find the Event written.
    pub spread: Duration,
}

impl Default for Rate {
    fn default() -> Self {
        Self { burst: 10, every: Duration::from_secs(5), spread: Duration::from_secs(2) }
    }
}

/// The fields that are read of a list, to know the object's identity.
#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: Option<String>,
}

/// Writes notes to the API server as Events of this node, until nobody can hand in any more. Failures are counted, the first is
/// logged, and none has any other consequence.
pub async fn publish(client: Client, node: String, mut notes: mpsc::Receiver<Note>, rate: Rate) {
    let per_second = 1.0 / rate.every.as_secs_f64().max(0.001);
    let mut bucket = TokenBucket::new(rate.burst.into(), per_second, Instant::now());
    let mut warned = false;
    while let Some(note) = notes.recv().await {
        if note.on_every_node {
            sleep(jitter(rate.spread, 0.0..=1.0, rand::random())).await;
        }
        sleep(bucket.take(1.0, Instant::now())).await;
        let result = match create(&client, &node, &note).await {
            Ok(result) => result,
            Err(error) => {
                let about = &note.about;
                if std::mem::replace(&mut warned, true) {
                    tracing::debug!(%error, %about, reason = note.reason, "an Event was not written");
                } else {
                    tracing::warn!(
                        %error, %about, reason = note.reason,
                        "an Event was not written; further failures are counted, not logged. If it was refused, allow our \
                         service account to create events in events.k8s.io",
                    );
                }
                "failed"
            }
        };
        counter!(REPORTED, "reason" => note.reason, "result" => result).increment(1);
    }
}

/// Creates the Event, and tells what became of it.
async fn create(client: &Client, node: &str, note: &Note) -> Result<&'static str, kube::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match timeout(REQUEST_TIMEOUT, attempt(client, node, note)).await {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => error,
            Err(_) => kube::Error::Service("no answer in time".into()),
        };
        let refused = matches!(&error, kube::Error::Api(status) if status.code < 500 && status.code != 429);
        if refused || tries == TRIES {
            return Err(error);
        }
        sleep(jitter(RETRY_PAUSE, 0.5..=1.5, rand::random())).await;
    }
}

async fn attempt(client: &Client, node: &str, note: &Note) -> Result<&'static str, kube::Error> {
    let Some(path) = Path::of(note) else { return Ok("dropped") };
    let uid = match note.about.kind {
        // What the kubelet gives Events of nodes, and `kubectl describe node` looks for.
        Kind::Node => Some(note.about.name.name().to_string()),
        _ => uid(client, &path, &note.about.name).await?,
    };
    // Without it `kubectl describe` would not find the Event; and what has no identity any more needs no Event.
    let Some(uid) = uid else { return Ok("dropped") };
    let event = event(node, note, &path, &uid, Timestamp::now());
    let request = Request::new(format!("/apis/events.k8s.io/v1/namespaces/{}/events", path.events_in))
        .create(&PostParams::default(), event.to_string().into_bytes())
        .map_err(kube::Error::BuildRequest)?;
    match client.request::<IgnoredAny>(request).await {
        Ok(_) => Ok("created"),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok("known"),
        Err(error) => Err(error),
    }
}

/// The object's identity, by a list of one: proxies may list these kinds, but not get single objects.
async fn uid(client: &Client, path: &Path, name: &ObjectName) -> Result<Option<String>, kube::Error> {
    let one = ListParams::default().fields(&format!("metadata.name={}", name.name()));
    let request = Request::new(path.objects.clone()).list(&one).map_err(kube::Error::BuildRequest)?;
    let found = client.request::<Found>(request).await?;
    Ok(found.items.into_iter().next().and_then(|item| item.metadata.uid))
}

/// Where an object and its Events live.
struct Path {
    api_version: &'static str,
    objects: String,
    events_in: String,
}

impl Path {
    /// `None` for names that no API server admits, which must not get into a path.
    fn of(note: &Note) -> Option<Self> {
        let (namespace, name) = (note.about.name.namespace(), note.about.name.name());
        if !is_name(name) || !(namespace.is_empty() || is_name(namespace)) {
            return None;
        }
        let (api_version, prefix, plural) = match note.about.kind {
            Kind::Service => ("v1", "/api/v1", "services"),
            Kind::Node => ("v1", "/api/v1", "nodes"),
            Kind::EndpointSlice => ("discovery.k8s.io/v1", "/apis/discovery.k8s.io/v1", "endpointslices"),
            Kind::ServiceCidr => ("networking.k8s.io/v1", "/apis/networking.k8s.io/v1", "servicecidrs"),
        };
        let (objects, events_in) = if namespace.is_empty() {
            (format!("{prefix}/{plural}"), "default".to_owned())
        } else {
            (format!("{prefix}/namespaces/{namespace}/{plural}"), namespace.to_string())
        };
        Some(Self { api_version, objects, events_in })
    }
}

/// Whether this is a name as Kubernetes has them (RFC 1123).
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=253).contains(&text.len()) && text.chars().all(allowed) && !text.contains("..") && !text.starts_with('.')
}

/// The object to create.
fn event(node: &str, note: &Note, path: &Path, uid: &str, now: Timestamp) -> serde_json::Value {
    let text = cut(&note.text, MAX_TEXT);
    let (seen_by, when) = if note.on_every_node {
        (String::new(), String::new())
    } else {
        (node.to_owned(), now.as_nanosecond().to_string())
    };
    let identity = fnv1a(&[uid, note.reason, text, &seen_by, &when]);
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{identity:016x}", cut(note.about.name.name(), 200).trim_end_matches(['.', '-'])),
            "namespace": path.events_in,
        },
        "eventTime": DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&now),
        "reportingController": CONTROLLER,
        "reportingInstance": cut(node, 128),
        "type": note.severity.label(),
        "reason": note.reason,
        "action": note.action,
        "note": text,
        "regarding": {
            "apiVersion": path.api_version,
            "kind": note.about.kind.label(),
            "namespace": note.about.name.namespace(),
            "name": note.about.name.name(),
            "uid": uid,
        },
    })
}

/// The beginning of a text, of so many bytes at most.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// 64-bit FNV-1a: the same on every node.
fn fnv1a(parts: &[&str]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests;
