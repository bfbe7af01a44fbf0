//! Who is masqueraded: every source and frontend, with and without `--masquerade-all` and a way to tell pods.

use crate::given::{local, remote, web};
use crate::group::Group;
use crate::words::Place::{Cluster, Primary, Vip};
use crate::words::Source::{Ext, Node, Pod};
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

/// The groups of this file: section K, one for each column.
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
    let rows = LINES.iter().map(|Line(id, from, to, port, cells)| row(id, *from, *to, *port, cells[column]));
    let (name, detector, flags) = COLUMNS[column];
    let group = Group::new(apps, rows).named(name).flags(flags);
    if detector { group } else { group.detector(&[]) }
}

const SAME: [Expected; 4] = [masqueraded(ALL); 4];

const LINES: [Line; 27] = [
    Line("K1", Pod, Cluster(41), 80, [kept(ALL), kept(ALL), masqueraded(ALL), masqueraded(ALL)]),
    Line("K2", Pod, Primary, 3001, SAME),
    Line("K3", Pod, Vip(1), 80, SAME),
    Line("K4", Node, Cluster(41), 80, [masqueraded(ALL), kept(ALL), masqueraded(ALL), masqueraded(ALL)]),
    Line("K5", Node, Primary, 3001, SAME),
    Line("K6", Node, Vip(1), 80, SAME),
    Line("K7", Ext, Cluster(41), 80, [masqueraded(ALL), kept(ALL), masqueraded(ALL), masqueraded(ALL)]),
    Line("K8", Ext, Primary, 3001, SAME),
    Line("K9", Ext, Vip(1), 80, SAME),
    Line("K10", Pod, Cluster(42), 80, [kept(ALL), kept(ALL), masqueraded(ALL), masqueraded(ALL)]),
    Line("K11", Pod, Primary, 3002, [kept(ALL), kept(L), kept(ALL), kept(L)]),
    Line("K12", Pod, Vip(2), 80, [kept(ALL), kept(L), kept(ALL), kept(L)]),
    Line("K13", Node, Cluster(42), 80, [masqueraded(ALL), kept(ALL), masqueraded(ALL), masqueraded(ALL)]),
    Line("K14", Node, Primary, 3002, SAME),
    Line("K15", Node, Vip(2), 80, SAME),
    Line("K16", Ext, Cluster(42), 80, [masqueraded(ALL), kept(ALL), masqueraded(ALL), masqueraded(ALL)]),
    Line("K17", Ext, Primary, 3002, [kept(L); 4]),
    Line("K18", Ext, Vip(2), 80, [kept(L); 4]),
    Line("K19", Pod, Cluster(43), 80, [kept(L), kept(L), masqueraded(L), masqueraded(L)]),
    Line("K20", Pod, Primary, 3003, SAME),
    Line("K21", Pod, Vip(3), 80, SAME),
    Line("K22", Node, Cluster(43), 80, [masqueraded(L), kept(L), masqueraded(L), masqueraded(L)]),
    Line("K23", Node, Primary, 3003, SAME),
    Line("K24", Node, Vip(3), 80, SAME),
    Line("K25", Ext, Cluster(43), 80, [masqueraded(L), kept(L), masqueraded(L), masqueraded(L)]),
    Line("K26", Ext, Primary, 3003, SAME),
    Line("K27", Ext, Vip(3), 80, SAME),
];
