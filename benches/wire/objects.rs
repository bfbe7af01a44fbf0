//! Services and slices as an API server stores them: with everything that its controllers write, which the proxy does not read.

use serde_json::{Value, json};

use crate::common::cluster::{self, NAMESPACE, NODES, name, pod_ip};

/// When everything was made.
const CREATED: &str = "2026-01-02T03:04:05Z";

/// Service `n`, as `kubectl apply` makes it.
pub fn service(n: u32, managed: bool) -> Value {
    let mut service = cluster::service(n);
    // The server gives it.
    service["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    service["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
    service["spec"]["ipFamilyPolicy"] = "SingleStack".into();
    if managed {
        service["metadata"]["managedFields"] = json!([{
            "manager": "helm", "operation": "Update", "apiVersion": "v1", "time": CREATED, "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:app.kubernetes.io/managed-by": {}}},
                "f:spec": {"f:internalTrafficPolicy": {},
                           "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}":
                                       {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}},
                           "f:selector": {}, "f:sessionAffinity": {}, "f:type": {}},
            },
        }]);
    }
    service
}

/// The slice of Service `n` with so many endpoints, as the controller makes it.
pub fn slice(n: u32, endpoints: u32, managed: bool) -> Value {
    let service = name(n);
    let pods = (n * endpoints)..((n + 1) * endpoints);
    let endpoints: Vec<Value> = pods
        .map(|p| {
            json!({
                "addresses": [pod_ip(p).to_string()],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": format!("node-{}", p % NODES), "zone": "zone-1",
                "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": format!("{service}-7d9c6b5f48-{p:05x}"),
                              "uid": format!("9b7e2f10-0000-4000-8000-{p:012x}")},
            })
        })
        .collect();
    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-x7k2p"), "generateName": format!("{service}-"), "namespace": NAMESPACE,
            "uid": format!("3f4c8d11-0000-4000-8000-{n:012x}"), "generation": 3,
            "creationTimestamp": CREATED,
            "labels": {"app": service, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                       "kubernetes.io/service-name": service},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": CREATED},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": service, "controller": true,
                                 "blockOwnerDeletion": true, "uid": format!("5d1c1a52-0000-4000-8000-{n:012x}")}],
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    });
    if managed {
        slice["metadata"]["managedFields"] = json!([{
            "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "discovery.k8s.io/v1",
            "time": CREATED, "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:addressType": {}, "f:endpoints": {}, "f:ports": {},
                "f:metadata": {
                    "f:annotations": {".": {}, "f:endpoints.kubernetes.io/last-change-trigger-time": {}},
                    "f:generateName": {},
                    "f:labels": {".": {}, "f:app": {}, "f:endpointslice.kubernetes.io/managed-by": {},
                                 "f:kubernetes.io/service-name": {}},
                    "f:ownerReferences": {".": {}, "k:{\"uid\":\"5d1c1a52-0000-4000-8000-000000000000\"}": {}},
                },
            },
        }]);
    }
    slice
}
