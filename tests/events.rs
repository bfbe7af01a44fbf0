//! Kubernetes Events across the nodes of a cluster: what the owner of a Service can cause at the API server, counted in requests.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::apiserver::{ApiServer, Resource, node, service};
use pointsman::observe::{EventRate, Events, publish};
use pointsman::state::{Kind, ObjectName, ObjectRef, Problem, Reason, Skipped};
use tokio::task::JoinSet;

/// How many nodes the cluster has.
const NODES: usize = 200;

/// Quick times; the numbers are as by default.
const RATE: EventRate = EventRate { burst: 10, every: Duration::from_millis(1), spread: Duration::from_millis(500) };

/// A cluster with nodes and Services of these names.
fn cluster(services: &[&str]) -> ApiServer {
    let server = ApiServer::start();
    (0..NODES).for_each(|i| server.apply(node(&node_name(i))));
    services.iter().for_each(|name| server.apply(service(name, "10.96.0.1")));
    server
}

fn node_name(i: usize) -> String {
    format!("node-{i:03}")
}

/// A frontend that this Service lost to another one.
fn lost(service: &str, frontend: &str) -> Skipped {
    let (namespace, name) = service.split_once('/').expect("a namespace and a name");
    let problem = Problem::new(frontend, Reason::FrontendTaken, "shop/old:http holds it");
    Skipped { object: ObjectRef { kind: Kind::Service, name: ObjectName::new(namespace, name) }, problem }
}

/// Lets every node find all of this, and write until nothing is left to write.
async fn on_every_node(server: &ApiServer, found: &[Skipped]) {
    let client = kube::Client::try_from(server.config()).expect("a client");
    let mut writers = JoinSet::new();
    for i in 0..NODES {
        let (events, notes) = Events::queue();
        found.iter().for_each(|skipped| events.left_out(std::slice::from_ref(skipped)));
        writers.spawn(publish(client.clone(), node_name(i), notes, RATE));
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("no panic");
    }
}

/// All requests so far, and those of them that are about Services and Events.
fn requests(server: &ApiServer) -> (usize, usize) {
    let about_events = server.requests(Resource::Services) + server.event_requests();
    (server.requests(Resource::Nodes) + about_events, about_events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clash_that_is_switched_on_and_off_costs_a_few_requests_however_many_nodes_there_are() {
    let server = cluster(&["shop/new"]);
    let toggled: Vec<Skipped> = (0..20).map(|_| lost("shop/new", "203.0.113.10:80/tcp")).collect();
    on_every_node(&server, &toggled).await;
    let (all, about_events) = requests(&server);
    println!("20 times the same clash on {NODES} nodes: {all} requests, {about_events} of them about Events");
    assert_eq!(server.events().len(), 1);
    assert!((2..=44).contains(&about_events), "{about_events}");
    assert!(all <= NODES + about_events, "each node asks once a day at most how many nodes there are: {all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ever_new_clashes_of_a_namespace_have_a_bound_and_leave_room_for_others() {
    let names: Vec<String> = (0..60).map(|i| format!("shop/web-{i}")).chain(["other/web".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = cluster(&names);
    let found: Vec<Skipped> = names.iter().map(|name| lost(name, "203.0.113.10:80/tcp")).collect();
    on_every_node(&server, &found).await;
    let (all, about_events) = requests(&server);
    println!("60 clashes of one namespace on {NODES} nodes: {all} requests, {about_events} of them about Events");
    let events = server.events();
    let of = |namespace: &str| events.iter().filter(|event| event["metadata"]["namespace"] == namespace).count();
    assert_eq!((of("shop"), of("other")), (30, 1));
    assert!(about_events <= 31 * 44, "{about_events}");
}
