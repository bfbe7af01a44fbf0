//! One Service while it is compiled, port by port.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{CompiledService, Exposure, FrontendSpec, Outcome, SharedDemand, Site};
use crate::dataplane::{Endpoint, Family, Frontend};
use crate::state::guards::Share;
use crate::state::names::owner_tag;
use crate::state::object::{Service, ServicePort};
use crate::state::select::{ChosenEndpoints, Needs, select};
use crate::state::slice_ports::SlicePorts;

/// A Service while it is compiled.
pub(super) struct ServiceDraft<'a> {
    pub site: Site<'a>,
    pub service: &'a Service,
    pub slices: SlicePorts<'a>,
    pub share: Share,
    pub compiled: CompiledService,
}

/// A port in one family that load-balancer and external IPs lead to.
pub(super) struct ExposedPort<'a> {
    cluster_ip: IpAddr,
    port: &'a ServicePort,
    owner: Arc<str>,
    outcome: Outcome,
}

impl<'a> ServiceDraft<'a> {
    /// Compiles one port in one family: at its ClusterIP and its NodePort.
    pub fn compile_port(&mut self, cluster_ip: IpAddr, port: &'a ServicePort) -> Option<ExposedPort<'a>> {
        let Self { site, service, .. } = *self;
        let family = Family::from_addr(cluster_ip);
        let has_addresses = !service.external_ips.is_empty() || !service.load_balancer_ips.is_empty();
        let exposed = port.node_port.is_some() || has_addresses;
        let needs = Needs {
            cluster: exposed || !service.internal_traffic_local,
            local: service.internal_traffic_local || (exposed && service.external_traffic_local),
        };
        let chosen = select(&self.slices, port, family, site.place(), needs);
        let local_endpoint = |endpoint: &Endpoint| SharedDemand::LocalEndpoint(*endpoint, port.protocol);
        self.compiled.shared.extend(chosen.reachable_here.iter().map(local_endpoint));
        self.share.spend(chosen.reachable_here.len());
        let owner = owner_tag(&service.name, &port.name);
        let internal = internal(service, &chosen);
        self.ask((cluster_ip, port.port), Exposure::Internal, port, &owner, &internal, None);
        if !exposed {
            return None;
        }
        let outcome = external(service, chosen);
        if let Some(number) = port.node_port {
            self.ask((family.unspecified(), number.get()), Exposure::External, port, &owner, &outcome, None);
        }
        has_addresses.then_some(ExposedPort { cluster_ip, port, owner, outcome })
    }

    /// Compiles the load-balancer and external IPs of all ports.
    pub fn expose(&mut self, ports: &[ExposedPort<'_>]) {
        let Self { site, service, .. } = *self;
        let of_family = |addrs: &[IpAddr], cluster_ip: IpAddr| -> BTreeSet<IpAddr> {
            let is_usable = |addr: &IpAddr| addr.is_ipv4() == cluster_ip.is_ipv4() && *addr != cluster_ip;
            addrs.iter().copied().filter(is_usable).collect()
        };
        let families = || {
            ports
                .chunk_by(|a, b| a.cluster_ip == b.cluster_ip)
                .filter_map(|ports| ports.first().map(|first| (first.cluster_ip, ports)))
        };
        for (cluster_ip, ports) in families() {
            let sources = sources(site, service, Family::from_addr(cluster_ip));
            self.expose_at(ports, &of_family(&service.load_balancer_ips, cluster_ip), sources.as_ref());
        }
        if site.view.ignore_external_ips || service.external_ips.is_empty() {
            return;
        }
        for (cluster_ip, ports) in families() {
            let mut addrs = of_family(&service.external_ips, cluster_ip);
            addrs.retain(|addr| site.view.guards.allows_external_ip(*addr));
            for addr in &service.load_balancer_ips {
                addrs.remove(addr);
            }
            self.expose_at(ports, &addrs, None);
        }
    }

    /// Compiles these addresses of these ports.
    fn expose_at(&mut self, ports: &[ExposedPort<'_>], addrs: &BTreeSet<IpAddr>, sources: Option<&Arc<[IpNet]>>) {
        for (n, ExposedPort { port, owner, outcome, .. }) in ports.iter().enumerate() {
            if self.share.is_spent() {
                return self.share.leave_out((ports.len() - n) * addrs.len());
            }
            for addr in addrs {
                self.ask((*addr, port.port), Exposure::External, port, owner, outcome, sources);
            }
        }
    }

    /// Asks for a frontend, if there is room for it in the Service's share.
    fn ask(
        &mut self,
        (addr, number): (IpAddr, u16),
        exposure: Exposure,
        port: &ServicePort,
        owner: &Arc<str>,
        outcome: &Outcome,
        sources: Option<&Arc<[IpNet]>>,
    ) {
        let endpoints = outcome.endpoint_count();
        if !self.share.takes(endpoints + sources.map_or(0, |sources| sources.len())) {
            return;
        }
        let frontend = Frontend { addr, protocol: port.protocol, port: number };
        let asked = FrontendSpec {
            service: self.service.name.clone(),
            owner: Arc::clone(owner),
            created: self.service.created,
            exposure,
            outcome: outcome.clone(),
            affinity: self.service.session_affinity,
            sources: sources.cloned(),
        };
        self.compiled.frontends.push((frontend, Arc::new(asked)));
    }
}

/// What happens at the ClusterIP.
fn internal(service: &Service, chosen: &ChosenEndpoints) -> Outcome {
    let list = if service.internal_traffic_local { &chosen.local } else { &chosen.cluster };
    match (list.is_empty(), chosen.any) {
        (false, _) => Outcome::Balance(list.as_slice().into()),
        (true, true) => Outcome::Drop,
        (true, false) => Outcome::Reject,
    }
}

/// What happens at external frontends. The internal policy does not matter here.
fn external(service: &Service, chosen: ChosenEndpoints) -> Outcome {
    if chosen.cluster.is_empty() {
        Outcome::Reject
    } else if service.external_traffic_local {
        Outcome::BalanceLocal { any: chosen.cluster.into(), local: chosen.local.into() }
    } else {
        Outcome::Balance(chosen.cluster.into())
    }
}

/// The sources that may use the load-balancer IPs of one family; `None` for all.
///
/// A range that contains this node lets in the load-balancer IPs themselves: where such an address is also bound on the node, the
/// node's own packets carry it as their source.
fn sources(site: Site<'_>, service: &Service, family: Family) -> Option<Arc<[IpNet]>> {
    let of_family = |addr: IpAddr| Family::from_addr(addr) == family;
    let mut ranges: Vec<IpNet> =
        service.source_ranges.iter().map(IpNet::trunc).filter(|range| of_family(range.addr())).collect();
    if ranges.is_empty() {
        return None;
    }
    let node_addresses = site.node.map_or(&[][..], |node| &node.addresses);
    if node_addresses.iter().any(|addr| ranges.iter().any(|range| range.contains(addr))) {
        ranges.extend(service.load_balancer_ips.iter().copied().filter(|addr| of_family(*addr)).map(IpNet::from));
    }
    let mut ranges = IpNet::aggregate(&ranges);
    ranges.sort_unstable();
    // It may be among the ranges, or their sum.
    let is_whole = ranges.first().is_some_and(|first| first.prefix_len() == 0);
    (!is_whole).then(|| ranges.into())
}

#[cfg(test)]
mod tests;
