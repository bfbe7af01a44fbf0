//! The address plan, the same in every test: each network exists in both families and hosts are numbered alike.
//!
//! | network  | IPv4         | IPv6               | where                                   |
//! |----------|--------------|--------------------|-----------------------------------------|
//! | outside  | 192.0.2.0/24 | fd00:192::/64      | node `.1`, client `.2`                  |
//! | pods     | 10.128.0.0/16| fd00:10:128::/64   | every address answers in the pods' namespace |
//! | Services | 10.96.0.0/16 | fd00:10:96::/112   | routed to the node from everywhere      |
//! | uplink   | 198.51.100.0/24 | fd00:198:51::/64 | the node's default route, to nowhere |
//! | links    | 198.18.0.0/16| fd00:198::/32      | between the node and the pods           |

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The range of ClusterIPs of each family.
pub const SERVICE_CIDRS: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];

/// The range of pod addresses of each family.
pub const POD_CIDRS: [&str; 2] = ["10.128.0.0/16", "fd00:10:128::/64"];

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family's name in nft.
    pub fn nft(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// ClusterIP number `number`.
    pub fn cluster_ip(self, number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        match self {
            Self::V4 => Ipv4Addr::new(10, 96, high, low).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, number).into(),
        }
    }

    /// Pod address number `number`.
    pub fn pod_ip(self, number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        match self {
            Self::V4 => Ipv4Addr::new(10, 128, high, low).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x128, 0, 0, 0, 0, number).into(),
        }
    }

    /// The node, as the pods' namespace sees it.
    pub fn pods_gateway(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(198, 18, 0, 1).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0x198, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// The client's own address.
    pub fn client_ip(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, 2).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0x192, 0, 0, 0, 0, 0, 2).into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
