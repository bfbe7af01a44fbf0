//! EndpointSlices that do not have the port that a frontend is for: the commonest reason why ready pods get nothing.

use crate::dataplane::{Frontend, Protocol};
use crate::state::{Cluster, EndpointSlice, FrontendSpec, ObjectName, ServicePort, SlicePort, owner_tag};

/// How many ports of a slice a line names.
const MAX_PORTS: usize = 10;

/// An EndpointSlice without the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceGap {
    /// The slice.
    pub slice: ObjectName,
    /// What it lacks, and what it has instead.
    pub text: String,
    /// How many endpoints it has, which are not used.
    pub endpoints: usize,
}

/// The slices of the frontend's family that do not have the port of the claim.
pub(super) fn slice_gaps(cluster: &Cluster, frontend: Frontend, claim: &FrontendSpec) -> Vec<SliceGap> {
    let Some(service) = cluster.service(&claim.service) else { return Vec::new() };
    let mut ports = service.ports.iter().filter(|port| port.protocol == frontend.protocol);
    let port = ports.find(|port| *owner_tag(&service.name, &port.name) == *claim.owner);
    let Some(port) = port else { return Vec::new() };
    let lacks = |slice: &&EndpointSlice| {
        slice.family == frontend.family()
            && !slice.ports.iter().any(|found| found.name == port.name && found.protocol == port.protocol)
    };
    let slices = cluster.slices_of(&claim.service).iter().map(|slice| &**slice).filter(lacks);
    let gaps = slices.map(|slice| SliceGap {
        slice: slice.name.clone(),
        text: gap_text(slice, port),
        endpoints: slice.endpoints.len(),
    });
    gaps.collect()
}

/// What a slice lacks, and what it has instead.
fn gap_text(slice: &EndpointSlice, port: &ServicePort) -> String {
    let with_protocol = slice.ports.iter().any(|found| found.protocol != port.protocol);
    let word = |name: &str, protocol: Protocol| match (name.is_empty(), with_protocol) {
        (true, true) => format!("one without a name/{protocol}"),
        (true, false) => "one without a name".to_owned(),
        (false, true) => format!("{name}/{protocol}"),
        (false, false) => name.to_owned(),
    };
    let wanted = match (port.name.is_empty(), with_protocol) {
        (true, false) => "port without a name".to_owned(),
        (true, true) => format!("port without a name/{}", port.protocol),
        _ => format!("port named {}", word(&port.name, port.protocol)),
    };
    let shown = slice.ports.iter().take(MAX_PORTS).map(|SlicePort { name, protocol, .. }| word(name, *protocol));
    let shown: Vec<String> = shown.collect();
    let more = slice.ports.len() - shown.len();
    let has = match (shown.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    };
    format!("EndpointSlice {} has no {wanted} (it has {has})", slice.name)
}
