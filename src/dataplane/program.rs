//! The constant program: the chains and sets of a table, the same for any cluster.
//!
//! ```text
//! filter prerouting, output (early) ─▶ check-sources: load-balancer IPs that only some sources may use; only if there are any
//! nat prerouting, output ─▶ services ─▶ from-internal-P ─▶ pick-P ─▶ dnat
//!                                    ─▶ from-external, … ─▶ endpoints-any, -local ─▶ pick-P ─▶ dnat
//! filter input, forward, output ─▶ check-nodeports, check-cluster-ips ─▶ check-endpoints (none: refuse or drop)
//! nat postrouting ─▶ masquerade (marked, or a connection to oneself)
//! ```
//!
//! It depends on the options, on the size classes in use, and on whether there are session affinity and source ranges; never on the number of
//! Services. Only a frontend with session affinity or source ranges has chains and a map or set of its own besides. See `affinity` and
//! `sources`.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::chain::{Chain, ChainName, ChainType, Hook};
use super::key::{Family, Protocol};
use super::rule::{Action, Condition, Expr, Rule};
use super::set::{EndpointList, SetName, SizeClass};

mod affinity;
mod counting;
mod sources;

/// The number of draws from a class before the last, biased one.
///
/// A draw from class P misses with a probability below 1/2, so a packet reaches the last one with less than 2^-12 (0.03 %).
const UNBIASED_DRAWS: usize = 12;

/// Priority of destination translation (`dstnat`), where kube-proxy translates too.
const DSTNAT_PRIORITY: i32 = -100;
/// Priority of filters (`filter`).
const FILTER_PRIORITY: i32 = 0;
/// Priority of source translation (`srcnat`).
const SRCNAT_PRIORITY: i32 = 100;

/// What an operator may choose about the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How the rules recognise this node's pods.
    pub local_pods: LocalPods,
    /// Whether to masquerade all ClusterIP traffic.
    pub masquerade_all: bool,
    /// The bit of the packet mark, 0 to 31, that requests masquerade. The rules leave the other bits alone.
    pub masquerade_bit: u8,
    /// Families in which NodePorts are accepted on every address of the node but the loopback ones.
    pub every_node_address: BTreeSet<Family>,
    /// The maximum number of clients that one frontend with session affinity remembers. Further clients are balanced as without affinity,
    /// until others expire.
    pub affinity_capacity: u32,
    /// Whether packets count the connections of each frontend.
    pub counters: bool,
}

/// The optional parts of the program that a cluster needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramFeatures {
    /// The size classes of ClusterIPs, in the order in which the rules test them.
    pub internal: Vec<SizeClass>,
    /// The size classes of all other frontends; those of one list in the order in which the rules test them.
    pub classes: Vec<(EndpointList, SizeClass)>,
    /// The size classes of frontends with session affinity; those of one list in the order in which the rules test them.
    pub affinity: Vec<(EndpointList, SizeClass)>,
    /// Whether a frontend allows only some sources.
    pub source_checks: bool,
}

/// How the rules recognise this node's pods (kube-proxy's `detectLocalMode`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LocalPods {
    /// Not at all: ClusterIP traffic is not masqueraded, and pods count as clients from outside.
    #[default]
    Unknown,
    /// By source address: the first network of each family.
    Networks(Vec<IpNet>),
    /// By the interface of their packets. A name that ends in `*` stands for all names with this beginning.
    Interface(String),
}

/// The sets and chains of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The sets and maps, in the order of their creation.
    pub sets: Vec<SetName>,
    /// The chains. A chain comes before those that jump to it.
    pub chains: Vec<Chain>,
}

impl Default for Options {
    /// kube-proxy's defaults: mark bit 14 and nothing else.
    fn default() -> Self {
        Self {
            local_pods: LocalPods::Unknown,
            masquerade_all: false,
            masquerade_bit: 14,
            every_node_address: BTreeSet::new(),
            affinity_capacity: Self::KERNEL_AFFINITY_CAPACITY,
            counters: false,
        }
    }
}

impl ProgramFeatures {
    /// Whether a frontend of the list has session affinity.
    pub fn has_affinity(&self, list: EndpointList) -> bool {
        self.affinity.iter().any(|(of, _)| *of == list)
    }

    /// The size classes of a list's frontends with session affinity, in the order in which the rules test them.
    fn affinity_classes_of(&self, list: EndpointList) -> impl Iterator<Item = SizeClass> {
        self.affinity.iter().filter(move |(of, _)| *of == list).map(|(_, class)| *class)
    }

    /// The size classes of a list, in the order in which the rules test them.
    fn classes_of(&self, list: EndpointList) -> impl Iterator<Item = SizeClass> {
        self.classes.iter().filter(move |(of, _)| *of == list).map(|(_, class)| *class)
    }

