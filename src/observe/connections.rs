//! The open connections of a port: how many there may be, and which one is closed for a new one.
//!
//! A new connection is always served. Beyond a bound, the connection that was used least recently is closed for it: of the same client, or,
//! if all clients together have too many, of the client that has the most. So a client that opens connections and leaves them closes its
//! own, and the probe that comes last is answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::CONNECTIONS_CLOSED;

/// How long a client may take to send the head of its first request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may go on after the beginning of its last request: to finish that, to take the answer, and to wait for the next.
/// Scrapers ask at least once a minute, over a connection that they keep.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// The most connections that may be about to close while further ones are served.
const MAX_CLOSING: usize = 16;

/// How many connections there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionLimits {
    /// Of all clients.
    pub total: usize,
    /// Of one client: an IPv4 address, or an IPv6 network of 64 bits, which is what one client may have all addresses of.
    pub per_client: usize,
}

/// The open connections of a port, or of several that share the limits.
#[derive(Debug)]
pub(super) struct Connections {
    /// Whose, for the metric.
    port: &'static str,
    limits: ConnectionLimits,
    /// One for each descriptor in use, so that accepting cannot outrun closing.
    descriptors: Arc<Semaphore>,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    /// By client, and by the number of the last use: the first of a client was used least recently.
    clients: BTreeMap<IpAddr, BTreeMap<u64, CancellationToken>>,
    total: usize,
    uses: u64,
}

/// One open connection. Dropped, it is forgotten.
#[derive(Debug)]
pub(super) struct OpenConnection {
    connections: Arc<Connections>,
    client: IpAddr,
    last: Mutex<LastUse>,
    evicted: CancellationToken,
    _descriptor: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, Debug)]
struct LastUse {
    number: u64,
    deadline: Instant,
}

impl Connections {
    /// No connections yet.
    pub fn new(port: &'static str, limits: ConnectionLimits) -> Self {
        let limits = ConnectionLimits { total: limits.total.max(1), per_client: limits.per_client.max(1) };
        let closing = (limits.total / 8).clamp(1, MAX_CLOSING);
        let descriptors = Arc::new(Semaphore::new(limits.total + closing));
        Self { port, limits, descriptors, open: Mutex::default() }
    }

    /// How many descriptors further connections can take.
    #[cfg(test)]
    pub fn free_descriptors(&self) -> usize {
        self.descriptors.available_permits()
    }

    /// Admits a connection from this address, and evicts another one if there are too many. Waits for evicted ones to be closed.
    pub async fn admit(self: &Arc<Self>, from: IpAddr) -> OpenConnection {
        let (client, evicted) = (client(from), CancellationToken::new());
        let number = {
            let mut open = self.lock();
            if open.clients.get(&client).is_some_and(|own| own.len() >= self.limits.per_client) {
                self.evict(&mut open, client);
            } else if open.total >= self.limits.total
                && let Some(largest) = open.largest()
            {
                self.evict(&mut open, largest);
            }
            open.add(client, evicted.clone())
        };
        // Fails only if the semaphore were closed.
        let descriptor = Arc::clone(&self.descriptors).acquire_owned().await.ok();
        let last = Mutex::new(LastUse { number, deadline: Instant::now() + HEADER_TIMEOUT });
        OpenConnection { connections: Arc::clone(self), client, last, evicted, _descriptor: descriptor }
    }

