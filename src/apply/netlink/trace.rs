//! Following one packet through the ruleset of the kernel (nftrace).
//!
//! A table of our own asks for the trace of one connection's first packets. The socket that makes it owns it: when the socket is closed, also
//! by a process that is killed, the kernel removes the table.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::abi::*;
use super::foreign::{ForeignTable, parse_table};
use super::message::begin_message;
use super::{errors, in_thread, rules};
use crate::apply::Error;
use crate::dataplane::{Endpoint, Family, Field, Packet};
use crate::netlink::abi::{
    NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFNLGRP_NFTRACE, NLM_F_ACK, NLM_F_APPEND,
    NLM_F_CREATE, NLM_F_REQUEST,
};
use crate::netlink::{
    Heard, MessageFilter, MessageWriter, Messages, MulticastListener, NetfilterSocket, NetlinkMessage,
};

/// What is being done, for errors.
const DOING: &str = "tracing a packet (this needs Linux 5.12 or newer)";
/// The message of each step of a traced packet.
const TRACE: u16 = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE;
/// Right after connection tracking, which says which packets open a connection.
const PRIORITY: i32 = -199;
/// A packet from which nothing was heard for so long has passed, or is held up outside of the ruleset.
const QUIET: Duration = Duration::from_millis(300);
/// The most steps of a packet.
const MAX_HOPS: usize = 1_000;

/// Traces the first packet that opens a connection like a given one.
pub struct PacketTracer {
    /// Owns the table, and is not used again.
    _owner: NetfilterSocket,
    listener: MulticastListener,
    table: String,
}

/// The verdict that lets a packet go on to the next rule.
const CONTINUE: &str = "continue";

/// A step of a traced packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceHop {
    /// The table.
    pub table: ForeignTable,
    /// The chain.
    pub chain: String,
    /// The handle of the rule that applied; `None` at the end of the chain.
    pub rule: Option<u64>,
    /// What follows: `continue`, `jump CHAIN`, `goto CHAIN`, `return`, `accept`, `drop` or another verdict's name.
    pub verdict: String,
    /// The addresses of the packet at this moment. The kernel tells them with the first step of each base chain.
    pub headers: Option<TracedHeaders>,
}

/// The addresses of a traced packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedHeaders {
    /// The source address.
    pub from: IpAddr,
    /// The destination.
    pub to: Endpoint,
}

/// A packet that was followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracedPacket {
    /// Its steps, in order; none if there was no such packet.
    pub hops: Vec<TraceHop>,
    /// Whether steps may be missing, because they came faster than they were received.
    pub lost: bool,
}

/// Whose packets are traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceSource {
    /// Those of the packet's source address.
    Address,
    /// Those that this node sends, from any of its addresses.
    Node,
}

impl PacketTracer {
    /// Begins to trace new connections like this one, in the current network namespace.
    ///
    /// # Errors
    ///
    /// If the kernel refuses; before Linux 5.12 it does, because there a table cannot belong to a socket.
    pub async fn start(packet: &Packet, source: TraceSource) -> Result<Self, Error> {
        let failed = |error| errors::for_socket(DOING, error);
        let filter = MessageFilter { group: NFNLGRP_NFTRACE, kind: TRACE };
        let listener = MulticastListener::open(filter).map_err(failed)?;
        let table = format!("pointsman-trace-{}", std::process::id());
        let (name, packet) = (table.clone(), packet.clone());
        let made = in_thread(move || {
            let mut owner = NetfilterSocket::open()?;
            let batch = encode(&name, &packet, source, owner.sequence());
            owner.request(&batch, |_| {})?;
            Ok::<_, io::Error>(owner)
        });
        let owner = made.await.flatten().map_err(|error| errors::for_foreign_change(DOING, error))?;
        Ok(Self { _owner: owner, listener, table })
    }

    /// The first such packet, if there is one within this time.
    ///
    /// # Errors
    ///
    /// If the socket fails.
    pub async fn first_packet(mut self, within: Duration) -> Result<TracedPacket, Error> {
        let (mut id, mut traced) = (None, TracedPacket::default());
        let (mut patience, mut held) = (within, None);
        while traced.hops.len() < MAX_HOPS {
            let Ok(heard) = tokio::time::timeout(patience, self.listener.receive()).await else { break };
            let Heard::Datagram { messages, .. } = heard.map_err(|error| errors::for_socket(DOING, error))? else {
                traced.lost = true;
                continue;
            };
            for message in Messages(messages) {
                let Some((packet, hop)) = parse(&message) else { continue };
                // Rules of other programs may trace other packets: ours is known by our table.
                if hop.table.name == self.table && id.is_none() {
                    (id, patience) = (Some(packet), QUIET);
                }
                if id == Some(packet) && hop.table.name != self.table {
                    traced.hops.extend(with_held_headers(hop, &mut held));
                }
            }
        }
        Ok(traced)
    }
}

