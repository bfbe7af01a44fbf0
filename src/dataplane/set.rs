//! The sets and maps of a table: their names, keys and what they mean.

use std::fmt;
use std::str::FromStr;

/// A set or map of the program.
///
/// Ordered so that a listing reads from the gate to the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetName {
    /// Every proxied ClusterIP: ports that no Service defines are refused.
    ClusterIps,
    /// The ranges that ClusterIPs come from: what is not allocated is dropped.
    ServiceCidrs,
    /// The node's addresses that accept NodePorts.
    NodeportIps,
    /// ClusterIP frontends with endpoints, by class.
    Internal(SizeClass),
    /// External and load-balancer IPs with endpoints, `externalTrafficPolicy: Cluster`.
    External,
    /// The same, `externalTrafficPolicy: Local`.
    ExternalLocal,
    /// NodePorts with endpoints, `externalTrafficPolicy: Cluster`.
    Nodeports,
    /// The same, `externalTrafficPolicy: Local`.
    NodeportsLocal,
    /// Frontends without any endpoint: refused.
    RejectServices,
    /// Frontends whose policy leaves this node without endpoints: dropped.
    DropServices,
    /// NodePorts without any endpoint: refused.
    RejectNodeports,
    /// NodePorts whose policy leaves this node without endpoints: dropped.
    DropNodeports,
    /// Load-balancer IPs that only some sources may use.
    Firewalled,
    /// Those sources.
    AllowedSources,
    /// Endpoints on this node, twice: a connection from an endpoint to itself is masqueraded.
    Hairpin,
    /// All other frontends, by list and class.
    Slots(EndpointList, SizeClass),
    /// The endpoints of every frontend, numbered from 0 without gaps.
    Endpoints(EndpointList),
    /// Frontends that keep their clients at the endpoint they had (`sessionAffinity: ClientIP`).
    WithAffinity(Affinity),
    /// Which client was sent where. Filled by packets, emptied by time.
    Clients {
        /// Of NodePorts, not of addresses.
        node_port: bool,
    },
}

/// Session affinity of a kind of frontends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affinity {
    /// Of NodePorts, not of addresses.
    pub node_port: bool,
    /// How long after its last new connection a client is remembered, in seconds.
    pub seconds: u32,
}

/// One of the lists of endpoints that a frontend may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointList {
    /// Of an address: the endpoints that everyone may use.
    Any,
    /// Of an address: this node's endpoints, for traffic from outside under `externalTrafficPolicy: Local`.
    Local,
    /// As [`EndpointList::Any`], of a NodePort.
    NodeportAny,
    /// As [`EndpointList::Local`], of a NodePort.
    NodeportLocal,
}

/// A number of slots, 1 to 65,536: a frontend's number of endpoints up to 8, beyond that the smallest power of two that is not less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(u32);

/// A component of a key or of data, named by where a packet carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Source address.
    Saddr,
    /// Destination address.
    Daddr,
    /// Transport protocol.
    L4Proto,
    /// Destination port.
    Dport,
    /// Slot number: a random number below the class.
    Slot,
    /// Destination address before translation.
    OriginalDaddr,
    /// Destination port before translation; also the type of any port in a map's data.
    ///
    /// With `th dport` in a map's data nft 1.1.3 creates the map, but no later process can add a rule that translates to it
    /// ("conflicting protocols specified: ip vs. th"); with `tcp dport` it silently limits such rules to TCP.
    OriginalDport,
}

/// The type of a set (no data) or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetDefinition {
    /// The components of the key.
    pub key: &'static [Field],
    /// The components of the data; empty for a plain set.
    pub data: &'static [Field],
    /// Whether elements are ranges.
    pub interval: bool,
    /// Whether packets add elements, which expire.
    pub dynamic: bool,
}

/// `K`: an address, protocol and port.
const FRONTEND: &[Field] = &[Field::Daddr, Field::L4Proto, Field::Dport];
/// `N`: a NodePort.
const NODE_PORT: &[Field] = &[Field::L4Proto, Field::Dport];

impl SetName {
    /// The sets and maps that exist whatever the cluster holds, in the order in which they are created.
    pub const CONSTANT: [Self; 16] = [
        Self::ClusterIps,
        Self::ServiceCidrs,
        Self::NodeportIps,
        Self::External,
        Self::ExternalLocal,
        Self::Nodeports,
        Self::NodeportsLocal,
        Self::RejectServices,
        Self::DropServices,
        Self::RejectNodeports,
        Self::DropNodeports,
        Self::Hairpin,
        Self::Endpoints(EndpointList::Any),
        Self::Endpoints(EndpointList::Local),
        Self::Endpoints(EndpointList::NodeportAny),
        Self::Endpoints(EndpointList::NodeportLocal),
    ];

