//! The words that rows are written in: sources, places, and what must become of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::common::netns::{Family, Transport};

/// The sender of the packets of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A pod of this node that is an endpoint of nothing.
    Pod,
    /// A pod with an address of another node's range: inside of the cluster's range, outside of this node's.
    FarPod,
    /// The pod [`SELF`], which serves and asks for itself.
    OwnPod,
    /// The node, from its primary address.
    Node,
    /// The node, from its address that serves as an external or load-balancer IP.
    NodeBound,
    /// A client outside, in every source range that rows give.
    Client,
    /// A client outside, in none of them.
    Blocked,
}

/// Where the packets of a row are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// ClusterIP number.
    Cluster(u16),
    /// Load-balancer IP number; on no interface.
    Vip(u16),
    /// External IP number; on no interface.
    External(u16),
    /// A pod's own address.
    Pod(u16),
    /// An address of the node that serves as an external or load-balancer IP.
    BoundExternal,
    /// The node's primary address: the first of its Node object.
    Primary,
    /// Another address of the node.
    Secondary,
    /// The node's address on its link to the pods.
    Gateway,
    /// The loopback address, as the sender sees it.
    Loopback,
}

/// What must become of new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// They reach exactly these pods, each of them at times.
    Reach {
        /// Pod numbers.
        pods: &'static [u16],
        /// The port that answers.
        port: u16,
        /// The address that the pods see.
        seen: Seen,
    },
    /// They are refused at once.
    Refused,
    /// They are dropped silently.
    Dropped,
    /// They are not translated: on an address of the node its own server answers, on other addresses none.
    Untouched,
}

/// The address that endpoints see a client at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The client's own.
    Client,
    /// Another: the connection is masqueraded.
    Masqueraded,
}

/// One line of a table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it shows, as in `a NodePort refuses the node`.
    pub name: &'static str,
    /// The sender.
    pub from: Source,
    /// Where to.
    pub to: Place,
    /// To which port.
    pub port: u16,
    /// Over which transport.
    pub transport: Transport,
    /// What must become of it.
    pub expected: Expected,
    /// In which families.
    pub families: &'static [Family],
}

/// The port that endpoints serve unless a row says otherwise.
pub const TARGET_PORT: u16 = 8080;

/// The number of the pod that has a namespace of its own and serves there.
pub const SELF: u16 = 9;

/// Stands for the node itself among pods: the endpoint of a pod in the node's own network.
pub const ON_NODE: u16 = u16::MAX;

/// The number of [`Source::Pod`].
const POD: u16 = 7;

/// The number of [`Source::FarPod`]: beyond the first 256, which are this node's.
const FAR_POD: u16 = 0x0110;

/// A row about TCP in both families.
pub const fn row(name: &'static str, from: Source, to: Place, port: u16, expected: Expected) -> Row {
    Row { name, from, to, port, transport: Transport::Tcp, expected, families: &Family::ALL }
}

/// New connections reach these pods, which see the client's own address.
pub const fn kept(pods: &'static [u16]) -> Expected {
    Expected::Reach { pods, port: TARGET_PORT, seen: Seen::Client }
}

/// New connections reach these pods and are masqueraded.
pub const fn masqueraded(pods: &'static [u16]) -> Expected {
    Expected::Reach { pods, port: TARGET_PORT, seen: Seen::Masqueraded }
}

impl Row {
    /// The same over UDP.
    pub const fn udp(self) -> Self {
        Self { transport: Transport::Udp, ..self }
    }

    /// In these families only.
    pub const fn only(self, families: &'static [Family]) -> Self {
        Self { families, ..self }
    }
}

impl Expected {
    /// The endpoints serve another port.
    pub const fn at(self, port: u16) -> Self {
        match self {
            Self::Reach { pods, seen, .. } => Self::Reach { pods, port, seen },
            other => other,
        }
    }
}

impl Source {
    /// The address that packets are sent from.
    pub fn addr(self, family: Family) -> IpAddr {
        match self {
            Self::Pod => family.pod_ip(POD),
            Self::FarPod => family.pod_ip(FAR_POD),
            Self::OwnPod => family.pod_ip(SELF),
            Self::Node => Place::Primary.addr(family),
            Self::NodeBound => Place::BoundExternal.addr(family),
            Self::Client => family.client_ip(),
            Self::Blocked => match family {
                Family::V4 => Ipv4Addr::new(192, 0, 2, 130).into(),
                Family::V6 => Ipv6Addr::new(0xfd00, 0x192, 0, 0, 0, 0, 0, 0x82).into(),
            },
        }
    }

    /// The number of a pod that sends.
    pub const fn pod(self) -> Option<u16> {
        match self {
            Self::Pod => Some(POD),
            Self::FarPod => Some(FAR_POD),
            Self::OwnPod => Some(SELF),
            Self::Node | Self::NodeBound | Self::Client | Self::Blocked => None,
        }
    }
}

impl Place {
    /// The address.
    pub fn addr(self, family: Family) -> IpAddr {
        let in_family = |v4: [u8; 4], v6: [u16; 8]| match family {
            Family::V4 => IpAddr::from(v4),
            Family::V6 => IpAddr::from(v6),
        };
        match self {
            Self::Cluster(number) => family.cluster_ip(number),
            Self::Vip(number) => {
                let last = u8::try_from(number).expect("few load balancers");
                in_family([203, 0, 113, last], [0xfd00, 0x203, 0x113, 0, 0, 0, 0, number])
            }
            Self::External(number) => {
                let last = u8::try_from(number).expect("few external addresses");
                in_family([203, 0, 114, last], [0xfd00, 0x203, 0x114, 0, 0, 0, 0, number])
            }
            Self::Pod(number) => family.pod_ip(number),
            Self::BoundExternal => in_family([198, 51, 100, 11], [0xfd00, 0x198, 0x51, 0, 0, 0, 0, 0x11]),
            Self::Primary => in_family([192, 0, 2, 1], [0xfd00, 0x192, 0, 0, 0, 0, 0, 1]),
            Self::Secondary => in_family([198, 51, 100, 1], [0xfd00, 0x198, 0x51, 0, 0, 0, 0, 1]),
            Self::Gateway => family.pods_gateway(),
            Self::Loopback => in_family([127, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1]),
        }
    }

    /// Whether the node itself has the address.
    pub const fn is_on_node(self) -> bool {
        matches!(self, Self::BoundExternal | Self::Primary | Self::Secondary | Self::Gateway | Self::Loopback)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reach { pods, port, seen } => {
                write!(
                    f,
                    "pods {pods:?} port {port}, {}",
                    match seen {
                        Seen::Client => "client's address kept",
                        Seen::Masqueraded => "masqueraded",
                    }
                )
            }
            Self::Refused => f.write_str("refused at once"),
            Self::Dropped => f.write_str("dropped"),
            Self::Untouched => f.write_str("untouched"),
        }
    }
}

/// A packet, for messages: `Client 192.0.2.2 -> tcp 10.96.0.41:80`.
pub fn packet(row: &Row, family: Family) -> String {
    let from = row.from.addr(family);
    let to = SocketAddr::new(row.to.addr(family), row.port);
    format!("{:?} {from} -> {} {to}", row.from, row.transport)
}
