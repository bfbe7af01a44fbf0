//! From notes to objects of events.k8s.io/v1.
//!
//! The name of an Event is a hash of its content. Where every node would say the same, the first node creates the Event and the
//! server tells the others that it exists: one Event for a cluster, and none again for a relist or a restart while it is kept. Only a few
//! nodes ask at all: [`writers`](super::writers).

use std::hash::Hasher;
use std::time::Duration;

use fnv::FnvHasher;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use kube::core::params::{ListParams, PostParams};
use kube::core::{DynamicObject, Request};
use kube::{Client, Resource};
use metrics::counter;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::EventNote;
use super::writers::Writers;
use crate::clock;
use crate::metrics::REPORTED;
use crate::pacing::{TokenBucket, jitter};
use crate::state::{Kind, ObjectName, ObjectRef};
use crate::watch::api_resource;

/// The name of the reporter. kube-proxy's Events say `kube-proxy`; no program is known to look for that.
const CONTROLLER: &str = "pointsman";
/// Most bytes of an Event's note (API validation: 1024).
const MAX_TEXT: usize = 1_000;
/// Attempts for one note while the server does not answer or is in trouble.
const MAX_ATTEMPTS: u32 = 3;
/// How long one attempt may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the next attempt: half of it at least, and half as much again at most.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// How fast Events may be written.
#[derive(Clone, Copy, Debug)]
pub struct EventRate {
    /// So many at once.
    pub burst: u32,
    /// One more in each of these.
    pub every: Duration,
    /// The writers of what every node notes take turns within this time, so that most of them find the Event already written.
    pub spread: Duration,
}

impl Default for EventRate {
    fn default() -> Self {
        Self { burst: 10, every: Duration::from_secs(5), spread: Duration::from_secs(10) }
    }
}

/// The fields that are read of a list, to learn an object's uid.
#[derive(Deserialize)]
struct UidList {
    #[serde(default)]
    items: Vec<UidItem>,
}

#[derive(Deserialize)]
struct UidItem {
    metadata: UidMetadata,
}

#[derive(Deserialize)]
struct UidMetadata {
    uid: Option<String>,
}

/// Writes notes to the API server as Events of this node, until all senders of notes are gone. Failures are counted, the first is
/// logged, and none has any other consequence.
pub async fn publish(client: Client, node: String, mut notes: mpsc::Receiver<EventNote>, rate: EventRate) {
    let per_second = 1.0 / rate.every.as_secs_f64().max(0.001);
    let mut bucket = TokenBucket::new(rate.burst.into(), per_second, clock::now());
    let (mut warned, mut writers) = (false, Writers::new(node.clone()));
    while let Some(note) = notes.recv().await {
        if note.on_every_node && !writers.turn(&client, note.about.name.namespace(), rate.spread).await {
            counter!(REPORTED, "reason" => note.reason, "result" => "elsewhere").increment(1);
            continue;
        }
        sleep(bucket.take(1.0, clock::now())).await;
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

/// Creates the Event, with further attempts. Returns the result for the metric.
async fn create(client: &Client, node: &str, note: &EventNote) -> Result<&'static str, kube::Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match timeout(REQUEST_TIMEOUT, attempt(client, node, note)).await {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => error,
            Err(_) => kube::Error::Service("no answer in time".into()),
        };
        let refused = matches!(&error, kube::Error::Api(status) if status.code < 500 && status.code != 429);
        if refused || attempts == MAX_ATTEMPTS {
            return Err(error);
        }
        sleep(jitter(RETRY_PAUSE, 0.5..=1.5, rand::random())).await;
    }
}

async fn attempt(client: &Client, node: &str, note: &EventNote) -> Result<&'static str, kube::Error> {
    let Some(place) = ObjectPlace::new(&note.about) else { return Ok("dropped") };
    let uid = match note.about.kind {
        // What the kubelet gives Events of nodes, and `kubectl describe node` looks for.
        Kind::Node => Some(note.about.name.name().to_string()),
        _ => uid(client, &place, &note.about.name).await?,
    };
    // Without a uid `kubectl describe` would not find the Event, and an object that is gone needs none.
    let Some(uid) = uid else { return Ok("dropped") };
    let event = event(node, note, &place, &uid, Timestamp::now());
    let request = Request::new(format!("/apis/events.k8s.io/v1/namespaces/{}/events", place.events_namespace))
        .create(&PostParams::default(), event.to_string().into_bytes())
        .map_err(kube::Error::BuildRequest)?;
    match client.request::<IgnoredAny>(request).await {
        Ok(_) => Ok("created"),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok("known"),
        Err(error) => Err(error),
    }
}

/// The object's uid, by a list of one: proxies may list these kinds, but not get single objects.
async fn uid(client: &Client, place: &ObjectPlace, name: &ObjectName) -> Result<Option<String>, kube::Error> {
    let one = ListParams::default().fields(&format!("metadata.name={}", name.name()));
    let request = Request::new(place.objects.clone()).list(&one).map_err(kube::Error::BuildRequest)?;
    let found = client.request::<UidList>(request).await?;
    Ok(found.items.into_iter().next().and_then(|item| item.metadata.uid))
}

/// Where an object and its Events are found in the API.
struct ObjectPlace {
    api_version: String,
    /// The path of a list of such objects.
    objects: String,
    /// The namespace of its Events.
    events_namespace: String,
}

impl ObjectPlace {
    /// `None` for names that no API server admits, which must not get into a path.
    fn new(object: &ObjectRef) -> Option<Self> {
        let (namespace, name) = (object.name.namespace(), object.name.name());
        let namespace = (!namespace.is_empty()).then_some(namespace);
        if !is_name(name) || !namespace.is_none_or(is_name) {
            return None;
        }
        let resource = api_resource(object.kind);
        Some(Self {
            objects: DynamicObject::url_path(&resource, namespace),
            api_version: resource.api_version,
            events_namespace: namespace.unwrap_or("default").to_owned(),
        })
    }
}

/// Whether this is a name of Kubernetes (RFC 1123).
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=253).contains(&text.len()) && text.chars().all(allowed) && !text.contains("..") && !text.starts_with('.')
}

/// The object to create.
fn event(node: &str, note: &EventNote, place: &ObjectPlace, uid: &str, now: Timestamp) -> serde_json::Value {
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
            "namespace": place.events_namespace,
        },
        "eventTime": DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&now),
        "reportingController": CONTROLLER,
        "reportingInstance": cut(node, 128),
        "type": note.event_type.label(),
        "reason": note.reason,
        "action": note.action,
        "note": text,
        "regarding": {
            "apiVersion": place.api_version,
            "kind": note.about.kind.label(),
            "namespace": note.about.name.namespace(),
            "name": note.about.name.name(),
            "uid": uid,
        },
    })
}

/// The beginning of a text, of so many bytes at most.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// A hash that is the same on every node.
pub(super) fn fnv1a(parts: &[&str]) -> u64 {
    let mut hasher = FnvHasher::default();
    for part in parts {
        hasher.write(part.as_bytes());
        hasher.write_u8(0);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
