//! Chains, which are the constant part of a table.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;

use fnv::FnvHasher;

use super::rule::Rule;
use super::set::SizeClass;

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
        Self { name: name.into(), base: None, rules, classes: Vec::new() }
    }

    /// A base chain, attached to a hook.
    pub fn base(name: impl Into<ChainName>, kind: ChainType, hook: Hook, priority: i32, rules: Vec<Rule>) -> Self {
        Self { name: name.into(), base: Some(BaseChain { kind, hook, priority }), rules, classes: Vec::new() }
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
            first.comment = Some(stamp(self.fingerprint(), &self.classes));
        }
        rules
    }
}

/// The stamp of a chain: its fingerprint and the order of its classes. At most 107 bytes, where nft takes 127.
fn stamp(fingerprint: u64, classes: &[SizeClass]) -> String {
    let mut stamp = format!("program {fingerprint:016x}");
    for (n, class) in classes.iter().enumerate() {
        stamp.push_str(if n == 0 { " slots " } else { "," });
        stamp.push_str(&class.slots().to_string());
    }
    stamp
}

/// The fingerprint and the order of classes in a rule's comment; `None` if it is no stamp.
pub(super) fn parse_stamp(comment: &str) -> Option<(u64, Vec<SizeClass>)> {
    let stamp = comment.strip_prefix("program ")?;
    let (fingerprint, slots) = stamp.split_once(" slots ").unwrap_or((stamp, ""));
    let classes = slots.split(',').filter_map(|slots| SizeClass::for_endpoints(slots.parse().ok()?)).collect();
    Some((u64::from_str_radix(fingerprint, 16).ok()?, classes))
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
        assert_eq!(parse_stamp(comment), Some((chain.fingerprint(), Vec::new())));
        assert_eq!(stamped[1], chain.rules[1]);
        assert_eq!(Chain::regular("c", Vec::new()).stamped_rules(), []);
    }

    #[test]
    fn a_stamp_has_16_digits_and_other_comments_are_no_stamps() {
        assert_eq!(stamp(255, &[]), "program 00000000000000ff");
        let classes: Vec<SizeClass> = [8, 1, 4].into_iter().filter_map(SizeClass::for_endpoints).collect();
        assert_eq!(stamp(255, &classes), "program 00000000000000ff slots 8,1,4");
        assert_eq!(parse_stamp("program 00000000000000ff slots 8,1,4"), Some((255, classes)));
        for comment in ["", "program", "program ", "program xyz", "program 10000000000000000", "shop/web:http"] {
            assert_eq!(parse_stamp(comment), None, "{comment:?}");
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
