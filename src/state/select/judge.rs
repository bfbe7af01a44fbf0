//! Why each endpoint of a service port is used for new connections, or is not.

use std::sync::Arc;

use super::{Needs, Place, Topology, merge, select};
use crate::dataplane::{Endpoint, Family, Frontend};
use crate::state::cluster::Cluster;
use crate::state::compile::{FrontendSpec, TrafficPolicy};
use crate::state::guards::Guards;
use crate::state::names::{ObjectName, owner_tag};
use crate::state::object::{EndpointSlice, ServicePort, SliceEndpoint};
use crate::state::slice_ports::SlicePorts;

/// An endpoint of a service port, and why it is used or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedEndpoint {
    /// Its address and port.
    pub endpoint: Endpoint,
    /// The entry of a slice whose conditions and hints count.
    pub entry: SliceEndpoint,
    /// The node that it is on, if a slice says that.
    pub node: Option<Arc<str>>,
    /// Why it is used, or why not.
    pub reason: EndpointReason,
}

/// Why an endpoint is used for new connections, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointReason {
    /// It is ready.
    Ready,
    /// It is ready and on this node, to which a policy confines clients.
    ReadyHere,
    /// It is ready, and its hints name this node.
    HintedHere,
    /// It is ready, and its hints name this node's zone.
    HintedZone,
    /// It is terminating but still serves, and none that could be used is ready.
    LastServing,
    /// Not used: it is not ready.
    NotReady,
    /// Not used: it is terminating, and others are ready.
    Terminating,
    /// Not used: it is terminating and does not serve any more.
    Ended,
    /// Not used: it is on another node, and a policy confines clients to this one.
    OtherNode,
    /// Not used: its hints name other nodes.
    HintedElsewhere,
    /// Not used: its hints name other zones.
    OtherZone,
    /// Not used: the operator refuses its network.
    RefusedNetwork,
    /// Not used: the Service has more endpoints than a frontend can have.
    OverLimit,
}

impl EndpointReason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Ready,
        Self::ReadyHere,
        Self::HintedHere,
        Self::HintedZone,
        Self::LastServing,
        Self::NotReady,
        Self::Terminating,
        Self::Ended,
        Self::OtherNode,
        Self::HintedElsewhere,
        Self::OtherZone,
        Self::RefusedNetwork,
        Self::OverLimit,
    ];

    /// Whether the endpoint is used.
    pub fn is_used(self) -> bool {
        self <= Self::LastServing
    }

    /// The code of the reason.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ReadyHere => "ready-here",
            Self::HintedHere => "hinted-here",
            Self::HintedZone => "hinted-zone",
            Self::LastServing => "last-serving",
            Self::NotReady => "not-ready",
            Self::Terminating => "terminating",
            Self::Ended => "ended",
            Self::OtherNode => "other-node",
            Self::HintedElsewhere => "hinted-elsewhere",
            Self::OtherZone => "other-zone",
            Self::RefusedNetwork => "refused-network",
            Self::OverLimit => "over-limit",
        }
    }

    /// The reason for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ReadyHere => "ready, on this node",
            Self::HintedHere => "ready, hinted for this node",
            Self::HintedZone => "ready, hinted for this zone",
            Self::LastServing => "terminating but serving; none is ready",
            Self::NotReady => "not ready",
            Self::Terminating => "terminating; others are ready",
            Self::Ended => "terminating, serves no more",
            Self::OtherNode => "on another node; the policy is Local",
            Self::HintedElsewhere => "ready, hinted for other nodes only",
            Self::OtherZone => "ready, hinted for other zones only",
            Self::RefusedNetwork => "in a network of --refused-endpoint-networks",
            Self::OverLimit => "more endpoints than a frontend can have",
        }
    }
}

impl Cluster {
    /// Every endpoint of a frontend, given its winning claim, and why clients under a policy use it or do not. In order of addresses.
    pub fn judge_endpoints(
        &self,
        frontend: Frontend,
        claim: &FrontendSpec,
        policy: TrafficPolicy,
    ) -> Vec<JudgedEndpoint> {
        let Some(service) = self.service(&claim.service) else { return Vec::new() };
        let mut ports = service.ports.iter().filter(|port| port.protocol == frontend.protocol);
        let port = ports.find(|port| *owner_tag(&service.name, &port.name) == *claim.owner);
        port.map_or_else(Vec::new, |port| self.judge_port(&service.name, port, frontend.family(), policy))
    }

    /// Every endpoint of a service port in a family, and why clients under a policy use it or do not. In order of addresses.
    pub fn judge_port(
        &self,
        service: &ObjectName,
        port: &ServicePort,
        family: Family,
        policy: TrafficPolicy,
    ) -> Vec<JudgedEndpoint> {
        let Some(state) = self.service_state(service) else { return Vec::new() };
        let place = Place { node: self.node_name(), zone: self.zone() };
        judge(state.slices(), port, family, place, policy, &self.view().guards)
    }
}

