//! Rules: conditions and one action. They are built with words that read like nft.

use std::fmt;

use ipnet::IpNet;

use super::chain::ChainName;
use super::key::{Family, Protocol};
use super::set::{Field, SetName, SizeClass};

/// A rule: if all conditions hold, it takes the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The table that it belongs to, which decides between `ip` and `ip6` expressions.
    pub family: Family,
    /// The conditions, tested in order.
    pub conditions: Vec<Condition>,
    /// What the rule does.
    pub action: Action,
    /// A text for readers of listings; the first rule of a chain has the stamp here.
    pub comment: Option<String>,
}

/// A condition that holds for a packet or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key made of these fields is in the set.
    In(Expr, SetName),
    /// The key made of these fields is not in the set.
    NotIn(Expr, SetName),
    /// The source address is in this network.
    SaddrIn(IpNet),
    /// The source address is not in this network.
    SaddrNotIn(IpNet),
    /// The destination address is not in this network.
    DaddrNotIn(IpNet),
    /// The source address is one of this host's.
    FibSaddrLocal,
    /// The destination address is one of this host's.
    FibDaddrLocal,
    /// The packet came in by this interface. A name that ends in `*` stands for all names with this beginning.
    Iifname(String),
    /// The packet came in by another interface, or this host sent it.
    IifnameNot(String),
    /// The transport protocol.
    L4Proto(Protocol),
    /// The packet opens a connection.
    CtStateNew,
    /// The connection was translated to another destination.
    CtStatusDnat,
    /// The connection was not translated.
    CtStatusNoDnat,
    /// The bit is set in the packet mark.
    Mark(u32),
    /// The map has an id for the key made of these fields: it becomes the packet's priority.
    Recalls(Expr, SetName),
    /// The packet's priority becomes 0, which is the id of no endpoint. Always holds.
    ForgetsId,
    /// The packet's priority is not 0: it is the id of an endpoint, once [`Self::ForgetsId`] came before.
    HasId,
    /// The map remembers the id in the packet's priority for its source address. The timeout, in seconds, starts again for a source that
    /// it knows already. It does not hold for a new source if the map is full.
    Remembers(SetName, u32),
}

/// An expression that makes a key from a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expr {
    /// Fields of the packet, in order.
    pub fields: &'static [Field],
    /// The size class for [`Field::Slot`], which is a random number below it.
    pub class: Option<SizeClass>,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Continues in another chain, and returns from it.
    Jump(ChainName),
    /// Continues in another chain and does not return.
    Goto(ChainName),
    /// Drops the packet.
    Drop,
    /// Answers with a TCP reset.
    RejectTcpReset,
    /// Answers with ICMP or ICMPv6 port unreachable.
    Reject,
    /// Translates the connection to the endpoint that the map yields. Without one the next rule continues.
    DnatTo(Expr, SetName),
    /// Continues in the chain that the verdict map has for the key, and returns from it. Without one the next rule continues.
    JumpByMap(Expr, SetName),
    /// Returns to the chain that jumped here.
    Return,
    /// Deletes the packet's source address from the map.
    Forget(SetName),
    /// Counts the packet for its key in the set, and adds the key if it is not there. The next rule continues, also if the set is full.
    Count(SetName),
    /// Sets a bit of the packet mark.
    SetMark(u32),
    /// Clears a bit of the packet mark and rewrites the source address to this host's.
    ClearMarkAndMasquerade(u32),
    /// Rewrites the source address to this host's.
    Masquerade,
}

impl Expr {
    /// The key of `set`, taken from a packet.
    pub fn key_of(set: SetName) -> Self {
        Self { fields: set.definition().key, class: None }
    }

    /// The data of a map, taken from a packet.
    pub fn data_of(map: SetName) -> Self {
        Self { fields: map.definition().data, class: None }
    }

    /// The same key with a random slot below `class`.
    pub fn random_slot(mut self, class: SizeClass) -> Self {
        self.class = Some(class);
        self
    }
}

impl Rule {
    /// A rule for the table of `family`, without conditions.
    pub fn new(family: Family, action: Action) -> Self {
        Self { family, conditions: Vec::new(), action, comment: None }
    }

    /// The same rule, with one more condition.
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }
}

