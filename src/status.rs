//! What a node says about itself, in one word, with since when and why. Derived here and nowhere else, from facts with moments as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pacing::Moment;

mod pressure;

pub use pressure::{FlowSample, Pressure, PressureReport};

/// From this long on a change that is not programmed is worth a word.
const BEHIND_AFTER: std::time::Duration = std::time::Duration::from_secs(1);
/// The API server counts as not heard from when a watch has been lost for so long. Attempts follow each other within 2.5 seconds.
const STALE_AFTER_LOSS: std::time::Duration = std::time::Duration::from_secs(10);
/// The same when a watch seems open and nothing comes: bookmarks come every minute or so, and a watch is renewed after 290 seconds.
const STALE_AFTER_SILENCE: std::time::Duration = std::time::Duration::from_secs(330);

/// The state of a node, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum NodeState {
    /// There was no sync yet.
    Starting,
    /// All that was received is programmed, the API server is heard, and our tables are as they were written.
    Synced,
    /// Something that was received waits to be programmed.
    Behind,
    /// The API server is not heard: what is programmed may be old.
    Stale,
    /// Another program changed our tables.
    Drifted,
}

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// When the process started.
    pub started: Moment,
    /// When everything that was received was programmed for the last time; `None` before the first sync.
    pub synced: Option<Moment>,
    /// Since when something waits to be programmed.
    pub pending: Option<Moment>,
    /// Commits or readings have failed since then.
    pub failing: Option<Failing>,
    /// Since when the loop gives no sign of life.
    pub silent: Option<Moment>,
    /// The watches; `None` without an API server.
    pub api: Option<ApiFacts>,
    /// A change of our tables by another program that is not repaired.
    pub drift: Option<DriftFacts>,
    /// When the last state other than SYNCED ended, as far as its end was an event.
    pub settled: Moment,
}

/// Attempts that failed in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Moment,
    /// How many.
    pub attempts: u32,
    /// The last error.
    pub message: String,
}

/// What is known of the watches on the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiFacts {
    /// A watch is lost, since then.
    pub lost: Option<Moment>,
    /// The watch that was silent for longest: its kind, and when it was last heard.
    pub heard: Option<(&'static str, Moment)>,
    /// Since when all watches are open, if they are.
    pub connected: Option<Moment>,
}

/// What is known of a drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftFacts {
    /// Since when.
    pub since: Moment,
    /// Who changed what.
    pub text: String,
}

/// The state with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVerdict {
    /// The state.
    pub state: NodeState,
    /// Since when.
    pub since: Moment,
    /// Why, in a sentence; empty if it is SYNCED.
    pub why: String,
}

impl NodeState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Synced, Self::Behind, Self::Stale, Self::Drifted];

    /// The word.
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Synced => "SYNCED",
            Self::Behind => "BEHIND",
            Self::Stale => "STALE",
            Self::Drifted => "DRIFTED",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

impl NodeFacts {
    /// The state at this moment. Of several that hold, the first of these: STARTING, DRIFTED, STALE, BEHIND.
    pub fn verdict(&self, now: Moment) -> NodeVerdict {
        let verdict = |state, since, why: String| NodeVerdict { state, since, why };
        let failing =
            self.failing.as_ref().map(|it| format!("{} attempts failed in a row: {}", it.attempts, it.message));
        if self.synced.is_none() {
            let why = failing
                .unwrap_or_else(|| "there was no sync yet: complete lists are awaited, or programmed".to_owned());
            return verdict(NodeState::Starting, self.started, why);
        }
        if let Some(drift) = &self.drift {
            return verdict(NodeState::Drifted, drift.since, drift.text.clone());
        }
        if let Some((since, why)) = self.api.as_ref().and_then(|api| api.staleness(now)) {
            return verdict(NodeState::Stale, since, why);
        }
        if let Some(since) = self.silent {
            return verdict(NodeState::Behind, since, "the loop does not answer".to_owned());
        }
        let waits = self.pending.filter(|since| now.since(*since) >= BEHIND_AFTER || self.failing.is_some());
        if let Some(since) = waits {
            let why = failing.unwrap_or_else(|| "what was received waits to be programmed".to_owned());
            return verdict(NodeState::Behind, since, why);
        }
        let connected = self.api.as_ref().and_then(|api| api.connected).unwrap_or_default();
        verdict(NodeState::Synced, self.settled.max(connected), String::new())
    }
}

