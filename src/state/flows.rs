//! Where flows may go that exist already. Other rules hold for them than for new connections: see [`Cluster::may_keep_flows`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cluster::Cluster;
use super::compile::{FrontendSpec, compile};
use super::known::Known;
use super::names::owner_tag;
use super::select::serving;
use super::touched::Touched;
use crate::dataplane::{Endpoint, Family, Frontend, Protocol};

impl Cluster {
    /// The endpoints to which existing flows of a frontend may go on, given its winning claim: all that serve or are ready, on any
    /// node.
    ///
    /// That includes those that new connections do not get: terminating ones beside ready ones, and those that a policy or a hint
    /// keeps from this node. A flow moves when its endpoint stops to serve, and not before.
    pub fn may_keep_flows(&self, frontend: Frontend, claim: &FrontendSpec) -> BTreeSet<Endpoint> {
        self.known(&claim.service).map_or_else(BTreeSet::new, |known| known.may_keep_flows(frontend, claim))
    }

    /// The frontends of `protocol` that had such endpoints that are none now, though the Service is still there, given what was
    /// touched.
    ///
    /// Costs O(endpoints) of each touched Service that uses the protocol.
    pub fn lost_flows(&self, touched: &Touched, protocol: Protocol) -> BTreeSet<Frontend> {
        let mut lost = BTreeSet::new();
        for (name, before) in touched.before() {
            let Some(known) = self.known(&name.0) else { continue };
            let uses = known.service.iter().any(|service| service.ports.iter().any(|port| port.protocol == protocol));
            if !uses || known.slices() == before.slices() {
                continue;
            }
            let frontends = compile(self.site(), known).frontends;
            for (frontend, claim) in frontends.into_iter().filter(|(frontend, _)| frontend.protocol == protocol) {
                let had = before.may_keep_flows(frontend, &claim);
                if !had.is_subset(&known.may_keep_flows(frontend, &claim)) {
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
        let everywhere = of_host.filter(|addr| unrestricted.contains(&Family::from_addr(*addr)) && !addr.is_loopback());
        self.node_port_ips().into_iter().chain(everywhere).collect()
    }
}

impl Known {
    fn may_keep_flows(&self, frontend: Frontend, claim: &FrontendSpec) -> BTreeSet<Endpoint> {
        let Some(service) = &self.service else { return BTreeSet::new() };
        let port = service
            .ports
            .iter()
            .find(|port| port.protocol == frontend.protocol && owner_tag(&service.name, &port.name) == claim.owner);
        port.map_or_else(BTreeSet::new, |port| serving(self.slices(), port, frontend.family()))
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
            let mut world = dns();
            let touched = world.apply(dns_slice(endpoints)).touched;
            world.cluster.lost_flows(&touched, Protocol::Udp).iter().map(ToString::to_string).collect::<Vec<_>>()
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
        let mut touched = world.apply(service("shop/web").ips(&["10.96.0.2"])).touched;
        touched.merge(world.apply(slice("shop/web-1").ready(&["10.1.1.1"])).touched);
        touched.merge(world.apply(slice("shop/web-1")).touched);
        assert_eq!(world.cluster.lost_flows(&touched, Protocol::Udp), BTreeSet::new());
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
