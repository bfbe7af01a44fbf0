//! The rows of lists. Fields are the columns of JSON.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    /// Namespace and name.
    pub service: String,
    /// Its ClusterIPs.
    pub cluster_ips: Vec<IpAddr>,
    /// Its ports: `NAME:PORT/PROTOCOL`, without the name if it has none, and with `@NODEPORT` if it has one.
    pub ports: Vec<String>,
    /// How many endpoints new connections to its ClusterIPs use, over all ports and families.
    pub endpoints_used: usize,
    /// How many endpoints its EndpointSlices name.
    pub endpoints: usize,
    /// Its external IPs.
    pub external_ips: Vec<IpAddr>,
    /// Its load-balancer IPs.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `internalTrafficPolicy`
    pub internal_policy: String,
    /// `externalTrafficPolicy`
    pub external_policy: String,
    /// For how many seconds a client keeps its endpoint; absent without session affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
    /// `healthCheckNodePort`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_node_port: Option<u16>,
    /// When it was created, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// What was left out of it, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// An endpoint of a service port, for the clients under one traffic policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointRow {
    /// The service port.
    pub service: String,
    /// `Cluster` for clients that may use all endpoints, `Local` for those that a policy confines to this node's.
    pub policy: String,
    /// Address and port.
    pub endpoint: String,
    /// The node that it is on, if a slice says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether new connections use it.
    pub used: bool,
    /// Why, or why not: a code.
    pub reason: String,
    /// The same for people.
    pub why: String,
    /// The zones that its hints name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zone_hints: Vec<String>,
    /// The nodes that its hints name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_hints: Vec<String>,
}

/// A frontend, and what happens to new connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendRow {
    /// `ADDRESS:PORT/PROTOCOL`; of a NodePort with the unspecified address.
    pub frontend: String,
    /// The service port that has it.
    pub service: String,
    /// `internal`, `external` or `node-port`.
    pub kind: String,
    /// `balance`, `balance-local`, `refuse` or `drop`.
    pub outcome: String,
    /// How many endpoints clients without a restriction use.
    pub endpoints: usize,
    /// How many endpoints clients use that the policy `Local` confines to this node; absent where it confines none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_endpoints: Option<usize>,
    /// For how many seconds a client keeps its endpoint; absent without session affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_seconds: Option<u32>,
    /// The sources that may use it; absent if all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<IpNet>>,
    /// The service ports that ask for it too and do not get it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
}

/// A claim to a frontend that lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClashRow {
    /// The frontend.
    pub frontend: String,
    /// The service port that does not get it.
    pub loser: String,
    /// The service port that has it.
    pub winner: String,
    /// Why the winner comes first: a code.
    pub rule: String,
    /// The same for people.
    pub why: String,
}

/// A client that a frontend with session affinity remembers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientRow {
    /// The frontend.
    pub frontend: String,
    /// The service port.
    pub service: String,
    /// The client's address.
    pub client: IpAddr,
    /// The endpoint that its next connection goes to; absent if that is gone, and the client is balanced again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// In how many seconds it is forgotten, unless it comes back before; absent where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
}
