//! Which endpoints a service port may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::object::{EndpointSlice, ServicePort};
use crate::dataplane::{Class, Endpoint, Family};

/// Endpoints of one service port and family after selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// The endpoints that ClusterIP traffic may use, in order, without repetitions.
    pub endpoints: Vec<Endpoint>,
    /// Those of them that run on this node.
    pub local: Vec<Endpoint>,
    /// Some endpoint, on any node, could answer: with no endpoints to use this means "not from here".
    pub any: bool,
}

/// What is known of one endpoint after merging.
#[derive(Clone, Copy)]
struct Candidate {
    ready: bool,
    /// Not ready, but terminating and still serving: used when nothing is ready (KEP-1669).
    fallback: bool,
    terminating: bool,
    local: bool,
}

/// Chooses the endpoints of `port` from the slices of its Service.
///
/// `local_only` is `internalTrafficPolicy: Local` (KEP-2086). When no endpoint is ready, those that are terminating but still
/// serving are used; that is decided after the policy, as kube-proxy does.
pub(super) fn select(
    slices: &[Arc<EndpointSlice>],
    port: &ServicePort,
    family: Family,
    node: &str,
    local_only: bool,
) -> Selection {
    let candidates = merge(slices, port, family, node);
    let chosen = |wanted: fn(&Candidate) -> bool| -> Vec<(Endpoint, Candidate)> {
        candidates
            .iter()
            .filter(|(_, c)| wanted(c) && (c.local || !local_only))
            .map(|(endpoint, c)| (*endpoint, *c))
            .take(Class::MAX.slots() as usize)
            .collect()
    };
    let mut used = chosen(|c| c.ready);
    if used.is_empty() {
        used = chosen(|c| c.fallback);
    }
    Selection {
        any: candidates.values().any(|c| c.ready || c.fallback),
        local: used.iter().filter(|(_, c)| c.local).map(|(endpoint, _)| *endpoint).collect(),
        endpoints: used.into_iter().map(|(endpoint, _)| endpoint).collect(),
    }
}

/// Merges the slices of a Service: the same address and port in several slices is one endpoint.
///
/// An endpoint that is not terminating wins over one that is: an address may be reused while its old pod terminates. Among
/// several that are not, the slice that comes last by name wins; among several that are, the first.
fn merge(
    slices: &[Arc<EndpointSlice>],
    port: &ServicePort,
    family: Family,
    node: &str,
) -> BTreeMap<Endpoint, Candidate> {
    let mut merged: BTreeMap<Endpoint, Candidate> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.family == family) {
        let targets = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
        for target in targets {
            for endpoint in &slice.endpoints {
                let candidate = Candidate {
                    ready: endpoint.ready,
                    fallback: !endpoint.ready && endpoint.serving && endpoint.terminating,
                    terminating: endpoint.terminating,
                    local: endpoint.node.as_deref() == Some(node),
                };
                let key = Endpoint { addr: endpoint.addr, port: target.port };
                if !candidate.terminating || !merged.contains_key(&key) {
                    merged.insert(key, candidate);
                }
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests;
