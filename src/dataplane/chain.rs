//! Chains, which are the constant part of a table.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;

use fnv::FnvHasher;

use super::key::Frontend;
use super::rule::Rule;
use super::set::{AffinityStep, EndpointList, FrontendName, SizeClass};

/// The name of a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(pub Cow<'static, str>);

/// A chain and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name, unique in its table.
    pub name: ChainName,
    /// Where it is attached; `None` for a chain that is only jumped to.
    pub base: Option<BaseChain>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
    /// The size classes in the order in which the rules test them. The stamp holds them too, so that a later run can keep the order.
    pub classes: Vec<SizeClass>,
    /// The timeout of session affinity in seconds, for the chain of a frontend that has it. The stamp holds it too.
    pub affinity_seconds: Option<u32>,
}

/// Where a base chain is attached. The policy is always accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// `filter` or `nat`.
    pub kind: ChainType,
    /// The netfilter hook.
    pub hook: Hook,
    /// The order among all base chains of a hook. Other programs arrange their own around kube-proxy's values.
    pub priority: i32,
}

/// The type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainType {
    /// A chain that sees every packet.
    Filter,
    /// A chain that sees the first packet of each connection and may translate it.
    Nat,
}

/// A netfilter hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Arriving packets, before routing.
    Prerouting,
    /// Packets for this host.
    Input,
    /// Packets that this host forwards.
    Forward,
    /// Packets that this host sends.
    Output,
    /// Leaving packets, after routing.
    Postrouting,
}

impl Chain {
    /// A chain that is only jumped to.
    pub fn regular(name: impl Into<ChainName>, rules: Vec<Rule>) -> Self {
        Self { name: name.into(), base: None, rules, classes: Vec::new(), affinity_seconds: None }
    }

    /// A base chain, attached to a hook.
    pub fn base(name: impl Into<ChainName>, kind: ChainType, hook: Hook, priority: i32, rules: Vec<Rule>) -> Self {
        Self {
            name: name.into(),
            base: Some(BaseChain { kind, hook, priority }),
            rules,
            classes: Vec::new(),
            affinity_seconds: None,
        }
    }

    /// A hash of the rules, the same in all builds and on all machines: 64-bit FNV-1a over the rules as nft text.
    ///
    /// The comment of the chain's first rule holds it, so that a later run can tell whether the kernel holds the rules that it would
    /// write, without comparing them one by one.
    pub fn fingerprint(&self) -> u64 {
        Self::fingerprint_of(&self.rules)
    }

    /// The fingerprint of a chain with these rules, which have no comments.
    pub fn fingerprint_of(rules: &[Rule]) -> u64 {
        let mut hasher = FnvHasher::default();
        for rule in rules {
            hasher.write(rule.to_string().as_bytes());
            hasher.write_u8(b'\n');
        }
        hasher.finish()
    }

    /// The rules with the stamp, which is the comment of the first rule.
    pub fn stamped_rules(&self) -> Vec<Rule> {
        let mut rules = self.rules.clone();
        if let Some(first) = rules.first_mut() {
            first.comment = Some(stamp(self.fingerprint(), &self.classes, self.affinity_seconds));
        }
        rules
    }
}

/// The stamp of a chain: its fingerprint, and the order of its classes or its timeout. At most 107 bytes, where nft takes 127.
fn stamp(fingerprint: u64, classes: &[SizeClass], affinity_seconds: Option<u32>) -> String {
    let mut stamp = format!("program {fingerprint:016x}");
    for (n, class) in classes.iter().enumerate() {
        stamp.push_str(if n == 0 { " slots " } else { "," });
        stamp.push_str(&class.slots().to_string());
    }
    if let Some(seconds) = affinity_seconds {
        stamp.push_str(&format!(" timeout {seconds}"));
    }
    stamp
}

/// What the stamp of a chain tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub fingerprint: u64,
    pub classes: Vec<SizeClass>,
    pub affinity_seconds: Option<u32>,
}

impl Stamp {
    /// The stamp in a rule's comment; `None` if it is no stamp.
    pub fn parse(comment: &str) -> Option<Self> {
        let mut words = comment.strip_prefix("program ")?.split(' ');
        let mut stamp = Self { fingerprint: u64::from_str_radix(words.next()?, 16).ok()?, ..Self::default() };
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "slots" => {
                    let class = |slots: &str| SizeClass::for_endpoints(slots.parse().ok()?);
                    stamp.classes = value.split(',').filter_map(class).collect();
                }
                "timeout" => stamp.affinity_seconds = value.parse().ok(),
                _ => {}
            }
        }
        Some(stamp)
    }
}

impl ChainName {
    /// The chain that drops connections from sources that may not use their frontend.
    pub const DROP_OTHER_SOURCES: &str = "drop-other-sources";

    /// The chain of one frontend with session affinity, for a step.
    pub fn with_affinity(step: AffinityStep, frontend: Frontend) -> Self {
        format!("{}-{}", step.name(), FrontendName(frontend)).into()
    }

    /// The chain that checks the sources of connections to one frontend.
    pub fn check_sources(frontend: Frontend) -> Self {
        format!("check-sources-{}", FrontendName(frontend)).into()
    }

    /// The frontend whose sources the chain of this name checks; `None` for the name of any other chain.
    pub fn parse_check_sources(name: &str) -> Option<Frontend> {
        Some(FrontendName::parse(name.strip_prefix("check-sources-")?)?.0)
    }

