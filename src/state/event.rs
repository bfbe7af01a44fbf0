//! The one input of the pipeline: what every source (API server, manifests, journal) yields.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::ObjectName;
use super::object::{EndpointSlice, Node, Service, ServiceCidr, Uid};
use super::skipped::Problem;
use crate::pacing::Moment;

/// A change of the cluster.
///
/// The `…Reset` events carry a complete list of one kind, as an initial list or a relist gives it: objects that are not in the
/// list are gone. A source sends one only when the list is complete. Journals hold events as JSON, so names and shapes here are
/// a file format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// All Services.
    ServicesReset(Vec<Decoded<Service>>),
    /// A Service was added or changed.
    ServiceApplied(Decoded<Service>),
    /// A Service was deleted, or is no longer ours to proxy.
    ServiceDeleted(ObjectName),
    /// All EndpointSlices.
    SlicesReset(Vec<Decoded<EndpointSlice>>),
    /// An EndpointSlice was added or changed.
    SliceApplied(Decoded<EndpointSlice>),
    /// An EndpointSlice was deleted, or no longer belongs to a Service.
    SliceDeleted(ObjectName),
    /// All ServiceCIDRs.
    ServiceCidrsReset(Vec<Decoded<ServiceCidr>>),
    /// A ServiceCIDR was added or changed.
    ServiceCidrApplied(Decoded<ServiceCidr>),
    /// A ServiceCIDR was deleted.
    ServiceCidrDeleted(ObjectName),
    /// This node's Node object: at most one.
    NodesReset(Vec<Decoded<Node>>),
    /// This node's Node object was added or changed.
    NodeApplied(Decoded<Node>),
    /// This node's Node object was deleted.
    NodeDeleted(ObjectName),
    /// All addresses of this host's interfaces.
    HostAddresses(Vec<IpAddr>),
}

/// An event, and when it reached this process.
#[derive(Clone, Debug)]
pub struct Received {
    /// The event.
    pub event: Event,
    /// When it was received.
    pub at: Moment,
    /// When the change was made that an EndpointSlice tells of, by the clock of the component that made it.
    pub triggered: Option<Timestamp>,
}

/// An object, or the news that it could not be read. What was known of an unreadable object before stays in force, unless that was
/// another object of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoded<T> {
    /// The object, validated.
    Object(Arc<T>),
    /// The object exists but could not be decoded. Rare, and so in a box.
    Unreadable(Box<UnreadableObject>),
}

/// An object that could not be read: its name, why, and its identity as far as that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableObject(pub ObjectName, pub Problem, pub Option<Uid>);

/// The form in journals: older ones have no UID.
#[derive(Deserialize)]
#[serde(untagged)]
enum UnreadableForm {
    WithUid(ObjectName, Problem, Uid),
    WithoutUid(ObjectName, Problem),
}

impl Serialize for UnreadableObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(name, problem, uid) = self;
        match uid {
            Some(uid) => (name, problem, uid).serialize(serializer),
            None => (name, problem).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for UnreadableObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match UnreadableForm::deserialize(deserializer)? {
            UnreadableForm::WithUid(name, problem, uid) => Self(name, problem, Some(uid)),
            UnreadableForm::WithoutUid(name, problem) => Self(name, problem, None),
        })
    }
}

/// The kinds of objects that are watched; the label `kind` of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// core/v1 Service
    Service,
    /// discovery.k8s.io/v1 EndpointSlice
    EndpointSlice,
    /// networking.k8s.io/v1 ServiceCIDR
    #[serde(rename = "ServiceCIDR")]
    ServiceCidr,
    /// core/v1 Node
    Node,
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Service, Self::EndpointSlice, Self::ServiceCidr, Self::Node];

    /// The kind's name in the Kubernetes API.
    pub fn label(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::ServiceCidr => "ServiceCIDR",
            Self::Node => "Node",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Event {
    /// The kind of object that the event is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::ServicesReset(_) | Self::ServiceApplied(_) | Self::ServiceDeleted(_) => Kind::Service,
            Self::SlicesReset(_) | Self::SliceApplied(_) | Self::SliceDeleted(_) => Kind::EndpointSlice,
            Self::ServiceCidrsReset(_) | Self::ServiceCidrApplied(_) | Self::ServiceCidrDeleted(_) => Kind::ServiceCidr,
            Self::NodesReset(_) | Self::NodeApplied(_) | Self::NodeDeleted(_) | Self::HostAddresses(_) => Kind::Node,
        }
    }

    /// What happened, as the label `change` of metrics: `reset`, `applied`, `deleted` or `addresses`.
    pub fn change(&self) -> &'static str {
        match self {
            Self::ServicesReset(_) | Self::SlicesReset(_) | Self::ServiceCidrsReset(_) | Self::NodesReset(_) => "reset",
            Self::ServiceApplied(_) | Self::SliceApplied(_) | Self::ServiceCidrApplied(_) | Self::NodeApplied(_) => {
                "applied"
            }
            Self::HostAddresses(_) => "addresses",
            Self::ServiceDeleted(_) | Self::SliceDeleted(_) | Self::ServiceCidrDeleted(_) | Self::NodeDeleted(_) => {
                "deleted"
            }
        }
    }
}

impl<T> Decoded<T> {
    /// The news that an object could not be read.
    pub fn unreadable(name: ObjectName, problem: Problem) -> Self {
        Self::Unreadable(Box::new(UnreadableObject(name, problem, None)))
    }

    /// The same, of the object with this UID.
    pub fn with_uid(mut self, uid: Option<Uid>) -> Self {
        if let Self::Unreadable(unreadable) = &mut self {
            unreadable.2 = uid;
        }
        self
    }

    /// The object, if it could be read.
    pub fn object(&self) -> Option<&Arc<T>> {
        match self {
            Self::Object(object) => Some(object),
            Self::Unreadable(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{empty_lists, name, service};

    #[test]
    fn the_label_of_an_event_says_what_happened() {
        assert!(empty_lists().iter().all(|event| event.change() == "reset"));
        assert_eq!(Event::from(service("shop/web")).change(), "applied");
        assert_eq!(Event::ServiceDeleted(name("shop/web")).change(), "deleted");
        assert_eq!(Event::HostAddresses(Vec::new()).change(), "addresses");
    }
}
