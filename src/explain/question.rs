//! Which packet a question is about.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::dataplane::{Family, Frontend, LocalPods, Options, Packet, Protocol};
use crate::state::{Exposure, ObjectName, Snapshot};

/// What stands for the interface of a client outside, whose name is not known.
pub(super) const OUTSIDE_INTERFACE: &str = "outside";

/// How many ports a message names.
const MAX_PORTS: usize = 10;

/// A port that a destination has: its name, number and protocol.
type KnownPort = (String, u16, Protocol);

/// What a question asks about: an address or a Service, with a port or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    target: Target,
    port: Option<String>,
    protocol: Option<Protocol>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Addr(IpAddr),
    Service(String, String),
    Node,
}

/// Who sends the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A pod on this node.
    Pod,
    /// This node.
    Node,
    /// A client outside of the cluster.
    Outside,
    /// Whoever has this address.
    Addr(IpAddr),
}

impl Destination {
    /// Parses `ADDRESS[:PORT][/PROTOCOL]`, `NAMESPACE/SERVICE[:PORT][/PROTOCOL]` or `node:PORT[/PROTOCOL]`.
    ///
    /// # Errors
    ///
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, protocol) = match text.rsplit_once('/') {
            Some((rest, last)) => match last.parse() {
                Ok(protocol) => (rest, Some(protocol)),
                // In `shop/web` and `shop/web:http` the slash ends the namespace.
                Err(_) if rest.contains([':', '/']) || rest.parse::<IpAddr>().is_ok() => {
                    return Err(format!("{last:?} is no protocol: expected tcp, udp or sctp, as in {rest}/tcp"));
                }
                Err(_) => (text, None),
            },
            None => (text, None),
        };
        if let Ok(at) = rest.parse::<SocketAddr>() {
            return Ok(Self { target: Target::Addr(at.ip()), port: Some(at.port().to_string()), protocol });
        }
        if let Ok(addr) = rest.trim_matches(['[', ']']).parse() {
            return Ok(Self { target: Target::Addr(addr), port: None, protocol });
        }
        let (name, port) = match rest.split_once(':') {
            Some((name, port)) => (name, Some(port.to_owned())),
            None => (rest, None),
        };
        let target = match name.split_once('/') {
            Some((namespace, service)) if !namespace.is_empty() && !service.is_empty() && !service.contains('/') => {
                Target::Service(namespace.to_owned(), service.to_owned())
            }
            None if name == "node" => Target::Node,
            _ => {
                return Err(format!(
                    "{text:?} is no destination: expected ADDRESS:PORT, NAMESPACE/SERVICE:PORT or node:PORT, each with \
                     /tcp, /udp or /sctp or without"
                ));
            }
        };
        Ok(Self { target, port, protocol })
    }

    /// The packet that opens such a connection.
    ///
    /// # Errors
    ///
    /// If there is no such Service or port, or if several ports fit: says which.
    pub fn packet(
        &self,
        sender: &Sender,
        snapshot: &Snapshot,
        options: &Options,
        host: &BTreeSet<IpAddr>,
    ) -> Result<Packet, String> {
        let (daddr, dport, protocol) = self.resolve(sender, snapshot)?;
        let family = Family::from_addr(daddr);
        let (saddr, iif) = sender.source(family, snapshot, options, host)?;
        if Family::from_addr(saddr) != family {
            return Err(format!("the source {saddr} and the destination {daddr} are of different families"));
        }
        Ok(Packet { saddr, daddr, protocol, dport, iif, opens: true })
    }

    fn resolve(&self, sender: &Sender, snapshot: &Snapshot) -> Result<(IpAddr, u16, Protocol), String> {
        let cluster = snapshot.cluster();
        let of_sender = |addr: &&IpAddr| match sender {
            Sender::Addr(from) => from.is_ipv4() == addr.is_ipv4(),
            _ => true,
        };
        let known: Vec<KnownPort>;
        let addr = match &self.target {
            Target::Addr(addr) => {
                let desired = &snapshot.desired().frontends;
                let range = Frontend::first_at(*addr)..;
                let at = desired.range(range).take_while(|(frontend, _)| frontend.addr == *addr);
                known = at.map(|(frontend, _)| (String::new(), frontend.port, frontend.protocol)).collect();
                *addr
            }
            Target::Node => {
                known = Vec::new();
                let addresses = cluster.node_port_addresses();
                let own = cluster.node().map_or(&[][..], |node| &node.addresses);
                let addr = addresses.iter().chain(own).find(of_sender);
                *addr.ok_or("no address of this node is known that accepts NodePorts")?
            }
            Target::Service(namespace, name) => {
                let service = cluster.service(&ObjectName::new(namespace, name));
                let service = service.ok_or_else(|| {
                    format!("there is no Service {namespace}/{name} here: it does not exist, or has no ClusterIP, or another proxy serves it")
                })?;
                known = service.ports.iter().map(|port| (port.name.to_string(), port.port, port.protocol)).collect();
                let addr = service.cluster_ips.iter().find(of_sender);
                *addr.ok_or_else(|| match (service.cluster_ips.first(), service.problems.first()) {
                    (None, Some(problem)) => {
                        format!(
                            "Service {namespace}/{name} has no ClusterIP that can be used: {}",
                            problem.explanation()
                        )
                    }
                    _ => format!("Service {namespace}/{name} has no ClusterIP of the source's family"),
                })?
            }
        };
        let wanted = self.port.as_deref();
        let number = wanted.and_then(|port| port.parse::<u16>().ok());
        let fits = |(name, port, protocol): &&KnownPort| {
            wanted.is_none_or(|wanted| number == Some(*port) || (!name.is_empty() && name == wanted))
                && self.protocol.is_none_or(|wanted| wanted == *protocol)
        };
        let fitting: Vec<_> = known.iter().filter(fits).collect();
        match (&fitting[..], number) {
            ([(_, port, protocol)], _) => Ok((addr, *port, *protocol)),
            ([], Some(number)) => Ok((addr, number, self.protocol.unwrap_or(Protocol::Tcp))),
            ([], None) => Err(self.no_port(addr, &known)),
            (several, _) => {
                let tcp = several.iter().find(|(_, _, protocol)| number.is_some() && *protocol == Protocol::Tcp);
                tcp.map(|(_, port, protocol)| (addr, *port, *protocol)).ok_or_else(|| {
                    let all = first_ports(several, |(_, port, protocol)| format!("{port}/{protocol}"));
                    format!("{} has several ports: name one of {all}", self.target.text(addr))
                })
            }
        }
    }

    /// What to say where no port fits.
    fn no_port(&self, addr: IpAddr, known: &[KnownPort]) -> String {
        let target = self.target.text(addr);
        let protocol = self.protocol.map_or_else(String::new, |protocol| format!("/{protocol}"));
        let wanted = match &self.port {
            Some(port) => format!(" port {port}{protocol}"),
            None if protocol.is_empty() => " port".to_owned(),
            None => format!(" {} port", protocol.trim_start_matches('/')),
        };
        let known: Vec<&KnownPort> = known.iter().collect();
        if !known.is_empty() {
            let has = first_ports(&known, |(name, port, protocol)| match name.is_empty() {
                true => format!("{port}/{protocol}"),
                false => format!("{name} {port}/{protocol}"),
            });
            return format!("{target} has no{wanted}; it has {has}");
        }
        match &self.target {
            Target::Addr(IpAddr::V6(_)) => {
                let (before, port) = split_port(addr).unwrap_or((addr, 80));
                format!("no Service has {addr}: name a port, as in [{before}]:{port}/tcp")
            }
            Target::Addr(_) => format!("no Service has {addr}: name a port, as in {addr}:80/tcp"),
            Target::Node => "name a NodePort by its number, as in node:30080".to_owned(),
            Target::Service(..) => format!("{target} has no{wanted}: it has none that this proxy serves"),
        }
    }
}

