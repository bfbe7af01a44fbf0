//! The constant program: what the chains of a table do with any cluster.
//!
//! ```text
//! filter prerouting, output (early) ─▶ check-sources: load-balancer IPs that only some sources may use; only if there are any
//! nat prerouting, output ─▶ services ─▶ from-internal-P ─▶ pick-P ─▶ dnat
//!                                    ─▶ from-external, … ─▶ endpoints-any, -local ─▶ pick-P ─▶ dnat
//! filter input, forward, output ─▶ check-nodeports, check-cluster-ips ─▶ check-endpoints (none: refuse or drop)
//! nat postrouting ─▶ masquerade (marked, or a connection to oneself)
//! nat postrouting, input ─▶ remember-clients ─▶ affinity, nodeport-affinity: who was sent where, only with session affinity
//! ```
//!
//! It depends on the options, on which classes and timeouts of session affinity are in use and on whether there are source
//! ranges, never on how many Services there are.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::chain::{Chain, ChainName, ChainType, Hook};
use super::key::{Family, Protocol};
use super::operation::Object;
use super::rule::{Action, Condition, Expr, Rule};
use super::set::{Affinity, Class, List, SetName};

/// Draws from a class before the last, biased one.
///
/// A draw from class P misses with a probability below 1/2, so the last one is reached with less than 2^-12 (0.03 %).
const DRAWS: usize = 12;

/// Priority of source checks: before translation, so that they see the address that was asked for.
const BEFORE_DSTNAT: i32 = -110;
/// Priority of destination translation (`dstnat`), where kube-proxy translates too.
const DSTNAT: i32 = -100;
/// Priority of filters (`filter`).
const FILTER: i32 = 0;
/// Priority of source translation (`srcnat`).
const SRCNAT: i32 = 100;

/// What an operator may choose about the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How this node's pods are told from everybody else.
    pub local_pods: LocalPods,
    /// Masquerade all ClusterIP traffic.
    pub masquerade_all: bool,
    /// The bit of the packet mark, 0 to 31, that asks for masquerade. The others are not touched.
    pub masquerade_bit: u8,
    /// Families in which NodePorts are accepted on every address of the node but the loopback ones.
    pub every_node_address: BTreeSet<Family>,
    /// How many clients of Services with session affinity are remembered, for each family, for addresses and for NodePorts. When
    /// it is reached, further clients are balanced as if there were no affinity until others expire.
    pub affinity_capacity: u32,
}

/// The parts of the program that a cluster needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The classes of ClusterIPs in use, in the order in which they are tested.
    pub internal: Vec<Class>,
    /// The classes of all other frontends in use; those of one list in the order in which they are tested.
    pub classes: Vec<(List, Class)>,
    /// The kinds of session affinity in use.
    pub affinity: BTreeSet<Affinity>,
    /// Whether some frontend is only for some sources.
    pub sources: bool,
}

/// How this node's pods are told from everybody else (kube-proxy's `detectLocalMode`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LocalPods {
    /// They are not. ClusterIP traffic is not masqueraded, and pods are treated like clients from outside.
    #[default]
    Unknown,
    /// By source address; of each family the first network counts.
    Networks(Vec<IpNet>),
    /// By the interface that they send through; a name that ends in `*` stands for all that start so.
    Interface(String),
}

/// The sets and chains of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The sets and maps, in the order in which they are created.
    pub sets: Vec<SetName>,
    /// The chains; those that are jumped to come before those that jump.
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
            affinity_capacity: 262_144,
        }
    }
}

impl Parts {
    /// Whether some frontend, NodePort or not, has session affinity.
    fn has_affinity(&self, node_port: bool) -> bool {
        self.affinity.iter().any(|affinity| affinity.node_port == node_port)
    }

    /// The classes of a list, in the order in which they are tested.
    fn classes_of(&self, list: List) -> impl Iterator<Item = Class> {
        self.classes.iter().filter(move |(of, _)| *of == list).map(|(_, class)| *class)
    }

