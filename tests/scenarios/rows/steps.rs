//! One change after the other, and what each step leads to. How many operations a step takes is tested where plans are.

use crate::given::{App, local, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Expected::{Dropped, Refused, Untouched};
use crate::words::Place::{Cluster, Primary};
use crate::words::Source::{Client, Node};
use crate::words::{Row, masqueraded, row};

/// The groups of this file, one for each step.
pub fn groups() -> Vec<Group> {
    let app = |number: u16, pods: &[u16]| -> App {
        web(&format!("l{number}"), number).node_port(3000 + number).endpoints(pods.iter().map(|pod| local(*pod)))
    };
    let group = |step, apps: Vec<App>, rows: Vec<Row>| Group::new(Section::Steps, apps, rows).named(step);
    let at = |name, number, expected| row(name, Client, Cluster(number), 80, expected);
    let one = || app(1, &[11]);
    vec![
        group(
            "two Services",
            vec![one(), app(2, &[12])],
            vec![
                at("the first Service is reached", 1, masqueraded(&[11])),
                at("the second Service is reached", 2, masqueraded(&[12])),
            ],
        ),
        group(
            "a third",
            vec![one(), app(2, &[12]), app(3, &[13])],
            vec![
                at("a Service that was added is reached", 3, masqueraded(&[13])),
                at("the second Service is reached after a third was added", 2, masqueraded(&[12])),
            ],
        ),
        group(
            "the second gone",
            vec![one(), app(3, &[13])],
            vec![
                at("the ClusterIP of a removed Service drops", 2, Dropped),
                at("the first Service is reached after the second was removed", 1, masqueraded(&[11])),
                row("the NodePort of a removed Service is left alone", Node, Primary, 3002, Untouched),
            ],
        ),
        group(
            "one without endpoints",
            vec![one(), app(3, &[13]), app(4, &[])],
            vec![
                at("a Service that was added without endpoints refuses at the ClusterIP", 4, Refused),
                row(
                    "a Service that was added without endpoints refuses at the NodePort",
                    Client,
                    Primary,
                    3004,
                    Refused,
                ),
            ],
        ),
        group(
            "its endpoints",
            vec![one(), app(3, &[13]), app(4, &[14])],
            vec![
                at("an endpoint that was added is reached at the ClusterIP", 4, masqueraded(&[14])),
                row("an endpoint that was added is reached at the NodePort", Client, Primary, 3004, masqueraded(&[14])),
            ],
        ),
        group(
            "another address",
            vec![one(), app(3, &[15]), app(4, &[14])],
            vec![
                at("another address replaces the old one at the ClusterIP", 3, masqueraded(&[15])),
                row("another address replaces the old one at the NodePort", Client, Primary, 3003, masqueraded(&[15])),
            ],
        ),
        group(
            "a second endpoint",
            vec![one(), app(3, &[15, 16]), app(4, &[14])],
            vec![
                at("a second endpoint is used too at the ClusterIP", 3, masqueraded(&[15, 16])),
                row("a second endpoint is used too at the NodePort", Client, Primary, 3003, masqueraded(&[15, 16])),
            ],
        ),
        group(
            "emptied",
            vec![one(), app(3, &[]), app(4, &[14])],
            vec![
                at("a Service that lost all endpoints refuses at the ClusterIP", 3, Refused),
                row("a Service that lost all endpoints refuses at the NodePort", Client, Primary, 3003, Refused),
            ],
        ),
        group(
            "restored",
            vec![one(), app(3, &[15, 16]), app(4, &[14])],
            vec![at("endpoints that came back are used", 3, masqueraded(&[15, 16]))],
        ),
        group(
            "unchanged",
            vec![one(), app(3, &[15, 16]), app(4, &[14])],
            vec![
                at("a sync without changes leaves two endpoints as they were", 3, masqueraded(&[15, 16])),
                at("a sync without changes leaves another Service as it was", 1, masqueraded(&[11])),
            ],
        ),
    ]
}
