//! What a Service proxy must do with a packet, looked at one by one: the reference.
//!
//! The model looks at one packet and at the objects, Service by Service, and knows neither sets nor chains, neither frontends nor
//! claims.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use pointsman::dataplane::{Endpoint, Family, LocalPods, Options, Protocol};
use pointsman::dataplane::{Packet, PacketOutcome};
use pointsman::diff::Scope;
use pointsman::state::{
    Decoded, EndpointSlice, Event, Node, NodePortAddresses, ObjectName, Service, ServiceCidr, ServicePort,
    SliceEndpoint,
};

use crate::common::{NODE, one_of_several};

/// The host's addresses: those that the Node may have, one in the pods' networks, one that is also an external IP, loopback.
pub const HOST: [&str; 8] =
    ["192.0.2.1", "192.0.2.2", "192.0.2.3", "10.1.255.1", "198.51.100.1", "127.0.0.1", "fd00:192::1", "::1"];

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

/// What an operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    pub local_pods: LocalPods,
    pub masquerade_all: bool,
    pub masquerade_bit: u8,
    pub node_ports: NodePortAddresses,
    /// The host has the external IP 198.51.100.1.
    pub has_external_ip: bool,
}

impl Setup {
    pub fn host(&self) -> BTreeSet<IpAddr> {
        HOST.into_iter().map(ip).filter(|addr| self.has_external_ip || *addr != ip("198.51.100.1")).collect()
    }

    pub fn scope(&self) -> Scope {
        Scope::dual_stack(Options {
            local_pods: self.local_pods.clone(),
            masquerade_all: self.masquerade_all,
            masquerade_bit: self.masquerade_bit,
            every_node_address: self.node_ports.unrestricted(),
            // In half of the set-ups: they decide about no packet.
            counters: self.masquerade_all != self.has_external_ip,
            ..Options::default()
        })
    }
}

/// The objects, and what a proxy on this node must do with a packet.
#[derive(Clone)]
pub struct Model {
    pub setup: Setup,
    pub services: BTreeMap<ObjectName, Arc<Service>>,
    pub slices: BTreeMap<ObjectName, Arc<EndpointSlice>>,
    pub cidrs: BTreeMap<ObjectName, Arc<ServiceCidr>>,
    pub node: Arc<Node>,
    /// The host's addresses.
    pub host: BTreeSet<IpAddr>,
}

/// What an address and port is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ClusterIp,
    LoadBalancerIp,
    ExternalIp,
    NodePort,
}

/// The endpoints of a service port.
pub struct Chosen {
    pub cluster: BTreeSet<Endpoint>,
    pub local: BTreeSet<Endpoint>,
    /// Some endpoint somewhere could answer.
    pub any: bool,
    /// Those of this node that new connections can be sent to.
    pub reachable_here: BTreeSet<Endpoint>,
}