    /// The classes from which some frontend's endpoint is chosen, each once.
    fn picks(&self) -> BTreeSet<(List, Class)> {
        let internal = self.internal.iter().map(|class| (List::Any, *class));
        internal.chain(self.classes.iter().copied()).collect()
    }

    /// The sets and maps that exist only for these parts.
    fn sets(&self) -> impl Iterator<Item = SetName> {
        let internal = self.internal.iter().copied().map(SetName::Internal);
        let slots = internal.chain(self.classes.iter().map(|(list, class)| SetName::Slots(*list, *class)));
        let clients = [false, true].into_iter().filter(|node_port| self.has_affinity(*node_port));
        let clients = clients.map(|node_port| SetName::Clients { node_port });
        let sources = SetName::SOURCES.into_iter().filter(|_| self.sources);
        slots.chain(self.affinity.iter().copied().map(SetName::WithAffinity)).chain(clients).chain(sources)
    }
}

impl Options {
    /// The object that creates a set or map of the program.
    pub fn set(&self, set: SetName) -> Object {
        match set {
            SetName::Clients { node_port } => Object::Clients { node_port, capacity: self.affinity_capacity },
            others => Object::Set(others),
        }
    }
}

impl LocalPods {
    /// The conditions that a packet comes from a local pod, and that it does not; `None` if that cannot be told.
    fn conditions(&self, family: Family) -> Option<(Condition, Condition)> {
        match self {
            Self::Unknown => None,
            Self::Networks(networks) => {
                let network = networks.iter().find(|network| Family::of(network.addr()) == family)?;
                Some((Condition::SaddrIn(*network), Condition::SaddrNotIn(*network)))
            }
            Self::Interface(name) => Some((Condition::Iifname(name.clone()), Condition::IifnameNot(name.clone()))),
        }
    }
}

impl Program {
    /// The program for one family with these parts.
    pub fn new(family: Family, options: &Options, parts: &Parts) -> Self {
        let mut chains: Vec<Chain> = parts.picks().into_iter().map(|(list, class)| pick(family, list, class)).collect();
        chains.extend(List::ALL.map(|list| by_class(family, list, parts)));
        chains.push(Chain::regular("mark-for-masquerade", vec![Rule::new(family, Action::SetMark(mark(options)))]));
        chains.extend(parts.internal.iter().map(|class| from_internal(family, options, parts, *class)));
        chains.extend(arriving(family, options));
        chains.extend(services(family, options, parts));
        chains.extend(checking(family, options));
        if parts.sources {
            chains.extend(checking_sources(family));
        }
        if !parts.affinity.is_empty() {
            chains.extend(remembering(family, options, parts));
        }
        chains.extend(hooks(family, options, parts));
        Self { sets: SetName::CONSTANT.into_iter().chain(parts.sets()).collect(), chains }
    }
}

/// `pick-P`: sends a connection to a random one of a list's P endpoints, or P/2+1 to P in a large class.
///
/// Each draw hits one of the n endpoints with equal probability, or misses with probability 1 - n/P and the next rule draws
/// again; the last one draws from P/2 < n, where it always hits. In a small class n is P, and the first always does.
fn pick(family: Family, list: List, class: Class) -> Chain {
    let map = SetName::Endpoints(list);
    let draw = |class| Rule::new(family, Action::DnatTo(Expr::key_of(map).random_slot(class), map));
    let rules = match class.halved() {
        Some(half) => (0..DRAWS).map(|_| draw(class)).chain([draw(half)]).collect(),
        None => vec![draw(class)],
    };
    Chain::regular(pick_name(list, class), rules)
}

fn pick_name(list: List, class: Class) -> ChainName {
    ChainName::from(format!("{}pick-{}", list.prefix(), class.slots()))
}

