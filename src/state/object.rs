//! The domain objects: what is kept of each Kubernetes object, already validated.
//!
//! Only fields that decide something are here, so two versions of an object that differ elsewhere (labels, annotations,
//! resourceVersion) are equal and cause no work.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::ObjectName;
use super::skipped::Problem;
use crate::dataplane::{Family, Protocol};

/// A Service, as far as a proxy reads it (core/v1).
///
/// A Service that is not proxied (headless, `ExternalName`, labelled `service.kubernetes.io/service-proxy-name`) is never an
/// object here: its source turns it into a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.creationTimestamp`: of two Services that claim the same frontend the older one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The cluster IPs, at most one of each family.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.internalTrafficPolicy: Local`: ClusterIP traffic goes to endpoints on this node only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal_traffic_local: bool,
    /// The ports, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// What was left out of this object, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// One entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// The port's name; empty when unnamed.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The port on the Service's addresses, 1 to 65535.
    pub port: u16,
}

/// An EndpointSlice (discovery.k8s.io/v1) of address type IPv4 or IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub name: ObjectName,
    /// Label `kubernetes.io/service-name`: the Service, in the same namespace, that the endpoints belong to.
    pub service: Arc<str>,
    /// `addressType`.
    pub family: Family,
    /// The ports that every endpoint of the slice serves.
    pub ports: Vec<SlicePort>,
    /// The endpoints, in the order of the object.
    pub endpoints: Vec<SliceEndpoint>,
    /// What was left out of this object, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// One entry of an EndpointSlice's `ports`, with name and port set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlicePort {
    /// Name, matched with the Service port's name.
    pub name: Arc<str>,
    /// Protocol, matched with the Service port's protocol.
    pub protocol: Protocol,
    /// The port on the endpoint, 1 to 65535.
    pub port: u16,
}

/// One entry of an EndpointSlice's `endpoints`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceEndpoint {
    /// The first of the endpoint's addresses, of the slice's family; the API says that all are fungible.
    pub addr: IpAddr,
    /// `nodeName`: where the endpoint runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
    /// `conditions.ready`; unset means true.
    pub ready: bool,
    /// `conditions.serving`; unset means true, as kube-proxy reads it.
    pub serving: bool,
    /// `conditions.terminating`; unset means false.
    pub terminating: bool,
}

/// A ServiceCIDR (networking.k8s.io/v1): ranges that ClusterIPs are allocated from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCidr {
    /// The object's name (cluster-scoped).
    pub name: ObjectName,
    /// `spec.cidrs`, host bits cleared.
    pub networks: Vec<IpNet>,
    /// What was left out of this object, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// This node's Node object: whether load balancers should send it traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The object's name (cluster-scoped).
    pub name: ObjectName,
    /// `metadata.deletionTimestamp` is set.
    #[serde(default)]
    pub deleting: bool,
    /// The node carries a taint with key `ToBeDeletedByClusterAutoscaler` (KEP-3836).
    #[serde(default)]
    pub scaled_down: bool,
}

impl Node {
    /// Whether load balancers may send this node traffic (KEP-3836): neither being deleted nor about to be scaled down.
    pub fn is_eligible(&self) -> bool {
        !self.deleting && !self.scaled_down
    }
}
