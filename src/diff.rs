//! From what the kernel acknowledged to what it should hold, in as few operations as possible.
//!
//! Let `S` be an [`Acknowledged`] state, `D` a [`Desired`](crate::state::Desired) one and `P = diff(S, D)`.
//!
//! 1. **Correct**: a kernel that holds `S` and commits `P.operations` holds `P.next`, and `P.next` satisfies `D`: every
//!    frontend is in exactly the gates that its winning claim asks for; each of its lists has its endpoints in slots `0..n`
//!    without gaps or repetitions, and the frontend is in the list's set of the smallest class that holds `n`, and in no
//!    other; shared elements are there if and only if somebody asks for them; the program is
//!    [`Program::new`](crate::dataplane::Program::new) of the options and the parts in use.
//! 2. **Idempotent**: `diff(P.next, D)` has no operations.
//! 3. **Minimal**: no element is deleted and added back unchanged, and of all states that satisfy `D`, `P.next` is one that
//!    needs the fewest element operations: an endpoint that stays keeps its slot unless the slot is beyond the new end.
//! 4. **Independent of history**: where to look is what changed since the snapshot that `S` was made for, if that is known. The
//!    answer is not: for `S` without it, as read from a kernel, the operations are the same.
//! 5. **Deterministic**: the same `S` and `D` give the same operations in the same order: the program, then all deletions,
//!    then all additions, each by family, set and key.
//!
//! Where that is known the cost is O(changes · log n), otherwise O(n). Not promised: that slots are in any particular order,
//! or that a class which nobody uses any more is removed.
//!
//! A large plan can be committed in several batches: [`Plan::divide`]. Beside the operations a plan names the endpoints that
//! clients with session affinity left: what packets remember is not an element that anybody asks for, and is forgotten by
//! other means.

mod acknowledged;
mod batches;
mod clients;
mod frontend;
mod parts;
mod plan;
mod slots;
mod table;

pub use acknowledged::{Acknowledged, Installed};
pub use clients::is_stale;
pub use plan::{FrontendChange, Plan, Scope, SharedChange, TableChange, diff};
pub use slots::Slots;
