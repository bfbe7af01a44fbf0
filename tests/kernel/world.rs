//! A cluster of manifests and the node that proxies it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::manifests::{Manifests, Service, Slice, service, service_cidr, slice_of};
use crate::common::netns::{Answer, Connection, Failure, Family, Finished, Node, Proxy, Transport, requirements};

/// How long the proxy may take until the kernel holds what the manifests say.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// ClusterIP number of the Service `default/web`.
pub const WEB: u16 = 10;

/// The port of `default/web`, over TCP and UDP.
pub const PORT: u16 = 80;

/// The port that its endpoints serve.
pub const TARGET_PORT: u16 = 8080;

/// A node and the manifests that its proxy reads.
#[derive(Debug)]
pub struct World {
    pub node: Node,
    pub manifests: Manifests,
}

impl World {
    /// A node and a cluster without Services; nothing on a machine where these tests cannot run.
    pub fn new() -> Option<Self> {
        let nft = requirements::nft_or_skip()?;
        // `POINTSMAN_BINARY` tests another build of the proxy.
        let binary = std::env::var_os("POINTSMAN_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_pointsman").into());
        let world = Self { node: Node::new(Path::new(&binary), nft), manifests: Manifests::new() };
        world.manifests.apply(service_cidr());
        Some(world)
    }

    /// The same, with `default/web` and its endpoints, all of them served.
    pub fn with_web(endpoints: &[u16]) -> Option<Self> {
        let world = Self::new()?;
        world.serve(endpoints);
        world.manifests.apply(web());
        world.set_web_endpoints(endpoints);
        Some(world)
    }

    /// Starts servers on these pods.
    pub fn serve(&self, pods: &[u16]) {
        for family in Family::ALL {
            for pod in pods {
                self.node.serve(SocketAddr::new(family.pod_ip(*pod), TARGET_PORT));
            }
        }
    }

    /// Makes these pods the endpoints of `default/web`, all ready.
    pub fn set_web_endpoints(&self, pods: &[u16]) {
        for family in Family::ALL {
            self.manifests.apply(web_slice(family).endpoints(pods.iter().map(|pod| family.pod_ip(*pod))));
        }
    }

    /// Programs the kernel once (`--once`).
    pub fn sync(&self) {
        self.sync_with_log();
    }

    /// Programs the kernel once (`--once`), and returns what was logged.
    pub fn sync_with_log(&self) -> String {
        let finished = self.node.pointsman(&["--manifests", self.manifests.path(), "--once"]);
        assert_eq!(finished.code, Some(0), "one sync:\n{}", finished.stderr);
        finished.stderr
    }

    /// What a sync would change.
    pub fn dry_run(&self) -> Finished {
        self.node.pointsman(&["--manifests", self.manifests.path(), "--dry-run"])
    }

    /// A proxy that follows the manifests, once it has caught up with them.
    pub fn follow(&self) -> Proxy {
        let proxy = self.start();
        self.settle();
        proxy
    }

    /// A proxy that follows the manifests, just started.
    pub fn start(&self) -> Proxy {
        self.node.start_pointsman(&["--manifests", self.manifests.path(), "--watch"])
    }

    /// Waits until the kernel holds what the manifests say.
    pub fn settle(&self) {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            let plan = self.dry_run();
            match plan.code {
                Some(0) => return,
                _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                code => panic!("the kernel does not follow (dry run: {code:?}):\n{}{}", plan.stdout, plan.stderr),
            }
        }
    }

    /// Asserts that the kernel holds what the manifests say.
    pub fn assert_no_difference(&self) {
        let plan = self.dry_run();
        assert_eq!(plan.code, Some(0), "differences left:\n{}{}", plan.stdout, plan.stderr);
    }

    /// One new connection to `default/web` from the client outside.
    pub fn ask_web(&self, family: Family, transport: Transport) -> Result<Answer, Failure> {
        self.node.request(transport, family.cluster_ip(WEB), PORT).send()
    }

    /// The endpoints that answer many new connections to `default/web`, as pod numbers.
    pub fn reached(&self, family: Family, transport: Transport, times: usize) -> BTreeSet<u16> {
        let answers = self.node.request(transport, family.cluster_ip(WEB), PORT).send_many(times);
        answers.into_iter().map(|answer| pod_number(answer.expect("the Service answers").server.ip())).collect()
    }

    /// Asserts that new connections of every kind reach exactly these pods.
    pub fn assert_web_reaches(&self, pods: &[u16]) {
        let expected: BTreeSet<u16> = pods.iter().copied().collect();
        for family in Family::ALL {
            for transport in Transport::ALL {
                // Of 8 endpoints, 250 draws miss one less than once in 10^13 runs.
                assert_eq!(self.reached(family, transport, 250), expected, "{family} {transport}");
            }
        }
    }

    /// One open TCP connection to `default/web` for each pod in each family.
    pub fn connections_to(&self, pods: &[u16]) -> Vec<(Connection, Answer)> {
        let mut open = Vec::new();
        for family in Family::ALL {
            let mut missing: BTreeSet<u16> = pods.iter().copied().collect();
            for _ in 0..1000 {
                if missing.is_empty() {
                    break;
                }
                let opened = self.node.tcp(family.cluster_ip(WEB), PORT).open().expect("the Service answers");
                if missing.remove(&pod_number(opened.1.server.ip())) {
                    open.push(opened);
                }
            }
            assert!(missing.is_empty(), "{family}: no connection reached pods {missing:?}");
        }
        open
    }

    /// Every object of the proxy's tables without elements, as nft lists it.
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        for family in Family::ALL {
            let text = self.node.nft(&["-j", "-t", "list", "table", family.nft(), "pointsman"]);
            let listing: Value = serde_json::from_str(&text).expect("nft prints JSON");
            objects.extend(listing["nftables"].as_array().expect("a list of objects").iter().cloned());
        }
        objects
    }
}

/// `default/web`: port 80 over TCP and UDP, in both families.
pub fn web() -> Service {
    service("default/web").dual_stack(WEB).port_of_both_transports(PORT)
}

/// The EndpointSlice of `default/web` in one family, without endpoints yet.
pub fn web_slice(family: Family) -> Slice {
    slice_of("default/web", family).port_of_both_transports(TARGET_PORT)
}

/// Asserts that every open connection still talks to the server that it began with.
pub fn assert_unbroken(connections: &mut [(Connection, Answer)]) {
    for (connection, first) in connections {
        assert_eq!(connection.ping(), Ok(*first), "an open connection broke or moved");
    }
}

/// The number of a pod address: the inverse of [`Family::pod_ip`].
pub fn pod_number(addr: IpAddr) -> u16 {
    match addr {
        IpAddr::V4(addr) => u16::from_be_bytes([addr.octets()[2], addr.octets()[3]]),
        IpAddr::V6(addr) => addr.segments()[7],
    }
}
