//! The constant program: what the chains of a table do with any cluster.
//!
//! ```text
//! filter prerouting, output (early) ─▶ check-sources: load-balancer IPs that only some sources may use
//! nat prerouting, output ─▶ services ─▶ from-internal, from-external, … ─▶ endpoints-any, -local ─▶ pick-P ─▶ dnat
//! filter input, forward, output ─▶ check-nodeports, check-endpoints (no endpoints: refuse or drop), check-cluster-ips
//! nat postrouting ─▶ masquerade (marked, or a connection to oneself)
//! ```
//!
//! It depends on the options and on which classes are in use, never on how many Services there are.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::chain::{Chain, ChainName, ChainType, Hook};
use super::key::{Family, Protocol};
use super::rule::{Action, Condition, Expr, Rule};
use super::set::{Class, List, SetName};

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
    /// The program for one family, able to choose among the endpoints of lists of these classes.
    pub fn new(family: Family, options: &Options, classes: &BTreeSet<(List, Class)>) -> Self {
        let mut chains: Vec<Chain> = classes.iter().map(|(list, class)| pick(family, *list, *class)).collect();
        chains.extend(List::ALL.map(|list| by_class(family, list, classes)));
        chains.extend(arriving(family, options));
        chains.push(services(family, options));
        chains.extend(checking(family, options));
        chains.extend(hooks(family, options));
        let slots = classes.iter().map(|(list, class)| SetName::Slots(*list, *class));
        Self { sets: SetName::CONSTANT.into_iter().chain(slots).collect(), chains }
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

/// Finds the class of a frontend's list.
fn by_class(family: Family, list: List, classes: &BTreeSet<(List, Class)>) -> Chain {
    let of_list = classes.iter().filter(|(of, _)| *of == list);
    let rules = of_list.map(|(_, class)| {
        Rule::new(family, Action::Goto(pick_name(list, *class))).when(SetName::Slots(list, *class).into())
    });
    Chain::regular(list_chain(list), rules.collect())
}

/// The chain that chooses from a list.
fn list_chain(list: List) -> &'static str {
    match list {
        List::Any => "endpoints-any",
        List::Local => "endpoints-local",
        List::NodeportAny => "nodeport-any",
        List::NodeportLocal => "nodeport-local",
    }
}

/// The chains that decide, by where a connection comes from, whether it is masqueraded and which list it may use.
fn arriving(family: Family, options: &Options) -> [Chain; 6] {
    let rule = |action| Rule::new(family, action);
    let masquerade = || rule(Action::Jump("mark-for-masquerade".into()));
    let choose = |list| rule(Action::Goto(list_chain(list).into()));
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
fn hooks(family: Family, options: &Options) -> [Chain; 8] {
    let rule = |action| Rule::new(family, action);
    let services = || vec![rule(Action::Jump("services".into()))];
    let check = |chain: &'static str| rule(Action::Jump(chain.into())).when(Condition::CtStateNew);
    let unanswered = || vec![check("check-endpoints"), check("check-cluster-ips")];
    let masquerade = vec![
        rule(Action::ClearMarkAndMasquerade(mark(options))).when(Condition::Mark(mark(options))),
        rule(Action::Masquerade).when(Condition::CtStatusDnat).when(SetName::Hairpin.into()),
    ];
    let for_host = vec![check("check-nodeports"), check("check-endpoints")];
    let sources = || vec![check("check-sources")];
    [
        Chain::base("filter-prerouting", ChainType::Filter, Hook::Prerouting, BEFORE_DSTNAT, sources()),
        Chain::base("filter-output-early", ChainType::Filter, Hook::Output, BEFORE_DSTNAT, sources()),
        Chain::base("nat-prerouting", ChainType::Nat, Hook::Prerouting, DSTNAT, services()),
        Chain::base("nat-output", ChainType::Nat, Hook::Output, DSTNAT, services()),
        Chain::base("nat-postrouting", ChainType::Nat, Hook::Postrouting, SRCNAT, masquerade),
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

    fn classes(endpoints: &[usize]) -> BTreeSet<(List, Class)> {
        endpoints.iter().filter_map(|n| Some((List::Any, Class::of(*n)?))).collect()
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
        let program = Program::new(Family::Ip6, &options, &BTreeSet::new());
        assert_eq!(text(&program, "from-internal"), ["goto endpoints-any"]);
        let all = Program::new(Family::Ip6, &Options { masquerade_all: true, ..options }, &BTreeSet::new());
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
        let program = Program::new(Family::Ip6, &options, &BTreeSet::new());
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
}
