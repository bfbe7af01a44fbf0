//! Clients: connections that the kernel remembers, by connection tracking for UDP and in the maps of clients for session affinity.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use pointsman::conntrack::{Flow, FlowsToCheck, Table, remove_stale};
use pointsman::dataplane::{
    Element, Endpoint, EndpointId, Family, Frontend, Key, Operation, Packet, PacketOutcome, Protocol, SetName, Value,
};
use pointsman::diff::EndpointsById;
use pointsman::state::TrafficPolicy;

use crate::api::Micros;
use crate::coverage::Fault;
use crate::law;
use crate::model::Model;
use crate::sabotage::Sabotage;
use crate::world::{Checked, World, broken, tell};

/// How long the worker takes to look at flows after it was asked to.
const WORKER_DELAY: Micros = 20_000;

/// A client of a frontend.
type Conversation = (Frontend, IpAddr);

/// What the kernel remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// The UDP flows that are tracked, and in which epoch each began.
    pub flows: BTreeMap<Flow, u64>,
    next_flow: u32,
    /// The flows that the worker looks at, and when.
    pub due: Vec<(Micros, FlowsToCheck)>,
    /// Where clients with session affinity were sent.
    conversations: BTreeMap<Conversation, Sent>,
    /// When entries in the maps of clients expire.
    entries: BTreeMap<Conversation, Micros>,
    /// Grows when the process or the tables change in a way that it cannot know.
    pub epoch: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    to: Endpoint,
    until: Micros,
    version: usize,
}

/// The flows of the simulated kernel.
struct Flows<'a>(&'a mut BTreeMap<Flow, u64>, &'a mut u64);

// The trait asks for flows that outlive the call: the worker owns its table.
impl Flows<'_> {
    fn remove_stale(
        &mut self,
        mut flows: FlowsToCheck,
        newest: &tokio::sync::watch::Receiver<pointsman::state::Snapshot>,
    ) {
        for family in Family::ALL {
            let of_family = flows.take(family);
            let mut table = Owned(std::mem::take(self.0));
            remove_stale(&mut table, family, &of_family, newest, self.1).expect("flows can be listed");
            *self.0 = table.0;
        }
    }
}

struct Owned(BTreeMap<Flow, u64>);

impl Table for Owned {
    fn dump(&mut self, family: Family, each: &mut dyn FnMut(Flow)) -> io::Result<bool> {
        self.0.keys().filter(|flow| flow.family() == family).for_each(|flow| each(*flow));
        Ok(true)
    }

    fn delete(&mut self, flow: &Flow) -> io::Result<bool> {
        Ok(self.0.remove(flow).is_some())
    }
}

/// An entry in the map of a frontend's clients. Where it is deleted its id does not matter.
pub fn client_of(frontend: Frontend, addr: IpAddr, id: EndpointId) -> Element {
    Element { value: Some(Value::Id(id)), ..Element::member(SetName::Clients(frontend), Key::Client(addr)) }
}

