//! From what the kernel acknowledged to what it should hold, in as few operations as possible.
//!
//! Let `S` be an [`Acknowledged`] state, `D` a [`Desired`](crate::state::Desired) one and `P = diff(S, D)`.
//!
//! 1. **Correct**: a kernel that holds `S` and commits `P.operations` holds `P.next`, and `P.next` satisfies `D`: every
//!    frontend is in exactly the gates that its winning claim asks for; each of its lists has its endpoints in slots `0..n`
//!    without gaps or repetitions, and the frontend is in the list's set of the smallest class that holds `n`, and in no
//!    other; shared elements are there if and only if they are asked for; the program is
//!    [`Program::new`](crate::dataplane::Program::new) of the options and the parts in use.
//! 2. **Idempotent**: `diff(P.next, D)` has no operations.
//! 3. **Minimal**: no element is deleted and added back unchanged, and of all states that satisfy `D`, `P.next` is one that
//!    needs the fewest element operations: an endpoint that stays keeps its slot unless the slot is beyond the new end.
//! 4. **Independent of what is known**: which keys may differ is a hint that only saves work. For any superset of the keys that differ, as
//!    for all keys, the operations are the same.
//! 5. **Deterministic**: the same `S` and `D` give the same operations in the same order: the program, then all deletions,
//!    then all additions, each by family, set and key.
//!
//! The cost is O(keys · log n). Not promised: that slots are in any particular order, or that a class which no frontend uses any more is
//! removed.
//!
//! # Two phases
//!
//! A batch is atomic for the ruleset and not for a packet: the kernel reads a set as it is at each look-up. The plans of the engine keep this
//! law, for every packet and every assignment of batches to its look-ups that never goes back:
//!
//! 6. **Old or new**: a packet that is served before and after a batch is served, by an endpoint that it has before or after it. What forbids
//!    or refuses holds from the batch on.
//!
//! Call a set that leads somewhere a *gate* (a class, `external`, `reject-services`, …), and what is found behind it *content* (slots,
//! allowed sources, `hairpin`). `P` is divided: a batch adds and replaces everything, and deletes what no packet can need. What is
//! left is deleted in later batches, when no packet is among the rules that began before (`lookups` and `leftovers`).
//! What is left over is part of `P.next`; after the last batch laws 1 to 3 hold for all of them together. [`diff`] plans everything at once.
//!
//! A plan for some of the keys that differ is a smaller plan of the same kind: so the [engine](crate::engine) commits a large change in
//! slices.
//!
//! A frontend with session affinity also has chains and a map of its own, which come and go with it. What packets record in that map is
//! not an element that a Service asks for, and is left to packets and to the kernel. A frontend with source ranges has a chain and a set.

mod acknowledged;
mod affinity;
mod deviations;
mod features;
mod frontend;
mod gates;
mod leftovers;
mod lookups;
mod plan;
mod shared;
mod slots;
mod sources;
mod table;
mod transition;
mod written;

pub use acknowledged::{Acknowledged, Installed};
pub use affinity::{ClientMap, EndpointsById, InstalledAffinity, OwnChain};
pub use deviations::{Deviation, Differing};
pub(crate) use gates::program_sets;
pub use leftovers::Left;
pub(crate) use leftovers::{Deletion, Round};
pub use plan::{FrontendChange, Keys, Plan, Scope, SharedChange, TableChange, diff};
pub(crate) use plan::{Upcoming, is_wanted};
pub use shared::SharedElement;
pub use slots::Slots;
pub use sources::{OwnPart, SourceCheck};
pub use written::{Expected, Written};
