//! Where flows may go that exist already. Other rules hold for them than for new connections: see [`Cluster::may_keep_flows`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cluster::Cluster;
use super::compile::FrontendSpec;
use super::names::owner_tag;
use super::select::serving;
use crate::dataplane::{Endpoint, Family, Frontend, Protocol};

impl Cluster {
    /// The endpoints to which existing flows of a frontend may go on, given its winning claim: all that serve or are ready, on any
    /// node.
    ///
    /// That includes those that new connections do not get: terminating ones beside ready ones, and those that a policy or a hint
    /// keeps from this node. A flow moves when its endpoint stops to serve, and not before.
    pub fn may_keep_flows(&self, frontend: Frontend, claim: &FrontendSpec) -> BTreeSet<Endpoint> {
        let Some(service) = self.service(&claim.service) else { return BTreeSet::new() };
        let port = service
            .ports
            .iter()
            .find(|port| port.protocol == frontend.protocol && owner_tag(&service.name, &port.name) == claim.owner);
        port.map_or_else(BTreeSet::new, |port| serving(self.slices_of(&service.name), port, frontend.family()))
    }

    /// The frontends of `protocol` that had such endpoints in an earlier snapshot that are none now, though the Service is still
    /// there.
    ///
    /// Costs O(endpoints) of each Service whose slices changed.
    pub fn lost_flows_since(&self, earlier: &Self, protocol: Protocol) -> BTreeSet<Frontend> {
        let mut lost = BTreeSet::new();
        for name in self.with_other_slices(earlier) {
            let uses = self.service(name).is_some_and(|service| service.ports.iter().any(|p| p.protocol == protocol));
            if !uses {
                continue;
            }
            for (frontend, claim) in self.compile(name).frontends {
                let of_protocol = frontend.protocol == protocol;
                if of_protocol
                    && !earlier.may_keep_flows(frontend, &claim).is_subset(&self.may_keep_flows(frontend, &claim))
                {
                    lost.insert(frontend);
                }
            }
        }
        lost
    }

    /// The node's addresses that accept NodePorts, as far as they are known: also in families in which every address does.
    pub fn all_node_port_ips(&self) -> BTreeSet<IpAddr> {
        let unrestricted = self.view().node_ports.unrestricted();
        let of_host = self.host_addresses().iter().copied();
        let everywhere = of_host.filter(|addr| unrestricted.contains(&Family::of(*addr)) && !addr.is_loopback());
        self.node_port_ips().into_iter().chain(everywhere).collect()
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
        let claims = &world.desired.frontends[&frontend];
        world.cluster.may_keep_flows(frontend, claims.winner()).iter().map(ToString::to_string).collect()
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
            let (mut world, before) = (dns(), dns().cluster);
            world.apply(dns_slice(endpoints));
            world.cluster.lost_flows_since(&before, Protocol::Udp).iter().map(ToString::to_string).collect::<Vec<_>>()
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
        let before = world.cluster.clone();
        world.apply(service("shop/web").ips(&["10.96.0.2"]));
        world.apply(slice("shop/web-1").ready(&["10.1.1.1"]));
        world.apply(slice("shop/web-1"));
        assert_eq!(world.cluster.lost_flows_since(&before, Protocol::Udp), BTreeSet::new());
    }

    #[test]
    fn where_every_address_accepts_node_ports_the_hosts_are_those() {
        let networks = ["192.0.2.0/24", "::/0"].map(|network| network.parse().unwrap()).to_vec();
        let view = View { node_ports: NodePortAddresses::Networks(networks), ..View::default() };
        let addresses = ["127.0.0.1", "192.0.2.1", "198.51.100.1", "::1", "fd00::1"].map(ip).to_vec();
        let cluster = Cluster::seen_from(view).apply(Event::HostAddresses(addresses)).cluster;
        assert_eq!(cluster.all_node_port_ips(), BTreeSet::from([ip("192.0.2.1"), ip("fd00::1")]));
    }
}
