//! Which addresses of the node accept NodePorts.
//!
//! The node itself serves the NodePort's number on every address: where the proxy leaves packets alone,
//! that server answers.

use crate::common::netns::Family;
use crate::given::{local, remote, web};
use crate::group::Group;
use crate::rig::{NODE_PORT, OWN_PORT};
use crate::words::Expected::Untouched;
use crate::words::Place::{BoundExternal, Cluster, Gateway, Loopback, Primary, Secondary};
use crate::words::Source::{Ext, Node, Pod};
use crate::words::{Expected, Row, kept, masqueraded, row};

/// Both endpoints, by way of the node.
const BOTH: Expected = masqueraded(&[11, 12]);

/// The flag.
const ADDRESSES: &str = "--nodeport-addresses";

/// The groups of this file: section E, and the rows of section Z about this flag.
pub fn groups() -> Vec<Group> {
    let group = |name, flags: &[&str], rows: &[Row]| {
        let app = web("svc1", 41).node_port(NODE_PORT).endpoints([remote(11), local(12)]);
        Group::new([app], rows.iter().copied()).named(name).flags(flags)
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
    row("E1", Pod, Cluster(41), 80, kept(&[11, 12])),
    row("E2", Ext, Primary, NODE_PORT, BOTH),
    row("E2b", Pod, Primary, NODE_PORT, BOTH),
    row("E3", Node, Primary, NODE_PORT, BOTH),
    row("E4", Ext, Secondary, NODE_PORT, Untouched),
    row("E4b", Pod, Secondary, NODE_PORT, Untouched),
    row("E4c", Ext, BoundExternal, NODE_PORT, Untouched),
    row("E4d", Pod, Gateway, NODE_PORT, Untouched),
    row("E4e", Node, Secondary, NODE_PORT, Untouched),
    row("E4f", Node, Loopback, NODE_PORT, Untouched),
    // What is nobody's NodePort stays the node's own.
    row("E4g", Ext, Primary, OWN_PORT, Untouched),
    row("E4h", Node, Primary, OWN_PORT, Untouched).udp(),
];

const SEVERAL: [Row; 7] = [
    row("E1", Pod, Cluster(41), 80, kept(&[11, 12])),
    row("E2", Ext, Primary, NODE_PORT, BOTH),
    row("E3", Node, Primary, NODE_PORT, BOTH),
    row("E4", Ext, Secondary, NODE_PORT, BOTH),
    row("E4b", Pod, Secondary, NODE_PORT, BOTH),
    row("E4c", Ext, BoundExternal, NODE_PORT, BOTH),
    row("E4d", Pod, Gateway, NODE_PORT, Untouched),
];

const SINGLE: [Row; 3] = [
    row("Z6", Ext, Secondary, NODE_PORT, BOTH),
    row("Z6b", Ext, BoundExternal, NODE_PORT, Untouched),
    row("Z6c", Pod, Gateway, NODE_PORT, Untouched),
];

const EVERYTHING: [Row; 7] = [
    row("Z2", Ext, Primary, NODE_PORT, BOTH),
    row("Z2b", Ext, Secondary, NODE_PORT, BOTH),
    row("Z2c", Ext, BoundExternal, NODE_PORT, BOTH),
    row("Z2d", Pod, Gateway, NODE_PORT, BOTH),
    row("Z2e", Node, Secondary, NODE_PORT, BOTH),
    row("Z2f", Node, Loopback, NODE_PORT, Untouched),
    row("Z2g", Ext, Primary, OWN_PORT, Untouched),
];

const EVERYTHING_AND_MORE: [Row; 2] =
    [row("Z9", Ext, Secondary, NODE_PORT, BOTH), row("Z9b", Pod, Gateway, NODE_PORT, BOTH)];

/// A family that the list does not name accepts NodePorts everywhere.
const ONE_FAMILY: [Row; 4] = [
    row("Z1", Ext, Primary, NODE_PORT, BOTH),
    row("Z1b", Ext, Secondary, NODE_PORT, Untouched).only(&[Family::V4]),
    row("Z1c", Ext, Secondary, NODE_PORT, BOTH).only(&[Family::V6]),
    row("Z1d", Pod, Gateway, NODE_PORT, BOTH).only(&[Family::V6]),
];

/// NodePorts are never on loopback addresses, whoever asks for that.
const LOOPBACK: [Row; 2] =
    [row("Z5", Node, Loopback, NODE_PORT, Untouched), row("Z5b", Ext, Secondary, NODE_PORT, Untouched)];

/// A list that no address of the node is in is not the same as no list.
const NOTHING: [Row; 2] =
    [row("Z7", Ext, Secondary, NODE_PORT, Untouched), row("Z7b", Pod, Gateway, NODE_PORT, Untouched)];
