//! The interfaces of this network namespace, with their addresses.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use futures::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its addresses, in no order.
    pub addresses: Vec<IpAddr>,
}

/// All interfaces.
///
/// # Errors
///
/// If the kernel does not list them.
pub async fn interfaces() -> io::Result<Vec<Interface>> {
    let handle = open()?;
    let mut found = BTreeMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.map_err(io::Error::other)? {
        let name = link.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        let index = link.header.index;
        found.insert(index, Interface { index, name: name.unwrap_or_default(), addresses: Vec::new() });
    }
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.map_err(io::Error::other)? {
        let (mut local, mut address) = (None, None);
        for attribute in message.attributes {
            match attribute {
                AddressAttribute::Local(addr) => local = Some(addr),
                AddressAttribute::Address(addr) => address = Some(addr),
                _ => {}
            }
        }
        if let Some(interface) = found.get_mut(&message.header.index) {
            // On a point-to-point link the plain address is the peer's.
            interface.addresses.extend(local.or(address));
        }
    }
    Ok(found.into_values().collect())
}

/// Deletes an interface.
///
/// # Errors
///
/// If the kernel refuses.
pub(super) async fn delete(index: u32) -> io::Result<()> {
    open()?.link().del(index).execute().await.map_err(io::Error::other)
}

fn open() -> io::Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(handle)
}
