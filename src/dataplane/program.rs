//! The constant program: what the chains of a table do with any cluster.
//!
//! ```text
//! filter prerouting, output (early) ─▶ check-sources: load-balancer IPs that only some sources may use
//! nat prerouting, output ─▶ services ─▶ from-internal, from-external, … ─▶ endpoints-any, -local ─▶ pick-P ─▶ dnat
//! filter input, forward, output ─▶ check-nodeports, check-endpoints (no endpoints: refuse or drop), check-cluster-ips
//! nat postrouting ─▶ masquerade (marked, or a connection to oneself)
//! nat postrouting, input ─▶ remember-clients ─▶ affinity, nodeport-affinity: who was sent where, only with session affinity
//! ```
//!
//! It depends on the options and on which classes and timeouts of session affinity are in use, never on how many Services there
//! are.

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
    /// The classes in use; those of one list in the order in which they are tested.
    pub classes: Vec<(List, Class)>,
    /// The kinds of session affinity in use.
    pub affinity: BTreeSet<Affinity>,
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

    /// The sets and maps that exist only for these parts.
    fn sets(&self) -> impl Iterator<Item = SetName> {
        let slots = self.classes.iter().map(|(list, class)| SetName::Slots(*list, *class));
        let clients = [false, true].into_iter().filter(|node_port| self.has_affinity(*node_port));
        let clients = clients.map(|node_port| SetName::Clients { node_port });
        slots.chain(self.affinity.iter().copied().map(SetName::WithAffinity)).chain(clients)
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
        let mut chains: Vec<Chain> = parts.classes.iter().map(|(list, class)| pick(family, *list, *class)).collect();
        chains.extend(List::ALL.map(|list| by_class(family, list, parts)));
        chains.extend(arriving(family, options));
        chains.push(services(family, options));
        chains.extend(checking(family, options));
        if !parts.affinity.is_empty() {
            chains.extend(remembering(family, options, parts));
        }
        chains.extend(hooks(family, options, parts));
        Self { sets: SetName::CONSTANT.into_iter().chain(parts.sets()).collect(), chains }
    }
}

/// `pick-P`: sends a connection to a random one of a list's P/2+1 to P endpoints.
///
/// Each draw hits one of the n endpoints with equal probability, or misses with probability 1 - n/P and the next rule draws
/// again; the last one draws from P/2 < n, where it always hits.
fn pick(family: Family, list: List, class: Class) -> Chain {
    let map = SetName::Endpoints(list);
    let draw = |class| Rule::new(family, Action::DnatTo(Expr::key_of(map).random_slot(class), map));
    let draws = if class.slots() == 1 { 0 } else { DRAWS };
    let mut rules: Vec<Rule> = (0..draws).map(|_| draw(class)).collect();
    rules.push(draw(class.halved()));
    Chain::regular(pick_name(list, class), rules)
}

fn pick_name(list: List, class: Class) -> ChainName {
    ChainName::from(format!("{}pick-{}", list.prefix(), class.slots()))
}