    /// The lists and classes that need a chain to pick an endpoint, each once.
    fn picks(&self) -> BTreeSet<(EndpointList, SizeClass)> {
        let internal = self.internal.iter().map(|class| (EndpointList::Any, *class));
        internal.chain(self.classes.iter().copied()).collect()
    }

    /// The sets and maps that exist only for these features.
    fn sets(&self) -> impl Iterator<Item = SetName> {
        let internal = self.internal.iter().copied().map(SetName::Internal);
        let slots = internal.chain(self.classes.iter().map(|(list, class)| SetName::Slots(*list, *class)));
        let with_affinity = EndpointList::ALL.into_iter().filter(|list| self.has_affinity(*list));
        let affinity = with_affinity.flat_map(SetName::affinity);
        let of_kind = |node_port: bool| self.affinity.iter().any(|(list, _)| list.is_node_port() == node_port);
        let chains =
            [false, true].into_iter().filter(|node_port| of_kind(*node_port)).flat_map(SetName::affinity_chains);
        let affinity = affinity.chain(chains.collect::<Vec<_>>());
        let affinity = affinity.chain(self.affinity.iter().map(|(list, class)| SetName::AffinitySlots(*list, *class)));
        let gate = self.has_affinity(EndpointList::Any).then_some(SetName::InternalAffinity);
        let sources = self.source_checks.then_some(SetName::SourceChecks);
        slots.chain(gate).chain(affinity).chain(sources)
    }
}

impl Options {
    /// How many clients the kernel keeps in a map without a limit of its own. Only there it takes memory for the clients alone: for any
    /// other limit it reserves a table of that size.
    pub const KERNEL_AFFINITY_CAPACITY: u32 = 65_535;
}

impl LocalPods {
    /// The conditions that a packet comes from a local pod, and that it does not; `None` if the rules cannot know.
    fn conditions(&self, family: Family) -> Option<(Condition, Condition)> {
        match self {
            Self::Unknown => None,
            Self::Networks(networks) => {
                let network = networks.iter().find(|network| Family::from_addr(network.addr()) == family)?;
                Some((Condition::SaddrIn(*network), Condition::SaddrNotIn(*network)))
            }
            Self::Interface(name) => Some((Condition::Iifname(name.clone()), Condition::IifnameNot(name.clone()))),
        }
    }
}

impl Program {
    /// The program for one family with these features.
    pub fn new(family: Family, options: &Options, parts: &ProgramFeatures) -> Self {
        let mut chains: Vec<Chain> =
            parts.picks().into_iter().flat_map(|(list, class)| pick(family, list, class)).collect();
        chains.extend(EndpointList::ALL.into_iter().flat_map(|list| affinity::shared_chains(family, list, parts)));
        chains.extend(EndpointList::ALL.map(|list| by_class(family, list, parts)));
        chains.push(Chain::regular("mark-for-masquerade", vec![Rule::new(family, Action::SetMark(mark(options)))]));
        chains.extend(parts.internal.iter().map(|class| from_internal(family, options, *class)));
        if parts.has_affinity(EndpointList::Any) {
            chains.push(from_internal_affinity(family, options));
        }
        chains.extend(arriving(family, options));
        chains.extend(services(family, options, parts));
        chains.extend(checking(family, options));
        if parts.source_checks {
            chains.extend(sources::shared_chains(family));
        }
        chains.extend(hooks(family, options));
        let program = Self { sets: SetName::CONSTANT.into_iter().chain(parts.sets()).collect(), chains };
        if options.counters { counting::counting(family, program) } else { program }
    }
}

/// `pick-P`: sends a connection to a random one of a list's P endpoints, or P/2+1 to P in a large class.
///
/// Each draw hits one of the n endpoints with equal probability, or misses with probability 1 - n/P and the next rule draws
/// again; the last one draws from P/2 < n, where it always hits. In a small class n is P, and the first always does.
///
/// The draws of a large class share the rule of a chain, `draw-P`: the kernel walks all elements of a map for each rule that comes to refer
/// to it (`nf_tables_bind_set`; 85 ms for 500,000 elements on Linux 6.18), and other commits wait.
fn pick(family: Family, list: EndpointList, class: SizeClass) -> Vec<Chain> {
    let map = SetName::Endpoints(list);
    let draw = |class| Rule::new(family, Action::DnatTo(Expr::key_of(map).random_slot(class), map));
    let name = pick_name(list, class);
    let Some(half) = class.halved() else { return vec![Chain::regular(name, vec![draw(class)])] };
    let draw_name = ChainName::from(format!("{}draw-{}", list.prefix(), class.slots()));
    let draws = (0..UNBIASED_DRAWS).map(|_| Rule::new(family, Action::Jump(draw_name.clone())));
    let draws = draws.chain([draw(half)]).collect();
    vec![Chain::regular(draw_name, vec![draw(class)]), Chain::regular(name, draws)]
}

