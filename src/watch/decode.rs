//! From the loose wire types to validated domain objects (semantics of kube-proxy 1.36).
//!
//! A bad field, port, address or endpoint costs only itself: it is left out and named in the object's `problems`.

mod address;
mod endpoint_slice;
mod intern;
mod node;
mod port;
mod service;
mod service_cidr;

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::wire::{LooseList, LooseObject, MetadataFields, ProtobufFields};
use crate::state::{Decoded, Event, Few, Kind, ObjectName, Problem, Reason};

pub use intern::Interner;

/// The name of an object that exists, but that a Service proxy must treat as if it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotProxied(pub ObjectName);

/// A kind of object that sources yield: its wire form, how that is decoded, and the events that carry it.
pub trait WatchedKind: Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The fields that are read.
    type Wire: DeserializeOwned + ProtobufFields + Clone + std::fmt::Debug + Send + Sync + 'static;
    /// The kind.
    const KIND: Kind;
    /// The event that carries a complete list.
    const RESET: fn(Vec<Decoded<Self>>) -> Event;
    /// The event of an object that was added or changed.
    const APPLIED: fn(Decoded<Self>) -> Event;
    /// The event of an object that is gone.
    const DELETED: fn(ObjectName) -> Event;

    /// The object's metadata.
    fn metadata(wire: &Self::Wire) -> &LooseObject<MetadataFields>;
    /// Validates an object. Strings that occur often are shared through `names`.
    ///
    /// # Errors
    /// The object's name, if a Service proxy must not serve it.
    fn decode(wire: Self::Wire, names: &mut Interner) -> Result<Decoded<Self>, NotProxied>;
    /// The object's name.
    fn name(&self) -> &ObjectName;
    /// What was left out of the object, to add to.
    fn problems(&mut self) -> &mut Few<Problem>;

    /// The event of an object that was added or changed, as [`decode`](Self::decode) gave it.
    fn event(decoded: Result<Decoded<Self>, NotProxied>) -> Event {
        match decoded {
            Ok(object) => (Self::APPLIED)(object),
            Err(NotProxied(name)) => (Self::DELETED)(name),
        }
    }
}

/// A validated object.
fn object<T>(object: T) -> Decoded<T> {
    Decoded::Object(Arc::new(object))
}

/// The name of a namespaced object. A namespace left out means `default`, as it does to kubectl.
fn namespaced<T>(metadata: &MetadataFields, names: &mut Interner) -> Result<ObjectName, Decoded<T>> {
    let namespace = names.share(metadata.namespace.non_empty().unwrap_or("default"));
    named(ObjectName::new(namespace, metadata.name.text().unwrap_or_default()))
}

/// The name of a cluster-scoped object.
fn cluster_scoped<T>(metadata: &MetadataFields) -> Result<ObjectName, Decoded<T>> {
    named(ObjectName::cluster_scoped(metadata.name.text().unwrap_or_default()))
}

fn named<T>(name: ObjectName) -> Result<ObjectName, Decoded<T>> {
    if name.name().is_empty() {
        let problem = Problem::new("metadata.name", Reason::Undecodable, "no name");
        return Err(Decoded::unreadable(name, problem));
    }
    Ok(name)
}

/// Notes that something other than a list was found.
fn note_list<T>(items: &LooseList<T>, field: &str, reason: Reason, problems: &mut Vec<Problem>) {
    if let Some(found) = items.wrong() {
        problems.push(Problem::new(field, reason, found));
    }
}

#[cfg(test)]
mod tests;
