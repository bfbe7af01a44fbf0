//! What was measured on kube-proxy itself.

use crate::given::{host_network, local, remote, web};
use crate::group::Group;
use crate::rig::NODE_PORT;
use crate::section::Section;
use crate::words::Expected::{Dropped, Refused, Untouched};
use crate::words::Place::{Cluster, Gateway, Loopback, Primary, Secondary, Vip};
use crate::words::Source::{Blocked, Client, Node, Pod};
use crate::words::{ON_NODE, Row, kept, masqueraded, row};

/// The groups of this file.
pub fn groups() -> Vec<Group> {
    vec![as_kube_proxy(), refused_at_once()]
}

fn as_kube_proxy() -> Group {
    let ranges = &["192.0.2.2/31", "fd00:192::2/127"];
    let apps = [
        web("open", 1).node_port(NODE_PORT).endpoints([local(11)]),
        web("local", 2).node_port(3002).external_local().endpoints([local(11)]),
        web("away", 3).node_port(3003).external_local().endpoints([remote(12)]),
        web("empty", 4).node_port(3004).port("dns", "UDP", 53, 53),
        web("ranges", 5).node_port(3005).vip(5).external_local().ranges(ranges).endpoints([local(11)]),
        web("on-node", 6).node_port(3006).vip(6).endpoints([host_network()]),
    ];
    Group::new(Section::AsKubeProxy, apps, ROWS)
}

const ROWS: [Row; 25] = [
    row("a client of a NodePort is masqueraded", Client, Primary, NODE_PORT, masqueraded(&[11])),
    row("a client of a NodePort under external Local is not masqueraded", Client, Primary, 3002, kept(&[11])),
    // Where no server listens, the node's own network refuses.
    row("the second address refuses where nothing listens", Client, Secondary, 3002, Refused),
    row("the second address leaves the node's own server alone", Client, Secondary, NODE_PORT, Untouched),
    row("external Local without local endpoints drops a client of the NodePort", Client, Primary, 3003, Dropped),
    row("a NodePort without endpoints refuses a client", Client, Primary, 3004, Refused),
    row("the node is masqueraded at a NodePort", Node, Primary, NODE_PORT, masqueraded(&[11])),
    row("the node is masqueraded at a NodePort under external Local", Node, Primary, 3002, masqueraded(&[11])),
    row("loopback refuses where nothing listens", Node, Loopback, 3002, Refused),
    row("loopback leaves the node's own server alone", Node, Loopback, NODE_PORT, Untouched),
    row("a NodePort without endpoints refuses the node", Node, Primary, 3004, Refused),
    row("the address towards the pods refuses where nothing listens", Node, Gateway, 3002, Refused),
    row("the address towards the pods leaves the node's own server alone", Node, Gateway, NODE_PORT, Untouched),
    row("the node is masqueraded at a ClusterIP", Node, Cluster(1), 80, masqueraded(&[11])),
    row("a client is masqueraded at a ClusterIP", Client, Cluster(1), 80, masqueraded(&[11])),
    row("a client inside the source ranges reaches the local endpoint", Client, Vip(5), 80, kept(&[11])),
    row("a client outside the source ranges is dropped", Blocked, Vip(5), 80, Dropped),
    row("a pod outside the source ranges is dropped", Pod, Vip(5), 80, Dropped),
    row("an unused port of a ClusterIP refuses", Client, Cluster(1), 81, Refused),
    row("a ClusterIP without endpoints refuses", Client, Cluster(4), 80, Refused),
    row("a ClusterIP without endpoints refuses over UDP", Client, Cluster(4), 53, Refused).udp(),
    row("an unused ClusterIP drops a client", Client, Cluster(200), 80, Dropped),
    row("an unused ClusterIP drops the node", Node, Cluster(200), 80, Dropped),
    // An endpoint in the node's own network: delivered on the node, so nothing is masqueraded.
    row("an endpoint in the node's network sees the client at the ClusterIP", Client, Cluster(6), 80, kept(&[ON_NODE])),
    row("an endpoint in the node's network sees the client at the NodePort", Client, Primary, 3006, kept(&[ON_NODE])),
];

/// Ten clients one after the other are refused at once each, although the kernel limits ICMP errors: TCP is refused by resets.
fn refused_at_once() -> Group {
    let app = web("empty", 4).node_port(3004).vip(4);
    Group::new(Section::RefusedAtOnce, [app], REFUSED).named("ICMP limited").icmp_limited()
}

const REFUSED: [Row; 6] = [
    row("a ClusterIP without endpoints refuses each of many clients", Client, Cluster(4), 80, Refused),
    row("an unused port of a ClusterIP refuses each of many clients", Client, Cluster(4), 81, Refused),
    row("a NodePort without endpoints refuses each of many clients", Client, Primary, 3004, Refused),
    row("a load-balancer IP without endpoints refuses each of many clients", Client, Vip(4), 80, Refused),
    row("a ClusterIP without endpoints refuses each of many pods", Pod, Cluster(4), 80, Refused),
    row("a ClusterIP without endpoints refuses the node each time", Node, Cluster(4), 80, Refused),
];
