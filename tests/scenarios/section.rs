//! The sections that rows are grouped in.

use std::fmt;

/// What a table of rows is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    AllKinds,
    NoEndpoints,
    ClusterIps,
    NodePortAddresses,
    ExternalLocal,
    ExternalCluster,
    NoLocalEndpoints,
    Hairpin,
    SourceRanges,
    Claims,
    Guards,
    Terminating,
    Masquerade,
    Topology,
    PodDetection,
    AsKubeProxy,
    RefusedAtOnce,
    Steps,
    ServiceCidrs,
    Services,
    Slices,
    EndpointChanges,
    NodeObject,
    Flags,
}

impl Section {
    /// The name that selects it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllKinds => "all-kinds",
            Self::NoEndpoints => "no-endpoints",
            Self::ClusterIps => "cluster-ips",
            Self::NodePortAddresses => "node-port-addresses",
            Self::ExternalLocal => "external-local",
            Self::ExternalCluster => "external-cluster",
            Self::NoLocalEndpoints => "no-local-endpoints",
            Self::Hairpin => "hairpin",
            Self::SourceRanges => "source-ranges",
            Self::Claims => "claims",
            Self::Guards => "guards",
            Self::Terminating => "terminating",
            Self::Masquerade => "masquerade",
            Self::Topology => "topology",
            Self::PodDetection => "pod-detection",
            Self::AsKubeProxy => "as-kube-proxy",
            Self::RefusedAtOnce => "refused-at-once",
            Self::Steps => "steps",
            Self::ServiceCidrs => "service-cidrs",
            Self::Services => "services",
            Self::Slices => "slices",
            Self::EndpointChanges => "endpoint-changes",
            Self::NodeObject => "node-object",
            Self::Flags => "flags",
        }
    }

    /// What its rows are about.
    pub const fn title(self) -> &'static str {
        match self {
            Self::AllKinds => "six kinds of Services at once",
            Self::NoEndpoints => "a Service without endpoints",
            Self::ClusterIps => "ClusterIPs and their ports",
            Self::NodePortAddresses => "addresses that accept NodePorts",
            Self::ExternalLocal => "externalTrafficPolicy Local",
            Self::ExternalCluster => "externalTrafficPolicy Cluster",
            Self::NoLocalEndpoints => "policies with and without local endpoints",
            Self::Hairpin => "pods that reach themselves",
            Self::SourceRanges => "loadBalancerSourceRanges",
            Self::Claims => "frontends of two Services, and of none",
            Self::Guards => "what an operator does not let Services ask for",
            Self::Terminating => "endpoints that terminate",
            Self::Masquerade => "sources that are masqueraded",
            Self::Topology => "zone and node hints with policies",
            Self::PodDetection => "flags that tell pods of this node",
            Self::AsKubeProxy => "measured on kube-proxy",
            Self::RefusedAtOnce => "refusals while ICMP is limited",
            Self::Steps => "one change after the other",
            Self::ServiceCidrs => "unused addresses of ServiceCIDRs",
            Self::Services => "frontends that Services have",
            Self::Slices => "merging EndpointSlices",
            Self::EndpointChanges => "changes that concern a Service",
            Self::NodeObject => "this node's object",
            Self::Flags => "flags accepted and refused",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
