//! `loadBalancerSourceRanges`, frontends that two Services claim, and Services that are not proxied.

use crate::common::netns::Family;
use crate::given::{App, local, remote, web};
use crate::group::Group;
use crate::words::Expected::{Dropped, Refused, Untouched};
use crate::words::Place::{BoundExternal, Cluster, External, Primary, Vip};
use crate::words::Source::{Blocked, Ext, Node, NodeBound, Pod};
use crate::words::{Row, kept, masqueraded, row};

const BOTH: &[u16] = &[11, 12];

/// Ranges of the client, and of neither the other client nor the node.
const CLIENT: &[&str] = &["192.0.2.2/31", "fd00:192::2/127"];

/// Ranges of the client and the node.
const CLIENT_AND_NODE: &[&str] = &["192.0.2.0/25", "fd00:192::/121"];

/// The groups of this file: sections H and J.
pub fn groups() -> Vec<Group> {
    vec![source_ranges(), bound_vip(), bound_vip_of_the_node(), claims()]
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
    Group::new(apps, ROWS_H)
}

fn other_port() -> serde_json::Value {
    serde_json::json!([{"name": "other", "protocol": "TCP", "port": 81}])
}

const ROWS_H: [Row; 29] = [
    row("H1", Ext, Vip(1), 80, masqueraded(BOTH)),
    row("H1b", Blocked, Vip(1), 80, Dropped),
    // Pods and the node are sources as any.
    row("H1c", Pod, Vip(1), 80, Dropped),
    row("H1d", Node, Vip(1), 80, Dropped),
    // Only load-balancer IPs have ranges.
    row("H1e", Blocked, Primary, 3001, masqueraded(BOTH)),
    row("H1f", Blocked, External(1), 80, masqueraded(BOTH)),
    row("H1g", Blocked, Cluster(1), 80, masqueraded(BOTH)),
    row("H2", Ext, Vip(2), 80, kept(&[11])),
    row("H2b", Blocked, Vip(2), 80, Dropped),
    row("H2c", Pod, Vip(2), 80, Dropped),
    row("H2d", Blocked, Primary, 3002, kept(&[11])),
    row("H3", Ext, Vip(3), 80, Refused),
    row("H3b", Blocked, Vip(3), 80, Dropped),
    row("H4", Ext, Vip(4), 80, masqueraded(BOTH)),
    row("H4b", Blocked, Vip(4), 80, Dropped),
    row("H4c", Node, Vip(4), 80, masqueraded(BOTH)),
    // Ranges of one family leave the other open.
    row("H5", Ext, Vip(5), 80, masqueraded(BOTH)),
    row("H5b", Blocked, Vip(5), 80, masqueraded(BOTH)).only(&[Family::V4]),
    row("H5c", Blocked, Vip(5), 80, Dropped).only(&[Family::V6]),
    row("H6", Ext, Vip(6), 80, masqueraded(BOTH)),
    row("H6b", Blocked, Vip(6), 80, masqueraded(BOTH)),
    row("H6c", Pod, Vip(6), 80, masqueraded(BOTH)),
    row("H7", Ext, Vip(7), 80, masqueraded(BOTH)),
    row("H7b", Blocked, Vip(7), 80, Dropped).only(&[Family::V4]),
    row("H7c", Blocked, Vip(7), 80, masqueraded(BOTH)).only(&[Family::V6]),
    row("H8", Pod, Vip(8), 80, kept(BOTH)),
    row("H8b", Ext, Vip(8), 80, Dropped),
    row("H9", Blocked, Vip(1), 81, masqueraded(&[13])),
    row("H9b", Pod, Vip(1), 81, masqueraded(&[13])),
];

/// A load-balancer IP that is an address of the node: what the node sends there comes from that very address, and is admitted
/// if the ranges admit the node.
fn bound_vip_of_the_node() -> Group {
    let app = web("svc1", 41).bound_vip().ranges(CLIENT_AND_NODE).endpoints([local(11), remote(12)]);
    Group::new([app], BOUND_AND_OPEN).named("node in the ranges")
}

const BOUND_AND_OPEN: [Row; 4] = [
    row("H10", NodeBound, BoundExternal, 80, masqueraded(BOTH)),
    row("H10b", Node, BoundExternal, 80, masqueraded(BOTH)),
    row("H10c", Ext, BoundExternal, 80, masqueraded(BOTH)),
    row("H10d", Blocked, BoundExternal, 80, Dropped),
];

fn bound_vip() -> Group {
    let app = web("svc1", 41).bound_vip().ranges(CLIENT).endpoints([local(11), remote(12)]);
    Group::new([app], BOUND).named("node not in the ranges")
}

const BOUND: [Row; 4] = [
    row("H10", NodeBound, BoundExternal, 80, Dropped),
    row("H10b", Node, BoundExternal, 80, Dropped),
    row("H10c", Ext, BoundExternal, 80, masqueraded(BOTH)),
    row("H10d", Blocked, BoundExternal, 80, Dropped),
];

/// Of two Services that claim a frontend the older has it, whichever comes first by name.
fn claims() -> Group {
    const OLD: &str = "2020-01-01T00:00:00Z";
    let apps = [
        web("j1-newer", 51).node_port(3051).vip(1).external_ip(External(1)).endpoints([local(11)]),
        web("j1-older", 52).node_port(3051).vip(1).external_ip(External(1)).endpoints([local(12)]).created(OLD),
        // Of the same age: the first by name.
        web("j2-a", 53).external_ip(External(2)).endpoints([local(13)]),
        web("j2-b", 54).external_ip(External(2)).endpoints([local(14)]),
        // The older one has no endpoints, and has the frontend all the same.
        web("j3-newer", 55).vip(3).endpoints([local(15)]),
        web("j3-older", 56).vip(3).created(OLD),
        web("j4", 57).vip(4).endpoints([local(11)]).with("type", "ExternalName".into()),
        web("j5", 58).vip(5).endpoints([local(11)]).label("service.kubernetes.io/service-proxy-name", "other"),
        web("j6", 59).proxied_vip(6).node_port(3059).endpoints([local(11)]),
    ];
    Group::new(apps, ROWS_J)
}

const ROWS_J: [Row; 13] = [
    row("J1", Ext, Primary, 3051, masqueraded(&[12])),
    row("J1b", Ext, Vip(1), 80, masqueraded(&[12])),
    row("J1c", Ext, External(1), 80, masqueraded(&[12])),
    row("J1d", Ext, Cluster(51), 80, masqueraded(&[11])),
    row("J2", Ext, External(2), 80, masqueraded(&[13])),
    row("J3", Ext, Vip(3), 80, Refused),
    // Not proxied: as if the address were not allocated.
    row("J4", Ext, Cluster(57), 80, Dropped),
    row("J4b", Ext, Vip(4), 80, Untouched),
    row("J5", Ext, Cluster(58), 80, Dropped),
    row("J5b", Ext, Vip(5), 80, Untouched),
    row("J6", Ext, Vip(6), 80, Untouched),
    row("J6b", Ext, Cluster(59), 80, masqueraded(&[11])),
    row("J6c", Ext, Primary, 3059, masqueraded(&[11])),
];
