//! The virtual services of IPVS, and which of them are kube-proxy's.
//!
//! kube-proxy binds every virtual address to its dummy link, and no other program does: this identifies its services. Services of
//! NodePorts are on the node's own addresses, where they look like those of any other program, so they stay.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::program;

/// Where the kernel lists virtual services. The file is missing without IPVS.
const LISTING_FILE: &str = "/proc/net/ip_vs";

/// The virtual services that IPVS holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpvsServices {
    /// Services on addresses of kube-proxy's link.
    pub of_kube_proxy: Vec<VirtualService>,
    /// All other services.
    pub foreign: Vec<VirtualService>,
}

/// A virtual service of IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualService {
    /// The option by which ipvsadm takes the protocol.
    option: &'static str,
    /// Where clients connect.
    address: SocketAddr,
}

impl fmt::Display for VirtualService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.address)
    }
}

/// Reads the virtual services. `bound` are the addresses of kube-proxy's link.
pub(super) fn find(bound: &[IpAddr]) -> IpvsServices {
    split(parse(&std::fs::read_to_string(LISTING_FILE).unwrap_or_default()), bound)
}

/// Removes one virtual service.
///
/// # Errors
///
/// What ipvsadm prints, or that it is not installed.
pub(super) async fn remove(service: VirtualService) -> Result<(), String> {
    let Some(ipvsadm) = program::find("ipvsadm") else {
        return Err(
            "cannot find ipvsadm: install it, or run `pointsman --cleanup=kube-proxy` where it is installed".to_owned()
        );
    };
    program::run(&ipvsadm, &["-D", service.option, &service.address.to_string()], String::new()).await.map(|_| ())
}

fn split(services: Vec<VirtualService>, bound: &[IpAddr]) -> IpvsServices {
    let (of_kube_proxy, foreign) = services.into_iter().partition(|service| bound.contains(&service.address.ip()));
    IpvsServices { of_kube_proxy, foreign }
}

/// Parses the kernel's listing. Services by firewall mark have no address and are left out.
fn parse(listing: &str) -> Vec<VirtualService> {
    listing.lines().filter_map(line).collect()
}

/// A line such as `TCP  0A600001:01BB rr` or `UDP  [fd00:0000:…:0001]:0035 rr persistent 10800`.
fn line(line: &str) -> Option<VirtualService> {
    let mut words = line.split_whitespace();
    let option = match words.next()? {
        "TCP" => "-t",
        "UDP" => "-u",
        "SCTP" => "--sctp-service",
        _ => return None,
    };
    let (addr, port) = words.next()?.rsplit_once(':')?;
    let addr = match addr.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(addr) => IpAddr::V6(addr.parse().ok()?),
        None => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(addr, 16).ok()?)),
    };
    Some(VirtualService { option, address: SocketAddr::new(addr, u16::from_str_radix(port, 16).ok()?) })
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
