//! The dataplane as a typed model: the contents of a table, and the operations that change it.
//!
//! ```text
//! Program (chains, rules, sets; constant)   ┐
//!                                           ├─▶ Operation ─▶ nft JSON, nft text, the in-memory kernel
//! Element (frontends, slots; the cluster)   ┘
//! ```
//!
//! Rules never mention a Service. They look up sets and maps, whose elements are the cluster. All that is sent, shown or simulated
//! derives from these types, so nothing is described twice. Each family has one table, with the same object names in both.

mod chain;
mod counted;
mod element;
mod element_counts;
mod key;
mod operation;
mod outline;
mod packet;
mod program;
mod rule;
mod set;
mod tables;

pub use chain::{BaseChain, Chain, ChainName, ChainType, Hook};
pub use counted::Counted;
pub use element::{Element, EndpointId, Key, KeyField, KeyFields, Value};
pub use element_counts::{ElementChanges, ElementCounts};
#[cfg(test)]
pub(crate) use key::comparisons;
pub use key::{Endpoint, Family, Frontend, ParseProtocolError, Protocol};
pub use operation::{Object, Operation, Verb};
pub use outline::{ForeignCommit, Outline, TableOutline, Writer};
pub use packet::{Packet, PacketOutcome, PacketStep, PacketTable, packet_outcomes, packet_ways, untouched};
pub use program::{LocalPods, Options, Program, ProgramFeatures};
pub use rule::{Action, Condition, Expr, Rule};
pub use set::{AffinityStep, EndpointList, Field, SetDefinition, SetName, SizeClass};
pub use tables::{ChainContents, SetContents, TableContents, Tables};

/// The name of Pointsman's tables, `ip pointsman` and `ip6 pointsman`.
pub const TABLE: &str = "pointsman";
