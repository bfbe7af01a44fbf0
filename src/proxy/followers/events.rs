//! Tells the owners of objects what was left out of them, by Kubernetes Events.

use crate::engine::Committed;
use crate::follow::{Effort, Follower};
use crate::observe::Events;
use crate::state::{Compiled, Folded, Snapshot};

/// Hands what was left out to the writer of Events.
#[derive(Debug)]
pub struct EventsFollower(pub Events);

impl Follower for EventsFollower {
    fn folded(&mut self, folded: &Folded, _: &Snapshot) {
        self.0.left_out(&folded.skipped);
    }

    fn compiled(&mut self, compiled: &Compiled, _: &Snapshot, _: bool) {
        self.0.left_out(&compiled.skipped);
    }

    fn committed(&mut self, committed: &Committed, _: &Snapshot, _: Effort) {
        self.0.left_out(&committed.refused);
    }
}
