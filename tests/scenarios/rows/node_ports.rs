//! Which addresses of the node accept NodePorts.
//!
//! The node itself serves the NodePort's number on every address: where the proxy leaves packets alone,
//! that server answers.

use crate::common::netns::Family;
use crate::given::{local, remote, web};
use crate::group::Group;
use crate::rig::{NODE_PORT, OWN_PORT};
use crate::section::Section;
use crate::words::Expected::Untouched;
use crate::words::Place::{BoundExternal, Cluster, Gateway, Loopback, Primary, Secondary};
use crate::words::Source::{Client, Node, Pod};
use crate::words::{Expected, Row, kept, masqueraded, row};

/// Both endpoints, by way of the node.
const BOTH: Expected = masqueraded(&[11, 12]);

/// The flag.
const ADDRESSES: &str = "--nodeport-addresses";

/// The groups of this file, one for each value of the flag.
pub fn groups() -> Vec<Group> {
    let group = |variant, flags: &[&str], rows: &[Row]| {
        let app = web("svc1", 41).node_port(NODE_PORT).endpoints([remote(11), local(12)]);
        Group::new(Section::NodePortAddresses, [app], rows.iter().copied()).named(variant).flags(flags)
    };
    vec![
        group("primary by default", &[], &PRIMARY),
        group("primary", &[ADDRESSES, "primary"], &PRIMARY),
        group(
            "several networks",
            &[ADDRESSES, "192.0.2.0/24,198.51.100.0/24,fd00:192::/64,fd00:198:51::/64"],
            &SEVERAL,
        ),
        group("single addresses", &[ADDRESSES, "198.51.100.1/32,fd00:198:51::1/128"], &SINGLE),
        group("everything", &[ADDRESSES, "0.0.0.0/0,::/0"], &EVERYTHING),
        group("everything and more", &[ADDRESSES, "192.0.2.0/24,0.0.0.0/0,fd00:192::/64,::/0"], &EVERYTHING_AND_MORE),
        group("IPv4 only", &[ADDRESSES, "192.0.2.0/24"], &ONE_FAMILY),
        group("loopback", &[ADDRESSES, "127.0.0.0/8,::1/128"], &LOOPBACK),
        group("nothing", &[ADDRESSES, "10.255.0.0/24,fd00:ffff::/64"], &NOTHING),
    ]
}

const PRIMARY: [Row; 12] = [
    row("a pod reaches the ClusterIP of a NodePort Service", Pod, Cluster(41), 80, kept(&[11, 12])),
    row("the primary address accepts a client", Client, Primary, NODE_PORT, BOTH),
    row("the primary address accepts a pod", Pod, Primary, NODE_PORT, BOTH),
    row("the primary address accepts the node", Node, Primary, NODE_PORT, BOTH),
    row("the second address is left alone for a client", Client, Secondary, NODE_PORT, Untouched),
    row("the second address is left alone for a pod", Pod, Secondary, NODE_PORT, Untouched),
    row("an external address of the node is left alone for a client", Client, BoundExternal, NODE_PORT, Untouched),
    row("the address towards the pods is left alone for a pod", Pod, Gateway, NODE_PORT, Untouched),
    row("the second address is left alone for the node", Node, Secondary, NODE_PORT, Untouched),
    row("loopback is left alone for the node", Node, Loopback, NODE_PORT, Untouched),
    // A port that is no NodePort stays the node's own.
    row("a port of the node itself is left alone on the primary address", Client, Primary, OWN_PORT, Untouched),
    row("a port of the node itself is left alone on the primary address over UDP", Node, Primary, OWN_PORT, Untouched)
        .udp(),
];

const SEVERAL: [Row; 7] = [
    row("a pod reaches the ClusterIP of a NodePort Service", Pod, Cluster(41), 80, kept(&[11, 12])),
    row("the primary address accepts a client", Client, Primary, NODE_PORT, BOTH),
    row("the primary address accepts the node", Node, Primary, NODE_PORT, BOTH),
    row("the second address in a listed network accepts a client", Client, Secondary, NODE_PORT, BOTH),
    row("the second address in a listed network accepts a pod", Pod, Secondary, NODE_PORT, BOTH),
    row("an external address in a listed network accepts a client", Client, BoundExternal, NODE_PORT, BOTH),
    row("the address towards the pods in no listed network is left alone", Pod, Gateway, NODE_PORT, Untouched),
];

const SINGLE: [Row; 3] = [
    row("the single listed address accepts a client", Client, Secondary, NODE_PORT, BOTH),
    row("an unlisted address is left alone for a client", Client, BoundExternal, NODE_PORT, Untouched),
    row("an unlisted address is left alone for a pod", Pod, Gateway, NODE_PORT, Untouched),
];

const EVERYTHING: [Row; 7] = [
    row("every address is listed and the primary one accepts a client", Client, Primary, NODE_PORT, BOTH),
    row("every address is listed and the second one accepts a client", Client, Secondary, NODE_PORT, BOTH),
    row("every address is listed and an external one accepts a client", Client, BoundExternal, NODE_PORT, BOTH),
    row("every address is listed and the one towards the pods accepts a pod", Pod, Gateway, NODE_PORT, BOTH),
    row("every address is listed and the second one accepts the node", Node, Secondary, NODE_PORT, BOTH),
    row("every address is listed and loopback is left alone", Node, Loopback, NODE_PORT, Untouched),
    row("every address is listed and a port of the node itself is left alone", Client, Primary, OWN_PORT, Untouched),
];

const EVERYTHING_AND_MORE: [Row; 2] = [
    row("a network beside all networks does not restrict the second address", Client, Secondary, NODE_PORT, BOTH),
    row("a network beside all networks does not restrict the pods", Pod, Gateway, NODE_PORT, BOTH),
];

/// A family that the list does not name accepts NodePorts everywhere.
const ONE_FAMILY: [Row; 4] = [
    row("a list of IPv4 networks leaves the primary address open in both families", Client, Primary, NODE_PORT, BOTH),
    row("a list of IPv4 networks closes the second IPv4 address", Client, Secondary, NODE_PORT, Untouched)
        .only(&[Family::V4]),
    row("a list of IPv4 networks leaves the second IPv6 address open", Client, Secondary, NODE_PORT, BOTH)
        .only(&[Family::V6]),
    row("a list of IPv4 networks leaves the IPv6 address towards the pods open", Pod, Gateway, NODE_PORT, BOTH)
        .only(&[Family::V6]),
];

/// NodePorts are never on loopback addresses, whoever asks for that.
const LOOPBACK: [Row; 2] = [
    row("a NodePort on loopback is left alone although loopback is listed", Node, Loopback, NODE_PORT, Untouched),
    row("a list of loopback closes the second address", Client, Secondary, NODE_PORT, Untouched),
];

/// A list that no address of the node is in is not the same as no list.
const NOTHING: [Row; 2] = [
    row("a list that matches no address closes the second address", Client, Secondary, NODE_PORT, Untouched),
    row("a list that matches no address closes the address towards the pods", Pod, Gateway, NODE_PORT, Untouched),
];
