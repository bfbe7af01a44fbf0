//! The sets and maps of a table: their names, keys and meaning.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::key::Family;

/// A set or map of the program.
///
/// The order is the way of a packet: from the sets that decide about a frontend to its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetName {
    /// Every proxied ClusterIP: ports that no Service defines are refused.
    ClusterIps,
    /// The ranges of ClusterIPs: packets to an address that no Service has are dropped.
    ServiceCidrs,
    /// The node's addresses that accept NodePorts.
    NodeportIps,
    /// ClusterIP frontends with endpoints, by size class.
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
    /// Load-balancer frontends that only some sources may use.
    Firewalled,
    /// The sources that may use each of these frontends, one set for each length of prefixes.
    AllowedSources(PrefixLength),
    /// Endpoints on this node, as source and as destination: a connection from an endpoint to itself is masqueraded.
    Hairpin,
    /// All other frontends with endpoints, by list and size class.
    Slots(EndpointList, SizeClass),
    /// The endpoints of every frontend, numbered from 0 without gaps.
    Endpoints(EndpointList),
    /// Frontends whose clients stay with their endpoint (`sessionAffinity: ClientIP`).
    WithAffinity(Affinity),
    /// The affinity map: the endpoint of each client. Packets add elements, which expire.
    Clients {
        /// Whether it is the map for NodePorts, and not the one for addresses.
        node_port: bool,
    },
}

/// A kind of session affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affinity {
    /// Whether it is for NodePorts, and not for addresses.
    pub node_port: bool,
    /// How long a client keeps its endpoint after its last new connection, in seconds.
    pub seconds: u32,
}

/// A list of endpoints that a frontend may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointList {
    /// For an address: the endpoints for all clients.
    Any,
    /// For an address: this node's endpoints, for traffic from outside the cluster under `externalTrafficPolicy: Local`.
    Local,
    /// As [`EndpointList::Any`], for a NodePort.
    NodeportAny,
    /// As [`EndpointList::Local`], for a NodePort.
    NodeportLocal,
}

/// The size class of a frontend: its number of slots, 1 to 65,536. Up to 8 this is the number of endpoints, above 8 the smallest
/// power of two that is not less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(u32);

/// The number of bits, 0 to 128, that the addresses of a network have in common.
///
/// The sources of a frontend are found by prefix: the rules cut a packet's source to each length in use, and look up what is left. So
/// each range is one entry of a hash table, whatever else is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixLength(u8);

/// The definition of a field of a key or of data: where a packet carries it.
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
    /// Slot number: a random number below the size class.
    Slot,
    /// Destination address before translation.
    OriginalDaddr,
    /// Destination port before translation, and the type of any port in a map's data.
    ///
    /// With `th dport` in a map's data nft 1.1.3 creates the map, but no later process can add a rule that translates to it
    /// ("conflicting protocols specified: ip vs. th"); with `tcp dport` it limits such rules to TCP, without an error.
    OriginalDport,
}

/// The type of a set (no data) or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetDefinition {
    /// The fields of the key.
    pub key: &'static [Field],
    /// The fields of the data; empty for a plain set.
    pub data: &'static [Field],
    /// Whether elements are ranges.
    pub interval: bool,
    /// Whether packets add elements, which expire.
    pub dynamic: bool,
}

/// The key of an address, protocol and port.
const FRONTEND: &[Field] = &[Field::Daddr, Field::L4Proto, Field::Dport];
/// The key of a NodePort.
const NODE_PORT: &[Field] = &[Field::L4Proto, Field::Dport];

impl SetName {
    /// The sets and maps that exist in every cluster, in the order of their creation.
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
            Self::AllowedSources(_) => (&[Field::Daddr, Field::L4Proto, Field::Dport, Field::Saddr], &[], false),
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
    /// The list and the size class of its members; `None` if the set does not decide them.
    pub fn class(&self) -> Option<(EndpointList, SizeClass)> {
        match self {
            Self::Internal(class) => Some((EndpointList::Any, *class)),
            Self::Slots(list, class) => Some((*list, *class)),
            _ => None,
        }
    }

