//! Running the rules of a kernel in memory on a packet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{MemoryKernel, MemoryTable};
use crate::dataplane::{
    BaseChain, Family, Key, Packet, PacketOutcome, PacketTable, Rule, SetName, Value, packet_outcomes, untouched,
};

impl MemoryKernel {
    /// Every outcome that a packet can have, over all random numbers, on a host with these addresses.
    pub fn outcomes(&self, packet: &Packet, host: &BTreeSet<IpAddr>) -> BTreeSet<PacketOutcome> {
        Self::outcomes_across(&[self], packet, host)
    }

    /// Every outcome that a packet can have that begins in the first of these generations of a kernel's tables, while the others take
    /// effect one after the other at any moments of its way.
    pub fn outcomes_across(generations: &[&Self], packet: &Packet, host: &BTreeSet<IpAddr>) -> BTreeSet<PacketOutcome> {
        let family = Family::from_addr(packet.daddr).index();
        let tables: Vec<_> = generations.iter().filter_map(|kernel| kernel.tables[family].as_ref()).collect();
        if tables.len() < generations.len() {
            return BTreeSet::from([untouched(packet)]);
        }
        packet_outcomes(&tables, packet, host)
    }
}

impl PacketTable for MemoryTable {
    fn base_chains(&self) -> Vec<(BaseChain, &str)> {
        self.chains.iter().filter_map(|(name, chain)| Some((chain.base?, name.as_str()))).collect()
    }

    fn rules(&self, chain: &str) -> &[Rule] {
        self.chains.get(chain).map_or(&[], |chain| &chain.rules)
    }

    fn has_rules_of(&self, other: &Self) -> bool {
        self.chains == other.chains
    }

    fn has_set(&self, set: SetName) -> bool {
        self.sets.contains_key(&set)
    }

    fn find(&self, set: SetName, key: &Key) -> Option<(Key, Option<Value>)> {
        #[cfg(test)]
        lookups::note();
        let held = self.sets.get(&set)?;
        let (key, data) = match key {
            Key::Network(one) => {
                held.elements.iter().find(|(key, _)| matches!(key, Key::Network(range) if range.contains(one)))?
            }
            key => held.elements.get_key_value(key)?,
        };
        Some((*key, data.value))
    }

    fn is_full(&self, set: SetName) -> bool {
        self.sets.get(&set).is_none_or(super::MemorySet::is_full)
    }
}

/// Counts look-ups of sets and maps.
#[cfg(test)]
mod lookups {
    use std::cell::Cell;

