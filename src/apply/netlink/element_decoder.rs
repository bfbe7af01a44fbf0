//! Decoding elements from the kernel's bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::abi::{
    NFT_JUMP, NFT_SET_ELEM_INTERVAL_END, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_SET_ELEM_DATA,
    NFTA_SET_ELEM_EXPIRATION, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_USERDATA,
    NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
};
use super::types::{comment, type_of};
use crate::dataplane::{Element, EndpointId, Family, Field, Key, KeyField, KeyFields, Protocol, SetName, Value};
use crate::netlink::{Attributes, host_u32};

/// Decodes the elements of one set, entry by entry.
pub(super) struct ElementDecoder {
    family: Family,
    set: SetName,
    /// Whether entries are bounds of ranges.
    has_bounds: bool,
    elements: Vec<Element>,
    bounds: Vec<RangeBound>,
    /// Whether an entry is not as the program would write it.
    malformed: bool,
    /// When the elements that packets added expire.
    pub expirations: BTreeMap<Key, Duration>,
}

/// A start or an end of a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RangeBound {
    addr: IpAddr,
    /// An end belongs to the range before it, so it comes before a start at the same address.
    start: bool,
    comment: Option<Arc<str>>,
}

impl ElementDecoder {
    /// A decoder for a set without entries so far.
    pub fn new(family: Family, set: SetName) -> Self {
        let has_bounds = set.definition().interval;
        Self {
            family,
            set,
            has_bounds,
            elements: Vec::new(),
            bounds: Vec::new(),
            malformed: false,
            expirations: BTreeMap::new(),
        }
    }

    /// Decodes an entry of the kernel's list.
    pub fn push(&mut self, entry: Attributes<'_>) {
        let decoded = if self.has_bounds { self.bound(entry) } else { self.element(entry) };
        self.malformed |= decoded.is_none();
    }

    /// The elements; `None` if one is not as the program would write it.
    pub fn finish(mut self) -> Option<Vec<Element>> {
        if self.malformed {
            return None;
        }
        let mut bounds = std::mem::take(&mut self.bounds).into_iter().peekable();
        while let Some(bound) = bounds.next() {
            // nft writes an end for the addresses below the first range.
            if !bound.start {
                continue;
            }
            let last = match bounds.peek() {
                Some(next) => before(next.addr)?,
                None => last_address(self.family),
            };
            let key = Key::Network(network(bound.addr, last)?);
            self.elements.push(Element { set: self.set, key, value: None, comment: bound.comment });
        }
        Some(self.elements)
    }

    /// Sorts the entries; true if there are duplicates.
    ///
    /// The kernel dumps a hash table in parts and resumes by counting. If it resizes the table in between, which happens shortly
    /// after many elements were added, it leaves out as many elements as it dumps twice.
    pub fn sort_and_find_duplicates(&mut self) -> bool {
        self.bounds.sort_unstable();
        self.elements.sort_unstable_by_key(|element| element.key);
        self.elements.windows(2).any(|pair| pair[0].key == pair[1].key)
            || self.bounds.windows(2).any(|pair| (pair[0].addr, pair[0].start) == (pair[1].addr, pair[1].start))
    }

    /// Decodes an entry that is an element.
    fn element(&mut self, entry: Attributes<'_>) -> Option<()> {
        let definition = self.set.definition();
        let (mut key, mut value, mut note, mut expiration) = (None, None, None, None);
        for (kind, contents) in entry {
            match kind {
                NFTA_SET_ELEM_KEY => key = Some(contents),
                NFTA_SET_ELEM_DATA => value = Some(contents),
                NFTA_SET_ELEM_USERDATA => note = comment(contents),
                NFTA_SET_ELEM_EXPIRATION => expiration = contents.try_into().ok().map(u64::from_be_bytes),
                // A catch-all element or a range, for example.
                NFTA_SET_ELEM_FLAGS | NFTA_SET_ELEM_KEY_END => return None,
                _ => {}
            }
        }
        let fields = decode_fields(self.family, definition.key, Attributes(key?).find(NFTA_DATA_VALUE)?)?;
        let key = Key::from_fields(self.family, self.set, &fields)?;
        if value.is_some() != definition.is_map() {
            return None;
        }
        self.expirations.extend(expiration.map(|milliseconds| (key, Duration::from_millis(milliseconds))));
        let mut element = Element { comment: note.map(Arc::from), ..Element::member(self.set, key) };
        match value.map(Attributes) {
            Some(value) if definition.verdict => {
                let verdict = value.nest(NFTA_DATA_VERDICT)?;
                let leads_to = element.chain();
                if verdict.i32(NFTA_VERDICT_CODE) != Some(NFT_JUMP)
                    || verdict.name(NFTA_VERDICT_CHAIN) != leads_to.as_ref().map(|chain| &*chain.0)
                {
                    return None;
                }
            }
            Some(value) => {
                let fields = decode_fields(self.family, definition.data, value.find(NFTA_DATA_VALUE)?)?;
                element.value = Some(Value::from_fields(&fields)?);
            }
            None => {}
        }
        self.elements.push(element);
        Some(())
    }

