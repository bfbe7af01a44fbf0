//! IPVS: which virtual services are kube-proxy's.
//!
//! kube-proxy binds every virtual address to its dummy link, and nobody else does: that is how its services are known. Those of
//! its NodePorts are on the node's own addresses, where they cannot be told from somebody else's, so they stay.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::program;

/// Where the kernel lists virtual services. Missing without IPVS.
const LISTING: &str = "/proc/net/ip_vs";

/// What IPVS holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipvs {
    /// Services on addresses of kube-proxy's link.
    pub theirs: Vec<VirtualService>,
    /// All other services.
    pub others: Vec<VirtualService>,
}

/// A virtual service of IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualService {
    /// How ipvsadm is told the protocol.
    option: &'static str,
    /// Where clients connect to.
    address: SocketAddr,
}

impl fmt::Display for VirtualService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.address)
    }
}

/// What IPVS holds, given the addresses of kube-proxy's link.
pub(super) fn find(bound: &[IpAddr]) -> Ipvs {
    sort(parse(&std::fs::read_to_string(LISTING).unwrap_or_default()), bound)
}

/// Removes one virtual service.
///
/// # Errors
///
/// What ipvsadm says, or that it is not there.
pub(super) async fn remove(service: VirtualService) -> Result<(), String> {
    let Some(ipvsadm) = program::look_for("ipvsadm") else {
        return Err("ipvsadm is not there: install it, or run `pointsman --cleanup=kube-proxy` where it is".to_owned());
    };
    program::run(&ipvsadm, &["-D", service.option, &service.address.to_string()], String::new()).await.map(|_| ())
}

fn sort(services: Vec<VirtualService>, bound: &[IpAddr]) -> Ipvs {
    let (theirs, others) = services.into_iter().partition(|service| bound.contains(&service.address.ip()));
    Ipvs { theirs, others }
}

/// The services in the kernel's listing. Those by firewall mark have no address and are left out.
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
    fn services_on_addresses_of_the_link_are_kube_proxys_and_all_others_are_not() {
        let bound = ["10.96.0.1", "10.96.0.10", "fd00:10:96::1"].map(|addr| addr.parse().unwrap());
        let ipvs = sort(parse(LISTED), &bound);
        let texts = |services: &[VirtualService]| services.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            texts(&ipvs.theirs),
            ["-t 10.96.0.1:443", "-u 10.96.0.10:53", "--sctp-service [fd00:10:96::1]:2905"]
        );
        assert_eq!(texts(&ipvs.others), ["-t 192.0.2.1:30000"]);
        assert_eq!(sort(parse(LISTED), &[]).theirs, []);
    }
}
