//! Frontends that are left as the kernel has them, because it refuses what they should become.
//!
//! Each element is checked before it is sent, so this is for refusals that were not foreseen. One Service must not keep all others from
//! being programmed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Moment;
use super::backlog::Backlog;
use crate::dataplane::Frontend;
use crate::state::{Desired, FrontendSpec, Kind, ObjectRef, Problem, Reason, Skipped};

/// What frontends should become, and the kernel refuses; `None` to be removed.
type Wanted = BTreeMap<Frontend, Option<Arc<FrontendSpec>>>;

/// The frontends that are left alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Quarantine {
    refused: Wanted,
    /// When each of them is tried again.
    expires_at: BTreeMap<Frontend, Moment>,
    /// Some were released since the last search.
    retrying: bool,
    /// What was reported, so that it is not reported at each attempt.
    reported: Wanted,
}

impl Quarantine {
    /// Whether a frontend is left alone.
    pub fn contains(&self, frontend: &Frontend) -> bool {
        !self.refused.is_empty() && self.refused.contains_key(frontend)
    }

    /// When the next frontend is tried again.
    pub fn expires_at(&self) -> Option<Moment> {
        self.expires_at.values().min().copied()
    }

    /// Releases the frontends that it is time to try again. True if there are some.
    pub fn expire(&mut self, now: Moment, backlog: &mut Backlog) -> bool {
        if self.expires_at().is_none_or(|at| now < at) {
            return false;
        }
        let expired: Vec<Frontend> =
            self.expires_at.iter().filter(|(_, at)| **at <= now).map(|(frontend, _)| *frontend).collect();
        self.release(expired, backlog);
        true
    }

    /// Releases the frontends that are to become something else by now: the kernel may accept that. True if some were released since
    /// the last search.
    pub fn release_changed(&mut self, desired: &Desired, backlog: &mut Backlog) -> bool {
        let is_changed = |(frontend, spec): &(&Frontend, &Option<_>)| **spec != wanted(desired, frontend);
        let changed: Vec<Frontend> = self.refused.iter().filter(is_changed).map(|(frontend, _)| *frontend).collect();
        if !changed.is_empty() {
            self.release(changed, backlog);
        }
        std::mem::take(&mut self.retrying)
    }

    fn release(&mut self, frontends: Vec<Frontend>, backlog: &mut Backlog) {
        self.retrying = true;
        for frontend in &frontends {
            self.refused.remove(frontend);
            self.expires_at.remove(frontend);
        }
        backlog.add_frontends(frontends);
    }

    /// Adds the result of a search, and what the kernel said. Returns what was left out of which object, and was not reported before.
    pub fn add(&mut self, refused: BTreeMap<Frontend, String>, desired: &Desired, expires_at: Moment) -> Vec<Skipped> {
        let mut skipped = Vec::new();
        for (frontend, says) in refused {
            let spec = wanted(desired, &frontend);
            self.refused.insert(frontend, spec.clone());
            self.expires_at.insert(frontend, expires_at);
            if self.reported.insert(frontend, spec.clone()).is_some_and(|reported| reported == spec) {
                continue;
            }
            // One that was to be removed has no owner any more.
            skipped.extend(spec.map(|spec| Skipped {
                object: ObjectRef { kind: Kind::Service, name: spec.service.clone() },
                problem: Problem::new(frontend.to_string(), Reason::Refused, &says),
            }));
        }
        if self.refused.is_empty() {
            self.reported.clear();
        }
        skipped
    }
}

fn wanted(desired: &Desired, frontend: &Frontend) -> Option<Arc<FrontendSpec>> {
    desired.frontends.get(frontend).map(|claims| Arc::clone(claims.winner()))
}
