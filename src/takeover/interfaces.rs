//! The interfaces of this network namespace, with their addresses.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use futures::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkAttribute;

use crate::host::addresses::list_addresses;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<IpAddr>,
}

/// Lists all interfaces.
///
/// # Errors
///
/// If the kernel refuses to list them.
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
    for address in list_addresses(&handle).await.map_err(io::Error::other)? {
        if let Some(interface) = found.get_mut(&address.interface) {
            interface.addresses.push(address.addr);
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
