//! Encoding rules as the kernel's expressions, which work on registers.
//!
//! A key is loaded into neighbouring registers from the first one on, where a lookup expects its fields. The data that a map
//! yields takes the same place.

use ipnet::IpNet;

use super::abi::*;
use super::elements::put_verdict;
use super::types::type_of;
use crate::dataplane::{Action, Condition, Expr, Family, Field, Protocol, Rule, SetName, SizeClass};
use crate::netlink::{MessageWriter, nfproto};

pub(super) mod traced;

/// Writes the expressions of a rule as entries of a list.
pub(super) fn put(out: &mut MessageWriter, rule: &Rule) {
    let mut expressions = ExpressionWriter { out, family: rule.family };
    rule.conditions.iter().for_each(|condition| expressions.condition(condition));
    expressions.action(&rule.action);
}

/// What a lookup decides.
#[derive(Clone, Copy)]
enum LookupUse {
    /// The rule goes on if the set has the key.
    Found,
    /// The rule goes on if the set does not have the key.
    NotFound,
    /// The rule goes on with the key's data.
    Data,
    /// The packet goes on where the key's verdict leads.
    Verdict,
}

/// Writes expressions for a table of one family.
struct ExpressionWriter<'a> {
    out: &'a mut MessageWriter,
    family: Family,
}

