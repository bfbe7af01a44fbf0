//! The kernel's table of connections, over ctnetlink.
//!
//! Numbers from `linux/netfilter/nfnetlink_conntrack.h`, under the kernel's names.

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::libc::ENOENT;

use super::Table;
use super::flow::Flow;
use crate::dataplane::{Family, Protocol};
use crate::netlink::abi::{NFNL_SUBSYS_CTNETLINK, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use crate::netlink::{Attributes, MessageWriter, NetfilterSocket, NetlinkMessage, nfproto};

const IPCTNL_MSG_CT_NEW: u16 = NFNL_SUBSYS_CTNETLINK << 8;
const IPCTNL_MSG_CT_GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const IPCTNL_MSG_CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_TUPLE_ZONE: u16 = 3;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
/// `CTA_FILTER_FLAG(CTA_PROTO_NUM)` of the kernel's `net/netfilter/nf_internals.h`: compare the protocol.
const CTA_FILTER_F_CTA_PROTO_NUM: u32 = 1 << 3;
/// Of `enum ip_conntrack_status`: a rule translates the destination.
const IPS_DST_NAT: u32 = 1 << 5;

/// The kernel's table of connections, over a netlink socket that opens with the first request.
///
/// The table belongs to the network namespace of the thread that makes that request.
#[derive(Default)]
pub struct ConntrackSocket {
    /// `None` before the first request, and after an error that leaves unknown which answers are still under way.
    socket: Option<NetfilterSocket>,
}

/// A connection that the kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrackedConnection {
    pub protocol: Protocol,
    pub flow: Flow,
    /// Whether a rule translates the destination. IPVS changes the server without that.
    pub is_translated_by_rule: bool,
}

impl ConntrackSocket {
    /// Opens the socket now, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// The system refuses one, or the kernel has no netfilter.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Some(NetfilterSocket::open()?) })
    }

    /// Hands every connection of a family to `each`: false as for [`Table::dump`].
    pub(super) fn dump_all(&mut self, family: Family, each: &mut dyn FnMut(TrackedConnection)) -> Result<bool> {
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        let dump = |writer: &mut MessageWriter, sequence: u32| {
            let message = writer.begin_message(IPCTNL_MSG_CT_GET, flags, sequence, nfproto(family), 0);
            writer.end_message(message);
        };
        self.request(dump, each)
    }

    /// Deletes exactly this connection; false if it is gone already.
    pub(super) fn delete_entry(&mut self, protocol: Protocol, flow: &Flow) -> Result<bool> {
        match self.request(|writer, sequence| write_delete(writer, sequence, protocol, flow), &mut |_| {}) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends one request and hands each connection of the answer to `each`.
    fn request(
        &mut self,
        write: impl FnOnce(&mut MessageWriter, u32),
        each: &mut dyn FnMut(TrackedConnection),
    ) -> Result<bool> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => NetfilterSocket::open()?,
        };
        let mut writer = MessageWriter::default();
        write(&mut writer, socket.sequence());
        let answer = socket.request(&writer.bytes, |message| {
            if let Some(entry) = parse_entry(message) {
                each(entry);
            }
        });
        // A refusal is a complete answer.
        if answer.as_ref().err().is_none_or(|error| error.raw_os_error() == Some(ENOENT)) {
            self.socket = Some(socket);
        }
        answer
    }
}

impl std::fmt::Debug for ConntrackSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConntrackSocket").finish_non_exhaustive()
    }
}

impl Table for ConntrackSocket {
    fn dump(&mut self, family: Family, each: &mut dyn FnMut(Flow)) -> Result<bool> {
        let dump = |writer: &mut MessageWriter, sequence: u32| {
            let flags = NLM_F_REQUEST | NLM_F_DUMP;
            let message = writer.begin_message(IPCTNL_MSG_CT_GET, flags, sequence, nfproto(family), 0);
            // Kernels before 5.8 do not know the filter and dump all protocols.
            let filter = writer.begin_nest(CTA_FILTER);
            writer.put(CTA_FILTER_ORIG_FLAGS, &CTA_FILTER_F_CTA_PROTO_NUM.to_ne_bytes());
            writer.end(filter);
            let tuple = writer.begin_nest(CTA_TUPLE_ORIG);
            let proto = writer.begin_nest(CTA_TUPLE_PROTO);
            writer.put(CTA_PROTO_NUM, &[Protocol::Udp.number()]);
            writer.end(proto);
            writer.end(tuple);
            writer.end_message(message);
        };
        self.request(dump, &mut |entry: TrackedConnection| {
            if entry.protocol == Protocol::Udp {
                each(entry.flow);
            }
        })
    }

    fn delete(&mut self, flow: &Flow) -> Result<bool> {
        self.delete_entry(Protocol::Udp, flow)
    }
}

