//! Decoding rules from the kernel's expressions: the inverse of [`rules`](super::rules).
//!
//! A rule is decoded only if the program could have written it. Nothing of it is skipped: what another program edited is another rule, or
//! none that is known.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::abi::*;
use super::rules::address_offset;
use super::types::type_of;
use crate::dataplane::{Action, Chain, Condition, Expr, Family, Field, Protocol, Rule, SetName, SizeClass};
use crate::netlink::{Attributes, host_u32, nfproto, text};

/// Whether this kernel returns rules as they are known here. The self-test finds out.
static RETURNS_RULES: AtomicBool = AtomicBool::new(true);

/// This kernel returns rules otherwise than is known here: from now on the comments of chains count.
pub(super) fn trust_comments() {
    RETURNS_RULES.store(false, Ordering::Relaxed);
}

/// The fingerprint of a chain: the one in its comment, if that is also the one of its rules. An edited rule leaves none.
///
/// `rules` are `None` if one of them cannot be decoded.
pub(super) fn confirmed(stamped: Option<u64>, rules: Option<&[Rule]>) -> Option<u64> {
    if !RETURNS_RULES.load(Ordering::Relaxed) {
        return stamped;
    }
    let found = rules.map(Chain::fingerprint_of);
    stamped.filter(|stamped| found == Some(*stamped))
}

/// Decodes the list of a rule's expressions, for a table of this family; `None` if the program writes no such rule.
pub(super) fn decode(family: Family, expressions: Attributes<'_>) -> Option<Rule> {
    let entry = |(kind, entry)| if kind == NFTA_LIST_ELEM { step(family, Attributes(entry)) } else { None };
    let steps: Vec<Step<'_>> = expressions.map(entry).collect::<Option<_>>()?;
    let (mut rest, mut conditions) = (steps.as_slice(), Vec::new());
    loop {
        if let Some(action) = action(family, rest) {
            return Some(Rule { family, conditions, action, comment: None });
        }
        let (condition, length) = condition(family, rest)?;
        conditions.push(condition);
        rest = rest.get(length..)?;
    }
}

/// One expression.
#[derive(Clone, Debug, PartialEq)]
enum Step<'a> {
    /// Loads something into the register so many words after the first.
    Load {
        source: Source,
        words: u32,
    },
    /// Changes what is in the register so many words after the first.
    Bitwise {
        mask: Cow<'a, [u8]>,
        flip: &'a [u8],
        words: u32,
    },
    Compare {
        is_equal: bool,
        value: &'a [u8],
    },
    Lookup {
        set: SetName,
        is_inverted: bool,
    },
    LookupData {
        map: SetName,
    },
    LookupVerdict {
        map: SetName,
    },
    /// Loads a constant into the first register.
    Constant(&'a [u8]),
    /// Sets a property of the packet from the first register.
    SetMeta(u32),
    Final(Action),
    /// Translates to the address in the first register and the port so many words after it.
    Dnat {
        port: u32,
    },
    Masquerade,
    /// Counts the packet for the key in the first register.
    Count {
        set: SetName,
    },
    /// Changes the element with the key in the first register and the data so many words after it. Without a timeout 0 seconds.
    ChangeByPacket {
        map: SetName,
        operation: u32,
        seconds: u32,
        data: u32,
    },
}

/// What is loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Payload {
        base: u32,
        offset: u32,
        length: u32,
    },
    Meta(u32),
    Ct(u32),
    CtOriginal(u32),
    /// Whether the address is one of this host's.
    FibType(u32),
    Random(u32),
}

