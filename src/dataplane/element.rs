//! Elements: the entries of sets and maps, which represent the cluster.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::chain::ChainName;
use super::counted::Counted;
use super::key::{Endpoint, Family, Frontend, Protocol};
use super::set::{EndpointList, Field, SetName};

/// An entry of a set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// The set or map that it belongs to.
    pub set: SetName,
    /// Its key, with the fields that the set defines.
    pub key: Key,
    /// The data, for a map. A verdict map needs none: where its elements lead follows from their keys.
    pub value: Option<Value>,
    /// The service port that it belongs to, for readers of listings. At most 191 bytes of `[A-Za-z0-9-./:_]`.
    pub comment: Option<Arc<str>>,
}

/// The data of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An endpoint: `daddr . dport`.
    Endpoint(Endpoint),
    /// The id of an endpoint, as the priority of a packet.
    Id(EndpointId),
}

/// The id of an endpoint among those of its frontend: from 4000:1 to 7fff:ffff, as nft writes the priority of a packet.
///
/// Rules keep it in the packet's priority between two look-ups. The halves are those of a class of traffic control; the first is above
/// those that people and the kernel give to queueing disciplines, so that no class has this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// The key of an element, with its fields in nft's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `daddr`
    Addr(IpAddr),
    /// `daddr` or `saddr`, a range
    Network(IpNet),
    /// `daddr . l4proto . dport`; of a NodePort `l4proto . dport`
    Frontend(Frontend),
    /// The fields of a frontend, then `slot`
    Slot(Frontend, u32),
    /// `saddr . daddr . l4proto . dport`, with both addresses the endpoint's
    Hairpin(Endpoint, Protocol),
    /// The fields of a frontend, then the id of an endpoint
    ById(Frontend, EndpointId),
    /// `saddr`, a client
    Client(IpAddr),
}

/// One field of a key or of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyField {
    /// An address.
    Addr(IpAddr),
    /// A range.
    Network(IpNet),
    /// A transport protocol.
    Protocol(Protocol),
    /// A port.
    Port(u16),
    /// A slot number.
    Slot(u32),
    /// The id of an endpoint.
    Id(EndpointId),
}

/// The fields of a key or of data, without an allocation: a sync may take hundreds of thousands of keys apart.
#[derive(Clone, Copy, Debug)]
pub struct KeyFields {
    fields: [KeyField; KeyFields::MAX_FIELDS],
    count: usize,
}

impl Element {
    /// A member of a plain set.
    pub fn member(set: SetName, key: Key) -> Self {
        Self { set, key, value: None, comment: None }
    }

    /// A range of sources that may use a frontend.
    pub fn source(frontend: Frontend, source: IpNet) -> Self {
        Self::member(SetName::Sources(frontend), Key::Network(source))
    }

    /// A count of a frontend's connections.
    pub fn count(frontend: Frontend, counted: Counted) -> Self {
        Self::member(SetName::Counts(counted, frontend.is_node_port()), Key::Frontend(frontend))
    }

    /// The `slot`-th endpoint of one of a frontend's lists.
    pub fn slot(list: EndpointList, frontend: Frontend, slot: u32, endpoint: Endpoint) -> Self {
        let (set, value) = (SetName::Endpoints(list), Some(Value::Endpoint(endpoint)));
        Self { set, key: Key::Slot(frontend, slot), value, comment: None }
    }

    /// The id of the `slot`-th endpoint of one of a frontend's lists.
    pub fn id(list: EndpointList, frontend: Frontend, slot: u32, id: EndpointId) -> Self {
        let (set, value) = (SetName::EndpointIds(list), Some(Value::Id(id)));
        Self { set, key: Key::Slot(frontend, slot), value, comment: None }
    }

    /// The endpoint with this id in one of a frontend's lists.
    pub fn by_id(list: EndpointList, frontend: Frontend, id: EndpointId, endpoint: Endpoint) -> Self {
        let (set, value) = (SetName::EndpointsById(list), Some(Value::Endpoint(endpoint)));
        Self { set, key: Key::ById(frontend, id), value, comment: None }
    }

