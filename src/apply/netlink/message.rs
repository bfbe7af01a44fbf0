//! What messages of nf_tables have in common.

use crate::dataplane::Family;
use crate::netlink::abi::NFNL_SUBSYS_NFTABLES;
use crate::netlink::{MessageWriter, NetlinkMessage, Unfinished, nfproto};

/// Begins a message of nf_tables about objects of a family. `kind` is one of `NFT_MSG_*`.
pub(super) fn begin_message(
    out: &mut MessageWriter,
    kind: u16,
    flags: u16,
    sequence: u32,
    family: Family,
) -> Unfinished {
    out.begin_message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, sequence, nfproto(family), 0)
}

/// The lower half of the number of the ruleset's generation that a message is of.
///
/// Every commit in the namespace, to whatever table, makes a new generation.
pub(super) fn generation(message: &NetlinkMessage<'_>) -> Option<u16> {
    message.resource()
}
