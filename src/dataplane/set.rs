//! The sets and maps of a table: their names, keys and meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::LazyLock;

use super::counted::Counted;
use super::key::{Frontend, Protocol};

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
    /// Load-balancer frontends that only some sources may use, each with the chain that checks the source.
    SourceChecks,
    /// The ranges of sources that may use one of these frontends.
    Sources(Frontend),
    /// Endpoints on this node, as source and as destination: a connection from an endpoint to itself is masqueraded.
    Hairpin,
    /// All other frontends with endpoints, by list and size class.
    Slots(EndpointList, SizeClass),
    /// The endpoints of every frontend, numbered from 0 without gaps.
    Endpoints(EndpointList),
    /// ClusterIP frontends with endpoints whose clients stay with their endpoint (`sessionAffinity: ClientIP`).
    InternalAffinity,
    /// The chains of all frontends whose clients stay with their endpoint, for one step: of NodePorts, or of addresses.
    AffinityChains(AffinityStep, bool),
    /// The frontends of a list whose clients stay with their endpoint, by size class.
    AffinitySlots(EndpointList, SizeClass),
    /// The ids of the endpoints of these frontends, numbered from 0 without gaps.
    EndpointIds(EndpointList),
    /// The endpoints of these frontends by id. An endpoint keeps its id for as long as it stays.
    EndpointsById(EndpointList),
    /// The clients of one frontend, each with the id of its endpoint. Packets add elements, which expire.
    Clients(Frontend),
    /// How many connections each frontend had: of NodePorts, or of addresses. Packets add elements, each with a counter.
    Counts(Counted, bool),
}

/// A step of session affinity that each frontend does in a chain of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AffinityStep {
    /// The id of the client's endpoint is looked up, and the client's timeout starts again.
    Recall,
    /// The client is remembered with the id of an endpoint.
    Remember,
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
    /// The id of an endpoint: rules keep it in the packet's priority between two look-ups.
    Id,
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
    /// The fields of the data; empty for a plain set and for a verdict map.
    pub data: &'static [Field],
    /// Whether the data is a verdict: where a packet goes on.
    pub verdict: bool,
    /// Whether elements are ranges.
    pub interval: bool,
    /// Whether packets add elements. Those of a map expire.
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

    /// The sets of a list that exist while one of its frontends has session affinity, but for those of size classes.
    pub fn affinity(list: EndpointList) -> [Self; 2] {
        [Self::EndpointIds(list), Self::EndpointsById(list)]
    }

    /// The maps of the chains of all NodePorts with session affinity, or of all other frontends with it.
    pub fn affinity_chains(node_port: bool) -> [Self; 2] {
        AffinityStep::ALL.map(|step| Self::AffinityChains(step, node_port))
    }

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
            | Self::SourceChecks
            | Self::InternalAffinity => (FRONTEND, &[], false),
            Self::Nodeports | Self::NodeportsLocal | Self::RejectNodeports | Self::DropNodeports => {
                (NODE_PORT, &[], false)
            }
            Self::Slots(list, _) | Self::AffinitySlots(list, _) => {
                (if list.is_node_port() { NODE_PORT } else { FRONTEND }, &[], false)
            }
            Self::AffinityChains(_, node_port) | Self::Counts(_, node_port) => {
                (if node_port { NODE_PORT } else { FRONTEND }, &[], false)
            }
            Self::Sources(_) => (&[Field::Saddr], &[], true),
            Self::Hairpin => (&[Field::Saddr, Field::Daddr, Field::L4Proto, Field::Dport], &[], false),
            Self::Endpoints(list) => (list.numbered_key(), ENDPOINT, false),
            Self::EndpointIds(list) => (list.numbered_key(), &[Field::Id], false),
            Self::EndpointsById(list) if list.is_node_port() => {
                (&[Field::L4Proto, Field::Dport, Field::Id], ENDPOINT, false)
            }
            Self::EndpointsById(_) => (&[Field::Daddr, Field::L4Proto, Field::Dport, Field::Id], ENDPOINT, false),
            Self::Clients(_) => (&[Field::Saddr], &[Field::Id], false),
        };
        let verdict = matches!(self, Self::AffinityChains(..) | Self::SourceChecks);
        SetDefinition { key, data, verdict, interval, dynamic: self.is_dynamic() }
    }
}

impl SetName {
    /// The list and the size class of its members; `None` if the set does not decide them.
    pub fn class(&self) -> Option<(EndpointList, SizeClass)> {
        match self {
            Self::Internal(class) => Some((EndpointList::Any, *class)),
            Self::Slots(list, class) | Self::AffinitySlots(list, class) => Some((*list, *class)),
            _ => None,
        }
    }

    /// The frontend that the set belongs to alone, with all its elements; `None` if it is shared.
    pub fn frontend(&self) -> Option<Frontend> {
        match self {
            Self::Clients(frontend) | Self::Sources(frontend) => Some(*frontend),
            _ => None,
        }
    }

    /// Whether only packets add elements.
    pub fn is_dynamic(self) -> bool {
        matches!(self, Self::Clients(_) | Self::Counts(..))
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

    /// The key of a map from its slots.
    fn numbered_key(self) -> &'static [Field] {
        match self.is_node_port() {
            false => &[Field::Daddr, Field::L4Proto, Field::Dport, Field::Slot],
            true => &[Field::L4Proto, Field::Dport, Field::Slot],
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
        self.verdict || !self.data.is_empty()
    }
}

impl AffinityStep {
    /// Both steps, in the order in which a packet takes them.
    pub const ALL: [Self; 2] = [Self::Recall, Self::Remember];