/// Sends a client back to the endpoint that it had, or finds the class of the frontend's list.
fn by_class(family: Family, list: List, parts: &Parts) -> Chain {
    let node_port = list.is_node_port();
    let classes: Vec<Class> = parts.classes_of(list).collect();
    let by_class = classes.iter().map(|class| {
        Rule::new(family, Action::Goto(pick_name(list, *class))).when(SetName::Slots(list, *class).into())
    });
    // A list without a class has no endpoints.
    let back = back(family, parts, node_port).filter(|_| !classes.is_empty());
    let rules = back.into_iter().chain(by_class).collect();
    Chain { classes, ..Chain::regular(list.chain(), rules) }
}

/// Sends a client back to the endpoint that it had, if some Service asks for that.
fn back(family: Family, parts: &Parts, node_port: bool) -> Option<Rule> {
    let clients = SetName::Clients { node_port };
    let back = Rule::new(family, Action::DnatTo(Expr::key_of(clients), clients));
    parts.has_affinity(node_port).then_some(back)
}

/// Notes where the clients of frontends with session affinity went.
///
/// A nat chain sees the first packet of each connection, and at these hooks after its destination was translated and before its
/// source is. So what is noted is what happened, and each new connection starts the timeout anew.
fn remembering(family: Family, options: &Options, parts: &Parts) -> [Chain; 2] {
    let mut rules = Vec::new();
    for affinity in &parts.affinity {
        let clients = SetName::Clients { node_port: affinity.node_port };
        let with_affinity = SetName::WithAffinity(*affinity);
        let asked = |set| Expr::key_of(set).before_translation();
        for protocol in Protocol::ALL {
            let remember = Action::Remember(asked(clients), clients, affinity.seconds);
            // nft reads a port only where it knows the protocol.
            let mut rule = Rule::new(family, remember).when(Condition::L4Proto(protocol));
            rule = rule.when(Condition::In(asked(with_affinity), with_affinity));
            if affinity.node_port {
                // The port of some other address may have the same number.
                let addresses = [SetName::ClusterIps, SetName::External, SetName::ExternalLocal];
                rule = addresses.into_iter().fold(rule, |rule, set| rule.when(Condition::NotIn(asked(set), set)));
                if !options.every_node_address.contains(&family) {
                    rule = rule.when(Condition::In(asked(SetName::NodeportIps), SetName::NodeportIps));
                }
            }
            rules.push(rule);
        }
    }
    [
        Chain::regular("remember-clients", rules),
        Chain::base("nat-input", ChainType::Nat, Hook::Input, SRCNAT, vec![remember(family)]),
    ]
}

/// A connection that was translated may be one to remember.
fn remember(family: Family) -> Rule {
    Rule::new(family, Action::Jump("remember-clients".into())).when(Condition::CtStatusDnat)
}

/// `from-internal-P`: a connection to a ClusterIP of this class is masqueraded or not, and sent to an endpoint.
fn from_internal(family: Family, options: &Options, parts: &Parts, class: Class) -> Chain {
    let masquerade = Rule::new(family, Action::Jump("mark-for-masquerade".into()));
    let masquerade = match options.local_pods.conditions(family) {
        _ if options.masquerade_all => Some(masquerade),
        Some((_, other)) => Some(masquerade.when(other)),
        None => None,
    };
    let choose = Rule::new(family, Action::Goto(pick_name(List::Any, class)));
    let rules = masquerade.into_iter().chain(back(family, parts, false)).chain([choose]).collect();
    Chain::regular(from_internal_name(class), rules)
}

fn from_internal_name(class: Class) -> ChainName {
    ChainName::from(format!("from-internal-{}", class.slots()))
}

