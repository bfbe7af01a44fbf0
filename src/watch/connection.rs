//! Is the API server heard? Without it the proxy keeps what it knows, which is right for a while and wrong later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use metrics::gauge;

use crate::metrics::{CONNECTED, LAST_HEARD};
use crate::state::Kind;

/// The state of the watches. Written by them, read by the health pages; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    links: Arc<Mutex<BTreeMap<Kind, Link>>>,
}

/// One kind's watch.
#[derive(Clone, Copy, Debug)]
struct Link {
    connected: bool,
    /// Since when that is so.
    since: Timestamp,
    heard: Option<Timestamp>,
}

/// What is known of the API server at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Every kind's watch is open, as far as anybody can tell.
    pub connected: bool,
    /// Since when that is so.
    pub since: Timestamp,
    /// When anything was last received in any watch; servers send a bookmark every minute or so.
    pub last_heard: Option<Timestamp>,
}

impl Connection {
    /// A kind is going to be watched: it counts as lost from now on until its watch is opened.
    pub fn expected(&self, kind: Kind) {
        let link = Link { connected: false, since: Timestamp::now(), heard: None };
        self.lock().insert(kind, link);
        show(kind, link.connected);
    }

    /// The server opened a watch.
    pub fn opened(&self, kind: Kind) {
        self.set(kind, true);
        self.heard(kind);
    }

    /// A request of the kind failed, or its watch broke off.
    pub fn lost(&self, kind: Kind) {
        self.set(kind, false);
    }

    /// Something was received in a watch.
    pub fn heard(&self, kind: Kind) {
        let now = Timestamp::now();
        if let Some(link) = self.lock().get_mut(&kind) {
            link.heard = Some(now);
        }
        gauge!(LAST_HEARD, "kind" => kind.label()).set(now.as_duration().as_secs_f64());
    }

    /// The server does not have this kind: nothing is missing without it.
    pub fn absent(&self, kind: Kind) {
        self.lock().remove(&kind);
        show(kind, true);
    }

    /// What is known now; `None` when no API server is watched.
    pub fn report(&self) -> Option<ConnectionReport> {
        let links = self.lock();
        let connected = links.values().all(|link| link.connected);
        let since = links.values().filter(|link| link.connected == connected).map(|link| link.since);
        // Complete since the last one came, incomplete since the first one went.
        let since = if connected { since.max() } else { since.min() };
        let last_heard = links.values().filter_map(|link| link.heard).max();
        since.map(|since| ConnectionReport { connected, since, last_heard })
    }

    fn set(&self, kind: Kind, connected: bool) {
        let mut links = self.lock();
        let link = links.entry(kind).or_insert(Link { connected, since: Timestamp::now(), heard: None });
        if link.connected != connected {
            (link.connected, link.since) = (connected, Timestamp::now());
        }
        drop(links);
        show(kind, connected);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
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
