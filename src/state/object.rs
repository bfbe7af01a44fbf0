//! The domain objects: what is kept of each Kubernetes object, already validated.
//!
//! Only fields that decide something are here, so two versions of an object that differ elsewhere (labels, annotations,
//! resourceVersion) are equal and cause no work.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::few::Few;
use super::names::ObjectName;
use super::skipped::Problem;
use crate::dataplane::{Family, Protocol};

/// Tells an object from a later one of the same name: a hash of its `metadata.uid`, the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uid(NonZeroU64);

impl Uid {
    /// The hash of a UID; `None` if there is none, as in manifests.
    pub fn new(text: &str) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        NonZeroU64::new(hasher.finish()).filter(|_| !text.is_empty()).map(Self)
    }
}

/// The `metadata.uid` of a version of an object, if it is known. It does not count where versions are compared: an object that was made
/// again just as it was causes no work.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(pub Option<Uid>);

impl Identity {
    /// Whether there is no UID, as in manifests.
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }
}

impl PartialEq for Identity {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Identity {}

/// A Service, as far as a proxy reads it (core/v1).
///
/// A Service that is not proxied (headless, `ExternalName`, labelled `service.kubernetes.io/service-proxy-name`) is never an
/// object here: its source turns it into a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.uid`
    #[serde(default, skip_serializing_if = "Identity::is_unknown")]
    pub uid: Identity,
    /// `metadata.creationTimestamp`: of two Services with equal claims to a frontend the older one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The cluster IPs, at most one of each family.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.internalTrafficPolicy: Local`: ClusterIP traffic goes to endpoints on this node only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal_traffic_local: bool,
    /// `externalTrafficPolicy: Local`, on a Service that can be reached from outside: traffic from outside goes to endpoints on
    /// this node only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external_traffic_local: bool,
    /// `spec.externalIPs`.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub external_ips: Few<IpAddr>,
    /// Addresses of `status.loadBalancer.ingress` whose `ipMode` is not `Proxy` (KEP-1860).
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub load_balancer_ips: Few<IpAddr>,
    /// `spec.loadBalancerSourceRanges`: the sources that may use the load-balancer IPs; all if there is none of the family.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub source_ranges: Few<IpNet>,
    /// `spec.sessionAffinity: ClientIP`: for how many seconds after its last new connection a client keeps its endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<NonZeroU32>,
    /// `spec.healthCheckNodePort`, under `externalTrafficPolicy: Local` of type LoadBalancer: where load balancers ask this node
    /// whether it has endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_node_port: Option<NonZeroU16>,
    /// The ports, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// What was left out of this object, and why.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub problems: Few<Problem>,
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
    /// `nodePort`: the port on the node's addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<NonZeroU16>,
}

/// An EndpointSlice (discovery.k8s.io/v1) of address type IPv4 or IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub name: ObjectName,
    /// `metadata.uid`
    #[serde(default, skip_serializing_if = "Identity::is_unknown")]
    pub uid: Identity,
    /// Label `kubernetes.io/service-name`: the Service, in the same namespace, that the endpoints belong to.
    pub service: Arc<str>,
    /// `addressType`.
    pub family: Family,
    /// The ports that every endpoint of the slice serves.
    pub ports: Vec<SlicePort>,
    /// The endpoints, in the order of the object.
    pub endpoints: Vec<SliceEndpoint>,
    /// What was left out of this object, and why.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub problems: Few<Problem>,
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
#[serde(from = "EndpointForm", into = "EndpointForm")]
pub struct SliceEndpoint {
    /// The first of the endpoint's addresses, of the slice's family; the API says that all are fungible.
    pub addr: IpAddr,
    /// Where it is. Many endpoints share one; `None` if that says nothing.
    pub place: Option<Arc<EndpointPlace>>,
    /// `conditions.ready`; unset means true.
    pub ready: bool,
    /// `conditions.serving`; unset means true, as kube-proxy reads it.
    pub serving: bool,
    /// `conditions.terminating`; unset means false.
    pub terminating: bool,
}

/// Where an endpoint is, and where it should be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointPlace {
    /// `nodeName`: where the endpoint runs.
    pub node: Option<Arc<str>>,
    /// `hints.forZones`: zones that should use the endpoint; empty for no hint (KEP-2433).
    pub zone_hints: Box<[Arc<str>]>,
    /// `hints.forNodes`: nodes that should use the endpoint; empty for no hint (KEP-3015).
    pub node_hints: Box<[Arc<str>]>,
}

/// An endpoint in journals.
#[derive(Serialize, Deserialize)]
#[serde(rename = "SliceEndpoint")]
struct EndpointForm {
    addr: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    zone_hints: Box<[Arc<str>]>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    node_hints: Box<[Arc<str>]>,
    ready: bool,
    serving: bool,
    terminating: bool,
}

