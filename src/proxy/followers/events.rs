//! Tells the owners of objects what was left out of them, by Kubernetes Events.

use std::sync::Arc;
use std::time::Duration;

use crate::drift::DriftNews;
use crate::engine::Committed;
use crate::follow::{Effort, Follower};
use crate::observe::{EventNote, EventType, Events};
use crate::state::{Compiled, Folded, Snapshot};

/// Hands what was left out to the writer of Events.
#[derive(Debug)]
pub struct EventsFollower {
    events: Events,
    node_name: Arc<str>,
}

impl EventsFollower {
    /// Writes Events of objects, and those of this node.
    pub fn new(events: Events, node_name: Arc<str>) -> Self {
        Self { events, node_name }
    }
}

impl Follower for EventsFollower {
    fn folded(&mut self, folded: &Folded, _: &Snapshot) {
        self.events.left_out(&folded.skipped);
    }

    fn compiled(&mut self, compiled: &Compiled, _: &Snapshot, _: bool) {
        self.events.left_out(&compiled.skipped);
    }

    fn committed(&mut self, committed: &Committed, _: &Snapshot, _: Effort) {
        self.events.left_out(&committed.refused);
    }

    fn drift(&mut self, news: &DriftNews) {
        let (event_type, reason, text) = match news {
            DriftNews::Found { report, pause, .. } => {
                let then = match *pause {
                    None => "not repaired: --drift observe".to_owned(),
                    Some(Duration::ZERO) => "repairing".to_owned(),
                    Some(pause) => format!("it was repaired before and undone again: the next repair waits {pause:?}"),
                };
                let text = format!("{} changed our nftables tables: {}; {then}", report.writers(), report.deviations());
                (EventType::Warning, "TablesChanged", text)
            }
            DriftNews::Widened { report } => {
                let text = format!("{} changed our nftables tables further: {}", report.writers(), report.deviations());
                (EventType::Warning, "TablesChanged", text)
            }
            DriftNews::Repaired { report, lasted, .. } => {
                let text =
                    format!("our nftables tables are as they should be again, {lasted:.1?} after {}", report.writers());
                (EventType::Normal, "TablesRepaired", text)
            }
        };
        self.events.note(EventNote::about_tables(&self.node_name, event_type, reason, text));
    }
}