impl Field {
    /// The field as nft text; a slot needs its class and is written by [`Expr`].
    pub fn nft(self, family: Family, class: Option<SizeClass>) -> String {
        match self {
            Self::Saddr => format!("{} saddr", family.nft()),
            Self::Daddr => format!("{} daddr", family.nft()),
            Self::L4Proto => "meta l4proto".to_owned(),
            Self::Dport => "th dport".to_owned(),
            Self::Id => "meta priority".to_owned(),
            Self::OriginalDport => "ct original proto-dst".to_owned(),
            Self::Slot => format!("numgen random mod {}", class.map_or(2, SizeClass::slots)),
        }
    }
}

/// An expression as nft text for one family.
struct InFamily<'a>(&'a Expr, Family);

impl fmt::Display for InFamily<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(expr, family) = self;
        for (n, field) in expr.fields.iter().enumerate() {
            if n > 0 {
                f.write_str(" . ")?;
            }
            f.write_str(&field.nft(*family, expr.class))?;
        }
        Ok(())
    }
}

/// The rule as nft text.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family;
        for condition in &self.conditions {
            match condition {
                Condition::In(expr, set) => write!(f, "{} @{set} ", InFamily(expr, family))?,
                Condition::NotIn(expr, set) => write!(f, "{} != @{set} ", InFamily(expr, family))?,
                Condition::SaddrIn(network) => write!(f, "{} saddr {network} ", family.nft())?,
                Condition::SaddrNotIn(network) => write!(f, "{} saddr != {network} ", family.nft())?,
                Condition::DaddrNotIn(network) => write!(f, "{} daddr != {network} ", family.nft())?,
                Condition::FibSaddrLocal => f.write_str("fib saddr type local ")?,
                Condition::FibDaddrLocal => f.write_str("fib daddr type local ")?,
                Condition::Iifname(name) => write!(f, "iifname \"{name}\" ")?,
                Condition::IifnameNot(name) => write!(f, "iifname != \"{name}\" ")?,
                Condition::L4Proto(protocol) => write!(f, "meta l4proto {protocol} ")?,
                Condition::CtStateNew => f.write_str("ct state new ")?,
                Condition::CtStatusDnat => f.write_str("ct status dnat ")?,
                Condition::CtStatusNoDnat => f.write_str("ct status ! dnat ")?,
                Condition::Mark(bit) => write!(f, "meta mark & {bit:#x} == {bit:#x} ")?,
                Condition::Recalls(expr, map) => {
                    write!(f, "meta priority set {} map @{map} ", InFamily(expr, family))?;
                }
                Condition::ForgetsId => f.write_str("meta priority set none ")?,
                Condition::HasId => f.write_str("meta priority != none ")?,
                Condition::Remembers(map, seconds) => {
                    let client = Expr::key_of(*map);
                    write!(f, "update @{map} {{ {} timeout {seconds}s : meta priority }} ", InFamily(&client, family))?;
                }
            }
        }
        match &self.action {
            Action::Jump(chain) => write!(f, "jump {chain}")?,
            Action::Goto(chain) => write!(f, "goto {chain}")?,
            Action::Drop => f.write_str("drop")?,
            Action::Return => f.write_str("return")?,
            Action::RejectTcpReset => f.write_str("reject with tcp reset")?,
            Action::Reject => f.write_str("reject")?,
            Action::DnatTo(expr, map) => write!(f, "dnat {} to {} map @{map}", family.nft(), InFamily(expr, family))?,
            Action::JumpByMap(expr, map) => write!(f, "{} vmap @{map}", InFamily(expr, family))?,
            Action::Forget(map) => {
                write!(f, "delete @{map} {{ {} : meta priority }}", InFamily(&Expr::key_of(*map), family))?;
            }
            Action::Count(set) => {
                write!(f, "add @{set} {{ {} counter }}", InFamily(&Expr::key_of(*set), family))?;
            }
            Action::SetMark(bit) => write!(f, "meta mark set meta mark | {bit:#x}")?,
            Action::ClearMarkAndMasquerade(bit) => {
                write!(f, "meta mark set meta mark ^ {bit:#x} masquerade fully-random")?;
            }
            Action::Masquerade => f.write_str("masquerade fully-random")?,
        }
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

impl From<SetName> for Condition {
    /// The key of the set, taken from the packet, is in the set.
    fn from(set: SetName) -> Self {
        Self::In(Expr::key_of(set), set)
    }
}
