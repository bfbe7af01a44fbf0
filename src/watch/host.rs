//! Following the addresses of this host's interfaces as they come and go.
//!
//! Only needed where NodePorts are accepted on addresses that are chosen by network. The kernel reports every change (rtnetlink,
//! `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`), so nothing is polled.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use thiserror::Error;

use super::{EventSender, Received};
use crate::host::addresses::list_addresses;
use crate::state::Event;

/// How long to wait for more changes after one: an interface that comes up reports each of its addresses.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);

/// Why this host's addresses cannot be listed or followed.
#[derive(Debug, Error)]
pub enum HostError {
    /// The system gives no netlink socket.
    #[error("cannot open a netlink socket to follow this host's addresses: {0}")]
    Socket(#[source] io::Error),
    /// The kernel refuses to list them.
    #[error("cannot list this host's addresses: {0}")]
    List(#[source] rtnetlink::Error),
}

/// Sends all addresses at once and again after every change, until the receiver is gone.
///
/// # Errors
///
/// If the kernel does not list the addresses, or does not report their changes.
pub async fn follow_addresses(events: EventSender) -> Result<(), HostError> {
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut changes) = new_multicast_connection(&groups).map_err(HostError::Socket)?;
    tokio::spawn(connection);
    let mut known = None;
    loop {
        let listed = list_addresses(&handle).await.map_err(HostError::List)?;
        let all: BTreeSet<IpAddr> = listed.into_iter().map(|address| address.addr).collect();
        if known.as_ref() != Some(&all) {
            let event = Event::HostAddresses(all.iter().copied().collect());
            if events.send(Received::now(event)).await.is_err() {
                return Ok(());
            }
            known = Some(all);
        }
        tokio::select! {
            change = changes.next() => if change.is_none() { return Ok(()) },
            () = events.closed() => return Ok(()),
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
        while changes.try_recv().is_ok() {}
    }
}
