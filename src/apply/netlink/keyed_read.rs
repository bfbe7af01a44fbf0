//! Reading a map of endpoints by key, without a dump.
//!
//! The kernel dumps a map in parts, and walks the map from its beginning for each part: the time grows with the square of the
//! map's size. A request for an element by its key takes the same time in a map of any size.
//!
//! The sets of the size classes tell the keys: a frontend in `internal-P` or `slots-P` has its endpoints in the slots from 0 up to
//! at most P - 1, without gaps. One that just moved is in two classes for a moment: the larger one has all its slots. The kernel
//! answers a request for several elements one by one, up to the first that is missing. So
//! one request for each frontend yields all its slots, and the kernel's count of the map's elements shows whether the map holds
//! any others.

use std::cmp::Reverse;
use std::io::Result;
use std::ops::Range;

use nix::libc::ENOENT;

use super::abi::*;
use super::element_decoder::ElementDecoder;
use super::elements;
use super::message::begin_message;
use crate::dataplane::{Element, EndpointList, Family, Frontend, Key, SetName, SizeClass};
use crate::netlink::abi::NLM_F_REQUEST;
use crate::netlink::{Attributes, MessageWriter, NetfilterSocket, NetlinkMessage};

/// Bounds the keys that are requested together: all answers must fit into the receive buffer, with less than 1 KiB each.
const MAX_KEYS_TOGETHER: u32 = 4_000;
/// Bounds the keys in one request: the length of a list has 16 bits.
const MAX_KEYS_PER_REQUEST: u32 = 1_000;

/// A map of endpoints to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointMap<'a> {
    pub name: &'a str,
    pub list: EndpointList,
    /// The number of its elements.
    pub count: usize,
}

/// Requests that are sent together, each for some slots of a frontend.
pub(super) type SlotRequests = Vec<(Frontend, Range<u32>)>;

/// The requests for all elements of a map, by the members of its size classes; `None` if those are not as Pointsman leaves them.
pub(super) fn plan_requests(
    map: EndpointMap<'_>,
    mut classes: Vec<(Frontend, SizeClass)>,
) -> Option<Vec<SlotRequests>> {
    classes.sort_unstable_by_key(|(frontend, class)| (*frontend, Reverse(*class)));
    classes.dedup_by_key(|(frontend, _)| *frontend);
    let slots: u64 = classes.iter().map(|(_, class)| u64::from(class.slots())).sum();
    // More than half of the slots of a class are filled.
    if slots > 2 * u64::try_from(map.count).ok()? {
        return None;
    }
    let (mut all, mut together, mut keys) = (Vec::new(), SlotRequests::new(), 0);
    for (frontend, class) in classes {
        let mut slot = 0;
        while slot < class.slots() {
            let end = (slot + MAX_KEYS_PER_REQUEST).min(class.slots());
            together.push((frontend, slot..end));
            keys += end - slot;
            slot = end;
            if keys >= MAX_KEYS_TOGETHER {
                all.push(std::mem::take(&mut together));
                keys = 0;
            }
        }
    }
    all.push(together);
    Some(all)
}

/// Sends requests and returns the elements that exist; `None` if an answer is missing or unexpected.
///
/// Hands every message of an answer to `each` as well.
pub(super) fn read_elements(
    socket: &mut NetfilterSocket,
    family: Family,
    table: &str,
    map: EndpointMap<'_>,
    requests: &SlotRequests,
    mut each: impl FnMut(&NetlinkMessage<'_>),
) -> Result<Option<Vec<Element>>> {
    if requests.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let first = socket.sequence();
    let mut out = MessageWriter::default();
    let mut next = first;
    for (frontend, slots) in requests {
        let message = begin_message(&mut out, NFT_MSG_GETSETELEM, NLM_F_REQUEST, next, family);
        out.put_name(NFTA_TABLE_NAME, table);
        put_keys(&mut out, map, *frontend, slots.clone());
        out.end_message(message);
        next = next.wrapping_add(1);
    }
    let mut decoder = ElementDecoder::new(family, SetName::Endpoints(map.list));
    // The number of keys of each request that are not answered yet; 0 after the first missing element.
    let mut unanswered: Vec<u32> = requests.iter().map(|(_, slots)| slots.end - slots.start).collect();
    let mut unexpected = false;
    socket.request_all(&out.bytes, next, |message, errno| {
        let request = usize::try_from(message.sequence.wrapping_sub(first)).ok();
        let Some(unanswered) = request.and_then(|request| unanswered.get_mut(request)) else { return };
        match errno {
            Some(ENOENT) => *unanswered = 0,
            Some(_) => unexpected = true,
            None => {
                each(message);
                for (_, entry) in message.attributes().nest(NFTA_SET_ELEM_LIST_ELEMENTS).into_iter().flatten() {
                    decoder.push(Attributes(entry));
                    unexpected |= *unanswered == 0;
                    *unanswered = unanswered.saturating_sub(1);
                }
            }
        }
    })?;
    let complete = !unexpected && unanswered.iter().all(|keys| *keys == 0);
    Ok(if complete { decoder.finish() } else { None })
}

/// Writes the map and the keys of a request.
fn put_keys(out: &mut MessageWriter, map: EndpointMap<'_>, frontend: Frontend, slots: Range<u32>) {
    out.put_name(NFTA_SET_ELEM_LIST_SET, map.name);
    let list = out.begin_nest(NFTA_SET_ELEM_LIST_ELEMENTS);
    for slot in slots {
        elements::put(out, &Element::member(SetName::Endpoints(map.list), Key::Slot(frontend, slot)), false);
    }
    out.end(list);
}

#[cfg(test)]
mod tests;
