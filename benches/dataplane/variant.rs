//! One kind of rules at one size, in a network namespace of its own.

use std::net::Ipv4Addr;

use crate::chains;
use crate::common::cluster::{NODES, Size, cluster_ip};
use crate::common::namespace::Namespace;
use crate::flows::Flows;
use crate::program;

/// The network that counts as that of local pods: what comes from elsewhere to a ClusterIP is masqueraded.
pub const PODS: &str = "10.128.0.0/9";

/// How many pods run on this node at most: what kubelet allows unless told otherwise.
const MOST_PODS: u32 = 110;

/// Whether pod `p` runs on this node.
pub fn is_here(p: u32) -> bool {
    p.is_multiple_of(NODES) && p / NODES < MOST_PODS
}

/// Which rules are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Hooks of NAT without rules, so that connections are tracked.
    None,
    /// Ours.
    Program,
    /// Ours, and flows that are for no Service.
    Others,
    /// Ours, where one Service that no flow goes to keeps its clients.
    OneAffinity,
    /// Ours, where every Service keeps its clients.
    Affinity,
    /// Ours, where 5,000 Services that no flow goes to keep their clients, each for another time.
    OtherTimeouts,
    /// Ours, where every Service keeps one client and no other.
    OneClient,
    /// The same, beside 5,000 Services that no flow goes to and that keep no client.
    OneClientBesidePlain,
    /// The same, beside 5,000 Services that no flow goes to and that keep their clients, each for another time.
    OneClientBesideOthers,
    /// Ours, where flows go to load-balancer IPs that all sources may use.
    LoadBalancer,
    /// Ours, where flows go to load-balancer IPs that only some sources may use, the senders among them.
    Ranges,
    /// The same, beside a Service whose ranges have 30 other lengths.
    RangesBesideOthers,
    /// Ours, with counters of each Service's connections.
    Counters,
    /// A chain, a rule and an anonymous map for each Service.
    Chains,
}

/// Where flows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A local pod's address.
    Pod,
    /// The host's own.
    Host,
}

/// Rules that are loaded, and what was measured of them.
pub struct Variant {
    /// What they are.
    pub name: &'static str,
    /// The size of the cluster.
    pub size: Size,
    flows: [Flows; 2],
    measured: [Vec<f64>; 2],
    /// Last: sockets go before their namespace.
    _namespace: Namespace,
}

/// Nanoseconds of a first packet.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// In the best round.
    pub best: f64,
    /// In the median round.
    pub median: f64,
}

/// Address number `n` of those that no Service has.
fn elsewhere(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0b00_0000 + 256 + n)
}

/// The load-balancer IP of Service `n`, if it has one.
pub fn load_balancer_ip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xcb00_0000 + 256 + n)
}

impl Source {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pod, Self::Host];

    fn addr(self) -> Ipv4Addr {
        match self {
            Self::Pod => Ipv4Addr::new(10, 255, 0, 1),
            Self::Host => Ipv4Addr::new(192, 0, 2, 1),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Pod => 0,
            Self::Host => 1,
        }
    }
}

impl Variant {
    /// Makes a namespace and loads the rules.
    pub fn new(name: &'static str, rules: Rules, size: Size) -> Self {
        let namespace = Namespace::new(&format!("{rules:?}-{}", size.services).to_lowercase());
        // The other end stays down: what is sent is dropped at once, and no other processor is woken.
        namespace.ip("link add uplink type veth peer name nowhere");
        namespace.ip("link set lo up");
        namespace.ip("link set uplink up");
        for source in Source::ALL {
            namespace.ip(&format!("addr add {}/24 dev uplink", source.addr()));
        }
        namespace.ip("neigh add 192.0.2.254 lladdr 02:00:00:00:00:01 dev uplink nud permanent");
        namespace.ip("route add default via 192.0.2.254");
        match rules {
            Rules::None => chains::load(&namespace, chains::NOTHING),
            Rules::Chains => chains::load(&namespace, &chains::text(size)),
            _ => program::load(&namespace, size, rules),
        }
        let to = match rules {
            Rules::Others => elsewhere,
            Rules::LoadBalancer | Rules::Ranges | Rules::RangesBesideOthers => load_balancer_ip,
            _ => cluster_ip,
        };
        let flows = Source::ALL.map(|source| namespace.enter(|| Flows::new(source.addr(), to, size)));
        Self { name, size, flows, measured: Default::default(), _namespace: namespace }
    }

    /// Measures one round.
    pub fn round(&mut self, source: Source) {
        let n = source.index();
        let nanoseconds = self.flows[n].round();
        self.measured[n].push(nanoseconds);
    }

    /// How many times as much as another it took: the median of all rounds, each beside the same round of the other.
    pub fn ratio_to(&self, other: &Self, source: Source) -> f64 {
        let n = source.index();
        let mut all: Vec<f64> =
            self.measured[n].iter().zip(&other.measured[n]).map(|(one, other)| one / other).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// What was measured.
    pub fn times(&self, source: Source) -> Times {
        let mut all = self.measured[source.index()].clone();
        all.sort_by(f64::total_cmp);
        let at = |n: usize| all.get(n).copied().unwrap_or(f64::NAN);
        Times { best: at(0), median: at(all.len() / 2) }
    }
}