    /// The beginning of the names of its chains.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recall => "recall",
            Self::Remember => "remember",
        }
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
            Self::SourceChecks => "source-checks",
            Self::Sources(frontend) => return write!(f, "sources-{}", FrontendName(*frontend)),
            Self::Hairpin => "hairpin",
            Self::Slots(list, class) => return write!(f, "{}slots-{}", list.prefix(), class.slots()),
            Self::Endpoints(list) => return write!(f, "{}endpoints", list.prefix()),
            Self::InternalAffinity => "internal-affinity",
            Self::AffinityChains(step, false) => return write!(f, "{}-clients", step.name()),
            Self::AffinityChains(step, true) => return write!(f, "nodeport-{}-clients", step.name()),
            Self::AffinitySlots(list, class) => return write!(f, "{}affinity-slots-{}", list.prefix(), class.slots()),
            Self::EndpointIds(list) => return write!(f, "{}endpoint-ids", list.prefix()),
            Self::EndpointsById(list) => return write!(f, "{}endpoints-by-id", list.prefix()),
            Self::Clients(frontend) => return write!(f, "clients-{}", FrontendName(*frontend)),
            Self::Counts(counted, false) => return write!(f, "{}-connections", counted.name()),
            Self::Counts(counted, true) => return write!(f, "nodeport-{}-connections", counted.name()),
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
        if text == "internal-affinity" {
            return Ok(Self::InternalAffinity);
        }
        if let Some(slots) = text.strip_prefix("internal-") {
            return class(slots).map(Self::Internal);
        }
        if let Some(frontend) = text.strip_prefix("clients-") {
            return FrontendName::parse(frontend).map(|frontend| Self::Clients(frontend.0)).ok_or(());
        }
        if let Some(frontend) = text.strip_prefix("sources-") {
            return FrontendName::parse(frontend).map(|frontend| Self::Sources(frontend.0)).ok_or(());
        }
        if let Some((prefix, slots)) = text.split_once("slots-") {
            let (prefix, with_affinity) =
                prefix.strip_suffix("affinity-").map_or((prefix, false), |prefix| (prefix, true));
            let list = EndpointList::ALL.into_iter().find(|list| list.prefix() == prefix).ok_or(())?;
            let set = if with_affinity { Self::AffinitySlots } else { Self::Slots };
            return class(slots).map(|class| set(list, class));
        }
        CONSTANT_NAMES.get(text).copied().ok_or(())
    }
}

/// The sets whose names have no parameter, by their names.
static CONSTANT_NAMES: LazyLock<BTreeMap<String, SetName>> = LazyLock::new(|| {
    let affinity = EndpointList::ALL.into_iter().flat_map(SetName::affinity);
    let chains = [false, true].into_iter().flat_map(SetName::affinity_chains);
    let constant = SetName::CONSTANT.into_iter().chain([SetName::SourceChecks]);
    constant.chain(affinity).chain(chains).chain(Counted::sets()).map(|set| (set.to_string(), set)).collect()
});

/// A frontend in the name of a set or chain: `10.96.0.10-tcp-80`. nft takes no colons in names: those of an IPv6 address become
/// underscores. A NodePort has the unspecified address.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrontendName(pub Frontend);

impl FrontendName {
    /// Parses such a name; `None` if it is not exactly as it would be written.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let addr: IpAddr = parts.next()?.replace('_', ":").parse().ok()?;
        let protocol: Protocol = parts.next()?.parse().ok()?;
        let name = Self(Frontend { addr, protocol, port: parts.next()?.parse().ok()? });
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for FrontendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frontend { addr, protocol, port } = self.0;
        write!(f, "{}-{protocol}-{port}", addr.to_string().replace(':', "_"))
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
        let affinity = EndpointList::ALL.into_iter().flat_map(|list| {
            let classes = [1, 8, 65_536].into_iter().filter_map(SizeClass::for_endpoints);
            classes.map(move |class| SetName::AffinitySlots(list, class)).chain(SetName::affinity(list))
        });
        let clients = ["10.96.0.1", "0.0.0.0", "fd00:96::1", "::", "::ffff:10.0.0.1"].map(|addr| {
            SetName::Clients(Frontend { addr: addr.parse().unwrap(), protocol: Protocol::Sctp, port: 65_535 })
        });
        let chains = [false, true].into_iter().flat_map(SetName::affinity_chains);
        let sources = clients.map(|clients| SetName::Sources(clients.frontend().unwrap()));
        let others = [SetName::SourceChecks, SetName::InternalAffinity].into_iter().chain(sources).chain(slots);
        let others = others.chain(Counted::sets());
        for set in SetName::CONSTANT.into_iter().chain(others).chain(affinity).chain(clients).chain(chains) {
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
            "affinity",
            "affinity-services-10",
            "affinity-slots-9",
            "clients-",
            "clients-10.96.0.1-tcp",
            "clients-10.96.0.1-TCP-80",
            "clients-10.96.0.1-tcp-080",
            "clients-fd00:96::1-tcp-80",
            "sources-",
            "sources-10.96.0.1-tcp",
            // The names of sets for all frontends, in version 0.1.0.
            "firewalled",
            "allowed-sources",
        ] {
            assert_eq!(name.parse::<SetName>(), Err(()), "{name:?}");
        }
    }
}
