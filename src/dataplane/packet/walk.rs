//! The way of a packet through the hooks.
//!
//! As in a real kernel, as far as it matters here: the first packet of a connection decides its destination translation, and a packet that
//! this host sends to itself leaves by the loopback interface and arrives again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{Packet, PacketOutcome, PacketStep, PacketTable};
use crate::dataplane::{
    Action, BaseChain, ChainName, ChainType, Condition, Element, Endpoint, EndpointId, Expr, Family, Field, Hook, Key,
    KeyField, Rule, SetName, Value,
};

/// Every outcome of a packet, each with one way to it: empty unless ways are `traced`.
pub(super) fn ways<T: PacketTable>(
    tables: &[&T],
    packet: &Packet,
    host: &BTreeSet<IpAddr>,
    traced: bool,
) -> BTreeMap<PacketOutcome, Vec<PacketStep>> {
    let family = Family::from_addr(packet.daddr);
    let other_rules = (1..tables.len()).filter(|n| !tables[*n].has_rules_of(tables[n - 1])).collect();
    let (hook, ended) = (Hook::Prerouting, BTreeMap::new());
    let mut walk = PacketWalk { tables, other_rules, packet, host, family, traced, hook, ended };
    let states = States::from([(PacketState::from_packet(packet), None)]);
    let left = if packet.iif.is_some() { walk.arrives(states) } else { walk.is_sent(states) };
    let mut ended = walk.ended;
    for (state, trace) in left {
        ended.entry(state.outcome()).or_insert(trace);
    }
    ended.into_iter().map(|(outcome, trace)| (outcome, steps(&trace))).collect()
}

/// The last step of a way, and the one before.
type Trace = Option<Arc<TracedStep>>;

struct TracedStep {
    step: PacketStep,
    before: Trace,
}

/// The states that a packet can be in, each with the first way that led to it.
type States = BTreeMap<PacketState, Trace>;

/// The steps of a way, in order.
fn steps(trace: &Trace) -> Vec<PacketStep> {
    let mut steps = Vec::new();
    let mut next = trace.as_ref();
    while let Some(traced) = next {
        steps.push(traced.step.clone());
        next = traced.before.as_ref();
    }
    steps.reverse();
    steps
}

/// What rules can change about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PacketState {
    to: Endpoint,
    translated: bool,
    masqueraded: bool,
    mark: u32,
    priority: EndpointId,
    /// The generation of the table that it saw last. It never sees an earlier one again.
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

/// The states in which packets leave a chain.
type Exits = BTreeMap<(ChainExit, PacketState), Trace>;

/// The way of one packet through the hooks.
struct PacketWalk<'a, T> {
    /// The generations of the table.
    tables: &'a [&'a T],
    /// The generations that have other rules than the one before.
    other_rules: Vec<usize>,
    packet: &'a Packet,
    host: &'a BTreeSet<IpAddr>,
    family: Family,
    traced: bool,
    /// The hook that the packet is at.
    hook: Hook,
    /// The outcomes of the ways that ended.
    ended: BTreeMap<PacketOutcome, Trace>,
}

/// Where a packet can go on from a rule.
struct Onward<'a> {
    /// The generation of the rules that it runs.
    rules: usize,
    next: &'a mut States,
    left: &'a mut Exits,
}

impl Onward<'_> {
    fn next(&mut self, state: PacketState, trace: Trace) {
        self.next.entry(state).or_insert(trace);
    }

    fn leaves(&mut self, exit: ChainExit, state: PacketState, trace: Trace) {
        self.left.entry((exit, state)).or_insert(trace);
    }
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

