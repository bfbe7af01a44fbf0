//! Which connections are masqueraded: every source and frontend, with and without `--masquerade-all` and a way to tell pods.

use crate::given::{local, remote, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Place::{Cluster, Primary, Vip};
use crate::words::Source::{Client, Node, Pod};
use crate::words::{Expected, Place, Source, kept, masqueraded, row};

/// Both endpoints: one on this node, one on another.
const ALL: &[u16] = &[11, 12];

/// The one on this node.
const L: &[u16] = &[11];

/// A source and a frontend, and what becomes of a connection in each of [`COLUMNS`].
struct Line(&'static str, Source, Place, u16, [Expected; 4]);

/// Names, and whether pods are told by the cluster's range.
const COLUMNS: [(&str, bool, &[&str]); 4] = [
    ("base", true, &[]),
    ("no detector", false, &[]),
    ("masquerade-all", true, &["--masquerade-all"]),
    ("masquerade-all, no detector", false, &["--masquerade-all"]),
];

/// The groups of this file, one for each column.
pub fn groups() -> Vec<Group> {
    (0..COLUMNS.len()).map(column).collect()
}

fn column(column: usize) -> Group {
    let app = |name, cluster_ip, node_port, vip| {
        web(name, cluster_ip).node_port(node_port).vip(vip).endpoints([local(11), remote(12)])
    };
    let apps = [
        app("svc1", 41, 3001, 1),
        app("svc2", 42, 3002, 2).external_local(),
        app("svc3", 43, 3003, 3).internal_local(),
    ];
    let rows = LINES.iter().map(|Line(name, from, to, port, cells)| row(name, *from, *to, *port, cells[column]));
    let (variant, detector, flags) = COLUMNS[column];
    let group = Group::new(Section::Masquerade, apps, rows).named(variant).flags(flags);
    if detector { group } else { group.detector(&[]) }
}

/// Masqueraded in each column.
const SAME: [Expected; 4] = [masqueraded(ALL); 4];

/// Masqueraded only where all are.
const KEPT_UNLESS_ALL: [Expected; 4] = [kept(ALL), kept(ALL), masqueraded(ALL), masqueraded(ALL)];
const KEPT_UNLESS_ALL_LOCAL: [Expected; 4] = [kept(L), kept(L), masqueraded(L), masqueraded(L)];

/// Not masqueraded only where pods cannot be told.
const KEPT_IF_UNTOLD: [Expected; 4] = [masqueraded(ALL), kept(ALL), masqueraded(ALL), masqueraded(ALL)];
const KEPT_IF_UNTOLD_LOCAL: [Expected; 4] = [masqueraded(L), kept(L), masqueraded(L), masqueraded(L)];

const LINES: [Line; 27] = [
    Line("a pod at the ClusterIP", Pod, Cluster(41), 80, KEPT_UNLESS_ALL),
    Line("a pod at the NodePort", Pod, Primary, 3001, SAME),
    Line("a pod at the load-balancer IP", Pod, Vip(1), 80, SAME),
    Line("the node at the ClusterIP", Node, Cluster(41), 80, KEPT_IF_UNTOLD),
    Line("the node at the NodePort", Node, Primary, 3001, SAME),
    Line("the node at the load-balancer IP", Node, Vip(1), 80, SAME),
    Line("a client at the ClusterIP", Client, Cluster(41), 80, KEPT_IF_UNTOLD),
    Line("a client at the NodePort", Client, Primary, 3001, SAME),
    Line("a client at the load-balancer IP", Client, Vip(1), 80, SAME),
    Line("external Local, a pod at the ClusterIP", Pod, Cluster(42), 80, KEPT_UNLESS_ALL),
    Line("external Local, a pod at the NodePort", Pod, Primary, 3002, [kept(ALL), kept(L), kept(ALL), kept(L)]),
    Line("external Local, a pod at the load-balancer IP", Pod, Vip(2), 80, [kept(ALL), kept(L), kept(ALL), kept(L)]),
    Line("external Local, the node at the ClusterIP", Node, Cluster(42), 80, KEPT_IF_UNTOLD),
    Line("external Local, the node at the NodePort", Node, Primary, 3002, SAME),
    Line("external Local, the node at the load-balancer IP", Node, Vip(2), 80, SAME),
    Line("external Local, a client at the ClusterIP", Client, Cluster(42), 80, KEPT_IF_UNTOLD),
    Line("external Local, a client at the NodePort", Client, Primary, 3002, [kept(L); 4]),
    Line("external Local, a client at the load-balancer IP", Client, Vip(2), 80, [kept(L); 4]),
    Line("internal Local, a pod at the ClusterIP", Pod, Cluster(43), 80, KEPT_UNLESS_ALL_LOCAL),
    Line("internal Local, a pod at the NodePort", Pod, Primary, 3003, SAME),
    Line("internal Local, a pod at the load-balancer IP", Pod, Vip(3), 80, SAME),
    Line("internal Local, the node at the ClusterIP", Node, Cluster(43), 80, KEPT_IF_UNTOLD_LOCAL),
    Line("internal Local, the node at the NodePort", Node, Primary, 3003, SAME),
    Line("internal Local, the node at the load-balancer IP", Node, Vip(3), 80, SAME),
    Line("internal Local, a client at the ClusterIP", Client, Cluster(43), 80, KEPT_IF_UNTOLD_LOCAL),
    Line("internal Local, a client at the NodePort", Client, Primary, 3003, SAME),
    Line("internal Local, a client at the load-balancer IP", Client, Vip(3), 80, SAME),
];
