//! How pods of this node are told from other sources.

use serde_json::json;

use crate::common::netns::Family;
use crate::given::{local, node, remote, web};
use crate::group::Group;
use crate::words::Place::{Cluster, Primary, Vip};
use crate::words::Source::{Ext, FarPod, Node, Pod};
use crate::words::{Row, kept, masqueraded, row};

const ALL: &[u16] = &[11, 12];
const L: &[u16] = &[11];
const V4: &[Family] = &[Family::V4];
const V6: &[Family] = &[Family::V6];

/// The groups of this file: the rows of section Z about detection, and another mark bit.
pub fn groups() -> Vec<Group> {
    let group = |name, flags: &[&str], rows: &[Row]| {
        let app = web("svc1", 41).node_port(3001).vip(1).external_local().endpoints([local(11), remote(12)]);
        Group::new([app], rows.iter().copied()).named(name).detector(flags)
    };
    let node_cidr = &["--detect-local-mode", "NodeCIDR"];
    let mut one_cidr = node(None);
    one_cidr["spec"] = json!({"podCIDRs": ["10.128.0.0/24"]});
    let mut other_cidrs = node(None);
    other_cidrs["spec"] = json!({"podCIDRs": ["10.128.1.0/24", "fd00:10:128::100/120"]});
    vec![
        group("IPv4 range", &["--cluster-cidr", "10.128.0.0/16"], &IPV4_RANGE),
        group("IPv6 range", &["--cluster-cidr", "fd00:10:128::/64"], &IPV6_RANGE),
        group("both ranges, IPv6 first", &["--cluster-cidr", "fd00:10:128::/64,10.128.0.0/16"], &BOTH_RANGES),
        group("NodeCIDR", node_cidr, &NODE_CIDR),
        group(
            "NodeCIDR and a cluster range",
            &[&node_cidr[..], &["--cluster-cidr", "10.128.0.0/16,fd00:10:128::/64"]].concat(),
            &NODE_CIDR,
        ),
        group("NodeCIDR of IPv4", node_cidr, &NODE_CIDR_IPV4).instead("Node", [one_cidr]),
        group("NodeCIDR, other ranges", node_cidr, &OTHER_NODE_CIDRS).instead("Node", [other_cidrs]),
        group(
            "BridgeInterface",
            &["--detect-local-mode", "BridgeInterface", "--pod-bridge-interface", "pod7"],
            &INTERFACE,
        ),
        group(
            "InterfaceNamePrefix",
            &["--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "pod"],
            &PREFIX,
        ),
        group(
            "mark bit 3",
            &["--cluster-cidr", "10.128.0.0/16,fd00:10:128::/64", "--masquerade-bit", "3"],
            &BOTH_RANGES,
        ),
        group(
            "mark bit 31",
            &["--cluster-cidr", "10.128.0.0/16,fd00:10:128::/64", "--masquerade-bit", "31"],
            &BOTH_RANGES,
        ),
    ]
}

const BOTH_RANGES: [Row; 9] = [
    row("Z12", Pod, Cluster(41), 80, kept(ALL)),
    row("Z12b", FarPod, Cluster(41), 80, kept(ALL)),
    row("Z12c", Ext, Cluster(41), 80, masqueraded(ALL)),
    row("Z12d", Node, Cluster(41), 80, masqueraded(ALL)),
    row("Z12e", Pod, Vip(1), 80, kept(ALL)),
    row("Z12f", FarPod, Vip(1), 80, kept(ALL)),
    row("Z12g", Ext, Vip(1), 80, kept(L)),
    row("Z12h", Node, Vip(1), 80, masqueraded(ALL)),
    row("Z12i", Pod, Primary, 3001, kept(ALL)),
];

/// Where pods cannot be told, nothing to ClusterIPs is masqueraded, and pods are as clients outside to policy Local.
const IPV4_RANGE: [Row; 6] = [
    row("Z12", Ext, Cluster(41), 80, masqueraded(ALL)).only(V4),
    row("Z12b", Ext, Cluster(41), 80, kept(ALL)).only(V6),
    row("Z12c", Pod, Cluster(41), 80, kept(ALL)),
    row("Z12d", Pod, Vip(1), 80, kept(ALL)).only(V4),
    row("Z12e", Pod, Vip(1), 80, kept(L)).only(V6),
    row("Z12f", Node, Vip(1), 80, masqueraded(ALL)),
];

const IPV6_RANGE: [Row; 6] = [
    row("Z13", Ext, Cluster(41), 80, masqueraded(ALL)).only(V6),
    row("Z13b", Ext, Cluster(41), 80, kept(ALL)).only(V4),
    row("Z13c", Pod, Cluster(41), 80, kept(ALL)),
    row("Z13d", Pod, Vip(1), 80, kept(ALL)).only(V6),
    row("Z13e", Pod, Vip(1), 80, kept(L)).only(V4),
    row("Z13f", Node, Vip(1), 80, masqueraded(ALL)),
];

/// Pods of other nodes are not this node's.
const NODE_CIDR: [Row; 8] = [
    row("Z15", Pod, Cluster(41), 80, kept(ALL)),
    row("Z15b", FarPod, Cluster(41), 80, masqueraded(ALL)),
    row("Z15c", Ext, Cluster(41), 80, masqueraded(ALL)),
    row("Z15d", Node, Cluster(41), 80, masqueraded(ALL)),
    row("Z15e", Pod, Vip(1), 80, kept(ALL)),
    row("Z15f", FarPod, Vip(1), 80, kept(L)),
    row("Z15g", FarPod, Primary, 3001, kept(L)),
    row("Z15h", Node, Primary, 3001, masqueraded(ALL)),
];

const NODE_CIDR_IPV4: [Row; 4] = [
    row("Z15", Pod, Vip(1), 80, kept(ALL)).only(V4),
    row("Z15b", Pod, Vip(1), 80, kept(L)).only(V6),
    row("Z15c", Ext, Cluster(41), 80, masqueraded(ALL)).only(V4),
    row("Z15d", Ext, Cluster(41), 80, kept(ALL)).only(V6),
];

const OTHER_NODE_CIDRS: [Row; 3] = [
    row("V11", Pod, Cluster(41), 80, masqueraded(ALL)),
    row("V11b", FarPod, Cluster(41), 80, kept(ALL)),
    row("V11c", Pod, Vip(1), 80, kept(L)),
];

/// By the interface that packets come in by. What the node itself sends comes in by none, so it is not a pod's.
const INTERFACE: [Row; 8] = [
    row("Z17", Pod, Cluster(41), 80, kept(ALL)),
    row("Z17b", FarPod, Cluster(41), 80, masqueraded(ALL)),
    row("Z17c", Ext, Cluster(41), 80, masqueraded(ALL)),
    row("Z17d", Node, Cluster(41), 80, masqueraded(ALL)),
    row("Z17e", Pod, Vip(1), 80, kept(ALL)),
    row("Z17f", FarPod, Vip(1), 80, kept(L)),
    row("Z17g", Ext, Primary, 3001, kept(L)),
    row("Z17h", Node, Primary, 3001, masqueraded(ALL)),
];

const PREFIX: [Row; 8] = [
    row("Z17", Pod, Cluster(41), 80, kept(ALL)),
    row("Z17b", FarPod, Cluster(41), 80, kept(ALL)),
    row("Z17c", Ext, Cluster(41), 80, masqueraded(ALL)),
    row("Z17d", Node, Cluster(41), 80, masqueraded(ALL)),
    row("Z17e", Pod, Vip(1), 80, kept(ALL)),
    row("Z17f", FarPod, Vip(1), 80, kept(ALL)),
    row("Z17g", Ext, Primary, 3001, kept(L)),
    row("Z17h", Node, Primary, 3001, masqueraded(ALL)),
];
