//! The addresses of this host's interfaces, followed as they come and go.
//!
//! Needed only where NodePorts are accepted on addresses that are chosen by network. The kernel tells of every change
//! (rtnetlink, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`); nothing is polled.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::{Handle, MulticastGroup};
use thiserror::Error;

use super::{EventSender, Received};
use crate::state::Event;

/// Changes that follow each other within this time are taken together: an interface that comes up tells of each address.
const SETTLE: Duration = Duration::from_millis(20);

/// The host's addresses cannot be read or followed.
#[derive(Debug, Error)]
pub enum HostError {
    /// No netlink socket.
    #[error("cannot open a netlink socket for this host's addresses: {0}")]
    Socket(#[source] io::Error),
    /// The kernel refuses to list them.
    #[error("cannot list this host's addresses: {0}")]
    List(#[source] rtnetlink::Error),
}

/// Sends all addresses at once and again after every change, until the receiver is gone.
///
/// # Errors
///
/// If the addresses cannot be listed, or no longer be followed.
pub async fn follow_addresses(events: EventSender) -> Result<(), HostError> {
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut changes) = rtnetlink::new_multicast_connection(&groups).map_err(HostError::Socket)?;
    tokio::spawn(connection);
    let mut known = None;
    loop {
        let all = addresses(&handle).await?;
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
        tokio::time::sleep(SETTLE).await;
        while changes.try_recv().is_ok() {}
    }
}

/// Every address of every interface.
///
/// # Errors
///
/// If the kernel refuses to list them.
async fn addresses(handle: &Handle) -> Result<BTreeSet<IpAddr>, HostError> {
    let mut found = BTreeSet::new();
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await.map_err(HostError::List)? {
        let (mut local, mut address) = (None, None);
        for attribute in message.attributes {
            match attribute {
                AddressAttribute::Local(addr) => local = Some(addr),
                AddressAttribute::Address(addr) => address = Some(addr),
                _ => {}
            }
        }
        // On a point-to-point link the plain address is the peer's.
        found.extend(local.or(address));
    }
    Ok(found)
}