    /// The sets that exist while some frontend is only for some sources.
    pub const SOURCES: [Self; 2] = [Self::Firewalled, Self::AllowedSources];

    /// The set's type, the same in both families.
    pub fn definition(self) -> SetDefinition {
        const ENDPOINT: &[Field] = &[Field::Daddr, Field::OriginalDport];
        let (key, data, interval): (&[Field], &[Field], bool) = match self {
            Self::ClusterIps | Self::NodeportIps => (&[Field::Daddr], &[], false),
            Self::ServiceCidrs => (&[Field::Daddr], &[], true),
            Self::Internal(_)
            | Self::External
            | Self::ExternalLocal
            | Self::RejectServices
            | Self::DropServices
            | Self::Firewalled
            | Self::WithAffinity(Affinity { node_port: false, .. })
            | Self::Slots(EndpointList::Any | EndpointList::Local, _) => (FRONTEND, &[], false),
            Self::Nodeports
            | Self::NodeportsLocal
            | Self::RejectNodeports
            | Self::DropNodeports
            | Self::WithAffinity(Affinity { node_port: true, .. })
            | Self::Slots(EndpointList::NodeportAny | EndpointList::NodeportLocal, _) => (NODE_PORT, &[], false),
            Self::AllowedSources => (&[Field::Daddr, Field::L4Proto, Field::Dport, Field::Saddr], &[], true),
            Self::Hairpin => (&[Field::Saddr, Field::Daddr, Field::L4Proto, Field::Dport], &[], false),
            Self::Endpoints(EndpointList::Any | EndpointList::Local) => {
                (&[Field::Daddr, Field::L4Proto, Field::Dport, Field::Slot], ENDPOINT, false)
            }
            Self::Endpoints(EndpointList::NodeportAny | EndpointList::NodeportLocal) => {
                (&[Field::L4Proto, Field::Dport, Field::Slot], ENDPOINT, false)
            }
            Self::Clients { node_port: false } => {
                (&[Field::Saddr, Field::Daddr, Field::L4Proto, Field::Dport], ENDPOINT, false)
            }
            Self::Clients { node_port: true } => (&[Field::Saddr, Field::L4Proto, Field::Dport], ENDPOINT, false),
        };
        SetDefinition { key, data, interval, dynamic: self.is_dynamic() }
    }
}

impl SetName {
    /// Which list its members have, and of which class that is; `None` if it does not tell.
    pub fn class(&self) -> Option<(EndpointList, SizeClass)> {
        match self {
            Self::Internal(class) => Some((EndpointList::Any, *class)),
            Self::Slots(list, class) => Some((*list, *class)),
            _ => None,
        }
    }

    /// The kind of session affinity that its members have, if that is what it is about.
    pub fn affinity(&self) -> Option<Affinity> {
        match self {
            Self::WithAffinity(affinity) => Some(*affinity),
            _ => None,
        }
    }

    /// Whether packets add elements, which expire: nobody else does.
    pub fn is_dynamic(self) -> bool {
        matches!(self, Self::Clients { .. })
    }
}

impl EndpointList {
    /// Every list.
    pub const ALL: [Self; 4] = [Self::Any, Self::Local, Self::NodeportAny, Self::NodeportLocal];

    /// The list of a frontend, NodePort or not, for everyone or for traffic that is confined to this node.
    pub fn of(node_port: bool, local: bool) -> Self {
        match (node_port, local) {
            (false, false) => Self::Any,
            (false, true) => Self::Local,
            (true, false) => Self::NodeportAny,
            (true, true) => Self::NodeportLocal,
        }
    }

    /// Whether it is a list of NodePorts.
    pub fn is_node_port(self) -> bool {
        matches!(self, Self::NodeportAny | Self::NodeportLocal)
    }

    /// Whether it holds only endpoints of this node.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Local | Self::NodeportLocal)
    }

    /// The name of the chain that chooses from it.
    pub fn chain(self) -> &'static str {
        match self {
            Self::Any => "endpoints-any",
            Self::Local => "endpoints-local",
            Self::NodeportAny => "nodeport-any",
            Self::NodeportLocal => "nodeport-local",
        }
    }

    /// What the names of its sets and chains start with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Local => "local-",
            Self::NodeportAny => "nodeport-",
            Self::NodeportLocal => "nodeport-local-",
        }
    }
}

impl SetDefinition {
    /// Whether it maps keys to data.
    pub fn is_map(&self) -> bool {
        !self.data.is_empty()
    }
}

impl SizeClass {
    /// The largest class: 65,536 endpoints.
    pub const MAX: Self = Self(65_536);
    /// Up to here every number of endpoints is a class.
    const EXACT: u32 = 8;

