//! What the rules of a kernel in memory make of a packet.
//!
//! The way through the hooks is the real one's, as far as it matters here: destination translation is decided once for a connection,
//! by its first packet; what this host sends to itself leaves by the loopback interface and arrives again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{MemoryKernel, Table};
use crate::dataplane::{
    Action, ChainName, ChainType, Condition, Endpoint, Expr, Family, Field, Hook, Key, KeyField, Protocol, Rule,
    SetName,
};

/// A packet with ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub saddr: IpAddr,
    /// Where it is sent to.
    pub daddr: IpAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port that it is sent to.
    pub dport: u16,
    /// The interface by which it arrived; `None` if this host sends it.
    pub iif: Option<String>,
    /// It opens a connection.
    pub opens: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes on.
    Goes {
        /// Where to.
        to: Endpoint,
        /// That is not where it was sent to.
        translated: bool,
        /// Its source address becomes one of this host's.
        masqueraded: bool,
    },
    /// It is dropped.
    Dropped,
    /// It is answered with a TCP reset.
    Reset,
    /// It is answered with ICMP or ICMPv6 port unreachable.
    Refused,
}

impl MemoryKernel {
    /// Everything that can become of a packet, whatever random numbers are drawn, on a host with these addresses.
    pub fn fates(&self, packet: &Packet, host: &BTreeSet<IpAddr>) -> BTreeSet<Fate> {
        let family = Family::of(packet.daddr);
        let sent = State::of(packet);
        let Some(table) = &self.tables[family.index()] else { return BTreeSet::from([sent.fate()]) };
        let mut walk = Walk { table, packet, host, family, fates: BTreeSet::new() };
        let states = BTreeSet::from([sent]);
        let left = if packet.iif.is_some() { walk.arrives(states) } else { walk.is_sent(states) };
        let mut fates = walk.fates;
        fates.extend(left.into_iter().map(State::fate));
        fates
    }
}

/// What can change about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    to: Endpoint,
    translated: bool,
    masqueraded: bool,
    mark: u32,
}

/// How a packet leaves a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leaves {
    /// To the chain that it came from.
    Back,
    /// For good, with all chains at this place in the hook.
    Accepted,
}

/// One packet on its way.
struct Walk<'a> {
    table: &'a Table,
    packet: &'a Packet,
    host: &'a BTreeSet<IpAddr>,
    family: Family,
    /// What has become of it where it went no further.
    fates: BTreeSet<Fate>,
}

impl State {
    fn of(packet: &Packet) -> Self {
        let to = Endpoint { addr: packet.daddr, port: packet.dport };
        Self { to, translated: false, masqueraded: false, mark: 0 }
    }

    fn fate(self) -> Fate {
        Fate::Goes { to: self.to, translated: self.translated, masqueraded: self.masqueraded }
    }
}

