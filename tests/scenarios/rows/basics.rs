//! Every kind of Service at once, Services without endpoints, and ClusterIPs.

use crate::given::{app, local, remote, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Place::{BoundExternal, Cluster, External, Primary, Vip};
use crate::words::Source::{Blocked, Client, Node, OwnPod, Pod};
use crate::words::{Expected, Row, SELF, kept, masqueraded, row};
use Expected::{Dropped, Refused};

/// The groups of this file.
pub fn groups() -> Vec<Group> {
    vec![all_kinds(), no_endpoints(), cluster_ips()]
}

/// The addresses, ports and policies of six Services side by side.
fn all_kinds() -> Group {
    let apps = [
        web("svc1", 41).endpoints([local(11)]),
        web("svc2", 42).node_port(3002).vip(4).external_ip(External(22)).external_local().endpoints([remote(12)]),
        web("svc3", 43).node_port(3003).endpoints([local(SELF)]),
        web("svc4", 44).external_ip(External(33)).endpoints([remote(14), local(15)]).with("type", "NodePort".into()),
        web("svc5", 45).node_port(3005).vip(5).ranges(&[" 192.0.2.2/31", "fd00:192::2/127"]).endpoints([local(SELF)]),
        web("svc6", 46),
    ];
    Group::new(Section::AllKinds, apps, ALL_KINDS)
}

const ALL_KINDS: [Row; 24] = [
    row("a pod reaches a ClusterIP and is not masqueraded", Pod, Cluster(41), 80, kept(&[11])),
    row("a client reaches a ClusterIP and is masqueraded", Client, Cluster(41), 80, masqueraded(&[11])),
    row("a pod reaches the ClusterIP of a Service with external policy Local", Pod, Cluster(42), 80, kept(&[12])),
    row("a pod reaches the load-balancer IP although no endpoint is local", Pod, Vip(4), 80, kept(&[12])),
    row("a pod reaches the external IP although no endpoint is local", Pod, External(22), 80, kept(&[12])),
    row("a pod reaches the NodePort although no endpoint is local", Pod, Primary, 3002, kept(&[12])),
    row("policy Local without local endpoints drops a client of the load-balancer IP", Client, Vip(4), 80, Dropped),
    row("policy Local without local endpoints drops a client of the external IP", Client, External(22), 80, Dropped),
    row("policy Local without local endpoints drops a client of the NodePort", Client, Primary, 3002, Dropped),
    row("the node reaches the load-balancer IP although no endpoint is local", Node, Vip(4), 80, masqueraded(&[12])),
    row("the node reaches the external IP although no endpoint is local", Node, External(22), 80, masqueraded(&[12])),
    row("the node reaches the NodePort although no endpoint is local", Node, Primary, 3002, masqueraded(&[12])),
    row("a client reaches a NodePort and is masqueraded", Client, Primary, 3003, masqueraded(&[SELF])),
    row("a pod reaches a NodePort and is masqueraded", Pod, Primary, 3003, masqueraded(&[SELF])),
    row("a client reaches an external IP and is masqueraded", Client, External(33), 80, masqueraded(&[14, 15])),
    row(
        "a client reaches the ClusterIP of a Service with an external IP",
        Client,
        Cluster(44),
        80,
        masqueraded(&[14, 15]),
    ),
    row("a client inside the source ranges reaches the load-balancer IP", Client, Vip(5), 80, masqueraded(&[SELF])),
    row("a client outside the source ranges is dropped at the load-balancer IP", Blocked, Vip(5), 80, Dropped),
    row("a client outside the source ranges reaches the NodePort", Blocked, Primary, 3005, masqueraded(&[SELF])),
    row("a client outside the source ranges reaches the ClusterIP", Blocked, Cluster(45), 80, masqueraded(&[SELF])),
    row("the ClusterIP of a Service without endpoints refuses", Pod, Cluster(46), 80, Refused),
    // Two Services share an endpoint; it is masqueraded when it comes to itself by either.
    row("an endpoint of two Services reaches itself through the first", OwnPod, Cluster(43), 80, masqueraded(&[SELF])),
    row("an endpoint of two Services reaches itself through the second", OwnPod, Cluster(45), 80, masqueraded(&[SELF])),
    row("an endpoint of two Services reaches itself through a NodePort", OwnPod, Primary, 3003, masqueraded(&[SELF])),
];

/// TCP is refused by a reset instead of kube-proxy's ICMP message, which its sender limits; clients see the same.
fn no_endpoints() -> Group {
    let app = app("svc1", 41)
        .port("http", "TCP", 80, 8080)
        .node_port(3001)
        .port("dns", "UDP", 53, 5353)
        .node_port(3053)
        .vip(4)
        .external_ip(BoundExternal)
        .external_ip(External(1));
    Group::new(Section::NoEndpoints, [app], NO_ENDPOINTS)
}

const NO_ENDPOINTS: [Row; 16] = [
    row("a ClusterIP refuses a pod", Pod, Cluster(41), 80, Refused),
    row("an external IP that is an address of the node refuses a client", Client, BoundExternal, 80, Refused),
    row("a NodePort refuses a pod", Pod, Primary, 3001, Refused),
    row("a NodePort refuses a client", Client, Primary, 3001, Refused),
    row("a load-balancer IP refuses a pod", Pod, Vip(4), 80, Refused),
    row("a load-balancer IP refuses a client", Client, Vip(4), 80, Refused),
    // The same from elsewhere, to an external IP that no interface has, and over UDP.
    row("a ClusterIP refuses a client", Client, Cluster(41), 80, Refused),
    row("a ClusterIP refuses the node", Node, Cluster(41), 80, Refused),
    row("a ClusterIP refuses a pod over UDP", Pod, Cluster(41), 53, Refused).udp(),
    row("an external IP on no interface refuses a client", Client, External(1), 80, Refused),
    row("an external IP on no interface refuses a pod", Pod, External(1), 80, Refused),
    row("an external IP on no interface refuses a client over UDP", Client, External(1), 53, Refused).udp(),
    row("a NodePort refuses the node", Node, Primary, 3001, Refused),
    row("a NodePort refuses a client over UDP", Client, Primary, 3053, Refused).udp(),
    row("a load-balancer IP refuses the node", Node, Vip(4), 80, Refused),
    row("a load-balancer IP refuses a client over UDP", Client, Vip(4), 53, Refused).udp(),
];

fn cluster_ips() -> Group {
    let many = app("svc2", 42)
        .port("http", "TCP", 80, 8080)
        .port("https", "TCP", 443, 8443)
        .port("dns-udp", "UDP", 53, 53)
        .port("dns-tcp", "TCP", 53, 5353)
        .port("dns-sctp", "SCTP", 53, 53);
    let itself = web("svc1", 41).port("dns", "UDP", 53, 8080).endpoints([local(SELF)]);
    let apps = [itself, many.endpoints([local(11), remote(12)])];
    Group::new(Section::ClusterIps, apps, CLUSTER_IPS)
}

const CLUSTER_IPS: [Row; 17] = [
    row("a pod reaches another pod and is not masqueraded", Pod, Cluster(41), 80, kept(&[SELF])),
    row("a pod that reaches itself is masqueraded", OwnPod, Cluster(41), 80, masqueraded(&[SELF])),
    row("a pod that reaches itself over UDP is masqueraded", OwnPod, Cluster(41), 53, masqueraded(&[SELF])).udp(),
    row("a pod reaches all endpoints of a port", Pod, Cluster(42), 80, kept(&[11, 12])),
    row("a second port leads to a target port of its own", Pod, Cluster(42), 443, kept(&[11, 12]).at(8443)),
    row("a port of TCP and UDP leads to the TCP target port over TCP", Pod, Cluster(42), 53, kept(&[11, 12]).at(5353)),
    row("a port of TCP and UDP leads to the UDP target port over UDP", Pod, Cluster(42), 53, kept(&[11, 12]).at(53))
        .udp(),
    row("a port that exists over TCP only refuses UDP", Pod, Cluster(42), 80, Refused).udp(),
    row("a port that no Service has refuses a pod", Pod, Cluster(41), 443, Refused),
    row("an address that no Service has drops a pod", Pod, Cluster(50), 80, Dropped),
    // The same from outside and from the node.
    row("a client reaches all endpoints and is masqueraded", Client, Cluster(42), 80, masqueraded(&[11, 12])),
    row("the node reaches all endpoints and is masqueraded", Node, Cluster(42), 80, masqueraded(&[11, 12])),
    row("a client over UDP is masqueraded", Client, Cluster(42), 53, masqueraded(&[11, 12]).at(53)).udp(),
    row("a port that no Service has refuses a client", Client, Cluster(41), 443, Refused),
    row("a port that no Service has refuses the node", Node, Cluster(41), 443, Refused),
    row("an address that no Service has drops a client", Client, Cluster(50), 80, Dropped),
    row("an address that no Service has drops the node over UDP", Node, Cluster(50), 53, Dropped).udp(),
];
