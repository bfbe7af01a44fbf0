//! Single changes, one after the other. Most are followed by the way back.

use std::sync::Arc;

use pointsman::state::{Decoded, EndpointPlace, EndpointSlice, Event, ObjectName, Service};
use serde_json::{Value, json};

use crate::cluster::{self, NAMESPACE, NODES, Size};

/// Endpoints of each Service.
const ENDPOINTS: u32 = 5;

/// A change.
pub struct Scenario {
    /// What happens.
    pub name: String,
    /// The events that the loop gets.
    pub events: Vec<Event>,
    /// No Service depends on it: nothing may be sent.
    pub no_op: bool,
    /// It may cost as much as the cluster is large.
    pub walks: bool,
}

/// The cluster before: plain Services, one that uses everything, and this node.
pub fn initial_cluster(services: u32) -> Vec<Event> {
    let mut events = lists(services);
    let everything = [everything(services), cluster::slice(special(services), ENDPOINTS), node()];
    events.extend(cluster::applied(&everything));
    events.push(addresses(&[1]));
    events
}

/// Every kind of change.
pub fn all(services: u32) -> Vec<Scenario> {
    let middle = services / 2;
    let (plain, slice) = (cluster::service(middle), cluster::slice(middle, ENDPOINTS));
    let everything = everything(services);
    let replaced = edited(&slice, |slice| slice["endpoints"][4]["addresses"][0] = later(1));
    let added = edited(&replaced, |slice| {
        let mut new = slice["endpoints"][4].clone();
        new["addresses"][0] = later(2);
        slice["endpoints"].as_array_mut().expect("a list").push(new);
    });
    let conditions = json!({"ready": false, "serving": true, "terminating": true});
    let terminating = edited(&replaced, |slice| slice["endpoints"][4]["conditions"] = conditions);
    let mut all = vec![
        change("an endpoint is replaced", &[&replaced]),
        change("an endpoint is added", &[&added]),
        change("an endpoint is removed", &[&replaced]),
        change("an endpoint terminates", &[&terminating]),
        change("an endpoint is ready again, elsewhere", &[&slice]),
    ];
    let new = special(services) + 1;
    all.push(change("a Service is added", &[&cluster::service(new), &cluster::slice(new, ENDPOINTS)]));
    let name = |name: String| ObjectName::new(NAMESPACE, name);
    let gone = vec![
        Event::SliceDeleted(name(format!("{}-1", cluster::name(new)))),
        Event::ServiceDeleted(name(cluster::name(new))),
    ];
    all.push(Scenario { name: "a Service is removed".to_owned(), events: gone, no_op: false, walks: false });
    all.extend(spec_changes(&everything));
    let hinted = edited(&slice, |slice| {
        for (n, endpoint) in slice["endpoints"].as_array_mut().expect("a list").iter_mut().enumerate() {
            endpoint["hints"] = json!({"forZones": [{"name": if n < 2 { "zone-1" } else { "zone-2" }}]});
        }
    });
    all.push(change("hints are added", &[&hinted]));
    all.push(change("hints are removed", &[&slice]));
    for (name, hosts) in [("a node address is added", &[1, 2][..]), ("a node address is removed", &[1])] {
        all.push(Scenario { name: name.to_owned(), events: vec![addresses(hosts)], no_op: false, walks: false });
    }
    all.extend(no_ops(&plain, &slice, &everything));
    all.extend(walks(services));
    all
}

