//! The API server and the way from it: versions, watches that end, lists in parts, compaction, replicas that lag, a restored etcd.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use im::OrdMap;
use pointsman::state::{Event, Kind, ObjectName};

use crate::coverage::{Coverage, Fault};
use crate::objects::{Object, Stored, deleted, reset};
use crate::random::Random;

/// Time in microseconds.
pub type Micros = u64;

type Objects = OrdMap<ObjectName, Stored>;

/// The objects of one kind, and what happened to them.
#[derive(Clone, Debug, Default)]
struct Store {
    objects: Objects,
    log: VecDeque<Change>,
    /// All objects at each version that a list may show.
    history: VecDeque<(u64, Objects)>,
    /// A watch cannot go on from a version before this one.
    compacted: u64,
}

#[derive(Clone, Debug)]
struct Change {
    version: u64,
    name: ObjectName,
    now: Option<Stored>,
}

/// The API server.
#[derive(Clone, Debug, Default)]
pub struct Server {
    stores: [Store; 4],
    version: u64,
    next_uid: u64,
    /// The replica that answers knows no version after this one.
    frozen_at: Option<u64>,
}

/// The watch of one kind, and what is on its way.
#[derive(Clone, Debug)]
pub struct Watch {
    kind: Kind,
    state: State,
    /// The last version that was received; `None` before a list.
    seen: Option<u64>,
    /// A list is asked for that is at least as new as what this process received.
    at_least: u64,
    /// The newest version that any process received.
    shown: u64,
    on_the_way: VecDeque<(Micros, u64, Event)>,
    /// Nothing arrives before this moment.
    pub stalled_until: Micros,
    /// The list that is received next breaks off.
    pub breaks_list: bool,
}

#[derive(Clone, Debug)]
enum State {
    /// It is opened again at this moment.
    Closed(Micros),
    /// A list is received, complete at this moment.
    Listing(Micros, u64, Objects),
    /// Changes up to this version are sent.
    Open(u64),
}

impl Server {
    pub fn objects(&self, kind: Kind) -> impl Iterator<Item = &Stored> {
        self.stores[kind as usize].objects.values()
    }

    /// What a new process would be told, on a host with these addresses.
    pub fn lists(&self, host: BTreeSet<IpAddr>) -> Vec<Event> {
        let host = std::iter::once(Event::HostAddresses(host.into_iter().collect()));
        host.chain(Kind::ALL.map(|kind| reset(kind, self.objects(kind)))).collect()
    }

    /// An object is added or changed.
    pub fn put(&mut self, object: Object, readable: bool) {
        let store = &self.stores[object.kind() as usize];
        let uid = match store.objects.get(object.name()) {
            Some(known) => known.uid,
            None => {
                self.next_uid += 1;
                self.next_uid
            }
        };
        let (kind, name) = (object.kind(), object.name().clone());
        self.change(kind, name, Some(Stored { object: object.with_uid(uid), readable, uid }));
    }

    pub fn delete(&mut self, kind: Kind, name: &ObjectName) {
        if self.stores[kind as usize].objects.contains_key(name) {
            self.change(kind, name.clone(), None);
        }
    }

    fn change(&mut self, kind: Kind, name: ObjectName, now: Option<Stored>) {
        self.version += 1;
        let visible = self.visible();
        let (store, version) = (&mut self.stores[kind as usize], self.version);
        match &now {
            Some(stored) => drop(store.objects.insert(name.clone(), stored.clone())),
            None => drop(store.objects.remove(&name)),
        }
        store.log.push_back(Change { version, name, now });
        store.history.push_back((version, store.objects.clone()));
        // What the replica that answers shows stays.
        while store.history.len() > 64 && store.history[1].0 <= visible {
            store.history.pop_front();
        }
    }

    /// Old versions are forgotten.
    pub fn compact(&mut self) {
        self.thaw();
        for store in &mut self.stores {
            store.log.clear();
            store.compacted = self.version;
        }
    }

    /// The replica that answers falls behind, by so many versions.
    pub fn freeze(&mut self, behind: u64) {
        let compacted = self.stores.iter().map(|store| store.compacted).max().unwrap_or_default();
        self.frozen_at = Some(self.version.saturating_sub(behind).max(compacted));
    }

    /// All replicas know everything.
    pub fn thaw(&mut self) {
        self.frozen_at = None;
    }

    /// etcd is restored from what it was so many versions ago.
    pub fn restore(&mut self, behind: u64) {
        let at = self.version.saturating_sub(behind);
        self.version += 1;
        for store in &mut self.stores {
            let old =
                store.history.iter().rev().find(|(version, _)| *version <= at).map(|(_, objects)| objects.clone());
            store.objects = old.unwrap_or_default();
            store.log.clear();
            store.history.push_back((self.version, store.objects.clone()));
            store.compacted = self.version;
        }
    }

    fn visible(&self) -> u64 {
        self.frozen_at.unwrap_or(self.version)
    }

