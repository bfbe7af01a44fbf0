//! Hints for zones and nodes, together with policies and conditions.
//!
//! Each row of the table is a Service: number 5 has ClusterIP number 5 and, where it has one, the NodePort 3005. ClusterIPs
//! show the endpoints for everyone, or those of this node under `internalTrafficPolicy: Local`; NodePorts the same for
//! `externalTrafficPolicy`.

use crate::given::{App, Endpoint, local, remote, web};
use crate::group::Group;
use crate::words::Expected::{Dropped, Refused};
use crate::words::Place::{Cluster, Primary};
use crate::words::Source::{Ext, Node, Pod};
use crate::words::{Row, kept, masqueraded, row};

/// The groups of this file: section U.
pub fn groups() -> Vec<Group> {
    let four = |a: &[&str], b: &[&str], c: &[&str], d: &[&str]| {
        vec![local(11).zones(a), remote(12).zones(b), remote(13).zones(c), remote(14).zones(d)]
    };
    let all_in_a = || four(&["a"], &["a"], &["a"], &["a"]);
    let several = four(&["a", "b"], &["b", "c"], &["c", "d"], &["a"]);
    vec![
        zone_a(),
        Group::new([app(4, all_in_a())], [row("U4", Pod, Cluster(4), 80, kept(ALL))]).named("no zone"),
        Group::new([app(5, all_in_a())], [row("U5", Pod, Cluster(5), 80, kept(ALL))]).named("empty zone").zone(""),
        Group::new([app(6, all_in_a())], [row("U6", Pod, Cluster(6), 80, kept(ALL))]).named("zone b").zone("b"),
        Group::new([app(10, several)], [row("U10", Pod, Cluster(10), 80, kept(&[12, 13]))]).named("zone c").zone("c"),
    ]
}

const ALL: &[u16] = &[11, 12, 13, 14];

/// A Service without external frontends.
fn app(number: u16, endpoints: Vec<Endpoint>) -> App {
    web(&format!("u{number}"), number).endpoints(endpoints)
}

/// A Service with a NodePort.
fn open(number: u16, endpoints: Vec<Endpoint>) -> App {
    app(number, endpoints).node_port(3000 + number)
}

fn zone_a() -> Group {
    let spread =
        || vec![local(11).zones(&["a"]), local(12).zones(&["b"]), remote(13).zones(&["c"]), remote(14).zones(&["a"])];
    let mixed = || vec![local(11), local(12), remote(13)];
    let away = || vec![remote(11), remote(12)];
    let apps = vec![
        open(1, spread()),
        open(2, spread()).external_local(),
        open(3, spread()).internal_local(),
        app(
            7,
            vec![
                local(11).zones(&["a"]),
                local(12).zones(&["b"]),
                remote(13).zones(&["c"]),
                remote(14).zones(&["a"]).not_ready(),
            ],
        ),
        app(
            8,
            vec![
                local(11).zones(&["a"]).not_ready(),
                local(12).zones(&["b"]),
                remote(13).zones(&["c"]),
                remote(14).zones(&["a"]).not_ready(),
            ],
        ),
        app(9, vec![local(11).zones(&["a"]), local(12).zones(&["b"]), remote(13), remote(14).zones(&["a"])]),
        open(
            12,
            vec![
                local(11).nodes(&["node-a"]).zones(&["a"]),
                remote(12).nodes(&["node-b"]).zones(&["a"]),
                remote(13).nodes(&["node-c"]).zones(&["a"]),
            ],
        ),
        app(
            13,
            vec![local(11).nodes(&["node-a"]).zones(&["a"]), remote(12), remote(13).nodes(&["node-b"]).zones(&["b"])],
        ),
        app(
            14,
            vec![
                remote(11).nodes(&["node-b"]).zones(&["b"]),
                remote(12).nodes(&["node-b"]).zones(&["a"]),
                remote(13).nodes(&["node-c"]).zones(&["a"]),
            ],
        ),
        open(
            15,
            vec![local(11).zones(&["a"]), local(12).zones(&["b"]), remote(13).zones(&["a"]), remote(14).zones(&["b"])],
        )
        .external_local(),
        app(16, vec![]).internal_local(),
        app(17, away()).internal_local(),
        app(18, vec![local(11), local(12)]).internal_local(),
        app(19, mixed()).internal_local(),
        app(20, vec![local(11).not_ready(), remote(12).not_ready()]),
        app(21, vec![local(11).not_ready(), remote(12)]),
        app(22, vec![local(11).terminating(), remote(12).terminating()]),
        open(23, mixed()).internal_local(),
        open(24, mixed()).external_local(),
        open(25, mixed()).internal_local().external_local(),
        open(26, away()).internal_local().external_local(),
        open(27, vec![remote(11).terminating(), remote(12).terminating()]).internal_local().external_local(),
        open(28, vec![remote(11), local(12).not_ready(), local(13).terminating(), remote(14).terminating()])
            .external_local(),
        app(29, mixed()).external_local(),
        app(30, vec![local(11), remote(12)]).internal_local(),
        app(31, vec![]),
        app(32, vec![local(11).not_ready()]),
        // Hints do not matter to endpoints that terminate, and zones not to those of this node.
        app(33, vec![local(11).zones(&["a"]).terminating(), remote(12).zones(&["b"]).terminating()]),
        open(34, vec![local(11).zones(&["b"]), remote(12).zones(&["a"])]).internal_local().external_local(),
    ];
    Group::new(apps, ROWS).named("zone a").zone("a")
}

