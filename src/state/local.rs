//! What the endpoints on this node decide besides the dataplane: the answers to load balancers that ask for them, and how much
//! traffic a policy leaves without any.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use im::OrdMap;

use super::compile::{CompiledService, Exposure, Outcome, Site};
use super::names::ObjectName;
use super::select::ready_here;
use super::service_state::ServiceState;
use super::slice_ports::SlicePorts;
use crate::dataplane::Family;

/// What load balancers may ask this node, and where: a persistent map that shares everything unchanged with the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthChecks {
    /// One for each Service with a health-check port, in each family of its ClusterIPs.
    pub checks: OrdMap<(ObjectName, Family), HealthCheck>,
    /// The node's addresses that accept NodePorts, and with them these checks; without those of families in which every
    /// address does.
    pub addresses: Arc<[IpAddr]>,
}

/// One Service in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `spec.healthCheckNodePort`.
    pub port: NonZeroU16,
    /// The number of addresses with ready endpoints on this node. Terminating ones do not count, even while they serve: load
    /// balancers should send new connections elsewhere (KEP-1669).
    pub local_endpoints: usize,
}

/// How many service ports have endpoints somewhere but none on this node, where a policy wants one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithoutLocal {
    /// Never 0.
    counts: OrdMap<(Exposure, Family), u32>,
}

impl HealthChecks {
    /// Takes over what a Service asks for now. Costs O(endpoints of the Service) if its slices serve all ports alike, as those of
    /// Kubernetes' controller do, and O(endpoints) for each group of ports otherwise.
    pub(super) fn follow(&mut self, site: Site<'_>, name: &ObjectName, state: &ServiceState) {
        if self.checks.is_empty()
            && state.service.as_ref().is_none_or(|service| service.health_check_node_port.is_none())
        {
            return;
        }
        for family in Family::ALL {
            let key = (name.clone(), family);
            let check = health_check(site, state, family);
            match check {
                _ if self.checks.get(&key) == check.as_ref() => {}
                Some(check) => {
                    self.checks.insert(key, check);
                }
                None => {
                    self.checks.remove(&key);
                }
            }
        }
    }
}

/// The health check of a Service in one family, if it has one there.
fn health_check(site: Site<'_>, state: &ServiceState, family: Family) -> Option<HealthCheck> {
    let service = state.service.as_ref()?;
    let port = service.health_check_node_port?;
    service.cluster_ips.iter().find(|addr| Family::from_addr(**addr) == family)?;
    let slices = SlicePorts::new(state.slices(), service.ports.len(), &site.view.guards);
    let local = ready_here(&slices, &service.ports, family, &site.view.node_name);
    Some(HealthCheck { port, local_endpoints: local.len() })
}

impl WithoutLocal {
    /// The number of service ports, by who is confined to this node and by family.
    pub fn count(&self, exposure: Exposure, family: Family) -> u32 {
        self.counts.get(&(exposure, family)).copied().unwrap_or_default()
    }

    /// Takes over what a Service asks for now, given what it asked for before.
    pub(super) fn replace(&mut self, before: &CompiledService, after: &CompiledService) {
        let (before, after) = (without_local(before), without_local(after));
        for &(exposure, family, _) in after.difference(&before) {
            *self.counts.entry((exposure, family)).or_insert(0) += 1;
        }
        for &(exposure, family, _) in before.difference(&after) {
            match self.count(exposure, family) {
                0 | 1 => self.counts.remove(&(exposure, family)),
                count => self.counts.insert((exposure, family), count - 1),
            };
        }
    }
}

/// The ports of one Service without a local endpoint that they need. One with several external frontends counts once; one
/// without any has no external traffic and does not count.
fn without_local(spec: &CompiledService) -> BTreeSet<(Exposure, Family, &str)> {
    let lacks = |outcome: &Outcome| match outcome {
        Outcome::Drop => true,
        Outcome::BalanceLocal { local, .. } => local.is_empty(),
        Outcome::Balance(_) | Outcome::Reject => false,
    };
    let lacking = spec.frontends.iter().filter(|(_, asked)| lacks(&asked.outcome));
    lacking.map(|(frontend, asked)| (asked.exposure, Family::from_addr(frontend.addr), &*asked.owner)).collect()
}

#[cfg(test)]
mod tests;
