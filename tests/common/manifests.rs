//! Kubernetes objects for tests: valid by default, so that a test shows only what it is about.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::netns::addresses::{Family, SERVICE_CIDRS};
use super::netns::{NODE_NAME, Transport};

/// A folder of manifests, one file for each object, changed the way that careful programs change files.
#[derive(Debug)]
pub struct Manifests {
    folder: TempDir,
}

/// A Service under construction.
#[derive(Clone, Debug)]
pub struct Service(Value);

/// An EndpointSlice under construction.
#[derive(Clone, Debug)]
pub struct Slice(Value);

/// A ClusterIP Service `namespace/name` without addresses and ports yet.
pub fn service(name: &str) -> Service {
    Service(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name),
        "spec": {"type": "ClusterIP", "clusterIPs": [], "ipFamilies": [], "ports": []},
    }))
}

/// An EndpointSlice of one family that belongs to the Service `namespace/name`.
pub fn slice_of(service: &str, family: Family) -> Slice {
    let (_, name) = split(service);
    let mut metadata = metadata(&format!("{service}-{}", family.to_string().to_lowercase()));
    metadata["labels"] = json!({
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    });
    Slice(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": family.to_string(),
        "ports": [],
        "endpoints": [],
    }))
}

/// The ServiceCIDR that every cluster has.
pub fn service_cidr() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": SERVICE_CIDRS},
    })
}

impl Manifests {
    /// An empty folder.
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("a scratch folder") }
    }

    /// The folder.
    pub fn path(&self) -> &str {
        self.folder.path().to_str().expect("scratch folders have plain names")
    }

    /// Writes an object in one step. It replaces an earlier version.
    pub fn apply(&self, object: impl Into<Value>) {
        let object = object.into();
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let file = self.file(&text(&object["kind"]), &text(&metadata["namespace"]), &text(&metadata["name"]));
        self.write(&file, &object.to_string());
    }

    /// Deletes an object.
    pub fn delete(&self, kind: &str, name: &str) {
        let (namespace, name) = split(name);
        fs::remove_file(self.file(kind, namespace, name)).expect("the object exists");
    }

    /// Writes a file of any content.
    pub fn apply_text(&self, name: &str, text: &str) {
        self.write(&self.folder.path().join(name), text);
    }

    fn write(&self, file: &Path, text: &str) {
        // Renamed into place, so that a reader never sees half a file; the suffix keeps it from being read before.
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, file)).expect("the folder can be written");
    }

    fn file(&self, kind: &str, namespace: &str, name: &str) -> PathBuf {
        self.folder.path().join(format!("{kind}-{namespace}-{name}.json"))
    }
}

impl Service {
    /// Adds a cluster IP, and its family.
    pub fn cluster_ip(mut self, addr: impl Into<IpAddr>) -> Self {
        let addr = addr.into();
        let spec = &mut self.0["spec"];
        if spec["clusterIP"].is_null() {
            spec["clusterIP"] = json!(addr);
        }
        push(&mut spec["clusterIPs"], json!(addr));
        push(&mut spec["ipFamilies"], json!(if addr.is_ipv4() { "IPv4" } else { "IPv6" }));
        self
    }

    /// Gives it ClusterIP number `number` in both families.
    pub fn dual_stack(self, number: u16) -> Self {
        Family::ALL.into_iter().fold(self, |service, family| service.cluster_ip(family.cluster_ip(number)))
    }

    /// Adds a TCP port.
    pub fn port(self, name: &str, port: u16) -> Self {
        self.port_of("TCP", name, port)
    }

    /// Adds a UDP port.
    pub fn udp_port(self, name: &str, port: u16) -> Self {
        self.port_of("UDP", name, port)
    }

    /// Adds a port of the given protocol.
    pub fn port_of(mut self, protocol: &str, name: &str, port: u16) -> Self {
        push(&mut self.0["spec"]["ports"], json!({"name": name, "port": port, "protocol": protocol}));
        self
    }

    /// Adds the same port over TCP, named `tcp`, and UDP, named `udp`.
    pub fn port_of_both_transports(self, port: u16) -> Self {
        Transport::ALL.into_iter().fold(self, |service, transport| {
            let name = transport.to_string();
            service.port_of(&name.to_uppercase(), &name, port)
        })
    }