    /// The chain that a packet jumps to which finds this element of a verdict map; `None` in any other set.
    pub fn chain(&self) -> Option<ChainName> {
        match (self.set, self.key) {
            (SetName::AffinityChains(step, _), Key::Frontend(frontend)) => {
                Some(ChainName::with_affinity(step, frontend))
            }
            (SetName::SourceChecks, Key::Frontend(frontend)) => Some(ChainName::check_sources(frontend)),
            _ => None,
        }
    }

    /// The table that it belongs to.
    pub fn family(&self) -> Family {
        self.key.family()
    }

    /// The fields of the data; empty for a member of a plain set.
    pub fn value_fields(&self) -> KeyFields {
        self.value.map_or_else(KeyFields::default, |value| match value {
            Value::Endpoint(to) => KeyFields::from(&[KeyField::Addr(to.addr), KeyField::Port(to.port)][..]),
            Value::Id(id) => KeyFields::from(&[KeyField::Id(id)][..]),
        })
    }
}

impl Value {
    /// The data with these fields; `None` if there is no such data.
    pub fn from_fields(fields: &[KeyField]) -> Option<Self> {
        match fields {
            [KeyField::Addr(addr), KeyField::Port(port)] => Some(Self::Endpoint(Endpoint { addr: *addr, port: *port })),
            [KeyField::Id(id)] => Some(Self::Id(*id)),
            _ => None,
        }
    }

    /// The endpoint, if it is one.
    pub fn endpoint(self) -> Option<Endpoint> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            Self::Id(_) => None,
        }
    }

    /// The id, if it is one.
    pub fn id(self) -> Option<EndpointId> {
        match self {
            Self::Endpoint(_) => None,
            Self::Id(id) => Some(id),
        }
    }
}

impl EndpointId {
    /// An id for an endpoint: the same for the same endpoint, and hardly ever the same for two.
    pub fn from_hash(hash: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & 0xffff).unwrap_or(0);
        Self((half(hash >> 32) & 0x3fff | 0x4000) << 16 | half(hash).max(1))
    }

    /// The id to try next if another endpoint of the frontend has this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.0 {
            0x4000_0000..0x7fff_ffff if self.0 & 0xffff == 0xffff => Self(self.0 + 2),
            0x4000_0000..0x7fff_ffff => Self(self.0 + 1),
            _ => Self(0x4000_0001),
        }
    }
}

impl FromStr for EndpointId {
    type Err = ();

    /// Parses a priority as nft writes it.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once(':').ok_or(())?;
        let half = |text: &str| match text {
            "" => Ok(0),
            text => u16::from_str_radix(text, 16).map_err(|_| ()),
        };
        Ok(Self(u32::from(half(major)?) << 16 | u32::from(half(minor)?)))
    }
}

impl Key {
    /// The family of the key's address.
    pub fn family(&self) -> Family {
        match self {
            Self::Addr(addr) | Self::Client(addr) => Family::from_addr(*addr),
            Self::Network(network) => Family::from_addr(network.addr()),
            Self::Frontend(frontend) | Self::Slot(frontend, _) | Self::ById(frontend, _) => frontend.family(),
            Self::Hairpin(endpoint, _) => Family::from_addr(endpoint.addr),
        }
    }

    /// The fields, in the order of the set's definition.
    pub fn fields(&self) -> KeyFields {
        let frontend = |f: &Frontend| [KeyField::Addr(f.addr), KeyField::Protocol(f.protocol), KeyField::Port(f.port)];
        // NodePorts have no address.
        let from = |f: &Frontend| usize::from(f.is_node_port());
        let numbered = |f: &Frontend, number| {
            let [addr, protocol, port] = frontend(f);
            KeyFields::from(&[addr, protocol, port, number][from(f)..])
        };
        match self {
            Self::Addr(addr) | Self::Client(addr) => KeyFields::from(&[KeyField::Addr(*addr)][..]),
            Self::Network(network) => KeyFields::from(&[KeyField::Network(*network)][..]),
            Self::Frontend(f) => KeyFields::from(&frontend(f)[from(f)..]),
            Self::Slot(f, slot) => numbered(f, KeyField::Slot(*slot)),
            Self::ById(f, id) => numbered(f, KeyField::Id(*id)),
            Self::Hairpin(endpoint, protocol) => {
                let addr = KeyField::Addr(endpoint.addr);
                KeyFields::from(&[addr, addr, KeyField::Protocol(*protocol), KeyField::Port(endpoint.port)][..])
            }
        }
    }

