//! How pods of this node are told from other sources.

use serde_json::json;

use crate::common::netns::Family;
use crate::given::{local, node, remote, web};
use crate::group::Group;
use crate::section::Section;
use crate::words::Place::{Cluster, Primary, Vip};
use crate::words::Source::{Client, FarPod, Node, Pod};
use crate::words::{Row, kept, masqueraded, row};

const ALL: &[u16] = &[11, 12];
const L: &[u16] = &[11];
const V4: &[Family] = &[Family::V4];
const V6: &[Family] = &[Family::V6];

/// The groups of this file, some with another mark bit.
pub fn groups() -> Vec<Group> {
    let group = |variant, flags: &[&str], rows: &[Row]| {
        let app = web("svc1", 41).node_port(3001).vip(1).external_local().endpoints([local(11), remote(12)]);
        Group::new(Section::PodDetection, [app], rows.iter().copied()).named(variant).detector(flags)
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
    row("a pod of this node is not masqueraded at the ClusterIP", Pod, Cluster(41), 80, kept(ALL)),
    row("a pod of another node is not masqueraded at the ClusterIP", FarPod, Cluster(41), 80, kept(ALL)),
    row("a client is masqueraded at the ClusterIP", Client, Cluster(41), 80, masqueraded(ALL)),
    row("the node is masqueraded at the ClusterIP", Node, Cluster(41), 80, masqueraded(ALL)),
    row("a pod of this node reaches all endpoints at the load-balancer IP", Pod, Vip(1), 80, kept(ALL)),
    row("a pod of another node reaches all endpoints at the load-balancer IP", FarPod, Vip(1), 80, kept(ALL)),
    row("a client reaches the local endpoint at the load-balancer IP", Client, Vip(1), 80, kept(L)),
    row("the node is masqueraded at the load-balancer IP", Node, Vip(1), 80, masqueraded(ALL)),
    row("a pod of this node reaches all endpoints at the NodePort", Pod, Primary, 3001, kept(ALL)),
];

/// Where pods cannot be told, nothing to ClusterIPs is masqueraded, and pods are as clients outside to policy Local.
const IPV4_RANGE: [Row; 6] = [
    row("a cluster range of IPv4 masquerades a client over IPv4", Client, Cluster(41), 80, masqueraded(ALL)).only(V4),
    row("a cluster range of IPv4 masquerades no client over IPv6", Client, Cluster(41), 80, kept(ALL)).only(V6),
    row("a cluster range of IPv4 masquerades no pod at the ClusterIP", Pod, Cluster(41), 80, kept(ALL)),
    row("a cluster range of IPv4 lets a pod reach all endpoints over IPv4", Pod, Vip(1), 80, kept(ALL)).only(V4),
    row("a cluster range of IPv4 takes a pod for a client over IPv6", Pod, Vip(1), 80, kept(L)).only(V6),
    row("a cluster range of IPv4 masquerades the node at the load-balancer IP", Node, Vip(1), 80, masqueraded(ALL)),
];

const IPV6_RANGE: [Row; 6] = [
    row("a cluster range of IPv6 masquerades a client over IPv6", Client, Cluster(41), 80, masqueraded(ALL)).only(V6),
    row("a cluster range of IPv6 masquerades no client over IPv4", Client, Cluster(41), 80, kept(ALL)).only(V4),
    row("a cluster range of IPv6 masquerades no pod at the ClusterIP", Pod, Cluster(41), 80, kept(ALL)),
    row("a cluster range of IPv6 lets a pod reach all endpoints over IPv6", Pod, Vip(1), 80, kept(ALL)).only(V6),
    row("a cluster range of IPv6 takes a pod for a client over IPv4", Pod, Vip(1), 80, kept(L)).only(V4),
    row("a cluster range of IPv6 masquerades the node at the load-balancer IP", Node, Vip(1), 80, masqueraded(ALL)),
];

/// Pods of other nodes are not this node's.
const NODE_CIDR: [Row; 8] = [
    row("NodeCIDR does not masquerade a pod of this node at the ClusterIP", Pod, Cluster(41), 80, kept(ALL)),
    row("NodeCIDR masquerades a pod of another node at the ClusterIP", FarPod, Cluster(41), 80, masqueraded(ALL)),
    row("NodeCIDR masquerades a client at the ClusterIP", Client, Cluster(41), 80, masqueraded(ALL)),
    row("NodeCIDR masquerades the node at the ClusterIP", Node, Cluster(41), 80, masqueraded(ALL)),
    row("NodeCIDR lets a pod of this node reach all endpoints at the load-balancer IP", Pod, Vip(1), 80, kept(ALL)),
    row("NodeCIDR takes a pod of another node for a client", FarPod, Vip(1), 80, kept(L)),
    row("NodeCIDR takes a pod of another node for a client at the NodePort", FarPod, Primary, 3001, kept(L)),
    row("NodeCIDR masquerades the node at the NodePort", Node, Primary, 3001, masqueraded(ALL)),
];

const NODE_CIDR_IPV4: [Row; 4] = [
    row("NodeCIDR of IPv4 lets a pod reach all endpoints over IPv4", Pod, Vip(1), 80, kept(ALL)).only(V4),
    row("NodeCIDR of IPv4 takes a pod for a client over IPv6", Pod, Vip(1), 80, kept(L)).only(V6),
    row("NodeCIDR of IPv4 masquerades a client over IPv4", Client, Cluster(41), 80, masqueraded(ALL)).only(V4),
    row("NodeCIDR of IPv4 masquerades no client over IPv6", Client, Cluster(41), 80, kept(ALL)).only(V6),
];

const OTHER_NODE_CIDRS: [Row; 3] = [
    row("NodeCIDR of another range masquerades a pod outside that range", Pod, Cluster(41), 80, masqueraded(ALL)),
    row("NodeCIDR of another range does not masquerade a pod inside that range", FarPod, Cluster(41), 80, kept(ALL)),
    row("NodeCIDR of another range takes a pod outside that range for a client", Pod, Vip(1), 80, kept(L)),
];

/// By the interface that packets come in by. What the node itself sends comes in by none, so it is not a pod's.
const INTERFACE: [Row; 8] = [
    row("BridgeInterface does not masquerade a pod behind the bridge", Pod, Cluster(41), 80, kept(ALL)),
    row("BridgeInterface masquerades a pod behind another interface", FarPod, Cluster(41), 80, masqueraded(ALL)),
    row("BridgeInterface masquerades a client at the ClusterIP", Client, Cluster(41), 80, masqueraded(ALL)),
    row("BridgeInterface masquerades the node at the ClusterIP", Node, Cluster(41), 80, masqueraded(ALL)),
    row("BridgeInterface lets a pod behind the bridge reach all endpoints", Pod, Vip(1), 80, kept(ALL)),
    row("BridgeInterface takes a pod behind another interface for a client", FarPod, Vip(1), 80, kept(L)),
    row("BridgeInterface sends a client of the NodePort to the local endpoint", Client, Primary, 3001, kept(L)),
    row("BridgeInterface masquerades the node at the NodePort", Node, Primary, 3001, masqueraded(ALL)),
];

const PREFIX: [Row; 8] = [
    row("InterfaceNamePrefix does not masquerade a pod of that prefix", Pod, Cluster(41), 80, kept(ALL)),
    row("InterfaceNamePrefix does not masquerade another such pod", FarPod, Cluster(41), 80, kept(ALL)),
    row("InterfaceNamePrefix masquerades a client at the ClusterIP", Client, Cluster(41), 80, masqueraded(ALL)),
    row("InterfaceNamePrefix masquerades the node at the ClusterIP", Node, Cluster(41), 80, masqueraded(ALL)),
    row("InterfaceNamePrefix lets a pod of that prefix reach all endpoints", Pod, Vip(1), 80, kept(ALL)),
    row("InterfaceNamePrefix lets another such pod reach all endpoints", FarPod, Vip(1), 80, kept(ALL)),
    row("InterfaceNamePrefix sends a client of the NodePort to the local endpoint", Client, Primary, 3001, kept(L)),
    row("InterfaceNamePrefix masquerades the node at the NodePort", Node, Primary, 3001, masqueraded(ALL)),
];