    thread_local! {
        static MADE: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn note() {
        MADE.set(MADE.get() + 1);
    }

    /// Runs `work` and returns the number of look-ups that it took in this thread.
    pub(super) fn count<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = MADE.get();
        let done = work();
        (done, MADE.get() - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{Element, Endpoint, EndpointId, Operation, Protocol};
    use crate::fixtures::{World, ip, service, service_cidr, slice};
    use crate::state::{Decoded, Event, Service};

    /// The outcomes of a connection, on a host with the address 192.0.2.1.
    fn outcomes(world: &World, from: &str, to: &str, dport: u16, protocol: Protocol) -> Vec<String> {
        let iif = Some("eth0".to_owned());
        let packet = Packet { saddr: ip(from), daddr: ip(to), protocol, dport, iif, opens: true };
        let say = |outcome: &PacketOutcome| match outcome {
            PacketOutcome::Goes { to, translated, masqueraded } => {
                let note = |holds: bool, text| if holds { text } else { "" };
                format!("{to}{}{}", note(*translated, " translated"), note(*masqueraded, " masqueraded"))
            }
            other => format!("{other:?}"),
        };
        world.kernel.outcomes(&packet, &BTreeSet::from([ip("192.0.2.1")])).iter().map(say).collect()
    }

    fn web() -> World {
        World::with([
            service("shop/web").into(),
            service("shop/none").ips(&["10.96.0.2"]).into(),
            slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r, 10.1.0.3 R r").into(),
            Event::ServiceCidrApplied(service_cidr("all", &["10.96.0.0/16"])),
        ])
    }

    #[test]
    fn every_endpoint_can_be_drawn() {
        let all = ["10.1.0.1:8080 translated", "10.1.0.2:8080 translated", "10.1.0.3:8080 translated"];
        assert_eq!(outcomes(&web(), "192.0.2.2", "10.96.0.1", 80, Protocol::Tcp), all);
    }

    #[test]
    fn a_client_in_the_affinity_map_keeps_its_endpoint_and_others_get_any() {
        let mut world = web();
        world.apply(service("shop/web").affinity(60));
        world.sync();
        let frontend = crate::fixtures::frontend("10.96.0.1 80/tcp");
        let id = world.acknowledged().frontends[&frontend].id_of(ip("10.1.0.2")).unwrap();
        let client = |addr, id| {
            let clients = Element::member(SetName::Clients(frontend), Key::Client(ip(addr)));
            Operation::add_element(Element { value: Some(Value::Id(id)), ..clients })
        };
        assert_eq!(world.kernel.apply(&[client("192.0.2.2", id), client("192.0.2.4", EndpointId(7))]), Ok(()));
        let outcomes = |from| outcomes(&world, from, "10.96.0.1", 80, Protocol::Tcp);
        assert_eq!(outcomes("192.0.2.2"), ["10.1.0.2:8080 translated"]);
        assert_eq!(outcomes("192.0.2.3").len(), 3);
        assert_eq!(outcomes("192.0.2.4").len(), 3, "its endpoint is gone");
    }

    #[test]
    fn a_connection_of_an_endpoint_to_itself_is_masqueraded() {
        let outcomes = outcomes(&web(), "10.1.0.1", "10.96.0.1", 80, Protocol::Tcp);
        assert_eq!(outcomes[0], "10.1.0.1:8080 translated masqueraded");
        assert_eq!(outcomes[1], "10.1.0.2:8080 translated");
    }

    #[test]
    fn unserved_frontends_are_refused_or_dropped_and_other_packets_pass() {
        let world = web();
        let client = "192.0.2.2";
        assert_eq!(outcomes(&world, client, "10.96.0.2", 80, Protocol::Tcp), ["Reset"]);
        assert_eq!(outcomes(&world, client, "10.96.0.1", 81, Protocol::Udp), ["Refused"]);
        assert_eq!(outcomes(&world, client, "10.96.0.3", 80, Protocol::Tcp), ["Dropped"]);
        assert_eq!(outcomes(&world, client, "203.0.113.1", 80, Protocol::Tcp), ["203.0.113.1:80"]);
        assert_eq!(outcomes(&world, client, "192.0.2.1", 80, Protocol::Tcp), ["192.0.2.1:80"]);
    }

    /// A Service with a load-balancer IP that only these sources may use.
    fn limited(name: &str, [cluster_ip, addr]: [&str; 2], ranges: impl IntoIterator<Item = String>) -> Event {
        let Decoded::Object(described) = service(name).ips(&[cluster_ip]).decoded() else { panic!("a Service") };
        Event::ServiceApplied(Decoded::Object(std::sync::Arc::new(Service {
            load_balancer_ips: vec![ip(addr)].into(),
            source_ranges: ranges.into_iter().map(|range| range.parse().unwrap()).collect(),
            ..(*described).clone()
        })))
    }

    #[test]
    fn a_packet_to_a_frontend_with_a_range_looks_up_as_much_whatever_ranges_others_have() {
        let mut world = web();
        world.apply(limited("shop/victim", ["10.96.0.5", "203.0.113.1"], ["192.0.2.0/24".to_owned()]));
        world.apply(slice("shop/victim-1").endpoints("10.1.0.7 L r"));
        world.sync();
        let looked_up =
            |world: &World, from: &str, to: &str| lookups::count(|| outcomes(world, from, to, 80, Protocol::Tcp));
        let routes = [("192.0.2.2", "203.0.113.1"), ("198.51.100.9", "203.0.113.1"), ("192.0.2.2", "10.96.0.1")];
        let before = routes.map(|(from, to)| looked_up(&world, from, to));
        assert_eq!(before[0].0, ["10.1.0.7:8080 translated masqueraded"]);
        assert_eq!(before[1].0, ["Dropped"]);
        assert_eq!(before[1].1, 2, "the frontend, and the source among its ranges");
        let one_of_each_length =
            (1..=32).map(|bits| format!("{}/{bits}", std::net::Ipv4Addr::from_bits(1 << (32 - bits))));
        world.apply(limited("shop/attacker", ["10.96.0.6", "203.0.113.2"], one_of_each_length));
        world.sync();
        assert_eq!(routes.map(|(from, to)| looked_up(&world, from, to)), before);
    }

    #[test]
    fn a_packet_of_a_connection_that_is_open_meets_no_rule() {
        let iif = Some("eth0".to_owned());
        let (saddr, daddr) = (ip("192.0.2.2"), ip("10.96.0.2"));
        let packet = Packet { saddr, daddr, protocol: Protocol::Tcp, dport: 80, iif, opens: false };
        let to = Endpoint { addr: daddr, port: 80 };
        let passes = PacketOutcome::Goes { to, translated: false, masqueraded: false };
        assert_eq!(web().kernel.outcomes(&packet, &BTreeSet::new()), BTreeSet::from([passes]));
    }
}
