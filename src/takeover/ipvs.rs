//! The virtual services of IPVS, which of them are kube-proxy's, and their removal over generic netlink.
//!
//! kube-proxy binds every virtual address to its dummy link, and no other program does: this identifies its services. Services of
//! NodePorts are on the node's own addresses, where they look like those of any other program, so they stay.
//!
//! Numbers from `linux/ip_vs.h`, under the kernel's names.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::libc::{AF_INET, AF_INET6, ESRCH};

use crate::conntrack::{ConntrackSocket, delete_untranslated};
use crate::dataplane::{Frontend, Protocol};
use crate::netlink::{GenericSocket, MessageWriter};

/// Where the kernel lists virtual services. The file is missing without IPVS.
const LISTING_FILE: &str = "/proc/net/ip_vs";

const IPVS_GENL_NAME: &str = "IPVS";
const IPVS_CMD_DEL_SERVICE: u8 = 3;
const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_SVC_ATTR_AF: u16 = 1;
const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
const IPVS_SVC_ATTR_ADDR: u16 = 3;
const IPVS_SVC_ATTR_PORT: u16 = 4;
/// The size of `union nf_inet_addr`, which holds an address of either family.
const ADDRESS_BYTES: usize = 16;

/// The virtual services that IPVS holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpvsServices {
    /// Services on addresses of kube-proxy's link.
    pub of_kube_proxy: Vec<VirtualService>,
    /// All other services.
    pub foreign: Vec<VirtualService>,
}

/// A virtual service of IPVS. Its text is what ipvsadm takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualService(pub Frontend);

impl fmt::Display for VirtualService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frontend { addr, protocol, port } = self.0;
        let option = match protocol {
            Protocol::Tcp => "-t",
            Protocol::Udp => "-u",
            Protocol::Sctp => "--sctp-service",
        };
        write!(f, "{option} {}", SocketAddr::new(addr, port))
    }
}

/// Reads the virtual services. `bound` are the addresses of kube-proxy's link.
pub(super) fn find(bound: &[IpAddr]) -> IpvsServices {
    split(parse(&std::fs::read_to_string(LISTING_FILE).unwrap_or_default()), bound)
}

/// Removes virtual services, with their real servers. Returns what became of each; one that is gone already counts as removed.
///
/// # Errors
///
/// The kernel has no IPVS, or no socket for it can be opened.
pub(super) async fn remove(services: Vec<VirtualService>) -> io::Result<Vec<(VirtualService, io::Result<()>)>> {
    // A socket belongs to the namespace of the thread that opens it, so this one does.
    let mut socket = GenericSocket::open(IPVS_GENL_NAME)?;
    let work = move || {
        let mut remove = |service: &VirtualService| {
            let removed = socket.command(IPVS_CMD_DEL_SERVICE, |out| put_service(out, service));
            removed.or_else(|error| if error.raw_os_error() == Some(ESRCH) { Ok(()) } else { Err(error) })
        };
        services.into_iter().map(|service| (service, remove(&service))).collect()
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Ends the connections through virtual services that were removed, and returns how many there were: connection tracking holds them, but
/// nothing translates them any more.
///
/// # Errors
///
/// Connection tracking cannot be asked, or refuses.
pub(super) async fn end_connections(services: &[VirtualService]) -> io::Result<usize> {
    let frontends: BTreeSet<Frontend> = services.iter().map(|service| service.0).collect();
    let mut table = ConntrackSocket::open()?;
    let work = move || delete_untranslated(&mut table, &frontends);
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten()
}

fn put_service(out: &mut MessageWriter, VirtualService(Frontend { addr, protocol, port }): &VirtualService) {
    let (family, mut bytes) = match addr {
        IpAddr::V4(addr) => (AF_INET, addr.octets().to_vec()),
        IpAddr::V6(addr) => (AF_INET6, addr.octets().to_vec()),
    };
    bytes.resize(ADDRESS_BYTES, 0);
    let nest = out.begin_nest(IPVS_CMD_ATTR_SERVICE);
    // Two numbers in the host's byte order, and one in the network's.
    out.put(IPVS_SVC_ATTR_AF, &u16::try_from(family).unwrap_or_default().to_ne_bytes());
    out.put(IPVS_SVC_ATTR_PROTOCOL, &u16::from(protocol.number()).to_ne_bytes());
    out.put(IPVS_SVC_ATTR_ADDR, &bytes);
    out.put(IPVS_SVC_ATTR_PORT, &port.to_be_bytes());
    out.end(nest);
}

fn split(services: Vec<VirtualService>, bound: &[IpAddr]) -> IpvsServices {
    let (of_kube_proxy, foreign) = services.into_iter().partition(|service| bound.contains(&service.0.addr));
    IpvsServices { of_kube_proxy, foreign }
}

/// Parses the kernel's listing. Services by firewall mark have no address and are left out.
fn parse(listing: &str) -> Vec<VirtualService> {
    listing.lines().filter_map(line).collect()
}

/// A line such as `TCP  0A600001:01BB rr` or `UDP  [fd00:0000:…:0001]:0035 rr persistent 10800`.
fn line(line: &str) -> Option<VirtualService> {
    let mut words = line.split_whitespace();
    let protocol = words.next()?.parse().ok()?;
    let (addr, port) = words.next()?.rsplit_once(':')?;
    let addr = match addr.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(addr) => IpAddr::V6(addr.parse().ok()?),
        None => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(addr, 16).ok()?)),
    };
    Some(VirtualService(Frontend { addr, protocol, port: u16::from_str_radix(port, 16).ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr 
  -> C0A80A0A:192B      Masq    1      0          0         
UDP  0A60000A:0035 rr persistent 10800
TCP  C0000201:7530 rr 
SCTP [fd00:0010:0096:0000:0000:0000:0000:0001]:0B59 rr 
  -> [fd00:0010:0128:0000:0000:0000:0000:0002]:0B59      Masq    1      0          0         
FWM  00000001 rr 
TCP  banana:01BB rr
TCP
";

    #[test]
    fn only_services_on_addresses_of_the_link_are_kube_proxys() {
        let bound = ["10.96.0.1", "10.96.0.10", "fd00:10:96::1"].map(|addr| addr.parse().unwrap());
        let ipvs = split(parse(LISTED), &bound);
        let texts = |services: &[VirtualService]| services.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            texts(&ipvs.of_kube_proxy),
            ["-t 10.96.0.1:443", "-u 10.96.0.10:53", "--sctp-service [fd00:10:96::1]:2905"]
        );
        assert_eq!(texts(&ipvs.foreign), ["-t 192.0.2.1:30000"]);
        assert_eq!(split(parse(LISTED), &[]).of_kube_proxy, []);
    }
}