    /// The key with these fields of an element of `set` in the table of `family`; `None` if they do not fit the set's definition.
    pub fn from_fields(family: Family, set: SetName, fields: &[KeyField]) -> Option<Self> {
        let frontend = |addr, protocol, port| Frontend { addr, protocol, port };
        let key = match (set, fields) {
            (SetName::ClusterIps | SetName::NodeportIps, [KeyField::Addr(addr)]) => Self::Addr(*addr),
            (SetName::ServiceCidrs | SetName::Sources(_), [KeyField::Network(network)]) => Self::Network(*network),
            (SetName::ServiceCidrs | SetName::Sources(_), [KeyField::Addr(addr)]) => Self::Network(IpNet::from(*addr)),
            (
                SetName::Hairpin,
                [KeyField::Addr(from), KeyField::Addr(to), KeyField::Protocol(protocol), KeyField::Port(port)],
            ) if from == to => Self::Hairpin(Endpoint { addr: *to, port: *port }, *protocol),
            (SetName::Clients(_), [KeyField::Addr(client)]) => Self::Client(*client),
            _ => match (set.definition().key, fields) {
                ([Field::Daddr, _, _], [KeyField::Addr(addr), KeyField::Protocol(protocol), KeyField::Port(port)]) => {
                    Self::Frontend(frontend(*addr, *protocol, *port))
                }
                ([Field::L4Proto, Field::Dport], [KeyField::Protocol(protocol), KeyField::Port(port)]) => {
                    Self::Frontend(Frontend::node_port(family, *protocol, *port))
                }
                (
                    [Field::Daddr, _, _, Field::Slot],
                    [KeyField::Addr(addr), KeyField::Protocol(protocol), KeyField::Port(port), KeyField::Slot(slot)],
                ) => Self::Slot(frontend(*addr, *protocol, *port), *slot),
                (
                    [Field::L4Proto, _, Field::Slot],
                    [KeyField::Protocol(protocol), KeyField::Port(port), KeyField::Slot(slot)],
                ) => Self::Slot(Frontend::node_port(family, *protocol, *port), *slot),
                (
                    [Field::Daddr, _, _, Field::Id],
                    [KeyField::Addr(addr), KeyField::Protocol(protocol), KeyField::Port(port), KeyField::Id(id)],
                ) => Self::ById(frontend(*addr, *protocol, *port), *id),
                (
                    [Field::L4Proto, _, Field::Id],
                    [KeyField::Protocol(protocol), KeyField::Port(port), KeyField::Id(id)],
                ) => Self::ById(Frontend::node_port(family, *protocol, *port), *id),
                _ => return None,
            },
        };
        (key.family() == family).then_some(key)
    }
}

impl KeyFields {
    /// The largest number of fields.
    pub const MAX_FIELDS: usize = 4;

    /// Appends a field; `None` if there are too many.
    pub fn push(&mut self, field: KeyField) -> Option<()> {
        *self.fields.get_mut(self.count)? = field;
        self.count += 1;
        Some(())
    }
}

impl From<&[KeyField]> for KeyFields {
    /// These fields. No key has more than [`KeyFields::MAX_FIELDS`].
    fn from(all: &[KeyField]) -> Self {
        let mut fields = Self { count: all.len().min(Self::MAX_FIELDS), ..Self::default() };
        fields.fields[..fields.count].copy_from_slice(&all[..fields.count]);
        fields
    }
}

impl Default for KeyFields {
    fn default() -> Self {
        Self { fields: [KeyField::Port(0); Self::MAX_FIELDS], count: 0 }
    }
}

impl Deref for KeyFields {
    type Target = [KeyField];

    fn deref(&self) -> &[KeyField] {
        &self.fields[..self.count]
    }
}

impl DerefMut for KeyFields {
    fn deref_mut(&mut self) -> &mut [KeyField] {
        &mut self.fields[..self.count]
    }
}

impl fmt::Display for KeyField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Protocol(protocol) => protocol.fmt(f),
            Self::Port(port) => port.fmt(f),
            Self::Slot(slot) => slot.fmt(f),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// The id as nft writes the priority of a packet: `4f3a:91c2`.
impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{:x}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// Writes fields joined by ` . `, as nft does.
fn write_concat(f: &mut fmt::Formatter<'_>, fields: &[KeyField]) -> fmt::Result {
    for (n, field) in fields.iter().enumerate() {
        if n > 0 {
            f.write_str(" . ")?;
        }
        write!(f, "{field}")?;
    }
    Ok(())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_concat(f, &self.fields())
    }
}

/// The element as nft text, without its set: `10.96.0.10 . tcp . 80 . 0 : 10.1.2.3 . 8080`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)?;
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{comment}\"")?;
        }
        if self.value.is_some() {
            f.write_str(" : ")?;
            write_concat(f, &self.value_fields())?;
        }
        if let Some(chain) = self.chain() {
            write!(f, " : jump {chain}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AffinityStep, SizeClass};
    use super::*;

    const FRONTEND: Frontend =
        Frontend { addr: IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1)), protocol: Protocol::Tcp, port: 80 };

    fn endpoint(addr: &str) -> Endpoint {
        Endpoint { addr: addr.parse().unwrap(), port: 8080 }
    }

    /// A key for each set, with its text.
    fn keys() -> Vec<(SetName, Key, &'static str)> {
        let hairpin = |addr| Key::Hairpin(endpoint(addr), Protocol::Udp);
        vec![
            (SetName::ClusterIps, Key::Addr(FRONTEND.addr), "10.96.0.1"),
            (SetName::ServiceCidrs, Key::Network("10.96.0.0/16".parse().unwrap()), "10.96.0.0/16"),
            (SetName::Internal(SizeClass::MAX), Key::Frontend(FRONTEND), "10.96.0.1 . tcp . 80"),
            (SetName::RejectServices, Key::Frontend(FRONTEND), "10.96.0.1 . tcp . 80"),
            (SetName::DropServices, Key::Frontend(FRONTEND), "10.96.0.1 . tcp . 80"),
            (SetName::Slots(EndpointList::Any, SizeClass::MAX), Key::Frontend(FRONTEND), "10.96.0.1 . tcp . 80"),
            (SetName::Nodeports, Key::Frontend(Frontend::node_port(Family::Ip, Protocol::Udp, 30_053)), "udp . 30053"),
            (
                SetName::Endpoints(EndpointList::NodeportLocal),
                Key::Slot(Frontend::node_port(Family::Ip6, Protocol::Udp, 30_053), 1),
                "udp . 30053 . 1",
            ),
            (SetName::Sources(FRONTEND), Key::Network("192.0.2.0/24".parse().unwrap()), "192.0.2.0/24"),
            (SetName::Hairpin, hairpin("fd00::1"), "fd00::1 . fd00::1 . udp . 8080"),
            (SetName::Clients(FRONTEND), Key::Client("10.1.0.9".parse().unwrap()), "10.1.0.9"),
            (SetName::EndpointIds(EndpointList::Any), Key::Slot(FRONTEND, 2), "10.96.0.1 . tcp . 80 . 2"),
            (
                SetName::EndpointsById(EndpointList::Local),
                Key::ById(FRONTEND, EndpointId(0x4f3a_91c2)),
                "10.96.0.1 . tcp . 80 . 4f3a:91c2",
            ),
            (
                SetName::EndpointsById(EndpointList::NodeportAny),
                Key::ById(Frontend::node_port(Family::Ip, Protocol::Udp, 30_053), EndpointId(0x4000_0001)),
                "udp . 30053 . 4000:1",
            ),
            (SetName::Endpoints(EndpointList::Any), Key::Slot(FRONTEND, 65_535), "10.96.0.1 . tcp . 80 . 65535"),
        ]
    }

    #[test]
    fn a_key_reads_like_nft_and_has_the_fields_of_its_set() {
        for (set, key, text) in keys() {
            assert_eq!(key.to_string(), text);
            assert_eq!(key.fields().len(), set.definition().key.len(), "{set}");
        }
    }

    #[test]
    fn a_key_is_built_from_its_own_fields_and_from_no_others() {
        for (set, key, _) in keys() {
            assert_eq!(Key::from_fields(key.family(), set, &key.fields()), Some(key));
            let other = if key.family() == Family::Ip { Family::Ip6 } else { Family::Ip };
            assert!(key.fields().len() < 3 || Key::from_fields(other, set, &key.fields()) != Some(key));
            assert_eq!(Key::from_fields(key.family(), set, &key.fields()[1..]), None);
            assert_eq!(Key::from_fields(key.family(), set, &[&key.fields()[..], &key.fields()].concat()), None);
            for (other, foreign, _) in keys() {
                // Source and destination addresses look the same in a key.
                let shape = |set: SetName| {
                    let key = set.definition().key.iter();
                    key.map(|field| if *field == Field::Saddr { Field::Daddr } else { *field }).collect::<Vec<_>>()
                };
                let fits = shape(other) == shape(set) && other.definition().interval == set.definition().interval;
                let single = set.definition().interval && shape(other) == [Field::Daddr];
                if other != set && !fits && !single {
                    assert_eq!(Key::from_fields(foreign.family(), set, &foreign.fields()), None, "{foreign} in {set}");
                }
            }
        }
    }

    #[test]
    fn an_id_is_parsed_as_it_is_written_and_neither_half_is_0() {
        for hash in [0, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            let mut id = EndpointId::from_hash(hash);
            for _ in 0..1_000 {
                assert_eq!(id.to_string().parse(), Ok(id));
                assert!(id.0 & 0xffff != 0 && (0x4000..0x8000).contains(&(id.0 >> 16)), "{id}");
                id = id.next();
            }
        }
        assert_eq!("4f3a:".parse(), Ok(EndpointId(0x4f3a_0000)), "nft leaves out a half that is 0");
        assert_eq!("none".parse::<EndpointId>(), Err(()));
    }

    #[test]
    fn a_single_address_is_a_range_of_one() {
        let key = Key::from_fields(Family::Ip, SetName::ServiceCidrs, &[KeyField::Addr(FRONTEND.addr)]);
        assert_eq!(key.map(|key| key.to_string()).as_deref(), Some("10.96.0.1/32"));
    }

    #[test]
    fn a_hairpin_is_a_connection_of_an_address_with_itself() {
        let [from, to] = ["10.1.0.1", "10.1.0.2"].map(|addr| KeyField::Addr(addr.parse().unwrap()));
        let rest = [KeyField::Protocol(Protocol::Tcp), KeyField::Port(80)];
        assert_eq!(Key::from_fields(Family::Ip, SetName::Hairpin, &[&[from, to][..], &rest].concat()), None);
    }

    #[test]
    fn an_element_reads_like_nft() {
        let member = Element::member(SetName::External, Key::Frontend(FRONTEND));
        let commented = Element { comment: Some("shop/web:http".into()), ..member.clone() };
        let slot = Element::slot(EndpointList::Any, FRONTEND, 3, endpoint("10.1.0.7"));
        assert_eq!(member.to_string(), "10.96.0.1 . tcp . 80");
        assert_eq!(commented.to_string(), "10.96.0.1 . tcp . 80 comment \"shop/web:http\"");
        assert_eq!(slot.to_string(), "10.96.0.1 . tcp . 80 . 3 : 10.1.0.7 . 8080");
        let id = Element::id(EndpointList::Any, FRONTEND, 3, EndpointId(0x4f3a_91c2));
        assert_eq!(id.to_string(), "10.96.0.1 . tcp . 80 . 3 : 4f3a:91c2");
        let leads = Element::member(SetName::AffinityChains(AffinityStep::Recall, false), Key::Frontend(FRONTEND));
        assert_eq!(leads.to_string(), "10.96.0.1 . tcp . 80 : jump recall-10.96.0.1-tcp-80");
        let checked = Element::member(SetName::SourceChecks, Key::Frontend(FRONTEND));
        assert_eq!(checked.to_string(), "10.96.0.1 . tcp . 80 : jump check-sources-10.96.0.1-tcp-80");
    }

    #[test]
    fn the_address_decides_the_family() {
        assert_eq!(Element::member(SetName::External, Key::Frontend(FRONTEND)).family(), Family::Ip);
        for key in [
            Key::Addr("fd00::1".parse().unwrap()),
            Key::Network("fd00::/64".parse().unwrap()),
            Key::Hairpin(endpoint("fd00::1"), Protocol::Tcp),
        ] {
            assert_eq!(key.family(), Family::Ip6, "{key}");
        }
    }
}
