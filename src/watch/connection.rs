//! The state of the watches on the API server. Without them the proxy keeps what it knows, which is right for a while and wrong
//! later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use metrics::gauge;

use crate::clock;
use crate::metrics::{CONNECTED, LAST_HEARD, MISSING_INPUT};
use crate::pacing::Moment;
use crate::state::Kind;

/// How many characters of a reason are kept: an answer of a server, or of something before it, can be long.
const MAX_REASON: usize = 500;

/// The state of the watches, and what sources do not find. Written by them, read by the health pages; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    watches: Arc<Mutex<BTreeMap<Kind, WatchState>>>,
    failures: Arc<Mutex<BTreeMap<Kind, String>>>,
    missing: Arc<Mutex<BTreeMap<MissingInput, String>>>,
}

/// Input that the proxy needs beside lists of objects, and may lack. The label `input` of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingInput {
    /// The Node object of this node.
    Node,
    /// The addresses of this host.
    HostAddresses,
    /// A manifest, or a part of one.
    Manifests,
}

/// One kind's watch.
#[derive(Clone, Copy, Debug)]
struct WatchState {
    connected: bool,
    /// Since when `connected` has its value.
    since: (Timestamp, Moment),
    /// When anything was last received.
    heard: Option<(Timestamp, Moment)>,
}

/// The state of all watches at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Every kind's watch is open, as far as the client can tell.
    pub connected: bool,
    /// Since when `connected` has its value.
    pub since: Timestamp,
    /// The same on the monotonic clock.
    pub since_moment: Moment,
    /// When anything was last received in any watch; servers send a bookmark every minute or so.
    pub last_heard: Option<Timestamp>,
}

impl MissingInput {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::HostAddresses => "host-addresses",
            Self::Manifests => "manifests",
        }
    }
}

impl Connection {
    /// Something is missing, as this sentence says. Whether that is news.
    pub fn lacks(&self, input: MissingInput, text: impl Into<String>) -> bool {
        gauge!(MISSING_INPUT, "input" => input.label()).set(1.0);
        locked(&self.missing).insert(input, text.into()).is_none()
    }

    /// Something is there. Whether it was missing before.
    pub fn found(&self, input: MissingInput) -> bool {
        gauge!(MISSING_INPUT, "input" => input.label()).set(0.0);
        locked(&self.missing).remove(&input).is_some()
    }

    /// Whether something is missing.
    pub fn is_missing(&self, input: MissingInput) -> bool {
        locked(&self.missing).contains_key(&input)
    }

    /// What is missing of an input, as a sentence.
    pub fn what(&self, input: MissingInput) -> Option<String> {
        locked(&self.missing).get(&input).cloned()
    }

    /// What is missing, a sentence each.
    pub fn missing(&self) -> Vec<String> {
        locked(&self.missing).values().cloned().collect()
    }

    /// A kind will be watched: it counts as lost until its watch is opened.
    pub fn expected(&self, kind: Kind) {
        let watch = WatchState { connected: false, since: both_clocks(), heard: None };
        self.lock().insert(kind, watch);
        show(kind, watch.connected);
    }

    /// Listing or watching a kind fails, for this reason. It is known until the watch is opened.
    pub fn failing(&self, kind: Kind, reason: &str) {
        locked(&self.failures).insert(kind, reason.chars().take(MAX_REASON).collect());
    }

    /// Why a watch is not open, and of which kind it is; `None` while no request failed since.
    pub fn failure(&self) -> Option<(Kind, String)> {
        locked(&self.failures).iter().next().map(|(kind, reason)| (*kind, reason.clone()))
    }

    /// The server opened a watch.
    pub fn opened(&self, kind: Kind) {
        locked(&self.failures).remove(&kind);
        self.set(kind, true);
        self.heard(kind);
    }

    /// A request of the kind failed, or its watch broke off.
    pub fn lost(&self, kind: Kind) {
        self.set(kind, false);
    }

    /// Something was received in a watch.
    pub fn heard(&self, kind: Kind) {
        let now @ (time, _) = both_clocks();
        if let Some(watch) = self.lock().get_mut(&kind) {
            watch.heard = Some(now);
        }
        gauge!(LAST_HEARD, "kind" => kind.label()).set(time.as_duration().as_secs_f64());
    }

    /// The server does not have this kind, so a watch on it is not needed.
    pub fn absent(&self, kind: Kind) {
        locked(&self.failures).remove(&kind);
        self.lock().remove(&kind);
        show(kind, true);
    }

    /// The state now; `None` when no API server is watched.
    pub fn report(&self) -> Option<ConnectionReport> {
        let watches = self.lock();
        let connected = watches.values().all(|watch| watch.connected);
        let since = watches.values().filter(|watch| watch.connected == connected).map(|watch| watch.since);
        // Connected since the last watch was opened, disconnected since the first one was lost.
        let since = if connected { since.max() } else { since.min() };
        let last_heard = watches.values().filter_map(|watch| watch.heard).max().map(|(time, _)| time);
        since.map(|(since, since_moment)| ConnectionReport { connected, since, since_moment, last_heard })
    }

