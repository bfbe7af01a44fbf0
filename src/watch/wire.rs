//! The fields that are read of each Kubernetes object, and nothing else.
//!
//! Every field is optional and of a loose type, so only malformed syntax (or a field given twice in JSON) makes an object
//! undecodable. Unknown fields are skipped without being stored. [`super::decode`] validates what was found. JSON and protobuf fill
//! the same types.

mod envelope;
mod loose;
mod messages;
mod protobuf;

use serde::Deserialize;

pub use envelope::{AnswerStatus, Encoding, ListPage, RawObject, Unreadable, WatchEvent, WatchEventKind};
pub use loose::{FirstItem, LooseList, LooseObject, LooseTime, LooseUid, Scalar};
pub use protobuf::ProtobufFields;

/// The metadata alone, of an object whose other fields cannot be read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PartialObjectMetadata {
    /// `metadata`
    pub metadata: LooseObject<MetadataFields>,
}

/// The fields that are read of `metadata`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MetadataFields {
    /// `name`
    pub name: Scalar,
    /// `namespace`
    pub namespace: Scalar,
    /// `uid`
    pub uid: LooseUid,
    /// `resourceVersion`: where a watch resumes.
    pub resource_version: Scalar,
    /// `creationTimestamp`
    pub creation_timestamp: LooseTime,
    /// `deletionTimestamp`
    pub deletion_timestamp: LooseTime,
    /// `labels`
    pub labels: LooseObject<LabelFields>,
    /// `annotations`
    pub annotations: LooseObject<AnnotationFields>,
}

/// The annotations that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AnnotationFields {
    /// On an EndpointSlice: when the last change of its pods or Service was made.
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub last_change_trigger_time: Scalar,
    /// On a bookmark: all objects of the list that the watch began with have been sent. Its presence counts, not its value.
    #[serde(rename = "k8s.io/initial-events-end")]
    pub initial_events_end: Option<Scalar>,
}

/// The labels that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LabelFields {
    /// On a Service: another proxy serves it. Its presence counts, not its value.
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
pub struct ServiceFields {
    /// `metadata`
    pub metadata: LooseObject<MetadataFields>,
    /// `spec`
    pub spec: LooseObject<ServiceSpecFields>,
    /// `status`
    pub status: LooseObject<ServiceStatusFields>,
}

/// `status` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatusFields {
    /// `loadBalancer`
    pub load_balancer: LooseObject<LoadBalancerFields>,
}

/// `status.loadBalancer` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancerFields {
    /// `ingress`
    pub ingress: LooseList<LooseObject<IngressFields>>,
}

/// An entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IngressFields {
    /// `ip`; an entry may have only a host name.
    pub ip: Scalar,
    /// `ipMode`
    pub ip_mode: Scalar,
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpecFields {
    /// `type`
    #[serde(rename = "type")]
    pub kind: Scalar,
    /// `clusterIP`
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Scalar,
    /// `clusterIPs`
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: LooseList<Scalar>,
    /// `ipFamilies`
    pub ip_families: LooseList<Scalar>,
    /// `internalTrafficPolicy`
    pub internal_traffic_policy: Scalar,
    /// `sessionAffinity`
    pub session_affinity: Scalar,
    /// `sessionAffinityConfig`
    pub session_affinity_config: LooseObject<SessionAffinityFields>,
    /// `externalTrafficPolicy`
    pub external_traffic_policy: Scalar,
    /// `externalIPs`
    #[serde(rename = "externalIPs")]
    pub external_ips: LooseList<Scalar>,
    /// `loadBalancerSourceRanges`
    pub load_balancer_source_ranges: LooseList<Scalar>,
    /// `healthCheckNodePort`
    pub health_check_node_port: Scalar,
    /// `ports`
    pub ports: LooseList<LooseObject<PortFields>>,
}

/// `sessionAffinityConfig`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionAffinityFields {
    /// `clientIP`
    #[serde(rename = "clientIP")]
    pub client_ip: LooseObject<ClientIpFields>,
}

/// `sessionAffinityConfig.clientIP`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientIpFields {
    /// `timeoutSeconds`
    pub timeout_seconds: Scalar,
}

/// A port of a Service or of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PortFields {
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
pub struct EndpointSliceFields {
    /// `metadata`
    pub metadata: LooseObject<MetadataFields>,
    /// `addressType`
    pub address_type: Scalar,
    /// `endpoints`
    pub endpoints: LooseList<LooseObject<EndpointFields>>,
    /// `ports`
    pub ports: LooseList<LooseObject<PortFields>>,
}

/// An entry of `endpoints`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointFields {
    /// `addresses`
    pub addresses: FirstItem,
    /// `conditions`
    pub conditions: LooseObject<ConditionFields>,
    /// `nodeName`
    pub node_name: Scalar,
    /// `hints`
    pub hints: LooseObject<HintsFields>,
}

/// `hints` of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HintsFields {
    /// `forZones`
    pub for_zones: LooseList<LooseObject<HintFields>>,
    /// `forNodes`
    pub for_nodes: LooseList<LooseObject<HintFields>>,
}

/// An entry of `forZones` or `forNodes`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HintFields {
    /// `name`
    pub name: Scalar,
}

/// `conditions` of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConditionFields {
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
pub struct ServiceCidrFields {
    /// `metadata`
    pub metadata: LooseObject<MetadataFields>,
    /// `spec`
    pub spec: LooseObject<ServiceCidrSpecFields>,
}

/// `spec` of a ServiceCIDR.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceCidrSpecFields {
    /// `cidrs`
    pub cidrs: LooseList<Scalar>,
}

/// core/v1 Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeFields {
    /// `metadata`
    pub metadata: LooseObject<MetadataFields>,
    /// `spec`
    pub spec: LooseObject<NodeSpecFields>,
    /// `status`
    pub status: LooseObject<NodeStatusFields>,
}

/// `spec` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpecFields {
    /// `taints`
    pub taints: LooseList<LooseObject<TaintFields>>,
    /// `podCIDRs`
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: LooseList<Scalar>,
}

/// `status` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatusFields {
    /// `addresses`
    pub addresses: LooseList<LooseObject<NodeAddressFields>>,
}

/// An entry of `status.addresses`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeAddressFields {
    /// `type`
    #[serde(rename = "type")]
    pub kind: Scalar,
    /// `address`
    pub address: Scalar,
}

/// An entry of `taints`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaintFields {
    /// `key`
    pub key: Scalar,
}
