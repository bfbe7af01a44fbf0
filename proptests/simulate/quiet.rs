//! What holds after a quiet time, and how long anything may wait before that.

use std::collections::BTreeSet;
use std::sync::Arc;

use pointsman::dataplane::{Family, Key, Packet, Protocol, SetName};
use pointsman::diff::{Acknowledged, diff};
use pointsman::engine::Engine;
use pointsman::state::{Decoded, Event};
use pointsman::status::{ApiFacts, NodeState};

use crate::agree;
use crate::api::Micros;
use crate::common;
use crate::coverage::Fault;
use crate::kernel::Entry;
use crate::law;
use crate::model::Model;
use crate::process::moment;
use crate::world::{Checked, World, broken};

/// The longest time until everything is programmed after the last fault: the longest pause between attempts, and that of repairs.
const QUIET: Micros = 150_000_000;
/// The longest time until everything is compared, where nothing is heard of other programs.
const UNHEARD: Micros = 620_000_000;
/// The longest time that a change waits while the kernel does what it is asked to.
const MAX_WAIT: Micros = 33_000_000;

const WORDS: &str = "the word for the state is true";

/// Whether tables hold the frontends of the naive model, and leave nothing to do for an engine that knows the cluster.
pub fn check_held(held: &Acknowledged, model: &Model, engine: &Engine) -> Result<(), String> {
    let mut reference = common::Model::default();
    reference.apply(&Event::ServicesReset(model.services.values().cloned().map(Decoded::Object).collect()));
    reference.apply(&Event::SlicesReset(model.slices.values().cloned().map(Decoded::Object).collect()));
    reference.apply(&Event::NodeApplied(Decoded::Object(Arc::clone(&model.node))));
    common::assert_frontends(held, &reference).map_err(|error| error.to_string())?;
    let rest = diff(&held.clone().unverified(), engine.snapshot().desired(), engine.scope());
    if rest.is_empty() {
        return Ok(());
    }
    let operations: Vec<String> = rest.operations.iter().map(ToString::to_string).collect();
    Err(format!("the kernel still needs {operations:#?}"))
}

impl World {
    /// Ends all faults, waits until all is quiet, and compares.
    pub fn settle(&mut self) -> Checked {
        self.kernel.faults = Default::default();
        self.server.thaw();
        self.fights = 0;
        for watch in &mut self.watches {
            (watch.stalled_until, watch.breaks_list) = (self.now.min(watch.stalled_until), false);
        }
        let longest = if self.process.is_listening { QUIET } else { QUIET + UNHEARD };
        let end = self.now.max(self.comparison_not_before) + longest;
        while !self.is_calm() {
            self.untaint_if_as_desired();
            if self.now >= end {
                return broken("everything is programmed after a quiet time", self.unrest());
            }
            self.run_for(50_000 + (self.now.saturating_sub(end - longest)) / 8)?;
        }
        self.met.count(Fault::Quiet);
        self.compare()?;
        self.run_for(100_000)?;
        self.check_flows()?;
        if self.state() != NodeState::Synced {
            return broken(WORDS, format!("{} after a quiet time", self.state()));
        }
        self.note_for_a_real_kernel();
        // An hour in which nothing happens costs no commit.
        let commits = self.commits;
        self.run_for(3_600_000_000)?;
        if self.commits != commits {
            return broken("nothing is committed while nothing changes", format!("{} commits", self.commits - commits));
        }
        Ok(())
    }

    fn is_calm(&self) -> bool {
        let process = &self.process;
        self.watches.iter().all(|watch| watch.is_current(&self.server))
            && process.inbox.is_empty()
            && process.commit.is_none()
            && process.news.is_empty()
            && process.is_idle
            && process.engine.acknowledged().is_some()
            && !process.engine.is_due()
            && !process.engine.has_leftovers()
            && self.floor == self.versions.len() - 1
            && !self.tainted
            && process.watch.drift().is_none()
    }

    /// Why the world is not calm.
    fn unrest(&self) -> String {
        let process = &self.process;
        format!(
            "watches current: {:?}; idle: {}; due: {}; leftovers: {}; known: {}; failures: {}; versions: {} of {}; tainted: {}; drift: {:?}; \
             wake: {:?} at {}",
            self.watches.each_ref().map(|watch| watch.is_current(&self.server)),
            process.is_idle,
            process.engine.is_due(),
            process.engine.has_leftovers(),
            process.engine.acknowledged().is_some(),
            process.engine.failures(),
            self.floor,
            self.versions.len() - 1,
            self.tainted,
            process.watch.drift(),
            process.wake,
            self.now,
        )
    }

    /// Compares the kernel with the newest version of the cluster.
    fn compare(&mut self) -> Checked {
        const LAW: &str = "after a quiet time the kernel holds what the cluster asks for";
        let model = self.process.version();
        if let Err(text) = self.compare_with_server() {
            return broken(LAW, text);
        }
        let held = self.kernel.held();
        if let Err(text) = check_held(&held, &model, &self.process.engine) {
            return broken(LAW, text);
        }
        let host = self.settings.packets.host();
        for _ in 0..8 {
            let packet = law::packet(&mut self.random, &model);
            let (found, expected) = (self.kernel.tables.outcomes(&packet, &host), model.outcomes(&packet));
            // A client that is remembered is sent to one of them.
            let stays = model.asked_for(&packet).is_some_and(|(service, ..)| service.session_affinity.is_some());
            if !law::is_judged(&model, &packet) {
                continue;
            }
            if found != expected && !(stays && found.is_subset(&expected)) {
                return broken(LAW, format!("{packet:?} becomes {found:?}, and should become {expected:?}"));
            }
        }
        let ranges: BTreeSet<_> = model.cidrs.values().flat_map(|cidr| &cidr.networks).collect();
        let has_ranges =
            held.shared.iter().any(|it| it.set == SetName::ServiceCidrs && matches!(it.key, Key::Network(_)));
        if has_ranges == ranges.is_empty() {
            return broken(LAW, format!("ranges {ranges:?}, and held: {has_ranges}"));
        }
        Ok(())
    }

