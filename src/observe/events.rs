//! Kubernetes Events: what `kubectl describe` shows about an object, beside the log of one node.
//!
//! Best effort: notes wait in a bounded queue, and those that do not fit are counted and dropped. No other work waits for the
//! API server because of them.
//!
//! What the owner of a Service can cause is bounded on each node ([`budget`]), and where every node would say the same, for all nodes together
//! ([`writers`]).

mod budget;
mod publish;
mod writers;

use std::sync::{Arc, Mutex, PoisonError};

use metrics::counter;
use tokio::sync::mpsc;

use crate::clock;
use crate::metrics::REPORTED;
use crate::state::{Kind, ObjectRef, Reason, Skipped};

use budget::{Admission, HourlyBudget};
pub use publish::{EventRate, publish};

/// How many notes may wait.
const MAX_WAITING: usize = 100;

/// Takes notes; clones share the queue.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// `None` without an API server.
    queue: Option<mpsc::Sender<EventNote>>,
    budget: Arc<Mutex<HourlyBudget>>,
}

/// A note about an object, to be written as an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventNote {
    /// The object.
    pub about: ObjectRef,
    /// Whether it is a problem.
    pub event_type: EventType,
    /// One word for machines.
    pub reason: &'static str,
    /// What the proxy was doing: one word.
    pub action: &'static str,
    /// A sentence for the reader.
    pub text: String,
    /// Every node's proxy says the same, so one Event is enough for all of them.
    pub on_every_node: bool,
}

/// The type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// Good to know.
    Normal,
    /// A problem of the object.
    Warning,
}

impl EventType {
    /// The API's word.
    pub fn label(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl Events {
    /// A queue, and its other end for [`publish()`].
    pub fn queue() -> (Self, mpsc::Receiver<EventNote>) {
        let (queue, notes) = mpsc::channel(MAX_WAITING);
        (Self { queue: Some(queue), ..Self::default() }, notes)
    }

    /// Queues a note. Never waits.
    pub fn note(&self, note: EventNote) {
        let Some(queue) = &self.queue else { return };
        let reason = note.reason;
        let admission = self.budget.lock().unwrap_or_else(PoisonError::into_inner).admit(&note, clock::now());
        let result = match admission {
            Admission::Admitted if queue.try_send(note).is_ok() => return,
            Admission::Admitted | Admission::TooMany => "dropped",
            Admission::Repeated => "repeated",
        };
        counter!(REPORTED, "reason" => reason, "result" => result).increment(1);
    }

    /// Queues notes about what was left out of objects, where the owner of the object can correct it.
    pub fn left_out(&self, skipped: &[Skipped]) {
        for Skipped { object, problem } in skipped {
            let Some(reason) = reason(problem.reason).filter(|_| object.kind != Kind::Node) else { continue };
            self.note(EventNote {
                about: object.clone(),
                event_type: EventType::Warning,
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
        Reason::UnknownValue => Some("UnknownValue"),
        Reason::Refused => Some("RefusedByKernel"),
        Reason::ExternalIpNotAllowed => Some("ExternalIPNotAllowed"),
        Reason::EndpointNotAllowed => Some("EndpointNotAllowed"),
        Reason::LocalEndpoint => Some("LocalEndpoint"),
        Reason::TooManyElements => Some("TooManyElements"),
        // A slice without a Service is ordinary for a moment, a slice of host names is for others, and files have no Events.
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
    fn the_event_of_a_lost_frontend_names_the_service_that_holds_it() {
        let (events, mut notes) = Events::queue();
        events.left_out(&[skipped(Kind::Service, Reason::FrontendTaken)]);
        let note = notes.try_recv().unwrap();
        assert_eq!((note.reason, note.event_type), ("FrontendTaken", EventType::Warning));
        assert_eq!(note.text, "left out 203.0.113.1:80/tcp: shop/old:http holds it");
    }

    #[test]
    fn ordinary_conditions_are_no_events() {
        let (events, mut notes) = Events::queue();
        events.left_out(&[skipped(Kind::EndpointSlice, Reason::NoService), skipped(Kind::Node, Reason::BadAddress)]);
        assert!(notes.try_recv().is_err());
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (events, notes) = Events::queue();
        let many = |i: usize| Skipped {
            object: ObjectRef { kind: Kind::Service, name: name(&format!("shop-{i}/web")) },
            ..skipped(Kind::Service, Reason::BadPort)
        };
        let shown = crate::metrics::tests::scrape(|| {
            events.left_out(&(0..MAX_WAITING + 3).map(many).collect::<Vec<_>>());
        });
        assert_eq!(notes.len(), MAX_WAITING);
        let line = "pointsman_reported_events_total{reason=\"BadPort\",result=\"dropped\"} 3";
        crate::metrics::tests::assert_shows(&shown, line);
    }

    #[test]
    fn a_clash_that_is_switched_on_and_off_is_one_note() {
        let (events, mut notes) = Events::queue();
        let shown = crate::metrics::tests::scrape(|| {
            (0..20).for_each(|_| events.left_out(&[skipped(Kind::Service, Reason::FrontendTaken)]));
        });
        assert!(notes.try_recv().is_ok() && notes.try_recv().is_err());
        let line = "pointsman_reported_events_total{reason=\"FrontendTaken\",result=\"repeated\"} 19";
        crate::metrics::tests::assert_shows(&shown, line);
    }
}