    /// Decodes an entry that is a bound of a range.
    fn bound(&mut self, entry: Attributes<'_>) -> Option<()> {
        let flags = entry.u32(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
        let key = entry.nest(NFTA_SET_ELEM_KEY)?.find(NFTA_DATA_VALUE)?;
        let [KeyField::Addr(addr)] = *decode_fields(self.family, self.set.definition().key, key)? else { return None };
        let note = entry.find(NFTA_SET_ELEM_USERDATA).and_then(comment);
        let start = flags & NFT_SET_ELEM_INTERVAL_END == 0;
        self.bounds.push(RangeBound { addr, start, comment: note.map(Arc::from) });
        (flags & !NFT_SET_ELEM_INTERVAL_END == 0).then_some(())
    }
}

/// The key of an entry of a set; `None` if it is not as the program would write it.
pub(super) fn decode_key(family: Family, set: SetName, entry: Attributes<'_>) -> Option<Key> {
    let key = entry.nest(NFTA_SET_ELEM_KEY)?.find(NFTA_DATA_VALUE)?;
    Key::from_fields(family, set, &decode_fields(family, set.definition().key, key)?)
}

/// Decodes fields; `None` if their length is wrong, or a protocol is none of Services.
fn decode_fields(family: Family, definition: &[Field], mut bytes: &[u8]) -> Option<KeyFields> {
    let mut decoded = KeyFields::default();
    for field in definition {
        let length = type_of(family, *field).length;
        let padded = if definition.len() > 1 { length.next_multiple_of(4) } else { length };
        let (value, rest) = (bytes.get(..length)?, bytes.get(padded..)?);
        decoded.push(decode_field(*field, value)?)?;
        bytes = rest;
    }
    // The kernel pads data that is shorter than a register.
    (bytes.len() < 4).then_some(decoded)
}

fn decode_field(field: Field, bytes: &[u8]) -> Option<KeyField> {
    Some(match field {
        Field::Saddr | Field::Daddr => KeyField::Addr(match bytes.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        }),
        Field::L4Proto => {
            let number = *bytes.first()?;
            KeyField::Protocol(Protocol::from_number(number)?)
        }
        Field::Dport | Field::OriginalDport => KeyField::Port(u16::from_be_bytes(bytes.try_into().ok()?)),
        Field::Slot => KeyField::Slot(host_u32(bytes)?),
        Field::Id => KeyField::Id(EndpointId(host_u32(bytes)?)),
    })
}

/// The address before this one; `None` for the first of all.
fn before(addr: IpAddr) -> Option<IpAddr> {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().checked_sub(1).map(|next| Ipv4Addr::from_bits(next).into()),
        IpAddr::V6(addr) => addr.to_bits().checked_sub(1).map(|next| Ipv6Addr::from_bits(next).into()),
    }
}

/// The last address of a family.
fn last_address(family: Family) -> IpAddr {
    match family {
        Family::Ip => Ipv4Addr::BROADCAST.into(),
        Family::Ip6 => Ipv6Addr::from_bits(u128::MAX).into(),
    }
}

