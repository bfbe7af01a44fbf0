//! What the events add up to: the cluster, and the dataplane that this node should hold for it.
//!
//! ```text
//! Event ─▶ Cluster (Services, EndpointSlices, ServiceCIDRs, this Node) ─▶ Desired (frontends, shared demands)
//!          └──────────────────────────── Snapshot ────────────────────────────┘
//! ```
//!
//! Everything here is a function from values to values: no input or output, no clock, no async. The rules of Kubernetes are here. How the
//! dataplane says it in sets and elements is left to [`diff`](crate::diff).

mod change_set;
mod claims;
mod cluster;
mod compile;
mod desired;
mod event;
mod few;
mod flows;
mod guards;
mod input_hash;
mod local;
mod names;
mod object;
mod select;
mod service_state;
mod skipped;
mod slice_ports;
mod snapshot;
mod view;

pub use change_set::ChangeSet;
pub use claims::{ClaimRule, Claims};
pub use cluster::{Applied, Cluster};
#[cfg(test)]
pub(crate) use compile::compilations;
pub use compile::{Exposure, FrontendSpec, Outcome, SharedDemand, TrafficPolicy};
pub use desired::{ChangedFrontend, ChangedKeys, ChangedNodePorts, Compiled, Desired, Weight};
pub use event::{Decoded, Event, Kind, Received, UnreadableObject};
pub use few::Few;
pub use flows::KeptFlows;
pub use guards::Guards;
pub use input_hash::InputHash;
pub use local::{HealthCheck, HealthChecks, WithoutLocal};
pub use names::{ObjectName, owner_tag};
pub use object::{
    EndpointPlace, EndpointSlice, Identity, Node, Service, ServiceCidr, ServicePort, SliceEndpoint, SlicePort, Uid,
};
pub use select::{EndpointReason, JudgedEndpoint};
pub(crate) use service_state::bulk_load_order;
pub use skipped::{ObjectRef, Problem, Reason, Skipped};
#[cfg(test)]
pub(crate) use slice_ports::visits::count as ports_looked_at;
pub use snapshot::{Folded, Snapshot};
pub use view::{NodePortAddresses, View};
