//! Memory returns to where it was: after everything is deleted, an engine holds as much as one that never knew anything.

use pointsman::engine::{Engine, Next};
use pointsman::state::Kind;

use crate::process::{Process, moment};
use crate::world::{Checked, World, broken};

/// What an engine may hold more: buffers keep a part of their room.
const MAX_KEPT: i64 = 32 << 10;

impl World {
    /// Deletes every object but the Node, waits, and compares the engine with a new one.
    pub fn check_memory(&mut self) -> Checked {
        for kind in [Kind::Service, Kind::EndpointSlice, Kind::ServiceCidr] {
            let names: Vec<_> = self.server.objects(kind).map(|stored| stored.object.name().clone()).collect();
            names.iter().for_each(|name| self.server.delete(kind, name));
        }
        self.settle()?;
        let held = self.kernel.held();
        if !held.frontends.is_empty() {
            return broken("memory returns to where it was", format!("frontends stay: {:?}", held.frontends));
        }
        let mut new = Process::new(&self.settings);
        for event in self.server.lists(self.settings.packets.host()) {
            new.fold(event, false);
        }
        new.engine.compile();
        loop {
            match new.engine.next(moment(self.now)) {
                Next::Read => new.engine.read_back(self.kernel.held(), moment(self.now)),
                Next::Commit(plan) => drop(new.engine.committed(*plan, moment(self.now), moment(self.now))),
                Next::Wait(_) => break,
            }
        }
        let settings = self.process.engine.settings().clone();
        let old = std::mem::replace(&mut self.process.engine, Engine::new(settings));
        let (used, needed) = (bytes(old), bytes(new.engine));
        if used > needed + MAX_KEPT {
            return broken("memory returns to where it was", format!("{used} bytes, and a new engine holds {needed}"));
        }
        Ok(())
    }
}

/// How much memory an engine alone holds.
fn bytes(engine: Engine) -> i64 {
    -allocation_counter::measure(|| drop(engine)).bytes_current
}