impl std::fmt::Debug for PacketTracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketTracer").field("table", &self.table).finish_non_exhaustive()
    }
}

/// A step with the headers that came before it. The kernel also tells that no rule is left, before it tells the policy of a base chain: this is
/// no step, but it has the headers if it is the first that is told of the chain.
fn with_held_headers(mut hop: TraceHop, held: &mut Option<TracedHeaders>) -> Option<TraceHop> {
    if hop.rule.is_none() && hop.verdict == CONTINUE {
        *held = hop.headers.or(*held);
        return None;
    }
    hop.headers = hop.headers.or(held.take());
    Some(hop)
}

/// The step that a message tells of, with the number of the packet.
fn parse(message: &NetlinkMessage<'_>) -> Option<(u32, TraceHop)> {
    if message.kind != TRACE {
        return None;
    }
    let attributes = message.attributes();
    let handle = attributes.find(NFTA_TRACE_RULE_HANDLE).and_then(|handle| handle.try_into().ok());
    let rule = handle.map(u64::from_be_bytes);
    let verdict = match (attributes.nest(NFTA_TRACE_VERDICT), attributes.u32(NFTA_TRACE_POLICY)) {
        (Some(verdict), _) => {
            let chain = verdict.name(NFTA_VERDICT_CHAIN).unwrap_or_default();
            verdict_word(verdict.i32(NFTA_VERDICT_CODE)?, chain)
        }
        (None, Some(policy)) => verdict_word(i32::try_from(policy).ok()?, ""),
        (None, None) => CONTINUE.to_owned(),
    };
    let table = parse_table(message, attributes)?;
    let chain = attributes.name(NFTA_TRACE_CHAIN)?.to_owned();
    let network = attributes.find(NFTA_TRACE_NETWORK_HEADER);
    let headers = network.and_then(|network| parse_headers(network, attributes.find(NFTA_TRACE_TRANSPORT_HEADER)?));
    Some((attributes.u32(NFTA_TRACE_ID)?, TraceHop { table, chain, rule, verdict, headers }))
}

/// The addresses in the headers of a packet.
fn parse_headers(network: &[u8], transport: &[u8]) -> Option<TracedHeaders> {
    let family = match network.first()? >> 4 {
        4 => Family::Ip,
        6 => Family::Ip6,
        _ => return None,
    };
    let addr = |field| {
        let bytes = network.get(rules::address_offset(family, field)..)?;
        match family {
            Family::Ip => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
            Family::Ip6 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        }
    };
    // In the headers of TCP, UDP and SCTP the destination port follows the source port.
    let port = u16::from_be_bytes(*transport.get(2..)?.first_chunk::<2>()?);
    Some(TracedHeaders { from: addr(Field::Saddr)?, to: Endpoint { addr: addr(Field::Daddr)?, port } })
}

fn verdict_word(code: i32, chain: &str) -> String {
    match code {
        NFT_JUMP => format!("jump {chain}"),
        NFT_GOTO => format!("goto {chain}"),
        NFT_RETURN => "return".to_owned(),
        NFT_CONTINUE => CONTINUE.to_owned(),
        NF_DROP => "drop".to_owned(),
        1 => "accept".to_owned(),
        NF_STOLEN => "stolen".to_owned(),
        other => format!("verdict {other}"),
    }
}

