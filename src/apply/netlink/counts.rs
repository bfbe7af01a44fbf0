//! Reading what packets counted.

use std::collections::BTreeMap;
use std::io::Result;

use nix::libc::ENOENT;

use super::abi::*;
use super::element_decoder::decode_key;
use super::read::TableReader;
use crate::dataplane::{Counted, Family, Frontend, Key, SetName};
use crate::netlink::{Attributes, NetfilterSocket};

/// Reads the connections of each frontend of a family; none if there is no table, or nothing counts.
///
/// While the kernel resizes a set a reading may miss some frontends. What it finds is right.
pub(super) fn read_counts(
    socket: &mut NetfilterSocket,
    family: Family,
    name: &str,
) -> Result<BTreeMap<(Frontend, Counted), u64>> {
    let mut counts = BTreeMap::new();
    for set in Counted::sets() {
        let SetName::Counts(counted, _) = set else { continue };
        let read = TableReader::new(socket, family, name).entries(set, |entry| {
            let Some(Key::Frontend(frontend)) = decode_key(family, set, entry) else { return };
            let packets = packets(entry).unwrap_or_default();
            // An entry may come twice.
            let count: &mut u64 = counts.entry((frontend, counted)).or_default();
            *count = packets.max(*count);
        });
        match read {
            Err(error) if error.raw_os_error() == Some(ENOENT) => {}
            read => read?,
        }
    }
    Ok(counts)
}

/// The packets that an element counted; `None` if it has no counter.
fn packets(entry: Attributes<'_>) -> Option<u64> {
    let expression = entry.nest(NFTA_SET_ELEM_EXPR)?;
    let counter = expression.nest(NFTA_EXPR_DATA).filter(|_| expression.name(NFTA_EXPR_NAME) == Some("counter"))?;
    counter.find(NFTA_COUNTER_PACKETS)?.try_into().ok().map(u64::from_be_bytes)
}