impl World {
    /// What the worker was asked to look at, and looks at now.
    pub fn look_at_flows(&mut self) {
        while let Ok(flows) = self.process.flow_requests.try_recv() {
            self.memory.due.push((self.now + WORKER_DELAY, flows));
        }
        let now = self.now;
        if self.does(Sabotage::LeavesFlows) {
            self.memory.due.clear();
        }
        let due: Vec<_> = self.memory.due.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, flows) in due {
            let mut removed = 0;
            Flows(&mut self.memory.flows, &mut removed).remove_stale(flows, &self.process.flow_snapshot);
            for _ in 0..removed {
                self.met.count(Fault::FlowMoved);
            }
        }
    }

    /// A connection was opened, and may become all this. The kernel chooses one, and remembers it.
    pub fn opened(&mut self, packet: &Packet, found: &BTreeSet<PacketOutcome>) -> Checked {
        let choices: Vec<PacketOutcome> = found.iter().copied().collect();
        let PacketOutcome::Goes { to, translated: true, .. } = *self.random.pick(&choices) else { return Ok(()) };
        if packet.protocol == Protocol::Udp {
            self.memory.next_flow += 1;
            let port = 1_024 + u16::try_from(self.memory.next_flow % 60_000).expect("a port");
            let flow = Flow {
                client: SocketAddr::new(packet.saddr, port),
                destination: SocketAddr::new(packet.daddr, packet.dport),
                server: SocketAddr::new(to.addr, to.port),
                zone: 0,
                id: self.memory.next_flow,
            };
            self.memory.flows.insert(flow, self.memory.epoch);
        }
        self.remember(packet, to, found)
    }

    /// Session affinity: who comes back in time is sent to where it was sent before, as long as that is an endpoint.
    fn remember(&mut self, packet: &Packet, to: Endpoint, found: &BTreeSet<PacketOutcome>) -> Checked {
        let Some(frontend) = self.frontend_of(packet) else { return Ok(()) };
        let conversation = (frontend, packet.saddr);
        let newest = self.versions.len() - 1;
        let seconds = |model: &Rc<Model>| model.asked_for(packet).and_then(|(service, ..)| service.session_affinity);
        if self.floor != newest || seconds(&self.versions[newest]).is_none() {
            self.memory.conversations.remove(&conversation);
            return Ok(());
        }
        if let Some(sent) = self.memory.conversations.get(&conversation).copied() {
            let goes = |outcome: &PacketOutcome| matches!(outcome, PacketOutcome::Goes { to, .. } if *to == sent.to);
            let is_sent_there = |model: &Rc<Model>| seconds(model).is_some() && model.outcomes(packet).iter().any(goes);
            if self.now < sent.until && self.versions[sent.version..].iter().all(is_sent_there) {
                self.met.count(Fault::RecalledClient);
                if !found.iter().all(goes) {
                    let text = format!("{packet:?} was sent to {} and becomes {found:?}", sent.to);
                    return broken("a client with session affinity stays with its endpoint", text);
                }
            }
        }
        let Some((id, timeout)) = self.id_of(frontend, to, found) else {
            self.memory.conversations.remove(&conversation);
            return Ok(());
        };
        let client = client_of(frontend, packet.saddr, id);
        // As a packet does, which replaces what is there.
        let _ = self.kernel.tables.apply(&[Operation::delete_element(client.clone())]);
        if self.kernel.tables.apply(&[Operation::add_element(client)]).is_ok() {
            let until = self.now + u64::from(timeout) * 1_000_000;
            self.kernel.clients.insert(packet.saddr);
            self.memory.entries.insert(conversation, until);
            self.memory.conversations.insert(conversation, Sent { to, until, version: newest });
            tell!(self, "{} is remembered at {to}", packet.saddr);
        }
        Ok(())
    }

    /// The frontend that a packet is for, as far as it is known.
    fn frontend_of(&self, packet: &Packet) -> Option<Frontend> {
        let known = self.process.engine.acknowledged()?;
        let by_address = Frontend { addr: packet.daddr, protocol: packet.protocol, port: packet.dport };
        let by_number = Frontend::node_port(Family::from_addr(packet.daddr), packet.protocol, packet.dport);
        [by_address, by_number].into_iter().find(|frontend| known.frontends.contains_key(frontend))
    }

    /// The id of an endpoint of a frontend with session affinity, and the timeout.
    fn id_of(&self, frontend: Frontend, to: Endpoint, found: &BTreeSet<PacketOutcome>) -> Option<(EndpointId, u32)> {
        let installed = self.process.engine.acknowledged()?.frontends.get(&frontend)?;
        let affinity = installed.affinity.as_ref()?;
        // For a while after session affinity was switched on packets are still balanced without it, and no client is remembered.
        if TrafficPolicy::ALL.iter().any(|policy| !installed.slots(*policy).is_empty()) {
            return None;
        }
        // An endpoint can have one id in each list. The packet is balanced over the list of these.
        let may_go_to =
            |outcome: &PacketOutcome, to| matches!(outcome, PacketOutcome::Goes { to: of, .. } if *of == to);
        let is_its_list = |list: &&EndpointsById| {
            found.len() == list.endpoints.len()
                && list.endpoints.iter().all(|(_, to)| found.iter().any(|outcome| may_go_to(outcome, *to)))
        };
        let lists = TrafficPolicy::ALL.into_iter().map(|policy| affinity.list(policy)).filter(is_its_list);
        let id =
            lists.flat_map(|list| list.endpoints.iter()).find(|(_, endpoint)| *endpoint == to).map(|(id, _)| *id)?;
        Some((id, installed.affinity_seconds()?))
    }

    /// Entries in the maps of clients whose time is over go.
    pub fn expire_clients(&mut self) {
        let now = self.now;
        let expired: Vec<_> =
            self.memory.entries.iter().filter(|(_, until)| **until <= now).map(|(key, _)| *key).collect();
        for (frontend, addr) in expired {
            self.memory.entries.remove(&(frontend, addr));
            let client = client_of(frontend, addr, EndpointId(0));
            let _ = self.kernel.tables.apply(&[Operation::delete_element(client)]);
        }
    }

    /// What is remembered does not bind the kernel any more.
    pub fn forget_clients(&mut self) {
        self.memory.conversations.clear();
        self.memory.epoch += 1;
    }

    /// No flow goes on to an endpoint that is gone.
    pub fn check_flows(&self) -> Checked {
        let model = &self.process.known;
        for (flow, epoch) in &self.memory.flows {
            let (daddr, dport) = (flow.destination.ip(), flow.destination.port());
            let packet =
                Packet { saddr: flow.client.ip(), daddr, protocol: Protocol::Udp, dport, iif: None, opens: true };
            if !law::is_judged(model, &packet) {
                continue;
            }
            let to = Endpoint { addr: flow.server.ip(), port: flow.server.port() };
            let may_stay = match model.asked_for(&packet) {
                Some((service, port, _)) => model.keeps_flows(service, port, Family::from_addr(daddr)).contains(&to),
                // Of an address that no process knew nothing can be said.
                None => *epoch != self.memory.epoch,
            };
            if !may_stay {
                return broken("no flow goes on to an endpoint that is gone", format!("{flow:?}"));
            }
        }
        Ok(())
    }
}
