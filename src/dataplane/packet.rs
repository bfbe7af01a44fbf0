//! What the rules do with a packet, whatever holds them: a kernel in memory, or the rules and elements that were read from a kernel.
//!
//! A packet may be among the rules while batches take effect. As in a real kernel, each base chain runs the rules, and each look-up reads the
//! set, as they are at that moment. So a packet passes through generations of a table, and never sees an earlier one again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::chain::{BaseChain, Hook};
use super::element::{Key, Value};
use super::key::{Endpoint, Protocol};
use super::rule::{Action, Rule};
use super::set::SetName;

mod walk;

/// A packet with ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source address.
    pub saddr: IpAddr,
    /// The destination address.
    pub daddr: IpAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The destination port.
    pub dport: u16,
    /// The interface by which it arrives; `None` if this host sends it.
    pub iif: Option<String>,
    /// Whether it opens a connection.
    pub opens: bool,
}

/// What the rules do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PacketOutcome {
    /// It goes on.
    Goes {
        /// Its destination.
        to: Endpoint,
        /// Whether this is another destination than the packet had.
        translated: bool,
        /// Whether its source address becomes one of this host's.
        masqueraded: bool,
    },
    /// It is dropped.
    Dropped,
    /// It is answered with a TCP reset.
    Reset,
    /// It is answered with ICMP or ICMPv6 port unreachable.
    Refused,
}

/// The table that a packet passes through.
pub trait PacketTable {
    /// The base chains with their names.
    fn base_chains(&self) -> Vec<(BaseChain, &str)>;

    /// The rules of a chain; none if there is no such chain.
    fn rules(&self, chain: &str) -> &[Rule];

    /// Whether another generation of the table has the same chains and rules.
    fn has_rules_of(&self, other: &Self) -> bool;

    /// Whether the table has a set.
    fn has_set(&self, set: SetName) -> bool;

    /// The data of the element that a set has for a key, with the key as the set holds it: a range contains the network looked up.
    fn find(&self, set: SetName, key: &Key) -> Option<(Key, Option<Value>)>;

    /// Whether packets can add no further element to a set.
    fn is_full(&self, set: SetName) -> bool;
}

/// A rule that applied to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketStep {
    /// Where the packet was.
    pub hook: Hook,
    /// The chain.
    pub chain: String,
    /// The number of the rule in the chain, from 0.
    pub rule: usize,
    /// The elements that the rule found, in the order of its look-ups.
    pub found: Vec<(SetName, Key, Option<Value>)>,
    /// What the rule did.
    pub action: Action,
}

/// Every outcome that a packet can have that begins in the first of these generations of a table, while the others take effect one after
/// the other at any moments of its way: over all random numbers, on a host with these addresses.
pub fn packet_outcomes<T: PacketTable>(
    generations: &[&T],
    packet: &Packet,
    host: &BTreeSet<IpAddr>,
) -> BTreeSet<PacketOutcome> {
    walk::ways(generations, packet, host, false).into_keys().collect()
}

/// Every outcome that a packet can have in a table that does not change, each with the rules that applied on one way to it.
pub fn packet_ways(
    table: &impl PacketTable,
    packet: &Packet,
    host: &BTreeSet<IpAddr>,
) -> BTreeMap<PacketOutcome, Vec<PacketStep>> {
    walk::ways(&[table], packet, host, true)
}

/// The outcome of a packet that no rule looks at.
pub fn untouched(packet: &Packet) -> PacketOutcome {
    let to = Endpoint { addr: packet.daddr, port: packet.dport };
    PacketOutcome::Goes { to, translated: false, masqueraded: false }
}
