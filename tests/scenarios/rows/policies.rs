//! Traffic policies: Local and Cluster, with endpoints here and elsewhere.

use crate::given::{App, local, remote, web};
use crate::group::Group;
use crate::words::Expected::{Dropped, Refused};
use crate::words::Place::{BoundExternal, Cluster, External, Primary, Vip};
use crate::words::Source::{Ext, FarPod, Node, OwnPod, Pod};
use crate::words::{Row, SELF, kept, masqueraded, row};

/// Endpoint X is on another node, Y on this one.
const X: u16 = 11;
const Y: u16 = 12;
const XY: &[u16] = &[X, Y];

/// The groups of this file.
pub fn groups() -> Vec<Group> {
    vec![
        Group::new([frontends().external_local().endpoints([remote(X), local(Y)])], ROWS_F),
        Group::new([frontends().endpoints([remote(X), local(Y)])], ROWS_G),
        without_local_endpoints(),
        by_itself(),
    ]
}

/// A Service with every kind of frontend.
fn frontends() -> App {
    web("svc1", 41).node_port(3002).vip(4).external_ip(BoundExternal).external_ip(External(1))
}

const ROWS_F: [Row; 15] = [
    row("F1", Pod, Cluster(41), 80, kept(XY)),
    row("F2", Pod, BoundExternal, 80, kept(XY)),
    row("F2b", Pod, External(1), 80, kept(XY)),
    row("F3", Ext, BoundExternal, 80, kept(&[Y])),
    row("F3b", Ext, External(1), 80, kept(&[Y])),
    row("F4", Pod, Vip(4), 80, kept(XY)),
    row("F5", Ext, Vip(4), 80, kept(&[Y])),
    row("F6", Pod, Primary, 3002, kept(XY)),
    row("F7", Ext, Primary, 3002, kept(&[Y])),
    // The node itself, and pods of other nodes, which the cluster's range does not tell from this node's.
    row("F8", Node, BoundExternal, 80, masqueraded(XY)),
    row("F8b", Node, External(1), 80, masqueraded(XY)),
    row("F8c", Node, Vip(4), 80, masqueraded(XY)),
    row("F8d", Node, Primary, 3002, masqueraded(XY)),
    row("F8e", Ext, Cluster(41), 80, masqueraded(XY)),
    row("F9", FarPod, Vip(4), 80, kept(XY)),
];

const ROWS_G: [Row; 14] = [
    row("G1", Pod, Cluster(41), 80, kept(XY)),
    row("G2", Pod, BoundExternal, 80, masqueraded(XY)),
    row("G2b", Pod, External(1), 80, masqueraded(XY)),
    row("G3", Ext, BoundExternal, 80, masqueraded(XY)),
    row("G3b", Ext, External(1), 80, masqueraded(XY)),
    row("G4", Pod, Vip(4), 80, masqueraded(XY)),
    row("G5", Ext, Vip(4), 80, masqueraded(XY)),
    row("G6", Pod, Primary, 3002, masqueraded(XY)),
    row("G7", Ext, Primary, 3002, masqueraded(XY)),
    row("G8", Node, BoundExternal, 80, masqueraded(XY)),
    row("G8b", Node, External(1), 80, masqueraded(XY)),
    row("G8c", Node, Vip(4), 80, masqueraded(XY)),
    row("G8d", Node, Primary, 3002, masqueraded(XY)),
    row("G8e", Ext, Cluster(41), 80, masqueraded(XY)),
];

/// Section N as packets: kube-proxy counts these Services in gauges, here it is seen what they do.
fn without_local_endpoints() -> Group {
    let here =
        |name, number: u16| web(name, number).node_port(3000 + number).endpoints([local(11), remote(12), remote(13)]);
    let away = |name, number: u16| web(name, number).node_port(3000 + number).endpoints([remote(11), remote(12)]);
    let apps = [
        here("n1", 61).internal_local(),
        here("n2", 62).external_local(),
        here("n3", 63).internal_local().external_local(),
        away("n4", 64).internal_local(),
        away("n5", 65).external_local(),
        away("n6", 66).internal_local().external_local(),
        web("n7", 67).node_port(3067).internal_local().external_local(),
        away("n8", 68).external_local().external_ip(BoundExternal),
    ];
    Group::new(apps, ROWS_N)
}

const ROWS_N: [Row; 24] = [
    row("N1", Pod, Cluster(61), 80, kept(&[11])),
    row("N1b", Ext, Primary, 3061, masqueraded(&[11, 12, 13])),
    row("N2", Pod, Cluster(62), 80, kept(&[11, 12, 13])),
    row("N2b", Ext, Primary, 3062, kept(&[11])),
    row("N3", Pod, Cluster(63), 80, kept(&[11])),
    row("N3b", Ext, Primary, 3063, kept(&[11])),
    row("N3c", Node, Cluster(63), 80, masqueraded(&[11])),
    row("N3d", Pod, Primary, 3063, kept(&[11, 12, 13])),
    row("N4", Pod, Cluster(64), 80, Dropped),
    row("N4b", Ext, Primary, 3064, masqueraded(XY)),
    row("N4c", Node, Cluster(64), 80, Dropped),
    row("N4d", Ext, Cluster(64), 80, Dropped),
    row("N5", Pod, Cluster(65), 80, kept(XY)),
    row("N5b", Ext, Primary, 3065, Dropped),
    row("N5c", Pod, Primary, 3065, kept(XY)),
    row("N5d", Node, Primary, 3065, masqueraded(XY)),
    row("N6", Pod, Cluster(66), 80, Dropped),
    row("N6b", Ext, Primary, 3066, Dropped),
    row("N6c", Pod, Primary, 3066, kept(XY)),
    row("N7", Pod, Cluster(67), 80, Refused),
    row("N7b", Ext, Primary, 3067, Refused),
    row("N8", Ext, BoundExternal, 80, Dropped),
    row("N8b", Pod, BoundExternal, 80, kept(XY)),
    row("N8c", Node, BoundExternal, 80, masqueraded(XY)),
];

/// A pod that comes to itself, by every kind of frontend: masqueraded whatever the policy, or the reply would not come back.
fn by_itself() -> Group {
    let open = frontends().endpoints([local(SELF)]);
    let confined = web("svc2", 42).node_port(3003).vip(5).external_local().internal_local().endpoints([local(SELF)]);
    Group::new([open, confined], ROWS_ITSELF)
}

const ROWS_ITSELF: [Row; 9] = [
    row("ZZ6", OwnPod, Primary, 3002, masqueraded(&[SELF])),
    row("ZZ6b", OwnPod, Vip(4), 80, masqueraded(&[SELF])),
    row("ZZ6c", OwnPod, External(1), 80, masqueraded(&[SELF])),
    row("ZZ7", OwnPod, Primary, 3003, masqueraded(&[SELF])),
    row("ZZ7b", OwnPod, Vip(5), 80, masqueraded(&[SELF])),
    row("ZZ8", OwnPod, Cluster(41), 80, masqueraded(&[SELF])),
    row("ZZ8b", OwnPod, Cluster(42), 80, masqueraded(&[SELF])),
    row("ZZ8c", Pod, Cluster(42), 80, kept(&[SELF])),
    row("ZZ8d", Ext, Vip(5), 80, kept(&[SELF])),
];
