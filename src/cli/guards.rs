//! Options about what Services may ask for.

use ipnet::IpNet;

use crate::state::Guards;

/// What Services may ask for. kube-proxy has no such options.
#[derive(Debug, clap::Args)]
pub(super) struct GuardArgs {
    /// Serve external IPs (spec.externalIPs) in these networks only, such as 203.0.113.0/24,2001:db8::/32. Others are left out with a
    /// warning, a metric and an Event [default: serve all]
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',', value_parser = network, global = true)]
    external_ip_networks: Vec<IpNet>,

    /// Use no endpoints in these networks, such as 169.254.0.0/16,127.0.0.0/8,::1/128. They are left out with a warning, a metric and an
    /// Event [default: use all]
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',', value_parser = network, global = true)]
    refused_endpoint_networks: Vec<IpNet>,

    /// Warn about endpoints at loopback addresses, link-local ones and this node's own. They are used all the same: pods in the host's
    /// network have its addresses
    #[arg(long, global = true)]
    warn_local_endpoints: bool,

    /// The most elements of one Service, 1000 or more: its frontends, and the endpoints and source ranges of each. Frontends that do not
    /// fit are left out with a warning, a metric and an Event
    #[arg(
        long, value_name = "ELEMENTS", default_value = "1000000",
        value_parser = clap::value_parser!(u32).range(1_000..), global = true
    )]
    max_service_elements: u32,
}

impl GuardArgs {
    /// As the cluster is compiled.
    pub fn guards(&self) -> Guards {
        Guards {
            external_ip_networks: self.external_ip_networks.clone(),
            refused_endpoint_networks: self.refused_endpoint_networks.clone(),
            tells_local_endpoints: self.warn_local_endpoints,
            max_elements: usize::try_from(self.max_service_elements).unwrap_or(usize::MAX),
        }
    }
}

/// A network; its host bits do not count.
fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.trim().parse::<IpNet>().map(|network| network.trunc());
    network.map_err(|_| "expected a network such as 192.0.2.0/24 or 2001:db8::/32")
}
