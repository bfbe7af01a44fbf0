//! The place that the cluster is seen from.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::guards::Guards;
use crate::dataplane::Family;

/// The place that the cluster is seen from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The node that this process serves: endpoints on it are local.
    pub node_name: Arc<str>,
    /// Which of the node's addresses accept NodePorts.
    pub node_ports: NodePortAddresses,
    /// Stands for the Node object's address of its family (kube-proxy's `bindAddress`).
    pub node_ip: Option<IpAddr>,
    /// Whether external IPs are left out (Kubernetes' feature gate `AllowServiceExternalIPs`, off).
    pub ignore_external_ips: bool,
    /// What Services may not ask for.
    pub guards: Guards,
}

/// Which of the node's addresses accept NodePorts (kube-proxy's `nodePortAddresses`): all that one of these says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePortAddresses {
    /// The addresses of the Node object, one of each family.
    pub primary: bool,
    /// The loopback address of these families. Rules cannot serve it; a listener does.
    pub localhost: BTreeSet<Family>,
    /// The host's addresses in these networks. A network of length 0 stands for every address of its family.
    pub networks: Vec<IpNet>,
}

impl Default for NodePortAddresses {
    fn default() -> Self {
        Self { primary: true, localhost: BTreeSet::new(), networks: Vec::new() }
    }
}

impl NodePortAddresses {
    /// The host's addresses in these networks alone. A family without one accepts NodePorts on every address.
    pub fn networks(networks: Vec<IpNet>) -> Self {
        Self { primary: false, localhost: BTreeSet::new(), networks }
    }

    /// Whether the host's own addresses count, and not only those that the Node object names.
    pub fn needs_host(&self) -> bool {
        !self.networks.is_empty() || (!self.primary && self.localhost.is_empty())
    }

    /// The families in which every address accepts NodePorts: those with a network of length 0 and, if there are only networks, those
    /// without one.
    pub fn unrestricted(&self) -> BTreeSet<Family> {
        let only_networks = !self.primary && self.localhost.is_empty();
        let unrestricted = |family: &Family| {
            let mut of_family =
                self.networks.iter().filter(|network| Family::from_addr(network.addr()) == *family).peekable();
            (of_family.peek().is_none() && only_networks) || of_family.any(|network| network.prefix_len() == 0)
        };
        Family::ALL.into_iter().filter(unrestricted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_leaves_the_families_alone_that_no_network_names() {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        let unrestricted = |addresses: NodePortAddresses| addresses.unrestricted().into_iter().collect::<Vec<_>>();
        let both = Family::ALL.to_vec();
        assert_eq!(unrestricted(NodePortAddresses::networks(vec![])), both);
        assert_eq!(unrestricted(NodePortAddresses::networks(networks(&["10.0.0.0/8"]))), [Family::Ip6]);
        let primary = |texts| NodePortAddresses { networks: networks(texts), ..NodePortAddresses::default() };
        assert_eq!(unrestricted(primary(&[])), []);
        assert_eq!(unrestricted(primary(&["10.0.0.0/8"])), []);
        assert_eq!(unrestricted(primary(&["10.0.0.0/8", "::/0"])), [Family::Ip6]);
        let localhost =
            NodePortAddresses { primary: false, localhost: both.iter().copied().collect(), networks: vec![] };
        assert_eq!((localhost.needs_host(), unrestricted(localhost)), (false, vec![]));
    }
}