impl Target {
    /// In a sentence.
    fn text(&self, addr: IpAddr) -> String {
        match self {
            Self::Service(namespace, name) => format!("Service {namespace}/{name}"),
            Self::Addr(_) | Self::Node => addr.to_string(),
        }
    }
}

/// The first ports in a sentence, and how many more there are.
fn first_ports(ports: &[&KnownPort], text: impl Fn(&KnownPort) -> String) -> String {
    let shown: Vec<String> = ports.iter().take(MAX_PORTS).map(|port| text(port)).collect();
    let more = ports.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

/// An IPv6 address whose last part was perhaps meant as a port: what comes before it, and that port.
fn split_port(addr: IpAddr) -> Option<(IpAddr, u16)> {
    let text = addr.to_string();
    let (before, port) = text.rsplit_once(':')?;
    Some((before.parse().ok()?, port.parse().ok()?))
}

impl Sender {
    /// Parses `pod`, `node`, `outside` or an address.
    ///
    /// # Errors
    ///
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "pod" => Ok(Self::Pod),
            "node" => Ok(Self::Node),
            "outside" => Ok(Self::Outside),
            other => other
                .parse()
                .map(Self::Addr)
                .map_err(|_| format!("{text:?} is no sender: expected an address, pod, node or outside")),
        }
    }

    /// The source address and the interface; no interface if this node sends.
    fn source(
        &self,
        family: Family,
        snapshot: &Snapshot,
        options: &Options,
        host: &BTreeSet<IpAddr>,
    ) -> Result<(IpAddr, Option<String>), String> {
        let node = snapshot.cluster().node();
        let pod_networks = node.map_or(&[][..], |node| &node.pod_cidrs);
        let networks = match &options.local_pods {
            LocalPods::Networks(networks) => networks,
            _ => pod_networks,
        };
        let network = networks.iter().find(|network| Family::from_addr(network.addr()) == family);
        let pod_interface = match &options.local_pods {
            LocalPods::Interface(name) => name.replace('*', "0"),
            _ => "pod".to_owned(),
        };
        let documentation = |v4: &str, v6: &str| match family {
            Family::Ip => v4.parse::<IpAddr>(),
            Family::Ip6 => v6.parse::<IpAddr>(),
        };
        let documentation = |v4, v6| documentation(v4, v6).map_err(|error| error.to_string());
        match self {
            Self::Pod => {
                let is_endpoint = |addr: &IpAddr| is_endpoint(snapshot, *addr);
                let free = network.and_then(|network| {
                    network.hosts().skip(1).take(4096).find(|addr| !host.contains(addr) && !is_endpoint(addr))
                });
                let addr = free.map_or_else(|| documentation("192.0.2.200", "2001:db8::200"), Ok)?;
                Ok((addr, Some(pod_interface)))
            }
            Self::Node => {
                let own = node.map_or(&[][..], |node| &node.addresses);
                let all = own.iter().chain(host).filter(|addr| Family::from_addr(**addr) == family);
                let addr = all.clone().find(|addr| !addr.is_loopback()).or_else(|| all.clone().next());
                Ok((*addr.ok_or("no address of this node is known: name one with --from ADDRESS")?, None))
            }
            Self::Outside => Ok((documentation("203.0.113.7", "2001:db8::7")?, Some(OUTSIDE_INTERFACE.to_owned()))),
            Self::Addr(addr) if host.contains(addr) => Ok((*addr, None)),
            Self::Addr(addr) => {
                let here = pod_networks.iter().any(|network| network.contains(addr));
                Ok((*addr, Some(if here { pod_interface } else { OUTSIDE_INTERFACE.to_owned() })))
            }
        }
    }
}

/// Whether an address is an endpoint that some ClusterIP uses.
fn is_endpoint(snapshot: &Snapshot, addr: IpAddr) -> bool {
    snapshot.desired().frontends.values().any(|claims| {
        let winner = claims.winner();
        winner.exposure == Exposure::Internal
            && winner.endpoints(crate::state::TrafficPolicy::Cluster).iter().any(|endpoint| endpoint.addr == addr)
    })
}
