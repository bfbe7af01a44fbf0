//! What the worker is asked to look at.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::dataplane::{Family, Frontend};

/// Flows that may be stale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowsToCheck {
    /// Those to these UDP frontends.
    pub frontends: BTreeSet<Frontend>,
    /// The addresses that accepted NodePorts when this was asked for, or before: flows to NodePorts among the frontends can be to them.
    pub node_port_addresses: BTreeSet<IpAddr>,
}

impl FlowsToCheck {
    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.frontends.is_empty()
    }

    /// Adds what another request asks for.
    pub fn merge(&mut self, other: Self) {
        self.frontends.extend(other.frontends);
        self.node_port_addresses.extend(other.node_port_addresses);
    }

    /// Takes those of one family.
    #[must_use]
    pub fn take(&mut self, family: Family) -> Self {
        let (frontends, others) = std::mem::take(&mut self.frontends).into_iter().partition(|it| it.family() == family);
        let is_of_family = |addr: &IpAddr| Family::from_addr(*addr) == family;
        let (node_port_addresses, elsewhere) =
            std::mem::take(&mut self.node_port_addresses).into_iter().partition(is_of_family);
        (self.frontends, self.node_port_addresses) = (others, elsewhere);
        Self { frontends, node_port_addresses }
    }
}
