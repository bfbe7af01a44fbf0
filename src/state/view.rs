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

/// Which of the node's addresses accept NodePorts (kube-proxy's `nodePortAddresses`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The addresses of the Node object, one of each family.
    #[default]
    Primary,
    /// The host's addresses in these networks. A family without a network here, or with one of length 0, accepts NodePorts on
    /// every address.
    Networks(Vec<IpNet>),
}

impl NodePortAddresses {
    /// The families in which every address accepts NodePorts.
    pub fn unrestricted(&self) -> BTreeSet<Family> {
        let Self::Networks(networks) = self else { return BTreeSet::new() };
        let unrestricted = |family: &Family| {
            let mut of_family =
                networks.iter().filter(|network| Family::from_addr(network.addr()) == *family).peekable();
            of_family.peek().is_none() || of_family.any(|network| network.prefix_len() == 0)
        };
        Family::ALL.into_iter().filter(unrestricted).collect()
    }
}
