//! Running the rules of a kernel in memory on a packet.
//!
//! A packet passes the hooks as in a real kernel, as far as it matters here: the first packet of a connection decides its
//! destination translation, and a packet that this host sends to itself leaves by the loopback interface and arrives again.
//!
//! A packet may be among the rules while batches take effect. As in a real kernel, each base chain runs the rules, and each look-up reads the
//! set, as they are at that moment.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{MemoryKernel, MemorySet, MemoryTable};
use crate::dataplane::{
    Action, ChainName, ChainType, Condition, Element, Endpoint, EndpointId, Expr, Family, Field, Hook, Key, KeyField,
    Protocol, Rule, SetName, Value,
};

/// A packet with ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source address.
    pub saddr: IpAddr,
    /// The destination address.
    pub daddr: IpAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The destination port.
    pub dport: u16,
    /// The interface by which it arrives; `None` if this host sends it.
    pub iif: Option<String>,
    /// Whether it opens a connection.
    pub opens: bool,
}

/// What the rules do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PacketOutcome {
    /// It goes on.
    Goes {
        /// Its destination.
        to: Endpoint,
        /// Whether this is another destination than the packet had.
        translated: bool,
        /// Whether its source address becomes one of this host's.
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
    /// Every outcome that a packet can have, over all random numbers, on a host with these addresses.
    pub fn outcomes(&self, packet: &Packet, host: &BTreeSet<IpAddr>) -> BTreeSet<PacketOutcome> {
        Self::outcomes_across(&[self], packet, host)
    }

    /// Every outcome that a packet can have that begins in the first of these generations of a kernel's tables, while the others take
    /// effect one after the other at any moments of its way.
    pub fn outcomes_across(generations: &[&Self], packet: &Packet, host: &BTreeSet<IpAddr>) -> BTreeSet<PacketOutcome> {
        let family = Family::from_addr(packet.daddr);
        let sent = PacketState::from_packet(packet);
        let tables: Vec<_> = generations.iter().filter_map(|kernel| kernel.tables[family.index()].as_ref()).collect();
        if tables.len() < generations.len() {
            return BTreeSet::from([sent.outcome()]);
        }
        let other_rules = (1..tables.len()).filter(|n| tables[*n].chains != tables[n - 1].chains).collect();
        let mut walk = PacketWalk { tables, other_rules, packet, host, family, outcomes: BTreeSet::new() };
        let states = BTreeSet::from([sent]);
        let left = if packet.iif.is_some() { walk.arrives(states) } else { walk.is_sent(states) };
        let mut outcomes = walk.outcomes;
        outcomes.extend(left.into_iter().map(PacketState::outcome));
        outcomes
    }
}

/// What rules can change about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PacketState {
    to: Endpoint,
    translated: bool,
    masqueraded: bool,
    mark: u32,
    priority: EndpointId,
    /// The generation of the tables that it saw last. It never sees an earlier one again.
    generation: usize,
}

/// How a packet leaves a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ChainExit {
    /// It returns to the chain that it came from.
    Back,
    /// It is accepted: no other chain at this priority of the hook sees it.
    Accepted,
}

/// The way of one packet through the hooks.
struct PacketWalk<'a> {
    /// The generations of the table.
    tables: Vec<&'a MemoryTable>,
    /// The generations that have other rules than the one before.
    other_rules: Vec<usize>,
    packet: &'a Packet,
    host: &'a BTreeSet<IpAddr>,
    family: Family,
    /// The outcomes of the ways that ended.
    outcomes: BTreeSet<PacketOutcome>,
}

impl PacketState {
    fn from_packet(packet: &Packet) -> Self {
        let to = Endpoint { addr: packet.daddr, port: packet.dport };
        Self { to, translated: false, masqueraded: false, mark: 0, priority: EndpointId(0), generation: 0 }
    }

    fn translated_to(self, to: Endpoint) -> Self {
        Self { to, translated: true, ..self }
    }

