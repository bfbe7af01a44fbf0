//! Which flows are stale: where to look after a commit, and what to make of what is found. No effects.
//!
//! A flow to a frontend is stale if its server is not among the endpoints that may keep flows of that frontend
//! ([`KeptFlows`]). One that was not translated at all is stale too: it is of a time without rules, and no new packet
//! would go that way. At an address and port that is no frontend any more it is the other way round: what was translated is stale. So is
//! what was translated at a NodePort of an address that does not accept NodePorts any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::flow::Flow;
use super::request::FlowsToCheck;
use crate::dataplane::{Endpoint, Family, Frontend, Protocol};
use crate::diff::{FrontendChange, Installed};
use crate::state::{KeptFlows, ObjectName, Snapshot, TrafficPolicy};

/// The UDP frontends among those that a plan changes at which flows can be stale: they come or go, change hands, lose an endpoint,
/// or get their first ones.
pub fn changed(changes: &[FrontendChange]) -> BTreeSet<Frontend> {
    let udp = changes.iter().filter(|change| change.frontend.protocol == Protocol::Udp);
    udp.filter(|change| match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            let (had, has) = (endpoints(before), endpoints(after));
            before.owner() != after.owner() || !had.is_subset(&has) || (had.is_empty() && !has.is_empty())
        }
        _ => true,
    })
    .map(|change| change.frontend)
    .collect()
}

/// All endpoints of an installation.
fn endpoints(installed: &Installed) -> BTreeSet<Endpoint> {
    TrafficPolicy::ALL.into_iter().flat_map(|policy| installed.endpoints(policy)).collect()
}

/// Judges flows by a snapshot.
#[derive(Debug)]
pub struct Judge<'a> {
    now: &'a Snapshot,
    looked_at: &'a FlowsToCheck,
    node_port_addresses: BTreeSet<IpAddr>,
    /// What was found out about Services, and about frontends.
    kept: BTreeMap<&'a ObjectName, KeptFlows<'a>>,
    valid: BTreeMap<Frontend, BTreeSet<Endpoint>>,
}

impl<'a> Judge<'a> {
    /// A judge of these flows and no others.
    pub fn new(now: &'a Snapshot, looked_at: &'a FlowsToCheck) -> Self {
        let node_port_addresses = now.cluster().all_node_port_addresses();
        Self { now, looked_at, node_port_addresses, kept: BTreeMap::new(), valid: BTreeMap::new() }
    }

    /// Whether a flow is to be removed.
    pub fn is_stale(&mut self, flow: &Flow) -> bool {
        let (addr, port) = (flow.destination.ip(), flow.destination.port());
        let frontend = Frontend { addr, protocol: Protocol::Udp, port };
        let node_port = Frontend::node_port(Family::from_addr(addr), Protocol::Udp, port);
        let is_accepted = self.node_port_addresses.contains(&addr);
        let was_accepted = is_accepted || self.looked_at.node_port_addresses.contains(&addr);
        let mut may_have_been = [Some(frontend), was_accepted.then_some(node_port)].into_iter().flatten();
        if !may_have_been.any(|frontend| self.looked_at.frontends.contains(&frontend)) {
            return false;
        }
        let mut may_be = [Some(frontend), is_accepted.then_some(node_port)].into_iter().flatten();
        let claimed = may_be.find_map(|frontend| Some((frontend, self.now.desired().frontends.get(&frontend)?)));
        let Some((frontend, claims)) = claimed else { return flow.is_translated() };
        if !flow.is_translated() {
            // Other programs use other zones: the translation may be in another entry.
            return flow.zone == 0;
        }
        let valid = self.valid.entry(frontend).or_insert_with(|| {
            let claim = claims.winner();
            let kept = self.kept.entry(&claim.service).or_insert_with(|| self.now.cluster().kept_flows(&claim.service));
            kept.endpoints(frontend, &claim.owner)
        });
        !valid.contains(&endpoint(flow.server))
    }
}

fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint { addr: addr.ip(), port: addr.port() }
}

#[cfg(test)]
mod tests;
