//! Which endpoints existing flows may stay at. The rules differ from those for new connections: see [`KeptFlows`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::cluster::Cluster;
use super::compile::CompiledService;
use super::guards::Guards;
use super::names::{ObjectName, owner_tag};
use super::object::ServicePort;
use super::select::serving;
use super::service_state::ServiceState;
use super::slice_ports::{SlicePorts, visits};
use crate::dataplane::{Endpoint, Family, Frontend, Protocol};

impl Cluster {
    /// Where the flows of a Service may stay; nowhere if there is no such Service. Costs O(ports of the Service and its slices, sorted).
    pub fn kept_flows(&self, service: &ObjectName) -> KeptFlows<'_> {
        self.service_state(service).map_or_else(KeptFlows::default, |state| KeptFlows::new(state, &self.view().guards))
    }

    /// The node's addresses that accept NodePorts, as far as they are known: also in families in which every address does.
    pub fn all_node_port_addresses(&self) -> BTreeSet<IpAddr> {
        let unrestricted = self.view().node_ports.unrestricted();
        let of_host = self.host_addresses().iter().copied();
        let everywhere = of_host.filter(|addr| unrestricted.contains(&Family::from_addr(*addr)) && !addr.is_loopback());
        self.node_port_addresses().into_iter().chain(everywhere).collect()
    }
}

/// The frontends of `protocol` at which some flow has to move: the Service still exists, but an endpoint that kept flows does not keep
/// them any more.
///
/// Costs O(endpoints) for each port that uses the protocol, and nothing if the slices did not change.
pub(super) fn frontends_that_lost_flows(
    before: &ServiceState,
    after: &ServiceState,
    compiled: &CompiledService,
    guards: &Guards,
    protocol: Protocol,
) -> BTreeSet<Frontend> {
    let uses = after.service.iter().any(|service| service.ports.iter().any(|port| port.protocol == protocol));
    if !uses || before.slices() == after.slices() {
        return BTreeSet::new();
    }
    let [kept_before, kept_after] = [before, after].map(|state| KeptFlows::new(state, guards));
    // The addresses of a service port share its endpoints.
    let mut known: BTreeMap<(&str, Family), bool> = BTreeMap::new();
    let mut lost = BTreeSet::new();
    for (frontend, claim) in compiled.frontends.iter().filter(|(frontend, _)| frontend.protocol == protocol) {
        let has_lost = known.entry((&claim.owner, frontend.family())).or_insert_with(|| {
            let kept = kept_after.endpoints(*frontend, &claim.owner);
            !kept_before.endpoints(*frontend, &claim.owner).is_subset(&kept)
        });
        if *has_lost {
            lost.insert(*frontend);
        }
    }
    lost
}

/// Where the existing flows of a Service may stay: at all endpoints that serve or are ready, on any node.
///
/// That includes endpoints that new connections do not get: terminating ones beside ready ones, and those that a policy or a hint
/// keeps from this node. A flow moves when its endpoint stops serving, and not before.
#[derive(Debug, Default)]
pub struct KeptFlows<'a> {
    /// The service ports, by protocol and by how specs name them.
    ports: BTreeMap<(Protocol, Arc<str>), &'a ServicePort>,
    /// `None` without a Service.
    slices: Option<SlicePorts<'a>>,
}

impl<'a> KeptFlows<'a> {
    fn new(state: &'a ServiceState, guards: &'a Guards) -> Self {
        let mut ports = BTreeMap::new();
        let mut count = 0;
        if let Some(service) = &state.service {
            for port in &service.ports {
                visits::note();
                ports.entry((port.protocol, owner_tag(&service.name, &port.name))).or_insert(port);
            }
            count = service.ports.len();
        }
        Self { ports, slices: Some(SlicePorts::new(state.slices(), count, guards)) }
    }