    fn outcome(self) -> PacketOutcome {
        PacketOutcome::Goes { to: self.to, translated: self.translated, masqueraded: self.masqueraded }
    }
}

impl PacketWalk<'_> {
    /// Runs the hooks for a packet that arrives: for this host, or to be forwarded.
    fn arrives(&mut self, states: BTreeSet<PacketState>) -> BTreeSet<PacketState> {
        let states = self.hook(Hook::Prerouting, true, states);
        let (here, elsewhere) = self.by_route(states);
        let mut left = self.hook(Hook::Input, true, here);
        let passing = self.hook(Hook::Forward, true, elsewhere);
        left.extend(self.hook(Hook::Postrouting, true, passing));
        left
    }

    /// Runs the hooks for a packet that this host sends: to another host, or to itself.
    fn is_sent(&mut self, states: BTreeSet<PacketState>) -> BTreeSet<PacketState> {
        let states = self.hook(Hook::Output, true, states);
        let states = self.hook(Hook::Postrouting, true, states);
        let (here, mut left) = self.by_route(states);
        // The connection is tracked by now, and its translation decided.
        let here = self.hook(Hook::Prerouting, false, here);
        left.extend(self.hook(Hook::Input, false, here));
        left
    }

    /// Splits by the destination: this host, and others.
    fn by_route(&self, states: BTreeSet<PacketState>) -> (BTreeSet<PacketState>, BTreeSet<PacketState>) {
        states.into_iter().partition(|state| self.host.contains(&state.to.addr))
    }

    /// All base chains of a hook, in order of their priorities.
    fn hook(&mut self, hook: Hook, translates: bool, states: BTreeSet<PacketState>) -> BTreeSet<PacketState> {
        let of_hook = |base: &crate::dataplane::BaseChain| {
            base.hook == hook && (base.kind == ChainType::Filter || (translates && self.packet.opens))
        };
        let mut left = BTreeSet::new();
        for state in self.with_later_rules(states) {
            let chains = self.tables[state.generation].chains.iter();
            let chains = chains.filter_map(|(name, chain)| Some((chain.base.filter(of_hook)?.priority, name.as_str())));
            let mut chains: Vec<(i32, &str)> = chains.collect();
            chains.sort_unstable();
            let mut states = BTreeSet::from([state]);
            for (_, name) in chains {
                let begin = self.with_later_rules(states);
                // The policy is to accept, so it makes no difference how the packet leaves.
                states =
                    begin.into_iter().flat_map(|it| self.chain(it.generation, name, it)).map(|(_, it)| it).collect();
            }
            left.extend(states);
        }
        left
    }

    /// The packet with the rules of the generation that it has seen, and with later ones.
    fn with_later_rules(&self, states: BTreeSet<PacketState>) -> BTreeSet<PacketState> {
        let later = |state: PacketState| {
            let later = self.other_rules.iter().copied().filter(move |generation| *generation > state.generation);
            std::iter::once(state.generation).chain(later).map(move |generation| PacketState { generation, ..state })
        };
        states.into_iter().flat_map(later).collect()
    }

    /// The states in which a packet can leave a chain of this generation.
    fn chain(&mut self, rules: usize, name: &str, state: PacketState) -> BTreeSet<(ChainExit, PacketState)> {
        let chain: &[Rule] = self.tables[rules].chains.get(name).map_or(&[], |chain| &chain.rules);
        let mut left = BTreeSet::new();
        let mut here = BTreeSet::from([state]);
        for rule in chain {
            let mut next = BTreeSet::new();
            for condition in &rule.conditions {
                let mut met = BTreeSet::new();
                for state in here {
                    self.meet(condition, state, &mut met, &mut next);
                }
                here = met;
            }
            for state in here {
                self.act(rules, &rule.action, state, &mut next, &mut left);
            }
            here = next;
        }
        left.extend(here.into_iter().map(|state| (ChainExit::Back, state)));
        left
    }

    /// Does what a rule says. The packet then goes on to the `next` rule, has `left` the chain, or has ended.
    fn act(
        &mut self,
        rules: usize,
        action: &Action,
        state: PacketState,
        next: &mut BTreeSet<PacketState>,
        left: &mut BTreeSet<(ChainExit, PacketState)>,
    ) {
        match action {
            Action::Jump(ChainName(chain)) => self.jump(rules, chain, state, next, left),
            Action::Goto(ChainName(chain)) => left.extend(self.chain(rules, chain, state)),
            Action::Return => drop(left.insert((ChainExit::Back, state))),
            Action::Drop => drop(self.outcomes.insert(PacketOutcome::Dropped)),
            Action::RejectTcpReset => drop(self.outcomes.insert(PacketOutcome::Reset)),
            Action::Reject => drop(self.outcomes.insert(PacketOutcome::Refused)),
            Action::DnatTo(expr, map) => {
                for (value, state) in self.values(expr, *map, state) {
                    match value.and_then(Value::endpoint) {
                        Some(to) => drop(left.insert((ChainExit::Accepted, state.translated_to(to)))),
                        None => drop(next.insert(state)),
                    }
                }
            }
            Action::JumpByMap(expr, map) => {
                let key = self.key(expr, *map, 0, state);
                let has = |table, key: &Key| self.set(table, *map).is_some_and(|set| set.elements.contains_key(key));
                for (found, state) in self.each_answer(state, |table| key.filter(|key| has(table, key))) {
                    match found.and_then(|key| Element::member(*map, key).chain()) {
                        Some(ChainName(chain)) => self.jump(rules, &chain, state, next, left),
                        None => drop(next.insert(state)),
                    }
                }
            }
            // A map of clients matters for the next connection only.
            Action::Forget(_) => drop(next.insert(state)),
            Action::SetMark(bit) => drop(next.insert(PacketState { mark: state.mark | bit, ..state })),
            Action::ClearMarkAndMasquerade(bit) => {
                left.insert((ChainExit::Accepted, PacketState { mark: state.mark ^ bit, masqueraded: true, ..state }));
            }
            Action::Masquerade => drop(left.insert((ChainExit::Accepted, PacketState { masqueraded: true, ..state }))),
        }
    }

    /// Runs a chain, and goes on to the next rule if the packet returns from it.
    fn jump(
        &mut self,
        rules: usize,
        chain: &str,
        state: PacketState,
        next: &mut BTreeSet<PacketState>,
        left: &mut BTreeSet<(ChainExit, PacketState)>,
    ) {
        for (leaves, state) in self.chain(rules, chain, state) {
            match leaves {
                ChainExit::Back => drop(next.insert(state)),
                ChainExit::Accepted => drop(left.insert((leaves, state))),
            }
        }
    }

    /// Adds the states in which a packet meets a condition to `met`, and those in which it does not to `others`.
    fn meet(
        &self,
        condition: &Condition,
        state: PacketState,
        met: &mut BTreeSet<PacketState>,
        others: &mut BTreeSet<PacketState>,
    ) {
        match condition {
            Condition::Recalls(expr, map) => {
                for (value, state) in self.values(expr, *map, state) {
                    match value.and_then(Value::id) {
                        Some(priority) => met.insert(PacketState { priority, ..state }),
                        None => others.insert(state),
                    };
                }
            }
            Condition::ForgetsId => drop(met.insert(PacketState { priority: EndpointId(0), ..state })),
            condition => {
                for (holds, state) in self.holds(condition, state) {
                    if holds { &mut *met } else { &mut *others }.insert(state);
                }
            }
        }
    }

    /// What a look-up answers in the generation that the packet has seen, and in later ones; each answer with its first generation. For later
    /// look-ups a packet of an earlier generation can see all that one of a later generation can.
    fn each_answer<T: PartialEq>(&self, state: PacketState, ask: impl Fn(usize) -> T) -> Vec<(T, PacketState)> {
        let mut answers: Vec<(T, PacketState)> = Vec::with_capacity(1);
        for generation in state.generation..self.tables.len() {
            let answer = ask(generation);
            if answers.iter().all(|(other, _)| *other != answer) {
                answers.push((answer, PacketState { generation, ..state }));
            }
        }
        answers
    }

    /// Whether a condition holds; both, if that depends on the generation.
    fn holds(&self, condition: &Condition, state: PacketState) -> Vec<(bool, PacketState)> {
        let iif = self.packet.iif.as_deref();
        self.each_answer(state, |table| match condition {
            Condition::In(expr, set) => self.is_in(table, expr, *set, state),
            Condition::NotIn(expr, set) => !self.is_in(table, expr, *set, state),
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
            Condition::Recalls(..) | Condition::ForgetsId => true,
            Condition::Remembers(map, _) => self.set(table, *map).is_some_and(|clients| {
                clients.elements.contains_key(&Key::Client(self.packet.saddr)) || !clients.is_full()
            }),
        })
    }

    /// Whether the key made of these fields is in a set, or in one of its ranges.
    fn is_in(&self, table: usize, expr: &Expr, set: SetName, state: PacketState) -> bool {
        let Some(key) = self.key(expr, set, 0, state) else { return false };
        // A packet that still runs the rules of before finds a deleted set as it was at the end.
        let mut held = self.tables[..=table].iter().rev().map(|table| table.sets.get(&set));
        let Some(held) = held.find_map(|held| held) else { return false };
        match key {
            Key::Network(one) => {
                held.elements.keys().any(|held| matches!(held, Key::Network(range) if range.contains(&one)))
            }
            key => held.elements.contains_key(&key),
        }
    }

    fn set(&self, table: usize, set: SetName) -> Option<&MemorySet> {
        self.tables[table].sets.get(&set)
    }

    /// What a map can have for the key made of these fields: over all random numbers, if there is one among them, and over all generations.
    fn values(&self, expr: &Expr, map: SetName, state: PacketState) -> Vec<(Option<Value>, PacketState)> {
        let slots = 0..expr.class.map_or(1, |class| class.slots());
        let values = slots.flat_map(|slot| self.each_answer(state, |table| self.value(table, expr, map, slot, state)));
        values.collect()
    }

    /// The data of a map for the key made of these fields. A deleted map has none.
    fn value(&self, table: usize, expr: &Expr, map: SetName, slot: u32, state: PacketState) -> Option<Value> {
        self.set(table, map)?.elements.get(&self.key(expr, map, slot, state)?)?.value
    }

    /// The key made of these fields; `None` if no element of the set can have it.
    fn key(&self, expr: &Expr, set: SetName, slot: u32, state: PacketState) -> Option<Key> {
        let field = |field: &Field| match field {
            Field::Saddr => KeyField::Addr(match expr.prefix {
                Some(length) => length.network_with(self.packet.saddr).map_or(self.packet.saddr, |it| it.addr()),
                None => self.packet.saddr,
            }),
            Field::Daddr => KeyField::Addr(state.to.addr),
            Field::L4Proto => KeyField::Protocol(self.packet.protocol),
            Field::Dport => KeyField::Port(state.to.port),
            Field::Id => KeyField::Id(state.priority),
            Field::OriginalDport => KeyField::Port(self.packet.dport),
            Field::Slot => KeyField::Slot(slot),
        };
        let fields: Vec<KeyField> = expr.fields.iter().map(field).collect();
        Key::from_fields(self.family, set, &fields)
    }
}

/// Whether an interface has this name; a pattern that ends in `*` matches the beginning.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Operation;
    use crate::fixtures::{World, ip, service, service_cidr, slice};
    use crate::state::Event;

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