/// Changes of what a Service asks for.
fn spec_changes(everything: &Value) -> Vec<Scenario> {
    let with = |field: &str, value: Value| edited(everything, |service| service["spec"][field] = value);
    let ranges = json!(["198.51.100.0/24", "203.0.113.0/24"]);
    // The program gets a set and a rule for it.
    let of_new_length = json!(["198.51.100.0/24", "203.0.113.0/25"]);
    let affinity = edited(everything, |service| {
        service["spec"]["sessionAffinity"] = json!("ClientIP");
        service["spec"]["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10_800}});
    });
    let there_and_back = [
        ("externalTrafficPolicy becomes Local", with("externalTrafficPolicy", json!("Local"))),
        ("internalTrafficPolicy becomes Local", with("internalTrafficPolicy", json!("Local"))),
        ("a source range is added", with("loadBalancerSourceRanges", ranges)),
        ("a source range of a new length is added", with("loadBalancerSourceRanges", of_new_length)),
        ("session affinity is switched on", affinity),
    ];
    let both = |(name, changed): (&str, Value)| {
        [change(name, &[&changed]), change(&format!("{name}: and back"), &[everything])]
    };
    there_and_back.into_iter().flat_map(both).collect()
}

/// Changes that no Service depends on.
fn no_ops(plain: &Value, slice: &Value, everything: &Value) -> Vec<Scenario> {
    let metadata =
        |object: &Value, field: &str, value: Value| edited(object, |edited| edited["metadata"][field] = value);
    let annotations = json!({"example.com/seen": "2026-01-02T03:04:05Z"});
    let labels =
        json!({"kubernetes.io/service-name": slice["metadata"]["labels"]["kubernetes.io/service-name"], "x": "y"});
    let heartbeat = edited(&node(), |node| {
        node["metadata"]["resourceVersion"] = json!("2000");
        node["status"]["conditions"] = json!([{"type": "Ready", "lastHeartbeatTime": "2026-01-02T03:04:05Z"}]);
    });
    let pod = edited(slice, |slice| slice["endpoints"][0]["targetRef"]["resourceVersion"] = json!("2000"));
    let changed = [
        ("nothing: a Service's labels", metadata(plain, "labels", json!({"app": "other"}))),
        ("nothing: a Service's annotations", metadata(everything, "annotations", annotations.clone())),
        ("nothing: a Service's resourceVersion", metadata(plain, "resourceVersion", json!("2000"))),
        ("nothing: a slice's labels", metadata(slice, "labels", labels)),
        ("nothing: a slice's annotations", metadata(slice, "annotations", annotations)),
        ("nothing: a slice's resourceVersion", metadata(slice, "resourceVersion", json!("2000"))),
        ("nothing: a pod's resourceVersion", pod),
        ("nothing: the node's heartbeat", heartbeat),
    ];
    changed.into_iter().map(|(name, object)| Scenario { no_op: true, ..change(name, &[&object]) }).collect()
}

/// Changes that may walk over the cluster, and that send nothing.
fn walks(services: u32) -> Vec<Scenario> {
    let elsewhere = edited(&node(), |node| node["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!("zone-2"));
    let scenario = |name: &str, events| Scenario { name: name.to_owned(), events, no_op: true, walks: true };
    vec![
        scenario("walk: everything is listed again", relist(services)),
        scenario("walk: the node moves to another zone", cluster::applied(&[elsewhere])),
    ]
}

/// Complete lists of what there is.
fn relist(services: u32) -> Vec<Event> {
    let mut events = lists(services);
    for one in cluster::applied(&[everything(services), cluster::slice(special(services), ENDPOINTS)]) {
        for list in &mut events {
            match (list, &one) {
                (Event::ServicesReset(all), Event::ServiceApplied(one)) => all.push(one.clone()),
                (Event::SlicesReset(all), Event::SliceApplied(one)) => all.push(one.clone()),
                _ => {}
            }
        }
    }
    // This node is on a list of its own.
    events.retain(|list| !matches!(list, Event::NodesReset(_)));
    events
}

/// Objects are added or changed.
fn change(name: &str, objects: &[&Value]) -> Scenario {
    let objects: Vec<Value> = objects.iter().copied().cloned().collect();
    Scenario { name: name.to_owned(), events: cluster::applied(&objects), no_op: false, walks: false }
}

fn edited(object: &Value, edit: impl FnOnce(&mut Value)) -> Value {
    let mut object = object.clone();
    edit(&mut object);
    object
}

fn later(n: u32) -> Value {
    json!(cluster::later_ip(n).to_string())
}

/// The number of the Service that uses everything.
fn special(services: u32) -> u32 {
    services + 20
}

/// A Service with every kind of address and a source range.
fn everything(services: u32) -> Value {
    edited(&cluster::service(special(services)), |service| {
        let spec = &mut service["spec"];
        spec["type"] = json!("LoadBalancer");
        spec["ports"][0]["nodePort"] = json!(30_080);
        spec["externalIPs"] = json!(["192.0.2.200"]);
        spec["externalTrafficPolicy"] = json!("Cluster");
        spec["loadBalancerSourceRanges"] = json!(["198.51.100.0/24"]);
        service["status"]["loadBalancer"] = json!({"ingress": [{"ip": "203.0.113.1"}]});
    })
}

/// This node.
fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": cluster::NODE, "labels": {"topology.kubernetes.io/zone": "zone-1"}, "resourceVersion": "1000"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
    })
}

/// The host has these addresses, by their last byte.
fn addresses(hosts: &[u8]) -> Event {
    Event::HostAddresses(hosts.iter().map(|host| [192, 0, 2, *host].into()).collect())
}

/// Complete lists with this many Services. They are copies of one that was decoded, because under valgrind decoding takes minutes.
fn lists(services: u32) -> Vec<Event> {
    let mut events = cluster::all(Size { services: 1, endpoints: ENDPOINTS });
    for event in &mut events {
        match event {
            Event::ServicesReset(all) => *all = copies(all, services, service),
            Event::SlicesReset(all) => *all = copies(all, services, slice),
            _ => {}
        }
    }
    events
}

fn copies<T: Clone>(all: &[Decoded<T>], count: u32, edit: fn(&mut T, u32)) -> Vec<Decoded<T>> {
    let first = Arc::clone(&cluster::objects(all)[0]);
    let copy = |n| {
        let mut copy = T::clone(&first);
        edit(&mut copy, n);
        Decoded::Object(Arc::new(copy))
    };
    (0..count).map(copy).collect()
}

fn service(service: &mut Service, n: u32) {
    service.name = ObjectName::new(NAMESPACE, cluster::name(n));
    service.cluster_ips = vec![cluster::cluster_ip(n).into()];
}

fn slice(slice: &mut EndpointSlice, n: u32) {
    slice.name = ObjectName::new(NAMESPACE, format!("{}-1", cluster::name(n)));
    slice.service = cluster::name(n).into();
    for (endpoint, p) in slice.endpoints.iter_mut().zip(n * ENDPOINTS..) {
        endpoint.addr = cluster::pod_ip(p).into();
        let node = Some(format!("node-{}", p % NODES).into());
        endpoint.place = Some(Arc::new(EndpointPlace { node, ..EndpointPlace::default() }));
    }
}
