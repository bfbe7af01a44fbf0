//! Unit rows: the objects that are given, and what is expected of the state that they lead to.

use std::collections::BTreeSet;

use pointsman::dataplane::{Endpoint, Frontend};
use pointsman::state::{ChangeSet, Claims, Cluster, Desired, Outcome, Snapshot, View};
use pointsman::watch::Manifests;

use crate::common::netns::NODE_NAME;

/// A row: objects, perhaps others before them, and what must come of them.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it shows.
    pub name: &'static str,
    /// The objects before; none for rows that are not about a change.
    before: Option<Vec<String>>,
    /// The objects.
    given: Vec<String>,
    /// What must come of them.
    expected: Vec<Expected>,
}

/// An expectation.
#[derive(Clone, Debug)]
enum Expected {
    /// These frontends, whatever happens at them.
    Frontends(Vec<String>),
    /// These frontends and what happens at them.
    Lines(Vec<String>),
    /// The change concerns these Services.
    Touched(Vec<String>),
    /// The dataplane is the same as before the change.
    NothingSent,
    /// Only these addresses of the node accept NodePorts.
    NodePortAddresses(Vec<String>),
    /// Nothing is left of the objects before.
    Empty,
}

/// A row about these objects.
pub fn given(name: &'static str, objects: impl IntoIterator<Item = String>) -> Unit {
    Unit { name, before: None, given: objects.into_iter().collect(), expected: Vec::new() }
}

/// A row about objects that are listed twice.
pub fn again(name: &'static str, objects: Vec<String>) -> Unit {
    Unit { before: Some(objects.clone()), ..given(name, objects) }
}

/// A row about a change from some objects to others.
pub fn change<const B: usize, const A: usize>(name: &'static str, before: [String; B], after: [String; A]) -> Unit {
    Unit { before: Some(before.into()), ..given(name, after) }
}

impl Unit {
    /// These frontends exist and no others, as in `10.96.0.1:80/tcp`.
    pub fn frontends(self, frontends: &[&str]) -> Self {
        self.expect(Expected::Frontends(texts(frontends)))
    }

    /// These frontends exist and no others, and this happens at them, as in `10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080`.
    pub fn lines(self, lines: &[&str]) -> Self {
        self.expect(Expected::Lines(texts(lines)))
    }

    /// The change concerns these Services, by `namespace/name`.
    pub fn touches(self, services: &[&str]) -> Self {
        self.expect(Expected::Touched(texts(services)))
    }

    /// The change asks nothing of the kernel.
    pub fn sends_nothing(self) -> Self {
        self.expect(Expected::NothingSent)
    }

    /// These addresses of the node accept NodePorts.
    pub fn node_port_addresses(self, addresses: &[&str]) -> Self {
        self.expect(Expected::NodePortAddresses(texts(addresses)))
    }

    /// Nothing is left.
    pub fn leaves_nothing(self) -> Self {
        self.expect(Expected::Empty)
    }

    fn expect(mut self, expected: Expected) -> Self {
        self.expected.push(expected);
        self
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// With what was expected and what came, if not.
    pub fn check(&self) -> Result<(), String> {
        let view = View { node_name: NODE_NAME.into(), ..View::default() };
        let empty = Snapshot::seen_from(view);
        let (snapshot_before, _) = list(&empty, self.before.as_deref().unwrap_or_default());
        let (snapshot, changes) = list(&snapshot_before, &self.given);
        let (before, after) = (snapshot_before.cluster(), snapshot.cluster());
        let (desired_before, desired) = (snapshot_before.desired(), snapshot.desired());
        if *desired != Desired::from_cluster(after) {
            return Err("the updated state differs from one that is compiled from scratch".to_owned());
        }
        for expected in &self.expected {
            let (wanted, seen) = match expected {
                Expected::Frontends(wanted) => (sorted(wanted), sorted(&frontends(desired))),
                Expected::Lines(wanted) => (sorted(wanted), sorted(&lines(desired))),
                Expected::Touched(wanted) => {
                    (sorted(wanted), changes.services().iter().map(ToString::to_string).collect())
                }
                Expected::NothingSent => (lines(desired_before), lines(desired)),
                Expected::NodePortAddresses(wanted) => (
                    sorted(wanted),
                    sorted(&after.node_port_addresses().iter().map(ToString::to_string).collect::<Vec<_>>()),
                ),
                Expected::Empty => (Vec::new(), remains(before, after, desired)),
            };
            if wanted != seen {
                return Err(format!(
                    "\n    given:    {}\n    expected: {wanted:#?}\n    seen:     {seen:#?}",
                    self.given.join("\n              ")
                ));
            }
        }
        Ok(())
    }
}

/// The snapshot after complete lists of these objects, and what that changed.
fn list(before: &Snapshot, objects: &[String]) -> (Snapshot, ChangeSet) {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a scratch file");
    std::fs::write(file.path(), objects.join("\n---\n")).expect("the scratch file can be written");
    let (_, events) = Manifests::load(&[file.path().to_owned()], NODE_NAME).expect("the scratch file can be read");
    let mut next = before.clone();
    let mut changes = ChangeSet::default();
    for event in events {
        changes.merge(next.cluster().clone().apply(event.clone()).changes);
        next.fold(event);
    }
    next.compile();
    assert!(next.cluster().is_complete(), "every kind was listed");
    (next, changes)
}

fn frontends(desired: &Desired) -> Vec<String> {
    desired.frontends.keys().map(ToString::to_string).collect()
}

/// Frontends and what happens at them.
fn lines(desired: &Desired) -> Vec<String> {
    let endpoints = |list: &[Endpoint]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let line = |(frontend, claims): (&Frontend, &Claims)| {
        let outcome = match &claims.winner().outcome {
            Outcome::Balance(any) => endpoints(any),
            Outcome::BalanceLocal { any, local } => format!("{}, from outside: {}", endpoints(any), endpoints(local)),
            Outcome::Reject => "refused".to_owned(),
            Outcome::Drop => "dropped".to_owned(),
        };
        format!("{frontend} {outcome}")
    };
    desired.frontends.iter().map(line).collect()
}

/// What is left of Services, of slices and in the dataplane.
fn remains(before: &Cluster, after: &Cluster, desired: &Desired) -> Vec<String> {
    let mut left = lines(desired);
    left.extend(desired.shared.keys().map(|shared| format!("{shared:?}")));
    let services: BTreeSet<_> = before.service_names().collect();
    left.extend(
        services.iter().filter(|name| !after.slices_of(name).is_empty()).map(|name| format!("slices of {name}")),
    );
    if after.service_count() > 0 {
        left.push(format!("{} Services", after.service_count()));
    }
    left
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn sorted(list: &[String]) -> Vec<String> {
    let mut list = list.to_vec();
    list.sort();
    list
}