impl ExpressionWriter<'_> {
    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::In(key, set) => {
                self.key(key);
                self.lookup(*set, LookupUse::Found);
            }
            Condition::NotIn(key, set) => {
                self.key(key);
                self.lookup(*set, LookupUse::NotFound);
            }
            Condition::SaddrIn(network) => self.address(Field::Saddr, network, NFT_CMP_EQ),
            Condition::SaddrNotIn(network) => self.address(Field::Saddr, network, NFT_CMP_NEQ),
            Condition::DaddrNotIn(network) => self.address(Field::Daddr, network, NFT_CMP_NEQ),
            Condition::FibSaddrLocal => self.fib_local(NFTA_FIB_F_SADDR),
            Condition::FibDaddrLocal => self.fib_local(NFTA_FIB_F_DADDR),
            Condition::Iifname(name) => self.iifname(name, NFT_CMP_EQ),
            Condition::IifnameNot(name) => self.iifname(name, NFT_CMP_NEQ),
            Condition::L4Proto(protocol) => self.l4proto(*protocol),
            Condition::CtStateNew => self.ct_bit(NFT_CT_STATE, CT_STATE_NEW, NFT_CMP_NEQ),
            Condition::CtStatusDnat => self.ct_bit(NFT_CT_STATUS, CT_STATUS_DNAT, NFT_CMP_NEQ),
            Condition::CtStatusNoDnat => self.ct_bit(NFT_CT_STATUS, CT_STATUS_DNAT, NFT_CMP_EQ),
            Condition::Mark(bit) => {
                self.load_mark();
                self.bitwise(NFT_REG_1, &bit.to_ne_bytes(), &[0; 4]);
                self.compare(NFT_CMP_EQ, &bit.to_ne_bytes());
            }
            Condition::Recalls(key, map) => {
                self.key(key);
                self.lookup(*map, LookupUse::Data);
                self.set_meta(NFT_META_PRIORITY);
            }
            Condition::ForgetsId => {
                self.expression("immediate", |out| {
                    out.put_u32(NFTA_IMMEDIATE_DREG, NFT_REG_1);
                    let data = out.begin_nest(NFTA_IMMEDIATE_DATA);
                    out.put(NFTA_DATA_VALUE, &[0; 4]);
                    out.end(data);
                });
                self.set_meta(NFT_META_PRIORITY);
            }
            Condition::HasId => {
                self.load_meta(NFT_META_PRIORITY, NFT_REG_1);
                self.compare(NFT_CMP_NEQ, &[0; 4]);
            }
            Condition::Remembers(map, seconds) => self.change_by_packet(NFT_DYNSET_OP_UPDATE, *map, Some(*seconds)),
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Jump(chain) => self.verdict(NFT_JUMP, Some(&chain.0)),
            Action::Goto(chain) => self.verdict(NFT_GOTO, Some(&chain.0)),
            Action::Drop => self.verdict(NF_DROP, None),
            Action::Return => self.verdict(NFT_RETURN, None),
            Action::RejectTcpReset => self.reject(NFT_REJECT_TCP_RST, 0),
            Action::Reject => {
                let code = match self.family {
                    Family::Ip => ICMP_PORT_UNREACH,
                    Family::Ip6 => ICMPV6_PORT_UNREACH,
                };
                self.reject(NFT_REJECT_ICMP_UNREACH, code);
            }
            Action::DnatTo(key, map) => {
                self.key(key);
                self.lookup(*map, LookupUse::Data);
                self.dnat();
            }
            Action::JumpByMap(key, map) => {
                self.key(key);
                self.lookup(*map, LookupUse::Verdict);
            }
            Action::Forget(map) => self.change_by_packet(NFT_DYNSET_OP_DELETE, *map, None),
            Action::Count(set) => self.count(*set),
            Action::SetMark(bit) => self.change_mark(!bit, *bit),
            Action::ClearMarkAndMasquerade(bit) => {
                self.change_mark(u32::MAX, *bit);
                self.masquerade();
            }
            Action::Masquerade => self.masquerade(),
        }
    }

    /// Loads a key into the first registers.
    fn key(&mut self, key: &Expr) {
        self.fields(key, 0);
    }

    /// Loads a key into the registers from number `words` on, each of 4 bytes; returns the number of the next free one.
    fn fields(&mut self, key: &Expr, mut words: usize) -> usize {
        for field in key.fields {
            let length = type_of(self.family, *field).length;
            self.load(*field, key, register(words), length);
            words += length.div_ceil(4);
        }
        words
    }

    /// Changes what a map has for the packet. With a timeout in seconds, which starts again if the map has the key already.
    fn change_by_packet(&mut self, operation: u32, map: SetName, seconds: Option<u32>) {
        // The data begins in a register of 16 bytes, as nft writes it.
        let data = self.fields(&Expr::key_of(map), 0).next_multiple_of(4);
        self.fields(&Expr::data_of(map), data);
        self.expression("dynset", |out| {
            out.put_name(NFTA_DYNSET_SET_NAME, &map.to_string());
            out.put_u32(NFTA_DYNSET_OP, operation);
            out.put_u32(NFTA_DYNSET_SREG_KEY, NFT_REG_1);
            out.put_u32(NFTA_DYNSET_SREG_DATA, register(data));
            if let Some(seconds) = seconds {
                out.put(NFTA_DYNSET_TIMEOUT, &(u64::from(seconds) * 1000).to_be_bytes());
            }
        });
    }

    /// Adds the packet's key to a set of counters, and counts the packet there.
    fn count(&mut self, set: SetName) {
        self.key(&Expr::key_of(set));
        self.expression("dynset", |out| {
            out.put_name(NFTA_DYNSET_SET_NAME, &set.to_string());
            out.put_u32(NFTA_DYNSET_OP, NFT_DYNSET_OP_ADD);
            out.put_u32(NFTA_DYNSET_SREG_KEY, NFT_REG_1);
            let counter = out.begin_nest(NFTA_DYNSET_EXPR);
            out.put_name(NFTA_EXPR_NAME, "counter");
            let from_zero = out.begin_nest(NFTA_EXPR_DATA);
            out.end(from_zero);
            out.end(counter);
        });
    }

    fn load(&mut self, field: Field, key: &Expr, register: u32, length: usize) {
        match field {
            Field::Saddr | Field::Daddr => {
                self.payload(register, NFT_PAYLOAD_NETWORK_HEADER, address_offset(self.family, field), length);
            }
            // In the headers of TCP, UDP and SCTP the destination port follows the source port.
            Field::Dport => self.payload(register, NFT_PAYLOAD_TRANSPORT_HEADER, length, length),
            Field::L4Proto => self.load_meta(NFT_META_L4PROTO, register),
            Field::Id => self.load_meta(NFT_META_PRIORITY, register),
            Field::OriginalDport => self.ct_original(NFT_CT_PROTO_DST, register),
            Field::Slot => self.expression("numgen", |out| {
                out.put_u32(NFTA_NG_DREG, register);
                out.put_u32(NFTA_NG_MODULUS, key.class.map_or(2, SizeClass::slots));
                out.put_u32(NFTA_NG_TYPE, NFT_NG_RANDOM);
                out.put_u32(NFTA_NG_OFFSET, 0);
            }),
        }
    }

    /// Loads a field of the connection's first packet.
    fn ct_original(&mut self, key: u32, register: u32) {
        self.expression("ct", |out| {
            out.put_u32(NFTA_CT_KEY, key);
            out.put_u32(NFTA_CT_DREG, register);
            out.put(NFTA_CT_DIRECTION, &[CT_ORIGINAL]);
        });
    }

    fn payload(&mut self, register: u32, base: u32, offset: usize, length: usize) {
        self.expression("payload", |out| {
            out.put_u32(NFTA_PAYLOAD_DREG, register);
            out.put_u32(NFTA_PAYLOAD_BASE, base);
            out.put_u32(NFTA_PAYLOAD_OFFSET, number(offset));
            out.put_u32(NFTA_PAYLOAD_LEN, number(length));
        });
    }

    /// Compares an address with a network as nft does: a prefix of whole bytes without a mask, any other with one.
    fn address(&mut self, field: Field, network: &IpNet, operator: u32) {
        let (prefix, mask) = match network {
            IpNet::V4(network) => (network.network().octets().to_vec(), network.netmask().octets().to_vec()),
            IpNet::V6(network) => (network.network().octets().to_vec(), network.netmask().octets().to_vec()),
        };
        let bits = usize::from(network.prefix_len());
        let whole_bytes = bits > 0 && bits.is_multiple_of(8);
        let length = if whole_bytes { bits / 8 } else { prefix.len() };
        self.payload(NFT_REG_1, NFT_PAYLOAD_NETWORK_HEADER, address_offset(self.family, field), length);
        if !whole_bytes {
            self.bitwise(NFT_REG_1, &mask, &vec![0; mask.len()]);
        }
        self.compare(operator, prefix.get(..length).unwrap_or(&prefix));
    }

    fn l4proto(&mut self, protocol: Protocol) {
        self.load_meta(NFT_META_L4PROTO, NFT_REG_1);
        self.compare(NFT_CMP_EQ, &[protocol.number()]);
    }

    /// Compares a bit of the connection's state or status with 0.
    fn ct_bit(&mut self, key: u32, bit: u32, operator: u32) {
        self.expression("ct", |out| {
            out.put_u32(NFTA_CT_KEY, key);
            out.put_u32(NFTA_CT_DREG, NFT_REG_1);
        });
        self.bitwise(NFT_REG_1, &bit.to_ne_bytes(), &[0; 4]);
        self.compare(operator, &[0; 4]);
    }

    /// Tests that an address is one of this host's.
    fn fib_local(&mut self, address: u32) {
        self.expression("fib", |out| {
            out.put_u32(NFTA_FIB_FLAGS, address);
            out.put_u32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
            out.put_u32(NFTA_FIB_DREG, NFT_REG_1);
        });
        self.compare(NFT_CMP_EQ, &RTN_LOCAL.to_ne_bytes());
    }

    /// Compares the name of the interface by which the packet came in: the whole name, or the part before a final `*`.
    fn iifname(&mut self, name: &str, operator: u32) {
        self.load_meta(NFT_META_IIFNAME, NFT_REG_1);
        match name.strip_suffix('*') {
            Some(start) => self.compare(operator, start.as_bytes()),
            None => {
                let mut whole = [0; IFNAMSIZ];
                whole.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
                self.compare(operator, &whole);
            }
        }
    }

    fn load_mark(&mut self) {
        self.load_meta(NFT_META_MARK, NFT_REG_1);
    }

    /// Loads a property of the packet into a register.
    fn load_meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |out| {
            out.put_u32(NFTA_META_KEY, key);
            out.put_u32(NFTA_META_DREG, register);
        });
    }

    /// Sets a property of the packet from the first register.
    fn set_meta(&mut self, key: u32) {
        self.expression("meta", |out| {
            out.put_u32(NFTA_META_KEY, key);
            out.put_u32(NFTA_META_SREG, NFT_REG_1);
        });
    }

    /// The packet mark becomes `(mark & mask) ^ flip`.
    fn change_mark(&mut self, mask: u32, flip: u32) {
        self.load_mark();
        self.bitwise(NFT_REG_1, &mask.to_ne_bytes(), &flip.to_ne_bytes());
        self.set_meta(NFT_META_MARK);
    }

    /// What is in the register becomes `(it & mask) ^ flip`.
    fn bitwise(&mut self, register: u32, mask: &[u8], flip: &[u8]) {
        self.expression("bitwise", |out| {
            out.put_u32(NFTA_BITWISE_SREG, register);
            out.put_u32(NFTA_BITWISE_DREG, register);
            out.put_u32(NFTA_BITWISE_LEN, number(mask.len()));
            for (kind, value) in [(NFTA_BITWISE_MASK, mask), (NFTA_BITWISE_XOR, flip)] {
                let data = out.begin_nest(kind);
                out.put(NFTA_DATA_VALUE, value);
                out.end(data);
            }
        });
    }

    fn compare(&mut self, operator: u32, value: &[u8]) {
        self.expression("cmp", |out| {
            out.put_u32(NFTA_CMP_SREG, NFT_REG_1);
            out.put_u32(NFTA_CMP_OP, operator);
            let data = out.begin_nest(NFTA_CMP_DATA);
            out.put(NFTA_DATA_VALUE, value);
            out.end(data);
        });
    }

    fn lookup(&mut self, set: SetName, what: LookupUse) {
        self.expression("lookup", |out| {
            out.put_name(NFTA_LOOKUP_SET, &set.to_string());
            out.put_u32(NFTA_LOOKUP_SREG, NFT_REG_1);
            match what {
                LookupUse::Found => {}
                LookupUse::NotFound => out.put_u32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV),
                LookupUse::Data => out.put_u32(NFTA_LOOKUP_DREG, NFT_REG_1),
                LookupUse::Verdict => out.put_u32(NFTA_LOOKUP_DREG, NFT_REG_VERDICT),
            }
        });
    }

    /// Translates to the address and port that a map yielded.
    fn dnat(&mut self) {
        let port = type_of(self.family, Field::Daddr).length / 4;
        let family = nfproto(self.family);
        self.expression("nat", |out| {
            out.put_u32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
            out.put_u32(NFTA_NAT_FAMILY, family.into());
            out.put_u32(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
            out.put_u32(NFTA_NAT_REG_PROTO_MIN, register(port));
        });
    }

    fn masquerade(&mut self) {
        self.expression("masq", |out| out.put_u32(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY));
    }

    fn reject(&mut self, kind: u32, code: u8) {
        self.expression("reject", |out| {
            out.put_u32(NFTA_REJECT_TYPE, kind);
            out.put(NFTA_REJECT_ICMP_CODE, &[code]);
        });
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |out| {
            out.put_u32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
            let data = out.begin_nest(NFTA_IMMEDIATE_DATA);
            put_verdict(out, code, chain);
            out.end(data);
        });
    }

    fn expression(&mut self, name: &str, contents: impl FnOnce(&mut MessageWriter)) {
        let entry = self.out.begin_nest(NFTA_LIST_ELEM);
        self.out.put_name(NFTA_EXPR_NAME, name);
        let data = self.out.begin_nest(NFTA_EXPR_DATA);
        contents(self.out);
        self.out.end(data);
        self.out.end(entry);
    }
}

/// The register `words` times 4 bytes after the first. Where a register of 16 bytes begins, its number, as nft writes it.
fn register(words: usize) -> u32 {
    let words = number(words);
    if words.is_multiple_of(4) { NFT_REG_1 + words / 4 } else { NFT_REG32_00 + words }
}

/// The offset of an address in the network header, in bytes.
pub(super) fn address_offset(family: Family, field: Field) -> usize {
    match (family, field) {
        (Family::Ip, Field::Saddr) => 12,
        (Family::Ip, _) => 16,
        (Family::Ip6, Field::Saddr) => 8,
        (Family::Ip6, _) => 24,
    }
}

/// Offsets and lengths are below 64.
fn number(small: usize) -> u32 {
    u32::try_from(small).unwrap_or(u32::MAX)
}