fn pick_name(list: EndpointList, class: SizeClass) -> ChainName {
    ChainName::from(format!("{}pick-{}", list.prefix(), class.slots()))
}

/// The chain of a list: finds the frontend's size class, or leads on if it has session affinity.
fn by_class(family: Family, list: EndpointList, parts: &ProgramFeatures) -> Chain {
    let classes: Vec<SizeClass> = parts.classes_of(list).collect();
    let by_class = classes.iter().map(|class| {
        Rule::new(family, Action::Goto(pick_name(list, *class))).when(SetName::Slots(list, *class).into())
    });
    let with_affinity = parts.has_affinity(list).then(|| affinity::to_affinity(family, list));
    let rules = by_class.chain(with_affinity).collect();
    Chain { classes, ..Chain::regular(list.chain(), rules) }
}

/// `from-internal-P`: decides whether a connection to a ClusterIP of this class is masqueraded, and sends it to an endpoint.
fn from_internal(family: Family, options: &Options, class: SizeClass) -> Chain {
    let choose = Rule::new(family, Action::Goto(pick_name(EndpointList::Any, class)));
    let rules = masquerade_to_cluster_ip(family, options).into_iter().chain([choose]).collect();
    Chain::regular(from_internal_name(class), rules)
}

/// `from-internal-affinity`: the same for ClusterIPs with session affinity.
fn from_internal_affinity(family: Family, options: &Options) -> Chain {
    let choose = affinity::to_affinity(family, EndpointList::Any);
    let rules = masquerade_to_cluster_ip(family, options).into_iter().chain([choose]).collect();
    Chain::regular("from-internal-affinity", rules)
}

/// The rule that requests masquerade for connections to a ClusterIP; `None` if no connection needs it.
fn masquerade_to_cluster_ip(family: Family, options: &Options) -> Option<Rule> {
    let masquerade = Rule::new(family, Action::Jump("mark-for-masquerade".into()));
    match options.local_pods.conditions(family) {
        _ if options.masquerade_all => Some(masquerade),
        Some((_, other)) => Some(masquerade.when(other)),
        None => None,
    }
}

fn from_internal_name(class: SizeClass) -> ChainName {
    ChainName::from(format!("from-internal-{}", class.slots()))
}

/// The chains that decide by the source of a connection whether it is masqueraded, and which list it may use.
fn arriving(family: Family, options: &Options) -> [Chain; 4] {
    let rule = |action| Rule::new(family, action);
    let masquerade = || rule(Action::Jump("mark-for-masquerade".into()));
    let choose = |list: EndpointList| rule(Action::Goto(list.chain().into()));
    let local_pod = options.local_pods.conditions(family);
    let everyone = |any| vec![masquerade(), choose(any)];
    // Local pods and this host may use all endpoints. This host's source address may not fit the route to the endpoint.
    let confined = |any, local| {
        let pods = local_pod.iter().map(|(pod, _)| choose(any).when(pod.clone()));
        let host = [masquerade().when(Condition::FibSaddrLocal), choose(any).when(Condition::FibSaddrLocal)];
        pods.chain(host).chain([choose(local)]).collect()
    };
    [
        Chain::regular("from-external", everyone(EndpointList::Any)),
        Chain::regular("from-external-local", confined(EndpointList::Any, EndpointList::Local)),
        Chain::regular("from-nodeport", everyone(EndpointList::NodeportAny)),
        Chain::regular("from-nodeport-local", confined(EndpointList::NodeportAny, EndpointList::NodeportLocal)),
    ]
}

/// The packet mark that requests masquerade.
fn mark(options: &Options) -> u32 {
    1 << (options.masquerade_bit & 31)
}

