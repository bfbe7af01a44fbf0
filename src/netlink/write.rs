//! Writing messages and attributes.

use super::abi::{NFPROTO_IPV4, NFPROTO_IPV6, NLA_F_NESTED};
use crate::dataplane::Family;

/// Writes messages, one after the other, into a buffer.
#[derive(Debug, Default)]
pub(crate) struct MessageWriter {
    /// What was written.
    pub bytes: Vec<u8>,
}

/// A message or attribute that was begun. Its length is filled in when it is ended.
#[derive(Clone, Copy, Debug)]
#[must_use = "without its end it has no length"]
pub(crate) struct Unfinished {
    start: usize,
}

impl MessageWriter {
    /// Begins a message: `struct nlmsghdr` and `struct nfgenmsg` with its family, `NFPROTO_*`, and its resource.
    pub fn begin_message(&mut self, kind: u16, flags: u16, sequence: u32, nfproto: u8, resource: u16) -> Unfinished {
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
        Unfinished { start }
    }

    /// Ends a message.
    pub fn end_message(&mut self, Unfinished { start }: Unfinished) {
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

    /// Begins a nest: an attribute that consists of attributes.
    pub fn begin_nest(&mut self, kind: u16) -> Unfinished {
        self.begin(kind | NLA_F_NESTED)
    }

    /// Begins an attribute. The caller appends its value to `bytes`.
    pub fn begin(&mut self, kind: u16) -> Unfinished {
        let start = self.bytes.len();
        let [low, high] = kind.to_ne_bytes();
        self.bytes.extend_from_slice(&[0, 0, low, high]);
        Unfinished { start }
    }

    /// Ends an attribute or nest, and pads it.
    ///
    /// The length has 16 bits. No attribute comes near that: names are short, and lists are cut in time.
    pub fn end(&mut self, Unfinished { start }: Unfinished) {
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self.pad();
    }

    /// Fills the buffer up to a multiple of 4 bytes.
    pub fn pad(&mut self) {
        let missing = self.bytes.len().wrapping_neg() % 4;
        self.bytes.extend_from_slice(&[0; 3][..missing]);
    }

    /// Writes a whole attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let attribute = self.begin(kind);
        self.bytes.extend_from_slice(value);
        self.end(attribute);
    }

    /// Writes a number, in network byte order as netfilter has them.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Writes a name, with the final zero.
    pub fn put_name(&mut self, kind: u16, name: &str) {
        let attribute = self.begin(kind);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.end(attribute);
    }
}

impl Unfinished {
    /// Where the message or attribute begins in the buffer.
    pub fn start(self) -> usize {
        self.start
    }
}

/// The kernel's number for a family.
pub(crate) fn nfproto(family: Family) -> u8 {
    match family {
        Family::Ip => NFPROTO_IPV4,
        Family::Ip6 => NFPROTO_IPV6,
    }
}
