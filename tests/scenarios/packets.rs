//! Sends the packets of a row and compares what became of them with what was expected.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::rig::Rig;
use super::words::{Expected, ON_NODE, Place, Row, Seen, packet};
use crate::common::netns::{Answer, Failure, Family, Request, Transport};

/// How many connections are made at least: of two endpoints, one is missed less than once in 4,000 runs.
const MIN_CONNECTIONS: usize = 13;

/// How many connections are made at most: of three endpoints, one is missed less than once in 10^14 runs.
const MAX_CONNECTIONS: usize = 80;

/// How many connections must be refused, or answered by the node itself. TCP is refused by resets; by ICMP errors, which the
/// kernel limits, so many would not all be refused at once.
const REFUSED_CONNECTIONS: usize = 10;

/// The same for UDP, which only ICMP errors can refuse.
const REFUSED_UDP_CONNECTIONS: usize = 3;

/// How long to wait for an answer that must not come.
const SILENCE_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a refusal may take: less than the first retry, which comes after a second.
const MAX_REFUSAL_TIME: Duration = Duration::from_millis(900);

/// What became of the connections of a row.
#[derive(Debug, Default)]
struct Observed {
    servers: BTreeSet<SocketAddr>,
    kept: usize,
    masqueraded: usize,
    failures: BTreeMap<String, usize>,
    slowest_failure: Duration,
}

/// Sends the packets of a row.
///
/// # Errors
/// If the result differs from what was expected, with both.
pub fn check(rig: &Rig, row: &Row, family: Family) -> Result<(), String> {
    let seen = observe(rig, row, family);
    if seen.matches(row, family) {
        return Ok(());
    }
    Err(format!("{}\n    expected: {}\n    seen:     {}", packet(row, family), row.expected, seen.describe(family)))
}

fn observe(rig: &Rig, row: &Row, family: Family) -> Observed {
    let to = SocketAddr::new(row.to.addr(family), row.port);
    // Loopback addresses are reached from a loopback address.
    let from = if row.to == Place::Loopback { row.to.addr(family) } else { row.from.addr(family) };
    let mut request = Request::new(rig.namespace(row.from), row.transport, to).from(from);
    let silent = row.expected == Expected::Dropped || (row.expected == Expected::Untouched && !row.to.is_on_node());
    let (least, most) = match row.expected {
        Expected::Reach { .. } => (MIN_CONNECTIONS, MAX_CONNECTIONS),
        _ if silent => (1, 1),
        _ if row.transport == Transport::Udp => (REFUSED_UDP_CONNECTIONS, REFUSED_UDP_CONNECTIONS),
        Expected::Refused | Expected::Dropped | Expected::Untouched => (REFUSED_CONNECTIONS, REFUSED_CONNECTIONS),
    };
    if silent {
        request = request.timeout(SILENCE_TIMEOUT);
    }
    let wanted = row.servers(family);
    let mut observed = Observed::default();
    for drawn in 0..most {
        let start = Instant::now();
        let answer = request.send();
        observed.note(answer, from, start.elapsed());
        let failed = !observed.failures.is_empty() && matches!(row.expected, Expected::Reach { .. });
        if failed || (drawn + 1 >= least && observed.servers.is_superset(&wanted)) {
            break;
        }
    }
    observed
}

impl Row {
    /// The servers that shall answer.
    fn servers(&self, family: Family) -> BTreeSet<SocketAddr> {
        match self.expected {
            Expected::Reach { pods, port, .. } => {
                let addr = |pod: &u16| match *pod {
                    ON_NODE => Place::Primary.addr(family),
                    number => family.pod_ip(number),
                };
                pods.iter().map(|pod| SocketAddr::new(addr(pod), port)).collect()
            }
            Expected::Untouched if self.to.is_on_node() => [SocketAddr::new(self.to.addr(family), self.port)].into(),
            Expected::Refused | Expected::Dropped | Expected::Untouched => BTreeSet::new(),
        }
    }
}

impl Observed {
    fn note(&mut self, answer: Result<Answer, Failure>, from: IpAddr, took: Duration) {
        match answer {
            Ok(answer) => {
                self.servers.insert(answer.server);
                if answer.seen_from.ip() == from {
                    self.kept += 1;
                } else {
                    self.masqueraded += 1;
                }
            }
            Err(failure) => {
                *self.failures.entry(format!("{failure:?}")).or_insert(0) += 1;
                self.slowest_failure = self.slowest_failure.max(took);
            }
        }
    }

    fn matches(&self, row: &Row, family: Family) -> bool {
        let only = |failure: Failure| self.failures.keys().eq([&format!("{failure:?}")]);
        match row.expected {
            Expected::Reach { seen, .. } => {
                let others = if seen == Seen::Client { self.masqueraded } else { self.kept };
                self.servers == row.servers(family) && others == 0 && self.failures.is_empty()
            }
            Expected::Refused => {
                self.servers.is_empty() && only(Failure::Refused) && self.slowest_failure < MAX_REFUSAL_TIME
            }
            Expected::Dropped => self.servers.is_empty() && only(Failure::TimedOut),
            Expected::Untouched if row.to.is_on_node() => {
                self.servers == row.servers(family) && self.masqueraded == 0 && self.failures.is_empty()
            }
            Expected::Untouched => self.servers.is_empty() && only(Failure::TimedOut),
        }
    }

    fn describe(&self, family: Family) -> String {
        let mut parts = Vec::new();
        if !self.servers.is_empty() {
            let servers: Vec<String> = self.servers.iter().map(|server| name(*server, family)).collect();
            parts.push(format!(
                "{} ({} with the client's address kept, {} masqueraded)",
                servers.join(", "),
                self.kept,
                self.masqueraded
            ));
        }
        for (failure, times) in &self.failures {
            parts.push(format!("{failure} {times} times, after at most {:?}", self.slowest_failure));
        }
        parts.join("; ")
    }
}

/// A server, for messages.
fn name(server: SocketAddr, family: Family) -> String {
    let pods = super::rig::PODS.chain([super::words::SELF]);
    match pods.into_iter().find(|pod| family.pod_ip(*pod) == server.ip()) {
        Some(pod) => format!("pod {pod} port {}", server.port()),
        None => server.to_string(),
    }
}
