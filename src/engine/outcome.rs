//! What the engine asks for, and what followers learn from it.

use std::sync::OnceLock;

use crate::dataplane::{ElementChanges, Family};
use crate::diff::Plan;
use crate::state::Skipped;

use super::Moment;

/// What to do next.
#[derive(Clone, Debug)]
pub enum Next {
    /// Commit this plan, then call [`committed`](super::Engine::committed) or [`failed`](super::Engine::failed). A plan without operations
    /// needs no commit: it says that everything is programmed.
    Commit(Box<Plan>),
    /// Read the tables of all families, then call [`read_back`](super::Engine::read_back) or
    /// [`read_failed`](super::Engine::read_failed). Events may be folded meanwhile.
    Read,
    /// Nothing, until an event comes or this moment.
    Wait(Option<Moment>),
}

/// How far a commit brought the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncProgress {
    /// Everything that was compiled is programmed.
    CaughtUp,
    /// What was compiled since the last plan is programmed. Parts of earlier, larger changes still wait.
    Newest,
    /// Parts still wait.
    Partial,
    /// Nothing waited. What earlier changes left for packets on their way is deleted.
    Tidied,
}

/// A plan that the kernel acknowledged.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The plan. Its `next` is with the engine.
    pub plan: Plan,
    /// Made when it is asked for.
    pub(super) element_changes: OnceLock<ElementChanges>,
    /// It was the first plan after the tables were read.
    pub after_reading: bool,
    /// How far it brought the kernel.
    pub progress: SyncProgress,
    /// What newly went into quarantine, because the kernel refuses it.
    pub refused: Vec<Skipped>,
}

/// A plan that was not acknowledged.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The plan. It may be committed in part, or completely.
    pub plan: Plan,
    /// The families for which nothing waited: whatever failed, they are up to date.
    pub up_to_date: Vec<Family>,
    /// How many attempts failed in a row.
    pub failures: u32,
    /// The refusal is a step of the search for refused frontends: nothing of the plan is committed, and the search goes on.
    pub is_search: bool,
}

/// Why a plan was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it says about the tables.
    pub kind: FailureKind,
    /// What the kernel said.
    pub message: String,
}

/// What is known of the tables after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The kernel refused the batch for something in it: nothing is committed, and the tables hold what they held.
    Refused,
    /// The kernel missed something that was there when the plan was made: nothing is committed, and the tables are not what they were.
    Missing,
    /// The batch may be committed.
    Unanswered,
}

impl Committed {
    /// What it changed of the number of elements. Walks its operations once.
    pub fn element_changes(&self) -> &ElementChanges {
        self.element_changes.get_or_init(|| ElementChanges::made_by(&self.plan.operations))
    }

    /// Whether everything that was compiled is programmed now.
    pub fn is_caught_up(&self) -> bool {
        self.progress == SyncProgress::CaughtUp
    }

    /// Whether no change waited for this commit: it only deleted what earlier ones left.
    pub fn is_tidying(&self) -> bool {
        self.progress == SyncProgress::Tidied
    }
}

impl Failed {
    pub(super) fn searching(plan: Plan) -> Self {
        Self { plan, up_to_date: Vec::new(), failures: 0, is_search: true }
    }
}
