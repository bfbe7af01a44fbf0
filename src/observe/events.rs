//! Kubernetes Events: what `kubectl describe` should tell about an object, beside the log of one node.
//!
//! Best effort: notes wait in a bounded queue, and what does not fit is counted and forgotten. Nothing ever waits for the API
//! server on their account.

mod publish;

use metrics::counter;
use tokio::sync::mpsc;

use crate::metrics::REPORTED;
use crate::state::{Kind, ObjectRef, Reason, Skipped};

pub use publish::{Rate, publish};

/// Notes that may wait.
const QUEUE: usize = 100;

/// Where notes are handed in; clones share the queue.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// `None` where there is no API server to tell.
    queue: Option<mpsc::Sender<Note>>,
}

/// What is to be told about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The object.
    pub about: ObjectRef,
    /// How bad it is.
    pub severity: Severity,
    /// One word for machines.
    pub reason: &'static str,
    /// What the proxy was doing: one word.
    pub action: &'static str,
    /// A sentence for people.
    pub text: String,
    /// Every node's proxy says the same, so one Event is enough for all of them.
    pub on_every_node: bool,
}

/// The type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Severity {
    /// The API's word.
    pub fn label(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl Events {
    /// A queue, and its end from which [`publish`] takes.
    pub fn queue() -> (Self, mpsc::Receiver<Note>) {
        let (queue, notes) = mpsc::channel(QUEUE);
        (Self { queue: Some(queue) }, notes)
    }

    /// Hands in a note. Never waits.
    pub fn note(&self, note: Note) {
        let Some(queue) = &self.queue else { return };
        let reason = note.reason;
        if queue.try_send(note).is_err() {
            counter!(REPORTED, "reason" => reason, "result" => "dropped").increment(1);
        }
    }

    /// Tells about what was left out of objects, as far as their owners can do something about it.
    pub fn left_out(&self, skipped: &[Skipped]) {
        for Skipped { object, problem } in skipped {
            let Some(reason) = reason(problem.reason).filter(|_| object.kind != Kind::Node) else { continue };
            self.note(Note {
                about: object.clone(),
                severity: Severity::Warning,
                reason,
                action: "Program",
                text: format!("left out {}: {}", problem.field, problem.found),
                // Every node reads the same objects, but has a kernel of its own.
                on_every_node: problem.reason != Reason::Refused,
            });
        }
    }
}

/// The reason of an Event, for problems that are worth one.
fn reason(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::FrontendTaken => Some("FrontendTaken"),
        Reason::BadAddress => Some("BadAddress"),
        Reason::BadPort => Some("BadPort"),
        Reason::BadProtocol => Some("BadProtocol"),
        Reason::Undecodable => Some("Undecodable"),
        Reason::NoPorts => Some("NoPorts"),
        Reason::BadTimeout => Some("BadTimeout"),
        Reason::Refused => Some("RefusedByKernel"),
        // A slice without a Service is ordinary for a moment, one of names is not for us, and files have no Events.
        Reason::NoService | Reason::UnsupportedAddressType | Reason::Duplicate => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::name;
    use crate::state::Problem;

    fn skipped(kind: Kind, reason: Reason) -> Skipped {
        let problem = Problem::new("203.0.113.1:80/tcp", reason, "shop/old:http holds it");
        Skipped { object: ObjectRef { kind, name: name("shop/new") }, problem }
    }

    #[test]
    fn a_service_that_lost_a_frontend_is_told_who_has_it() {
        let (events, mut notes) = Events::queue();
        events.left_out(&[skipped(Kind::Service, Reason::FrontendTaken)]);
        let note = notes.try_recv().unwrap();
        assert_eq!((note.reason, note.severity), ("FrontendTaken", Severity::Warning));
        assert_eq!(note.text, "left out 203.0.113.1:80/tcp: shop/old:http holds it");
    }

    #[test]
    fn what_is_ordinary_is_no_event() {
        let (events, mut notes) = Events::queue();
        events.left_out(&[skipped(Kind::EndpointSlice, Reason::NoService), skipped(Kind::Node, Reason::BadAddress)]);
        assert!(notes.try_recv().is_err());
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (events, notes) = Events::queue();
        let shown = crate::metrics::tests::scrape(|| {
            events.left_out(&vec![skipped(Kind::Service, Reason::BadPort); QUEUE + 3]);
        });
        assert_eq!(notes.len(), QUEUE);
        let line = "pointsman_reported_events_total{reason=\"BadPort\",result=\"dropped\"} 3";
        crate::metrics::tests::assert_shows(&shown, line);
    }
}