    /// The chain of a list's frontends with session affinity.
    pub fn affinity(list: EndpointList) -> Self {
        format!("{}affinity", list.prefix()).into()
    }

    /// The chain that draws one of the ids of a list's frontends with session affinity.
    pub fn draw_id(list: EndpointList) -> Self {
        format!("{}draw-id", list.prefix()).into()
    }

    /// The step and the frontend whose chain has this name; `None` for the name of any other chain.
    pub fn parse_with_affinity(name: &str) -> Option<(AffinityStep, Frontend)> {
        let (step, frontend) = name.split_once('-')?;
        let step = AffinityStep::ALL.into_iter().find(|known| known.name() == step)?;
        Some((step, FrontendName::parse(frontend)?.0))
    }
}

impl ChainType {
    /// The name in nft.
    pub fn nft(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

impl Hook {
    /// The name in nft.
    pub fn nft(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

impl From<&'static str> for ChainName {
    fn from(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl From<String> for ChainName {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BaseChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} hook {} priority {}; policy accept;", self.kind.nft(), self.hook.nft(), self.priority)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Condition, Family};
    use super::*;

    fn chain(rules: &[Action]) -> Chain {
        Chain::regular("c", rules.iter().map(|action| Rule::new(Family::Ip, action.clone())).collect())
    }

    #[test]
    fn the_chain_of_a_frontend_is_known_by_its_name() {
        use super::super::{Family, Protocol};
        let web = Frontend { addr: "fd00:96::1".parse().unwrap(), protocol: Protocol::Tcp, port: 80 };
        let name = ChainName::with_affinity(AffinityStep::Recall, web);
        assert_eq!(name.to_string(), "recall-fd00_96__1-tcp-80");
        assert_eq!(ChainName::parse_with_affinity(&name.0), Some((AffinityStep::Recall, web)));
        let port = Frontend::node_port(Family::Ip, Protocol::Udp, 30_053);
        let name = ChainName::with_affinity(AffinityStep::Remember, port);
        assert_eq!(ChainName::parse_with_affinity(&name.0), Some((AffinityStep::Remember, port)));
        let name = ChainName::check_sources(web);
        assert_eq!(name.to_string(), "check-sources-fd00_96__1-tcp-80");
        assert_eq!(ChainName::parse_check_sources(&name.0), Some(web));
        assert_eq!(ChainName::parse_check_sources("check-sources"), None);
        for other in ["recall-", "remember-clients", "pick-3", "x-recall-10.96.0.1-tcp-80"] {
            assert_eq!(ChainName::parse_with_affinity(other), None, "{other}");
        }
    }

    #[test]
    fn the_fingerprint_depends_only_on_the_rules_and_their_order() {
        let two = chain(&[Action::Drop, Action::Masquerade]);
        let hooked = Chain::base("other", ChainType::Nat, Hook::Output, -100, two.rules.clone());
        assert_eq!(two.fingerprint(), hooked.fingerprint());
        let conditional = Rule::new(Family::Ip, Action::Drop).when(Condition::CtStateNew);
        for other in [
            chain(&[Action::Masquerade, Action::Drop]),
            chain(&[Action::Drop]),
            chain(&[]),
            Chain::regular("c", vec![conditional, Rule::new(Family::Ip, Action::Masquerade)]),
        ] {
            assert_ne!(two.fingerprint(), other.fingerprint(), "{other:?}");
        }
    }

    #[test]
    fn only_the_first_rule_is_stamped_and_the_stamp_is_parsed_again() {
        let chain = chain(&[Action::Drop, Action::Masquerade]);
        let stamped = chain.stamped_rules();
        let comment = stamped[0].comment.as_deref().unwrap();
        assert_eq!(Stamp::parse(comment), Some(Stamp { fingerprint: chain.fingerprint(), ..Stamp::default() }));
        assert_eq!(stamped[1], chain.rules[1]);
        assert_eq!(Chain::regular("c", Vec::new()).stamped_rules(), []);
    }

    #[test]
    fn a_stamp_has_16_digits_and_other_comments_are_no_stamps() {
        assert_eq!(stamp(255, &[], None), "program 00000000000000ff");
        let classes: Vec<SizeClass> = [8, 1, 4].into_iter().filter_map(SizeClass::for_endpoints).collect();
        for (classes, affinity_seconds, text) in [
            (classes, None, "program 00000000000000ff slots 8,1,4"),
            (Vec::new(), Some(10_800), "program 00000000000000ff timeout 10800"),
        ] {
            assert_eq!(stamp(255, &classes, affinity_seconds), text);
            assert_eq!(Stamp::parse(text), Some(Stamp { fingerprint: 255, classes, affinity_seconds }));
        }
        for comment in ["", "program", "program ", "program xyz", "program 10000000000000000", "shop/web:http"] {
            assert_eq!(Stamp::parse(comment), None, "{comment:?}");
        }
    }

    #[test]
    fn a_base_chain_reads_like_nft() {
        for (kind, hook, priority, expected) in [
            (ChainType::Nat, Hook::Prerouting, -100, "type nat hook prerouting priority -100; policy accept;"),
            (ChainType::Filter, Hook::Forward, 0, "type filter hook forward priority 0; policy accept;"),
            (ChainType::Nat, Hook::Postrouting, 100, "type nat hook postrouting priority 100; policy accept;"),
        ] {
            assert_eq!(BaseChain { kind, hook, priority }.to_string(), expected);
        }
    }
}
