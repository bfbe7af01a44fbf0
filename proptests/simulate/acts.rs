//! What happens in the steps of a story.

use pointsman::state::Kind;

use crate::api::Micros;
use crate::coverage::Fault;
use crate::edits::edit;
use crate::kernel::ForeignWrite;
use crate::objects::Size;
use crate::process::News;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::story::{Act, Step, settings};
use crate::world::{Checked, World, tell};

/// The longest pause after a comparison, however long that took.
const MAX_COMPARE_PAUSE: Micros = 600_000_000;

impl World {
    /// One step of a story.
    pub fn step(&mut self, step: &Step, size: Size) -> Checked {
        self.random = Random::new(step.luck);
        tell!(self, "-- {:?}", step.act);
        self.act(step.act, size)?;
        self.run_for(0)?;
        self.connect(1)?;
        self.run_for(step.pause)?;
        self.check_waiting()
    }

    fn act(&mut self, act: Act, size: Size) -> Checked {
        let random = &mut self.random;
        match act {
            Act::PutService
            | Act::PutSlice
            | Act::PutCidr
            | Act::PutNode
            | Act::Roll
            | Act::DeleteService
            | Act::DeleteSlice
            | Act::DeleteCidr
            | Act::DeleteNode
            | Act::Touch
            | Act::Damage
            | Act::Supersede
            | Act::Flood => edit(act, size, &mut self.server, random, &mut self.met),
            Act::Cut => {
                let (kind, pause) = (random.index(4), random.below(3_000_000));
                self.met.count(Fault::Cut);
                self.watches[kind].cut(self.now + pause);
            }
            Act::CutAll => {
                let pause = random.below(20_000_000);
                self.met.count(Fault::Cut);
                self.watches.iter_mut().for_each(|watch| watch.cut(self.now + pause));
            }
            Act::Stall => {
                let (kind, pause) = (random.index(4), random.below(30_000_000));
                self.met.count(Fault::Stall);
                self.watches[kind].stalled_until = self.now + pause;
            }
            Act::Compact => {
                self.met.count(Fault::Compaction);
                for watch in &mut self.watches {
                    watch.send(&self.server, self.now, &mut self.random);
                    // The server cannot send what it has forgotten.
                    if watch.is_open() && !watch.has_sent_all(&self.server) {
                        watch.cut(self.now);
                    }
                }
                self.server.compact();
            }
            Act::Freeze => self.server.freeze(random.below(6)),
            Act::Thaw => self.server.thaw(),
            Act::RestoreEtcd => {
                self.met.count(Fault::Restore);
                self.server.thaw();
                self.server.restore(random.below(30));
                let pause = random.below(1_000_000);
                self.watches.iter_mut().for_each(|watch| watch.cut(self.now + pause));
            }
            Act::BreakList => {
                let kind = random.index(4);
                self.watches[kind].breaks_list = true;
                self.watches[kind].cut(self.now);
                self.watches[kind].forget();
            }
            Act::Refuse => self.kernel.faults.refuse = u32::from(1 + random.small(5)),
            Act::LoseAcknowledgement => self.kernel.faults.lose_acknowledgement = u32::from(1 + random.small(2)),
            Act::LoseBatch => self.kernel.faults.lose_batch = u32::from(1 + random.small(3)),
            Act::FailReading => self.kernel.faults.fail_reading = u32::from(1 + random.small(4)),
            Act::Slow => self.kernel.faults.slow = u32::from(1 + random.small(3)),
            Act::Poison => self.kernel.faults.poison = Some([10, 96, 0, random.small(size.services)].into()),
            Act::ShortMemory => self.kernel.faults.largest_batch = Some(random.index(200)),
            Act::Heal => self.kernel.faults = Default::default(),
            Act::Save => self.kernel.save(),
            Act::Foreign(write) => self.foreign_write(write),
            Act::Fight => self.fights = 1 + u32::from(random.small(5)),
            Act::Noise => {
                self.met.count(Fault::Noise);
                self.foreign_commit(News::Commit);
            }
            Act::LoseNews => {
                if self.process.is_listening {
                    self.met.count(Fault::LostNews);
                    self.foreign_commit(News::Lost);
                }
            }
            Act::Crash => self.restart(),
            Act::Reconfigure => {
                let other = settings(random);
                // The machine is the same.
                let has_external_ip = self.settings.packets.has_external_ip;
                self.settings = other;
                self.settings.packets.has_external_ip = has_external_ip;
                self.met.count(Fault::Reconfiguration);
                self.forget_clients();
                self.restart();
            }
            Act::Jump => {
                self.met.count(Fault::ClockJump);
                self.now += random.below(4_000_000_000);
                (self.wrong_at, self.begun_at) = (self.now, self.now);
                if self.process.comparison.is_some() {
                    self.comparison_not_before = self.now + MAX_COMPARE_PAUSE;
                }
            }
            Act::Settle => return self.settle(),
            Act::Connect => return self.connect(4),
        }
        Ok(())
    }

    /// The process ends, whatever it does, and another one begins.
    fn restart(&mut self) {
        self.met.count(Fault::Crash);
        if self.process.engine.has_leftovers() {
            self.met.count(Fault::CrashWithLeftovers);
        }
        if self.process.has_synced {
            self.met.count(Fault::Adoption);
        }
        if let Some(commit) = self.process.commit.take() {
            self.met.count(Fault::CrashInCommit);
            // The batch may have been sent.
            if commit.answer.is_none() && self.random.one_in(2) {
                self.kernel.commit(&commit.plan.operations, &mut self.met);
            }
        }
        self.forget_generations();
        self.memory.epoch += 1;
        self.memory.due.clear();
        if self.does(Sabotage::ForgetsClients) {
            self.kernel.forget_clients();
        }
        self.begin_process();
        self.watches =
            Kind::ALL.map(|kind| self.watches[kind as usize].of_new_process(self.now + self.random.below(50_000)));
        (self.wrong_at, self.begun_at) = (self.now, self.now);
    }

    /// A fighting program undoes each repair.
    pub fn fight(&mut self) {
        if self.fights > 0 && !self.tainted && self.process.has_synced {
            self.fights -= 1;
            self.met.count(Fault::Fight);
            let write =
                *self.random.pick(&[ForeignWrite::FlushTable, ForeignWrite::EditRules, ForeignWrite::DeleteElement]);
            self.foreign_write(write);
        }
    }
}
