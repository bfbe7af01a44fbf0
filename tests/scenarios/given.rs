//! The objects of a small cluster, in both families at once.

use serde_json::{Value, json};

use super::words::{Place, TARGET_PORT};
use crate::common::netns::{Family, NODE_NAME};

/// A Service in the namespace `default` and its EndpointSlices.
#[derive(Clone, Debug)]
pub struct App {
    name: String,
    metadata: Value,
    spec: Value,
    ingress: Vec<(Place, Value)>,
    external_ips: Vec<Place>,
    cluster_ip: u16,
    targets: Vec<Value>,
    endpoints: Vec<Endpoint>,
}

/// An endpoint of an [`App`]: a pod, or the node itself.
#[derive(Clone, Debug)]
pub struct Endpoint {
    at: At,
    fields: Value,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Pod(u16),
    Node,
}

/// A Service with this ClusterIP number, without ports and endpoints yet.
pub fn app(name: &str, cluster_ip: u16) -> App {
    App {
        name: name.to_owned(),
        metadata: json!({"namespace": "default", "name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}),
        spec: json!({"type": "ClusterIP", "ports": []}),
        ingress: Vec::new(),
        external_ips: Vec::new(),
        cluster_ip,
        targets: Vec::new(),
        endpoints: Vec::new(),
    }
}

/// A Service with this ClusterIP number and port 80 over TCP.
pub fn web(name: &str, cluster_ip: u16) -> App {
    app(name, cluster_ip).port("http", "TCP", 80, TARGET_PORT)
}

/// A ready endpoint on this node.
pub fn local(pod: u16) -> Endpoint {
    Endpoint::new(At::Pod(pod), NODE_NAME)
}

/// A ready endpoint on another node.
pub fn remote(pod: u16) -> Endpoint {
    Endpoint::new(At::Pod(pod), "node-b")
}

/// A ready endpoint in the node's own network.
pub fn host_network() -> Endpoint {
    Endpoint::new(At::Node, NODE_NAME)
}

/// This node's object, in a zone.
pub fn node(zone: Option<&str>) -> Value {
    let labels = zone.map_or_else(|| json!({}), |zone| json!({"topology.kubernetes.io/zone": zone}));
    let internal = |place: Place, family| json!({"type": "InternalIP", "address": place.addr(family)});
    let addresses: Vec<Value> = [Place::Primary, Place::Secondary]
        .into_iter()
        .flat_map(|place| Family::ALL.map(|family| internal(place, family)))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE_NAME, "labels": labels},
        "spec": {"podCIDR": NODE_POD_CIDRS[0], "podCIDRs": NODE_POD_CIDRS},
        "status": {"addresses": addresses},
    })
}

/// The pods' networks of this node alone.
pub const NODE_POD_CIDRS: [&str; 2] = ["10.128.0.0/24", "fd00:10:128::/120"];

impl App {
    /// Adds a port and the port that it leads to.
    pub fn port(mut self, name: &str, protocol: &str, port: u16, target: u16) -> Self {
        push(&mut self.spec["ports"], json!({"name": name, "protocol": protocol, "port": port, "targetPort": target}));
        self.targets.push(json!({"name": name, "protocol": protocol, "port": target}));
        self
    }

    /// Gives the last port a NodePort.
    pub fn node_port(mut self, port: u16) -> Self {
        let ports = self.spec["ports"].as_array_mut().expect("a list");
        ports.last_mut().expect("a port comes first")["nodePort"] = json!(port);
        if self.ingress.is_empty() {
            self.spec["type"] = json!("NodePort");
        }
        self
    }

    /// Gives it a load-balancer IP in each family.
    pub fn vip(self, number: u16) -> Self {
        self.ingress(Place::Vip(number), json!({}))
    }

    /// The same, an address that the node has.
    pub fn bound_vip(self) -> Self {
        self.ingress(Place::BoundExternal, json!({}))
    }

    /// The same, for a load balancer that connects to NodePorts by itself.
    pub fn proxied_vip(self, number: u16) -> Self {
        self.ingress(Place::Vip(number), json!({"ipMode": "Proxy"}))
    }

    fn ingress(mut self, place: Place, fields: Value) -> Self {
        self.spec["type"] = json!("LoadBalancer");
        self.ingress.push((place, fields));
        self
    }

