//! Endpoints that terminate or are not ready, under `externalTrafficPolicy: Local`.

use crate::given::{Endpoint, local, remote, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Expected::{Dropped, Refused};
use crate::words::Place::{Cluster, Primary, Vip};
use crate::words::Source::{Client, Node, Pod};
use crate::words::{Row, kept, masqueraded, row};

/// The groups of this file. Each number is a Service with a ClusterIP and a load-balancer IP of the same number.
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
        Group::new(Section::Terminating, apps, ROWS),
        Group::new(Section::Terminating, [app(5, steady())], BEFORE),
        Group::new(Section::Terminating, [app(5, Vec::new())], EMPTIED).named("emptied"),
        Group::new(Section::Terminating, [app(5, steady())], BEFORE).named("again"),
    ]
}

const ROWS: [Row; 19] = [
    row("ready endpoints go first at the ClusterIP", Pod, Cluster(1), 80, kept(&[11, 12, 15])),
    row("ready local endpoints go first at the load-balancer IP", Client, Vip(1), 80, kept(&[11, 12])),
    // This node's endpoints fall back to those that terminate by themselves, whatever other nodes have.
    row("a ready remote endpoint serves the ClusterIP", Pod, Cluster(2), 80, kept(&[15])),
    row("terminating local endpoints serve a client of the load-balancer IP", Client, Vip(2), 80, kept(&[12, 13])),
    row("terminating local endpoints serve a client of the NodePort", Client, Primary, 3002, kept(&[12, 13])),
    row("a ready remote endpoint serves a pod at the load-balancer IP", Pod, Vip(2), 80, kept(&[15])),
    row("a ready remote endpoint serves the node at the load-balancer IP", Node, Vip(2), 80, masqueraded(&[15])),
    row("a terminating remote endpoint serves the ClusterIP when alone", Pod, Cluster(3), 80, kept(&[15])),
    row("a terminating remote endpoint does not serve a client of the load-balancer IP", Client, Vip(3), 80, Dropped),
    row("a terminating remote endpoint does not serve a client of the NodePort", Client, Primary, 3003, Dropped),
    row("endpoints that no longer serve refuse at the ClusterIP", Pod, Cluster(4), 80, Refused),
    row("endpoints that no longer serve refuse at the load-balancer IP", Client, Vip(4), 80, Refused),
    row("endpoints that are not ready refuse at the ClusterIP", Pod, Cluster(6), 80, Refused),
    row("endpoints that are not ready refuse at the load-balancer IP", Client, Vip(6), 80, Refused),
    row("terminating endpoints serve the ClusterIP when no endpoint is ready", Pod, Cluster(7), 80, kept(&[11, 12])),
    row("the terminating local endpoint serves the load-balancer IP", Client, Vip(7), 80, kept(&[11])),
    row("an endpoint that is not ready is not used at the ClusterIP", Pod, Cluster(8), 80, kept(&[12])),
    row("the load-balancer IP drops while the local endpoint is not ready", Client, Vip(8), 80, Dropped),
    row("the NodePort drops while the local endpoint is not ready", Client, Primary, 3008, Dropped),
];

const BEFORE: [Row; 2] = [
    row("two ready endpoints serve the ClusterIP", Pod, Cluster(5), 80, kept(&[11, 12])),
    row("two ready endpoints serve the load-balancer IP", Client, Vip(5), 80, kept(&[11, 12])),
];

const EMPTIED: [Row; 3] = [
    row("a Service that lost its endpoints refuses at the ClusterIP", Pod, Cluster(5), 80, Refused),
    row("a Service that lost its endpoints refuses at the load-balancer IP", Client, Vip(5), 80, Refused),
    row("a Service that lost its endpoints refuses at the NodePort", Client, Primary, 3005, Refused),
];
