//! One process of the proxy: the engine, the watch over the tables, and what is on its way to them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pointsman::conntrack::{ConntrackFollower, FlowsToCheck};
use pointsman::dataplane::{ElementCounts, Family};
use pointsman::diff::{Acknowledged, Plan};
use pointsman::drift::{DriftWatch, Reaction};
use pointsman::engine::{Engine, EngineSettings, Moment};
use pointsman::observe::StatusBoard;
use pointsman::state::{Decoded, Event, Identity, Kind, ObjectName, Snapshot, View};
use pointsman::watch::Connection;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use crate::api::Micros;
use crate::common::NODE;
use crate::kernel::Answer;
use crate::model::Model;
use crate::story::Settings;

/// How long before the beginning of a story the clock began.
const HEAD_START: Duration = Duration::from_secs(24 * 60 * 60);

/// The moment of a time.
pub fn moment(at: Micros) -> Moment {
    Moment::from_start(HEAD_START + Duration::from_micros(at))
}

/// The time of a moment.
pub fn micros(at: Moment) -> Micros {
    let since = at.since_start().saturating_sub(HEAD_START);
    // A timer rounds up.
    u64::try_from(since.as_nanos().div_ceil(1_000)).unwrap_or(Micros::MAX)
}

/// A process.
pub struct Process {
    pub engine: Engine,
    pub watch: DriftWatch,
    pub counts: ElementCounts,
    pub is_listening: bool,
    pub has_synced: bool,
    /// Which lists were complete so far.
    pub complete: [bool; 4],
    /// Events that arrived and are not folded.
    pub inbox: Vec<Event>,
    /// What is heard of other programs, and when.
    pub news: Vec<(Micros, News)>,
    pub reading: Option<Reading>,
    pub commit: Option<InFlight>,
    pub comparison: Option<Comparison>,
    /// Asks for looks at UDP flows.
    pub flows: ConntrackFollower,
    pub flow_requests: UnboundedReceiver<FlowsToCheck>,
    pub flow_snapshot: watch::Receiver<Snapshot>,
    /// What the process says about itself.
    pub board: StatusBoard,
    /// The cluster as this process was told of it.
    pub known: Model,
    /// How many foreign writes had been made when the tables were read last.
    pub read_writes: u64,
    /// When the engine or the watch wants to be called.
    pub wake: Option<Micros>,
    /// Nothing but an event wakes the engine.
    pub is_idle: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum News {
    Commit,
    Lost,
}

pub struct Reading {
    pub done_at: Micros,
    /// What was read, and after how many foreign writes.
    pub result: Option<(Acknowledged, u64)>,
}

pub struct InFlight {
    pub plan: Plan,
    /// The version that it was planned for.
    pub version: usize,
    pub sent: Micros,
    pub apply_at: Micros,
    pub done_at: Micros,
    pub answer: Option<Answer>,
}

pub struct Comparison {
    pub held: Acknowledged,
    pub began: Micros,
    pub done_at: Micros,
    pub result: Option<(Acknowledged, u64)>,
}

impl Process {
    pub fn new(settings: &Settings) -> Self {
        let view = View { node_name: NODE.into(), node_ports: settings.packets.node_ports.clone(), ..View::default() };
        let engine = EngineSettings {
            max_slice: settings.max_slice,
            min_sync_period: Duration::from_micros(settings.min_sync_period),
            ..EngineSettings::new(settings.packets.scope(), view)
        };
        let (flows, flow_requests) = ConntrackFollower::channel(&Family::ALL);
        Self {
            flow_snapshot: flows.newest(),
            flows,
            flow_requests,
            board: StatusBoard::new(Connection::default()),
            engine: Engine::new(engine),
            watch: DriftWatch::new(Reaction::Repair),
            counts: ElementCounts::default(),
            is_listening: false,
            has_synced: false,
            complete: [false; 4],
            inbox: Vec::new(),
            news: Vec::new(),
            reading: None,
            commit: None,
            comparison: None,
            known: Model::new(&settings.packets),
            read_writes: 0,
            wake: Some(0),
            is_idle: false,
        }
    }

    pub fn is_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete)
    }

    /// Folds an event, and follows it in the model.
    pub fn fold(&mut self, event: Event, is_lost: bool) {
        let resets = matches!(
            event,
            Event::ServicesReset(_) | Event::SlicesReset(_) | Event::ServiceCidrsReset(_) | Event::NodesReset(_)
        );
        if resets {
            self.complete[event.kind() as usize] = true;
        }
        if let Some(event) = readable(&event, &self.known) {
            self.known.apply(&event);
        }
        if !is_lost {
            self.engine.fold(event);
        }
    }

    /// When something happens next in this process.
    pub fn next_at(&self) -> Option<Micros> {
        if let Some(commit) = &self.commit {
            return Some(if commit.answer.is_some() { commit.done_at } else { commit.apply_at });
        }
        let reading = self.reading.as_ref().map(|reading| reading.done_at);
        let comparison = self.comparison.as_ref().map(|comparison| comparison.done_at);
        let news = self.news.iter().map(|(at, _)| *at).min();
        [reading, comparison, news, self.wake].into_iter().flatten().min()
    }

    pub fn version(&self) -> Rc<Model> {
        Rc::new(self.known.clone())
    }
}

/// What an event says about objects that can be read: of one that cannot, the last version stays, unless it was another object.
fn readable(event: &Event, known: &Model) -> Option<Event> {
    type Known<T> = BTreeMap<ObjectName, Arc<T>>;
    fn one<T>(decoded: &Decoded<T>, known: &Known<T>, uid: fn(&T) -> Identity) -> Option<Decoded<T>> {
        match decoded {
            Decoded::Object(object) => Some(Decoded::Object(Arc::clone(object))),
            Decoded::Unreadable(of) => {
                let kept = known.get(&of.0).filter(|it| of.2.is_none() || uid(it).0 == of.2);
                kept.map(|it| Decoded::Object(Arc::clone(it)))
            }
        }
    }
    fn list<T>(all: &[Decoded<T>], known: &Known<T>, uid: fn(&T) -> Identity) -> Vec<Decoded<T>> {
        all.iter().filter_map(|decoded| one(decoded, known, uid)).collect()
    }
    let gone = |kind: Kind, name: &ObjectName| crate::objects::deleted(kind, name.clone());
    Some(match event {
        Event::ServicesReset(all) => Event::ServicesReset(list(all, &known.services, |it| it.uid)),
        Event::SlicesReset(all) => Event::SlicesReset(list(all, &known.slices, |it| it.uid)),
        Event::ServiceCidrsReset(all) => Event::ServiceCidrsReset(list(all, &known.cidrs, |it| it.uid)),
        Event::ServiceApplied(it @ Decoded::Unreadable(of)) => match one(it, &known.services, |it| it.uid) {
            Some(kept) => Event::ServiceApplied(kept),
            None => gone(Kind::Service, &of.0),
        },
        Event::SliceApplied(it @ Decoded::Unreadable(of)) => match one(it, &known.slices, |it| it.uid) {
            Some(kept) => Event::SliceApplied(kept),
            None => gone(Kind::EndpointSlice, &of.0),
        },
        Event::ServiceCidrApplied(it @ Decoded::Unreadable(of)) => match one(it, &known.cidrs, |it| it.uid) {
            Some(kept) => Event::ServiceCidrApplied(kept),
            None => gone(Kind::ServiceCidr, &of.0),
        },
        Event::NodeApplied(Decoded::Unreadable(_)) => return None,
        other => other.clone(),
    })
}
