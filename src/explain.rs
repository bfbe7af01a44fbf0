//! What becomes of a packet on this node, and why: pure, so that it answers the same for a running node, for manifests and for tests.
//!
//! The verdict and the path come from running the packet through the typed rules and the elements ([`Ruleset`]), never from a second copy
//! of the rules. The reasons come from the snapshot.

mod explanation;
mod fix;
mod json;
mod question;
mod ruleset;
mod sight;
mod slices;
mod text;
mod verdict;

pub use explanation::{EndpointShare, Explanation, Masquerade, WithheldReason, explain};
pub use json::json;
pub use question::{Destination, Sender};
pub use ruleset::Ruleset;
pub use sight::Sight;
pub use slices::SliceGap;
pub use text::text;
pub use verdict::{Verdict, VerdictReason};

#[cfg(test)]
mod tests;