    /// The watch that was silent for longest, and when something was last received in it.
    pub fn longest_silent(&self) -> Option<(Kind, Moment)> {
        let watches = self.lock();
        let heard = watches.iter().filter_map(|(kind, watch)| Some((*kind, watch.heard?.1)));
        heard.min_by_key(|(_, heard)| *heard)
    }

    fn set(&self, kind: Kind, connected: bool) {
        let mut watches = self.lock();
        let watch = watches.entry(kind).or_insert(WatchState { connected, since: both_clocks(), heard: None });
        if watch.connected != connected {
            (watch.connected, watch.since) = (connected, both_clocks());
        }
        drop(watches);
        show(kind, connected);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, WatchState>> {
        locked(&self.watches)
    }
}

/// Now, for people and to compute with.
fn both_clocks() -> (Timestamp, Moment) {
    (Timestamp::now(), clock::now())
}

/// No panic leaves these half-changed, so a poisoned lock is usable.
fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that a source has no Node of our name: once, with the names of a few that it has.
pub fn warn_missing_node<'a>(
    connection: &Connection,
    name: &str,
    source: &str,
    others: impl IntoIterator<Item = &'a String>,
) {
    let others: Vec<&str> = others.into_iter().map(String::as_str).collect();
    let others = match others.as_slice() {
        [] => String::new(),
        some => format!(", but there are {}", some.join(", ")),
    };
    let text = format!("there is no Node {name} in {source}{others}");
    if connection.lacks(MissingInput::Node, text.as_str()) {
        tracing::warn!(
            "{text}; no endpoint counts as local, and no new address accepts NodePorts. Check --hostname-override and the name of this \
             host"
        );
    }
}

/// Says that the Node of our name is there, if it was missing.
pub fn found_node(connection: &Connection, name: &str) {
    if connection.found(MissingInput::Node) {
        tracing::info!("the Node {name} is there now");
    }
}

fn show(kind: Kind, connected: bool) {
    gauge!(CONNECTED, "kind" => kind.label()).set(if connected { 1.0 } else { 0.0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(connection: &Connection) -> Option<bool> {
        connection.report().map(|report| report.connected)
    }

    #[test]
    fn it_is_connected_when_every_watch_is_open() {
        let connection = Connection::default();
        assert_eq!(connected(&connection), None, "nothing is watched");
        connection.expected(Kind::Service);
        connection.expected(Kind::Node);
        connection.opened(Kind::Service);
        assert_eq!(connected(&connection), Some(false));
        connection.opened(Kind::Node);
        assert_eq!(connected(&connection), Some(true));
        connection.lost(Kind::Service);
        assert_eq!(connected(&connection), Some(false));
    }

    #[test]
    fn a_kind_that_the_server_lacks_is_not_missed() {
        let connection = Connection::default();
        connection.expected(Kind::Service);
        connection.expected(Kind::ServiceCidr);
        connection.opened(Kind::Service);
        connection.lost(Kind::ServiceCidr);
        connection.absent(Kind::ServiceCidr);
        assert_eq!(connected(&connection), Some(true));
    }

    #[test]
    fn what_is_missing_is_news_once_and_named_until_it_is_found() {
        let connection = Connection::default();
        assert!(!connection.found(MissingInput::Node));
        let news = [(); 2].map(|()| connection.lacks(MissingInput::Node, "there is no Node x"));
        assert_eq!(news, [true, false]);
        assert_eq!(connection.clone().missing(), ["there is no Node x"]);
        assert!(connection.found(MissingInput::Node));
        assert!(connection.missing().is_empty());
    }

    #[test]
    fn the_reason_of_a_failure_is_known_until_the_watch_is_opened() {
        let connection = Connection::default();
        connection.failing(Kind::Node, "403");
        connection.failing(Kind::Service, &"ü".repeat(10_000));
        assert_eq!(connection.failure().unwrap(), (Kind::Service, "ü".repeat(MAX_REASON)));
        connection.opened(Kind::Service);
        assert_eq!(connection.failure().unwrap(), (Kind::Node, "403".to_owned()));
        connection.absent(Kind::Node);
        assert_eq!(connection.failure(), None);
    }

    #[test]
    fn a_loss_dates_from_the_first_failure() {
        let connection = Connection::default();
        connection.opened(Kind::Service);
        connection.lost(Kind::Service);
        let lost = connection.report().unwrap();
        connection.lost(Kind::Service);
        assert_eq!(connection.report(), Some(lost));
        assert!(lost.last_heard.is_some_and(|heard| heard <= lost.since));
    }
}
