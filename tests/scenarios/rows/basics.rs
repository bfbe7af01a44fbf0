//! Every kind of Service at once, Services without endpoints, and ClusterIPs.

use crate::given::{app, local, remote, web};
use crate::group::Group;
use crate::words::Place::{BoundExternal, Cluster, External, Primary, Vip};
use crate::words::Source::{Blocked, Ext, Node, OwnPod, Pod};
use crate::words::{Expected, Row, SELF, kept, masqueraded, row};
use Expected::{Dropped, Refused};

/// The groups of this file.
pub fn groups() -> Vec<Group> {
    vec![all_kinds(), no_endpoints(), cluster_ips()]
}

/// Section A: the addresses, ports and policies of six Services side by side.
fn all_kinds() -> Group {
    let apps = [
        web("svc1", 41).endpoints([local(11)]),
        web("svc2", 42).node_port(3002).vip(4).external_ip(External(22)).external_local().endpoints([remote(12)]),
        web("svc3", 43).node_port(3003).endpoints([local(SELF)]),
        web("svc4", 44).external_ip(External(33)).endpoints([remote(14), local(15)]).with("type", "NodePort".into()),
        web("svc5", 45).node_port(3005).vip(5).ranges(&[" 192.0.2.2/31", "fd00:192::2/127"]).endpoints([local(SELF)]),
        web("svc6", 46),
    ];
    Group::new(apps, ROWS_A)
}

const ROWS_A: [Row; 24] = [
    row("A1", Pod, Cluster(41), 80, kept(&[11])),
    row("A1b", Ext, Cluster(41), 80, masqueraded(&[11])),
    row("A2", Pod, Cluster(42), 80, kept(&[12])),
    row("A2b", Pod, Vip(4), 80, kept(&[12])),
    row("A2c", Pod, External(22), 80, kept(&[12])),
    row("A2d", Pod, Primary, 3002, kept(&[12])),
    row("A2e", Ext, Vip(4), 80, Dropped),
    row("A2f", Ext, External(22), 80, Dropped),
    row("A2g", Ext, Primary, 3002, Dropped),
    row("A2h", Node, Vip(4), 80, masqueraded(&[12])),
    row("A2i", Node, External(22), 80, masqueraded(&[12])),
    row("A2j", Node, Primary, 3002, masqueraded(&[12])),
    row("A3", Ext, Primary, 3003, masqueraded(&[SELF])),
    row("A3b", Pod, Primary, 3003, masqueraded(&[SELF])),
    row("A4", Ext, External(33), 80, masqueraded(&[14, 15])),
    row("A4b", Ext, Cluster(44), 80, masqueraded(&[14, 15])),
    row("A5", Ext, Vip(5), 80, masqueraded(&[SELF])),
    row("A5b", Blocked, Vip(5), 80, Dropped),
    row("A5c", Blocked, Primary, 3005, masqueraded(&[SELF])),
    row("A5d", Blocked, Cluster(45), 80, masqueraded(&[SELF])),
    row("A6", Pod, Cluster(46), 80, Refused),
    // Two Services share an endpoint; it is masqueraded when it comes to itself by either.
    row("A7", OwnPod, Cluster(43), 80, masqueraded(&[SELF])),
    row("A7b", OwnPod, Cluster(45), 80, masqueraded(&[SELF])),
    row("A7c", OwnPod, Primary, 3003, masqueraded(&[SELF])),
];

/// Section B. TCP is refused by a reset instead of kube-proxy's ICMP message, which its sender limits; clients see the same.
fn no_endpoints() -> Group {
    let app = app("svc1", 41)
        .port("http", "TCP", 80, 8080)
        .node_port(3001)
        .port("dns", "UDP", 53, 5353)
        .node_port(3053)
        .vip(4)
        .external_ip(BoundExternal)
        .external_ip(External(1));
    Group::new([app], ROWS_B)
}

const ROWS_B: [Row; 16] = [
    row("B1", Pod, Cluster(41), 80, Refused),
    row("B2", Ext, BoundExternal, 80, Refused),
    row("B3", Pod, Primary, 3001, Refused),
    row("B4", Ext, Primary, 3001, Refused),
    row("B5", Pod, Vip(4), 80, Refused),
    row("B6", Ext, Vip(4), 80, Refused),
    // The same from elsewhere, to an external IP that no interface has, and over UDP.
    row("B1b", Ext, Cluster(41), 80, Refused),
    row("B1c", Node, Cluster(41), 80, Refused),
    row("B1d", Pod, Cluster(41), 53, Refused).udp(),
    row("B2b", Ext, External(1), 80, Refused),
    row("B2c", Pod, External(1), 80, Refused),
    row("B2d", Ext, External(1), 53, Refused).udp(),
    row("B4b", Node, Primary, 3001, Refused),
    row("B4c", Ext, Primary, 3053, Refused).udp(),
    row("B6b", Node, Vip(4), 80, Refused),
    row("B6c", Ext, Vip(4), 53, Refused).udp(),
];

/// Section C.
fn cluster_ips() -> Group {
    let many = app("svc2", 42)
        .port("http", "TCP", 80, 8080)
        .port("https", "TCP", 443, 8443)
        .port("dns-udp", "UDP", 53, 53)
        .port("dns-tcp", "TCP", 53, 5353)
        .port("dns-sctp", "SCTP", 53, 53);
    let itself = web("svc1", 41).port("dns", "UDP", 53, 8080).endpoints([local(SELF)]);
    let apps = [itself, many.endpoints([local(11), remote(12)])];
    Group::new(apps, ROWS_C)
}

const ROWS_C: [Row; 17] = [
    row("C1", Pod, Cluster(41), 80, kept(&[SELF])),
    row("C2", OwnPod, Cluster(41), 80, masqueraded(&[SELF])),
    row("C2b", OwnPod, Cluster(41), 53, masqueraded(&[SELF])).udp(),
    row("C3", Pod, Cluster(42), 80, kept(&[11, 12])),
    row("C4", Pod, Cluster(42), 443, kept(&[11, 12]).at(8443)),
    row("C5", Pod, Cluster(42), 53, kept(&[11, 12]).at(5353)),
    row("C6", Pod, Cluster(42), 53, kept(&[11, 12]).at(53)).udp(),
    row("C8", Pod, Cluster(42), 80, Refused).udp(),
    row("C9", Pod, Cluster(41), 443, Refused),
    row("C10", Pod, Cluster(50), 80, Dropped),
    // The same from outside and from the node.
    row("C3b", Ext, Cluster(42), 80, masqueraded(&[11, 12])),
    row("C3c", Node, Cluster(42), 80, masqueraded(&[11, 12])),
    row("C6b", Ext, Cluster(42), 53, masqueraded(&[11, 12]).at(53)).udp(),
    row("C9b", Ext, Cluster(41), 443, Refused),
    row("C9c", Node, Cluster(41), 443, Refused),
    row("C10b", Ext, Cluster(50), 80, Dropped),
    row("C10c", Node, Cluster(50), 53, Dropped).udp(),
];
