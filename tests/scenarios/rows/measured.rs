//! What was measured on kube-proxy itself, one change after the other, and ServiceCIDRs that come and go.

use serde_json::{Value, json};

use crate::given::{App, host_network, local, remote, web};
use crate::group::Group;
use crate::rig::NODE_PORT;
use crate::words::Expected::{Dropped, Refused, Untouched};
use crate::words::Place::{self, Cluster, Gateway, Loopback, Primary, Secondary, Vip};
use crate::words::Source::{Blocked, Ext, Node, Pod};
use crate::words::{ON_NODE, Row, kept, masqueraded, row};

/// The groups of this file: sections ZZ and L, and rows about ServiceCIDRs.
pub fn groups() -> Vec<Group> {
    let mut groups = vec![measured(), impatient()];
    groups.extend(steps());
    groups.extend(service_cidrs());
    groups
}

fn measured() -> Group {
    let ranges = &["192.0.2.2/31", "fd00:192::2/127"];
    let apps = [
        web("open", 1).node_port(NODE_PORT).endpoints([local(11)]),
        web("local", 2).node_port(3002).external_local().endpoints([local(11)]),
        web("away", 3).node_port(3003).external_local().endpoints([remote(12)]),
        web("empty", 4).node_port(3004).port("dns", "UDP", 53, 53),
        web("ranges", 5).node_port(3005).vip(5).external_local().ranges(ranges).endpoints([local(11)]),
        web("on-node", 6).node_port(3006).vip(6).endpoints([host_network()]),
    ];
    Group::new(apps, ROWS_ZZ)
}

const ROWS_ZZ: [Row; 25] = [
    row("ZZ1", Ext, Primary, NODE_PORT, masqueraded(&[11])),
    row("ZZ2", Ext, Primary, 3002, kept(&[11])),
    // Where nobody listens, the node's own network refuses.
    row("ZZ3", Ext, Secondary, 3002, Refused),
    row("ZZ3b", Ext, Secondary, NODE_PORT, Untouched),
    row("ZZ4", Ext, Primary, 3003, Dropped),
    row("ZZ5", Ext, Primary, 3004, Refused),
    row("ZZ9", Node, Primary, NODE_PORT, masqueraded(&[11])),
    row("ZZ9b", Node, Primary, 3002, masqueraded(&[11])),
    row("ZZ10", Node, Loopback, 3002, Refused),
    row("ZZ10b", Node, Loopback, NODE_PORT, Untouched),
    row("ZZ11", Node, Primary, 3004, Refused),
    row("ZZ12", Node, Gateway, 3002, Refused),
    row("ZZ12b", Node, Gateway, NODE_PORT, Untouched),
    row("ZZ13", Node, Cluster(1), 80, masqueraded(&[11])),
    row("ZZ13b", Ext, Cluster(1), 80, masqueraded(&[11])),
    row("ZZ14", Ext, Vip(5), 80, kept(&[11])),
    row("ZZ14b", Blocked, Vip(5), 80, Dropped),
    row("ZZ14c", Pod, Vip(5), 80, Dropped),
    row("ZZ15", Ext, Cluster(1), 81, Refused),
    row("ZZ15b", Ext, Cluster(4), 80, Refused),
    row("ZZ15c", Ext, Cluster(4), 53, Refused).udp(),
    row("ZZ17", Ext, Cluster(200), 80, Dropped),
    row("ZZ17b", Node, Cluster(200), 80, Dropped),
    // An endpoint in the node's own network: delivered on the node, so nothing is masqueraded.
    row("ZZ32", Ext, Cluster(6), 80, kept(&[ON_NODE])),
    row("ZZ32b", Ext, Primary, 3006, kept(&[ON_NODE])),
];

/// Ten clients one after the other are refused at once each, although the kernel limits ICMP errors: TCP is refused by resets.
fn impatient() -> Group {
    let app = web("empty", 4).node_port(3004).vip(4);
    Group::new([app], ROWS_ZZ16).named("ICMP limited").icmp_limited()
}

const ROWS_ZZ16: [Row; 6] = [
    row("ZZ16", Ext, Cluster(4), 80, Refused),
    row("ZZ16b", Ext, Cluster(4), 81, Refused),
    row("ZZ16c", Ext, Primary, 3004, Refused),
    row("ZZ16d", Ext, Vip(4), 80, Refused),
    row("ZZ16e", Pod, Cluster(4), 80, Refused),
    row("ZZ16f", Node, Cluster(4), 80, Refused),
];

