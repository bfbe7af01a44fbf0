//! The rule that asks the kernel to trace the packets which open one connection.

use ipnet::IpNet;

use super::ExpressionWriter;
use crate::apply::netlink::abi::*;
use crate::dataplane::{Condition, Family, Field, Packet};
use crate::netlink::MessageWriter;

/// Writes the expressions: new connections of this protocol, with this destination and this source or any, are traced.
pub(in crate::apply::netlink) fn put(out: &mut MessageWriter, packet: &Packet, from_any: bool) {
    let family = Family::from_addr(packet.daddr);
    let mut expressions = ExpressionWriter { out, family };
    expressions.condition(&Condition::CtStateNew);
    expressions.condition(&Condition::L4Proto(packet.protocol));
    let source = (!from_any).then_some((Field::Saddr, packet.saddr));
    for (field, addr) in source.into_iter().chain([(Field::Daddr, packet.daddr)]) {
        expressions.address(field, &IpNet::from(addr), NFT_CMP_EQ);
    }
    // In the headers of TCP, UDP and SCTP the destination port follows the source port.
    expressions.payload(NFT_REG_1, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
    expressions.compare(NFT_CMP_EQ, &packet.dport.to_be_bytes());
    expressions.expression("immediate", |out| {
        out.put_u32(NFTA_IMMEDIATE_DREG, NFT_REG_1);
        let data = out.begin_nest(NFTA_IMMEDIATE_DATA);
        out.put(NFTA_DATA_VALUE, &[1]);
        out.end(data);
    });
    expressions.set_meta(NFT_META_NFTRACE);
}