/// The network from `first` to `last`; `None` if there is none.
fn network(first: IpAddr, last: IpAddr) -> Option<IpNet> {
    let (differing, width) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (u128::from(first.to_bits() ^ last.to_bits()), 32),
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits() ^ last.to_bits(), 128),
        _ => return None,
    };
    let host_bits = u128::BITS - differing.leading_zeros();
    let network = IpNet::new(first, u8::try_from(width - host_bits).ok()?).ok()?;
    (network.network() == first && network.broadcast() == last).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::netlink::elements::put;
    use crate::dataplane::{Endpoint, EndpointList, Frontend};
    use crate::netlink::MessageWriter;

    /// Encodes elements and decodes them.
    fn round_trip(set: SetName, elements: &[Element]) -> Option<Vec<Element>> {
        let mut writer = MessageWriter::default();
        elements.iter().for_each(|element| put(&mut writer, element, true));
        let mut decoder = ElementDecoder::new(elements[0].family(), set);
        Attributes(&writer.bytes).for_each(|(_, entry)| decoder.push(Attributes(entry)));
        assert!(!decoder.sort_and_find_duplicates(), "no duplicates");
        decoder.finish()
    }

    #[test]
    fn an_element_that_is_dumped_twice_is_noticed() {
        let frontend = |port| Frontend { addr: [10, 96, 0, 1].into(), protocol: Protocol::Tcp, port };
        let member = |port| Element::member(SetName::External, Key::Frontend(frontend(port)));
        let mut writer = MessageWriter::default();
        [member(1), member(2), member(1)].iter().for_each(|element| put(&mut writer, element, true));
        let mut decoder = ElementDecoder::new(Family::Ip, SetName::External);
        Attributes(&writer.bytes).for_each(|(_, entry)| decoder.push(Attributes(entry)));
        assert!(decoder.sort_and_find_duplicates());
    }

    #[test]
    fn slots_are_decoded_in_both_families() {
        for (addr, to) in [("10.96.0.1", "10.1.0.2"), ("fd00:96::1", "fd00::2")] {
            let frontend = Frontend { addr: addr.parse().unwrap(), protocol: Protocol::Sctp, port: 53 };
            let endpoint = Endpoint { addr: to.parse().unwrap(), port: 8080 };
            let element = Element {
                comment: Some("x/y:z".into()),
                ..Element::slot(EndpointList::Any, frontend, 65_535, endpoint)
            };
            assert_eq!(
                round_trip(SetName::Endpoints(EndpointList::Any), std::slice::from_ref(&element)),
                Some(vec![element])
            );
        }
    }

    #[test]
    fn ranges_are_decoded_also_at_the_ends_of_the_address_space() {
        for texts in [
            vec!["10.96.0.0/16", "10.97.0.0/16", "10.98.0.1/32", "255.255.255.255/32"],
            vec!["0.0.0.0/8", "240.0.0.0/4"],
            vec!["0.0.0.0/0"],
            vec!["::/64", "fd00:96::/112", "fd00:96::1:0/128", "ffff::/16"],
            vec!["::/0"],
        ] {
            let network = |text: &&str| Element::member(SetName::ServiceCidrs, Key::Network(text.parse().unwrap()));
            let elements: Vec<Element> = texts.iter().map(network).collect();
            assert_eq!(round_trip(SetName::ServiceCidrs, &elements), Some(elements.clone()), "{texts:?}");
        }
    }

    #[test]
    fn sources_are_decoded() {
        for (addr, sources) in [
            ("192.0.2.1", ["10.0.0.0/8", "0.0.0.0/0", "255.255.255.255/32"]),
            ("2001:db8::1", ["fd00::/61", "::/0", "fd01::1/128"]),
        ] {
            let frontend = Frontend { addr: addr.parse().unwrap(), protocol: Protocol::Udp, port: 53 };
            for source in sources.map(|text| text.parse().unwrap()) {
                let element = Element::source(frontend, source);
                assert_eq!(round_trip(element.set, std::slice::from_ref(&element)), Some(vec![element]));
            }
        }
    }

    #[test]
    fn ranges_that_are_no_networks_and_foreign_protocols_are_malformed() {
        let addr = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(addr("10.0.0.0"), addr("10.0.0.2")), None);
        assert_eq!(network(addr("10.0.0.1"), addr("10.0.0.2")), None);
        assert_eq!(network(addr("10.0.0.2"), addr("10.0.0.1")), None);
        assert_eq!(decode_field(Field::L4Proto, &[1]), None);
    }
}
