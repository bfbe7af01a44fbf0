//! The interface of everything that follows commits: stale UDP flows, health checks, health, metrics, Events, the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dataplane::{Family, ForeignCommit, SetName};
use crate::diff::{Acknowledged, Deviation};
use crate::drift::DriftNews;
use crate::engine::{Committed, Failed, Failure};
use crate::state::{Compiled, Folded, Received, Snapshot};

/// What a commit took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effort {
    /// Length of the batch in bytes; 0 where nothing was sent or encoded.
    pub bytes: usize,
    /// The time from the beginning of the plan to the acknowledgement.
    pub took: Duration,
}

/// What the tables hold, as they were read.
#[derive(Clone, Debug)]
pub struct ReadBack {
    /// What the next plan is compared with.
    pub held: Acknowledged,
    /// The number of elements in each set.
    pub elements: BTreeMap<(Family, SetName), usize>,
    /// Where this is not as expected; `None` if nothing was expected.
    pub deviations: Option<Vec<Deviation>>,
}

/// Why the tables are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadCause {
    /// Nothing is known of them yet.
    Start,
    /// A commit or a reading failed.
    Failure,
    /// Another program wrote to them.
    Drift,
}

/// Follows what the engine decides and what becomes of it. Each method is called at one moment, in the order in which they are here. No
/// commit waits for work that a follower does: what takes long goes to a task of its own.
pub trait Follower: Send {
    /// An event arrived and is about to be folded.
    fn received(&mut self, received: &Received) {
        let _ = received;
    }

    /// The event was folded.
    fn folded(&mut self, folded: &Folded, snapshot: &Snapshot) {
        let _ = (folded, snapshot);
    }

    /// All events that had arrived were folded, and the Services that changed were compiled. `is_due`: something waits to be committed.
    fn compiled(&mut self, compiled: &Compiled, snapshot: &Snapshot, is_due: bool) {
        let _ = (compiled, snapshot, is_due);
    }

    /// The tables are about to be read.
    fn reading(&mut self, cause: ReadCause) {
        let _ = cause;
    }

    /// The tables were read.
    fn read(&mut self, found: &ReadBack) {
        let _ = found;
    }

    /// The tables could not be read; so many attempts failed in a row.
    fn read_failed(&mut self, failure: &Failure, failures: u32) {
        let _ = (failure, failures);
    }

    /// A plan for this snapshot is about to be committed.
    fn committing(&mut self, snapshot: &Snapshot) {
        let _ = snapshot;
    }

    /// The plan was acknowledged.
    fn committed(&mut self, committed: &Committed, snapshot: &Snapshot, effort: Effort) {
        let _ = (committed, snapshot, effort);
    }

    /// Other programs committed something to the kernel's ruleset, to whatever table.
    fn foreign_commits(&mut self, commits: &[ForeignCommit]) {
        let _ = commits;
    }

    /// A drift was found, or is repaired.
    fn drift(&mut self, news: &DriftNews) {
        let _ = news;
    }

    /// Our tables were seen to be as expected: all elements, or all but those that were replaced.
    fn verified(&mut self, all_elements: bool) {
        let _ = all_elements;
    }

    /// The plan was not acknowledged; making and sending it took so long.
    fn failed(&mut self, failed: &Failed, failure: &Failure, took: Duration) {
        let _ = (failed, failure, took);
    }
}
