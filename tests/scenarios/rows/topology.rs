//! Hints for zones and nodes, together with policies and conditions.
//!
//! Each row of the table is a Service: number 5 has ClusterIP number 5 and, where it has one, the NodePort 3005. ClusterIPs
//! show the endpoints for everyone, or those of this node under `internalTrafficPolicy: Local`; NodePorts the same for
//! `externalTrafficPolicy`.

use crate::given::{App, Endpoint, local, remote, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Expected::{Dropped, Refused};
use crate::words::Place::{Cluster, Primary};
use crate::words::Source::{Client, Node, Pod};
use crate::words::{Row, kept, masqueraded, row};

/// The groups of this file.
pub fn groups() -> Vec<Group> {
    let four = |a: &[&str], b: &[&str], c: &[&str], d: &[&str]| {
        vec![local(11).zones(a), remote(12).zones(b), remote(13).zones(c), remote(14).zones(d)]
    };
    let all_in_a = || four(&["a"], &["a"], &["a"], &["a"]);
    let several = four(&["a", "b"], &["b", "c"], &["c", "d"], &["a"]);
    vec![
        zone_a(),
        Group::new(
            Section::Topology,
            [app(4, all_in_a())],
            [row("a node in no zone uses all endpoints", Pod, Cluster(4), 80, kept(ALL))],
        )
        .named("no zone"),
        Group::new(
            Section::Topology,
            [app(5, all_in_a())],
            [row("a node in an empty zone uses all endpoints", Pod, Cluster(5), 80, kept(ALL))],
        )
        .named("empty zone")
        .zone(""),
        Group::new(
            Section::Topology,
            [app(6, all_in_a())],
            [row("a node in a zone without hinted endpoints uses all endpoints", Pod, Cluster(6), 80, kept(ALL))],
        )
        .named("zone b")
        .zone("b"),
        Group::new(
            Section::Topology,
            [app(10, several)],
            [row(
                "an endpoint hinted for several zones is used in each of them",
                Pod,
                Cluster(10),
                80,
                kept(&[12, 13]),
            )],
        )
        .named("zone c")
        .zone("c"),
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
    Group::new(Section::Topology, apps, ROWS).named("zone a").zone("a")
}

const ROWS: [Row; 54] = [
    row("a pod at the ClusterIP reaches the endpoints of this zone", Pod, Cluster(1), 80, kept(&[11, 14])),
    row("a client of the NodePort reaches the endpoints of this zone", Client, Primary, 3001, masqueraded(&[11, 14])),
    row("external Local leaves the ClusterIP to endpoints of this zone", Pod, Cluster(2), 80, kept(&[11, 14])),
    row("external Local sends a client to local endpoints of any zone", Client, Primary, 3002, kept(&[11, 12])),
    row("external Local sends a pod at the NodePort to this zone", Pod, Primary, 3002, kept(&[11, 14])),
    row("external Local sends the node at the NodePort to this zone", Node, Primary, 3002, masqueraded(&[11, 14])),
    row("internal Local sends a pod to local endpoints of any zone", Pod, Cluster(3), 80, kept(&[11, 12])),
    row("internal Local leaves the NodePort to endpoints of this zone", Client, Primary, 3003, masqueraded(&[11, 14])),
    row("an endpoint of this zone that is not ready is not used", Pod, Cluster(7), 80, kept(&[11])),
    row("a zone without ready endpoints uses those of other zones", Pod, Cluster(8), 80, kept(&[12, 13])),
    row("one endpoint without a hint makes all endpoints used", Pod, Cluster(9), 80, kept(ALL)),
    row("an endpoint hinted for this node goes before those of this zone", Pod, Cluster(12), 80, kept(&[11])),
    row("an endpoint hinted for this node serves a client of the NodePort", Client, Primary, 3012, masqueraded(&[11])),
    row("one endpoint without a node hint makes all endpoints used", Pod, Cluster(13), 80, kept(&[11, 12, 13])),
    row("no endpoint is hinted for this node and those of this zone are used", Pod, Cluster(14), 80, kept(&[12, 13])),
    row("external Local leaves hints in force at the ClusterIP", Pod, Cluster(15), 80, kept(&[11, 13])),
    row("external Local puts local endpoints before hints for a client", Client, Primary, 3015, kept(&[11, 12])),
    row("internal Local without any endpoints refuses", Pod, Cluster(16), 80, Refused),
    row("internal Local without local endpoints drops", Pod, Cluster(17), 80, Dropped),
    row("internal Local with all endpoints local uses all of them", Pod, Cluster(18), 80, kept(&[11, 12])),
    row("internal Local with some endpoints local uses those", Pod, Cluster(19), 80, kept(&[11, 12])),
    row("endpoints that are not ready refuse", Pod, Cluster(20), 80, Refused),
    row("a local endpoint that is not ready leaves the remote one", Pod, Cluster(21), 80, kept(&[12])),
    row("terminating endpoints are used when no endpoint is ready", Pod, Cluster(22), 80, kept(&[11, 12])),
    row("internal Local sends a pod at the ClusterIP to the local endpoints", Pod, Cluster(23), 80, kept(&[11, 12])),
    row("internal Local sends a client of the NodePort to all", Client, Primary, 3023, masqueraded(&[11, 12, 13])),
    row("internal Local sends a pod at the NodePort to all", Pod, Primary, 3023, masqueraded(&[11, 12, 13])),
    row("external Local sends a pod at the ClusterIP to all endpoints", Pod, Cluster(24), 80, kept(&[11, 12, 13])),
    row("external Local sends a client of the NodePort to the local endpoints", Client, Primary, 3024, kept(&[11, 12])),
    row("external Local sends a pod at the NodePort to all endpoints", Pod, Primary, 3024, kept(&[11, 12, 13])),
    row("both Local send a pod at the ClusterIP to the local endpoints", Pod, Cluster(25), 80, kept(&[11, 12])),
    row("both Local send a client of the NodePort to the local endpoints", Client, Primary, 3025, kept(&[11, 12])),
    row("both Local send a pod at the NodePort to all endpoints", Pod, Primary, 3025, kept(&[11, 12, 13])),
    row("both Local without local endpoints drop a pod at the ClusterIP", Pod, Cluster(26), 80, Dropped),
    row("both Local without local endpoints drop a client of the NodePort", Client, Primary, 3026, Dropped),
    row("both Local without local endpoints keep the NodePort open to a pod", Pod, Primary, 3026, kept(&[11, 12])),
    row(
        "both Local without local endpoints keep the NodePort open to the node",
        Node,
        Primary,
        3026,
        masqueraded(&[11, 12]),
    ),
    row("both Local with terminating remote endpoints drop a pod at the ClusterIP", Pod, Cluster(27), 80, Dropped),
    row("both Local with terminating remote endpoints drop a client of the NodePort", Client, Primary, 3027, Dropped),
    row("both Local with terminating remote endpoints send a pod there", Pod, Primary, 3027, kept(&[11, 12])),
    row("external Local leaves the ClusterIP to the ready remote endpoint", Pod, Cluster(28), 80, kept(&[11])),
    row("external Local sends a client to the terminating local endpoint", Client, Primary, 3028, kept(&[13])),
    row("external Local sends a pod at the NodePort to the ready endpoint", Pod, Primary, 3028, kept(&[11])),
    row("external Local sends the node at the NodePort to the ready endpoint", Node, Primary, 3028, masqueraded(&[11])),
    row("external Local does not restrict a pod at the ClusterIP", Pod, Cluster(29), 80, kept(&[11, 12, 13])),
    row(
        "external Local does not restrict a client at the ClusterIP",
        Client,
        Cluster(29),
        80,
        masqueraded(&[11, 12, 13]),
    ),
    row("internal Local with one local endpoint uses that one", Pod, Cluster(30), 80, kept(&[11])),
    row("no endpoints at all refuse", Pod, Cluster(31), 80, Refused),
    row("one local endpoint that is not ready refuses", Pod, Cluster(32), 80, Refused),
    row("hints do not matter when all endpoints terminate", Pod, Cluster(33), 80, kept(&[11, 12])),
    row("internal Local uses the local endpoint of another zone", Pod, Cluster(34), 80, kept(&[11])),
    row("external Local sends a client to the local endpoint of another zone", Client, Primary, 3034, kept(&[11])),
    row("both Local send a pod at the NodePort to the endpoint of this zone", Pod, Primary, 3034, kept(&[12])),
    row(
        "both Local send the node at the NodePort to the endpoint of this zone",
        Node,
        Primary,
        3034,
        masqueraded(&[12]),
    ),
];