    /// The session affinity of its members; `None` if the set does not decide it.
    pub fn affinity(&self) -> Option<Affinity> {
        match self {
            Self::WithAffinity(affinity) => Some(*affinity),
            _ => None,
        }
    }

    /// The length of the prefixes in it; `None` if it does not hold sources.
    pub fn prefix_length(&self) -> Option<PrefixLength> {
        match self {
            Self::AllowedSources(length) => Some(*length),
            _ => None,
        }
    }

    /// Whether only packets add elements, which expire.
    pub fn is_dynamic(self) -> bool {
        matches!(self, Self::Clients { .. })
    }
}

impl EndpointList {
    /// Every list.
    pub const ALL: [Self; 4] = [Self::Any, Self::Local, Self::NodeportAny, Self::NodeportLocal];

    /// The list of a frontend: a NodePort or an address, for all clients or for traffic that must stay on this node.
    pub fn for_frontends(node_port: bool, local: bool) -> Self {
        match (node_port, local) {
            (false, false) => Self::Any,
            (false, true) => Self::Local,
            (true, false) => Self::NodeportAny,
            (true, true) => Self::NodeportLocal,
        }
    }

    /// Whether it belongs to NodePorts.
    pub fn is_node_port(self) -> bool {
        matches!(self, Self::NodeportAny | Self::NodeportLocal)
    }

    /// Whether it has only endpoints of this node.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Local | Self::NodeportLocal)
    }

    /// The name of the chain that chooses an endpoint from it.
    pub fn chain(self) -> &'static str {
        match self {
            Self::Any => "endpoints-any",
            Self::Local => "endpoints-local",
            Self::NodeportAny => "nodeport-any",
            Self::NodeportLocal => "nodeport-local",
        }
    }

    /// The prefix of the names of its sets and chains.
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
    /// Up to here every number of endpoints is a class of its own.
    const MAX_EXACT: u32 = 8;

    /// The size class of a frontend with `endpoints` endpoints; `None` for 0. More than 65,536 count as 65,536.
    pub fn for_endpoints(endpoints: usize) -> Option<Self> {
        let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX).min(Self::MAX.0);
        match endpoints {
            0 => None,
            1..=Self::MAX_EXACT => Some(Self(endpoints)),
            more => Some(Self(more.next_power_of_two())),
        }
    }

    /// The number of slots.
    pub fn slots(self) -> u32 {
        self.0
    }

    /// The next smaller class, whose slots are all filled in every frontend of this class; `None` if this class itself has an endpoint
    /// in each slot.
    pub fn halved(self) -> Option<Self> {
        (self.0 > Self::MAX_EXACT).then_some(Self(self.0 / 2))
    }
}

impl PrefixLength {
    /// The length of a network's prefix.
    pub fn of_network(network: &IpNet) -> Self {
        Self(network.prefix_len())
    }

    /// The number of bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The network of this length that an address is in; `None` if the address has fewer bits.
    pub fn network_with(self, addr: IpAddr) -> Option<IpNet> {
        IpNet::new(addr, self.0).ok().map(|network| network.trunc())
    }

    /// The mask that leaves these bits of an address; `None` if they are all that an address of this family has, or more.
    pub fn mask(self, family: Family) -> Option<IpAddr> {
        let network = IpNet::new(family.unspecified(), self.0).ok()?;
        (network.prefix_len() < network.max_prefix_len()).then(|| network.netmask())
    }
}

impl FromStr for PrefixLength {
    type Err = ();