    /// The class of a frontend with `endpoints` endpoints; `None` for none. More than 65,536 count as 65,536.
    pub fn of(endpoints: usize) -> Option<Self> {
        let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX).min(Self::MAX.0);
        match endpoints {
            0 => None,
            1..=Self::EXACT => Some(Self(endpoints)),
            more => Some(Self(more.next_power_of_two())),
        }
    }

    /// The number of slots.
    pub fn slots(self) -> u32 {
        self.0
    }

    /// The next smaller class of one whose frontends may have fewer endpoints than slots, but always more than that; `None` of one
    /// whose frontends have an endpoint in each slot.
    pub fn halved(self) -> Option<Self> {
        (self.0 > Self::EXACT).then_some(Self(self.0 / 2))
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClusterIps => "cluster-ips",
            Self::ServiceCidrs => "service-cidrs",
            Self::NodeportIps => "nodeport-ips",
            Self::Internal(class) => return write!(f, "internal-{}", class.slots()),
            Self::External => "external",
            Self::ExternalLocal => "external-local",
            Self::Nodeports => "nodeports",
            Self::NodeportsLocal => "nodeports-local",
            Self::RejectServices => "reject-services",
            Self::DropServices => "drop-services",
            Self::RejectNodeports => "reject-nodeports",
            Self::DropNodeports => "drop-nodeports",
            Self::Firewalled => "firewalled",
            Self::AllowedSources => "allowed-sources",
            Self::Hairpin => "hairpin",
            Self::Slots(list, class) => return write!(f, "{}slots-{}", list.prefix(), class.slots()),
            Self::Endpoints(list) => return write!(f, "{}endpoints", list.prefix()),
            Self::WithAffinity(Affinity { node_port: false, seconds }) => {
                return write!(f, "affinity-services-{seconds}");
            }
            Self::WithAffinity(Affinity { node_port: true, seconds }) => {
                return write!(f, "affinity-nodeports-{seconds}");
            }
            Self::Clients { node_port: false } => "affinity",
            Self::Clients { node_port: true } => "nodeport-affinity",
        })
    }
}

impl FromStr for SetName {
    type Err = ();

    /// The set of this name; an error for a name that the program does not use.
    fn from_str(text: &str) -> Result<Self, ()> {
        let class = |slots: &str| {
            let slots: usize = slots.parse().map_err(|_| ())?;
            SizeClass::of(slots).filter(|class| class.slots() as usize == slots).ok_or(())
        };
        if let Some(slots) = text.strip_prefix("internal-") {
            return class(slots).map(Self::Internal);
        }
        if let Some((prefix, slots)) = text.split_once("slots-") {
            let list = EndpointList::ALL.into_iter().find(|list| list.prefix() == prefix).ok_or(())?;
            return class(slots).map(|class| Self::Slots(list, class));
        }
        let others = [false, true].into_iter().flat_map(|node_port| {
            let kind = if node_port { "affinity-nodeports-" } else { "affinity-services-" };
            let seconds = text.strip_prefix(kind).and_then(|seconds| seconds.parse().ok());
            let frontends = seconds.map(|seconds| Self::WithAffinity(Affinity { node_port, seconds }));
            frontends.into_iter().chain([Self::Clients { node_port }])
        });
        Self::CONSTANT.into_iter().chain(Self::SOURCES).chain(others).find(|set| set.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_number_of_endpoints_and_above_8_the_smallest_power_of_two_that_holds_them() {
        let slots = |n| SizeClass::of(n).map(SizeClass::slots);
        assert_eq!(slots(0), None);
        for (endpoints, expected) in
            [(1, 1), (2, 2), (3, 3), (5, 5), (8, 8), (9, 16), (16, 16), (17, 32), (65_536, 65_536), (70_000, 65_536)]
        {
            assert_eq!(slots(endpoints), Some(expected), "{endpoints} endpoints");
        }
    }

    #[test]
    fn names_are_read_back_as_they_are_written() {
        let classes = (1..=8).chain((4..=16).map(|bits| 1 << bits)).filter_map(SizeClass::of);
        let slots = classes.flat_map(|class| {
            EndpointList::ALL.map(|list| SetName::Slots(list, class)).into_iter().chain([SetName::Internal(class)])
        });
        let affinity = [false, true].into_iter().flat_map(|node_port| {
            let set = |seconds| SetName::WithAffinity(Affinity { node_port, seconds });
            [set(1), set(10_800), set(86_400), SetName::Clients { node_port }]
        });
        for set in SetName::CONSTANT.into_iter().chain(SetName::SOURCES).chain(slots).chain(affinity) {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        for name in [
            "",
            "slots-",
            "slots-9",
            "slots-0",
            "slots-131072",
            "internal",
            "internal-9",
            "affinity-services-",
            "affinity-services-010",
        ] {
            assert_eq!(name.parse::<SetName>(), Err(()), "{name:?}");
        }
    }
}