impl Model {
    pub fn new(setup: &Setup) -> Self {
        let (services, slices, cidrs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let node = Arc::new(Node::default());
        Self { setup: setup.clone(), services, slices, cidrs, node, host: setup.host() }
    }

    pub fn apply(&mut self, event: &Event) {
        fn all<T>(list: &[Decoded<T>], name: fn(&T) -> &ObjectName) -> BTreeMap<ObjectName, Arc<T>> {
            let objects = list.iter().filter_map(Decoded::object);
            objects.map(|object| (name(object).clone(), Arc::clone(object))).collect()
        }
        match event {
            Event::ServicesReset(list) => self.services = all(list, |s| &s.name),
            Event::SlicesReset(list) => self.slices = all(list, |s| &s.name),
            Event::ServiceCidrsReset(list) => self.cidrs = all(list, |c| &c.name),
            Event::ServiceApplied(Decoded::Object(s)) => drop(self.services.insert(s.name.clone(), Arc::clone(s))),
            Event::ServiceDeleted(name) => drop(self.services.remove(name)),
            Event::SliceApplied(Decoded::Object(s)) => drop(self.slices.insert(s.name.clone(), Arc::clone(s))),
            Event::SliceDeleted(name) => drop(self.slices.remove(name)),
            Event::ServiceCidrApplied(Decoded::Object(c)) => drop(self.cidrs.insert(c.name.clone(), Arc::clone(c))),
            Event::ServiceCidrDeleted(name) => drop(self.cidrs.remove(name)),
            Event::NodeApplied(Decoded::Object(node)) => self.node = Arc::clone(node),
            Event::NodesReset(list) => {
                if let Some(node) = list.iter().filter_map(Decoded::object).next() {
                    self.node = Arc::clone(node);
                }
            }
            _ => {}
        }
    }

    /// The addresses of each service port in a family, with protocol and port number.
    pub fn aims(&self, v4: bool) -> Vec<Vec<(IpAddr, Protocol, u16)>> {
        let of_family = |addr: &IpAddr| addr.is_ipv4() == v4;
        let mut aims: Vec<Vec<(IpAddr, Protocol, u16)>> = Vec::new();
        let served = |(service, _): &(&Service, &ServicePort)| service.cluster_ips.iter().any(of_family);
        for (service, port) in self.ports().into_iter().filter(served) {
            let addresses = [&service.cluster_ips[..], &service.load_balancer_ips, &service.external_ips];
            let addresses = addresses.into_iter().flatten().copied().filter(of_family);
            let mut of_port: Vec<_> = addresses.map(|addr| (addr, port.protocol, port.port)).collect();
            if let Some(number) = port.node_port {
                let node = ["192.0.2.1", "fd00:192::1"].map(ip).into_iter().chain(self.node.addresses.iter().copied());
                of_port.extend(node.filter(of_family).map(|addr| (addr, port.protocol, number.get())));
            }
            if !of_port.is_empty() {
                aims.push(of_port);
            }
        }
        aims
    }

    /// Everything that may become of a packet.
    pub fn outcomes(&self, packet: &Packet) -> BTreeSet<PacketOutcome> {
        if packet.opens && self.forbids(packet) {
            return BTreeSet::from([PacketOutcome::Dropped]);
        }
        self.outcomes_if_allowed(packet)
    }

    /// Whether the source of a packet may not use the load-balancer IP that it is for.
    pub fn forbids(&self, packet: &Packet) -> bool {
        let asked_for = self.asked_for(packet);
        asked_for.is_some_and(|(service, _, kind)| kind == Kind::LoadBalancerIp && !self.is_allowed(service, packet))
    }

    /// The same from a source that is allowed.
    pub fn outcomes_if_allowed(&self, packet: &Packet) -> BTreeSet<PacketOutcome> {
        let untouched = PacketOutcome::Goes {
            to: Endpoint { addr: packet.daddr, port: packet.dport },
            translated: false,
            masqueraded: false,
        };
        let refused = if packet.protocol == Protocol::Tcp { PacketOutcome::Reset } else { PacketOutcome::Refused };
        let one = |outcome| BTreeSet::from([outcome]);
        if !packet.opens {
            return one(untouched);
        }
        let Some((service, port, kind)) = self.asked_for(packet) else {
            // The guard of ClusterIPs.
            if self.services.values().any(|service| service.cluster_ips.contains(&packet.daddr)) {
                return one(refused);
            }
            let in_cidr = self.cidrs.values().flat_map(|cidr| &cidr.networks).any(|net| net.contains(&packet.daddr));
            return one(if in_cidr { PacketOutcome::Dropped } else { untouched });
        };
        let chosen = self.choose(service, port, Family::from_addr(packet.daddr));
        if !chosen.any {
            return one(refused);
        }
        let local_pod = self.is_from_local_pod(packet);
        let from_host = self.host.contains(&packet.saddr);
        let (endpoints, masquerade) = match kind {
            Kind::ClusterIp => {
                let list = if service.internal_traffic_local { chosen.local } else { chosen.cluster };
                (list, self.setup.masquerade_all || local_pod == Some(false))
            }
            _ if !service.external_traffic_local => (chosen.cluster, true),
            _ if local_pod == Some(true) => (chosen.cluster, false),
            _ if from_host => (chosen.cluster, true),
            _ => (chosen.local, false),
        };
        if endpoints.is_empty() {
            return one(PacketOutcome::Dropped);
        }
        let reaches_itself = |to: &Endpoint| to.addr == packet.saddr && self.is_reachable_here(*to, packet.protocol);
        let goes =
            |to: Endpoint| PacketOutcome::Goes { to, translated: true, masqueraded: masquerade || reaches_itself(&to) };
        endpoints.into_iter().map(goes).collect()
    }

    /// Every endpoint of the service port that a packet is for, whatever the policies say of its source.
    pub fn endpoints(&self, packet: &Packet) -> BTreeSet<Endpoint> {
        let Some((service, port, _)) = self.asked_for(packet) else { return BTreeSet::new() };
        let chosen = self.choose(service, port, Family::from_addr(packet.daddr));
        chosen.cluster.union(&chosen.local).copied().collect()
    }

    fn all_ports(&self) -> impl Iterator<Item = (&Service, &ServicePort)> {
        self.services.values().flat_map(|service| service.ports.iter().map(move |port| (&**service, port)))
    }

    /// The service ports, those that win clashes of equals first: the oldest Service, then the first by name; in it the first port by name.
    pub fn ports(&self) -> Vec<(&Service, &ServicePort)> {
        let mut ports: Vec<_> = self.all_ports().collect();
        ports.sort_by(|a, b| by_rank(*a).cmp(&by_rank(*b)));
        ports
    }

    /// The service port that a packet is for, and by which kind of address.
    pub fn asked_for(&self, packet: &Packet) -> Option<(&Service, &ServicePort, Kind)> {
        let family = Family::from_addr(packet.daddr);
        let number = |port: &ServicePort| port.node_port.is_some_and(|number| number.get() == packet.dport);
        let ports = self.all_ports().filter(|(service, port)| {
            port.protocol == packet.protocol
                && (port.port == packet.dport || number(port))
                && service.cluster_ips.iter().any(|addr| Family::from_addr(*addr) == family)
        });
        let mut ports: Vec<_> = ports.collect();
        ports.sort_by(|a, b| by_rank(*a).cmp(&by_rank(*b)));
        // A ClusterIP comes before all others, and of those one with endpoints before one without.
        let lacks = |service: &Service, port: &ServicePort| !self.choose(service, port, family).any;
        let of_number = ports.iter().filter(|(_, port)| port.port == packet.dport);
        let by_address = of_number.filter_map(|(service, port)| {
            let kind = if service.cluster_ips.contains(&packet.daddr) {
                Kind::ClusterIp
            } else if service.load_balancer_ips.contains(&packet.daddr) {
                Kind::LoadBalancerIp
            } else if service.external_ips.contains(&packet.daddr) {
                Kind::ExternalIp
            } else {
                return None;
            };
            Some((*service, *port, kind))
        });
        let is_external = |kind: Kind| kind != Kind::ClusterIp;
        let by_address = by_address
            .min_by_key(|(service, port, kind)| (is_external(*kind), is_external(*kind) && lacks(service, port)));
        by_address.or_else(|| {
            let of_number = ports.iter().filter(|(_, port)| number(port));
            let (service, port) = of_number.min_by_key(|(service, port)| lacks(service, port))?;
            self.accepts_node_ports(packet.daddr).then_some((*service, *port, Kind::NodePort))
        })
    }

    pub fn accepts_node_ports(&self, addr: IpAddr) -> bool {
        let NodePortAddresses { primary, localhost, networks } = &self.setup.node_ports;
        let is_host = self.host.contains(&addr) && !addr.is_loopback();
        let own = &self.node.addresses;
        // A family in which the Node has no address accepts NodePorts on every address of the host.
        let lacks_family = !own.is_empty() && own.iter().all(|own| own.is_ipv4() != addr.is_ipv4());
        let by_node = *primary && (own.contains(&addr) || (lacks_family && is_host));
        let of_family: Vec<_> = networks.iter().filter(|net| net.addr().is_ipv4() == addr.is_ipv4()).collect();
        let only_networks = !primary && localhost.is_empty();
        let fits = (of_family.is_empty() && only_networks) || of_family.iter().any(|net| net.contains(&addr));
        by_node || (fits && is_host)
    }

    /// Whether a packet comes from a pod on this node; `None` if that cannot be told.
    pub fn is_from_local_pod(&self, packet: &Packet) -> Option<bool> {
        match &self.setup.local_pods {
            LocalPods::Unknown => None,
            LocalPods::Networks(networks) => {
                let first = networks.iter().find(|net| net.addr().is_ipv4() == packet.saddr.is_ipv4())?;
                Some(first.contains(&packet.saddr))
            }
            LocalPods::Interface(name) => Some(match (packet.iif.as_deref(), name.strip_suffix('*')) {
                (None, _) => false,
                (Some(iif), Some(prefix)) => iif.starts_with(prefix),
                (Some(iif), None) => iif == name,
            }),
        }
    }

    /// `loadBalancerSourceRanges`
    pub fn is_allowed(&self, service: &Service, packet: &Packet) -> bool {
        let of_family = |addr: IpAddr| addr.is_ipv4() == packet.daddr.is_ipv4();
        let ranges: Vec<&IpNet> = service.source_ranges.iter().filter(|range| of_family(range.addr())).collect();
        let is_node = |range: &&&IpNet| self.node.addresses.iter().any(|addr| range.contains(addr));
        ranges.is_empty()
            || ranges.iter().any(|range| range.prefix_len() == 0 || range.contains(&packet.saddr))
            || (ranges.iter().any(|range| is_node(&range)) && service.load_balancer_ips.contains(&packet.saddr))
    }

    /// The endpoints of a service port: merged from the slices, then chosen by conditions, hints and policies.
    pub fn choose(&self, service: &Service, port: &ServicePort, family: Family) -> Chosen {
        let mut entries: BTreeMap<Endpoint, Vec<&SliceEndpoint>> = BTreeMap::new();
        for slice in self.slices.values() {
            if slice.family != family
                || *slice.service != *service.name.name()
                || slice.name.namespace() != service.name.namespace()
            {
                continue;
            }
            for target in slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol) {
                for endpoint in &slice.endpoints {
                    let place = Endpoint { addr: endpoint.addr, port: target.port };
                    entries.entry(place).or_default().push(endpoint);
                }
            }
        }
        let may_be_here = |place: &Endpoint| entries[place].iter().any(|e| e.node().is_none_or(|node| node == NODE));
        let all: BTreeMap<Endpoint, SliceEndpoint> =
            entries.iter().map(|(place, entries)| (*place, one_of_several(entries))).collect();
        let of = |holds: &dyn Fn(&SliceEndpoint) -> bool| -> BTreeSet<Endpoint> {
            all.iter().filter(|(_, endpoint)| holds(endpoint)).map(|(place, _)| *place).collect()
        };
        let here = |e: &SliceEndpoint| e.node() == Some(NODE);
        let ends = |e: &SliceEndpoint| !e.ready && e.serving && e.terminating;
        let for_node = |e: &SliceEndpoint| e.node_hints().iter().any(|hint| **hint == *NODE);
        let for_zone = |e: &SliceEndpoint| e.zone_hints().iter().any(|hint| Some(hint) == self.node.zone.as_ref());
        let ready = || all.values().filter(|e| e.ready);
        let by_node = ready().all(|e| !e.node_hints().is_empty()) && ready().any(for_node);
        let by_zone = ready().all(|e| !e.zone_hints().is_empty()) && ready().any(for_zone);
        let mut cluster = of(&|e| e.ready && (!by_node || for_node(e)) && (by_node || !by_zone || for_zone(e)));
        if cluster.is_empty() {
            cluster = of(&ends);
        }
        let mut local = of(&|e| e.ready && here(e));
        if local.is_empty() {
            local = of(&|e| ends(e) && here(e));
        }
        let exposed =
            port.node_port.is_some() || !service.load_balancer_ips.is_empty() || !service.external_ips.is_empty();
        let uses_cluster = exposed || !service.internal_traffic_local;
        let uses_local = service.internal_traffic_local || (exposed && service.external_traffic_local);
        let mut reachable = BTreeSet::new();
        reachable.extend(cluster.iter().filter(|_| uses_cluster));
        reachable.extend(local.iter().filter(|_| uses_local));
        let reachable_here = reachable.into_iter().filter(may_be_here).collect();
        Chosen { cluster, local, any: all.values().any(|e| e.ready || ends(e)), reachable_here }
    }

