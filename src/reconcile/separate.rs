//! Committing a plan when whole batches were refused again and again: what the kernel refuses is found, and set aside.
//!
//! Each element is checked before it is sent, so this is for what nobody thought of. One Service must not keep all others from
//! being programmed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::apply::{Backend, Error};
use crate::dataplane::Frontend;
use crate::diff::Plan;
use crate::state::{Desired, FrontendSpec, Kind, ObjectRef, Problem, Reason, Skipped};

/// How many operations a batch has, to begin with: few enough not to hold the kernel for long.
const BATCH: usize = 2_000;
/// More frontends than this are not refused each for its own reason.
const MOST: usize = 16;

/// What frontends should become, and the kernel refuses.
type Refused = BTreeMap<Frontend, Option<Arc<FrontendSpec>>>;

/// Frontends that are left as the kernel has them, because it refuses what they should become.
#[derive(Debug, Default)]
pub(super) struct Aside {
    refused: Refused,
    /// When all of them are tried again.
    retry_at: Option<Instant>,
    /// Whether some are being tried again: what the kernel still refuses is to be found at once.
    suspects: bool,
    /// What was reported, so that it is not reported at each attempt.
    told: Refused,
}

/// What became of a plan that was committed piece by piece.
#[derive(Default)]
pub(super) struct Separated {
    /// The frontends that the kernel refuses. All others are committed.
    pub refused: BTreeSet<Frontend>,
    /// What it said last, if it refused any.
    pub error: Option<Error>,
    /// How many bytes were sent and accepted.
    pub bytes: usize,
}

impl Aside {
    /// The frontends that are left alone.
    pub fn frontends(&self) -> BTreeSet<Frontend> {
        self.refused.keys().copied().collect()
    }

    /// When to try again what was set aside.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether the next plan is suspected to have something in it that the kernel refuses.
    pub fn has_suspects(&self) -> bool {
        self.suspects
    }

    /// Takes back what is to become something else now: the kernel may accept that.
    pub fn follow(&mut self, desired: &Desired) {
        let before = self.refused.len();
        self.refused.retain(|frontend, spec| *spec == wanted(desired, frontend));
        self.suspects |= self.refused.len() < before;
        self.retry_at = self.retry_at.filter(|_| !self.refused.is_empty());
    }

    /// Takes everything back if it is time to try again; true if it is.
    pub fn take_back(&mut self, now: Instant) -> bool {
        let due = self.retry_at.is_some_and(|at| at <= now);
        if due {
            self.refused.clear();
            self.retry_at = None;
            self.suspects = true;
        }
        due
    }

    /// Sets aside what was refused, for so long or until it is to become something else; says what was left out of which object.
    pub fn set(&mut self, separated: &Separated, desired: &Desired, pause: Duration) -> Vec<Skipped> {
        self.suspects = false;
        let mut skipped = Vec::new();
        let says = separated.error.as_ref().map(Error::to_string).unwrap_or_default();
        for frontend in &separated.refused {
            let spec = wanted(desired, frontend);
            self.refused.insert(*frontend, spec.clone());
            if self.told.insert(*frontend, spec.clone()).is_some_and(|told| told == spec) {
                continue;
            }
            // One that only was to go has no owner any more.
            skipped.extend(spec.map(|spec| Skipped {
                object: ObjectRef { kind: Kind::Service, name: spec.service.clone() },
                problem: Problem::new(frontend.to_string(), Reason::Refused, &says),
            }));
        }
        self.retry_at = (!self.refused.is_empty()).then(|| Instant::now() + pause);
        skipped
    }

    /// To be called when the kernel accepted everything but what is set aside.
    pub fn committed(&mut self) {
        self.suspects = false;
        if self.refused.is_empty() {
            self.told.clear();
        }
    }
}

fn wanted(desired: &Desired, frontend: &Frontend) -> Option<Arc<FrontendSpec>> {
    desired.frontends.get(frontend).map(|claims| Arc::clone(claims.winner()))
}

/// Commits a plan in ever smaller pieces, down to single frontends or the few of one address, so that all but what is refused is committed.
///
/// Takes about log2(pieces) commits for each frontend that is refused.
///
/// # Errors
///
/// If it is not that a few frontends are refused and others are not; some of the plan may be committed then.
pub(super) async fn commit(backend: &mut impl Backend, plan: &mut Plan) -> Result<Separated, Error> {
    let mut ends = plan.divide(1);
    ends.dedup();
    let start = |piece: usize| piece.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end);
    let mut separated = Separated::default();
    let mut accepted = 0;
    // The next one is at the end.
    let mut waiting = batches(&ends);
    waiting.reverse();
    while let Some(pieces) = waiting.pop() {
        let operations = start(pieces.start)..start(pieces.end);
        let error = match backend.commit(plan.operations.get(operations.clone()).unwrap_or_default()).await {
            Ok(receipt) => {
                separated.bytes += receipt.bytes;
                accepted += pieces.len();
                continue;
            }
            Err(error) => error,
        };
        if error.refusal().is_none() {
            return Err(error);
        }
        if pieces.len() > 1 {
            let middle = pieces.start + pieces.len() / 2;
            waiting.extend([middle..pieces.end, pieces.start..middle]);
            continue;
        }
        let frontends = plan.frontends_of(operations);
        if frontends.is_empty() || separated.refused.len() + frontends.len() > MOST {
            return Err(error);
        }
        separated.refused.extend(frontends);
        separated.error = Some(error);
    }
    match separated.error {
        // If nothing is accepted, it may be for another reason than what is in it.
        Some(error) if accepted == 0 => Err(error),
        _ => Ok(separated),
    }
}

/// Pieces that are tried together at first, given where each ends.
fn batches(ends: &[usize]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut begins_at = 0;
    for (piece, end) in ends.iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if end - begins_at <= BATCH => batch.end = piece + 1,
            _ => {
                begins_at = piece.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |before| *before);
                batches.push(piece..piece + 1);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_tried_together_up_to_the_size_of_a_batch() {
        assert!(batches(&[]).is_empty());
        assert_eq!(batches(&[1_000, 2_000, 2_001, 5_000, 5_001]), [0..2, 2..3, 3..4, 4..5]);
    }
}
