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

mod key;

pub use key::{Endpoint, Family, Frontend, ParseProtocolError, Protocol};

/// The name of our tables, `ip pointsman` and `ip6 pointsman`.
pub const TABLE: &str = "pointsman";