impl ApiFacts {
    /// Since when the API server is not heard, and why that is known; `None` while it is heard within its deadlines.
    fn staleness(&self, now: Moment) -> Option<(Moment, String)> {
        if let Some(lost) = self.lost.filter(|lost| now.since(*lost) >= STALE_AFTER_LOSS) {
            return Some((lost, "the API server cannot be watched".to_owned()));
        }
        let (kind, heard) = self.heard.filter(|(_, heard)| now.since(*heard) >= STALE_AFTER_SILENCE)?;
        Some((heard, format!("the watch on {kind} is open, and nothing comes")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    /// A node that synced at 10 s, with an API server that it hears.
    fn synced() -> NodeFacts {
        let api = ApiFacts { lost: None, heard: Some(("Service", at(100))), connected: Some(at(9)) };
        NodeFacts { started: at(5), synced: Some(at(10)), api: Some(api), settled: at(10), ..NodeFacts::default() }
    }

    fn said(facts: &NodeFacts, seconds: u64) -> (NodeState, u64) {
        let verdict = facts.verdict(at(seconds));
        assert_eq!(verdict.why.is_empty(), verdict.state == NodeState::Synced, "{verdict:?}");
        (verdict.state, verdict.since.since_start().as_secs())
    }

    #[test]
    fn a_node_that_never_synced_is_starting_whatever_else_holds() {
        let failing = Some(Failing { since: at(6), attempts: 3, message: "refused".to_owned() });
        let drift = Some(DriftFacts { since: at(7), text: "x".to_owned() });
        let facts = NodeFacts { started: at(5), failing, drift, silent: Some(at(6)), ..NodeFacts::default() };
        assert_eq!(said(&facts, 100), (NodeState::Starting, 5));
        assert!(facts.verdict(at(100)).why.contains("3 attempts failed in a row: refused"));
    }

    #[test]
    fn a_node_is_synced_since_what_it_lacked_is_there() {
        assert_eq!(said(&synced(), 120), (NodeState::Synced, 10));
        let mut facts = synced();
        facts.api = Some(ApiFacts { connected: Some(at(50)), ..ApiFacts::default() });
        assert_eq!(said(&facts, 120), (NodeState::Synced, 50));
        facts.api = None;
        assert_eq!(said(&facts, 120), (NodeState::Synced, 10), "manifests need no API server");
    }

    #[test]
    fn a_lost_watch_is_stale_after_ten_seconds_and_a_silent_one_after_five_and_a_half_minutes() {
        let mut facts = synced();
        assert_eq!(said(&facts, 429), (NodeState::Synced, 10));
        assert_eq!(said(&facts, 430), (NodeState::Stale, 100));
        assert!(facts.verdict(at(430)).why.contains("the watch on Service"));
        facts.api = Some(ApiFacts { lost: Some(at(200)), ..ApiFacts::default() });
        assert_eq!(said(&facts, 209).0, NodeState::Synced);
        assert_eq!(said(&facts, 210), (NodeState::Stale, 200));
    }

    #[test]
    fn a_change_that_waits_for_a_second_or_fails_and_a_silent_loop_are_behind() {
        let mut facts = NodeFacts { pending: Some(at(100)), ..synced() };
        assert_eq!(said(&facts, 100).0, NodeState::Synced);
        assert_eq!(said(&facts, 101), (NodeState::Behind, 100));
        facts.failing = Some(Failing { since: at(100), attempts: 1, message: "refused".to_owned() });
        assert_eq!(said(&facts, 100), (NodeState::Behind, 100));
        let facts = NodeFacts { silent: Some(at(90)), ..synced() };
        assert_eq!(said(&facts, 100), (NodeState::Behind, 90));
    }

    #[test]
    fn a_drift_comes_before_a_stale_view_and_that_before_what_waits() {
        let drift = Some(DriftFacts { since: at(95), text: "nft".to_owned() });
        let mut facts = NodeFacts { drift, pending: Some(at(100)), ..synced() };
        facts.api = Some(ApiFacts { lost: Some(at(80)), ..ApiFacts::default() });
        assert_eq!(said(&facts, 120), (NodeState::Drifted, 95));
        facts.drift = None;
        assert_eq!(said(&facts, 120), (NodeState::Stale, 80));
        facts.api = None;
        assert_eq!(said(&facts, 120), (NodeState::Behind, 100));
    }
}
