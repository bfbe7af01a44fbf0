//! Elements as they are read: the way back from the kernel's bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::abi::{
    NFT_SET_ELEM_INTERVAL_END, NFTA_DATA_VALUE, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_USERDATA,
};
use super::elements::protocol_number;
use super::parse::{Attributes, host_u32};
use super::types::{comment, type_of};
use crate::dataplane::{Element, Endpoint, Family, Field, Key, KeyField, KeyFields, Protocol, SetName};

/// Collects the elements of one set as they are read.
pub(super) struct Collector {
    family: Family,
    set: SetName,
    /// Whether entries are starts and ends of ranges.
    bounded: bool,
    elements: Vec<Element>,
    bounds: Vec<Bound>,
    odd: bool,
}

/// A start or an end of a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bound {
    addr: IpAddr,
    /// An end belongs to the range before it, so it comes before a start at the same address.
    start: bool,
    comment: Option<Arc<str>>,
}

impl Collector {
    pub fn new(family: Family, set: SetName) -> Self {
        let definition = set.definition();
        // Ranges among several fields are entries with two keys.
        let bounds = definition.interval && definition.key.len() == 1;
        Self { family, set, bounded: bounds, elements: Vec::new(), bounds: Vec::new(), odd: false }
    }

    /// Takes an entry of the kernel's list.
    pub fn push(&mut self, entry: Attributes<'_>) {
        let taken = if self.bounded { self.bound(entry) } else { self.element(entry) };
        self.odd |= taken.is_none();
    }

    /// The elements; `None` if some are not what we would write.
    pub fn finish(mut self) -> Option<Vec<Element>> {
        if self.odd {
            return None;
        }
        let mut bounds = std::mem::take(&mut self.bounds).into_iter().peekable();
        while let Some(bound) = bounds.next() {
            // nft marks the addresses below the first range by an end.
            if !bound.start {
                continue;
            }
            let last = match bounds.peek() {
                Some(next) => before(next.addr)?,
                None => last(self.family),
            };
            let key = Key::Network(network(bound.addr, last)?);
            self.elements.push(Element { set: self.set, key, value: None, comment: bound.comment });
        }
        Some(self.elements)
    }

    /// Sorts what was taken; true if something was taken twice.
    ///
    /// The kernel dumps a hash table in parts and resumes by counting. When the table is resized in between, which happens shortly
    /// after many elements were added, as many elements are left out as are given twice.
    pub fn sort(&mut self) -> bool {
        self.bounds.sort_unstable();
        self.elements.sort_unstable_by_key(|element| element.key);
        self.elements.windows(2).any(|pair| pair[0].key == pair[1].key)
            || self.bounds.windows(2).any(|pair| (pair[0].addr, pair[0].start) == (pair[1].addr, pair[1].start))
    }

    fn element(&mut self, entry: Attributes<'_>) -> Option<()> {
        let definition = self.set.definition();
        let (mut key, mut key_end, mut value, mut note) = (None, None, None, None);
        for (kind, contents) in entry {
            match kind {
                NFTA_SET_ELEM_KEY => key = Some(contents),
                NFTA_SET_ELEM_KEY_END => key_end = Some(contents),
                NFTA_SET_ELEM_DATA => value = Some(contents),
                NFTA_SET_ELEM_USERDATA => note = comment(contents),
                // A catch-all element, for one.
                NFTA_SET_ELEM_FLAGS => return None,
                _ => {}
            }
        }
        let mut first = atoms(self.family, definition.key, Attributes(key?).find(NFTA_DATA_VALUE)?)?;
        if let Some(key_end) = key_end {
            join(&mut first, &atoms(self.family, definition.key, Attributes(key_end).find(NFTA_DATA_VALUE)?)?)?;
        }
        let key = Key::from_atoms(self.family, self.set, &first)?;
        let value = match value {
            None => None,
            Some(value) => match *atoms(self.family, definition.data, Attributes(value).find(NFTA_DATA_VALUE)?)? {
                [KeyField::Addr(addr), KeyField::Port(port)] => Some(Endpoint { addr, port }),
                _ => return None,
            },
        };
        if value.is_some() != definition.is_map() {
            return None;
        }
        self.elements.push(Element { set: self.set, key, value, comment: note.map(Arc::from) });
        Some(())
    }

    fn bound(&mut self, entry: Attributes<'_>) -> Option<()> {
        let flags = entry.u32(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
        let key = entry.nest(NFTA_SET_ELEM_KEY)?.find(NFTA_DATA_VALUE)?;
        let [KeyField::Addr(addr)] = *atoms(self.family, self.set.definition().key, key)? else { return None };
        let note = entry.find(NFTA_SET_ELEM_USERDATA).and_then(comment);
        let start = flags & NFT_SET_ELEM_INTERVAL_END == 0;
        self.bounds.push(Bound { addr, start, comment: note.map(Arc::from) });
        (flags & !NFT_SET_ELEM_INTERVAL_END == 0).then_some(())
    }
}

/// Makes networks of the addresses that differ; `None` if anything else does.
fn join(first: &mut KeyFields, last: &KeyFields) -> Option<()> {
    for (first, last) in first.iter_mut().zip(last.iter()).filter(|(first, last)| first != last) {
        let (KeyField::Addr(from), KeyField::Addr(to)) = (*first, *last) else { return None };
        *first = KeyField::Network(network(from, to)?);
    }
    Some(())
}

/// Takes bytes apart; `None` if their length is not that of the fields, or a protocol is not one of Services.
fn atoms(family: Family, fields: &[Field], mut bytes: &[u8]) -> Option<KeyFields> {
    let mut atoms = KeyFields::default();
    for field in fields {
        let length = type_of(family, *field).length;
        let padded = if fields.len() > 1 { length.next_multiple_of(4) } else { length };
        let (value, rest) = (bytes.get(..length)?, bytes.get(padded..)?);
        atoms.push(atom(*field, value)?)?;
        bytes = rest;
    }
    // The kernel pads what is shorter than a register.
    (bytes.len() < 4).then_some(atoms)
}

fn atom(field: Field, bytes: &[u8]) -> Option<KeyField> {
    Some(match field {
        Field::Saddr | Field::Daddr | Field::OriginalDaddr => KeyField::Addr(match bytes.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        }),
        Field::L4Proto => {
            let number = *bytes.first()?;
            KeyField::Protocol(Protocol::ALL.into_iter().find(|protocol| protocol_number(*protocol) == number)?)
        }
        Field::Dport | Field::OriginalDport => KeyField::Port(u16::from_be_bytes(bytes.try_into().ok()?)),
        Field::Slot => KeyField::Slot(host_u32(bytes)?),
    })
}

