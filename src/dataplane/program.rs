//! The constant program: what the chains of a table do with any cluster.
//!
//! ```text
//! nat prerouting, output ─▶ services ─▶ from-internal ─▶ endpoints-any ─▶ pick-P ─▶ dnat
//! filter input, forward, output ─▶ check-endpoints (no endpoints: refuse or drop), check-cluster-ips
//! nat postrouting ─▶ masquerade (marked, or a connection to oneself)
//! ```
//!
//! It depends on the options and on which classes are in use, never on how many Services there are.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::chain::{Chain, ChainName, ChainType, Hook};
use super::key::{Family, Protocol};
use super::rule::{Action, Condition, Expr, Rule};
use super::set::{Class, SetName};

/// The bit of the packet mark that asks for masquerade: kube-proxy's default, `masqueradeBit` 14.
const MASQUERADE_MARK: u32 = 1 << 14;

/// Draws from a class before the last, biased one.
///
/// A draw from class P misses with a probability below 1/2, so the last one is reached with less than 2^-12 (0.03 %).
const DRAWS: usize = 12;

/// Priority of destination translation (`dstnat`), where kube-proxy translates too.
const DSTNAT: i32 = -100;
/// Priority of filters (`filter`).
const FILTER: i32 = 0;
/// Priority of source translation (`srcnat`).
const SRCNAT: i32 = 100;

/// What an operator may choose about the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Pod networks, at most one per family: ClusterIP traffic from elsewhere is masqueraded. Without one, it is not.
    pub cluster_cidrs: Vec<IpNet>,
    /// Masquerade all ClusterIP traffic.
    pub masquerade_all: bool,
}

/// The sets and chains of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The sets and maps, in the order in which they are created.
    pub sets: Vec<SetName>,
    /// The chains; those that are jumped to come before those that jump.
    pub chains: Vec<Chain>,
}

impl Program {
    /// The program for one family, able to choose among the endpoints of frontends of these classes.
    pub fn new(family: Family, options: &Options, classes: &BTreeSet<Class>) -> Self {
        let mut chains: Vec<Chain> = classes.iter().map(|class| pick(family, *class)).collect();
        chains.extend(choosing(family, options, classes));
        chains.extend(checking(family));
        chains.extend(hooks(family));
        let sets = SetName::CONSTANT.into_iter().chain(classes.iter().copied().map(SetName::Slots)).collect();
        Self { sets, chains }
    }
}

/// `pick-P`: sends a connection to a random one of a frontend's P/2+1 to P endpoints.
///
/// Each draw hits one of the n endpoints with equal probability, or misses with probability 1 - n/P and the next rule draws
/// again; the last one draws from P/2 < n, where it always hits.
fn pick(family: Family, class: Class) -> Chain {
    let draw = |class| {
        let key = Expr::key_of(SetName::Endpoints).random_slot(class);
        Rule::new(family, Action::DnatTo(key, SetName::Endpoints))
    };
    let draws = if class.slots() == 1 { 0 } else { DRAWS };
    let mut rules: Vec<Rule> = (0..draws).map(|_| draw(class)).collect();
    rules.push(draw(class.halved()));
    Chain::regular(pick_name(class), rules)
}

fn pick_name(class: Class) -> ChainName {
    ChainName::from(format!("pick-{}", class.slots()))
}

/// The chains that find a frontend and its class.
fn choosing(family: Family, options: &Options, classes: &BTreeSet<Class>) -> [Chain; 4] {
    let rule = |action| Rule::new(family, action);
    let by_class =
        classes.iter().map(|class| rule(Action::Goto(pick_name(*class))).when(SetName::Slots(*class).into()));
    let masquerade = rule(Action::Jump("mark-for-masquerade".into()));
    let pods = options.cluster_cidrs.iter().find(|network| Family::of(network.addr()) == family);
    let masquerade = match pods {
        _ if options.masquerade_all => Some(masquerade),
        Some(pods) => Some(masquerade.when(Condition::SaddrNotIn(*pods))),
        None => None,
    };
    let from_internal = masquerade.into_iter().chain([rule(Action::Goto("endpoints-any".into()))]);
    [
        Chain::regular("mark-for-masquerade", vec![rule(Action::SetMark(MASQUERADE_MARK))]),
        Chain::regular("endpoints-any", by_class.collect()),
        Chain::regular("from-internal", from_internal.collect()),
        Chain::regular("services", vec![rule(Action::Goto("from-internal".into())).when(SetName::Internal.into())]),
    ]
}

