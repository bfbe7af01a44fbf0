//! The rows that are about packets.

mod as_kube_proxy;
mod basics;
mod claims;
mod detectors;
mod guards;
mod masquerade;
mod node_ports;
mod policies;
mod service_cidrs;
mod source_ranges;
mod steps;
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
    groups.extend(claims::groups());
    groups.extend(guards::groups());
    groups.extend(terminating::groups());
    groups.extend(masquerade::groups());
    groups.extend(topology::groups());
    groups.extend(detectors::groups());
    groups.extend(as_kube_proxy::groups());
    groups.extend(steps::groups());
    groups.extend(service_cidrs::groups());
    groups
}
