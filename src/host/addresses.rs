//! The addresses of the interfaces in this network namespace, as rtnetlink lists them.

use std::net::IpAddr;

use futures::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::AddressAttribute;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The kernel's number for the interface.
    pub interface: u32,
    /// The address, which belongs to this host.
    pub addr: IpAddr,
}

/// Lists every address of every interface, in the kernel's order.
///
/// # Errors
///
/// If the kernel refuses to list them.
pub async fn list_addresses(handle: &Handle) -> Result<Vec<InterfaceAddress>, rtnetlink::Error> {
    let mut found = Vec::new();
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await? {
        let (mut local, mut address) = (None, None);
        for attribute in message.attributes {
            match attribute {
                AddressAttribute::Local(addr) => local = Some(addr),
                AddressAttribute::Address(addr) => address = Some(addr),
                _ => {}
            }
        }
        // On a point-to-point link the plain address is the peer's.
        let interface = message.header.index;
        found.extend(local.or(address).map(|addr| InterfaceAddress { interface, addr }));
    }
    Ok(found)
}
