//! Notes about settings that are allowed, but have no effect or may not be intended.

use ipnet::IpNet;

use super::hint::nearest_gate;
use super::networks::is_loopback;
use super::problem::ConfigNote;
use super::settings::{Settings, honoured_gates};
use crate::dataplane::{Family, LocalPods};

impl Settings {
    /// Notes about values that are allowed, but have no effect or may not be intended.
    pub(super) fn notes(&self) -> Vec<ConfigNote> {
        let mut notes = Vec::new();
        notes.extend(self.gates_without_effect());
        notes.extend(self.configuration.lost_masquerading().into_iter().map(|(there, here)| {
            let (mode, value) = (self.configuration.kube_proxy_mode(), self.configuration.shown(there));
            ConfigNote::Warning(format!(
                "{there}: {value} counts for kube-proxy in mode {mode}, but not here, where {here} is {}: the sources that pods see \
                 may change. Set {here}: {value}",
                self.configuration.shown(here)
            ))
        }));
        notes.extend(self.without_node_ports());
        if let LocalPods::Networks(pods) = &self.options.local_pods {
            let (ports, open) = (&self.node_ports.networks, self.node_ports.unrestricted());
            let has = |networks: &[IpNet], family| networks.iter().any(|net| Family::from_addr(net.addr()) == family);
            for family in open.into_iter().filter(|family| has(pods, *family) && !has(ports, *family)) {
                notes.push(ConfigNote::Warning(format!(
                    "nodePortAddresses has no {family} network, but clusterCIDR has one: every {family} address of the node \
                     accepts NodePorts. Add a network, such as the node's own"
                )));
            }
        }
        notes
    }

    /// Notes about gates that nothing depends on here. One that resembles a gate that matters is probably misspelt.
    fn gates_without_effect(&self) -> Vec<ConfigNote> {
        let gates = self.configuration.gates().map(|(gate, _)| gate);
        let others: Vec<&str> = gates.filter(|gate| !honoured_gates().any(|honoured| honoured == *gate)).collect();
        let mut notes = Vec::new();
        if !others.is_empty() {
            let others = others.join(", ");
            notes.push(ConfigNote::Information(format!("featureGates: without effect in Pointsman: {others}")));
        }
        notes.extend(others.into_iter().filter_map(|gate| {
            let meant = nearest_gate(gate, honoured_gates())?;
            Some(ConfigNote::Warning(format!("featureGates: {gate} has no effect: did you mean {meant}?")))
        }));
        notes
    }

    /// A warning for each family whose networks for NodePorts hold no usable address.
    fn without_node_ports(&self) -> Vec<ConfigNote> {
        let warning = |family: Family| {
            let of_family =
                self.node_ports.networks.iter().filter(|network| Family::from_addr(network.addr()) == family);
            let (useless, useful): (Vec<&IpNet>, Vec<&IpNet>) =
                of_family.partition(|network| accepts_no_node_ports(network));
            let has_other = self.node_ports.primary || self.node_ports.localhost.contains(&family);
            if useless.is_empty() || !useful.is_empty() || has_other {
                return None;
            }
            let useless: Vec<String> = useless.into_iter().map(ToString::to_string).collect();
            Some(ConfigNote::Warning(format!(
                "nodePortAddresses {}: no {family} address accepts NodePorts, because these networks have only loopback or multicast \
                 addresses. Add the node's own network, or leave the field out",
                useless.join(", ")
            )))
        };
        Family::ALL.into_iter().filter_map(warning).collect()
    }
}

/// Whether no address of this network can accept NodePorts.
fn accepts_no_node_ports(network: &IpNet) -> bool {
    is_loopback(network) || (network.network().is_multicast() && network.broadcast().is_multicast())
}
