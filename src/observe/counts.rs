//! The connections of Services, as packets count them in the kernel: read on demand, never for a change.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::apply::Netlink;
use crate::clock;
use crate::dataplane::{Counted, Family};
use crate::metrics::{CONNECTION_SETS_FULL, SERVICE_CONNECTIONS, header};
use crate::pacing::Moment;
use crate::state::{Snapshot, TrafficPolicy};
use tally::{ConnectionTally, FrontendTotals, add};

mod tally;

pub use tally::ConnectionTotals;

/// The counts are read at most once in this time.
const MIN_READ_PAUSE: Duration = Duration::from_millis(200);
/// After a reading that took long, so many times as long passes before the next: at most a twentieth of one core is spent.
const READ_PAUSE_FACTOR: u32 = 19;

/// Reads what packets counted.
#[derive(Debug)]
pub struct ConnectionCounts {
    /// `None` if nothing counts, or where netlink cannot be opened.
    netlink: Option<Netlink>,
    families: Vec<Family>,
    tally: ConnectionTally,
    /// When the last reading ended, and how long it took; `None` if it failed.
    last: Option<(Moment, Duration)>,
    full: usize,
}

/// One service port, over both families.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePortConnections {
    /// The service port.
    pub service_port: String,
    /// Its connections, in the order of [`Counted::ALL`].
    pub connections: ConnectionTotals,
    /// How many endpoints new connections may go to from here.
    pub used: usize,
    /// How many endpoints there are, ready or not.
    pub endpoints: usize,
}

impl ConnectionCounts {
    /// Reads from the tables of these families, if packets count there.
    pub fn new(families: &[Family], is_on: bool) -> Self {
        Self {
            netlink: if is_on { Netlink::open().ok() } else { None },
            families: families.to_vec(),
            tally: ConnectionTally::default(),
            last: None,
            full: 0,
        }
    }

    /// When the counts were last read; `None` if they cannot be.
    pub fn read_at(&self) -> Option<Moment> {
        self.last.map(|(at, _)| at)
    }

    /// How many sets have no room for a further frontend.
    pub fn full_sets(&self) -> usize {
        self.full
    }

    /// Reads the counts, unless they were read just now. Removes those of frontends that no Service has any more. Blocks.
    pub fn refresh(&mut self, snapshot: &Snapshot) {
        let Some(netlink) = &mut self.netlink else { return };
        let began = clock::now();
        if self.last.is_some_and(|(at, took)| began.since(at) < pause_after(took)) {
            return;
        }
        let mut counts = FrontendTotals::new();
        for family in &self.families {
            match netlink.read_counts(*family) {
                Ok(read) => counts.extend(read),
                Err(error) => {
                    tracing::warn!(%error, "the counted connections are not known");
                    self.last = None;
                    return;
                }
            }
        }
        self.full = full_sets(&counts);
        let gone = self.tally.take(&counts, snapshot);
        match netlink.remove_counts(&gone) {
            Ok(()) => self.tally.removed(&gone),
            Err(error) => tracing::debug!(%error, "counts of frontends that are gone stay until the next reading"),
        }
        let ended = clock::now();
        self.last = Some((ended, ended.since(began)));
    }

    /// The metrics as text for Prometheus; empty if nothing counts.
    pub fn render(&self) -> String {
        if self.last.is_none() {
            return String::new();
        }
        let mut page = header(SERVICE_CONNECTIONS);
        let mut line = |family: Family, port: &str, connections: &ConnectionTotals| {
            for (counted, count) in Counted::ALL.iter().zip(connections) {
                let (family, result) = (family.label(), counted.name());
                // The text of an owner has no character that would have to be escaped. A write to a string cannot fail.
                let _ = writeln!(
                    page,
                    "{SERVICE_CONNECTIONS}{{ip_family=\"{family}\",service_port=\"{port}\",result=\"{result}\"}} {count}"
                );
            }
        };
        for (family, owner, port) in self.tally.ports().filter(|(.., port)| port.has_series) {
            line(family, owner, &port.connections);
        }
        for family in &self.families {
            if let Some(others) = self.tally.others(*family) {
                line(*family, "other", others);
            }
        }
        let _ = writeln!(page, "{}{CONNECTION_SETS_FULL} {}", header(CONNECTION_SETS_FULL), self.full);
        page
    }

    /// Every service port that had a connection, by name, with its endpoints as of this snapshot.
    pub fn ports(&self, snapshot: &Snapshot) -> Vec<ServicePortConnections> {
        let mut all: BTreeMap<Arc<str>, ServicePortConnections> = BTreeMap::new();
        for (_, owner, port) in self.tally.ports() {
            let sum = all.entry(Arc::clone(owner)).or_default();
            add(&mut sum.connections, &port.connections);
        }
        let mut judged: BTreeMap<(Family, Arc<str>), usize> = BTreeMap::new();
        for frontend in self.tally.frontends() {
            let Some(claims) = snapshot.desired().frontends.get(&frontend) else { continue };
            let claim = claims.winner();
            let Some(port) = all.get_mut(&claim.owner) else { continue };
            let known = judged
                .entry((frontend.family(), Arc::clone(&claim.owner)))
                .or_insert_with(|| snapshot.cluster().judge_endpoints(frontend, claim, TrafficPolicy::Cluster).len());
            let used = TrafficPolicy::ALL.map(|policy| claim.endpoints(policy).len()).into_iter().max();
            port.endpoints = port.endpoints.max(*known);
            port.used = port.used.max(used.unwrap_or_default());
        }
        let named =
            all.into_iter().map(|(owner, port)| ServicePortConnections { service_port: owner.to_string(), ..port });
        named.collect()
    }
}

/// How long nothing is read after a reading that took so long.
fn pause_after(took: Duration) -> Duration {
    MIN_READ_PAUSE.max(took * READ_PAUSE_FACTOR)
}

/// How many sets hold as many frontends as they may.
fn full_sets(counts: &FrontendTotals) -> usize {
    let mut sets: BTreeMap<_, usize> = BTreeMap::new();
    for (frontend, counted) in counts.keys() {
        *sets.entry((frontend.family(), *counted, frontend.is_node_port())).or_default() += 1;
    }
    sets.values().filter(|frontends| **frontends >= Counted::MAX_FRONTENDS).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{Frontend, Protocol};

    #[test]
    fn reading_takes_at_most_a_twentieth_of_the_time() {
        for milliseconds in [0, 1, 10, 11, 500, 60_000] {
            let took = Duration::from_millis(milliseconds);
            assert!(took * 20 <= pause_after(took) + took, "{took:?}");
        }
    }

    #[test]
    fn a_set_is_full_when_it_holds_as_many_frontends_as_the_kernel_takes() {
        let frontend = |n: usize| {
            let addr = std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap());
            Frontend { addr: addr.into(), protocol: Protocol::Tcp, port: 80 }
        };
        let counts = |frontends| (1..=frontends).map(|n| ((frontend(n), Counted::New), 1)).collect::<FrontendTotals>();
        assert_eq!(full_sets(&counts(Counted::MAX_FRONTENDS - 1)), 0);
        assert_eq!(full_sets(&counts(Counted::MAX_FRONTENDS)), 1);
    }

    #[test]
    fn where_nothing_counts_there_are_no_metrics() {
        let mut counts = ConnectionCounts::new(&Family::ALL, false);
        counts.refresh(&Snapshot::default());
        assert_eq!((counts.read_at(), counts.render()), (None, String::new()));
    }
}