    fn evict(&self, open: &mut OpenConnections, client: IpAddr) {
        let oldest = open.clients.get(&client).and_then(|own| own.keys().next().copied());
        if let Some(evicted) = oldest.and_then(|number| open.remove(client, number)) {
            evicted.cancel();
            counter!(CONNECTIONS_CLOSED, "port" => self.port, "reason" => "too_many").increment(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    /// Adds a connection as the one that was used last. Returns the number of that use.
    fn add(&mut self, client: IpAddr, evicted: CancellationToken) -> u64 {
        self.uses += 1;
        self.total += 1;
        self.clients.entry(client).or_default().insert(self.uses, evicted);
        self.uses
    }

    fn remove(&mut self, client: IpAddr, number: u64) -> Option<CancellationToken> {
        let own = self.clients.get_mut(&client)?;
        let removed = own.remove(&number)?;
        if own.is_empty() {
            self.clients.remove(&client);
        }
        self.total -= 1;
        Some(removed)
    }

    /// The client with the most connections; of several, the one whose connection was used least recently.
    fn largest(&self) -> Option<IpAddr> {
        let rank = |own: &BTreeMap<u64, CancellationToken>| {
            (own.len(), std::cmp::Reverse(own.keys().next().copied().unwrap_or_default()))
        };
        self.clients.iter().max_by_key(|(_, own)| rank(own)).map(|(client, _)| *client)
    }
}

impl OpenConnection {
    /// A request begins.
    pub fn used(&self) {
        let mut last = self.lock();
        last.deadline = Instant::now() + IDLE_TIMEOUT;
        let mut open = self.connections.lock();
        if let Some(evicted) = open.remove(self.client, last.number) {
            last.number = open.add(self.client, evicted);
        }
    }

    /// Returns when the connection is to be closed: for another one, or because its client takes too long.
    pub async fn overdue(&self) {
        loop {
            let deadline = self.lock().deadline;
            if deadline <= Instant::now() {
                counter!(CONNECTIONS_CLOSED, "port" => self.connections.port, "reason" => "timeout").increment(1);
                return;
            }
            tokio::select! {
                () = self.evicted.cancelled() => return,
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, LastUse> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let number = self.lock().number;
        self.connections.lock().remove(self.client, number);
    }
}

/// The client that an address belongs to.
fn client(addr: IpAddr) -> IpAddr {
    const NETWORK: u128 = u128::MAX << 64;
    match addr.to_canonical() {
        IpAddr::V6(addr) if !addr.is_loopback() => Ipv6Addr::from_bits(addr.to_bits() & NETWORK).into(),
        addr => addr,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn connections(total: usize, per_client: usize) -> Arc<Connections> {
        Arc::new(Connections::new("health", ConnectionLimits { total, per_client }))
    }

    fn evicted(all: &[OpenConnection]) -> Vec<bool> {
        all.iter().map(|connection| connection.evicted.is_cancelled()).collect()
    }

    #[tokio::test]
    async fn a_client_with_too_many_connections_loses_the_one_that_it_used_least_recently() {
        let connections = connections(10, 3);
        let mut open = vec![connections.admit(B).await];
        for _ in 0..3 {
            open.push(connections.admit(A).await);
        }
        assert_eq!(evicted(&open), [false; 4]);
        open[1].used();
        open.push(connections.admit(A).await);
        assert_eq!(evicted(&open), [false, false, true, false, false]);
        drop(open);
        let left = connections.lock();
        assert_eq!((left.total, left.clients.len()), (0, 0));
    }

    #[tokio::test]
    async fn with_too_many_in_total_the_client_with_the_most_loses_one() {
        let connections = connections(4, 3);
        let mut open = vec![connections.admit(B).await];
        for _ in 0..3 {
            open.push(connections.admit(A).await);
        }
        open.push(connections.admit(B).await);
        assert_eq!(evicted(&open), [false, true, false, false, false]);
        // The closed ones make room.
        drop(open.remove(1));
        drop(open.remove(1));
        open.push(connections.admit(A).await);
        assert_eq!(evicted(&open), [false; 4]);
    }

    #[tokio::test]
    async fn accepting_waits_for_evicted_connections_to_be_closed() {
        let connections = connections(1, 1);
        let mut open = Vec::new();
        for _ in 0..2 {
            open.push(connections.admit(A).await);
        }
        let mut next = std::pin::pin!(connections.admit(A));
        assert!(futures::poll!(&mut next).is_pending());
        open.pop();
        next.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_ten_seconds_for_its_first_request_and_two_minutes_for_the_next() {
        let connections = connections(4, 3);
        let open = connections.admit(A).await;
        let began = Instant::now();
        open.overdue().await;
        assert_eq!(began.elapsed().as_secs(), 10);
        let open = connections.admit(A).await;
        tokio::time::advance(Duration::from_secs(9)).await;
        open.used();
        let began = Instant::now();
        open.overdue().await;
        assert_eq!(began.elapsed().as_secs(), 120);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let same = |a: &str, b: &str| client(a.parse().unwrap()) == client(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:2") && same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1") && !same("192.0.2.1", "192.0.2.2"));
    }
}
