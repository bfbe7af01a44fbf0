//! What changed in the cluster since it was last compiled.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{HashedName, ObjectName};
use super::service_state::ServiceState;

/// What changed between two versions of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Services whose object or endpoints changed, appeared or went, as they were before.
    pub(super) services: BTreeMap<HashedName, ServiceState>,
    /// How many Services the first lists of an incomplete cluster had. Which ones does not matter: all are compiled when it is complete.
    pub(super) listed: usize,
    /// The networks of the ServiceCIDRs changed.
    pub(super) service_networks: bool,
    /// The addresses that accept NodePorts may have changed.
    pub(super) node_port_addresses: bool,
}

impl ChangeSet {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.listed == 0 && !self.service_networks && !self.node_port_addresses
    }

    /// The Services whose object or endpoints changed, appeared or went, ordered by name; none for the first lists of an incomplete cluster.
    pub fn services(&self) -> BTreeSet<&ObjectName> {
        self.services.keys().map(|name| &name.0).collect()
    }

    /// How many Services changed, in themselves or in their endpoints.
    pub fn service_count(&self) -> usize {
        self.services.len() + self.listed
    }

    /// Whether the ServiceCIDRs changed.
    pub fn service_networks(&self) -> bool {
        self.service_networks
    }

    /// Whether the addresses that accept NodePorts may have changed.
    pub fn node_port_addresses(&self) -> bool {
        self.node_port_addresses
    }

    /// Adds later changes. A Service stays noted as it was before the first of its changes.
    pub fn merge(&mut self, later: Self) {
        if self.services.is_empty() {
            self.services = later.services;
        } else {
            for (name, before) in later.services {
                self.services.entry(name).or_insert(before);
            }
        }
        self.listed += later.listed;
        self.service_networks |= later.service_networks;
        self.node_port_addresses |= later.node_port_addresses;
    }
}