/// The chains that decide, by where a connection from outside comes from, whether it is masqueraded and which list it may use.
fn arriving(family: Family, options: &Options) -> [Chain; 4] {
    let rule = |action| Rule::new(family, action);
    let masquerade = || rule(Action::Jump("mark-for-masquerade".into()));
    let choose = |list: List| rule(Action::Goto(list.chain().into()));
    let local_pod = options.local_pods.conditions(family);
    let everyone = |any| vec![masquerade(), choose(any)];
    // Local pods and this host are not confined to local endpoints; the host's source address may not fit the endpoint's route.
    let confined = |any, local| {
        let pods = local_pod.iter().map(|(pod, _)| choose(any).when(pod.clone()));
        let host = [masquerade().when(Condition::FibSaddrLocal), choose(any).when(Condition::FibSaddrLocal)];
        pods.chain(host).chain([choose(local)]).collect()
    };
    [
        Chain::regular("from-external", everyone(List::Any)),
        Chain::regular("from-external-local", confined(List::Any, List::Local)),
        Chain::regular("from-nodeport", everyone(List::NodeportAny)),
        Chain::regular("from-nodeport-local", confined(List::NodeportAny, List::NodeportLocal)),
    ]
}

/// The packet mark that asks for masquerade.
fn mark(options: &Options) -> u32 {
    1 << (options.masquerade_bit & 31)
}

/// `services` and what it consists of: what kind of frontend is a connection for?
///
/// Most are for a ClusterIP of the most populous class, and pay a single look-up. What is for no ClusterIP pays two, however many
/// classes there are.
fn services(family: Family, options: &Options, parts: &Parts) -> [Chain; 3] {
    let to = |chain: ChainName, set: SetName| Rule::new(family, Action::Goto(chain)).when(set.into());
    let to_class = |class: &Class| to(from_internal_name(*class), SetName::Internal(*class));
    let (first, others) = parts.internal.split_at(parts.internal.len().min(1));
    let to_cluster_ip =
        Chain { classes: others.to_vec(), ..Chain::regular("to-cluster-ip", others.iter().map(to_class).collect()) };
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

/// The destination is an address of this node that accepts NodePorts.
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

/// The chains that refuse or drop what no endpoint answers.
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

/// The chains that drop what a source may not ask for: before translation, so at hooks that nothing else needs.
fn checking_sources(family: Family) -> [Chain; 3] {
    let rule = |action| Rule::new(family, action);
    let others = Condition::NotIn(Expr::key_of(SetName::AllowedSources), SetName::AllowedSources);
    let at = |name: &'static str, hook| {
        let check = rule(Action::Jump("check-sources".into())).when(Condition::CtStateNew);
        Chain::base(name, ChainType::Filter, hook, BEFORE_DSTNAT, vec![check])
    };
    [
        Chain::regular("check-sources", vec![rule(Action::Drop).when(SetName::Firewalled.into()).when(others)]),
        at("filter-prerouting", Hook::Prerouting),
        at("filter-output-early", Hook::Output),
    ]
}