/// One expression of the list; `None` if it is none that the program uses.
fn step<'a>(family: Family, entry: Attributes<'a>) -> Option<Step<'a>> {
    let data = entry.nest(NFTA_EXPR_DATA)?;
    let only = |known: &[u16]| data.into_iter().all(|(kind, value)| known.contains(&kind) || is_zero(value));
    let first = |kind| words(data.u32(kind)?).filter(|words| *words == 0);
    let load = |kind, source| Some(Step::Load { source, words: words(data.u32(kind)?)? });
    match entry.name(NFTA_EXPR_NAME)? {
        "payload" if only(&[NFTA_PAYLOAD_DREG, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_OFFSET, NFTA_PAYLOAD_LEN]) => {
            let (base, offset) = (data.u32(NFTA_PAYLOAD_BASE)?, data.u32(NFTA_PAYLOAD_OFFSET)?);
            load(NFTA_PAYLOAD_DREG, Source::Payload { base, offset, length: data.u32(NFTA_PAYLOAD_LEN)? })
        }
        "meta" if only(&[NFTA_META_KEY, NFTA_META_DREG]) => {
            load(NFTA_META_DREG, Source::Meta(data.u32(NFTA_META_KEY)?))
        }
        "meta" if only(&[NFTA_META_KEY, NFTA_META_SREG]) => {
            first(NFTA_META_SREG)?;
            Some(Step::SetMeta(data.u32(NFTA_META_KEY)?))
        }
        "ct" if only(&[NFTA_CT_KEY, NFTA_CT_DREG, NFTA_CT_DIRECTION]) => {
            let key = data.u32(NFTA_CT_KEY)?;
            match data.find(NFTA_CT_DIRECTION) {
                None => load(NFTA_CT_DREG, Source::Ct(key)),
                Some([CT_ORIGINAL]) => load(NFTA_CT_DREG, Source::CtOriginal(key)),
                Some(_) => None,
            }
        }
        "fib" if only(&[NFTA_FIB_DREG, NFTA_FIB_RESULT, NFTA_FIB_FLAGS]) => {
            let is_type = data.u32(NFTA_FIB_RESULT)? == NFT_FIB_RESULT_ADDRTYPE;
            load(NFTA_FIB_DREG, Source::FibType(data.u32(NFTA_FIB_FLAGS)?)).filter(|_| is_type)
        }
        "numgen" if only(&[NFTA_NG_DREG, NFTA_NG_MODULUS, NFTA_NG_TYPE]) => {
            let is_random = data.u32(NFTA_NG_TYPE)? == NFT_NG_RANDOM;
            load(NFTA_NG_DREG, Source::Random(data.u32(NFTA_NG_MODULUS)?)).filter(|_| is_random)
        }
        "bitwise"
            if only(&[NFTA_BITWISE_SREG, NFTA_BITWISE_DREG, NFTA_BITWISE_LEN, NFTA_BITWISE_MASK, NFTA_BITWISE_XOR]) =>
        {
            let words = words(data.u32(NFTA_BITWISE_SREG)?)?;
            (self::words(data.u32(NFTA_BITWISE_DREG)?)? == words).then_some(())?;
            let value = |kind| data.nest(kind)?.find(NFTA_DATA_VALUE);
            let (mask, flip) = (value(NFTA_BITWISE_MASK)?, value(NFTA_BITWISE_XOR)?);
            let is_whole = usize::try_from(data.u32(NFTA_BITWISE_LEN)?) == Ok(mask.len()) && flip.len() == mask.len();
            is_whole.then_some(Step::Bitwise { mask: mask.into(), flip, words })
        }
        "cmp" if only(&[NFTA_CMP_SREG, NFTA_CMP_OP, NFTA_CMP_DATA]) => {
            first(NFTA_CMP_SREG)?;
            let is_equal = match data.u32(NFTA_CMP_OP)? {
                NFT_CMP_EQ => true,
                NFT_CMP_NEQ => false,
                _ => return None,
            };
            Some(Step::Compare { is_equal, value: data.nest(NFTA_CMP_DATA)?.find(NFTA_DATA_VALUE)? })
        }
        "lookup" if only(&[NFTA_LOOKUP_SET, NFTA_LOOKUP_SREG, NFTA_LOOKUP_DREG, NFTA_LOOKUP_FLAGS]) => {
            let set = data.name(NFTA_LOOKUP_SET)?.parse().ok()?;
            first(NFTA_LOOKUP_SREG)?;
            match (data.u32(NFTA_LOOKUP_DREG), data.u32(NFTA_LOOKUP_FLAGS).unwrap_or(0)) {
                (None, flags) if flags & !NFT_LOOKUP_F_INV == 0 => {
                    Some(Step::Lookup { set, is_inverted: flags == NFT_LOOKUP_F_INV })
                }
                (Some(NFT_REG_VERDICT), 0) => Some(Step::LookupVerdict { map: set }),
                (Some(register), 0) => (words(register)? == 0).then_some(Step::LookupData { map: set }),
                _ => None,
            }
        }
        "immediate" if only(&[NFTA_IMMEDIATE_DREG, NFTA_IMMEDIATE_DATA]) => {
            let contents = data.nest(NFTA_IMMEDIATE_DATA)?;
            match data.u32(NFTA_IMMEDIATE_DREG)? {
                NFT_REG_VERDICT => verdict(contents.nest(NFTA_DATA_VERDICT)?).map(Step::Final),
                register => {
                    let value = contents.find(NFTA_DATA_VALUE)?;
                    (words(register)? == 0).then_some(Step::Constant(value))
                }
            }
        }
        "nat" => dnat(family, data),
        "masq" if only(&[NFTA_MASQ_FLAGS]) => {
            (data.u32(NFTA_MASQ_FLAGS)? == NF_NAT_RANGE_PROTO_RANDOM_FULLY).then_some(Step::Masquerade)
        }
        "reject" if only(&[NFTA_REJECT_TYPE, NFTA_REJECT_ICMP_CODE]) => {
            let code = data.find(NFTA_REJECT_ICMP_CODE).and_then(|code| code.first()).copied();
            let port_unreachable = if family == Family::Ip { ICMP_PORT_UNREACH } else { ICMPV6_PORT_UNREACH };
            match data.u32(NFTA_REJECT_TYPE)? {
                NFT_REJECT_TCP_RST => Some(Step::Final(Action::RejectTcpReset)),
                NFT_REJECT_ICMP_UNREACH if code == Some(port_unreachable) => Some(Step::Final(Action::Reject)),
                _ => None,
            }
        }
        "dynset" if only(&[NFTA_DYNSET_SET_NAME, NFTA_DYNSET_OP, NFTA_DYNSET_SREG_KEY, NFTA_DYNSET_EXPR]) => {
            first(NFTA_DYNSET_SREG_KEY)?;
            let counts = data.nest(NFTA_DYNSET_EXPR)?.name(NFTA_EXPR_NAME)? == "counter";
            let adds = data.u32(NFTA_DYNSET_OP)? == NFT_DYNSET_OP_ADD;
            (counts && adds).then_some(Step::Count { set: data.name(NFTA_DYNSET_SET_NAME)?.parse().ok()? })
        }
        "dynset"
            if only(&[
                NFTA_DYNSET_SET_NAME,
                NFTA_DYNSET_OP,
                NFTA_DYNSET_SREG_KEY,
                NFTA_DYNSET_SREG_DATA,
                NFTA_DYNSET_TIMEOUT,
            ]) =>
        {
            first(NFTA_DYNSET_SREG_KEY)?;
            let milliseconds = match data.find(NFTA_DYNSET_TIMEOUT) {
                Some(timeout) => u64::from_be_bytes(timeout.try_into().ok()?),
                None => 0,
            };
            (milliseconds % 1_000 == 0).then_some(())?;
            Some(Step::ChangeByPacket {
                map: data.name(NFTA_DYNSET_SET_NAME)?.parse().ok()?,
                operation: data.u32(NFTA_DYNSET_OP)?,
                seconds: u32::try_from(milliseconds / 1_000).ok()?,
                data: words(data.u32(NFTA_DYNSET_SREG_DATA)?)?,
            })
        }
        _ => None,
    }
}

