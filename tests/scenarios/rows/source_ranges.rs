//! `loadBalancerSourceRanges`.

use crate::common::netns::Family;
use crate::given::{App, local, remote, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Expected::{Dropped, Refused};
use crate::words::Place::{BoundExternal, Cluster, External, Primary, Vip};
use crate::words::Source::{Blocked, Client, Node, NodeBound, Pod};
use crate::words::{Row, kept, masqueraded, row};

const BOTH: &[u16] = &[11, 12];

/// Ranges of the client, and of neither the other client nor the node.
const CLIENT: &[&str] = &["192.0.2.2/31", "fd00:192::2/127"];

/// Ranges of the client and the node.
const CLIENT_AND_NODE: &[&str] = &["192.0.2.0/25", "fd00:192::/121"];

/// The groups of this file.
pub fn groups() -> Vec<Group> {
    vec![source_ranges(), bound_vip(), bound_vip_of_the_node()]
}

fn source_ranges() -> Group {
    let app = |number: u16, ranges: &[&str]| -> App {
        let app = web(&format!("h{number}"), number).node_port(3000 + number).vip(number).ranges(ranges);
        app.endpoints([local(11), remote(12)])
    };
    let apps = [
        app(1, CLIENT).external_ip(External(1)),
        app(2, CLIENT).external_local(),
        web("h3", 3).vip(3).ranges(CLIENT),
        app(4, CLIENT_AND_NODE),
        app(5, &["fd00:192::2/127"]),
        app(6, &["192.0.2.2/31", "0.0.0.0/0", "fd00:192::2/127", "::/0"]),
        app(
            7,
            &[
                "192.0.2.2/31",
                " 192.0.2.2/31 ",
                "192.0.2.0/30",
                "banana",
                "fd00:192::3/127",
                "fd00:192::/120",
                "fd00:192::2/127",
            ],
        ),
        app(8, &["10.128.0.0/16", "fd00:10:128::/64"]).external_local(),
        // Another Service on the same address: its own port, its own ranges.
        web("h9", 9).port("other", "TCP", 81, 8080).vip(1).endpoints([local(13)]).with("ports", other_port()),
    ];
    Group::new(Section::SourceRanges, apps, ROWS)
}

fn other_port() -> serde_json::Value {
    serde_json::json!([{"name": "other", "protocol": "TCP", "port": 81}])
}

const ROWS: [Row; 29] = [
    row("a client inside the ranges reaches the load-balancer IP", Client, Vip(1), 80, masqueraded(BOTH)),
    row("a client outside the ranges is dropped", Blocked, Vip(1), 80, Dropped),
    // Pods and the node are sources as any.
    row("a pod outside the ranges is dropped", Pod, Vip(1), 80, Dropped),
    row("the node outside the ranges is dropped", Node, Vip(1), 80, Dropped),
    // Only load-balancer IPs have ranges.
    row("ranges do not restrict the NodePort", Blocked, Primary, 3001, masqueraded(BOTH)),
    row("ranges do not restrict the external IP", Blocked, External(1), 80, masqueraded(BOTH)),
    row("ranges do not restrict the ClusterIP", Blocked, Cluster(1), 80, masqueraded(BOTH)),
    row("under Local a client inside the ranges reaches the local endpoint", Client, Vip(2), 80, kept(&[11])),
    row("under Local a client outside the ranges is dropped", Blocked, Vip(2), 80, Dropped),
    row("under Local a pod outside the ranges is dropped", Pod, Vip(2), 80, Dropped),
    row("under Local ranges do not restrict the NodePort", Blocked, Primary, 3002, kept(&[11])),
    row("without endpoints a client inside the ranges is refused", Client, Vip(3), 80, Refused),
    row("without endpoints a client outside the ranges is dropped", Blocked, Vip(3), 80, Dropped),
    row("ranges with the client and the node admit the client", Client, Vip(4), 80, masqueraded(BOTH)),
    row("ranges with the client and the node drop the other client", Blocked, Vip(4), 80, Dropped),
    row("ranges with the client and the node admit the node", Node, Vip(4), 80, masqueraded(BOTH)),
    // Ranges of one family leave the other open.
    row("a range of IPv6 admits the client in both families", Client, Vip(5), 80, masqueraded(BOTH)),
    row("a range of IPv6 leaves IPv4 open", Blocked, Vip(5), 80, masqueraded(BOTH)).only(&[Family::V4]),
    row("a range of IPv6 drops others over IPv6", Blocked, Vip(5), 80, Dropped).only(&[Family::V6]),
    row("a range beside the whole family admits the client", Client, Vip(6), 80, masqueraded(BOTH)),
    row("a range of the whole family admits any client", Blocked, Vip(6), 80, masqueraded(BOTH)),
    row("a range of the whole family admits pods", Pod, Vip(6), 80, masqueraded(BOTH)),
    row("ranges that overlap and repeat admit the client", Client, Vip(7), 80, masqueraded(BOTH)),
    row("IPv4 ranges that overlap and repeat drop the other client", Blocked, Vip(7), 80, Dropped).only(&[Family::V4]),
    row("the widest of IPv6 ranges that overlap admits the other client", Blocked, Vip(7), 80, masqueraded(BOTH))
        .only(&[Family::V6]),
    row("ranges of the pods admit a pod under external Local", Pod, Vip(8), 80, kept(BOTH)),
    row("ranges of the pods drop a client", Client, Vip(8), 80, Dropped),
    row("another Service on the same address admits a client", Blocked, Vip(1), 81, masqueraded(&[13])),
    row("another Service on the same address admits a pod", Pod, Vip(1), 81, masqueraded(&[13])),
];

/// A load-balancer IP that is an address of the node: what the node sends there comes from that very address, and is admitted
/// if the ranges admit the node.
fn bound_vip_of_the_node() -> Group {
    let app = web("svc1", 41).bound_vip().ranges(CLIENT_AND_NODE).endpoints([local(11), remote(12)]);
    Group::new(Section::SourceRanges, [app], BOUND_AND_OPEN).named("node in the ranges")
}

const BOUND_AND_OPEN: [Row; 4] = [
    row("ranges with the node admit the node from that address", NodeBound, BoundExternal, 80, masqueraded(BOTH)),
    row("ranges with the node admit the node from its primary address", Node, BoundExternal, 80, masqueraded(BOTH)),
    row("ranges with the node admit the client at that address", Client, BoundExternal, 80, masqueraded(BOTH)),
    row("ranges with the node drop the other client at that address", Blocked, BoundExternal, 80, Dropped),
];

fn bound_vip() -> Group {
    let app = web("svc1", 41).bound_vip().ranges(CLIENT).endpoints([local(11), remote(12)]);
    Group::new(Section::SourceRanges, [app], BOUND).named("node not in the ranges")
}

const BOUND: [Row; 4] = [
    row("ranges without the node drop the node from that address", NodeBound, BoundExternal, 80, Dropped),
    row("ranges without the node drop the node from its primary address", Node, BoundExternal, 80, Dropped),
    row("ranges without the node admit the client at that address", Client, BoundExternal, 80, masqueraded(BOTH)),
    row("ranges without the node drop the other client at that address", Blocked, BoundExternal, 80, Dropped),
];