    /// Gives it an external IP in each family.
    pub fn external_ip(mut self, place: Place) -> Self {
        self.external_ips.push(place);
        self
    }

    /// `externalTrafficPolicy: Local`
    pub fn external_local(self) -> Self {
        self.with("externalTrafficPolicy", json!("Local"))
    }

    /// `internalTrafficPolicy: Local`
    pub fn internal_local(self) -> Self {
        self.with("internalTrafficPolicy", json!("Local"))
    }

    /// `loadBalancerSourceRanges`
    pub fn ranges(self, ranges: &[&str]) -> Self {
        self.with("loadBalancerSourceRanges", json!(ranges))
    }

    /// Sets any field of the spec.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }

    /// Created at another time than the others.
    pub fn created(mut self, time: &str) -> Self {
        self.metadata["creationTimestamp"] = json!(time);
        self
    }

    /// Sets a label.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.metadata["labels"][name] = json!(value);
        self
    }

    /// Gives it endpoints.
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        self.endpoints.extend(endpoints);
        self
    }

    /// The objects.
    pub fn objects(&self) -> Vec<Value> {
        let slices = Family::ALL.map(|family| self.slice(family));
        std::iter::once(self.service()).chain(slices).collect()
    }

    fn service(&self) -> Value {
        let mut spec = self.spec.clone();
        let addrs = Family::ALL.map(|family| family.cluster_ip(self.cluster_ip));
        spec["clusterIP"] = json!(addrs[0]);
        spec["clusterIPs"] = json!(addrs);
        spec["ipFamilies"] = json!(["IPv4", "IPv6"]);
        let both = |place: &Place| Family::ALL.map(|family| place.addr(family));
        spec["externalIPs"] = json!(self.external_ips.iter().flat_map(both).collect::<Vec<_>>());
        let mut ingress = Vec::new();
        for (place, fields) in &self.ingress {
            for addr in both(place) {
                let mut entry = fields.clone();
                entry["ip"] = json!(addr);
                ingress.push(entry);
            }
        }
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata,
            "spec": spec,
            "status": {"loadBalancer": {"ingress": ingress}},
        })
    }

    fn slice(&self, family: Family) -> Value {
        let endpoints: Vec<Value> = self.endpoints.iter().map(|endpoint| endpoint.object(family)).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": "default",
                "name": format!("{}-{}", self.name, family.to_string().to_lowercase()),
                "labels": {"kubernetes.io/service-name": self.name},
            },
            "addressType": family.to_string(),
            "ports": self.targets,
            "endpoints": endpoints,
        })
    }
}

impl Endpoint {
    fn new(at: At, node: &str) -> Self {
        let fields = json!({"conditions": {"ready": true, "serving": true, "terminating": false}, "nodeName": node});
        Self { at, fields }
    }

    /// Neither ready nor serving.
    pub fn not_ready(self) -> Self {
        self.conditions(false, false, false)
    }

    /// Terminating, and serving still.
    pub fn terminating(self) -> Self {
        self.conditions(false, true, true)
    }

    /// Terminating, and serving no more.
    pub fn ended(self) -> Self {
        self.conditions(false, false, true)
    }

    /// `hints.forZones`
    pub fn zones(mut self, zones: &[&str]) -> Self {
        self.fields["hints"]["forZones"] = zones.iter().map(|zone| json!({"name": zone})).collect();
        self
    }

    /// `hints.forNodes`
    pub fn nodes(mut self, nodes: &[&str]) -> Self {
        self.fields["hints"]["forNodes"] = nodes.iter().map(|node| json!({"name": node})).collect();
        self
    }

    fn conditions(mut self, ready: bool, serving: bool, terminating: bool) -> Self {
        self.fields["conditions"] = json!({"ready": ready, "serving": serving, "terminating": terminating});
        self
    }

    fn object(&self, family: Family) -> Value {
        let mut object = self.fields.clone();
        let addr = match self.at {
            At::Pod(number) => family.pod_ip(number),
            At::Node => Place::Primary.addr(family),
        };
        object["addresses"] = json!([addr]);
        object
    }
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().expect("a list").push(item);
}