impl<T: PacketTable> PacketWalk<'_, T> {
    /// Runs the hooks for a packet that arrives: for this host, or to be forwarded.
    fn arrives(&mut self, states: States) -> States {
        let states = self.pass(Hook::Prerouting, true, states);
        let (here, elsewhere) = self.by_route(states);
        let mut left = self.pass(Hook::Input, true, here);
        let passing = self.pass(Hook::Forward, true, elsewhere);
        left.extend(self.pass(Hook::Postrouting, true, passing));
        left
    }

    /// Runs the hooks for a packet that this host sends: to another host, or to itself.
    fn is_sent(&mut self, states: States) -> States {
        let states = self.pass(Hook::Output, true, states);
        let states = self.pass(Hook::Postrouting, true, states);
        let (here, mut left) = self.by_route(states);
        // The connection is tracked by now, and its translation decided.
        let here = self.pass(Hook::Prerouting, false, here);
        left.extend(self.pass(Hook::Input, false, here));
        left
    }

    /// Splits by the destination: this host, and others.
    fn by_route(&self, states: States) -> (States, States) {
        states.into_iter().partition(|(state, _)| self.host.contains(&state.to.addr))
    }

    /// All base chains of a hook, in order of their priorities.
    fn pass(&mut self, hook: Hook, translates: bool, states: States) -> States {
        self.hook = hook;
        let of_hook = |base: &BaseChain| {
            base.hook == hook && (base.kind == ChainType::Filter || (translates && self.packet.opens))
        };
        let mut left = States::new();
        for (state, trace) in self.with_later_rules(states) {
            let table = self.tables[state.generation];
            let chains = table.base_chains().into_iter().filter(|(base, _)| of_hook(base));
            let mut chains: Vec<(i32, &str)> = chains.map(|(base, name)| (base.priority, name)).collect();
            chains.sort_unstable();
            let mut states = States::from([(state, trace)]);
            for (_, name) in chains {
                let mut passed = States::new();
                for (state, trace) in self.with_later_rules(states) {
                    // The policy is to accept, so it makes no difference how the packet leaves.
                    for ((_, state), trace) in self.chain(state.generation, name, state, trace) {
                        passed.entry(state).or_insert(trace);
                    }
                }
                states = passed;
            }
            for (state, trace) in states {
                left.entry(state).or_insert(trace);
            }
        }
        left
    }

    /// The packet with the rules of the generation that it has seen, and with later ones.
    fn with_later_rules(&self, states: States) -> States {
        let mut with_later = States::new();
        for (state, trace) in states {
            let later = self.other_rules.iter().copied().filter(|generation| *generation > state.generation);
            for generation in std::iter::once(state.generation).chain(later) {
                with_later.entry(PacketState { generation, ..state }).or_insert_with(|| trace.clone());
            }
        }
        with_later
    }

    /// The states in which a packet can leave a chain of this generation.
    fn chain(&mut self, rules: usize, name: &str, state: PacketState, trace: Trace) -> Exits {
        let table = self.tables[rules];
        let mut left = Exits::new();
        let mut here = States::from([(state, trace)]);
        for (number, rule) in table.rules(name).iter().enumerate() {
            let mut next = States::new();
            for condition in &rule.conditions {
                let mut met = States::new();
                for (state, trace) in here {
                    self.meets(condition, (state, &trace), &mut met, &mut next);
                }
                here = met;
            }
            for (state, trace) in here {
                let trace = self.trace(name, number, rule, state, trace);
                self.act(&rule.action, state, trace, &mut Onward { rules, next: &mut next, left: &mut left });
            }
            here = next;
        }
        for (state, trace) in here {
            left.entry((ChainExit::Back, state)).or_insert(trace);
        }
        left
    }

    /// The way with one more rule, which applies in this state.
    fn trace(&self, chain: &str, number: usize, rule: &Rule, state: PacketState, before: Trace) -> Trace {
        if !self.traced {
            return None;
        }
        let of_condition = |condition: &Condition| match condition {
            Condition::In(expr, set) => self.found(state.generation, expr, *set, state),
            _ => None,
        };
        let mut found: Vec<_> = rule.conditions.iter().filter_map(of_condition).collect();
        if let Action::JumpByMap(expr, set) = &rule.action {
            match self.found(state.generation, expr, *set, state) {
                Some(element) => found.push(element),
                None => return before,
            }
        }
        let step =
            PacketStep { hook: self.hook, chain: chain.to_owned(), rule: number, found, action: rule.action.clone() };
        Some(Arc::new(TracedStep { step, before }))
    }

    /// The element that a set of this generation has for the key made of these fields, or the range that the key is in.
    fn found(
        &self,
        generation: usize,
        expr: &Expr,
        set: SetName,
        state: PacketState,
    ) -> Option<(SetName, Key, Option<Value>)> {
        let (key, value) = self.tables[generation].find(set, &self.key(expr, set, 0, state)?)?;
        Some((set, key, value))
    }

    /// Does what a rule says. The packet then goes on to the next rule, leaves the chain, or ends.
    fn act(&mut self, action: &Action, state: PacketState, trace: Trace, onward: &mut Onward<'_>) {
        match action {
            Action::Jump(ChainName(chain)) => self.jump(chain, state, trace, onward),
            Action::Goto(ChainName(chain)) => {
                for ((exit, state), trace) in self.chain(onward.rules, chain, state, trace) {
                    onward.leaves(exit, state, trace);
                }
            }
            Action::Return => onward.leaves(ChainExit::Back, state, trace),
            Action::Drop => self.ends(PacketOutcome::Dropped, trace),
            Action::RejectTcpReset => self.ends(PacketOutcome::Reset, trace),
            Action::Reject => self.ends(PacketOutcome::Refused, trace),
            Action::DnatTo(expr, map) => {
                for (value, state) in self.values(expr, *map, state) {
                    match value.and_then(Value::endpoint) {
                        Some(to) => onward.leaves(ChainExit::Accepted, state.translated_to(to), trace.clone()),
                        None => onward.next(state, trace.clone()),
                    }
                }
            }
            Action::JumpByMap(expr, map) => {
                let key = self.key(expr, *map, 0, state);
                let has = |table: &T, key: &Key| table.find(*map, key).is_some();
                for (found, state) in self.each_answer(state, |it| key.filter(|key| has(self.tables[it], key))) {
                    match found.and_then(|key| Element::member(*map, key).chain()) {
                        Some(ChainName(chain)) => self.jump(&chain, state, trace.clone(), onward),
                        None => onward.next(state, trace.clone()),
                    }
                }
            }
            // A map of clients matters for the next connection only, and a count for none.
            Action::Forget(_) | Action::Count(_) => onward.next(state, trace),
            Action::SetMark(bit) => onward.next(PacketState { mark: state.mark | bit, ..state }, trace),
            Action::ClearMarkAndMasquerade(bit) => {
                let state = PacketState { mark: state.mark ^ bit, masqueraded: true, ..state };
                onward.leaves(ChainExit::Accepted, state, trace);
            }
            Action::Masquerade => {
                onward.leaves(ChainExit::Accepted, PacketState { masqueraded: true, ..state }, trace);
            }
        }
    }

    fn ends(&mut self, outcome: PacketOutcome, trace: Trace) {
        self.ended.entry(outcome).or_insert(trace);
    }

    /// Runs a chain, and goes on to the next rule if the packet returns from it.
    fn jump(&mut self, chain: &str, state: PacketState, trace: Trace, onward: &mut Onward<'_>) {
        for ((exit, state), trace) in self.chain(onward.rules, chain, state, trace) {
            match exit {
                ChainExit::Back => onward.next(state, trace),
                ChainExit::Accepted => onward.leaves(exit, state, trace),
            }
        }
    }

    /// Adds the states in which a packet meets a condition to `met`, and those in which it does not to `others`.
    fn meets(
        &self,
        condition: &Condition,
        (state, trace): (PacketState, &Trace),
        met: &mut States,
        others: &mut States,
    ) {
        let add = |states: &mut States, state| {
            states.entry(state).or_insert_with(|| trace.clone());
        };
        match condition {
            Condition::Recalls(expr, map) => {
                for (value, state) in self.values(expr, *map, state) {
                    match value.and_then(Value::id) {
                        Some(priority) => add(met, PacketState { priority, ..state }),
                        None => add(others, state),
                    }
                }
            }
            Condition::ForgetsId => add(met, PacketState { priority: EndpointId(0), ..state }),
            condition => {
                for (holds, state) in self.holds(condition, state) {
                    add(if holds { &mut *met } else { &mut *others }, state);
                }
            }
        }
    }

    /// What a look-up answers in the generation that the packet has seen, and in later ones; each answer with its first generation. For later
    /// look-ups a packet of an earlier generation can see all that one of a later generation can.
    fn each_answer<A: PartialEq>(&self, state: PacketState, ask: impl Fn(usize) -> A) -> Vec<(A, PacketState)> {
        let mut answers: Vec<(A, PacketState)> = Vec::with_capacity(1);
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
        self.each_answer(state, |generation| match condition {
            Condition::In(expr, set) => self.is_in(generation, expr, *set, state),
            Condition::NotIn(expr, set) => !self.is_in(generation, expr, *set, state),
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
            Condition::HasId => state.priority != EndpointId(0),
            Condition::Recalls(..) | Condition::ForgetsId => true,
            Condition::Remembers(map, _) => {
                let table = self.tables[generation];
                table.has_set(*map)
                    && (table.find(*map, &Key::Client(self.packet.saddr)).is_some() || !table.is_full(*map))
            }
        })
    }

    /// Whether the key made of these fields is in a set, or in one of its ranges. A packet that still runs the rules of before finds a
    /// deleted set as it was at the end.
    fn is_in(&self, generation: usize, expr: &Expr, set: SetName, state: PacketState) -> bool {
        let holding = (0..=generation).rev().find(|generation| self.tables[*generation].has_set(set));
        holding.is_some_and(|generation| self.found(generation, expr, set, state).is_some())
    }

    /// What a map can have for the key made of these fields: over all random numbers, if there is one among them, and over all generations.
    /// A deleted map has nothing.
    fn values(&self, expr: &Expr, map: SetName, state: PacketState) -> Vec<(Option<Value>, PacketState)> {
        let slots = 0..expr.class.map_or(1, |class| class.slots());
        let value = |generation: usize, slot| {
            self.tables[generation].find(map, &self.key(expr, map, slot, state)?).and_then(|(_, value)| value)
        };
        slots.flat_map(|slot| self.each_answer(state, |generation| value(generation, slot))).collect()
    }

    /// The key made of these fields; `None` if no element of the set can have it.
    fn key(&self, expr: &Expr, set: SetName, slot: u32, state: PacketState) -> Option<Key> {
        let field = |field: &Field| match field {
            Field::Saddr => KeyField::Addr(self.packet.saddr),
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