/// The batch that makes the table with its chains and rules. All messages have the same sequence number, and the last one asks for an
/// acknowledgement, so that the first answer tells of a refusal or of success.
fn encode(table: &str, packet: &Packet, source: TraceSource, sequence: u32) -> Vec<u8> {
    let family = Family::from_addr(packet.daddr);
    let mut out = MessageWriter::default();
    let frame = |out: &mut MessageWriter, kind| {
        let message = out.begin_message(kind, NLM_F_REQUEST, sequence, 0, NFNL_SUBSYS_NFTABLES);
        out.end_message(message);
    };
    frame(&mut out, NFNL_MSG_BATCH_BEGIN);
    let made = begin_message(&mut out, NFT_MSG_NEWTABLE, NLM_F_REQUEST | NLM_F_CREATE, sequence, family);
    out.put_name(NFTA_TABLE_NAME, table);
    out.put_u32(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
    out.end_message(made);
    let mut last = None;
    let hooks = [("sent", NF_INET_LOCAL_OUT), ("arrives", NF_INET_PRE_ROUTING)];
    let hooks = if source == TraceSource::Node { &hooks[..1] } else { &hooks };
    for (name, hook) in hooks.iter().copied() {
        let chain = begin_message(&mut out, NFT_MSG_NEWCHAIN, NLM_F_REQUEST | NLM_F_CREATE, sequence, family);
        out.put_name(NFTA_TABLE_NAME, table);
        out.put_name(NFTA_CHAIN_NAME, name);
        out.put_u32(NFTA_CHAIN_POLICY, NF_ACCEPT);
        out.put_name(NFTA_CHAIN_TYPE, "filter");
        let attached = out.begin_nest(NFTA_CHAIN_HOOK);
        out.put_u32(NFTA_HOOK_HOOKNUM, hook);
        out.put(NFTA_HOOK_PRIORITY, &PRIORITY.to_be_bytes());
        out.end(attached);
        out.end_message(chain);
        let flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND;
        let rule = begin_message(&mut out, NFT_MSG_NEWRULE, flags, sequence, family);
        last = Some(rule.start());
        out.put_name(NFTA_TABLE_NAME, table);
        out.put_name(NFTA_RULE_CHAIN, name);
        let expressions = out.begin_nest(NFTA_RULE_EXPRESSIONS);
        rules::traced::put(&mut out, packet, source == TraceSource::Node);
        out.end(expressions);
        out.end_message(rule);
    }
    if let Some(last) = last {
        out.add_flag(last, NLM_F_ACK);
    }
    frame(&mut out, NFNL_MSG_BATCH_END);
    out.bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_chain_has_the_headers_that_came_before_it() {
        let hop = |rule, verdict: &str, port: Option<u16>| {
            let addr = "10.1.0.9".parse().unwrap();
            let headers = port.map(|port| TracedHeaders { from: addr, to: Endpoint { addr, port } });
            let table = ForeignTable { family: "ip", name: "pointsman".to_owned() };
            TraceHop { table, chain: "filter-output".to_owned(), rule, verdict: verdict.to_owned(), headers }
        };
        let told = [
            hop(Some(7), "accept", Some(80)),
            hop(None, CONTINUE, Some(8080)),
            hop(None, "accept", None),
            hop(None, CONTINUE, None),
            hop(Some(8), CONTINUE, Some(9090)),
        ];
        let mut held = None;
        let hops: Vec<_> = told.into_iter().filter_map(|hop| with_held_headers(hop, &mut held)).collect();
        let expected =
            [hop(Some(7), "accept", Some(80)), hop(None, "accept", Some(8080)), hop(Some(8), CONTINUE, Some(9090))];
        assert_eq!(hops, expected);
    }

    #[test]
    fn addresses_are_read_from_headers_and_short_ones_are_left_out() {
        let mut v4 = vec![0x45; 20];
        v4[12..16].copy_from_slice(&[192, 0, 2, 2]);
        v4[16..20].copy_from_slice(&[10, 1, 0, 9]);
        let tcp = [0x9c, 0x40, 0x1f, 0x90, 0, 0, 0, 0];
        let to = Endpoint { addr: "10.1.0.9".parse().unwrap(), port: 8080 };
        let from = "192.0.2.2".parse().unwrap();
        assert_eq!(parse_headers(&v4, &tcp), Some(TracedHeaders { from, to }));
        let mut v6 = vec![0; 40];
        v6[0] = 0x60;
        (v6[23], v6[39]) = (1, 2);
        let to = Endpoint { addr: "::2".parse().unwrap(), port: 8080 };
        assert_eq!(parse_headers(&v6, &tcp), Some(TracedHeaders { from: "::1".parse().unwrap(), to }));
        for (network, transport) in [(&v4[..19], &tcp[..]), (&v4, &tcp[..3]), (&v6[..39], &tcp), (&[], &tcp)] {
            assert_eq!(parse_headers(network, transport), None);
        }
    }
}