/// `services` and its parts, which find the kind of frontend that a connection is for.
///
/// Most connections are for a ClusterIP of the most frequent class and cost a single look-up. A connection to another frontend
/// costs two, however many classes there are.
fn services(family: Family, options: &Options, parts: &ProgramFeatures) -> [Chain; 3] {
    let to = |chain: ChainName, set: SetName| Rule::new(family, Action::Goto(chain)).when(set.into());
    let to_class = |class: &SizeClass| to(from_internal_name(*class), SetName::Internal(*class));
    let (first, others) = parts.internal.split_at(parts.internal.len().min(1));
    // Last, so that packets to other ClusterIPs do not pay for it.
    let with_affinity = parts.has_affinity(EndpointList::Any).then_some(SetName::InternalAffinity);
    let with_affinity = with_affinity.map(|set| to("from-internal-affinity".into(), set));
    let to_cluster_ip = Chain::regular("to-cluster-ip", others.iter().map(to_class).chain(with_affinity).collect());
    let to_cluster_ip = Chain { classes: others.to_vec(), ..to_cluster_ip };
    let to_node =
        vec![to("from-nodeport".into(), SetName::Nodeports), to("from-nodeport-local".into(), SetName::NodeportsLocal)];
    let cluster_ip = Rule::new(family, Action::Jump("to-cluster-ip".into())).when(SetName::ClusterIps.into());
    let mut node = Rule::new(family, Action::Goto("to-node".into()));
    node.conditions = on_node_address(family, options);
    let others = [
        cluster_ip,
        to("from-external".into(), SetName::External),
        to("from-external-local".into(), SetName::ExternalLocal),
        node,
    ];
    let services = Chain {
        classes: first.to_vec(),
        ..Chain::regular("services", first.iter().map(to_class).chain(others).collect())
    };
    [to_cluster_ip, Chain::regular("to-node", to_node), services]
}

/// The conditions that the destination is an address of this node that accepts NodePorts.
fn on_node_address(family: Family, options: &Options) -> Vec<Condition> {
    if !options.every_node_address.contains(&family) {
        return vec![SetName::NodeportIps.into()];
    }
    let loopback = match family {
        Family::Ip => IpNet::V4(Ipv4Net::new_assert([127, 0, 0, 0].into(), 8)),
        Family::Ip6 => IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128)),
    };
    vec![Condition::FibDaddrLocal, Condition::DaddrNotIn(loopback)]
}

/// The chains that refuse or drop connections that have no endpoint.
fn checking(family: Family, options: &Options) -> [Chain; 4] {
    let rule = |action| Rule::new(family, action);
    let refuse = || rule(Action::Goto("refuse".into()));
    let on_node = |mut rule: Rule, set: SetName| {
        rule.conditions = on_node_address(family, options);
        rule.when(set.into())
    };
    [
        // A reset is immediate, where the ICMP answer is subject to the kernel's rate limit.
        Chain::regular(
            "refuse",
            vec![rule(Action::RejectTcpReset).when(Condition::L4Proto(Protocol::Tcp)), rule(Action::Reject)],
        ),
        Chain::regular(
            "check-endpoints",
            vec![rule(Action::Drop).when(SetName::DropServices.into()), refuse().when(SetName::RejectServices.into())],
        ),
        Chain::regular(
            "check-nodeports",
            vec![
                on_node(rule(Action::Drop), SetName::DropNodeports),
                on_node(refuse(), SetName::RejectNodeports),
                rule(Action::Goto("check-endpoints".into())),
            ],
        ),
        Chain::regular(
            "check-cluster-ips",
            vec![
                rule(Action::Jump("check-endpoints".into())),
                refuse().when(SetName::ClusterIps.into()),
                rule(Action::Drop).when(SetName::ServiceCidrs.into()),
            ],
        ),
    ]
}

/// The base chains that every cluster needs, at kube-proxy's hooks and priorities.
fn hooks(family: Family, options: &Options) -> [Chain; 6] {
    let rule = |action| Rule::new(family, action);
    let services = || vec![rule(Action::Jump("services".into()))];
    // A translated connection has found an endpoint.
    let unanswered = |chain: &'static str| {
        let check = rule(Action::Jump(chain.into())).when(Condition::CtStateNew).when(Condition::CtStatusNoDnat);
        vec![check]
    };
    let masquerade = [
        rule(Action::ClearMarkAndMasquerade(mark(options))).when(Condition::Mark(mark(options))),
        rule(Action::Masquerade).when(Condition::CtStatusDnat).when(SetName::Hairpin.into()),
    ];
    let leaving = masquerade.to_vec();
    let (for_host, passing) = (unanswered("check-nodeports"), || unanswered("check-cluster-ips"));
    [
        Chain::base("nat-prerouting", ChainType::Nat, Hook::Prerouting, DSTNAT_PRIORITY, services()),
        Chain::base("nat-output", ChainType::Nat, Hook::Output, DSTNAT_PRIORITY, services()),
        Chain::base("nat-postrouting", ChainType::Nat, Hook::Postrouting, SRCNAT_PRIORITY, leaving),
        Chain::base("filter-input", ChainType::Filter, Hook::Input, FILTER_PRIORITY, for_host),
        Chain::base("filter-forward", ChainType::Filter, Hook::Forward, FILTER_PRIORITY, passing()),
        Chain::base("filter-output", ChainType::Filter, Hook::Output, FILTER_PRIORITY, passing()),
    ]
}

#[cfg(test)]
mod tests;
