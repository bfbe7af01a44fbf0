//! What changed between two snapshots of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::known::Known;
use super::names::{ByHash, ObjectName};
use super::object::Node;

/// What changed between two snapshots, and how it was before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services whose object or endpoints changed, appeared or went, as they were.
    pub(super) services: BTreeMap<ByHash, Known>,
    /// The networks of the ServiceCIDRs as they were, if they changed.
    pub(super) service_networks: Option<Vec<IpNet>>,
    /// The addresses that accept NodePorts as they were, if they may have changed.
    pub(super) node_port_ips: Option<Vec<IpAddr>>,
    /// This node's object as it was, if that changed.
    pub(super) node: Option<Option<Arc<Node>>>,
}

impl Touched {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.service_cidrs() && !self.node_port_ips()
    }

    /// The Services whose object or endpoints changed, appeared or went, in order.
    pub fn services(&self) -> BTreeSet<&ObjectName> {
        self.services.keys().map(|name| &name.0).collect()
    }

    /// How many Services these are.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// Whether the ServiceCIDRs changed.
    pub fn service_cidrs(&self) -> bool {
        self.service_networks.is_some()
    }

    /// Whether the addresses that accept NodePorts may have changed.
    pub fn node_port_ips(&self) -> bool {
        self.node_port_ips.is_some()
    }

    /// Adds what changed in a later step.
    pub fn merge(&mut self, later: Self) {
        if self.services.is_empty() {
            self.services = later.services;
        } else {
            for (name, before) in later.services {
                self.services.entry(name).or_insert(before);
            }
        }
        self.service_networks = self.service_networks.take().or(later.service_networks);
        self.node_port_ips = self.node_port_ips.take().or(later.node_port_ips);
        self.node = self.node.take().or(later.node);
    }

    /// The Services in the order of their hashes, as they were.
    pub(super) fn before(&self) -> impl ExactSizeIterator<Item = (&ByHash, &Known)> {
        self.services.iter()
    }

    /// The networks of the ServiceCIDRs as they were, if they changed.
    pub(super) fn networks_before(&self) -> Option<&[IpNet]> {
        self.service_networks.as_deref()
    }

    /// The addresses that accept NodePorts as they were, if they may have changed.
    pub(super) fn node_port_ips_before(&self) -> Option<&[IpAddr]> {
        self.node_port_ips.as_deref()
    }

    /// This node's object as it was, given what it is now.
    pub(super) fn node_before<'a>(&'a self, now: Option<&'a Node>) -> Option<&'a Node> {
        self.node.as_ref().map_or(now, |before| before.as_deref())
    }
}