    /// Sets `sessionAffinity: ClientIP` with this timeout.
    pub fn session_affinity(mut self, seconds: u32) -> Self {
        self.0["spec"]["sessionAffinity"] = json!("ClientIP");
        self.0["spec"]["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
        self
    }

    /// Gives the port of this name a NodePort.
    pub fn node_port(mut self, name: &str, node_port: u16) -> Self {
        self.0["spec"]["type"] = json!("NodePort");
        let ports = self.0["spec"]["ports"].as_array_mut().into_iter().flatten();
        ports.filter(|port| port["name"] == name).for_each(|port| port["nodePort"] = json!(node_port));
        self
    }

    /// Gives it an external IP.
    pub fn external_ip(mut self, addr: &str) -> Self {
        self.0["spec"]["externalIPs"] = json!([addr]);
        self
    }

    /// Makes it a load balancer with this address, which only these sources may use.
    pub fn firewalled(mut self, addr: &str, sources: &[&str]) -> Self {
        self.0["spec"]["type"] = json!("LoadBalancer");
        self.0["spec"]["loadBalancerSourceRanges"] = json!(sources);
        self.0["status"] = json!({"loadBalancer": {"ingress": [{"ip": addr}]}});
        self
    }

    /// Sets `internalTrafficPolicy: Local`.
    pub fn internal_traffic_local(mut self) -> Self {
        self.0["spec"]["internalTrafficPolicy"] = json!("Local");
        self
    }

    /// Makes it a load balancer with `externalTrafficPolicy: Local`, whose health check asks this port.
    pub fn health_checked(mut self, port: u16) -> Self {
        let spec = &mut self.0["spec"];
        spec["type"] = json!("LoadBalancer");
        spec["externalTrafficPolicy"] = json!("Local");
        spec["healthCheckNodePort"] = json!(port);
        self
    }

    /// Sets `creationTimestamp`.
    pub fn created(mut self, time: &str) -> Self {
        self.0["metadata"]["creationTimestamp"] = json!(time);
        self
    }
}

impl Slice {
    /// Renames the slice: a Service may have several.
    pub fn named(mut self, name: &str) -> Self {
        self.0["metadata"]["name"] = json!(name);
        self
    }

    /// Adds a TCP port.
    pub fn port(self, name: &str, port: u16) -> Self {
        self.port_of("TCP", name, port)
    }

    /// Adds a port of the given protocol.
    pub fn port_of(mut self, protocol: &str, name: &str, port: u16) -> Self {
        push(&mut self.0["ports"], json!({"name": name, "port": port, "protocol": protocol}));
        self
    }

    /// Adds the same port over TCP, named `tcp`, and UDP, named `udp`.
    pub fn port_of_both_transports(self, port: u16) -> Self {
        Transport::ALL.into_iter().fold(self, |slice, transport| {
            let name = transport.to_string();
            slice.port_of(&name.to_uppercase(), &name, port)
        })
    }

    /// Adds a ready endpoint on this node. The next calls may describe it further.
    pub fn endpoint(mut self, addr: impl Into<IpAddr>) -> Self {
        let endpoint = json!({
            "addresses": [addr.into()],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": NODE_NAME,
        });
        push(&mut self.0["endpoints"], endpoint);
        self
    }

    /// Adds ready endpoints on this node.
    pub fn endpoints<A: Into<IpAddr>>(self, addrs: impl IntoIterator<Item = A>) -> Self {
        addrs.into_iter().fold(self, Self::endpoint)
    }

    /// The last endpoint is not ready, and does not serve.
    pub fn not_ready(self) -> Self {
        self.conditions(&json!({"ready": false, "serving": false, "terminating": false}))
    }

    /// The last endpoint is terminating and still serves.
    pub fn terminating(self) -> Self {
        self.conditions(&json!({"ready": false, "serving": true, "terminating": true}))
    }

    /// The last endpoint is on another node.
    pub fn on(mut self, node: &str) -> Self {
        self.last()["nodeName"] = json!(node);
        self
    }

    fn conditions(mut self, conditions: &Value) -> Self {
        self.last()["conditions"] = conditions.clone();
        self
    }

    fn last(&mut self) -> &mut Value {
        self.0["endpoints"].as_array_mut().and_then(|list| list.last_mut()).expect("an endpoint comes first")
    }
}

impl From<Service> for Value {
    fn from(Service(value): Service) -> Self {
        value
    }
}

impl From<Slice> for Value {
    fn from(Slice(value): Slice) -> Self {
        value
    }
}

fn metadata(name: &str) -> Value {
    let (namespace, name) = split(name);
    json!({"namespace": namespace, "name": name, "creationTimestamp": "2026-01-01T00:00:00Z"})
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().expect("builders make lists").push(item);
}
