//! From the loose wire types to validated domain objects (semantics of kube-proxy 1.36).
//!
//! One bad field, port, address or endpoint costs only itself: it is left out and named in the object's `problems`.

mod address;
mod intern;
mod port;
mod service;
mod slice;
mod small;

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::wire::{Items, Loose, Metadata};
use crate::state::{Decoded, Event, Few, Kind, ObjectName, Problem, Reason};

pub use intern::Interner;

/// What an object of the cluster is to a Service proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It counts.
    Ours(T),
    /// It exists, but a Service proxy must act as if it did not.
    NotOurs(ObjectName),
    /// It cannot be used at all.
    Unreadable(ObjectName, Problem),
}

/// A kind of object that sources yield: its wire form, how that is decoded, and the events that carry it.
pub trait Watched: Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The fields that are read.
    type Wire: DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static;
    /// The kind.
    const KIND: Kind;

    /// The object's metadata.
    fn metadata(wire: &Self::Wire) -> &Loose<Metadata>;
    /// Validates an object. Strings that occur often are shared through `names`.
    fn decode(wire: Self::Wire, names: &mut Interner) -> Outcome<Self>;
    /// The object's name.
    fn name(&self) -> &ObjectName;
    /// What was left out of the object, to add to; `None` for kinds that keep no problems.
    fn problems(&mut self) -> Option<&mut Few<Problem>>;
    /// The event that carries a complete list.
    fn reset(all: Vec<Decoded<Self>>) -> Event;
    /// The event of an object that was added or changed.
    fn applied(object: Decoded<Self>) -> Event;
    /// The event of an object that is gone.
    fn deleted(name: ObjectName) -> Event;
}

impl<T: Watched> Outcome<T> {
    /// The object as events carry it; `Err` with its name if it is not ours.
    pub fn into_decoded(self) -> Result<Decoded<T>, ObjectName> {
        match self {
            Self::Ours(object) => Ok(Decoded::Object(Arc::new(object))),
            Self::Unreadable(name, problem) => Ok(Decoded::unreadable(name, problem)),
            Self::NotOurs(name) => Err(name),
        }
    }

    /// The event of an object that was added or changed.
    pub fn into_event(self) -> Event {
        match self.into_decoded() {
            Ok(object) => T::applied(object),
            Err(name) => T::deleted(name),
        }
    }
}

/// The name of a namespaced object. A namespace left out means `default`, as it does to kubectl.
fn namespaced(metadata: &Metadata, names: &mut Interner) -> Result<ObjectName, (ObjectName, Problem)> {
    let namespace = names.share(metadata.namespace.non_empty().unwrap_or("default"));
    named(ObjectName::new(namespace, metadata.name.text().unwrap_or_default()))
}

/// The name of a cluster-scoped object.
fn cluster_scoped(metadata: &Metadata) -> Result<ObjectName, (ObjectName, Problem)> {
    named(ObjectName::cluster_scoped(metadata.name.text().unwrap_or_default()))
}

fn named(name: ObjectName) -> Result<ObjectName, (ObjectName, Problem)> {
    if name.name().is_empty() {
        let problem = Problem::new("metadata.name", Reason::Undecodable, "no name");
        return Err((name, problem));
    }
    Ok(name)
}

/// Notes that something other than a list was found.
fn note_list<T>(items: &Items<T>, field: &str, reason: Reason, problems: &mut Vec<Problem>) {
    if let Some(found) = items.wrong() {
        problems.push(Problem::new(field, reason, found));
    }
}

#[cfg(test)]
mod tests;