/// Section L: what each step leads to. How many operations a step takes is tested where plans are.
fn steps() -> Vec<Group> {
    let app = |number: u16, pods: &[u16]| -> App {
        web(&format!("l{number}"), number).node_port(3000 + number).endpoints(pods.iter().map(|pod| local(*pod)))
    };
    let group = |name, apps: Vec<App>, rows: Vec<Row>| Group::new(apps, rows).named(name);
    let at = |id, number, expected| row(id, Ext, Cluster(number), 80, expected);
    let one = || app(1, &[11]);
    vec![
        group(
            "two Services",
            vec![one(), app(2, &[12])],
            vec![at("L1", 1, masqueraded(&[11])), at("L1b", 2, masqueraded(&[12]))],
        ),
        group(
            "a third",
            vec![one(), app(2, &[12]), app(3, &[13])],
            vec![at("L2", 3, masqueraded(&[13])), at("L2b", 2, masqueraded(&[12]))],
        ),
        group(
            "the second gone",
            vec![one(), app(3, &[13])],
            vec![at("L3", 2, Dropped), at("L3b", 1, masqueraded(&[11])), row("L3c", Node, Primary, 3002, Untouched)],
        ),
        group(
            "one without endpoints",
            vec![one(), app(3, &[13]), app(4, &[])],
            vec![at("L5", 4, Refused), row("L5b", Ext, Primary, 3004, Refused)],
        ),
        group(
            "its endpoints",
            vec![one(), app(3, &[13]), app(4, &[14])],
            vec![at("L6", 4, masqueraded(&[14])), row("L6b", Ext, Primary, 3004, masqueraded(&[14]))],
        ),
        group(
            "another address",
            vec![one(), app(3, &[15]), app(4, &[14])],
            vec![at("L7", 3, masqueraded(&[15])), row("L7b", Ext, Primary, 3003, masqueraded(&[15]))],
        ),
        group(
            "a second endpoint",
            vec![one(), app(3, &[15, 16]), app(4, &[14])],
            vec![at("L8", 3, masqueraded(&[15, 16])), row("L8b", Ext, Primary, 3003, masqueraded(&[15, 16]))],
        ),
        group(
            "emptied",
            vec![one(), app(3, &[]), app(4, &[14])],
            vec![at("L9", 3, Refused), row("L9b", Ext, Primary, 3003, Refused)],
        ),
        group("restored", vec![one(), app(3, &[15, 16]), app(4, &[14])], vec![at("L10", 3, masqueraded(&[15, 16]))]),
        group(
            "unchanged",
            vec![one(), app(3, &[15, 16]), app(4, &[14])],
            vec![at("L12", 3, masqueraded(&[15, 16])), at("L12b", 1, masqueraded(&[11]))],
        ),
    ]
}

/// Addresses of a ServiceCIDR that no Service has are dropped. A pod's address among them shows it.
fn service_cidrs() -> Vec<Group> {
    let cidr = |name: &str, cidrs: &[&str]| -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": name},
            "spec": {"cidrs": cidrs},
        })
    };
    let group = |name, cidrs: Vec<Value>, rows: Vec<Row>| {
        Group::new([web("svc1", 41).endpoints([local(11)])], rows).named(name).instead("ServiceCIDR", cidrs)
    };
    let direct = |id, pod, expected| row(id, Ext, Place::Pod(pod), 8080, expected);
    let reached = |id| row(id, Ext, Cluster(41), 80, masqueraded(&[11]));
    let both = || cidr("one", &["10.128.0.24/30", "fd00:10:128::18/126"]);
    let v4 = |id, expected| direct(id, 20, expected).only(&[crate::common::netns::Family::V4]);
    let v6 = |id, expected| direct(id, 20, expected).only(&[crate::common::netns::Family::V6]);
    vec![
        group("none", vec![], vec![direct("Z50", 24, kept(&[24])), direct("Z50b", 16, kept(&[16])), reached("Z50c")]),
        group("one", vec![both()], vec![direct("Z50", 24, Dropped), direct("Z50b", 16, kept(&[16])), reached("Z50c")]),
        group(
            "a second that overlaps",
            vec![both(), cidr("two", &["10.128.0.16/28", "fd00:10:128::10/124"])],
            vec![direct("Z50", 24, Dropped), direct("Z50b", 16, Dropped), reached("Z50c")],
        ),
        group(
            "the first gone",
            vec![cidr("two", &["10.128.0.16/30", "fd00:10:128::10/126"])],
            vec![direct("Z50", 24, kept(&[24])), direct("Z50b", 16, Dropped)],
        ),
        group("one family", vec![cidr("one", &["10.128.0.20/32"])], vec![v4("P11", Dropped), v6("P11b", kept(&[20]))]),
        group(
            "the other",
            vec![cidr("one", &["fd00:10:128::14/128"])],
            vec![v6("P13", Dropped), v4("P13b", kept(&[20]))],
        ),
        group(
            "two of each",
            vec![cidr("one", &["10.128.0.20/32", "10.128.0.21/32", "fd00:10:128::14/128", "fd00:10:128::15/128"])],
            vec![direct("P12", 20, Dropped), direct("P12b", 21, Dropped), direct("P12c", 22, kept(&[22]))],
        ),
    ]
}
