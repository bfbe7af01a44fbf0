//! A running Kubernetes source, and the objects that its events add up to.

use std::collections::BTreeMap;
use std::time::Duration;

use pointsman::state::{Decoded, Event, Kind};
use pointsman::watch::host::FollowForNode;
use pointsman::watch::{ApiClient, KubernetesOptions, Received, watch_api_server};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::apiserver::ApiServer;

/// How long one step may take in these tests.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A running source, and the objects that its events add up to.
pub struct Watching {
    pub events: mpsc::Receiver<Received>,
    pub task: JoinHandle<()>,
    pub seen: BTreeMap<(Kind, String), String>,
    pub log: Vec<Event>,
}

impl Watching {
    /// Starts a source against the server.
    pub fn with(server: &ApiServer, options: KubernetesOptions) -> Self {
        let (sender, events) = mpsc::channel(64);
        let api = ApiClient::new(server.config(), &options).unwrap();
        let task = tokio::spawn(watch_api_server(api, options, FollowForNode::never(), sender));
        Self { events, task, seen: BTreeMap::new(), log: Vec::new() }
    }

    /// Receives events until the condition holds.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition(self) {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(received)) => self.note(received.event),
                Ok(None) => panic!("the source ended before: {what}"),
                Err(_) => panic!("timed out before: {what}; seen {:?}", self.seen),
            }
        }
    }

    /// Receives events for a while.
    pub async fn for_a_while(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Ok(Some(received)) = timeout_at(deadline, self.events.recv()).await {
            self.note(received.event);
        }
    }

    /// Receives events until every kind was listed.
    pub async fn synced(&mut self) {
        self.until("every kind was listed", |seen| Kind::ALL.iter().all(|kind| seen.resets(*kind) > 0)).await;
    }

    fn note(&mut self, event: Event) {
        self.log.push(event.clone());
        let kind = event.kind();
        match event {
            Event::ServicesReset(all) => self.reset(kind, all, |object| object.name.to_string()),
            Event::SlicesReset(all) => self.reset(kind, all, |object| object.name.to_string()),
            Event::ServiceCidrsReset(all) => self.reset(kind, all, |object| object.name.to_string()),
            Event::NodesReset(all) => self.reset(kind, all, |object| object.name.to_string()),
            Event::ServiceApplied(object) => self.apply(kind, object, |object| object.name.to_string()),
            Event::SliceApplied(object) => self.apply(kind, object, |object| object.name.to_string()),
            Event::ServiceCidrApplied(object) => self.apply(kind, object, |object| object.name.to_string()),
            Event::NodeApplied(object) => self.apply(kind, object, |object| object.name.to_string()),
            Event::ServiceDeleted(name)
            | Event::SliceDeleted(name)
            | Event::ServiceCidrDeleted(name)
            | Event::NodeDeleted(name) => {
                self.seen.remove(&(kind, name.to_string()));
            }
            // Not from an API server.
            Event::HostAddresses(_) => {}
        }
    }

    fn reset<T: std::fmt::Debug>(&mut self, kind: Kind, all: Vec<Decoded<T>>, name: fn(&T) -> String) {
        self.seen.retain(|(other, _), _| *other != kind);
        for object in all {
            self.apply(kind, object, name);
        }
    }

    fn apply<T: std::fmt::Debug>(&mut self, kind: Kind, object: Decoded<T>, name: fn(&T) -> String) {
        match object {
            Decoded::Object(object) => self.seen.insert((kind, name(&object)), format!("{object:?}")),
            Decoded::Unreadable(unreadable) => {
                let (name, problem) = (unreadable.0, unreadable.1);
                self.seen.insert((kind, name.to_string()), format!("unreadable {}", problem.found))
            }
        };
    }

    /// How many lists of the kind were sent.
    pub fn resets(&self, kind: Kind) -> usize {
        self.log.iter().filter(|event| event.kind() == kind && event.change() == "reset").count()
    }

    /// The names of the kind's objects.
    pub fn names(&self, kind: Kind) -> Vec<&str> {
        self.seen.keys().filter(|(other, _)| *other == kind).map(|(_, name)| name.as_str()).collect()
    }

    /// Whether there is such an object and its content mentions the text.
    pub fn has(&self, kind: Kind, name: &str, content: &str) -> bool {
        self.seen.get(&(kind, name.to_owned())).is_some_and(|text| text.contains(content))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}
