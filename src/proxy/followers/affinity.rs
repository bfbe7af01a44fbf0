//! The frontends with session affinity, for the metrics of their clients.

use std::sync::Arc;

use crate::diff::Installed;
use crate::engine::Committed;
use crate::follow::{Effort, Follower, ReadBack};
use crate::observe::AffinityFrontends;
use crate::state::Snapshot;

/// Notes which frontends have session affinity, and for which service port.
#[derive(Debug)]
pub struct AffinityFollower(pub AffinityFrontends);

/// The service port of a frontend with session affinity.
fn owner(installed: &Installed) -> Option<Arc<str>> {
    installed.affinity.as_ref()?;
    installed.owner().map(Arc::from)
}

impl Follower for AffinityFollower {
    fn read(&mut self, found: &ReadBack) {
        self.0.clear();
        for (frontend, installed) in &found.held.frontends {
            if let Some(owner) = owner(installed) {
                self.0.set(*frontend, Some(owner));
            }
        }
    }

    fn committed(&mut self, committed: &Committed, _: &Snapshot, _: Effort) {
        for change in &committed.plan.frontends {
            let has_affinity =
                |installed: &Option<Arc<Installed>>| installed.as_ref().is_some_and(|it| it.affinity.is_some());
            if has_affinity(&change.before) || has_affinity(&change.after) {
                self.0.set(change.frontend, change.after.as_deref().and_then(owner));
            }
        }
    }
}