impl Walk<'_> {
    /// A packet that arrived: for this host or through it.
    fn arrives(&mut self, states: BTreeSet<State>) -> BTreeSet<State> {
        let states = self.hook(Hook::Prerouting, true, states);
        let (here, elsewhere) = self.by_route(states);
        let mut left = self.hook(Hook::Input, true, here);
        let passing = self.hook(Hook::Forward, true, elsewhere);
        left.extend(self.hook(Hook::Postrouting, true, passing));
        left
    }

    /// A packet that this host sends: away, or to itself.
    fn is_sent(&mut self, states: BTreeSet<State>) -> BTreeSet<State> {
        let states = self.hook(Hook::Output, true, states);
        let states = self.hook(Hook::Postrouting, true, states);
        let (here, mut left) = self.by_route(states);
        // The connection is known by now, and where it goes decided.
        let here = self.hook(Hook::Prerouting, false, here);
        left.extend(self.hook(Hook::Input, false, here));
        left
    }

    /// Those for this host, and the others.
    fn by_route(&self, states: BTreeSet<State>) -> (BTreeSet<State>, BTreeSet<State>) {
        states.into_iter().partition(|state| self.host.contains(&state.to.addr))
    }

    /// All base chains of a hook, in order of their priorities.
    fn hook(&mut self, hook: Hook, translates: bool, mut states: BTreeSet<State>) -> BTreeSet<State> {
        let of_hook = |base: &crate::dataplane::BaseChain| {
            base.hook == hook && (base.kind == ChainType::Filter || (translates && self.packet.opens))
        };
        let chains = self.table.chains.iter();
        let mut chains: Vec<(i32, &str)> =
            chains.filter_map(|(name, chain)| Some((chain.base.filter(of_hook)?.priority, name.as_str()))).collect();
        chains.sort_unstable();
        for (_, name) in chains {
            // The policy is to accept, so it makes no difference how the packet leaves.
            states = states.into_iter().flat_map(|state| self.chain(name, state)).map(|(_, state)| state).collect();
        }
        states
    }

    /// The states in which a packet can leave a chain.
    fn chain(&mut self, name: &str, state: State) -> BTreeSet<(Leaves, State)> {
        let rules: &[Rule] = self.table.chains.get(name).map_or(&[], |chain| &chain.rules);
        let mut left = BTreeSet::new();
        let mut here = BTreeSet::from([state]);
        for rule in rules {
            let mut next = BTreeSet::new();
            for state in here {
                if rule.conditions.iter().all(|condition| self.holds(condition, state)) {
                    self.act(&rule.action, state, &mut next, &mut left);
                } else {
                    next.insert(state);
                }
            }
            here = next;
        }
        left.extend(here.into_iter().map(|state| (Leaves::Back, state)));
        left
    }

    /// Does what a rule says. A packet then goes on to the `next` rule, has `left` the chain, or is not there any more.
    fn act(&mut self, action: &Action, state: State, next: &mut BTreeSet<State>, left: &mut BTreeSet<(Leaves, State)>) {
        match action {
            Action::Jump(ChainName(chain)) => {
                for (leaves, state) in self.chain(chain, state) {
                    match leaves {
                        Leaves::Back => drop(next.insert(state)),
                        Leaves::Accepted => drop(left.insert((leaves, state))),
                    }
                }
            }
            Action::Goto(ChainName(chain)) => left.extend(self.chain(chain, state)),
            Action::Drop => drop(self.fates.insert(Fate::Dropped)),
            Action::RejectTcpReset => drop(self.fates.insert(Fate::Reset)),
            Action::Reject => drop(self.fates.insert(Fate::Refused)),
            Action::DnatTo(expr, map) => {
                for slot in 0..expr.class.map_or(1, |class| class.slots()) {
                    match self.value(expr, *map, slot, state) {
                        Some(to) => drop(left.insert((Leaves::Accepted, State { to, translated: true, ..state }))),
                        None => drop(next.insert(state)),
                    }
                }
            }
            // What is remembered is for the next connection.
            Action::Remember(..) => drop(next.insert(state)),
            Action::SetMark(bit) => drop(next.insert(State { mark: state.mark | bit, ..state })),
            Action::ClearMarkAndMasquerade(bit) => {
                left.insert((Leaves::Accepted, State { mark: state.mark ^ bit, masqueraded: true, ..state }));
            }
            Action::Masquerade => drop(left.insert((Leaves::Accepted, State { masqueraded: true, ..state }))),
        }
    }

    fn holds(&self, condition: &Condition, state: State) -> bool {
        let iif = self.packet.iif.as_deref();
        match condition {
            Condition::In(expr, set) => self.is_in(expr, *set, state),
            Condition::NotIn(expr, set) => !self.is_in(expr, *set, state),
            Condition::SaddrIn(network) => network.contains(&self.packet.saddr),
            Condition::SaddrNotIn(network) => !network.contains(&self.packet.saddr),
            Condition::DaddrNotIn(network) => !network.contains(&state.to.addr),
            Condition::FibSaddrLocal => self.host.contains(&self.packet.saddr),
            Condition::FibDaddrLocal => self.host.contains(&state.to.addr),
            Condition::Iifname(pattern) => iif.is_some_and(|iif| matches(pattern, iif)),
            Condition::IifnameNot(pattern) => !iif.is_some_and(|iif| matches(pattern, iif)),
            Condition::L4Proto(protocol) => *protocol == self.packet.protocol,
            Condition::CtStateNew => self.packet.opens,
            Condition::CtStatusDnat => state.translated,
            Condition::CtStatusNoDnat => !state.translated,
            Condition::Mark(bit) => state.mark & bit == *bit,
        }
    }

    /// Whether the key made of these fields is in a set, or in one of its ranges.
    fn is_in(&self, expr: &Expr, set: SetName, state: State) -> bool {
        let Some(key) = self.key(expr, set, 0, state) else { return false };
        let Some(held) = self.table.sets.get(&set.to_string()) else { return false };
        match key {
            Key::Network(one) => {
                held.elements.keys().any(|held| matches!(held, Key::Network(range) if range.contains(&one)))
            }
            Key::Source(frontend, one) => held
                .elements
                .keys()
                .any(|held| matches!(held, Key::Source(of, range) if *of == frontend && range.contains(&one))),
            key => held.elements.contains_key(&key),
        }
    }

    /// What a map gives for the key made of these fields.
    fn value(&self, expr: &Expr, map: SetName, slot: u32, state: State) -> Option<Endpoint> {
        let key = self.key(expr, map, slot, state)?;
        self.table.sets.get(&map.to_string())?.elements.get(&key)?.value
    }

    /// The key made of these fields; `None` if no element of the set can have it.
    fn key(&self, expr: &Expr, set: SetName, slot: u32, state: State) -> Option<Key> {
        let field = |field: &Field| match field {
            Field::Saddr => KeyField::Addr(self.packet.saddr),
            Field::Daddr => KeyField::Addr(state.to.addr),
            Field::L4Proto => KeyField::Protocol(self.packet.protocol),
            Field::Dport => KeyField::Port(state.to.port),
            Field::OriginalDaddr => KeyField::Addr(self.packet.daddr),
            Field::OriginalDport => KeyField::Port(self.packet.dport),
            Field::Slot => KeyField::Slot(slot),
        };
        let atoms: Vec<KeyField> = expr.fields.iter().map(field).collect();
        Key::from_atoms(self.family, set, &atoms)
    }
}