/// The address before this one; `None` for the first of all.
fn before(addr: IpAddr) -> Option<IpAddr> {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().checked_sub(1).map(|next| Ipv4Addr::from_bits(next).into()),
        IpAddr::V6(addr) => addr.to_bits().checked_sub(1).map(|next| Ipv6Addr::from_bits(next).into()),
    }
}

/// The last address of all.
fn last(family: Family) -> IpAddr {
    match family {
        Family::Ip => Ipv4Addr::BROADCAST.into(),
        Family::Ip6 => Ipv6Addr::from_bits(u128::MAX).into(),
    }
}

/// The network that begins and ends there, if there is one.
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
    use crate::apply::netlink::write::Writer;
    use crate::dataplane::{EndpointList, Frontend};

    /// Writes elements and reads them back.
    fn there_and_back(set: SetName, elements: &[Element]) -> Option<Vec<Element>> {
        let mut writer = Writer::default();
        elements.iter().for_each(|element| put(&mut writer, element, true));
        let mut collector = Collector::new(elements[0].family(), set);
        Attributes(&writer.bytes).for_each(|(_, entry)| collector.push(Attributes(entry)));
        assert!(!collector.sort(), "nothing twice");
        collector.finish()
    }

    #[test]
    fn an_element_that_is_dumped_twice_is_noticed() {
        let frontend = |port| Frontend { addr: [10, 96, 0, 1].into(), protocol: Protocol::Tcp, port };
        let member = |port| Element::member(SetName::External, Key::Frontend(frontend(port)));
        let mut writer = Writer::default();
        [member(1), member(2), member(1)].iter().for_each(|element| put(&mut writer, element, true));
        let mut collector = Collector::new(Family::Ip, SetName::External);
        Attributes(&writer.bytes).for_each(|(_, entry)| collector.push(Attributes(entry)));
        assert!(collector.sort());
    }

    #[test]
    fn slots_are_read_back_in_both_families() {
        for (addr, to) in [("10.96.0.1", "10.1.0.2"), ("fd00:96::1", "fd00::2")] {
            let frontend = Frontend { addr: addr.parse().unwrap(), protocol: Protocol::Sctp, port: 53 };
            let endpoint = Endpoint { addr: to.parse().unwrap(), port: 8080 };
            let element = Element {
                comment: Some("x/y:z".into()),
                ..Element::slot(EndpointList::Any, frontend, 65_535, endpoint)
            };
            assert_eq!(
                there_and_back(SetName::Endpoints(EndpointList::Any), std::slice::from_ref(&element)),
                Some(vec![element])
            );
        }
    }

    #[test]
    fn ranges_are_read_back_also_at_the_ends_of_the_address_space() {
        for texts in [
            vec!["10.96.0.0/16", "10.97.0.0/16", "10.98.0.1/32", "255.255.255.255/32"],
            vec!["0.0.0.0/8", "240.0.0.0/4"],
            vec!["0.0.0.0/0"],
            vec!["::/64", "fd00:96::/112", "fd00:96::1:0/128", "ffff::/16"],
            vec!["::/0"],
        ] {
            let network = |text: &&str| Element::member(SetName::ServiceCidrs, Key::Network(text.parse().unwrap()));
            let elements: Vec<Element> = texts.iter().map(network).collect();
            assert_eq!(there_and_back(SetName::ServiceCidrs, &elements), Some(elements.clone()), "{texts:?}");
        }
    }

    #[test]
    fn sources_are_read_back() {
        for (addr, sources) in [
            ("192.0.2.1", ["10.0.0.0/8", "0.0.0.0/0", "255.255.255.255/32"]),
            ("2001:db8::1", ["fd00::/61", "::/0", "fd01::1/128"]),
        ] {
            let frontend = Frontend { addr: addr.parse().unwrap(), protocol: Protocol::Udp, port: 53 };
            let source =
                |text: &str| Element::member(SetName::AllowedSources, Key::Source(frontend, text.parse().unwrap()));
            for element in sources.map(source) {
                let read = there_and_back(SetName::AllowedSources, std::slice::from_ref(&element));
                assert_eq!(read, Some(vec![element]));
            }
        }
    }

    #[test]
    fn ranges_that_are_no_networks_and_foreign_protocols_are_odd() {
        let addr = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(addr("10.0.0.0"), addr("10.0.0.2")), None);
        assert_eq!(network(addr("10.0.0.1"), addr("10.0.0.2")), None);
        assert_eq!(network(addr("10.0.0.2"), addr("10.0.0.1")), None);
        assert_eq!(atom(Field::L4Proto, &[1]), None);
    }
}
