//! The fields that are read of each Kubernetes object, and nothing else.
//!
//! Every field is optional and of a loose type, so only malformed syntax (or a field given twice) makes an object
//! undecodable. Unknown fields are skipped without being stored. Validation is the business of [`super::decode`].

mod loose;

use serde::Deserialize;

pub use loose::{Items, Loose, Scalar};

/// `apiVersion`, `kind` and `metadata`: what is needed to know what an object is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Head {
    /// `apiVersion`
    pub api_version: Scalar,
    /// `kind`
    pub kind: Scalar,
    /// `metadata`
    pub metadata: Loose<Metadata>,
}

/// `metadata`, as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// `name`
    pub name: Scalar,
    /// `namespace`
    pub namespace: Scalar,
    /// `resourceVersion`: where a watch resumes.
    pub resource_version: Scalar,
    /// `creationTimestamp`
    pub creation_timestamp: Scalar,
    /// `deletionTimestamp`
    pub deletion_timestamp: Scalar,
    /// `labels`
    pub labels: Loose<Labels>,
}

/// The labels that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Labels {
    /// On a Service: another proxy takes care of it. Its presence counts, not its value.
    #[serde(rename = "service.kubernetes.io/service-proxy-name")]
    pub service_proxy_name: Option<Scalar>,
    /// On an EndpointSlice: its Service is headless. Its presence counts, not its value.
    #[serde(rename = "service.kubernetes.io/headless")]
    pub headless: Option<Scalar>,
    /// On an EndpointSlice: the Service that it belongs to.
    #[serde(rename = "kubernetes.io/service-name")]
    pub service_name: Scalar,
    /// On a Node: its zone.
    #[serde(rename = "topology.kubernetes.io/zone")]
    pub zone: Scalar,
}

/// core/v1 Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// `metadata`
    pub metadata: Loose<Metadata>,
    /// `spec`
    pub spec: Loose<ServiceSpec>,
    /// `status`
    pub status: Loose<ServiceStatus>,
}

/// `status` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    /// `loadBalancer`
    pub load_balancer: Loose<LoadBalancer>,
}

/// `status.loadBalancer` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// `ingress`
    pub ingress: Items<Loose<Ingress>>,
}

/// An entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Ingress {
    /// `ip`; an entry may have only a host name.
    pub ip: Scalar,
    /// `ipMode`
    pub ip_mode: Scalar,
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `type`
    #[serde(rename = "type")]
    pub kind: Scalar,
    /// `clusterIP`
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Scalar,
    /// `clusterIPs`
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Items<Scalar>,
    /// `ipFamilies`
    pub ip_families: Items<Scalar>,
    /// `internalTrafficPolicy`
    pub internal_traffic_policy: Scalar,
    /// `sessionAffinity`
    pub session_affinity: Scalar,
    /// `sessionAffinityConfig`
    pub session_affinity_config: Loose<SessionAffinityConfig>,
    /// `externalTrafficPolicy`
    pub external_traffic_policy: Scalar,
    /// `externalIPs`
    #[serde(rename = "externalIPs")]
    pub external_ips: Items<Scalar>,
    /// `loadBalancerSourceRanges`
    pub load_balancer_source_ranges: Items<Scalar>,
    /// `healthCheckNodePort`
    pub health_check_node_port: Scalar,
    /// `ports`
    pub ports: Items<Loose<Port>>,
}

/// `sessionAffinityConfig`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionAffinityConfig {
    /// `clientIP`
    #[serde(rename = "clientIP")]
    pub client_ip: Loose<ClientIpConfig>,
}

/// `sessionAffinityConfig.clientIP`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientIpConfig {
    /// `timeoutSeconds`
    pub timeout_seconds: Scalar,
}

/// A port of a Service or of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// `name`
    pub name: Scalar,
    /// `protocol`
    pub protocol: Scalar,
    /// `port`
    pub port: Scalar,
    /// `nodePort`, of a Service.
    pub node_port: Scalar,
}

/// discovery.k8s.io/v1 EndpointSlice.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// `metadata`
    pub metadata: Loose<Metadata>,
    /// `addressType`
    pub address_type: Scalar,
    /// `endpoints`
    pub endpoints: Items<Loose<Endpoint>>,
    /// `ports`
    pub ports: Items<Loose<Port>>,
}

/// An entry of `endpoints`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// `addresses`; only the first is used.
    pub addresses: Items<Scalar>,
    /// `conditions`
    pub conditions: Loose<Conditions>,
    /// `nodeName`
    pub node_name: Scalar,
    /// `hints`
    pub hints: Loose<Hints>,
}

/// `hints` of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hints {
    /// `forZones`
    pub for_zones: Items<Loose<Hint>>,
    /// `forNodes`
    pub for_nodes: Items<Loose<Hint>>,
}

/// An entry of `forZones` or `forNodes`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Hint {
    /// `name`
    pub name: Scalar,
}

/// `conditions` of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// `ready`
    pub ready: Scalar,
    /// `serving`
    pub serving: Scalar,
    /// `terminating`
    pub terminating: Scalar,
}

/// networking.k8s.io/v1 ServiceCIDR.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceCidr {
    /// `metadata`
    pub metadata: Loose<Metadata>,
    /// `spec`
    pub spec: Loose<ServiceCidrSpec>,
}

/// `spec` of a ServiceCIDR.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceCidrSpec {
    /// `cidrs`
    pub cidrs: Items<Scalar>,
}

/// core/v1 Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    /// `metadata`
    pub metadata: Loose<Metadata>,
    /// `spec`
    pub spec: Loose<NodeSpec>,
    /// `status`
    pub status: Loose<NodeStatus>,
}

/// `spec` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// `taints`
    pub taints: Items<Loose<Taint>>,
    /// `podCIDRs`
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Items<Scalar>,
}

/// `status` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// `addresses`
    pub addresses: Items<Loose<NodeAddress>>,
}

/// An entry of `status.addresses`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `type`
    #[serde(rename = "type")]
    pub kind: Scalar,
    /// `address`
    pub address: Scalar,
}

/// An entry of `taints`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// `key`
    pub key: Scalar,
}
