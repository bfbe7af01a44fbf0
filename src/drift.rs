//! Drift: other programs write to our tables. What was heard of their commits, what becomes of it, and when.
//!
//! ```text
//! foreign commit ─▶ look (an outline, soon) ─▶ deviates ─▶ repair: read, compare, commit the difference
//!                    └─▶ is as expected ─▶ compare (everything, at a bounded share of a core) ─┘
//! ```
//!
//! - A commit of another process to any table is a suspicion. A look at the outline of our tables settles most: chains with the
//!   fingerprints of their rules, the number of elements in each set, and the kernel's numbers of the tables.
//! - A look does not see an element that was replaced. So a comparison of everything follows, not before the last one has cost less than
//!   its share of the time. Without any suspicion there is one now and then.
//! - A repair is the engine's: it reads the tables and commits the difference. Nothing is flushed.
//! - Two programs that undo each other are slowed down: see [`RepairPace`].

use std::time::Duration;

mod pace;
mod watch;

use crate::dataplane::Writer;
use crate::diff::Deviation;
use crate::pacing::Moment;
pub use pace::RepairPace;
pub use watch::{DriftStep, DriftWatch};

/// What is done about a drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reaction {
    /// It is repaired and told.
    #[default]
    Repair,
    /// It is told.
    Observe,
}

/// Deviations of our tables, and who may have made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftReport {
    /// When the commit was heard of, or the deviation was found.
    pub since: Moment,
    /// The processes that have committed something since the tables were last as expected; empty if none was heard.
    pub writers: Vec<Writer>,
    /// What deviates.
    pub deviations: Vec<Deviation>,
}

/// What is new about a drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriftNews {
    /// It was found. It is repaired after this pause; never if it is only observed.
    Found {
        /// What was found.
        report: DriftReport,
        /// The pause before the repair, which is longer than zero while repairs are undone again and again.
        pause: Option<Duration>,
        /// How many repairs preceded it within a short time.
        repairs: u32,
    },
    /// Something else was changed before it was repaired.
    Widened {
        /// What deviates now, and who may have done any of it.
        report: DriftReport,
    },
    /// Everything is as it should be again.
    Repaired {
        /// What was found.
        report: DriftReport,
        /// How long it lasted since it was heard of.
        lasted: Duration,
        /// How many operations the repair took; 0 if another program made the repair.
        operations: usize,
        /// How many repairs were made within a short time, with this one.
        repairs: u32,
    },
}

impl DriftReport {
    /// The processes as a text.
    pub fn writers(&self) -> String {
        match self.writers.as_slice() {
            [] => "an unknown program".to_owned(),
            some => some.iter().map(Writer::to_string).collect::<Vec<_>>().join(" or "),
        }
    }

    /// The deviations as a text: the first few, and how many there are.
    pub fn deviations(&self) -> String {
        const SHOWN: usize = 3;
        let mut text = self.deviations.iter().take(SHOWN).map(Deviation::to_string).collect::<Vec<_>>().join("; ");
        if self.deviations.len() > SHOWN {
            text.push_str(&format!("; and {} more", self.deviations.len() - SHOWN));
        }
        text
    }

    /// The program that may have done it, for metrics: `several` if it is one of some, `unknown` if none was heard.
    pub fn program(&self) -> &str {
        match self.writers.as_slice() {
            [] => "unknown",
            [first, others @ ..] if others.iter().all(|other| other.program == first.program) => &first.program,
            _ => "several",
        }
    }
}