fn judge(
    slices: &[Arc<EndpointSlice>],
    port: &ServicePort,
    family: Family,
    place: Place<'_>,
    policy: TrafficPolicy,
    guards: &Guards,
) -> Vec<JudgedEndpoint> {
    let is_local = policy == TrafficPolicy::Local;
    let unguarded = Guards::default();
    let (slices, all_slices) = (&SlicePorts::new(slices, 1, guards), &SlicePorts::new(slices, 1, &unguarded));
    let chosen = select(slices, port, family, place, Needs { cluster: !is_local, local: is_local });
    let used = if is_local { chosen.local } else { chosen.cluster };
    let near = Topology::for_candidates(&merge(slices, port, family, place.node), place);
    let candidates = merge(all_slices, port, family, place.node);
    let ready_used = candidates.iter().any(|(endpoint, c)| c.ready() && used.binary_search(endpoint).is_ok());
    let reason = |endpoint: &Endpoint, c: &super::Candidate<'_>| match used.binary_search(endpoint) {
        Ok(_) if !c.ready() => EndpointReason::LastServing,
        Ok(_) => match near {
            _ if is_local => EndpointReason::ReadyHere,
            Topology::None => EndpointReason::Ready,
            Topology::SameNode => EndpointReason::HintedHere,
            Topology::SameZone => EndpointReason::HintedZone,
        },
        Err(_) if guards.refuses_endpoint(endpoint.addr) => EndpointReason::RefusedNetwork,
        Err(_) if is_local && !c.local => EndpointReason::OtherNode,
        Err(_) if c.ready() && !is_local && !near.allows(c.endpoint, place) => match near {
            Topology::SameNode => EndpointReason::HintedElsewhere,
            _ => EndpointReason::OtherZone,
        },
        Err(_) if c.ready() => EndpointReason::OverLimit,
        Err(_) if c.fallback() && ready_used => EndpointReason::Terminating,
        Err(_) if c.fallback() => EndpointReason::OverLimit,
        Err(_) if c.endpoint.terminating => EndpointReason::Ended,
        Err(_) => EndpointReason::NotReady,
    };
    let judged = candidates.iter().map(|(endpoint, c)| JudgedEndpoint {
        endpoint: *endpoint,
        entry: c.endpoint.clone(),
        node: c.placed.and_then(|placed| placed.node()).map(Arc::from),
        reason: reason(endpoint, c),
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use EndpointReason::*;

    use super::*;
    use crate::fixtures::{NODE, slice};
    use crate::state::{EndpointPlace, SliceEndpoint};

    /// Why each endpoint of a slice is used or not, on this node in zone `a`.
    fn reasons(slice: EndpointSlice, policy: TrafficPolicy) -> Vec<EndpointReason> {
        let port = ServicePort { name: "http".into(), protocol: "tcp".parse().unwrap(), port: 80, node_port: None };
        let place = Place { node: NODE, zone: Some("a") };
        let judged = judge(&[Arc::new(slice)], &port, Family::Ip, place, policy, &Guards::default());
        judged.into_iter().map(|judged| judged.reason).collect()
    }

    #[test]
    fn the_state_and_the_place_of_an_endpoint_say_why_it_is_used_or_not() {
        for (endpoints, policy, expected) in [
            (
                "10.1.0.1 L r, 10.1.0.2 R -, 10.1.0.3 R st, 10.1.0.4 R t",
                TrafficPolicy::Cluster,
                &[Ready, NotReady, Terminating, Ended][..],
            ),
            ("10.1.0.3 R st, 10.1.0.4 R -", TrafficPolicy::Cluster, &[LastServing, NotReady]),
            ("10.1.0.1 L r, 10.1.0.2 R r", TrafficPolicy::Local, &[ReadyHere, OtherNode]),
        ] {
            let slice = EndpointSlice::clone(&slice("shop/web-1").endpoints(endpoints).build());
            assert_eq!(reasons(slice, policy), expected, "{endpoints}");
        }
    }

    #[test]
    fn hints_say_why_an_endpoint_is_used_or_not() {
        let judged = |endpoints: &str, zones: [&[&str]; 2], nodes: [&[&str]; 2]| {
            let mut slice = EndpointSlice::clone(&slice("shop/web-1").endpoints(endpoints).build());
            for (n, endpoint) in slice.endpoints.iter_mut().enumerate() {
                let all = |hints: &[&str]| hints.iter().map(|hint| Arc::from(*hint)).collect();
                let place = EndpointPlace { node: None, zone_hints: all(zones[n]), node_hints: all(nodes[n]) };
                endpoint.place = SliceEndpoint::new(endpoint.addr, place).place;
            }
            reasons(slice, TrafficPolicy::Cluster)
        };
        let hinted = |zones, nodes| judged("10.1.0.1 L r, 10.1.0.2 R r", zones, nodes);
        assert_eq!(hinted([&["a"], &["b"]], [&[], &[]]), [HintedZone, OtherZone]);
        assert_eq!(hinted([&[], &[]], [&[NODE], &["other"]]), [HintedHere, HintedElsewhere]);
        assert_eq!(hinted([&["a"], &[]], [&[], &[]]), [Ready, Ready], "one has no hint");
        let not_ready = judged("10.1.0.1 L r, 10.1.0.2 R -", [&["a"], &["b"]], [&[], &[]]);
        assert_eq!(not_ready, [HintedZone, NotReady], "what is not ready would not be used here either");
    }
}