    /// Notes what a real kernel must hold now, and what must become of packets there.
    fn note_for_a_real_kernel(&mut self) {
        if self.kernel.journal.is_none() {
            return;
        }
        let model = self.process.version();
        let (tables, host) = (self.kernel.tables.contents(&Family::ALL), agree::host());
        let mut entries = vec![Entry::Tables(Box::new(tables))];
        // The real kernel remembers clients of its own.
        let with_clients = self.kernel.tables.clone();
        self.kernel.forget_clients();
        for _ in 0..6 {
            let packet = law::packet(&mut self.random, &model);
            let packet = Packet { iif: None, saddr: agree::source(packet.daddr), protocol: Protocol::Tcp, ..packet };
            entries.push(Entry::Packet(packet.clone(), self.kernel.tables.outcomes(&packet, &host)));
        }
        self.kernel.tables = with_clients;
        self.kernel.journal.iter_mut().for_each(|journal| journal.append(&mut entries));
    }

    /// What the process knows is what the API server has, as far as it can be read.
    fn compare_with_server(&self) -> Result<(), String> {
        use crate::objects::Object;
        let known = &self.process.known;
        for kind in pointsman::state::Kind::ALL {
            for stored in self.server.objects(kind).filter(|stored| stored.readable) {
                let is_known = match &stored.object {
                    Object::Service(it) => known.services.get(&it.name) == Some(it),
                    Object::Slice(it) => known.slices.get(&it.name) == Some(it),
                    Object::Cidr(it) => known.cidrs.get(&it.name) == Some(it),
                    Object::Node(it) => known.node == *it,
                };
                if !is_known {
                    return Err(format!("{} {} is not known as the server has it", kind, stored.object.name()));
                }
            }
        }
        Ok(())
    }

    fn state(&self) -> NodeState {
        let connected = ApiFacts { connected: Some(moment(self.now)), ..ApiFacts::default() };
        self.process.board.verdict(Some(connected), moment(self.now)).state
    }

    /// Whether the kernel holds what the process takes it for.
    fn is_as_known(&self) -> bool {
        let held = self.kernel.held();
        let known = self.process.engine.acknowledged();
        known.is_some_and(|known| held.frontends == known.frontends && held.shared == known.shared)
    }

    /// Whether the kernel holds what it should, whatever happened to it meanwhile.
    fn is_as_desired(&self) -> bool {
        let held = Acknowledged::from(self.kernel.tables.contents(&Family::ALL));
        let engine = &self.process.engine;
        diff(&held, engine.snapshot().desired(), engine.scope()).is_empty()
    }

    /// A batch of the process itself may have overwritten what the other program wrote: then there is nothing to notice.
    fn untaint_if_as_desired(&mut self) {
        // Before all lists are there, it is not known what should be there.
        if self.tainted && self.process.is_complete() && self.is_as_known() && self.is_as_desired() {
            self.untaint();
        }
    }

    /// The word for the state is true.
    fn check_words(&mut self) -> Checked {
        // As soon as a look or a comparison may tell.
        let noticed = if self.process.is_listening { 60_000_000 } else { 3 * UNHEARD };
        let since = self.tainted_at.max(self.begun_at).max(self.comparison_not_before);
        let is_late = self.now.saturating_sub(since) > noticed;
        if is_late {
            self.untaint_if_as_desired();
        }
        let process = &self.process;
        let must_be_known = self.tainted && !self.aside && is_late;
        let waiting = self.asked_at.get(self.caught_up + 1).filter(|_| process.is_complete());
        let is_waiting = |least: Micros| waiting.is_some_and(|at| self.now - at > least);
        let state = self.state();
        let is_true = match state {
            NodeState::Synced => !must_be_known && (self.aside || !is_waiting(2_000_000)),
            NodeState::Behind => process.engine.is_due() || process.engine.failures() > 0 || process.commit.is_some(),
            // A repair is over when what is not asked for is deleted, too.
            NodeState::Drifted => {
                let is_repairing = process.engine.failures() > 0 || process.engine.has_leftovers();
                self.tainted || is_repairing || self.now - self.untainted_at < 3_000_000
            }
            NodeState::Starting => !process.has_synced,
            NodeState::Stale => false,
        };
        if is_true {
            return Ok(());
        }
        broken(WORDS, format!("{state}, tainted: {} since {}, {}", self.tainted, self.tainted_at, self.unrest()))
    }

    /// No change waits for long while the kernel does what it is asked to.
    pub fn check_waiting(&mut self) -> Checked {
        self.check_words()?;
        self.fight();
        if self.kernel.faults.any() || self.tainted {
            self.wrong_at = self.now;
        }
        if self.aside || self.floor == self.versions.len() - 1 || !self.process.is_complete() {
            return Ok(());
        }
        let since = self.asked_at[self.floor + 1].max(self.wrong_at);
        if self.now - since > MAX_WAIT + self.settings.min_sync_period {
            return broken("no change waits for longer than the bound", self.unrest());
        }
        Ok(())
    }
}