/// A ServiceCIDR (networking.k8s.io/v1): ranges that ClusterIPs are allocated from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCidr {
    /// The object's name (cluster-scoped).
    pub name: ObjectName,
    /// `metadata.uid`
    #[serde(default, skip_serializing_if = "Identity::is_unknown")]
    pub uid: Identity,
    /// `spec.cidrs`, host bits cleared.
    pub networks: Vec<IpNet>,
    /// What was left out of this object, and why.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub problems: Few<Problem>,
}

/// This node's Node object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The object's name (cluster-scoped).
    pub name: ObjectName,
    /// `metadata.deletionTimestamp` is set.
    #[serde(default)]
    pub deleting: bool,
    /// The node carries a taint with key `ToBeDeletedByClusterAutoscaler` (KEP-3836).
    #[serde(default)]
    pub scaled_down: bool,
    /// Label `topology.kubernetes.io/zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Internal addresses, then external ones (`status.addresses`): the first, and the first of the other family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`: the networks of this node's pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<IpNet>,
    /// What was left out of this object, and why.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub problems: Few<Problem>,
}

impl SliceEndpoint {
    /// An endpoint with this address at this place, ready and serving.
    pub fn new(addr: IpAddr, place: impl Into<Arc<EndpointPlace>>) -> Self {
        let place = place.into();
        let place = (*place != EndpointPlace::default()).then_some(place);
        Self { addr, place, ready: true, serving: true, terminating: false }
    }

    /// `nodeName`: where the endpoint runs.
    pub fn node(&self) -> Option<&str> {
        self.place.as_ref()?.node.as_deref()
    }

    /// `hints.forZones`: zones that should use the endpoint; empty for no hint (KEP-2433).
    pub fn zone_hints(&self) -> &[Arc<str>] {
        self.place.as_ref().map_or(&[], |place| &place.zone_hints)
    }

    /// `hints.forNodes`: nodes that should use the endpoint; empty for no hint (KEP-3015).
    pub fn node_hints(&self) -> &[Arc<str>] {
        self.place.as_ref().map_or(&[], |place| &place.node_hints)
    }
}

impl From<EndpointForm> for SliceEndpoint {
    fn from(form: EndpointForm) -> Self {
        let EndpointForm { addr, node, zone_hints, node_hints, ready, serving, terminating } = form;
        Self { ready, serving, terminating, ..Self::new(addr, EndpointPlace { node, zone_hints, node_hints }) }
    }
}

impl From<SliceEndpoint> for EndpointForm {
    fn from(endpoint: SliceEndpoint) -> Self {
        let SliceEndpoint { addr, place, ready, serving, terminating } = endpoint;
        let EndpointPlace { node, zone_hints, node_hints } = place.map_or_else(Default::default, Arc::unwrap_or_clone);
        Self { addr, node, zone_hints, node_hints, ready, serving, terminating }
    }
}

impl EndpointSlice {
    /// The Service that the endpoints belong to.
    pub(super) fn owner(&self) -> ObjectName {
        ObjectName::new(self.name.namespace(), &self.service)
    }
}

impl Node {
    /// Its zone, if it is in one.
    pub(super) fn zone(&self) -> Option<&str> {
        self.zone.as_deref().filter(|zone| !zone.is_empty())
    }

    /// Whether load balancers may send this node traffic (KEP-3836): neither being deleted nor about to be scaled down.
    pub fn is_eligible(&self) -> bool {
        !self.deleting && !self.scaled_down
    }

    /// The same with this address, the first, instead of the one of its family.
    pub(super) fn with_address(&self, ip: IpAddr) -> Self {
        let others = self.addresses.iter().copied().filter(|other| other.is_ipv4() != ip.is_ipv4());
        Self { addresses: std::iter::once(ip).chain(others).collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal has endpoints in this form.
    #[test]
    fn an_endpoint_is_the_same_after_it_was_written_and_read() {
        let place = EndpointPlace {
            node: Some("node-1".into()),
            zone_hints: ["a".into()].into_iter().collect(),
            node_hints: ["node-2".into()].into_iter().collect(),
        };
        let plain = SliceEndpoint::new("10.1.0.1".parse().unwrap(), place);
        let [mut unready, mut silent, mut ending] = [plain.clone(), plain.clone(), plain.clone()];
        (unready.ready, silent.serving, ending.terminating) = (false, false, true);
        for endpoint in [plain, unready, silent, ending] {
            let json = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(serde_json::from_str::<SliceEndpoint>(&json).unwrap(), endpoint, "{json}");
        }
    }
}
