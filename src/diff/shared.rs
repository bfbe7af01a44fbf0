//! Elements that several Services may need, and what asks for them.

use crate::dataplane::{Element, Key, SetName};
use crate::state::SharedDemand;

/// An element that several Services may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedElement {
    /// The set.
    pub set: SetName,
    /// The key in that set.
    pub key: Key,
}

impl SharedElement {
    /// What asks for the element; `None` if nothing ever does.
    pub fn demand(self) -> Option<SharedDemand> {
        match (self.set, self.key) {
            (SetName::ClusterIps, Key::Addr(addr)) => Some(SharedDemand::ClusterIp(addr)),
            (SetName::Hairpin, Key::Hairpin(endpoint, protocol)) => {
                Some(SharedDemand::LocalEndpoint(endpoint, protocol))
            }
            (SetName::NodeportIps, Key::Addr(addr)) => Some(SharedDemand::NodePortAddress(addr)),
            (SetName::ServiceCidrs, Key::Network(network)) => Some(SharedDemand::ServiceNetwork(network)),
            _ => None,
        }
    }
}

impl From<SharedDemand> for SharedElement {
    fn from(demand: SharedDemand) -> Self {
        let (set, key) = match demand {
            SharedDemand::ClusterIp(addr) => (SetName::ClusterIps, Key::Addr(addr)),
            SharedDemand::LocalEndpoint(endpoint, protocol) => (SetName::Hairpin, Key::Hairpin(endpoint, protocol)),
            SharedDemand::NodePortAddress(addr) => (SetName::NodeportIps, Key::Addr(addr)),
            SharedDemand::ServiceNetwork(network) => (SetName::ServiceCidrs, Key::Network(network)),
        };
        Self { set, key }
    }
}

impl From<SharedElement> for Element {
    fn from(shared: SharedElement) -> Self {
        Self::member(shared.set, shared.key)
    }
}
