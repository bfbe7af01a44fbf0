//! Traffic policies: Local and Cluster, with endpoints here and elsewhere.

use crate::given::{App, local, remote, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Expected::{Dropped, Refused};
use crate::words::Place::{BoundExternal, Cluster, External, Primary, Vip};
use crate::words::Source::{Client, FarPod, Node, OwnPod, Pod};
use crate::words::{Row, SELF, kept, masqueraded, row};

/// Endpoint X is on another node, Y on this one.
const X: u16 = 11;
const Y: u16 = 12;
const XY: &[u16] = &[X, Y];

/// The groups of this file.
pub fn groups() -> Vec<Group> {
    vec![
        Group::new(
            Section::ExternalLocal,
            [frontends().external_local().endpoints([remote(X), local(Y)])],
            EXTERNAL_LOCAL,
        ),
        Group::new(Section::ExternalCluster, [frontends().endpoints([remote(X), local(Y)])], EXTERNAL_CLUSTER),
        without_local_endpoints(),
        hairpin(),
    ]
}

/// A Service with every kind of frontend.
fn frontends() -> App {
    web("svc1", 41).node_port(3002).vip(4).external_ip(BoundExternal).external_ip(External(1))
}

const EXTERNAL_LOCAL: [Row; 15] = [
    row("a pod reaches all endpoints at the ClusterIP", Pod, Cluster(41), 80, kept(XY)),
    row("a pod reaches all endpoints at the node's external IP", Pod, BoundExternal, 80, kept(XY)),
    row("a pod reaches all endpoints at an external IP on no interface", Pod, External(1), 80, kept(XY)),
    row("a client reaches the local endpoint at the node's external IP", Client, BoundExternal, 80, kept(&[Y])),
    row("a client reaches the local endpoint at an external IP on no interface", Client, External(1), 80, kept(&[Y])),
    row("a pod reaches all endpoints at the load-balancer IP", Pod, Vip(4), 80, kept(XY)),
    row("a client reaches the local endpoint at the load-balancer IP", Client, Vip(4), 80, kept(&[Y])),
    row("a pod reaches all endpoints at the NodePort", Pod, Primary, 3002, kept(XY)),
    row("a client reaches the local endpoint at the NodePort", Client, Primary, 3002, kept(&[Y])),
    // The node itself, and pods of other nodes, which the cluster's range does not tell from this node's.
    row("the node reaches all endpoints at its external IP", Node, BoundExternal, 80, masqueraded(XY)),
    row("the node reaches all endpoints at an external IP on no interface", Node, External(1), 80, masqueraded(XY)),
    row("the node reaches all endpoints at the load-balancer IP", Node, Vip(4), 80, masqueraded(XY)),
    row("the node reaches all endpoints at the NodePort", Node, Primary, 3002, masqueraded(XY)),
    row("a client reaches all endpoints at the ClusterIP", Client, Cluster(41), 80, masqueraded(XY)),
    row("a pod of another node reaches all endpoints at the load-balancer IP", FarPod, Vip(4), 80, kept(XY)),
];

const EXTERNAL_CLUSTER: [Row; 14] = [
    row("a pod reaches all endpoints at the ClusterIP and is not masqueraded", Pod, Cluster(41), 80, kept(XY)),
    row("a pod is masqueraded at the node's external IP", Pod, BoundExternal, 80, masqueraded(XY)),
    row("a pod is masqueraded at an external IP on no interface", Pod, External(1), 80, masqueraded(XY)),
    row("a client is masqueraded at the node's external IP", Client, BoundExternal, 80, masqueraded(XY)),
    row("a client is masqueraded at an external IP on no interface", Client, External(1), 80, masqueraded(XY)),
    row("a pod is masqueraded at the load-balancer IP", Pod, Vip(4), 80, masqueraded(XY)),
    row("a client is masqueraded at the load-balancer IP", Client, Vip(4), 80, masqueraded(XY)),
    row("a pod is masqueraded at the NodePort", Pod, Primary, 3002, masqueraded(XY)),
    row("a client is masqueraded at the NodePort", Client, Primary, 3002, masqueraded(XY)),
    row("the node is masqueraded at its external IP", Node, BoundExternal, 80, masqueraded(XY)),
    row("the node is masqueraded at an external IP on no interface", Node, External(1), 80, masqueraded(XY)),
    row("the node is masqueraded at the load-balancer IP", Node, Vip(4), 80, masqueraded(XY)),
    row("the node is masqueraded at the NodePort", Node, Primary, 3002, masqueraded(XY)),
    row("a client is masqueraded at the ClusterIP", Client, Cluster(41), 80, masqueraded(XY)),
];

/// Services that kube-proxy counts in gauges; here packets show what they do.
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
    Group::new(Section::NoLocalEndpoints, apps, NO_LOCAL_ENDPOINTS)
}

