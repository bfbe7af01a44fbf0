//! What the Node object decides about the program, and what it does not.

use super::*;
use crate::apply::MemoryKernel;
use crate::diff::Scope;
use crate::fixtures::{NODE, empty_lists, scope};
use crate::state::{Decoded, Node, View};

/// A world after complete lists, in which local pods are those of the Node object's networks if `pods_by_node`.
fn world(pods_by_node: bool) -> World {
    let view = View { node_name: NODE.into(), ..View::default() };
    let settings = EngineSettings { grace: None, ..EngineSettings::new(Scope { pods_by_node, ..scope() }, view) };
    let mut world = World { engine: Engine::new(settings), kernel: MemoryKernel::new() };
    empty_lists().into_iter().for_each(|event| drop(world.apply(event)));
    world.apply(small(1));
    world.apply(small_slice(1, 1));
    world.sync();
    world
}

fn node_with(pod_networks: &[&str]) -> Event {
    let pod_cidrs = pod_networks.iter().map(|network| network.parse().unwrap()).collect();
    Event::NodeApplied(Decoded::Object(Node { name: name(NODE), pod_cidrs, ..Node::default() }.into()))
}

#[test]
fn a_change_of_the_nodes_pod_networks_alone_is_programmed() {
    let mut world = world(true);
    for network in ["10.1.0.0/24", "10.2.0.0/24"] {
        let node = node_with(&[network]);
        assert!(world.engine.fold(node.clone()).changed, "{network}");
        let operations = world.sync_after(node);
        assert!(operations.iter().any(|operation| operation.contains(network)), "{operations:?}");
    }
    assert_eq!(world.sync_after(node_with(&["10.2.0.0/24"])), [""; 0]);
}

#[test]
fn a_node_whose_networks_decide_nothing_asks_for_no_commit() {
    let mut world = world(false);
    let folded = world.engine.fold(node_with(&["10.1.0.0/24"]));
    assert!(!folded.changed && !world.engine.is_due());
    assert_eq!(world.sync(), [""; 0]);
}

#[test]
fn an_object_that_did_not_change_asks_for_no_commit_where_the_node_decides_either() {
    let mut world = world(true);
    assert!(!world.engine.fold(small(1).into()).changed);
    assert!(!world.engine.is_due());
}

#[test]
fn an_address_that_accepts_node_ports_comes_before_frontends_that_wait() {
    let mut world = World::sliced(20);
    world.sync();
    (1..=40_u8).for_each(|n| drop(world.apply(small(n).node_port(30_000 + u16::from(n)))));
    let node = Node { name: name(NODE), addresses: vec![crate::fixtures::ip("192.0.2.1")], ..Node::default() };
    world.apply(Event::NodeApplied(Decoded::Object(node.into())));
    let first = world.slice().unwrap();
    let address = |operation: &Operation| operation.to_string().contains("nodeport-ips { 192.0.2.1");
    assert!(first.plan.operations.iter().any(address) && !first.is_caught_up());
}
