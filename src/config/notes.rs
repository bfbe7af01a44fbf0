//! Notes about settings that are allowed, but have no effect or may not be intended.

use ipnet::IpNet;

use super::problem::ConfigNote;
use super::settings::{EXTERNAL_IPS, LOCKED_ON, Settings};
use crate::dataplane::{Family, LocalPods};
use crate::state::NodePortAddresses;

impl Settings {
    /// Notes about values that are allowed, but have no effect or may not be intended.
    pub(super) fn notes(&self) -> Vec<ConfigNote> {
        let mut notes = Vec::new();
        let without_effect: Vec<&str> = self
            .configuration
            .gates()
            .map(|(gate, _)| gate)
            .filter(|gate| *gate != EXTERNAL_IPS && !LOCKED_ON.contains(gate))
            .collect();
        if !without_effect.is_empty() {
            let gates = without_effect.join(", ");
            notes.push(ConfigNote::Information(format!("featureGates: without effect in Pointsman: {gates}")));
        }
        notes.extend(self.configuration.lost_masquerading().into_iter().map(|(there, here)| {
            let (mode, value) = (self.configuration.kube_proxy_mode(), self.configuration.shown(there));
            ConfigNote::Warning(format!(
                "{there}: {value} counts for kube-proxy in mode {mode}, but not here, where {here} is {}: the sources that pods see \
                 may change. Set {here}: {value}",
                self.configuration.shown(here)
            ))
        }));
        notes.extend(self.without_node_ports());
        if let (NodePortAddresses::Networks(ports), LocalPods::Networks(pods)) =
            (&self.node_ports, &self.options.local_pods)
        {
            let has = |networks: &[IpNet], family| networks.iter().any(|net| Family::from_addr(net.addr()) == family);
            for family in Family::ALL.into_iter().filter(|family| has(pods, *family) && !has(ports, *family)) {
                notes.push(ConfigNote::Warning(format!(
                    "nodePortAddresses has no {family} network, but clusterCIDR has one: every {family} address of the node \
                     accepts NodePorts. Add a network, such as the node's own"
                )));
            }
        }
        notes
    }

    /// A warning for each family whose networks for NodePorts hold no usable address.
    fn without_node_ports(&self) -> Vec<ConfigNote> {
        let NodePortAddresses::Networks(networks) = &self.node_ports else { return Vec::new() };
        let warning = |family: Family| {
            let of_family = networks.iter().filter(|network| Family::from_addr(network.addr()) == family);
            let (useless, useful): (Vec<&IpNet>, Vec<&IpNet>) =
                of_family.partition(|network| accepts_no_node_ports(network));
            if useless.is_empty() || !useful.is_empty() {
                return None;
            }
            let useless: Vec<String> = useless.into_iter().map(ToString::to_string).collect();
            Some(ConfigNote::Warning(format!(
                "nodePortAddresses {}: no {family} address accepts NodePorts, because these networks have only loopback or multicast \
                 addresses, which never do in nftables mode. Add the node's own network, or leave the field out",
                useless.join(", ")
            )))
        };
        Family::ALL.into_iter().filter_map(warning).collect()
    }
}

/// Whether no address of this network can accept NodePorts.
fn accepts_no_node_ports(network: &IpNet) -> bool {
    let (first, last) = (network.network(), network.broadcast());
    (first.is_loopback() && last.is_loopback()) || (first.is_multicast() && last.is_multicast())
}