const NO_LOCAL_ENDPOINTS: [Row; 24] = [
    row("internal Local with a local endpoint sends a pod there", Pod, Cluster(61), 80, kept(&[11])),
    row(
        "internal Local with a local endpoint sends a NodePort client to all",
        Client,
        Primary,
        3061,
        masqueraded(&[11, 12, 13]),
    ),
    row("external Local with a local endpoint sends a pod to all", Pod, Cluster(62), 80, kept(&[11, 12, 13])),
    row(
        "external Local with a local endpoint sends a client of the NodePort there",
        Client,
        Primary,
        3062,
        kept(&[11]),
    ),
    row("both Local with a local endpoint send a pod there", Pod, Cluster(63), 80, kept(&[11])),
    row("both Local with a local endpoint send a client of the NodePort there", Client, Primary, 3063, kept(&[11])),
    row("both Local with a local endpoint send the node there", Node, Cluster(63), 80, masqueraded(&[11])),
    row("both Local with a local endpoint send a pod to all at the NodePort", Pod, Primary, 3063, kept(&[11, 12, 13])),
    row("internal Local without local endpoints drops a pod at the ClusterIP", Pod, Cluster(64), 80, Dropped),
    row("internal Local without local endpoints keeps the NodePort open", Client, Primary, 3064, masqueraded(XY)),
    row("internal Local without local endpoints drops the node at the ClusterIP", Node, Cluster(64), 80, Dropped),
    row("internal Local without local endpoints drops a client at the ClusterIP", Client, Cluster(64), 80, Dropped),
    row("external Local without local endpoints sends a pod to all", Pod, Cluster(65), 80, kept(XY)),
    row("external Local without local endpoints drops a client of the NodePort", Client, Primary, 3065, Dropped),
    row("external Local without local endpoints keeps the NodePort open to a pod", Pod, Primary, 3065, kept(XY)),
    row(
        "external Local without local endpoints keeps the NodePort open to the node",
        Node,
        Primary,
        3065,
        masqueraded(XY),
    ),
    row("both Local without local endpoints drop a pod at the ClusterIP", Pod, Cluster(66), 80, Dropped),
    row("both Local without local endpoints drop a client of the NodePort", Client, Primary, 3066, Dropped),
    row("both Local without local endpoints keep the NodePort open to a pod", Pod, Primary, 3066, kept(XY)),
    row("both Local without any endpoints refuse a pod at the ClusterIP", Pod, Cluster(67), 80, Refused),
    row("both Local without any endpoints refuse a client of the NodePort", Client, Primary, 3067, Refused),
    row("external Local without local endpoints drops a client of the external IP", Client, BoundExternal, 80, Dropped),
    row("external Local without local endpoints keeps the external IP open to a pod", Pod, BoundExternal, 80, kept(XY)),
    row(
        "external Local without local endpoints keeps the external IP open to the node",
        Node,
        BoundExternal,
        80,
        masqueraded(XY),
    ),
];

/// A pod that reaches itself, by every kind of frontend: masqueraded whatever the policy, or the reply would not come back.
fn hairpin() -> Group {
    let open = frontends().endpoints([local(SELF)]);
    let confined = web("svc2", 42).node_port(3003).vip(5).external_local().internal_local().endpoints([local(SELF)]);
    Group::new(Section::Hairpin, [open, confined], HAIRPIN)
}

const HAIRPIN: [Row; 9] = [
    row("a pod reaches itself through its NodePort", OwnPod, Primary, 3002, masqueraded(&[SELF])),
    row("a pod reaches itself through its load-balancer IP", OwnPod, Vip(4), 80, masqueraded(&[SELF])),
    row("a pod reaches itself through its external IP", OwnPod, External(1), 80, masqueraded(&[SELF])),
    row("a pod reaches itself through its NodePort under Local", OwnPod, Primary, 3003, masqueraded(&[SELF])),
    row("a pod reaches itself through its load-balancer IP under Local", OwnPod, Vip(5), 80, masqueraded(&[SELF])),
    row("a pod reaches itself through its ClusterIP", OwnPod, Cluster(41), 80, masqueraded(&[SELF])),
    row("a pod reaches itself through its ClusterIP under Local", OwnPod, Cluster(42), 80, masqueraded(&[SELF])),
    row("another pod is not masqueraded under Local", Pod, Cluster(42), 80, kept(&[SELF])),
    row("a client is not masqueraded under Local", Client, Vip(5), 80, kept(&[SELF])),
];