fn dnat<'a>(family: Family, data: Attributes<'a>) -> Option<Step<'a>> {
    let known = |kind: u16, value: Option<u32>| match kind {
        NFTA_NAT_TYPE => value == Some(NFT_NAT_DNAT),
        NFTA_NAT_FAMILY => value == Some(nfproto(family).into()),
        // The kernel adds the ends of the ranges, and flags that only say what is given.
        NFTA_NAT_REG_ADDR_MIN | NFTA_NAT_REG_ADDR_MAX => value.and_then(words) == Some(0),
        NFTA_NAT_REG_PROTO_MIN | NFTA_NAT_REG_PROTO_MAX => value == data.u32(NFTA_NAT_REG_PROTO_MIN),
        NFTA_NAT_FLAGS => {
            value.is_some_and(|flags| flags & !(NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED) == 0)
        }
        _ => false,
    };
    let number = |value: &[u8]| value.try_into().ok().map(u32::from_be_bytes);
    let is_known = data.into_iter().all(|(kind, value)| known(kind, number(value)));
    let is_complete = data.u32(NFTA_NAT_TYPE).and(data.u32(NFTA_NAT_REG_ADDR_MIN)).is_some();
    let port = words(data.u32(NFTA_NAT_REG_PROTO_MIN)?)?;
    (is_known && is_complete).then_some(Step::Dnat { port })
}

