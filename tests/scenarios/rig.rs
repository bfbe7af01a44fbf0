//! The node that all groups run on, one after the other, with every source and every server that rows speak of.

use std::net::SocketAddr;
use std::path::Path;

use super::group::Group;
use super::words::{Place, SELF, Source, TARGET_PORT};
use crate::common::manifests::Manifests;
use crate::common::netns::{Family, Namespace, Node};

/// The pods that serve, all in one namespace.
pub const PODS: std::ops::RangeInclusive<u16> = 11..=26;

/// The ports that the first two of them serve besides [`TARGET_PORT`].
const MORE_PORTS: [u16; 4] = [53, 81, 5353, 8443];

/// A port on which the node itself serves, on each of its addresses. Rows have NodePorts of this number.
pub const NODE_PORT: u16 = 3001;

/// A port on which the node itself serves on its primary address, and which no row makes a NodePort.
pub const OWN_PORT: u16 = 2222;

/// The NodePorts of rows. The node itself serves them on its primary address: what the proxy should refuse or drop would be
/// answered there, where it does not.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 3001..=3070;

/// The ports of external IPs, for the same reason served on the one that is an address of the node.
const EXTERNAL_PORTS: [u16; 2] = [53, 80];

/// A node with sources and servers.
#[derive(Debug)]
pub struct Rig {
    pods: Vec<(Source, Namespace)>,
    node: Node,
}

impl Rig {
    /// The node, without rules.
    pub fn new(binary: &Path, nft: &Path) -> Self {
        let node = Node::new(binary, nft);
        for family in Family::ALL {
            let (link, host) = if family == Family::V4 { (24, 32) } else { (64, 128) };
            let no_dad = if family == Family::V4 { "" } else { "nodad" };
            let addr = Source::Blocked.addr(family);
            node.client.ip_batch(&format!("addr add {addr}/{link} dev eth0 {no_dad}"));
            let addr = Place::BoundExternal.addr(family);
            node.host.ip_batch(&format!("addr add {addr}/{host} dev uplink {no_dad}"));
        }
        let pods = [Source::Pod, Source::FarPod, Source::OwnPod]
            .map(|source| (source, node.pod(source.pod().expect("a pod"))))
            .into();
        let rig = Self { pods, node };
        rig.serve();
        rig
    }

    fn serve(&self) {
        for family in Family::ALL {
            for pod in PODS {
                let more = if pod < 13 { &MORE_PORTS[..] } else { &[] };
                for port in std::iter::once(&TARGET_PORT).chain(more) {
                    self.node.serve(SocketAddr::new(family.pod_ip(pod), *port));
                }
            }
            let own = SocketAddr::new(family.pod_ip(SELF), TARGET_PORT);
            self.node.serve_in(self.namespace(Source::OwnPod), own);
            let serve = |place: Place, port: u16| {
                self.node.serve_in(&self.node.host, SocketAddr::new(place.addr(family), port));
            };
            for place in [Place::Secondary, Place::BoundExternal, Place::Gateway, Place::Loopback] {
                serve(place, NODE_PORT);
            }
            for port in NODE_PORTS.chain([OWN_PORT, TARGET_PORT]) {
                serve(Place::Primary, port);
            }
            for port in EXTERNAL_PORTS {
                serve(Place::BoundExternal, port);
            }
        }
    }

    /// Programs the kernel with what a group is given.
    ///
    /// # Errors
    /// If the proxy refuses, with what it says.
    pub fn program(&self, group: &Group) -> Result<(), String> {
        let manifests = Manifests::new();
        for object in &group.objects {
            manifests.apply(object.clone());
        }
        let limit = if group.icmp_limited { "1000" } else { "0" };
        self.node.host.sysctl("ipv4/icmp_ratelimit", limit);
        self.node.host.sysctl("ipv6/icmp/ratelimit", limit);
        let mut args = vec!["--manifests", manifests.path(), "--once", "--log-level", "warn"];
        args.extend(group.detector.iter().chain(&group.flags).map(String::as_str));
        let finished = self.node.pointsman_without_cluster_cidr(&args);
        match finished.code {
            Some(0) => Ok(()),
            code => Err(format!("the proxy ended with {code:?}:\n{}", finished.stderr)),
        }
    }

    /// The namespace that packets are sent from.
    pub fn namespace(&self, source: Source) -> &Namespace {
        match source {
            Source::Node | Source::NodeBound => &self.node.host,
            Source::Client | Source::Blocked => &self.node.client,
            Source::Pod | Source::FarPod | Source::OwnPod => {
                let pod = self.pods.iter().find(|(known, _)| *known == source);
                &pod.expect("every pod has a namespace").1
            }
        }
    }
}