/// The base chains that every cluster needs, at kube-proxy's hooks and priorities.
fn hooks(family: Family, options: &Options, parts: &Parts) -> [Chain; 6] {
    let rule = |action| Rule::new(family, action);
    let services = || vec![rule(Action::Jump("services".into()))];
    // What was translated found an endpoint.
    let unanswered = |chain: &'static str| {
        let check = rule(Action::Jump(chain.into())).when(Condition::CtStateNew).when(Condition::CtStatusNoDnat);
        vec![check]
    };
    let masquerade = [
        rule(Action::ClearMarkAndMasquerade(mark(options))).when(Condition::Mark(mark(options))),
        rule(Action::Masquerade).when(Condition::CtStatusDnat).when(SetName::Hairpin.into()),
    ];
    let remember = (!parts.affinity.is_empty()).then(|| remember(family));
    let leaving = remember.into_iter().chain(masquerade).collect();
    let (for_host, passing) = (unanswered("check-nodeports"), || unanswered("check-cluster-ips"));
    [
        Chain::base("nat-prerouting", ChainType::Nat, Hook::Prerouting, DSTNAT, services()),
        Chain::base("nat-output", ChainType::Nat, Hook::Output, DSTNAT, services()),
        Chain::base("nat-postrouting", ChainType::Nat, Hook::Postrouting, SRCNAT, leaving),
        Chain::base("filter-input", ChainType::Filter, Hook::Input, FILTER, for_host),
        Chain::base("filter-forward", ChainType::Filter, Hook::Forward, FILTER, passing()),
        Chain::base("filter-output", ChainType::Filter, Hook::Output, FILTER, passing()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(program: &Program, chain: &str) -> Vec<String> {
        let chain = program.chains.iter().find(|c| c.name.0 == chain).expect("chain");
        chain.rules.iter().map(Rule::to_string).collect()
    }

    fn classes(endpoints: &[usize]) -> Parts {
        let classes: Vec<Class> = endpoints.iter().filter_map(|n| Class::of(*n)).collect();
        let external = classes.iter().map(|class| (List::Any, *class)).collect();
        Parts { internal: classes, classes: external, ..Parts::default() }
    }

    fn pods_in(network: &str) -> Options {
        let networks = vec![network.parse().expect("network")];
        Options { local_pods: LocalPods::Networks(networks), ..Options::default() }
    }

    #[test]
    fn rules_read_like_nft() {
        let options = pods_in("10.128.0.0/16");
        let program = Program::new(Family::Ip, &options, &classes(&[1, 4, 9]));
        assert_eq!(
            text(&program, "services"),
            [
                "ip daddr . meta l4proto . th dport @internal-1 goto from-internal-1",
                "ip daddr @cluster-ips jump to-cluster-ip",
                "ip daddr . meta l4proto . th dport @external goto from-external",
                "ip daddr . meta l4proto . th dport @external-local goto from-external-local",
                "ip daddr @nodeport-ips goto to-node",
            ]
        );
        assert_eq!(
            text(&program, "to-cluster-ip"),
            [
                "ip daddr . meta l4proto . th dport @internal-4 goto from-internal-4",
                "ip daddr . meta l4proto . th dport @internal-16 goto from-internal-16",
            ]
        );
        assert_eq!(
            text(&program, "to-node"),
            [
                "meta l4proto . th dport @nodeports goto from-nodeport",
                "meta l4proto . th dport @nodeports-local goto from-nodeport-local",
            ]
        );
        assert_eq!(
            text(&program, "from-nodeport-local"),
            [
                "ip saddr 10.128.0.0/16 goto nodeport-any",
                "fib saddr type local jump mark-for-masquerade",
                "fib saddr type local goto nodeport-any",
                "goto nodeport-local",
            ]
        );
        assert_eq!(
            text(&program, "from-internal-4"),
            ["ip saddr != 10.128.0.0/16 jump mark-for-masquerade", "goto pick-4"]
        );
        assert_eq!(
            text(&program, "endpoints-any"),
            [
                "ip daddr . meta l4proto . th dport @slots-1 goto pick-1",
                "ip daddr . meta l4proto . th dport @slots-4 goto pick-4",
                "ip daddr . meta l4proto . th dport @slots-16 goto pick-16",
            ]
        );
        for class in [1, 4] {
            let draw =
                format!("dnat ip to ip daddr . meta l4proto . th dport . numgen random mod {class} map @endpoints");
            assert_eq!(text(&program, &format!("pick-{class}")), [draw]);
        }
        let sixteen = text(&program, "pick-16");
        assert_eq!(sixteen.len(), DRAWS + 1);
        assert!(sixteen[0].contains("mod 16") && sixteen[DRAWS].contains("mod 8"), "{sixteen:?}");
        assert_eq!(
            text(&program, "nat-postrouting"),
            [
                "meta mark & 0x4000 == 0x4000 meta mark set meta mark ^ 0x4000 masquerade fully-random",
                "ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin masquerade fully-random",
            ]
        );
    }

    #[test]
    fn without_a_pod_network_of_the_family_cluster_ips_are_not_masqueraded() {
        let options = pods_in("10.128.0.0/16");
        let program = Program::new(Family::Ip6, &options, &classes(&[1]));
        assert_eq!(text(&program, "from-internal-1"), ["goto pick-1"]);
        let all = Program::new(Family::Ip6, &Options { masquerade_all: true, ..options }, &classes(&[1]));
        assert_eq!(text(&all, "from-internal-1"), ["jump mark-for-masquerade", "goto pick-1"]);
    }

    #[test]
    fn pods_may_be_told_by_interface_and_node_ports_be_on_every_address() {
        let options = Options {
            local_pods: LocalPods::Interface("cali*".to_owned()),
            masquerade_bit: 3,
            every_node_address: BTreeSet::from([Family::Ip6]),
            ..Options::default()
        };
        let program = Program::new(Family::Ip6, &options, &classes(&[1]));
        assert_eq!(text(&program, "from-internal-1"), ["iifname != \"cali*\" jump mark-for-masquerade", "goto pick-1"]);
        assert_eq!(text(&program, "mark-for-masquerade"), ["meta mark set meta mark | 0x8"]);
        assert_eq!(
            text(&program, "check-nodeports"),
            [
                "fib daddr type local ip6 daddr != ::1/128 meta l4proto . th dport @drop-nodeports drop",
                "fib daddr type local ip6 daddr != ::1/128 meta l4proto . th dport @reject-nodeports goto refuse",
                "goto check-endpoints",
            ]
        );
        assert_eq!(text(&program, "services")[4], "fib daddr type local ip6 daddr != ::1/128 goto to-node");
    }

    #[test]
    fn a_fingerprint_changes_with_the_rules() {
        let one = Program::new(Family::Ip, &Options::default(), &classes(&[1]));
        let two = Program::new(Family::Ip, &Options::default(), &classes(&[1, 2]));
        let fingerprint = |p: &Program, name: &str| p.chains.iter().find(|c| c.name.0 == name).map(Chain::fingerprint);
        assert_ne!(fingerprint(&one, "endpoints-any"), fingerprint(&two, "endpoints-any"));
        assert_eq!(fingerprint(&one, "services"), fingerprint(&two, "services"), "the first class is the same");
        // Written into kernels by earlier versions: a change of the hash would rewrite every chain once.
        assert_eq!(fingerprint(&one, "refuse"), Some(0x7dce_c13e_2cee_7f45));
    }

    #[test]
    fn classes_are_tested_in_the_order_that_is_given() {
        let program = Program::new(Family::Ip, &Options::default(), &classes(&[4, 1]));
        let tested = text(&program, "endpoints-any");
        assert!(tested[0].ends_with("goto pick-4") && tested[1].ends_with("goto pick-1"), "{tested:?}");
        assert!(text(&program, "services")[0].ends_with("goto from-internal-4"));
        assert!(text(&program, "to-cluster-ip")[0].ends_with("goto from-internal-1"));
        let noted = |name: &str| program.chains.iter().find(|c| c.name.0 == name).map(|c| c.classes.as_slice());
        assert_eq!([noted("services"), noted("to-cluster-ip")].map(Option::unwrap).concat(), classes(&[4, 1]).internal);
    }

    #[test]
    fn a_class_of_which_there_are_only_cluster_ips_has_a_chain_to_pick_from() {
        let parts = Parts { classes: Vec::new(), ..classes(&[2]) };
        let program = Program::new(Family::Ip, &Options::default(), &parts);
        assert_eq!(text(&program, "pick-2").len(), 1);
        assert_eq!(text(&program, "endpoints-any"), [""; 0]);
    }

    #[test]
    fn only_what_was_not_translated_is_checked() {
        let program = Program::new(Family::Ip, &Options::default(), &Parts::default());
        assert_eq!(text(&program, "filter-input"), ["ct state new ct status ! dnat jump check-nodeports"]);
        for chain in ["filter-forward", "filter-output"] {
            assert_eq!(text(&program, chain), ["ct state new ct status ! dnat jump check-cluster-ips"]);
        }
        assert_eq!(
            text(&program, "check-cluster-ips"),
            ["jump check-endpoints", "ip daddr @cluster-ips goto refuse", "ip daddr @service-cidrs drop"]
        );
    }

    #[test]
    fn sources_are_checked_only_where_a_service_asks_for_it() {
        let early = ["check-sources", "filter-prerouting", "filter-output-early"];
        let without = Program::new(Family::Ip, &Options::default(), &classes(&[1]));
        assert!(without.chains.iter().all(|chain| !early.contains(&&*chain.name.0)));
        assert!(SetName::SOURCES.iter().all(|set| !without.sets.contains(set)));
        let with = Program::new(Family::Ip, &Options::default(), &Parts { sources: true, ..classes(&[1]) });
        assert_eq!(with.chains.len(), without.chains.len() + 3);
        assert!(SetName::SOURCES.iter().all(|set| with.sets.contains(set)));
        assert_eq!(
            text(&with, "check-sources"),
            [
                "ip daddr . meta l4proto . th dport @firewalled ip daddr . meta l4proto . th dport . ip saddr != @allowed-sources drop"
            ]
        );
        assert_eq!(text(&with, "filter-prerouting"), ["ct state new jump check-sources"]);
    }

    #[test]
    fn clients_are_remembered_only_where_a_service_asks_for_it() {
        let without = Program::new(Family::Ip, &Options::default(), &classes(&[1]));
        let chain = |name: &'static str| without.chains.iter().find(|chain| chain.name.0 == name);
        assert!(chain("remember-clients").is_none() && chain("nat-input").is_none());
        assert_eq!(text(&without, "endpoints-any").len(), 1);
        assert_eq!(text(&without, "nat-postrouting").len(), 2);

        let affinity = BTreeSet::from([Affinity { node_port: false, seconds: 10 }]);
        let with = Program::new(Family::Ip, &Options::default(), &Parts { affinity, ..classes(&[1]) });
        assert_eq!(
            text(&with, "endpoints-any")[0],
            "dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @affinity"
        );
        assert_eq!(text(&with, "from-internal-1").len(), text(&without, "from-internal-1").len() + 1);
        assert_eq!(text(&with, "from-internal-1")[0], text(&with, "endpoints-any")[0]);
        assert_eq!(text(&with, "nat-postrouting")[0], "ct status dnat jump remember-clients");
        assert_eq!(text(&with, "nat-input"), ["ct status dnat jump remember-clients"]);
        let remember = text(&with, "remember-clients");
        assert_eq!(remember.len(), 3);
        assert_eq!(
            remember[0],
            "meta l4proto tcp ct original ip daddr . meta l4proto . ct original proto-dst @affinity-services-10 \
             update @affinity { ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst timeout 10s : \
             ip daddr . th dport }"
        );
    }

    #[test]
    fn clients_of_a_node_port_are_those_that_asked_a_node_address() {
        let affinity = BTreeSet::from([Affinity { node_port: true, seconds: 60 }]);
        let program = Program::new(Family::Ip6, &Options::default(), &Parts { affinity, ..Parts::default() });
        let to = "ct original ip6 daddr";
        let asked = "ct original ip6 daddr . meta l4proto . ct original proto-dst";
        assert_eq!(
            text(&program, "remember-clients")[1],
            format!(
                "meta l4proto udp meta l4proto . ct original proto-dst @affinity-nodeports-60 \
                 {to} != @cluster-ips {asked} != @external {asked} != @external-local \
                 {to} @nodeport-ips \
                 update @nodeport-affinity {{ ip6 saddr . meta l4proto . ct original proto-dst timeout 60s : \
                 ip6 daddr . th dport }}"
            )
        );
        assert!(!program.sets.contains(&SetName::Clients { node_port: false }));
    }
}