const ROWS: [Row; 54] = [
    row("U1", Pod, Cluster(1), 80, kept(&[11, 14])),
    row("U1b", Ext, Primary, 3001, masqueraded(&[11, 14])),
    row("U2", Pod, Cluster(2), 80, kept(&[11, 14])),
    row("U2b", Ext, Primary, 3002, kept(&[11, 12])),
    row("U2c", Pod, Primary, 3002, kept(&[11, 14])),
    row("U2d", Node, Primary, 3002, masqueraded(&[11, 14])),
    row("U3", Pod, Cluster(3), 80, kept(&[11, 12])),
    row("U3b", Ext, Primary, 3003, masqueraded(&[11, 14])),
    row("U7", Pod, Cluster(7), 80, kept(&[11])),
    row("U8", Pod, Cluster(8), 80, kept(&[12, 13])),
    row("U9", Pod, Cluster(9), 80, kept(ALL)),
    row("U12", Pod, Cluster(12), 80, kept(&[11])),
    row("U12b", Ext, Primary, 3012, masqueraded(&[11])),
    row("U13", Pod, Cluster(13), 80, kept(&[11, 12, 13])),
    row("U14", Pod, Cluster(14), 80, kept(&[12, 13])),
    row("U15", Pod, Cluster(15), 80, kept(&[11, 13])),
    row("U15b", Ext, Primary, 3015, kept(&[11, 12])),
    row("U16", Pod, Cluster(16), 80, Refused),
    row("U17", Pod, Cluster(17), 80, Dropped),
    row("U18", Pod, Cluster(18), 80, kept(&[11, 12])),
    row("U19", Pod, Cluster(19), 80, kept(&[11, 12])),
    row("U20", Pod, Cluster(20), 80, Refused),
    row("U21", Pod, Cluster(21), 80, kept(&[12])),
    row("U22", Pod, Cluster(22), 80, kept(&[11, 12])),
    row("U23", Pod, Cluster(23), 80, kept(&[11, 12])),
    row("U23b", Ext, Primary, 3023, masqueraded(&[11, 12, 13])),
    row("U23c", Pod, Primary, 3023, masqueraded(&[11, 12, 13])),
    row("U24", Pod, Cluster(24), 80, kept(&[11, 12, 13])),
    row("U24b", Ext, Primary, 3024, kept(&[11, 12])),
    row("U24c", Pod, Primary, 3024, kept(&[11, 12, 13])),
    row("U25", Pod, Cluster(25), 80, kept(&[11, 12])),
    row("U25b", Ext, Primary, 3025, kept(&[11, 12])),
    row("U25c", Pod, Primary, 3025, kept(&[11, 12, 13])),
    row("U26", Pod, Cluster(26), 80, Dropped),
    row("U26b", Ext, Primary, 3026, Dropped),
    row("U26c", Pod, Primary, 3026, kept(&[11, 12])),
    row("U26d", Node, Primary, 3026, masqueraded(&[11, 12])),
    row("U27", Pod, Cluster(27), 80, Dropped),
    row("U27b", Ext, Primary, 3027, Dropped),
    row("U27c", Pod, Primary, 3027, kept(&[11, 12])),
    row("U28", Pod, Cluster(28), 80, kept(&[11])),
    row("U28b", Ext, Primary, 3028, kept(&[13])),
    row("U28c", Pod, Primary, 3028, kept(&[11])),
    row("U28d", Node, Primary, 3028, masqueraded(&[11])),
    row("U29", Pod, Cluster(29), 80, kept(&[11, 12, 13])),
    row("U29b", Ext, Cluster(29), 80, masqueraded(&[11, 12, 13])),
    row("U30", Pod, Cluster(30), 80, kept(&[11])),
    row("U31", Pod, Cluster(31), 80, Refused),
    row("U32", Pod, Cluster(32), 80, Refused),
    row("U33", Pod, Cluster(33), 80, kept(&[11, 12])),
    row("U34", Pod, Cluster(34), 80, kept(&[11])),
    row("U34b", Ext, Primary, 3034, kept(&[11])),
    row("U34c", Pod, Primary, 3034, kept(&[12])),
    row("U34d", Node, Primary, 3034, masqueraded(&[12])),
];