/// Writes the deletion of exactly this connection: the kernel finds it by the tuple and compares the number.
///
/// Without a tuple the kernel would delete all flows, so there always is one.
fn write_delete(writer: &mut MessageWriter, sequence: u32, protocol: Protocol, flow: &Flow) {
    let flags = NLM_F_REQUEST | NLM_F_ACK;
    let message = writer.begin_message(IPCTNL_MSG_CT_DELETE, flags, sequence, nfproto(flow.family()), 0);
    let tuple = writer.begin_nest(CTA_TUPLE_ORIG);
    let ip = writer.begin_nest(CTA_TUPLE_IP);
    for (addr, v4, v6) in
        [(flow.client.ip(), CTA_IP_V4_SRC, CTA_IP_V6_SRC), (flow.destination.ip(), CTA_IP_V4_DST, CTA_IP_V6_DST)]
    {
        match addr {
            IpAddr::V4(addr) => writer.put(v4, &addr.octets()),
            IpAddr::V6(addr) => writer.put(v6, &addr.octets()),
        }
    }
    writer.end(ip);
    let proto = writer.begin_nest(CTA_TUPLE_PROTO);
    writer.put(CTA_PROTO_NUM, &[protocol.number()]);
    writer.put(CTA_PROTO_SRC_PORT, &flow.client.port().to_be_bytes());
    writer.put(CTA_PROTO_DST_PORT, &flow.destination.port().to_be_bytes());
    writer.end(proto);
    writer.end(tuple);
    writer.put(CTA_ZONE, &flow.zone.to_be_bytes());
    writer.put_u32(CTA_ID, flow.id);
    writer.end_message(message);
}

/// The connection in a message; `None` if the message holds none, or one of a protocol without ports.
fn parse_entry(message: &NetlinkMessage<'_>) -> Option<TrackedConnection> {
    if message.kind != IPCTNL_MSG_CT_NEW {
        return None;
    }
    let entry = message.attributes();
    let (original, reply) = (entry.nest(CTA_TUPLE_ORIG)?, entry.nest(CTA_TUPLE_REPLY)?);
    let (protocol, client, destination) = parse_tuple(original)?;
    let (_, server, _) = parse_tuple(reply)?;
    // A zone belongs to both directions, or to this one alone.
    let zone = entry.find(CTA_ZONE).or_else(|| original.find(CTA_TUPLE_ZONE)).and_then(u16_from_network);
    Some(TrackedConnection {
        protocol,
        flow: Flow { client, destination, server, zone: zone.unwrap_or(0), id: entry.u32(CTA_ID)? },
        is_translated_by_rule: entry.u32(CTA_STATUS).is_some_and(|status| status & IPS_DST_NAT != 0),
    })
}

/// Protocol, source and destination of one direction of a connection.
fn parse_tuple(tuple: Attributes<'_>) -> Option<(Protocol, SocketAddr, SocketAddr)> {
    let (ip, proto) = (tuple.nest(CTA_TUPLE_IP)?, tuple.nest(CTA_TUPLE_PROTO)?);
    let [number] = *proto.find(CTA_PROTO_NUM)? else { return None };
    let protocol = Protocol::from_number(number)?;
    let addr = |v4, v6| -> Option<IpAddr> {
        match ip.find(v4) {
            Some(bytes) => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
            None => Some(Ipv6Addr::from(<[u8; 16]>::try_from(ip.find(v6)?).ok()?).into()),
        }
    };
    let port = |kind| proto.find(kind).and_then(u16_from_network);
    Some((
        protocol,
        SocketAddr::new(addr(CTA_IP_V4_SRC, CTA_IP_V6_SRC)?, port(CTA_PROTO_SRC_PORT)?),
        SocketAddr::new(addr(CTA_IP_V4_DST, CTA_IP_V6_DST)?, port(CTA_PROTO_DST_PORT)?),
    ))
}

/// A number of 16 bits in network byte order.
fn u16_from_network(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

/// What to do about an error, for the log.
pub(super) fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => "give the process the capability NET_ADMIN",
        ErrorKind::ResourceBusy => "the flow is offloaded to hardware or to a flow table, which has to release it",
        _ => "if this goes on, check that the kernel has CONFIG_NF_CT_NETLINK (module nf_conntrack_netlink)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Messages;

    #[test]
    fn a_deletion_names_one_flow_and_never_all() {
        for (client, destination, server) in [
            ("192.0.2.2:20000", "10.96.0.10:53", "10.1.0.1:5353"),
            ("[fd00::2]:20000", "[fd00:96::10]:53", "[fd00:1::1]:5353"),
        ] {
            let [client, destination, server] = [client, destination, server].map(|text| text.parse().unwrap());
            let flow = Flow { client, destination, server, zone: 7, id: 0xdead_beef };
            let mut writer = MessageWriter::default();
            write_delete(&mut writer, 3, Protocol::Tcp, &flow);
            let message = Messages(&writer.bytes).next().expect("a message");
            assert_eq!((message.kind, message.sequence), (IPCTNL_MSG_CT_DELETE, 3));
            let entry = message.attributes();
            let original = entry.nest(CTA_TUPLE_ORIG).and_then(parse_tuple);
            assert_eq!(original, Some((Protocol::Tcp, client, destination)));
            assert_eq!(
                (entry.find(CTA_ZONE).and_then(u16_from_network), entry.u32(CTA_ID)),
                (Some(7), Some(0xdead_beef))
            );
        }
    }

    #[test]
    fn malformed_messages_are_no_connections() {
        let mut writer = MessageWriter::default();
        let message = writer.begin_message(IPCTNL_MSG_CT_NEW, 0, 1, nfproto(Family::Ip), 0);
        let tuple = writer.begin_nest(CTA_TUPLE_ORIG);
        writer.put(CTA_TUPLE_IP, &[1, 2, 3]);
        writer.end(tuple);
        writer.end_message(message);
        let message = Messages(&writer.bytes).next().expect("a message");
        assert_eq!(parse_entry(&message), None);
    }
}