/// Whether an interface has this name, or begins so if that ends in `*`.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{Element, Operation};
    use crate::fixtures::{World, ip, service, service_cidr, slice};
    use crate::state::Event;

    /// What becomes of a connection from 192.0.2.2 to the TCP port of this address.
    fn fates(world: &World, from: &str, to: &str, dport: u16, protocol: Protocol) -> Vec<String> {
        let iif = Some("eth0".to_owned());
        let packet = Packet { saddr: ip(from), daddr: ip(to), protocol, dport, iif, opens: true };
        let say = |fate: &Fate| match fate {
            Fate::Goes { to, translated, masqueraded } => {
                let note = |holds: bool, text| if holds { text } else { "" };
                format!("{to}{}{}", note(*translated, " translated"), note(*masqueraded, " masqueraded"))
            }
            other => format!("{other:?}"),
        };
        world.kernel.fates(&packet, &BTreeSet::from([ip("192.0.2.1")])).iter().map(say).collect()
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
        assert_eq!(fates(&web(), "192.0.2.2", "10.96.0.1", 80, Protocol::Tcp), all);
    }

    #[test]
    fn a_client_that_is_remembered_goes_where_it_went_and_others_anywhere() {
        let mut world = web();
        world.apply(service("shop/web").affinity(60));
        world.sync();
        let frontend = crate::fixtures::frontend("10.96.0.1 80/tcp");
        let value = Some(Endpoint { addr: ip("10.1.0.2"), port: 8080 });
        let key = Key::Client(frontend, ip("192.0.2.2"));
        let client = Element { value, ..Element::member(SetName::Clients { node_port: false }, key) };
        assert_eq!(world.kernel.apply(&[Operation::add_element(client)]), Ok(()));
        let fates = |from| fates(&world, from, "10.96.0.1", 80, Protocol::Tcp);
        assert_eq!(fates("192.0.2.2"), ["10.1.0.2:8080 translated"]);
        assert_eq!(fates("192.0.2.3").len(), 3);
    }

    #[test]
    fn who_reaches_itself_is_masqueraded() {
        let fates = fates(&web(), "10.1.0.1", "10.96.0.1", 80, Protocol::Tcp);
        assert_eq!(fates[0], "10.1.0.1:8080 translated masqueraded");
        assert_eq!(fates[1], "10.1.0.2:8080 translated");
    }

    #[test]
    fn what_nobody_answers_is_refused_or_dropped_and_the_rest_passes() {
        let world = web();
        let client = "192.0.2.2";
        assert_eq!(fates(&world, client, "10.96.0.2", 80, Protocol::Tcp), ["Reset"]);
        assert_eq!(fates(&world, client, "10.96.0.1", 81, Protocol::Udp), ["Refused"]);
        assert_eq!(fates(&world, client, "10.96.0.3", 80, Protocol::Tcp), ["Dropped"]);
        assert_eq!(fates(&world, client, "203.0.113.1", 80, Protocol::Tcp), ["203.0.113.1:80"]);
        assert_eq!(fates(&world, client, "192.0.2.1", 80, Protocol::Tcp), ["192.0.2.1:80"]);
    }

    #[test]
    fn a_packet_of_a_connection_that_is_open_meets_no_rule() {
        let iif = Some("eth0".to_owned());
        let (saddr, daddr) = (ip("192.0.2.2"), ip("10.96.0.2"));
        let packet = Packet { saddr, daddr, protocol: Protocol::Tcp, dport: 80, iif, opens: false };
        let to = Endpoint { addr: daddr, port: 80 };
        let passes = Fate::Goes { to, translated: false, masqueraded: false };
        assert_eq!(web().kernel.fates(&packet, &BTreeSet::new()), BTreeSet::from([passes]));
    }
}