    /// A list by the replica that answers; if that is too old, by another one.
    fn list(&self, kind: Kind, at_least: u64) -> (u64, Objects) {
        let store = &self.stores[kind as usize];
        let visible = self.visible();
        if visible >= self.version || visible < at_least {
            return (self.version, store.objects.clone());
        }
        let old = store.history.iter().rev().find(|(version, _)| *version <= visible);
        // A replica that is older than what is remembered has nothing yet.
        (visible, old.map(|(_, objects)| objects.clone()).unwrap_or_default())
    }
}

impl Watch {
    pub fn new(kind: Kind, opens_at: Micros) -> Self {
        Self {
            kind,
            state: State::Closed(opens_at),
            seen: None,
            at_least: 0,
            shown: 0,
            on_the_way: VecDeque::new(),
            stalled_until: 0,
            breaks_list: false,
        }
    }

    /// The watch of a new process, which knows nothing of what this one received.
    pub fn of_new_process(&self, opens_at: Micros) -> Self {
        Self { shown: self.shown, ..Self::new(self.kind, opens_at) }
    }

    fn received(&mut self, version: u64) {
        self.seen = Some(version);
        self.at_least = self.at_least.max(version);
        self.shown = self.shown.max(version);
    }

    /// The connection ends. What is on its way is lost.
    pub fn cut(&mut self, retry_at: Micros) {
        self.on_the_way.clear();
        self.state = State::Closed(retry_at);
    }

    /// The next watch begins with a list.
    pub fn forget(&mut self) {
        self.seen = None;
    }

    /// Whether the server has sent all that it has to an open watch.
    pub fn has_sent_all(&self, server: &Server) -> bool {
        let newest = server.stores[self.kind as usize].log.back().map_or(0, |change| change.version);
        matches!(self.state, State::Open(sent) if sent >= newest)
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether all that the server has was received.
    pub fn is_current(&self, server: &Server) -> bool {
        let newest = server.stores[self.kind as usize].log.back().map_or(0, |change| change.version);
        self.is_open() && self.on_the_way.is_empty() && self.seen.is_some_and(|seen| seen >= newest)
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<Micros> {
        let state = match &self.state {
            State::Closed(at) | State::Listing(at, ..) => Some(*at),
            State::Open(_) => None,
        };
        let arrives = self.on_the_way.front().map(|(at, ..)| (*at).max(self.stalled_until));
        [state.map(|at| at.max(self.stalled_until)), arrives].into_iter().flatten().min()
    }

    /// Lets everything happen that is due. Returns the next event that arrives.
    pub fn receive(&mut self, server: &Server, now: Micros, random: &mut Random, met: &mut Coverage) -> Option<Event> {
        if now < self.stalled_until {
            self.send(server, now, random);
            return None;
        }
        match &self.state {
            State::Closed(at) if *at <= now => {
                let compacted = server.stores[self.kind as usize].compacted;
                match self.seen {
                    Some(seen) if seen >= compacted => self.state = State::Open(seen),
                    seen => {
                        if seen.is_some() {
                            met.count(Fault::Gone);
                        }
                        let (version, objects) = server.list(self.kind, self.at_least);
                        if version < self.shown {
                            met.count(Fault::LaggingList);
                        }
                        self.state = State::Listing(now + 500 + random.below(20_000), version, objects);
                    }
                }
            }
            State::Listing(at, ..) if *at <= now && self.breaks_list => {
                met.count(Fault::BrokenList);
                self.breaks_list = false;
                self.state = State::Closed(now + 20_000);
            }
            State::Listing(at, version, objects) if *at <= now => {
                let (version, event) = (*version, reset(self.kind, objects.values()));
                self.received(version);
                // A watch cannot go on from a version that was forgotten meanwhile.
                let is_gone = version < server.stores[self.kind as usize].compacted;
                self.state = if is_gone { State::Closed(now) } else { State::Open(version) };
                return Some(event);
            }
            _ => {}
        }
        self.send(server, now, random);
        if self.on_the_way.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, version, event) = self.on_the_way.pop_front()?;
            self.received(version);
            return Some(event);
        }
        None
    }

    /// Sends the changes that the watch has not sent.
    pub fn send(&mut self, server: &Server, now: Micros, random: &mut Random) {
        let State::Open(sent) = &mut self.state else { return };
        let visible = server.visible();
        let store = &server.stores[self.kind as usize];
        let begin = store.log.partition_point(|change| change.version <= *sent);
        for change in store.log.range(begin..).take_while(|change| change.version <= visible) {
            let earliest = self.on_the_way.back().map_or(now, |(at, ..)| *at);
            let delay = if random.one_in(8) { random.below(400_000) } else { random.below(3_000) };
            let event = match &change.now {
                Some(stored) => stored.applied(),
                None => deleted(self.kind, change.name.clone()),
            };
            self.on_the_way.push_back((earliest.max(now + delay), change.version, event));
            *sent = change.version;
        }
    }
}