    /// The endpoints of the service port that a claim to a frontend names as its owner.
    pub fn endpoints(&self, frontend: Frontend, owner: &Arc<str>) -> BTreeSet<Endpoint> {
        let port = self.ports.get(&(frontend.protocol, Arc::clone(owner)));
        let serving = |(port, slices): (&&ServicePort, &SlicePorts<'_>)| serving(slices, port, frontend.family());
        port.zip(self.slices.as_ref()).map(serving).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, frontend, ip, service, slice};
    use crate::state::{Event, NodePortAddresses, View};

    fn dns() -> World {
        World::with([
            service("kube/dns").ports(&["dns 53/udp", "dns-tcp 53/tcp"]).into(),
            dns_slice("10.1.0.1 L r, 10.1.0.2 R st, 10.1.0.3 R s, 10.1.0.4 R t, 10.1.0.5 R -, 10.1.0.6 R rt"),
        ])
    }

    fn dns_slice(endpoints: &str) -> Event {
        slice("kube/dns-1").ports(&["dns 5353/udp", "dns-tcp 5353/tcp"]).endpoints(endpoints).into()
    }

    fn kept(world: &World, text: &str) -> Vec<String> {
        let frontend = frontend(text);
        let claim = world.desired().frontends[&frontend].winner();
        let kept = world.cluster().kept_flows(&claim.service);
        kept.endpoints(frontend, &claim.owner).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flows_stay_with_what_serves_whatever_new_connections_get() {
        let expected = ["10.1.0.1:5353", "10.1.0.2:5353", "10.1.0.3:5353", "10.1.0.6:5353"];
        assert_eq!(kept(&dns(), "10.96.0.1 53/udp"), expected);
        let mut world = dns();
        world.apply(service("kube/dns").ports(&["dns 53/udp", "dns-tcp 53/tcp"]).local());
        assert_eq!(kept(&world, "10.96.0.1 53/udp"), expected);
    }

    #[test]
    fn a_frontend_loses_flows_when_one_of_these_stops_to_serve() {
        let lost = |endpoints: &str| {
            let mut world = dns();
            world.apply(dns_slice(endpoints)).stale_flows.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let udp = ["10.96.0.1:53/udp"];
        assert_eq!(lost("10.1.0.1 L r, 10.1.0.2 R t, 10.1.0.3 R s, 10.1.0.6 R r"), udp, "no longer serving");
        assert_eq!(lost("10.1.0.1 L r, 10.1.0.3 R s, 10.1.0.6 R r"), udp, "gone after it was terminating");
        assert_eq!(lost(""), udp, "all gone");
        let more = "10.1.0.1 L st, 10.1.0.2 R st, 10.1.0.3 R s, 10.1.0.6 R r, 10.1.0.9 R r";
        assert_eq!(lost(more), [""; 0], "conditions change, one comes");
    }

    #[test]
    fn what_did_not_change_is_not_looked_at() {
        let mut world = dns();
        let events: [Event; 3] = [
            service("shop/web").ips(&["10.96.0.2"]).into(),
            slice("shop/web-1").ready(&["10.1.1.1"]).into(),
            slice("shop/web-1").into(),
        ];
        for event in events {
            assert_eq!(world.apply(event).stale_flows, BTreeSet::new());
        }
    }

    #[test]
    fn where_every_address_accepts_node_ports_the_hosts_are_those() {
        let networks = ["192.0.2.0/24", "::/0"].map(|network| network.parse().unwrap()).to_vec();
        let view = View { node_ports: NodePortAddresses::networks(networks), ..View::default() };
        let addresses = ["127.0.0.1", "192.0.2.1", "198.51.100.1", "::1", "fd00::1"].map(ip).to_vec();
        let mut cluster = Cluster::seen_from(view);
        cluster.apply(Event::HostAddresses(addresses));
        assert_eq!(cluster.all_node_port_addresses(), BTreeSet::from([ip("192.0.2.1"), ip("fd00::1")]));
    }
}
