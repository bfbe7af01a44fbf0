//! The dataplane as a typed model: what a table holds, and how to say that it changes.
//!
//! ```text
//! Program (chains, rules, sets; constant)   ┐
//!                                           ├─▶ Operation ─▶ nft JSON, nft text, the in-memory kernel
//! Element (frontends, slots; the cluster)   ┘
//! ```
//!
//! Rules never mention a Service: they interpret sets and maps, and the cluster is their elements. Everything that is sent,
//! shown or simulated derives from the types here, so nothing is described twice. One table per family, with the same object
//! names in both.

mod chain;
mod element;
mod key;
mod operation;
mod program;
mod rule;
mod set;
mod tables;

pub use chain::{BaseChain, Chain, ChainName, ChainType, Hook};
pub use element::{Element, Key, KeyField, KeyFields};
#[cfg(test)]
pub(crate) use key::comparisons;
pub use key::{Endpoint, Family, Frontend, ParseProtocolError, Protocol};
pub use operation::{Object, Operation, Verb};
pub use program::{LocalPods, Options, Program, ProgramFeatures};
pub use rule::{Action, Condition, Expr, Rule};
pub use set::{Affinity, EndpointList, Field, SetDefinition, SetName, SizeClass};
pub use tables::{ChainContents, SetContents, TableContents, Tables};

/// The name of our tables, `ip pointsman` and `ip6 pointsman`.
pub const TABLE: &str = "pointsman";
