//! Writing netlink messages and their attributes.

use super::abi::{NFNL_SUBSYS_NFTABLES, NLA_F_NESTED};
use crate::dataplane::Family;

/// Messages, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub bytes: Vec<u8>,
}

/// Where a message or nest began, so that its length can be filled in.
#[derive(Clone, Copy, Debug)]
#[must_use = "it has to be ended"]
pub(crate) struct Open(usize);

impl Writer {
    /// Begins a message of nf_tables.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, family: Family) -> Open {
        self.header(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, sequence, nfproto(family), 0)
    }

    /// Begins a message: `struct nlmsghdr` and `struct nfgenmsg`.
    pub fn header(&mut self, kind: u16, flags: u16, sequence: u32, nfproto: u8, resource: u16) -> Open {
        let start = self.bytes.len();
        // The length, filled in at the end.
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        // The sender's port: the kernel knows it.
        self.bytes.extend_from_slice(&[0; 4]);
        // NFNETLINK_V0
        self.bytes.extend_from_slice(&[nfproto, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        Open(start)
    }

    /// Ends a message.
    pub fn end_message(&mut self, Open(start): Open) {
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// Adds a flag to the message that began at `start`.
    pub fn add_flag(&mut self, start: usize, flag: u16) {
        if let Some(place) = self.bytes.get_mut(start + 6..start + 8) {
            for (byte, bits) in place.iter_mut().zip(flag.to_ne_bytes()) {
                *byte |= bits;
            }
        }
    }

    /// Begins an attribute made of attributes.
    pub fn nest(&mut self, kind: u16) -> Open {
        self.begin(kind | NLA_F_NESTED)
    }

    /// Begins an attribute whose contents are appended to `bytes`.
    pub fn begin(&mut self, kind: u16) -> Open {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        Open(start)
    }

    /// Ends an attribute, and pads it.
    ///
    /// What is written as one never comes near 64 KiB: names are short, and lists of elements are cut in time.
    pub fn end(&mut self, Open(start): Open) {
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self.pad();
    }

    /// Fills up to a multiple of 4.
    pub fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// A whole attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let open = self.begin(kind);
        self.bytes.extend_from_slice(value);
        self.end(open);
    }

    /// A number; nf_tables has them in network byte order.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A name, with the final zero.
    pub fn put_name(&mut self, kind: u16, name: &str) {
        let open = self.begin(kind);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.end(open);
    }
}

impl Open {
    /// Where it began.
    pub fn start(self) -> usize {
        self.0
    }
}

/// The family as the kernel numbers it.
pub(crate) fn nfproto(family: Family) -> u8 {
    match family {
        Family::Ip => super::abi::NFPROTO_IPV4,
        Family::Ip6 => super::abi::NFPROTO_IPV6,
    }
}