fn verdict(verdict: Attributes<'_>) -> Option<Action> {
    let chain = verdict.name(NFTA_VERDICT_CHAIN).map(|name| name.to_owned().into());
    let code = i32::from_be_bytes(verdict.find(NFTA_VERDICT_CODE)?.try_into().ok()?);
    match (code, chain) {
        (NFT_JUMP, Some(chain)) => Some(Action::Jump(chain)),
        (NFT_GOTO, Some(chain)) => Some(Action::Goto(chain)),
        (NF_DROP, None) => Some(Action::Drop),
        (NFT_RETURN, None) => Some(Action::Return),
        _ => None,
    }
}

/// The action, if these expressions are one as a whole.
fn action(family: Family, steps: &[Step<'_>]) -> Option<Action> {
    const MARK: Step<'_> = Step::Load { source: Source::Meta(NFT_META_MARK), words: 0 };
    let address_words = u32::try_from(type_of(family, Field::Daddr).length / 4).ok()?;
    match steps {
        [Step::Final(action)] => Some(action.clone()),
        [Step::Masquerade] => Some(Action::Masquerade),
        [mark, Step::Bitwise { mask, flip, words: 0 }, Step::SetMeta(NFT_META_MARK)] if *mark == MARK => {
            let (mask, bit) = (host_u32(mask)?, host_u32(flip)?);
            (mask == !bit).then_some(Action::SetMark(bit))
        }
        [mark, Step::Bitwise { mask, flip, words: 0 }, Step::SetMeta(NFT_META_MARK), Step::Masquerade]
            if *mark == MARK =>
        {
            let bit = host_u32(flip)?;
            (host_u32(mask)? == u32::MAX).then_some(Action::ClearMarkAndMasquerade(bit))
        }
        [loads @ .., Step::LookupData { map }, Step::Dnat { port }] if *port == address_words => {
            Some(Action::DnatTo(key(family, loads, *map)?, *map))
        }
        [loads @ .., Step::LookupVerdict { map }] => Some(Action::JumpByMap(key(family, loads, *map)?, *map)),
        [loads @ .., Step::Count { set }] => {
            (key(family, loads, *set)? == Expr::key_of(*set)).then_some(Action::Count(*set))
        }
        [loads @ .., Step::ChangeByPacket { map, operation: NFT_DYNSET_OP_DELETE, seconds: 0, data }] => {
            is_element(family, loads, *map, *data).then_some(Action::Forget(*map))
        }
        _ => None,
    }
}

/// The condition that these expressions begin with, and how many of them it takes.
fn condition(family: Family, steps: &[Step<'_>]) -> Option<(Condition, usize)> {
    if let Some(keyed) = keyed_condition(family, steps) {
        return Some(keyed);
    }
    if let [Step::Constant([0, 0, 0, 0]), Step::SetMeta(NFT_META_PRIORITY), ..] = steps {
        return Some((Condition::ForgetsId, 2));
    }
    let [Step::Load { source, words: 0 }, rest @ ..] = steps else { return None };
    match (source, rest) {
        (Source::Payload { base: NFT_PAYLOAD_NETWORK_HEADER, offset, length }, _) => {
            let (mask, compare, taken) = match rest {
                [Step::Compare { is_equal, value }, ..] => (None, (*is_equal, *value), 2),
                [Step::Bitwise { mask, flip, words: 0 }, Step::Compare { is_equal, value }, ..] if is_zero(flip) => {
                    (Some(&**mask), (*is_equal, *value), 3)
                }
                _ => return None,
            };
            let (is_equal, value) = compare;
            (usize::try_from(*length) == Ok(value.len())).then_some(())?;
            let network = network(family, value, mask)?;
            let is_field = |field| u32::try_from(address_offset(family, field)) == Ok(*offset);
            let condition = match is_equal {
                true if is_field(Field::Saddr) => Condition::SaddrIn(network),
                false if is_field(Field::Saddr) => Condition::SaddrNotIn(network),
                false if is_field(Field::Daddr) => Condition::DaddrNotIn(network),
                _ => return None,
            };
            Some((condition, taken))
        }
        (Source::FibType(address), [Step::Compare { is_equal: true, value }, ..]) if host_u32(value)? == RTN_LOCAL => {
            match *address {
                NFTA_FIB_F_SADDR => Some((Condition::FibSaddrLocal, 2)),
                NFTA_FIB_F_DADDR => Some((Condition::FibDaddrLocal, 2)),
                _ => None,
            }
        }
        (Source::Meta(NFT_META_IIFNAME), [Step::Compare { is_equal, value }, ..]) => {
            let name = match value.len() {
                IFNAMSIZ => text(value)?.to_owned(),
                _ => format!("{}*", text(value)?),
            };
            Some((if *is_equal { Condition::Iifname(name) } else { Condition::IifnameNot(name) }, 2))
        }
        (Source::Meta(NFT_META_L4PROTO), [Step::Compare { is_equal: true, value: [number] }, ..]) => {
            let protocol = Protocol::from_number(*number)?;
            Some((Condition::L4Proto(protocol), 2))
        }
        (Source::Meta(NFT_META_PRIORITY), [Step::Compare { is_equal: false, value: [0, 0, 0, 0] }, ..]) => {
            Some((Condition::HasId, 2))
        }
        (
            Source::Meta(NFT_META_MARK),
            [Step::Bitwise { mask, flip, words: 0 }, Step::Compare { is_equal: true, value }, ..],
        ) => (is_zero(flip) && **mask == **value).then_some((Condition::Mark(host_u32(mask)?), 3)),
        (Source::Ct(key), [Step::Bitwise { mask, flip, words: 0 }, Step::Compare { is_equal, value }, ..])
            if is_zero(flip) && is_zero(value) =>
        {
            match (*key, host_u32(mask)?, is_equal) {
                (NFT_CT_STATE, CT_STATE_NEW, false) => Some((Condition::CtStateNew, 3)),
                (NFT_CT_STATUS, CT_STATUS_DNAT, false) => Some((Condition::CtStatusDnat, 3)),
                (NFT_CT_STATUS, CT_STATUS_DNAT, true) => Some((Condition::CtStatusNoDnat, 3)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The condition on a set or map that these expressions begin with, and how many of them it takes.
fn keyed_condition(family: Family, steps: &[Step<'_>]) -> Option<(Condition, usize)> {
    let loads = steps.iter().take_while(|step| matches!(step, Step::Load { .. })).count();
    let (loaded, rest) = steps.split_at(loads);
    match rest {
        [Step::Lookup { set, is_inverted }, ..] => {
            let key = key(family, loaded, *set)?;
            let condition = if *is_inverted { Condition::NotIn(key, *set) } else { Condition::In(key, *set) };
            Some((condition, loads + 1))
        }
        [Step::LookupData { map }, Step::SetMeta(NFT_META_PRIORITY), ..] => {
            Some((Condition::Recalls(key(family, loaded, *map)?, *map), loads + 2))
        }
        [Step::ChangeByPacket { map, operation: NFT_DYNSET_OP_UPDATE, seconds, data }, ..] => {
            let condition = Condition::Remembers(*map, *seconds);
            is_element(family, loaded, *map, *data).then_some((condition, loads + 1))
        }
        _ => None,
    }
}

/// The key of a set, if these expressions load exactly that.
fn key(family: Family, loads: &[Step<'_>], set: SetName) -> Option<Expr> {
    let class = loads.iter().find_map(|load| match load {
        Step::Load { source: Source::Random(below), .. } => {
            SizeClass::for_endpoints(usize::try_from(*below).ok()?).filter(|class| class.slots() == *below)
        }
        _ => None,
    });
    let key = Expr { class, ..Expr::key_of(set) };
    (loads == loads_of(family, &key, 0).0).then_some(key)
}

/// Whether these expressions load exactly the key of a map and then its data, which begins so many words after the first register.
fn is_element(family: Family, loads: &[Step<'_>], map: SetName, data: u32) -> bool {
    let (mut expected, words) = loads_of(family, &Expr::key_of(map), 0);
    let words = words.next_multiple_of(4);
    expected.extend(loads_of(family, &Expr::data_of(map), words).0);
    words == data && loads == expected
}

/// The expressions that load a key into the registers from so many words after the first on, and the number of the next free word.
fn loads_of(family: Family, key: &Expr, mut words: u32) -> (Vec<Step<'static>>, u32) {
    let mut steps = Vec::new();
    for field in key.fields {
        let length = u32::try_from(type_of(family, *field).length).unwrap_or(u32::MAX);
        let source = match field {
            Field::Saddr | Field::Daddr => {
                let offset = u32::try_from(address_offset(family, *field)).unwrap_or(u32::MAX);
                Source::Payload { base: NFT_PAYLOAD_NETWORK_HEADER, offset, length }
            }
            Field::Dport => Source::Payload { base: NFT_PAYLOAD_TRANSPORT_HEADER, offset: length, length },
            Field::L4Proto => Source::Meta(NFT_META_L4PROTO),
            Field::Id => Source::Meta(NFT_META_PRIORITY),
            Field::OriginalDport => Source::CtOriginal(NFT_CT_PROTO_DST),
            Field::Slot => Source::Random(key.class.map_or(2, SizeClass::slots)),
        };
        steps.push(Step::Load { source, words });
        words += length.div_ceil(4);
    }
    (steps, words)
}

/// The network with this prefix: of so many whole bytes, or with a mask.
fn network(family: Family, prefix: &[u8], mask: Option<&[u8]>) -> Option<IpNet> {
    let whole = |bytes: &[u8]| {
        let mut whole = [0; 16];
        whole.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        whole
    };
    let bits = match mask {
        None => u32::try_from(prefix.len() * 8).ok()?,
        Some(mask) => {
            let mask = u128::from_be_bytes(whole(mask));
            (mask.count_ones() == mask.leading_ones()).then_some(mask.leading_ones())?
        }
    };
    let (bytes, bits) = (whole(prefix), u8::try_from(bits).ok()?);
    let network = match family {
        Family::Ip => {
            let [a, b, c, d, ..] = bytes;
            IpNet::V4(Ipv4Net::new(Ipv4Addr::new(a, b, c, d), bits).ok()?)
        }
        Family::Ip6 => IpNet::V6(Ipv6Net::new(Ipv6Addr::from(bytes), bits).ok()?),
    };
    (network.trunc() == network).then_some(network)
}

/// How many words after the first register this one begins. The kernel names registers of 16 bytes where it can.
fn words(register: u32) -> Option<u32> {
    match register {
        NFT_REG_1..=NFT_REG_4 => Some((register - NFT_REG_1) * 4),
        NFT_REG32_00..=NFT_REG32_15 => Some(register - NFT_REG32_00),
        _ => None,
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
