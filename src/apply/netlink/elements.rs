//! Encoding elements: as bytes, and a range as a start and an end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::abi::{
    NFT_JUMP, NFT_SET_ELEM_INTERVAL_END, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA,
    NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_USERDATA, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
};
use super::types::{put_comment, put_open_interval};
use crate::dataplane::{Element, KeyField};
use crate::netlink::MessageWriter;

/// Writes an element into a list: one entry, or the start and the end of a range.
///
/// With `adding` false the key alone, which is enough to delete the element or to ask for it.
pub(super) fn put(out: &mut MessageWriter, element: &Element, adding: bool) {
    let fields = element.key.fields();
    let [KeyField::Network(network)] = *fields else {
        put_entry(out, element, &fields, adding, false);
        return;
    };
    let end = after(network.broadcast());
    put_entry(out, element, &[KeyField::Addr(network.network())], adding, end.is_none());
    if let Some(end) = end {
        let entry = out.begin_nest(NFTA_LIST_ELEM);
        out.put_u32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        put_value(out, NFTA_SET_ELEM_KEY, &[KeyField::Addr(end)]);
        out.end(entry);
    }
}

/// Writes one entry.
fn put_entry(out: &mut MessageWriter, element: &Element, key: &[KeyField], adding: bool, open: bool) {
    let entry = out.begin_nest(NFTA_LIST_ELEM);
    put_value(out, NFTA_SET_ELEM_KEY, key);
    if adding {
        if element.value.is_some() {
            put_value(out, NFTA_SET_ELEM_DATA, &element.value_fields());
        }
        if let Some(chain) = element.chain() {
            let data = out.begin_nest(NFTA_SET_ELEM_DATA);
            put_verdict(out, NFT_JUMP, Some(&chain.0));
            out.end(data);
        }
        if open || element.comment.is_some() {
            let userdata = out.begin(NFTA_SET_ELEM_USERDATA);
            if let Some(comment) = &element.comment {
                put_comment(&mut out.bytes, comment);
            }
            if open {
                put_open_interval(&mut out.bytes);
            }
            out.end(userdata);
        }
    }
    out.end(entry);
}

/// Writes a verdict, and the chain that it leads to.
pub(super) fn put_verdict(out: &mut MessageWriter, code: i32, chain: Option<&str>) {
    let verdict = out.begin_nest(NFTA_DATA_VERDICT);
    out.put(NFTA_VERDICT_CODE, &code.to_be_bytes());
    if let Some(chain) = chain {
        out.put_name(NFTA_VERDICT_CHAIN, chain);
    }
    out.end(verdict);
}

fn put_value(out: &mut MessageWriter, kind: u16, fields: &[KeyField]) {
    let outer = out.begin_nest(kind);
    let inner = out.begin(NFTA_DATA_VALUE);
    put_fields(out, fields);
    out.end(inner);
    out.end(outer);
}

/// Writes the fields of a concatenation, each padded to 4 bytes, or a single field.
fn put_fields(out: &mut MessageWriter, fields: &[KeyField]) {
    // Padding counts from the begin of the buffer, where values begin at multiples of 4.
    for field in fields {
        put_field(out, field);
        if fields.len() > 1 {
            out.pad();
        }
    }
}

fn put_field(out: &mut MessageWriter, field: &KeyField) {
    let bytes = &mut out.bytes;
    match field {
        KeyField::Addr(IpAddr::V4(addr)) => bytes.extend_from_slice(&addr.octets()),
        KeyField::Addr(IpAddr::V6(addr)) => bytes.extend_from_slice(&addr.octets()),
        KeyField::Network(network) => put_field(out, &KeyField::Addr(network.network())),
        KeyField::Protocol(protocol) => bytes.push(protocol.number()),
        KeyField::Port(port) => bytes.extend_from_slice(&port.to_be_bytes()),
        // The type of `numgen`: an integer in the host's byte order.
        KeyField::Slot(slot) => bytes.extend_from_slice(&slot.to_ne_bytes()),
        KeyField::Id(id) => bytes.extend_from_slice(&id.0.to_ne_bytes()),
    }
}

/// The address after this one; `None` at the end of the address space.
fn after(addr: IpAddr) -> Option<IpAddr> {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().checked_add(1).map(|next| Ipv4Addr::from_bits(next).into()),
        IpAddr::V6(addr) => addr.to_bits().checked_add(1).map(|next| Ipv6Addr::from_bits(next).into()),
    }
}