/// Sends a client back to the endpoint that it had, or finds the class of the frontend's list.
fn by_class(family: Family, list: List, parts: &Parts) -> Chain {
    let node_port = list.is_node_port();
    let clients = SetName::Clients { node_port };
    let back = Rule::new(family, Action::DnatTo(Expr::key_of(clients), clients));
    let classes: Vec<Class> = parts.classes_of(list).collect();
    let by_class = classes.iter().map(|class| {
        Rule::new(family, Action::Goto(pick_name(list, *class))).when(SetName::Slots(list, *class).into())
    });
    // A list without a class has no endpoints.
    let back = (parts.has_affinity(node_port) && !classes.is_empty()).then_some(back);
    let rules = back.into_iter().chain(by_class).collect();
    Chain { classes, ..Chain::regular(list.chain(), rules) }
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
                let addresses = [SetName::Internal, SetName::External, SetName::ExternalLocal];
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

/// The chains that decide, by where a connection comes from, whether it is masqueraded and which list it may use.
fn arriving(family: Family, options: &Options) -> [Chain; 6] {
    let rule = |action| Rule::new(family, action);
    let masquerade = || rule(Action::Jump("mark-for-masquerade".into()));
    let choose = |list: List| rule(Action::Goto(list.chain().into()));
    let local_pod = options.local_pods.conditions(family);
    let mask_internal = match &local_pod {
        _ if options.masquerade_all => Some(masquerade()),
        Some((_, other)) => Some(masquerade().when(other.clone())),
        None => None,
    };
    let everyone = |any| vec![masquerade(), choose(any)];
    // Local pods and this host are not confined to local endpoints; the host's source address may not fit the endpoint's route.
    let confined = |any, local| {
        let pods = local_pod.iter().map(|(pod, _)| choose(any).when(pod.clone()));
        let host = [masquerade().when(Condition::FibSaddrLocal), choose(any).when(Condition::FibSaddrLocal)];
        pods.chain(host).chain([choose(local)]).collect()
    };
    [
        Chain::regular("mark-for-masquerade", vec![rule(Action::SetMark(mark(options)))]),
        Chain::regular("from-internal", mask_internal.into_iter().chain([choose(List::Any)]).collect()),
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

/// `services`: what kind of frontend is a connection for?
fn services(family: Family, options: &Options) -> Chain {
    let to = |chain: &'static str, set: SetName| Rule::new(family, Action::Goto(chain.into())).when(set.into());
    let node_port = |chain, set| {
        let mut rule = Rule::new(family, Action::Goto(ChainName::from(chain)));
        rule.conditions = on_node_address(family, options);
        rule.when(set)
    };
    Chain::regular(
        "services",
        vec![
            to("from-internal", SetName::Internal),
            to("from-external", SetName::External),
            to("from-external-local", SetName::ExternalLocal),
            node_port("from-nodeport", SetName::Nodeports.into()),
            node_port("from-nodeport-local", SetName::NodeportsLocal.into()),
        ],
    )
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

/// The chains that refuse or drop what no endpoint answers, and what a source may not ask for.
fn checking(family: Family, options: &Options) -> [Chain; 5] {
    let rule = |action| Rule::new(family, action);
    let refuse = || rule(Action::Goto("refuse".into()));
    let on_node = |mut rule: Rule, set: SetName| {
        rule.conditions = on_node_address(family, options);
        rule.when(set.into())
    };
    let sources = Condition::NotIn(Expr::key_of(SetName::AllowedSources), SetName::AllowedSources);
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
            vec![on_node(rule(Action::Drop), SetName::DropNodeports), on_node(refuse(), SetName::RejectNodeports)],
        ),
        Chain::regular(
            "check-cluster-ips",
            vec![refuse().when(SetName::ClusterIps.into()), rule(Action::Drop).when(SetName::ServiceCidrs.into())],
        ),
        Chain::regular("check-sources", vec![rule(Action::Drop).when(SetName::Firewalled.into()).when(sources)]),
    ]
}

/// The base chains, at kube-proxy's hooks and priorities.
fn hooks(family: Family, options: &Options, parts: &Parts) -> [Chain; 8] {
    let rule = |action| Rule::new(family, action);
    let services = || vec![rule(Action::Jump("services".into()))];
    let check = |chain: &'static str| rule(Action::Jump(chain.into())).when(Condition::CtStateNew);
    let unanswered = || vec![check("check-endpoints"), check("check-cluster-ips")];
    let masquerade = [
        rule(Action::ClearMarkAndMasquerade(mark(options))).when(Condition::Mark(mark(options))),
        rule(Action::Masquerade).when(Condition::CtStatusDnat).when(SetName::Hairpin.into()),
    ];
    let remember = (!parts.affinity.is_empty()).then(|| remember(family));
    let leaving = remember.into_iter().chain(masquerade).collect();
    let for_host = vec![check("check-nodeports"), check("check-endpoints")];
    let sources = || vec![check("check-sources")];
    [
        Chain::base("filter-prerouting", ChainType::Filter, Hook::Prerouting, BEFORE_DSTNAT, sources()),
        Chain::base("filter-output-early", ChainType::Filter, Hook::Output, BEFORE_DSTNAT, sources()),
        Chain::base("nat-prerouting", ChainType::Nat, Hook::Prerouting, DSTNAT, services()),
        Chain::base("nat-output", ChainType::Nat, Hook::Output, DSTNAT, services()),
        Chain::base("nat-postrouting", ChainType::Nat, Hook::Postrouting, SRCNAT, leaving),
        Chain::base("filter-input", ChainType::Filter, Hook::Input, FILTER, for_host),
        Chain::base("filter-forward", ChainType::Filter, Hook::Forward, FILTER, unanswered()),
        Chain::base("filter-output", ChainType::Filter, Hook::Output, FILTER, unanswered()),
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
        let classes = endpoints.iter().filter_map(|n| Some((List::Any, Class::of(*n)?))).collect();
        Parts { classes, ..Parts::default() }
    }

    fn pods_in(network: &str) -> Options {
        let networks = vec![network.parse().expect("network")];
        Options { local_pods: LocalPods::Networks(networks), ..Options::default() }
    }

    #[test]
    fn rules_read_like_nft() {
        let options = pods_in("10.128.0.0/16");
        let program = Program::new(Family::Ip, &options, &classes(&[1, 3]));
        assert_eq!(
            text(&program, "services"),
            [
                "ip daddr . meta l4proto . th dport @internal goto from-internal",
                "ip daddr . meta l4proto . th dport @external goto from-external",
                "ip daddr . meta l4proto . th dport @external-local goto from-external-local",
                "ip daddr @nodeport-ips meta l4proto . th dport @nodeports goto from-nodeport",
                "ip daddr @nodeport-ips meta l4proto . th dport @nodeports-local goto from-nodeport-local",
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
            text(&program, "check-sources"),
            [
                "ip daddr . meta l4proto . th dport @firewalled ip daddr . meta l4proto . th dport . ip saddr != @allowed-sources drop"
            ]
        );
        assert_eq!(
            text(&program, "from-internal"),
            ["ip saddr != 10.128.0.0/16 jump mark-for-masquerade", "goto endpoints-any"]
        );
        assert_eq!(
            text(&program, "endpoints-any"),
            [
                "ip daddr . meta l4proto . th dport @slots-1 goto pick-1",
                "ip daddr . meta l4proto . th dport @slots-4 goto pick-4",
            ]
        );
        assert_eq!(
            text(&program, "pick-1"),
            ["dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @endpoints"]
        );
        let four = text(&program, "pick-4");
        assert_eq!(four.len(), DRAWS + 1);
        assert!(four[0].contains("mod 4") && four[DRAWS].contains("mod 2"), "{four:?}");
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
        let program = Program::new(Family::Ip6, &options, &Parts::default());
        assert_eq!(text(&program, "from-internal"), ["goto endpoints-any"]);
        let all = Program::new(Family::Ip6, &Options { masquerade_all: true, ..options }, &Parts::default());
        assert_eq!(text(&all, "from-internal"), ["jump mark-for-masquerade", "goto endpoints-any"]);
    }

    #[test]
    fn pods_may_be_told_by_interface_and_node_ports_be_on_every_address() {
        let options = Options {
            local_pods: LocalPods::Interface("cali*".to_owned()),
            masquerade_bit: 3,
            every_node_address: BTreeSet::from([Family::Ip6]),
            ..Options::default()
        };
        let program = Program::new(Family::Ip6, &options, &Parts::default());
        assert_eq!(
            text(&program, "from-internal"),
            ["iifname != \"cali*\" jump mark-for-masquerade", "goto endpoints-any"]
        );
        assert_eq!(text(&program, "mark-for-masquerade"), ["meta mark set meta mark | 0x8"]);
        assert_eq!(
            text(&program, "check-nodeports"),
            [
                "fib daddr type local ip6 daddr != ::1/128 meta l4proto . th dport @drop-nodeports drop",
                "fib daddr type local ip6 daddr != ::1/128 meta l4proto . th dport @reject-nodeports goto refuse",
            ]
        );
    }

    #[test]
    fn a_fingerprint_changes_with_the_rules() {
        let one = Program::new(Family::Ip, &Options::default(), &classes(&[1]));
        let two = Program::new(Family::Ip, &Options::default(), &classes(&[1, 2]));
        let fingerprint = |p: &Program, name: &str| p.chains.iter().find(|c| c.name.0 == name).map(Chain::fingerprint);
        assert_ne!(fingerprint(&one, "endpoints-any"), fingerprint(&two, "endpoints-any"));
        assert_eq!(fingerprint(&one, "services"), fingerprint(&two, "services"));
        // Written into kernels by earlier versions: a change of the hash would rewrite every chain once.
        assert_eq!(fingerprint(&one, "refuse"), Some(0x7dce_c13e_2cee_7f45));
    }

    #[test]
    fn classes_are_tested_in_the_order_that_is_given() {
        let program = Program::new(Family::Ip, &Options::default(), &classes(&[3, 1]));
        let tested = text(&program, "endpoints-any");
        assert!(tested[0].ends_with("goto pick-4") && tested[1].ends_with("goto pick-1"), "{tested:?}");
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
        let asked = "ct original ip6 daddr . meta l4proto . ct original proto-dst";
        assert_eq!(
            text(&program, "remember-clients")[1],
            format!(
                "meta l4proto udp meta l4proto . ct original proto-dst @affinity-nodeports-60 \
                 {asked} != @internal {asked} != @external {asked} != @external-local \
                 ct original ip6 daddr @nodeport-ips \
                 update @nodeport-affinity {{ ip6 saddr . meta l4proto . ct original proto-dst timeout 60s : \
                 ip6 daddr . th dport }}"
            )
        );
        assert!(!program.sets.contains(&SetName::Clients { node_port: false }));
    }
}
