//! The rows that are about packets.

mod basics;
mod detectors;
mod masquerade;
mod measured;
mod node_ports;
mod policies;
mod source_ranges;
mod terminating;
mod topology;

use super::group::Group;

/// Every group of rows, in the order in which they run.
pub fn all() -> Vec<Group> {
    let mut groups = Vec::new();
    groups.extend(basics::groups());
    groups.extend(node_ports::groups());
    groups.extend(policies::groups());
    groups.extend(source_ranges::groups());
    groups.extend(terminating::groups());
    groups.extend(masquerade::groups());
    groups.extend(topology::groups());
    groups.extend(detectors::groups());
    groups.extend(measured::groups());
    groups
}
