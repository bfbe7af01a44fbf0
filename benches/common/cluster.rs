//! A cluster of N Services with E endpoints each: as manifests, and as the events that come of them.
//!
//! Endpoint `e` of Service `n` is pod `n * E + e`. Pods are spread over [`NODES`] nodes in turn, of which [`NODE`] is this one.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use pointsman::state::{Decoded, Event};
use pointsman::watch::Manifests;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::figures::thousands;

/// The nodes that pods run on, in turn.
pub const NODES: u32 = 20;
/// The node that the proxy serves.
pub const NODE: &str = "node-0";
/// The namespace of everything.
pub const NAMESPACE: &str = "scale";
/// Objects in one file.
const CHUNK: u32 = 1_000;

/// How large a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Size {
    /// The number of Services.
    pub services: u32,
    /// The number of endpoints of each.
    pub endpoints: u32,
}

impl Size {
    /// The number of all endpoints.
    pub fn pods(self) -> u32 {
        self.services * self.endpoints
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", thousands(self.services), self.endpoints)
    }
}

impl FromStr for Size {
    type Err = String;

    /// `1000`, which means `1000x5`, or `1000x50`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (services, endpoints) = text.split_once('x').unwrap_or((text, "5"));
        let wrong = |_| format!("{text:?} is not a size: write Services, or Servicesxendpoints, as in 1000x5");
        let size = Self { services: services.parse().map_err(wrong)?, endpoints: endpoints.parse().map_err(wrong)? };
        if size.services == 0 || size.endpoints == 0 || u64::from(size.services) * u64::from(size.endpoints) > 4_000_000
        {
            return Err(format!("{text:?}: at least one Service and endpoint, and at most 4 million endpoints"));
        }
        Ok(size)
    }
}

/// The ClusterIP of Service `n`.
pub fn cluster_ip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a60_0000 + 256 + n)
}

/// The address of pod `p`.
pub fn pod_ip(p: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a80_0000 + 256 + p)
}

/// Address number `n` of those for pods that come later.
pub fn later_ip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + 256 + n)
}

/// Whether it is the address of a pod that came later.
pub fn is_later(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(addr) if addr < cluster_ip(0) && addr >= later_ip(0))
}

/// The name of Service `n`.
pub fn name(n: u32) -> String {
    format!("service-{n:06}")
}

/// Service `n`, on port 80 over TCP.
pub fn service(n: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name(n), "namespace": NAMESPACE, "creationTimestamp": "2026-01-01T00:00:00Z",
                     "uid": format!("5d1c1a52-0000-4000-8000-{n:012x}"), "resourceVersion": "1000",
                     "labels": {"app": name(n)}},
        "spec": {"type": "ClusterIP", "clusterIP": cluster_ip(n).to_string(), "clusterIPs": [cluster_ip(n).to_string()],
                 "ipFamilies": ["IPv4"], "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
                 "selector": {"app": name(n)},
                 "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]},
        "status": {"loadBalancer": {}},
    })
}

/// The slice of Service `n`.
pub fn slice(n: u32, endpoints: u32) -> Value {
    let pods = (n * endpoints)..((n + 1) * endpoints);
    slice_of(&name(n), pods.map(|p| (pod_ip(p), format!("node-{}", p % NODES))))
}

/// The slice of a Service with these pods: their addresses and nodes.
pub fn slice_of(service: &str, pods: impl Iterator<Item = (Ipv4Addr, String)>) -> Value {
    let endpoints: Vec<Value> = pods
        .map(|(addr, node)| {
            json!({
                "addresses": [addr.to_string()],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": node, "zone": "zone-1",
                "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": format!("{service}-{addr}")},
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": NAMESPACE, "resourceVersion": "1000",
                     "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    })
}

/// Writes one file of manifests, at once for whoever watches.
pub fn write(path: &Path, items: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let new = path.with_extension("new");
    fs::write(&new, list.to_string()).expect("the folder is writable");
    fs::rename(new, path).expect("the folder is writable");
}

/// Writes all Services, and all slices; that of Service 0 has a file of its own, [`CHANGING`].
pub fn write_all(folder: &Path, size: Size) {
    for first in (0..size.services).step_by(CHUNK as usize) {
        let numbers = first..(first + CHUNK).min(size.services);
        let (services, slices): (Vec<Value>, Vec<Value>) =
            numbers.clone().map(|n| (service(n), slice(n, size.endpoints))).unzip();
        write(&folder.join(format!("services-{first}.json")), &services);
        write(&folder.join(format!("slices-{first}.json")), if first == 0 { &slices[1..] } else { &slices });
    }
    write(&folder.join(CHANGING), &[slice(0, size.endpoints)]);
}

/// The file with the slice of Service 0.
pub const CHANGING: &str = "changing.json";

/// The events that a folder of manifests yields: complete lists of every kind.
pub fn load(folder: &Path) -> Vec<Event> {
    Manifests::load(&[folder.to_owned()], NODE).expect("the manifests can be read").1
}

/// The complete lists of a whole cluster, decoded from manifests as the proxy does.
pub fn all(size: Size) -> Vec<Event> {
    let folder = tempfile::tempdir().expect("a folder");
    write_all(folder.path(), size);
    load(folder.path())
}

/// Objects as events that say they were added or changed, decoded as the proxy does.
pub fn applied(objects: &[Value]) -> Vec<Event> {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("objects.json"), objects);
    let mut events = Vec::new();
    for event in load(folder.path()) {
        match event {
            Event::ServicesReset(all) => events.extend(all.into_iter().map(Event::ServiceApplied)),
            Event::SlicesReset(all) => events.extend(all.into_iter().map(Event::SliceApplied)),
            Event::NodesReset(all) => events.extend(all.into_iter().map(Event::NodeApplied)),
            Event::ServiceCidrsReset(all) => events.extend(all.into_iter().map(Event::ServiceCidrApplied)),
            _ => {}
        }
    }
    events
}

/// The readable objects of a list.
pub fn objects<T>(list: &[Decoded<T>]) -> Vec<Arc<T>> {
    list.iter().filter_map(|decoded| decoded.object().cloned()).collect()
}
