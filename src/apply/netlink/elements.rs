//! Elements as the kernel has them: bytes, and for ranges a start and an end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::abi::{
    NFT_SET_ELEM_INTERVAL_END, NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS,
    NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_USERDATA,
};
use super::types::{put_comment, put_open_interval};
use super::write::Writer;
use crate::dataplane::{Element, KeyField, Protocol};

/// Writes an element into a list: one entry, or start and end of a range.
///
/// To delete an element its key is enough.
pub(super) fn put(out: &mut Writer, element: &Element, adding: bool) {
    let atoms = element.key.atoms();
    let [KeyField::Network(network)] = *atoms else {
        put_entry(out, element, &atoms, adding, false);
        return;
    };
    let end = after(network.broadcast());
    put_entry(out, element, &[KeyField::Addr(network.network())], adding, end.is_none());
    if let Some(end) = end {
        let entry = out.nest(NFTA_LIST_ELEM);
        out.put_u32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        put_value(out, NFTA_SET_ELEM_KEY, &[KeyField::Addr(end)]);
        out.end(entry);
    }
}

/// One entry. With a range among several components it has two keys, of the first and of the last addresses.
fn put_entry(out: &mut Writer, element: &Element, key: &[KeyField], adding: bool, open: bool) {
    let entry = out.nest(NFTA_LIST_ELEM);
    put_value(out, NFTA_SET_ELEM_KEY, key);
    if key.iter().any(|atom| matches!(atom, KeyField::Network(_))) {
        let mut last = element.key.atoms();
        for atom in last.iter_mut() {
            if let KeyField::Network(network) = atom {
                *atom = KeyField::Addr(network.broadcast());
            }
        }
        put_value(out, NFTA_SET_ELEM_KEY_END, &last);
    }
    if adding {
        if let Some(to) = element.value {
            put_value(out, NFTA_SET_ELEM_DATA, &[KeyField::Addr(to.addr), KeyField::Port(to.port)]);
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

fn put_value(out: &mut Writer, kind: u16, atoms: &[KeyField]) {
    let outer = out.nest(kind);
    let inner = out.begin(NFTA_DATA_VALUE);
    put_atoms(out, atoms);
    out.end(inner);
    out.end(outer);
}

/// The components of a concatenation, each padded to 4 bytes; a single one stands for itself.
fn put_atoms(out: &mut Writer, atoms: &[KeyField]) {
    // Padding is relative to the buffer, in which values begin at multiples of 4.
    for atom in atoms {
        put_atom(out, atom);
        if atoms.len() > 1 {
            out.pad();
        }
    }
}

fn put_atom(out: &mut Writer, atom: &KeyField) {
    let bytes = &mut out.bytes;
    match atom {
        KeyField::Addr(IpAddr::V4(addr)) => bytes.extend_from_slice(&addr.octets()),
        KeyField::Addr(IpAddr::V6(addr)) => bytes.extend_from_slice(&addr.octets()),
        KeyField::Network(network) => put_atom(out, &KeyField::Addr(network.network())),
        KeyField::Protocol(protocol) => bytes.push(protocol_number(*protocol)),
        KeyField::Port(port) => bytes.extend_from_slice(&port.to_be_bytes()),
        // The type of `numgen`: an integer of the host.
        KeyField::Slot(slot) => bytes.extend_from_slice(&slot.to_ne_bytes()),
    }
}

/// The protocol's number, `IPPROTO_*` of `linux/in.h`.
pub(super) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// The address after this one; `None` at the end of the address space.
fn after(addr: IpAddr) -> Option<IpAddr> {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().checked_add(1).map(|next| Ipv4Addr::from_bits(next).into()),
        IpAddr::V6(addr) => addr.to_bits().checked_add(1).map(|next| Ipv6Addr::from_bits(next).into()),
    }
}