    /// Parses a number of bits as `Display` writes it.
    fn from_str(text: &str) -> Result<Self, ()> {
        let bits: u8 = text.parse().map_err(|_| ())?;
        (bits <= 128 && bits.to_string() == text).then_some(Self(bits)).ok_or(())
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
            Self::AllowedSources(length) => return write!(f, "allowed-sources-{}", length.bits()),
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

    /// Parses the name of a set.
    ///
    /// # Errors
    ///
    /// If the program has no set of this name.
    fn from_str(text: &str) -> Result<Self, ()> {
        let class = |slots: &str| {
            let slots: usize = slots.parse().map_err(|_| ())?;
            SizeClass::for_endpoints(slots).filter(|class| class.slots() as usize == slots).ok_or(())
        };
        if let Some(slots) = text.strip_prefix("internal-") {
            return class(slots).map(Self::Internal);
        }
        if let Some((prefix, slots)) = text.split_once("slots-") {
            let list = EndpointList::ALL.into_iter().find(|list| list.prefix() == prefix).ok_or(())?;
            return class(slots).map(|class| Self::Slots(list, class));
        }
        if let Some(bits) = text.strip_prefix("allowed-sources-") {
            return bits.parse().map(Self::AllowedSources);
        }
        let others = [false, true].into_iter().flat_map(|node_port| {
            let kind = if node_port { "affinity-nodeports-" } else { "affinity-services-" };
            let seconds = text.strip_prefix(kind).and_then(|seconds| seconds.parse().ok());
            let frontends = seconds.map(|seconds| Self::WithAffinity(Affinity { node_port, seconds }));
            frontends.into_iter().chain([Self::Clients { node_port }])
        });
        Self::CONSTANT.into_iter().chain([Self::Firewalled]).chain(others).find(|set| set.to_string() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_number_of_endpoints_and_above_8_the_smallest_power_of_two_that_holds_them() {
        let slots = |n| SizeClass::for_endpoints(n).map(SizeClass::slots);
        assert_eq!(slots(0), None);
        for (endpoints, expected) in
            [(1, 1), (2, 2), (3, 3), (5, 5), (8, 8), (9, 16), (16, 16), (17, 32), (65_536, 65_536), (70_000, 65_536)]
        {
            assert_eq!(slots(endpoints), Some(expected), "{endpoints} endpoints");
        }
    }

    #[test]
    fn a_written_name_is_parsed_again() {
        let classes = (1..=8).chain((4..=16).map(|bits| 1 << bits)).filter_map(SizeClass::for_endpoints);
        let slots = classes.flat_map(|class| {
            EndpointList::ALL.map(|list| SetName::Slots(list, class)).into_iter().chain([SetName::Internal(class)])
        });
        let affinity = [false, true].into_iter().flat_map(|node_port| {
            let set = |seconds| SetName::WithAffinity(Affinity { node_port, seconds });
            [set(1), set(10_800), set(86_400), SetName::Clients { node_port }]
        });
        let sources = [0, 1, 24, 32, 128].into_iter().map(|bits| SetName::AllowedSources(PrefixLength(bits)));
        let sources = sources.chain([SetName::Firewalled]);
        for set in SetName::CONSTANT.into_iter().chain(sources).chain(slots).chain(affinity) {
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
            // The name of one set for all sources, in version 0.1.0.
            "allowed-sources",
            "allowed-sources-",
            "allowed-sources-024",
            "allowed-sources-129",
        ] {
            assert_eq!(name.parse::<SetName>(), Err(()), "{name:?}");
        }
    }

    #[test]
    fn a_prefix_is_the_masked_address_and_a_whole_address_needs_no_mask() {
        let addr = |text: &str| text.parse::<IpAddr>().unwrap();
        for (bits, family, mask) in [
            (0, Family::Ip, Some("0.0.0.0")),
            (25, Family::Ip, Some("255.255.255.128")),
            (32, Family::Ip, None),
            (33, Family::Ip, None),
            (32, Family::Ip6, Some("ffff:ffff::")),
            (127, Family::Ip6, Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")),
            (128, Family::Ip6, None),
        ] {
            assert_eq!(PrefixLength(bits).mask(family), mask.map(addr), "{bits} bits of {family}");
        }
        let network = PrefixLength(25).network_with(addr("192.0.2.200")).map(|network| network.to_string());
        assert_eq!(network.as_deref(), Some("192.0.2.128/25"));
        assert_eq!(PrefixLength(33).network_with(addr("192.0.2.1")), None);
    }
}