/// The chains that refuse or drop what no endpoint answers.
fn checking(family: Family) -> [Chain; 3] {
    let rule = |action| Rule::new(family, action);
    let refuse = || rule(Action::Goto("refuse".into()));
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
            "check-cluster-ips",
            vec![refuse().when(SetName::ClusterIps.into()), rule(Action::Drop).when(SetName::ServiceCidrs.into())],
        ),
    ]
}

/// The base chains, at kube-proxy's hooks and priorities.
fn hooks(family: Family) -> [Chain; 6] {
    let rule = |action| Rule::new(family, action);
    let services = || vec![rule(Action::Jump("services".into()))];
    let check = |chain: &'static str| rule(Action::Jump(chain.into())).when(Condition::CtStateNew);
    let unanswered = || vec![check("check-endpoints"), check("check-cluster-ips")];
    let masquerade = vec![
        rule(Action::ClearMarkAndMasquerade(MASQUERADE_MARK)).when(Condition::Mark(MASQUERADE_MARK)),
        rule(Action::Masquerade).when(Condition::CtStatusDnat).when(SetName::Hairpin.into()),
    ];
    [
        Chain::base("nat-prerouting", ChainType::Nat, Hook::Prerouting, DSTNAT, services()),
        Chain::base("nat-output", ChainType::Nat, Hook::Output, DSTNAT, services()),
        Chain::base("nat-postrouting", ChainType::Nat, Hook::Postrouting, SRCNAT, masquerade),
        Chain::base("filter-input", ChainType::Filter, Hook::Input, FILTER, vec![check("check-endpoints")]),
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

    fn classes(endpoints: &[usize]) -> BTreeSet<Class> {
        endpoints.iter().filter_map(|n| Class::of(*n)).collect()
    }

    #[test]
    fn rules_read_like_nft() {
        let options = Options { cluster_cidrs: vec!["10.128.0.0/16".parse().expect("network")], masquerade_all: false };
        let program = Program::new(Family::Ip, &options, &classes(&[1, 3]));
        assert_eq!(text(&program, "services"), ["ip daddr . meta l4proto . th dport @internal goto from-internal"]);
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
        let options = Options { cluster_cidrs: vec!["10.128.0.0/16".parse().expect("network")], masquerade_all: false };
        let program = Program::new(Family::Ip6, &options, &BTreeSet::new());
        assert_eq!(text(&program, "from-internal"), ["goto endpoints-any"]);
        let all = Program::new(Family::Ip6, &Options { masquerade_all: true, ..options }, &BTreeSet::new());
        assert_eq!(text(&all, "from-internal"), ["jump mark-for-masquerade", "goto endpoints-any"]);
    }

    #[test]
    fn a_fingerprint_changes_with_the_rules() {
        let one = Program::new(Family::Ip, &Options::default(), &classes(&[1]));
        let two = Program::new(Family::Ip, &Options::default(), &classes(&[1, 2]));
        let fingerprint = |p: &Program, name: &str| p.chains.iter().find(|c| c.name.0 == name).map(Chain::fingerprint);
        assert_ne!(fingerprint(&one, "endpoints-any"), fingerprint(&two, "endpoints-any"));
        assert_eq!(fingerprint(&one, "services"), fingerprint(&two, "services"));
        // Written into kernels by earlier versions: a change of the hash would rewrite every chain once.
        assert_eq!(fingerprint(&one, "services"), Some(0));
    }
}
