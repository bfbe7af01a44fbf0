//! Families, protocols, frontends and endpoints, which keys are made from.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An address family. Each has a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4, table family `ip`.
    #[serde(rename = "IPv4")]
    Ip,
    /// IPv6, table family `ip6`.
    #[serde(rename = "IPv6")]
    Ip6,
}

/// A transport protocol that Services may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP, protocol number 6.
    Tcp,
    /// UDP, protocol number 17.
    Udp,
    /// SCTP, protocol number 132.
    Sctp,
}

/// An address, protocol and port that clients connect to.
///
/// All collections that grow with the cluster have it as a key, so the number of comparisons is the cost of a sync. Tests count
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frontend {
    /// A virtual address (ClusterIP, external IP, load-balancer IP). For a NodePort the unspecified address, as in `bind(2)`, which
    /// stands for every address of the node that accepts NodePorts.
    pub addr: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port, 1 to 65535.
    pub port: u16,
}

/// The destination of connections: address and port of a pod or of another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The endpoint's address.
    pub addr: IpAddr,
    /// The endpoint's port, 1 to 65535.
    pub port: u16,
}

/// The text is not the name of a protocol that Services may use.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a protocol of Services: expected TCP, UDP or SCTP")]
pub struct ParseProtocolError(String);

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::Ip, Self::Ip6];

    /// The family of an address.
    pub fn from_addr(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Self::Ip } else { Self::Ip6 }
    }

    /// The family's name in nft: `ip` or `ip6`.
    pub fn nft(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }

    /// The family's name in metrics and in the Kubernetes API: `IPv4` or `IPv6`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ip => "IPv4",
            Self::Ip6 => "IPv6",
        }
    }

    /// The unspecified address: `0.0.0.0` or `::`.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::Ip => Ipv4Addr::UNSPECIFIED.into(),
            Self::Ip6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// 0 for IPv4 and 1 for IPv6, to index a pair.
    pub fn index(self) -> usize {
        match self {
            Self::Ip => 0,
            Self::Ip6 => 1,
        }
    }
}

impl Protocol {
    /// Every protocol of Services.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The protocol's name in nft, in lower case.
    pub fn nft(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The protocol's number in IP.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol with this number in IP.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.number() == number)
    }
}

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    /// Parses the API's upper-case or nft's lower-case name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.nft().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParseProtocolError(text.to_owned()))
    }
}

impl Frontend {
    /// A NodePort of one family.
    pub fn node_port(family: Family, protocol: Protocol, port: u16) -> Self {
        Self { addr: family.unspecified(), protocol, port }
    }

    /// Comes before all frontends of an address, or is the first of them.
    pub fn first_at(addr: IpAddr) -> Self {
        Self { addr, protocol: Protocol::Tcp, port: 0 }
    }

    /// Whether it is a NodePort.
    pub fn is_node_port(&self) -> bool {
        self.addr.is_unspecified()
    }

    /// The frontend's family.
    pub fn family(&self) -> Family {
        Family::from_addr(self.addr)
    }
}

impl Ord for Frontend {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        comparisons::note();
        (self.addr, self.protocol, self.port).cmp(&(other.addr, other.protocol, other.port))
    }
}

impl PartialOrd for Frontend {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.nft())
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_node_port() {
            write!(f, "NodePort {}/{} ({})", self.port, self.protocol, self.family())
        } else {
            write!(f, "{}/{}", SocketAddr::new(self.addr, self.port), self.protocol)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.addr, self.port).fmt(f)
    }
}

/// Counts comparisons of frontends.
#[cfg(test)]
pub(crate) mod comparisons {
    use std::cell::Cell;

    thread_local! {
        static MADE: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn note() {
        MADE.set(MADE.get() + 1);
    }

    /// Runs `work` and returns the number of comparisons that it took in this thread.
    pub(crate) fn count<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = MADE.get();
        let done = work();
        (done, MADE.get() - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_parsed_in_either_case_and_other_text_is_refused() {
        for (text, expected) in [("TCP", Protocol::Tcp), ("udp", Protocol::Udp), ("SCTP", Protocol::Sctp)] {
            assert_eq!(text.parse(), Ok(expected));
        }
        for text in ["", "icmp", "tcp ", "6"] {
            let error = text.parse::<Protocol>().unwrap_err();
            assert_eq!(error.to_string(), format!("{text:?} is not a protocol of Services: expected TCP, UDP or SCTP"));
        }
    }

    #[test]
    fn frontends_are_ordered_by_address_then_protocol_then_port() {
        let frontend = |addr: &str, protocol, port| Frontend { addr: addr.parse().unwrap(), protocol, port };
        let sorted = [
            frontend("10.96.0.2", Protocol::Tcp, 80),
            frontend("10.96.0.2", Protocol::Tcp, 443),
            frontend("10.96.0.2", Protocol::Udp, 53),
            frontend("10.96.0.10", Protocol::Tcp, 1),
            frontend("fd00::1", Protocol::Tcp, 1),
        ];
        assert!(sorted.is_sorted());
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1] && pair[0] < pair[1]));
    }

    #[test]
    fn an_ipv6_address_before_a_port_is_in_brackets() {
        let addr = "fd00::1".parse().unwrap();
        assert_eq!(Endpoint { addr, port: 80 }.to_string(), "[fd00::1]:80");
        assert_eq!(Frontend { addr, protocol: Protocol::Udp, port: 53 }.to_string(), "[fd00::1]:53/udp");
    }
}
