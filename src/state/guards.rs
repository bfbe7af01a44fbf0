//! What an operator does not let Services ask for, and how much one Service may ask for.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::compile::Site;
use super::few::Few;
use super::object::{EndpointSlice, Service};
use super::skipped::{Problem, Reason};

/// Limits of what Services may ask for. By default there are none but the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    /// External IPs outside of these networks are left out; none if there is no network.
    pub external_ip_networks: Vec<IpNet>,
    /// Endpoints in these networks are left out.
    pub refused_endpoint_networks: Vec<IpNet>,
    /// Whether to tell of endpoints at loopback addresses, link-local ones, and those of this node. They are used all the same.
    pub tells_local_endpoints: bool,
    /// The most elements of one Service: its frontends, and the endpoints and source ranges of each.
    pub max_elements: usize,
}

impl Guards {
    /// The default of [`Guards::max_elements`]: about 90 MB of kernel memory.
    pub const DEFAULT_MAX_ELEMENTS: usize = 1_000_000;

    /// Whether external IPs may have this address.
    pub(super) fn allows_external_ip(&self, addr: IpAddr) -> bool {
        self.external_ip_networks.is_empty() || contains(&self.external_ip_networks, addr)
    }

    /// Whether no endpoint may have this address.
    pub(super) fn refuses_endpoint(&self, addr: IpAddr) -> bool {
        contains(&self.refused_endpoint_networks, addr)
    }
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            external_ip_networks: Vec::new(),
            refused_endpoint_networks: Vec::new(),
            tells_local_endpoints: false,
            max_elements: Self::DEFAULT_MAX_ELEMENTS,
        }
    }
}

fn contains(networks: &[IpNet], addr: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&addr))
}

/// What a Service and its slices ask for and do not get, or get with a warning: at most one problem of each kind.
///
/// Costs O(external IPs + endpoints) where the operator has set a limit for them, and nothing otherwise.
pub(super) fn problems(site: Site<'_>, service: &Service, slices: &[Arc<EndpointSlice>]) -> Few<Problem> {
    let guards = &site.view.guards;
    let mut problems = Few::new();
    if !guards.external_ip_networks.is_empty() && !site.view.ignore_external_ips {
        let refused = service.external_ips.iter().copied().filter(|addr| !guards.allows_external_ip(*addr));
        let says = "outside of the networks of --external-ip-networks";
        problems.extend(problem("spec.externalIPs", Reason::ExternalIpNotAllowed, refused, says));
    }
    let endpoints = || slices.iter().flat_map(|slice| &slice.endpoints).map(|endpoint| endpoint.addr);
    if !guards.refused_endpoint_networks.is_empty() {
        let refused = endpoints().filter(|addr| guards.refuses_endpoint(*addr));
        let says = "in a network of --refused-endpoint-networks";
        problems.extend(problem("endpoints", Reason::EndpointNotAllowed, refused, says));
    }
    if guards.tells_local_endpoints {
        let used = || endpoints().filter(|addr| !guards.refuses_endpoint(*addr));
        let is_own = |addr: &IpAddr| site.node.is_some_and(|node| node.addresses.contains(addr));
        let is_local = |addr: &IpAddr| addr.is_loopback() || is_link_local(*addr) || is_own(addr);
        let says = "loopback, link-local or this node's own, and used all the same";
        problems.extend(problem("endpoints", Reason::LocalEndpoint, used().filter(is_local), says));
    }
    problems
}

/// One problem of all these addresses; none if there is no address.
fn problem(field: &str, reason: Reason, mut addrs: impl Iterator<Item = IpAddr>, says: &str) -> Option<Problem> {
    let first = addrs.next()?;
    let found = match addrs.count() {
        0 => format!("{first} is {says}"),
        more => format!("{first} and {more} more are {says}"),
    };
    Some(Problem::new(field, reason, found))
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}

/// How much of its share a Service has used so far.
#[derive(Debug)]
pub(super) struct Share {
    left: usize,
    max: usize,
    /// How many frontends are served, and how many are left out.
    served: usize,
    left_out: usize,
}

impl Share {
    /// The elements of a frontend that do not depend on its endpoints: memberships of sets.
    const MEMBERSHIPS: usize = 4;

    /// The share of one Service.
    pub fn new(guards: &Guards) -> Self {
        Self { left: guards.max_elements, max: guards.max_elements, served: 0, left_out: 0 }
    }

    /// Whether there is room for a frontend with so many endpoints and source ranges. It counts as served, or as left out, as do all that
    /// follow it.
    pub fn takes(&mut self, elements: usize) -> bool {
        let elements = Self::MEMBERSHIPS + elements;
        let fits = self.left_out == 0 && elements <= self.left;
        *(if fits { &mut self.served } else { &mut self.left_out }) += 1;
        self.left -= if fits { elements } else { 0 };
        fits
    }

    /// Elements that belong to no frontend.
    pub fn spend(&mut self, elements: usize) {
        self.left = self.left.saturating_sub(elements);
    }

    /// Whether no frontend fits any more: what follows need not be looked at.
    pub fn is_spent(&self) -> bool {
        self.left_out > 0 || self.left < Self::MEMBERSHIPS
    }

    /// So many frontends are left out without being looked at.
    pub fn leave_out(&mut self, frontends: usize) {
        self.left_out += frontends;
    }

    /// What to tell of it; none if everything had room.
    pub fn problem(&self) -> Option<Problem> {
        let Self { max, served, left_out, .. } = self;
        if *left_out == 0 {
            return None;
        }
        let found = format!(
            "the Service asks for more than {max} elements (frontends, and endpoints and source ranges of each), the most by \
             --max-service-elements: {served} frontends are served, at least {left_out} are not"
        );
        Some(Problem::new("spec", Reason::TooManyElements, found))
    }
}

#[cfg(test)]
mod tests;
