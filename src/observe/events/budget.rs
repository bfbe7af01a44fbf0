//! How many Events this node may write in an hour: the API server keeps one for an hour, and saying it again adds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::EventNote;
use super::publish::fnv1a;
use crate::pacing::Moment;
use crate::state::ObjectRef;

/// How long a note counts. The API server keeps an Event that long, unless its operator chose another time.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// The most notes about one object in a period.
const MAX_OF_OBJECT: u32 = 5;
/// The most notes about the objects of one namespace, so that its owner takes little of what all may write.
const MAX_OF_NAMESPACE: u32 = 30;
/// The most notes in a period. More could not be written.
const MAX: usize = 1_000;

/// What was noted since the period began.
#[derive(Debug, Default)]
pub(super) struct HourlyBudget {
    began: Moment,
    /// Hashes of object, reason and text.
    noted: BTreeSet<u64>,
    of_object: BTreeMap<ObjectRef, u32>,
    of_namespace: BTreeMap<String, u32>,
}

/// Whether a note is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Yes.
    Admitted,
    /// No: the same was noted in this period.
    Repeated,
    /// No: there were too many others.
    TooMany,
}

impl HourlyBudget {
    /// Decides about a note, and counts it if it is admitted.
    pub fn admit(&mut self, note: &EventNote, now: Moment) -> Admission {
        if now.since(self.began) >= PERIOD {
            *self = Self { began: now, ..Self::default() };
        }
        let (object, namespace) = (&note.about, note.about.name.namespace());
        let identity = fnv1a(&[object.kind.label(), namespace, object.name.name(), note.reason, &note.text]);
        if self.noted.contains(&identity) {
            return Admission::Repeated;
        }
        let is_spent = |count: Option<&u32>, most| count.is_some_and(|count| *count >= most);
        if self.noted.len() >= MAX
            || is_spent(self.of_object.get(object), MAX_OF_OBJECT)
            || is_spent(self.of_namespace.get(namespace), MAX_OF_NAMESPACE)
        {
            return Admission::TooMany;
        }
        self.noted.insert(identity);
        *self.of_object.entry(object.clone()).or_default() += 1;
        *self.of_namespace.entry(namespace.to_owned()).or_default() += 1;
        Admission::Admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::name;
    use crate::observe::EventType;
    use crate::state::Kind;

    fn note(service: &str, text: &str) -> EventNote {
        EventNote {
            about: ObjectRef { kind: Kind::Service, name: name(service) },
            event_type: EventType::Warning,
            reason: "FrontendTaken",
            action: "Program",
            text: text.to_owned(),
            on_every_node: true,
        }
    }

    /// How many of these notes are admitted.
    fn admitted(budget: &mut HourlyBudget, notes: impl IntoIterator<Item = EventNote>, now: Moment) -> usize {
        notes.into_iter().filter(|note| budget.admit(note, now) == Admission::Admitted).count()
    }

    #[test]
    fn the_same_is_noted_once_in_an_hour() {
        let (mut budget, now) = (HourlyBudget::default(), Moment::default());
        assert_eq!(budget.admit(&note("shop/web", "taken"), now), Admission::Admitted);
        let later = now + Duration::from_secs(3_599);
        assert_eq!(budget.admit(&note("shop/web", "taken"), later), Admission::Repeated);
        assert_eq!(budget.admit(&note("shop/web", "taken again"), later), Admission::Admitted);
        assert_eq!(budget.admit(&note("shop/web", "taken"), now + PERIOD), Admission::Admitted);
    }

    #[test]
    fn an_object_and_a_namespace_have_bounds_and_others_do_not_pay_for_them() {
        let (mut budget, now) = (HourlyBudget::default(), Moment::default());
        let texts = (0..100).map(|i| note("shop/web", &i.to_string()));
        assert_eq!(admitted(&mut budget, texts, now), 5);
        let objects = (0..100).map(|i| note(&format!("shop/web-{i}"), "taken"));
        assert_eq!(admitted(&mut budget, objects, now), 25);
        assert_eq!(budget.admit(&note("other/web", "taken"), now), Admission::Admitted);
        let namespaces = (0..2_000).map(|i| note(&format!("shop-{i}/web"), "taken"));
        assert_eq!(admitted(&mut budget, namespaces, now), MAX - 31);
    }
}
