//! Converting the fields about addresses: NodePorts, the pods' networks, and interfaces.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::document::quoted;
use super::fields::DETECT_LOCAL_MODES;
use super::problem::ConfigProblem;
use super::values::KubeProxyConfiguration;
use crate::dataplane::{Family, LocalPods};
use crate::state::NodePortAddresses;

/// The value of `nodePortAddresses`: networks and the words `primary`, `localhost` and `all`, in any combination. A network of loopback
/// addresses stands for the one that is served, as in kube-proxy; without `serves_localhost` it stands for none.
pub(super) fn node_ports(
    items: &[String],
    serves_localhost: bool,
    problems: &mut Vec<ConfigProblem>,
) -> NodePortAddresses {
    let mut accepting = NodePortAddresses::networks(Vec::new());
    for (i, item) in items.iter().enumerate() {
        match item.trim() {
            "primary" => accepting.primary = true,
            "localhost" => accepting.localhost.extend(Family::ALL),
            "all" => accepting.networks.extend(Family::ALL.map(zero_network)),
            text => match text.parse::<IpNet>() {
                Ok(network) if is_loopback(&network) && serves_localhost => {
                    accepting.localhost.insert(Family::from_addr(network.addr()));
                }
                Ok(network) => accepting.networks.push(network.trunc()),
                Err(_) => problems.push(ConfigProblem::new(
                    format!("nodePortAddresses[{i}]"),
                    quoted(item),
                    "primary, localhost, all, or a network such as 192.0.2.0/24 or 2001:db8::/64",
                )),
            },
        }
    }
    if !serves_localhost && !accepting.localhost.is_empty() {
        accepting.localhost.clear();
        // Without any other entry the default counts, not every address.
        accepting.primary |= accepting.networks.is_empty();
    }
    accepting
}

/// The network of all addresses of a family.
fn zero_network(family: Family) -> IpNet {
    IpNet::new_assert(family.unspecified(), 0)
}

/// Whether all addresses of a network are loopback addresses.
pub(super) fn is_loopback(network: &IpNet) -> bool {
    network.network().is_loopback() && network.broadcast().is_loopback()
}

/// How to recognise traffic from local pods.
pub(super) fn local_pods(configuration: &KubeProxyConfiguration, problems: &mut Vec<ConfigProblem>) -> LocalPods {
    let mode = configuration.text("detectLocalMode");
    let mut interface = |path: &'static str, flag: &str| {
        let name = configuration.text(path);
        if is_interface_name(name) {
            return name.to_owned();
        }
        let expected = format!(
            "the name of an interface, because detectLocalMode ({flag}) is {mode}: 1 to 15 characters, no spaces, slashes, \
             quotes or asterisks"
        );
        problems.push(ConfigProblem::new(path, quoted(name), expected));
        String::new()
    };
    match DETECT_LOCAL_MODES.iter().position(|name| *name == mode) {
        Some(0) => cluster_cidr(configuration.text("clusterCIDR"), problems),
        Some(2) => LocalPods::Interface(interface("detectLocal.bridgeInterface", "--detect-local-mode")),
        Some(3) => {
            let prefix = interface("detectLocal.interfaceNamePrefix", "--detect-local-mode");
            LocalPods::Interface(format!("{prefix}*"))
        }
        // NodeCIDR: the networks come from the Node object, later.
        _ => LocalPods::Unknown,
    }
}

fn cluster_cidr(text: &str, problems: &mut Vec<ConfigProblem>) -> LocalPods {
    if text.is_empty() {
        return LocalPods::Unknown;
    }
    let networks: Result<Vec<IpNet>, _> = text.split(',').map(|item| item.trim().parse::<IpNet>()).collect();
    let Ok(networks) = networks else {
        problems.push(ConfigProblem::new(
            "clusterCIDR",
            quoted(text),
            "networks such as 10.244.0.0/16,fd00:10:244::/56",
        ));
        return LocalPods::Unknown;
    };
    let families: BTreeSet<Family> = networks.iter().map(|network| Family::from_addr(network.addr())).collect();
    if families.len() < networks.len() {
        problems.push(ConfigProblem::new("clusterCIDR", quoted(text), "at most one network of each family"));
    }
    LocalPods::Networks(networks.iter().map(IpNet::trunc).collect())
}

/// Whether this can be the name of an interface, or its prefix: at most 15 bytes (`IFNAMSIZ` minus one), no spaces, slashes or quotes.
fn is_interface_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_graphic() && !"/\"*\\".contains(c);
    !text.is_empty() && text.len() <= 15 && text.chars().all(allowed)
}
