//! What must become of packets, also of those that are among the rules while batches take effect.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use pointsman::apply::MemoryKernel;
use pointsman::dataplane::{Endpoint, Packet, PacketOutcome, Protocol};

use crate::model::{HOST, Kind, Model, Setup, ip};
use crate::random::Random;

/// What becomes of a packet against the law, if anything does. It passes through these tables, one after the other, while these versions
/// of the cluster were asked for: the last one that was acknowledged before, and all since.
///
/// - A packet that every version serves is served. One that every version forbids is not, nor one that no version serves.
/// - One that is served goes to an endpoint of its service port, of one of the versions.
///
/// Left out are the node's own addresses while they are not known, and addresses that go over from one Service to another of which one has it as its ClusterIP and the other not.
pub fn stray(
    tables: &[&MemoryKernel],
    versions: &[Rc<Model>],
    packet: &Packet,
    host: &BTreeSet<IpAddr>,
) -> Option<PacketOutcome> {
    let mixed = with_each_setup(versions);
    let versions = mixed.as_deref().unwrap_or(versions);
    let kinds: BTreeSet<bool> =
        versions.iter().filter_map(|model| model.asked_for(packet).map(|(.., kind)| kind == Kind::ClusterIp)).collect();
    // Where the addresses for NodePorts change, a slice may bring an address that the NodePorts of a later slice still have.
    let is_own = versions.iter().any(|model| model.host.contains(&packet.daddr));
    let accepting = |model: &Rc<Model>| (model.node.addresses.clone(), model.setup.node_ports.clone());
    if is_own && versions.iter().any(|model| accepting(model) != accepting(&versions[0])) {
        return None;
    }
    if kinds.len() > 1 || versions.iter().any(|model| !is_judged(model, packet)) {
        return None;
    }
    let found = MemoryKernel::outcomes_across(tables, packet, host);
    // Most often the newest version says it all.
    let mut unsaid = found.clone();
    for model in versions.iter().rev() {
        let says = model.outcomes(packet);
        unsaid.retain(|found| !says.contains(found));
        if unsaid.is_empty() {
            return None;
        }
    }
    let says: Vec<_> = versions.iter().map(|model| model.outcomes(packet)).collect();
    let is_served = |says: &BTreeSet<PacketOutcome>| says.iter().any(is_translated);
    let is_due = versions.iter().any(|model| is_served(&model.outcomes_if_allowed(packet)))
        && !versions.iter().all(|model| model.forbids(packet));
    let all_serve = says.iter().all(is_served);
    let endpoints: BTreeSet<Endpoint> = versions.iter().flat_map(|model| model.endpoints(packet)).collect();
    let is_lawful = |found: &PacketOutcome| {
        says.iter().any(|says| says.contains(found))
            || match found {
                PacketOutcome::Goes { to, translated: true, .. } => is_due && endpoints.contains(to),
                _ => !all_serve,
            }
    };
    found.into_iter().find(|found| !is_lawful(found))
}

/// Over a restart with another configuration packets meet the rules of one with the elements of the other: each version under each setup.
fn with_each_setup(versions: &[Rc<Model>]) -> Option<Vec<Rc<Model>>> {
    let mut setups = vec![&versions.first()?.setup];
    for model in versions {
        if !setups.contains(&&model.setup) {
            setups.push(&model.setup);
        }
    }
    let under = |setup: &Setup| {
        let same = |model: &Rc<Model>| Rc::new(Model { setup: setup.clone(), ..Model::clone(model) });
        versions.iter().map(same).collect::<Vec<_>>()
    };
    (setups.len() > 1).then(|| setups.into_iter().flat_map(under).collect())
}

/// Whether the model knows what must become of a packet. Until the Node names its addresses, those that accept NodePorts stay as they were.
pub fn is_judged(model: &Model, packet: &Packet) -> bool {
    let knows_node = !model.setup.node_ports.primary || !model.node.addresses.is_empty();
    knows_node || !model.host.contains(&packet.daddr)
}

fn is_translated(outcome: &PacketOutcome) -> bool {
    matches!(outcome, PacketOutcome::Goes { translated: true, .. })
}

/// A packet that opens a connection, most often to something that a Service of the model has.
pub fn packet(random: &mut Random, model: &Model) -> Packet {
    let v6 = random.one_in(2);
    let (saddr, iif) = source(random, v6);
    let protocol = *random.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let to: &[&str] = if v6 {
        &["fd00:96::1", "fd00:96::9", "fd00:51::1", "fd00:192::1", "fd00:1::1", "2001:db8::9", "::1"]
    } else {
        &["10.96.0.0", "10.96.0.1", "10.96.0.9", "10.97.0.1", "198.51.100.1", "192.0.2.1", "192.0.2.2", "10.1.0.1"]
    };
    let dport = *random.pick(&[80, 81, 82, 83, 30_000, 30_001, 8080]);
    let mut packet = Packet { saddr, daddr: ip(*random.pick(to)), protocol, dport, iif, opens: true };
    let aims = if random.one_in(6) { Vec::new() } else { model.aims(!v6) };
    if !aims.is_empty() {
        let of_port = random.pick(&aims);
        (packet.daddr, packet.protocol, packet.dport) = *random.pick(of_port);
    }
    if packet.iif.is_none() && random.one_in(2) && model.host.contains(&packet.daddr) {
        packet.saddr = packet.daddr;
    }
    packet
}

/// The source of a packet: a pod here or elsewhere, a client outside, or this host.
pub fn source(random: &mut Random, v6: bool) -> (IpAddr, Option<String>) {
    let interface = |name: &str| Some(name.to_owned());
    match random.below(8) {
        0..3 => {
            let n = random.small(12);
            let pod = if v6 { [0xfd00, 1, 0, 0, 0, 0, 0, u16::from(n)].into() } else { IpAddr::from([10, 1, 0, n]) };
            (pod, interface(*random.pick(&["cni0", "cni7", "eth0"])))
        }
        3..6 => {
            let outside: &[&str] =
                if v6 { &["fd00:113::5", "2001:db8::7"] } else { &["203.0.113.5", "203.0.113.200", "192.0.2.77"] };
            (ip(*random.pick(outside)), interface("eth0"))
        }
        _ => {
            let own: Vec<&str> = HOST.into_iter().filter(|addr| ip(addr).is_ipv6() == v6).collect();
            (ip(*random.pick(&own)), None)
        }
    }
}
