//! Endpoints that terminate or are not ready, under `externalTrafficPolicy: Local`.

use crate::given::{Endpoint, local, remote, web};
use crate::group::Group;
use crate::words::Expected::{Dropped, Refused};
use crate::words::Place::{Cluster, Primary, Vip};
use crate::words::Source::{Ext, Node, Pod};
use crate::words::{Row, kept, masqueraded, row};

/// The groups of this file: section I, each row a Service with a ClusterIP and a load-balancer IP of the same number.
pub fn groups() -> Vec<Group> {
    let app = |number: u16, endpoints: Vec<Endpoint>| {
        let app = web(&format!("i{number}"), number).node_port(3000 + number).vip(number);
        app.external_local().endpoints(endpoints)
    };
    let steady = || vec![local(11), local(12)];
    let apps = vec![
        app(1, vec![local(11), local(12), local(13).terminating(), local(14).ended(), remote(15)]),
        app(2, vec![local(12).terminating(), local(13).terminating(), local(14).ended(), remote(15)]),
        app(3, vec![remote(15).terminating()]),
        app(4, vec![local(11).ended(), remote(11).ended()]),
        app(6, vec![local(11).not_ready(), remote(12).not_ready()]),
        app(7, vec![local(11).terminating(), remote(12).terminating()]),
        app(8, vec![local(11).not_ready(), remote(12)]),
    ];
    vec![
        Group::new(apps, ROWS),
        Group::new([app(5, steady())], BEFORE),
        Group::new([app(5, Vec::new())], EMPTIED).named("emptied"),
        Group::new([app(5, steady())], BEFORE).named("again"),
    ]
}

const ROWS: [Row; 19] = [
    row("I1", Pod, Cluster(1), 80, kept(&[11, 12, 15])),
    row("I1b", Ext, Vip(1), 80, kept(&[11, 12])),
    // This node's endpoints fall back to those that terminate by themselves, whatever other nodes have.
    row("I2", Pod, Cluster(2), 80, kept(&[15])),
    row("I2b", Ext, Vip(2), 80, kept(&[12, 13])),
    row("I2c", Ext, Primary, 3002, kept(&[12, 13])),
    row("I2d", Pod, Vip(2), 80, kept(&[15])),
    row("I2e", Node, Vip(2), 80, masqueraded(&[15])),
    row("I3", Pod, Cluster(3), 80, kept(&[15])),
    row("I3b", Ext, Vip(3), 80, Dropped),
    row("I3c", Ext, Primary, 3003, Dropped),
    row("I4", Pod, Cluster(4), 80, Refused),
    row("I4b", Ext, Vip(4), 80, Refused),
    row("I6", Pod, Cluster(6), 80, Refused),
    row("I6b", Ext, Vip(6), 80, Refused),
    row("I7", Pod, Cluster(7), 80, kept(&[11, 12])),
    row("I7b", Ext, Vip(7), 80, kept(&[11])),
    row("I8", Pod, Cluster(8), 80, kept(&[12])),
    row("I8b", Ext, Vip(8), 80, Dropped),
    row("I8c", Ext, Primary, 3008, Dropped),
];

const BEFORE: [Row; 2] =
    [row("I5", Pod, Cluster(5), 80, kept(&[11, 12])), row("I5b", Ext, Vip(5), 80, kept(&[11, 12]))];

const EMPTIED: [Row; 3] = [
    row("I5", Pod, Cluster(5), 80, Refused),
    row("I5b", Ext, Vip(5), 80, Refused),
    row("I5c", Ext, Primary, 3005, Refused),
];
