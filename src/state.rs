//! What the events add up to: immutable snapshots of the cluster, and the dataplane that this node should hold.
//!
//! ```text
//! Event ─▶ Cluster (Services, EndpointSlices, ServiceCIDRs, this Node) ─▶ Desired (frontends, shared elements)
//! ```
//!
//! Everything here is a function from values to values: no input or output, no clock, no async. A snapshot is cloned in
//! O(1) and never changes; applying an [`Event`] gives the next one and names the Services that it touched.

mod cluster;
mod compile;
mod desired;
mod event;
mod few;
mod flows;
mod known;
mod local;
mod names;
mod object;
mod select;
mod since;
mod skipped;
mod touched;

pub use cluster::{Cluster, NodePortAddresses, Step, View};
pub use compile::{Exposure, FrontendSpec, Outcome, SharedElement};
pub use desired::{Claims, Desired};
pub use event::{Decoded, Event, Kind};
pub use few::Few;
pub(crate) use known::spread;
pub use local::{HealthCheck, HealthChecks, WithoutLocal};
pub use names::{ObjectName, owner_tag};
pub use object::{EndpointPlace, EndpointSlice, Node, Service, ServiceCidr, ServicePort, SliceEndpoint, SlicePort};
pub(crate) use since::Mark;
pub use skipped::{ObjectRef, Problem, Reason, Skipped};
pub use touched::Touched;
