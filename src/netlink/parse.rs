//! Taking datagrams apart into messages and attributes.
//!
//! Input that is cut off or malformed ends the iteration; nothing here can panic.

use super::abi::NLA_TYPE_MASK;

/// A netlink message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetlinkMessage<'a> {
    /// The kind (`nlmsg_type`). In netfilter's messages the upper byte is the subsystem, `NFNL_SUBSYS_*`.
    pub kind: u16,
    /// The flags, `NLM_F_*`.
    pub flags: u16,
    /// The sequence number of the request that this message belongs to.
    pub sequence: u32,
    /// All that follows `struct nlmsghdr`: in netfilter's messages `struct nfgenmsg`, then attributes.
    pub payload: &'a [u8],
}

/// Iterates over the messages of a datagram.
pub(crate) struct Messages<'a>(pub &'a [u8]);

/// Iterates over the attributes of a message or nest: kind and value of each.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub &'a [u8]);

impl<'a> NetlinkMessage<'a> {
    /// The protocol family, `NFPROTO_*` (`nfgen_family` of `struct nfgenmsg`).
    pub fn nfproto(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// `res_id` of `struct nfgenmsg`. Each subsystem gives it a meaning of its own.
    pub fn resource(&self) -> Option<u16> {
        self.payload.get(2..4)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// The attributes after `struct nfgenmsg`.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes(self.payload.get(4..).unwrap_or_default())
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = NetlinkMessage<'a>;

    fn next(&mut self) -> Option<NetlinkMessage<'a>> {
        let length = usize::try_from(host_u32(self.0.get(0..4)?)?).ok()?;
        let message = NetlinkMessage {
            kind: host_u16(self.0.get(4..6)?)?,
            flags: host_u16(self.0.get(6..8)?)?,
            sequence: host_u32(self.0.get(8..12)?)?,
            payload: self.0.get(16..length)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(host_u16(self.0.get(0..2)?)?);
        let kind = host_u16(self.0.get(2..4)?)? & NLA_TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this kind.
    pub fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        Iterator::find(&mut self, |(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attributes in the first nest of this kind.
    pub fn nest(self, kind: u16) -> Option<Attributes<'a>> {
        self.find(kind).map(Attributes)
    }

    /// The number in the first attribute of this kind, which is in network byte order.
    pub fn u32(self, kind: u16) -> Option<u32> {
        self.find(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The signed number in the first attribute of this kind, which is in network byte order.
    pub fn i32(self, kind: u16) -> Option<i32> {
        self.find(kind)?.try_into().ok().map(i32::from_be_bytes)
    }

    /// The name in the first attribute of this kind, without the final zero.
    pub fn name(self, kind: u16) -> Option<&'a str> {
        text(self.find(kind)?)
    }
}

/// Text with or without final zeros; `None` if it is not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0'))
}

/// A number in the host's byte order; `None` if it does not have 4 bytes.
pub(crate) fn host_u32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn host_u16(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::abi::{NFPROTO_IPV4, NFPROTO_IPV6};
    use super::super::write::MessageWriter;
    use super::*;

    #[test]
    fn a_written_message_is_read_back() {
        let mut writer = MessageWriter::default();
        let message = writer.begin_message(10 << 8 | 3, 5, 7, NFPROTO_IPV6, 9);
        writer.put_name(1, "pointsman");
        let nest = writer.begin_nest(2);
        writer.put_u32(9, 80);
        writer.end(nest);
        writer.end_message(message);
        let message = Messages(&writer.bytes).next().expect("a message");
        assert_eq!((message.kind, message.flags, message.sequence), (10 << 8 | 3, 5, 7));
        assert_eq!((message.nfproto(), message.resource()), (Some(NFPROTO_IPV6), Some(9)));
        assert_eq!(message.attributes().name(1), Some("pointsman"));
        assert_eq!(message.attributes().nest(2).and_then(|nest| nest.u32(9)), Some(80));
        assert_eq!(Messages(&writer.bytes).count(), 1);
    }

    #[test]
    fn malformed_input_ends_the_iteration() {
        let mut writer = MessageWriter::default();
        let message = writer.begin_message(3, 5, 7, NFPROTO_IPV4, 0);
        writer.put_name(1, "pointsman");
        writer.end_message(message);
        for length in 0..writer.bytes.len() {
            let _ = Messages(&writer.bytes[..length]).map(|m| m.attributes().count()).sum::<usize>();
            assert_eq!(Messages(&writer.bytes[..length]).count(), 0);
        }
        assert_eq!(Attributes(&[0, 0, 1, 0, 1]).count(), 0, "a length below that of the header");
        assert_eq!(Attributes(&[255, 255, 1, 0, 1]).count(), 0, "a length beyond the end");
        assert_eq!(Messages(&[0; 64]).count(), 0);
    }
}
