//! Objects as the API server sends them.

use pointsman::dataplane::Family;
use serde_json::{Value, json};

use crate::objects::{Object, Stored};
use crate::testing::apiserver::DAMAGED;

impl Stored {
    /// The object for the API server of the tests.
    pub fn json(&self) -> Value {
        let mut json = match &self.object {
            Object::Service(service) => {
                let is_exposed = service.ports.iter().any(|port| port.node_port.is_some())
                    || !service.load_balancer_ips.is_empty()
                    || !service.external_ips.is_empty();
                let policy = |is_local| if is_local { "Local" } else { "Cluster" };
                let ports = service.ports.iter().map(|port| {
                    let number = port.node_port.map(std::num::NonZero::get);
                    json!({"name": &*port.name, "protocol": port.protocol.to_string().to_uppercase(), "port": port.port,
                           "nodePort": number})
                });
                let mut spec = json!({
                    "type": if is_exposed { "LoadBalancer" } else { "ClusterIP" },
                    "clusterIP": service.cluster_ips.first().map_or_else(String::new, ToString::to_string),
                    "clusterIPs": &*service.cluster_ips,
                    "ipFamilies": service.cluster_ips.iter().map(|ip| Family::from_addr(*ip).label()).collect::<Vec<_>>(),
                    "internalTrafficPolicy": policy(service.internal_traffic_local),
                    "externalIPs": &*service.external_ips,
                    "loadBalancerSourceRanges": texts(service.source_ranges.iter()),
                    "ports": ports.collect::<Vec<_>>(),
                });
                if is_exposed {
                    spec["externalTrafficPolicy"] = policy(service.external_traffic_local).into();
                }
                if let Some(seconds) = service.session_affinity {
                    spec["sessionAffinity"] = "ClientIP".into();
                    spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds.get()}});
                }
                let ingress = service.load_balancer_ips.iter().map(|ip| json!({"ip": ip}));
                let mut metadata = json!({"namespace": service.name.namespace()});
                if let Some(created) = service.created {
                    metadata["creationTimestamp"] = created.to_string().into();
                }
                json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec,
                       "status": {"loadBalancer": {"ingress": ingress.collect::<Vec<_>>()}}})
            }
            Object::Slice(slice) => {
                let endpoints = slice.endpoints.iter().map(|endpoint| {
                    let names = |hints: &[std::sync::Arc<str>]| -> Vec<Value> {
                        hints.iter().map(|name| json!({"name": &**name})).collect()
                    };
                    json!({
                        "addresses": [endpoint.addr],
                        "conditions": {"ready": endpoint.ready, "serving": endpoint.serving,
                                       "terminating": endpoint.terminating},
                        "nodeName": endpoint.node(),
                        "hints": {"forZones": names(endpoint.zone_hints()), "forNodes": names(endpoint.node_hints())},
                    })
                });
                let ports = slice.ports.iter().map(|port| {
                    json!({"name": &*port.name, "protocol": port.protocol.to_string().to_uppercase(), "port": port.port})
                });
                json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": {"namespace": slice.name.namespace(),
                                 "labels": {"kubernetes.io/service-name": &*slice.service}},
                    "addressType": slice.family.label(),
                    "endpoints": endpoints.collect::<Vec<_>>(), "ports": ports.collect::<Vec<_>>(),
                })
            }
            Object::Cidr(cidr) => json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {},
                "spec": {"cidrs": texts(cidr.networks.iter())},
            }),
            Object::Node(node) => {
                let addresses = node.addresses.iter().map(|addr| json!({"type": "InternalIP", "address": addr}));
                let labels = node.zone.iter().map(|zone| ("topology.kubernetes.io/zone", &**zone));
                json!({
                    "apiVersion": "v1", "kind": "Node",
                    "metadata": {"labels": labels.collect::<std::collections::BTreeMap<_, _>>()},
                    "spec": {"podCIDRs": texts(node.pod_cidrs.iter())},
                    "status": {"addresses": addresses.collect::<Vec<_>>()},
                })
            }
        };
        json["metadata"]["name"] = self.object.name().name().into();
        json["metadata"]["uid"] = self.uid.to_string().into();
        if !self.readable {
            json["metadata"]["annotations"] = json!({DAMAGED: "true"});
        }
        json
    }
}

fn texts(all: impl Iterator<Item = impl ToString>) -> Vec<String> {
    all.map(|it| it.to_string()).collect()
}
