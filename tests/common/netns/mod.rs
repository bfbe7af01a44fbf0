//! A Kubernetes node made of network namespaces, to send real packets through the real kernel.
//!
//! ```text
//!  client ──────────── host ──────────── pods            every pod address answers here
//!  192.0.2.2         pointsman           10.128.0.0/16
//!                      │ └────────────── pod 10.128.0.n  a pod in a namespace of its own, if a test asks for one
//!                   uplink                               the default route, to nowhere
//! ```
//!
//! (And the same in IPv6: see [`addresses`].) The proxy runs in the host's namespace, which forwards. Names are unique, so any
//! number of nodes can exist side by side; everything is removed on drop. Nothing outside the namespaces is touched.

#![allow(clippy::disallowed_types, reason = "kernels and child processes live in real time, which no test can pause")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "stops at the first surprise, and says so"
)]

pub mod addresses;
mod monitor;
mod namespace;
mod process;
pub mod requests;
pub mod requirements;
mod servers;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub use addresses::Family;
pub use monitor::Monitor;
pub use namespace::{Namespace, connect};
pub use process::{Finished, Proxy};
pub use requests::{Answer, Connection, Failure, Request, Transport};
use servers::Servers;

/// The name of this node, which the proxy gets by `--hostname-override`.
pub const NODE_NAME: &str = "node-a";

/// A node, one client outside, and pods. Fields drop in this order: servers before the namespaces that they listen in.
#[derive(Debug)]
pub struct Node {
    servers: Servers,
    /// A machine outside the cluster, with a route to the ClusterIPs through the node.
    pub client: Namespace,
    /// The node itself: forwards, and runs the proxy.
    pub host: Namespace,
    /// Every pod address that has no namespace of its own.
    pub pods: Namespace,
    binary: PathBuf,
    nft: PathBuf,
}

impl Node {
    /// A new node that will run the proxy `binary` with the given `nft`.
    pub fn new(binary: &Path, nft: &Path) -> Self {
        let node = Self {
            servers: Servers::new(),
            client: Namespace::new("client"),
            host: Namespace::new("host"),
            pods: Namespace::new("pods"),
            binary: binary.to_owned(),
            nft: nft.to_owned(),
        };
        namespace::connect((&node.host, "client"), (&node.client, "eth0"));
        namespace::connect((&node.host, "pods"), (&node.pods, "eth0"));
        namespace::connect((&node.host, "uplink"), (&node.host, "nowhere"));
        node.host.sysctl("ipv4/ip_forward", "1");
        node.host.sysctl("ipv6/conf/all/forwarding", "1");
        node.pods.sysctl("ipv4/ip_nonlocal_bind", "1");
        node.pods.sysctl("ipv6/ip_nonlocal_bind", "1");
        // The kernel sends each peer only a few ICMP errors at once; tests count on every one of them.
        node.host.sysctl("ipv4/icmp_ratelimit", "0");
        node.host.sysctl("ipv6/icmp/ratelimit", "0");
        // The default route gives the host's own connections to ClusterIPs a route and a source address. It leads nowhere, and
        // not back to the client: the kernel would tell the client so by redirects.
        node.host.ip_batch(
            "addr add 192.0.2.1/24 dev client
             addr add fd00:192::1/64 dev client nodad
             addr add 198.18.0.1/30 dev pods
             addr add fd00:198::1/64 dev pods nodad
             route add 10.128.0.0/16 via 198.18.0.2
             route add fd00:10:128::/64 via fd00:198::2
             addr add 198.51.100.1/24 dev uplink
             addr add fd00:198:51::1/64 dev uplink nodad
             neigh add 198.51.100.254 lladdr 02:00:00:00:00:01 dev uplink nud permanent
             neigh add fd00:198:51::fe lladdr 02:00:00:00:00:01 dev uplink nud permanent
             route add default via 198.51.100.254
             route add default via fd00:198:51::fe",
        );
        node.client.ip_batch(
            "addr add 192.0.2.2/24 dev eth0
             addr add fd00:192::2/64 dev eth0 nodad
             route add default via 192.0.2.1
             route add default via fd00:192::1",
        );
        // Local routes make every address of the range answer without being configured one by one. They are in the main table
        // so that `pod` can take single addresses out again.
        node.pods.ip_batch(
            "addr add 198.18.0.2/30 dev eth0
             addr add fd00:198::2/64 dev eth0 nodad
             route add default via 198.18.0.1
             route add default via fd00:198::1
             route add local 10.128.0.0/16 dev lo table main
             route add local fd00:10:128::/64 dev lo table main",
        );
        node
    }

    /// Starts a server on a pod address, over TCP and UDP.
    pub fn serve(&self, addr: SocketAddr) {
        self.servers.serve(&self.pods, addr);
    }

    /// A pod in a namespace of its own, with pod address number `number` in both families.
    pub fn pod(&self, number: u16) -> Namespace {
        let pod = Namespace::new(&format!("pod{number}"));
        let link = format!("pod{number}");
        namespace::connect((&self.host, &link), (&pod, "eth0"));
        for (family, gateway, options) in [
            (Family::V4, format!("198.18.1.{}", number % 256), ""),
            (Family::V6, format!("fd00:198:1::{number:x}"), "nodad"),
        ] {
            let own = family.pod_ip(number);
            self.host.ip_batch(&format!("addr add {gateway} peer {own} dev {link} {options}"));
            pod.ip_batch(&format!(
                "addr add {own} peer {gateway} dev eth0 {options}\nroute add default via {gateway} dev eth0 onlink"
            ));
            self.pods.ip_batch(&format!("route add {own} via {}", family.pods_gateway()));
        }
        pod
    }

    /// Starts a server inside a pod's own namespace, over TCP and UDP.
    pub fn serve_in(&self, pod: &Namespace, addr: SocketAddr) {
        self.servers.serve(pod, addr);
    }

    /// A request over TCP from the client outside.
    pub fn tcp(&self, addr: IpAddr, port: u16) -> Request<'_> {
        self.request(Transport::Tcp, addr, port)
    }

    /// A request over UDP from the client outside.
    pub fn udp(&self, addr: IpAddr, port: u16) -> Request<'_> {
        self.request(Transport::Udp, addr, port)
    }

    /// A request from the client outside.
    pub fn request(&self, transport: Transport, addr: IpAddr, port: u16) -> Request<'_> {
        Request::new(&self.client, transport, SocketAddr::new(addr, port))
    }
}
