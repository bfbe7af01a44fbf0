//! The sets in which packets count connections.
//!
//! A rule adds the frontend of a packet, with a counter; for a frontend that is there already it counts one more. So nothing has to be written
//! for a frontend, and what is counted stays where it is when the frontend's endpoints, class or policy change: no count is lost, and no
//! connection is in two of them.

use super::set::SetName;

/// What became of a connection that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// It was sent to an endpoint.
    New,
    /// It was refused, because there is no endpoint.
    Refused,
    /// It was dropped, because no endpoint may be used from here, or its source is not allowed.
    Dropped,
}

impl Counted {
    /// All, in the order of tables.
    pub const ALL: [Self; 3] = [Self::New, Self::Refused, Self::Dropped];

    /// The most frontends that the kernel counts in one set: its own limit for sets that packets fill.
    pub const MAX_FRONTENDS: usize = 65_535;

    /// The sets of all counts: of addresses, then of NodePorts.
    pub fn sets() -> impl Iterator<Item = SetName> {
        [false, true].into_iter().flat_map(|node_port| Self::ALL.map(|counted| SetName::Counts(counted, node_port)))
    }

    /// The word for it in names of sets and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }
}
