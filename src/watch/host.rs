//! Following the addresses of this host's interfaces as they come and go.
//!
//! NodePorts are accepted on those in some networks, or on all of a family in which the Node object has no address. The kernel
//! reports every change (rtnetlink, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`), so nothing is polled.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use thiserror::Error;
use tokio::sync::oneshot;

use super::{Connection, EventSender, MissingInput, Received};
use crate::clock;
use crate::host::addresses::list_addresses;
use crate::pacing::{Backoff, Reminder};
use crate::state::{Decoded, Event, Node};
use crate::tasks::Supervisor;

/// How long to wait for more changes after one: an interface that comes up reports each of its addresses.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

/// The pauses between attempts to list and follow them.
const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// How often a failure that lasts is logged again.
const REMIND_EVERY: Duration = Duration::from_secs(300);

/// Why this host's addresses cannot be listed or followed.
#[derive(Debug, Error)]
pub enum HostError {
    /// The system gives no netlink socket.
    #[error("cannot open a netlink socket to follow this host's addresses: {0}")]
    Socket(#[source] io::Error),
    /// The kernel refuses to list them.
    #[error("cannot list this host's addresses: {0}")]
    List(#[source] rtnetlink::Error),
    /// The kernel reports no more changes.
    #[error("the netlink socket that reports changes of this host's addresses was closed")]
    Closed,
}

/// Sends all addresses at once and again after every change, until the receiver is gone. Says through `tried` that the first attempt
/// was made. A failure is logged, shown by `connection`, and tried again.
async fn follow_addresses(events: EventSender, connection: Connection, tried: oneshot::Sender<()>) {
    AddressFollower::new(open_socket, events, connection, tried).run().await;
}

/// Follows this host's addresses once the Node object turns out to have addresses of one family only: then NodePorts of the other family
/// are accepted on all of them.
#[derive(Debug)]
pub struct FollowForNode(Option<(EventSender, Connection, Supervisor)>);

impl FollowForNode {
    /// Follows them in a task of `supervisor` when they are needed.
    pub fn new(events: EventSender, connection: Connection, supervisor: Supervisor) -> Self {
        Self(Some((events, connection, supervisor)))
    }

    /// Never follows them.
    pub const fn never() -> Self {
        Self(None)
    }

    /// Starts to follow them if this event, which is about to be sent, shows that they are needed. They are sent first: without them the
    /// sync would remove those that an earlier run left in the kernel.
    pub async fn before(&mut self, event: &Event) {
        let nodes = match event {
            Event::NodesReset(nodes) => nodes.as_slice(),
            Event::NodeApplied(node) => std::slice::from_ref(node),
            _ => return,
        };
        if nodes.iter().filter_map(Decoded::object).any(|node| has_one_family(node)) {
            self.start().await;
        }
    }

    /// Starts to follow them, unless they are followed already, and waits for the first attempt.
    pub async fn start(&mut self) {
        let Some((events, connection, supervisor)) = self.0.take() else { return };
        let (tried, first_try) = oneshot::channel();
        supervisor.spawn("following this host's addresses", follow_addresses(events, connection, tried));
        // It ends with the first attempt, whatever came of that.
        let _ = first_try.await;
    }
}

/// Whether the Node has addresses, but not of both families.
fn has_one_family(node: &Node) -> bool {
    let has = |is_ipv4| node.addresses.iter().any(|addr| addr.is_ipv4() == is_ipv4 && !addr.is_loopback());
    let has_both = has(true) && has(false);
    !has_both && !node.addresses.is_empty()
}

/// A socket to list addresses with, and what the kernel reports of their changes.
fn open_socket() -> io::Result<(Handle, impl Stream + Unpin)> {
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, changes) = new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    Ok((handle, changes))
}

/// Follows the addresses over sockets that `open` gives.
struct AddressFollower<O> {
    open: O,
    events: EventSender,
    connection: Connection,
    /// Dropped after the first attempt.
    tried: Option<oneshot::Sender<()>>,
    /// The addresses that were sent last.
    known: Option<BTreeSet<IpAddr>>,
    /// Failures in a row.
    failures: u32,
    reminder: Reminder,
}

impl<O, C> AddressFollower<O>
where
    O: FnMut() -> io::Result<(Handle, C)>,
    C: Stream + Unpin,
{
    fn new(open: O, events: EventSender, connection: Connection, tried: oneshot::Sender<()>) -> Self {
        let reminder = Reminder::new(REMIND_EVERY);
        Self { open, events, connection, tried: Some(tried), known: None, failures: 0, reminder }
    }

    /// Follows the addresses until the receiver of the events is gone. After a failure it tries again.
    async fn run(mut self) {
        while let Err(error) = self.follow().await {
            self.failed(&error);
            tokio::select! {
                () = tokio::time::sleep(RETRY.pause(self.failures)) => {}
                () = self.events.closed() => return,
            }
        }
    }

    /// Follows the addresses until the receiver of the events is gone, or until a failure.
    async fn follow(&mut self) -> Result<(), HostError> {
        let (handle, mut changes) = (self.open)().map_err(HostError::Socket)?;
        loop {
            let listed = list_addresses(&handle).await.map_err(HostError::List)?;
            self.succeeded();
            let all: BTreeSet<IpAddr> = listed.into_iter().map(|address| address.addr).collect();
            if self.known.as_ref() != Some(&all) {
                let event = Event::HostAddresses(all.iter().copied().collect());
                if self.events.send(Received::now(event)).await.is_err() {
                    return Ok(());
                }
                self.known = Some(all);
            }
            self.tried.take();
            tokio::select! {
                change = changes.next() => if change.is_none() { return Err(HostError::Closed) },
                () = self.events.closed() => return Ok(()),
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
            while changes.next().now_or_never().flatten().is_some() {}
        }
    }

    fn succeeded(&mut self) {
        if self.connection.found(MissingInput::HostAddresses) {
            tracing::info!(failures = self.failures, "this host's addresses are followed again");
        }
        self.failures = 0;
        self.reminder.reset();
    }

    fn failed(&mut self, error: &HostError) {
        self.failures = self.failures.saturating_add(1);
        self.connection.lacks(MissingInput::HostAddresses, error.to_string());
        if self.reminder.is_due(clock::now()) {
            let failures = self.failures;
            tracing::error!(%error, failures, "NodePorts on addresses of this host wait for them, or miss their changes; trying again");
        }
        self.tried.take();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    /// The reason that is shown after the first of `attempts` failed, and the events that follow once they succeed.
    async fn after_failures(
        open: impl FnMut() -> io::Result<(Handle, Changes)> + Send + 'static,
    ) -> (Vec<String>, Event) {
        let (events, mut received) = mpsc::channel(1);
        let (tried, first_try) = oneshot::channel();
        let connection = Connection::default();
        tokio::spawn(AddressFollower::new(open, events, connection.clone(), tried).run());
        // A start waits for this.
        let _ = first_try.await;
        let missing = connection.missing();
        assert!(received.try_recv().is_err(), "nothing is known");
        let event = timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap().event;
        assert_eq!(connection.missing(), [""; 0], "what was found is not missing");
        (missing, event)
    }

    type Changes = Box<dyn Stream<Item = ()> + Send + Unpin>;

    /// A socket that works.
    fn works() -> io::Result<(Handle, Changes)> {
        let (handle, changes) = open_socket()?;
        Ok((handle, Box::new(changes.map(drop))))
    }

    fn has_loopback(event: &Event) -> bool {
        matches!(event, Event::HostAddresses(all) if all.contains(&IpAddr::from([127, 0, 0, 1])))
    }

    #[tokio::test]
    async fn addresses_that_cannot_be_listed_do_not_hold_up_the_start_and_are_listed_later() {
        let mut attempts = 0;
        let open = move || {
            attempts += 1;
            if attempts > 1 {
                return works();
            }
            let (connection, handle, _) = rtnetlink::new_connection()?;
            // Without it no request is sent.
            drop(connection);
            Ok((handle, Box::new(futures::stream::pending()) as Changes))
        };
        let (missing, event) = after_failures(open).await;
        assert!(missing.len() == 1 && missing[0].starts_with("cannot list this host's addresses: "), "{missing:?}");
        assert!(has_loopback(&event), "{event:?}");
    }

    #[tokio::test]
    async fn a_socket_that_the_system_refuses_is_asked_for_again() {
        let mut attempts = 0;
        let open = move || {
            attempts += 1;
            if attempts > 1 { works() } else { Err(io::Error::other("too many open files")) }
        };
        let (missing, event) = after_failures(open).await;
        assert_eq!(missing, ["cannot open a netlink socket to follow this host's addresses: too many open files"]);
        assert!(has_loopback(&event), "{event:?}");
    }
}