    /// The endpoints of a service port at which flows may stay: all that are ready or serve, whatever new connections get.
    pub fn keeps_flows(&self, service: &Service, port: &ServicePort, family: Family) -> BTreeSet<Endpoint> {
        let mut entries: BTreeMap<Endpoint, Vec<&SliceEndpoint>> = BTreeMap::new();
        for slice in self.slices.values() {
            let is_own = *slice.service == *service.name.name() && slice.name.namespace() == service.name.namespace();
            let targets = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
            for target in targets.filter(|_| is_own && slice.family == family) {
                for endpoint in &slice.endpoints {
                    entries.entry(Endpoint { addr: endpoint.addr, port: target.port }).or_default().push(endpoint);
                }
            }
        }
        let all = entries.into_iter().map(|(place, entries)| (place, one_of_several(&entries)));
        all.filter(|(_, endpoint)| endpoint.ready || endpoint.serving).map(|(place, _)| place).collect()
    }

    /// Whether some service port of this protocol can send connections to this endpoint, and may be on this node.
    pub fn is_reachable_here(&self, endpoint: Endpoint, protocol: Protocol) -> bool {
        let family = Family::from_addr(endpoint.addr);
        self.all_ports().any(|(service, port)| {
            port.protocol == protocol
                && service.cluster_ips.iter().any(|addr| Family::from_addr(*addr) == family)
                && self.choose(service, port, family).reachable_here.contains(&endpoint)
        })
    }
}

/// What decides between equals: the age of the Service, then its name, then the name of the port.
fn by_rank<'a>((service, port): (&'a Service, &'a ServicePort)) -> impl Ord + 'a {
    (service.created.is_none(), service.created, &service.name, &port.name)
}
