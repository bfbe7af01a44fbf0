//! Reading a map of endpoints by key, without a dump.
//!
//! The kernel dumps a map in parts, and for each part walks it from its beginning: the time grows with the square of the map. To
//! ask for an element by its key takes the same time in a map of any size.
//!
//! Which keys there are, the sets of the classes tell: a frontend in `internal-P` or `slots-P` has its endpoints in the slots from 0
//! up to at most P - 1, without gaps. A request for several elements is answered one by one, up to the first that is not there. So one
//! request for each frontend gives all of its slots, and the number of elements that the kernel counts in the map tells
//! whether the map holds any others.

use std::io::Result;
use std::ops::Range;

use nix::libc::ENOENT;

use super::abi::*;
use super::collect::Collector;
use super::elements;
use super::parse::{Attributes, Message};
use super::socket::Socket;
use super::write::Writer;
use crate::dataplane::{Element, EndpointList, Family, Frontend, Key, SetName, SizeClass};

/// How many keys are asked for at once: all answers have to fit into the receive buffer, at less than 1 KiB each.
const KEYS_AT_ONCE: u32 = 4_000;
/// How many keys are in one request: the length of a list has 16 bits.
const KEYS_IN_REQUEST: u32 = 1_000;

/// A map of endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map<'a> {
    pub name: &'a str,
    pub list: EndpointList,
    /// How many elements it has.
    pub count: usize,
}

/// Requests that are sent together, each for some slots of a frontend.
pub(super) type Requests = Vec<(Frontend, Range<u32>)>;

/// What has to be asked for, given the members of the map's classes; `None` if they are not as we leave them.
pub(super) fn requests(map: Map<'_>, mut classes: Vec<(Frontend, SizeClass)>) -> Option<Vec<Requests>> {
    classes.sort_unstable();
    let slots: u64 = classes.iter().map(|(_, class)| u64::from(class.slots())).sum();
    let in_two_classes = classes.windows(2).any(|pair| pair[0].0 == pair[1].0);
    // More than half of the slots of a class are filled.
    if in_two_classes || slots > 2 * u64::try_from(map.count).ok()? {
        return None;
    }
    let (mut all, mut together, mut keys) = (Vec::new(), Requests::new(), 0);
    for (frontend, class) in classes {
        let mut slot = 0;
        while slot < class.slots() {
            let end = (slot + KEYS_IN_REQUEST).min(class.slots());
            together.push((frontend, slot..end));
            keys += end - slot;
            slot = end;
            if keys >= KEYS_AT_ONCE {
                all.push(std::mem::take(&mut together));
                keys = 0;
            }
        }
    }
    all.push(together);
    Some(all)
}

/// Asks, and gives the elements that are there; `None` if not everything was answered as expected.
///
/// Hands every message of an answer to `each` as well.
pub(super) fn ask(
    socket: &mut Socket,
    family: Family,
    table: &str,
    map: Map<'_>,
    requests: &Requests,
    mut each: impl FnMut(&Message<'_>),
) -> Result<Option<Vec<Element>>> {
    if requests.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let first = socket.sequence();
    let mut out = Writer::default();
    let mut next = first;
    for (frontend, slots) in requests {
        let message = out.message(NFT_MSG_GETSETELEM, NLM_F_REQUEST, next, family);
        out.put_name(NFTA_TABLE_NAME, table);
        put_keys(&mut out, map, *frontend, slots.clone());
        out.end_message(message);
        next = next.wrapping_add(1);
    }
    let mut collector = Collector::new(family, SetName::Endpoints(map.list));
    // The keys of each request that are not answered yet; 0 after the first that is not there.
    let mut open: Vec<u32> = requests.iter().map(|(_, slots)| slots.end - slots.start).collect();
    let mut odd = false;
    socket.requests(&out.bytes, next, |message, errno| {
        let request = usize::try_from(message.sequence.wrapping_sub(first)).ok();
        let Some(open) = request.and_then(|request| open.get_mut(request)) else { return };
        match errno {
            Some(ENOENT) => *open = 0,
            Some(_) => odd = true,
            None => {
                each(message);
                for (_, entry) in message.attributes().nest(NFTA_SET_ELEM_LIST_ELEMENTS).into_iter().flatten() {
                    collector.push(Attributes(entry));
                    odd |= *open == 0;
                    *open = open.saturating_sub(1);
                }
            }
        }
    })?;
    let answered = !odd && open.iter().all(|open| *open == 0);
    Ok(if answered { collector.finish() } else { None })
}

/// Writes the map and the keys of a request.
fn put_keys(out: &mut Writer, map: Map<'_>, frontend: Frontend, slots: Range<u32>) {
    out.put_name(NFTA_SET_ELEM_LIST_SET, map.name);
    let list = out.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
    for slot in slots {
        elements::put(out, &Element::member(SetName::Endpoints(map.list), Key::Slot(frontend, slot)), false);
    }
    out.end(list);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Protocol;

    const MAP: Map<'_> = Map { name: "endpoints", list: EndpointList::Any, count: 100_000 };

    fn frontend(n: u32) -> Frontend {
        Frontend { addr: std::net::Ipv6Addr::from_bits(u128::from(n)).into(), protocol: Protocol::Tcp, port: 80 }
    }

    fn members(count: u32, endpoints: usize) -> Vec<(Frontend, SizeClass)> {
        (1..=count).filter_map(|n| Some((frontend(n), SizeClass::of(endpoints)?))).collect()
    }

    #[test]
    fn every_slot_of_a_class_is_asked_for_once_and_not_too_many_at_a_time() {
        for (count, endpoints) in [(5_000, 5), (3, 65_536), (1, 1), (0, 1)] {
            let all = requests(MAP, members(count, endpoints)).expect("as we leave them");
            let mut asked = Vec::new();
            for together in &all {
                let keys: u32 = together.iter().map(|(_, slots)| slots.end - slots.start).sum();
                assert!(keys < KEYS_AT_ONCE + KEYS_IN_REQUEST);
                asked.extend(together.iter().flat_map(|(frontend, slots)| slots.clone().map(|slot| (*frontend, slot))));
            }
            let slots = SizeClass::of(endpoints).map_or(0, SizeClass::slots);
            let expected = (1..=count).flat_map(|n| (0..slots).map(move |slot| (frontend(n), slot)));
            assert!(asked.into_iter().eq(expected), "{count} frontends with {endpoints} endpoints");
        }
    }

    #[test]
    fn classes_that_somebody_else_filled_are_not_relied_on() {
        let twice = [members(9, 2), members(1, 5)].concat();
        assert_eq!(requests(MAP, twice), None, "a frontend in two classes");
        assert_eq!(requests(MAP, members(4, 65_536)), None, "more slots than the map has elements");
    }

    #[test]
    fn the_longest_request_fits_into_its_length() {
        let mut out = Writer::default();
        put_keys(&mut out, MAP, frontend(1), 0..KEYS_IN_REQUEST);
        let list = Attributes(&out.bytes).nest(NFTA_SET_ELEM_LIST_ELEMENTS).expect("a list");
        assert_eq!(list.count(), 1_000);
    }
}
