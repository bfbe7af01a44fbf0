//! Reading the objects of a table back over one socket.
//!
//! Objects that the program does not know are recorded or skipped, never an error.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::time::Duration;

use nix::libc::ENOENT;

use super::abi::*;
use super::element_decoder::ElementDecoder;
use super::encode::{hook_number, set_flags};
use super::keyed_read;
use super::message::{begin_message, generation};
use super::rule_decoder;
use super::types::{DataType, comment, same_types};
use crate::dataplane::{
    BaseChain, ChainContents, ChainType, Element, Family, Frontend, Hook, Rule, SetContents, SetName,
};
use crate::netlink::abi::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use crate::netlink::{Attributes, MessageWriter, NetfilterSocket, NetlinkMessage};

/// How often the elements of a set are read while the kernel resizes the set.
const MAX_ATTEMPTS_WHILE_RESIZING: usize = 8;
/// How long to wait before the second attempt. The pause doubles with each further one.
const FIRST_RESIZE_PAUSE: Duration = Duration::from_millis(10);

/// Reads the clients that a frontend remembers; none if it has no map of clients.
pub(super) fn clients(socket: &mut NetfilterSocket, frontend: Frontend, name: &str) -> Result<Vec<Element>> {
    match TableReader::new(socket, frontend.family(), name).elements(SetName::Clients(frontend)) {
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(Vec::new()),
        elements => Ok(elements?.unwrap_or_default()),
    }
}

/// Reads the clients that a frontend remembers, each with the time until it is forgotten.
pub(super) fn timed_clients(
    socket: &mut NetfilterSocket,
    frontend: Frontend,
    name: &str,
) -> Result<Vec<(Element, Option<Duration>)>> {
    match TableReader::new(socket, frontend.family(), name).decoded(SetName::Clients(frontend)) {
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(Vec::new()),
        decoded => {
            let mut decoder = decoded?;
            let expirations = std::mem::take(&mut decoder.expirations);
            let elements = decoder.finish().unwrap_or_default();
            let timed = elements.into_iter().map(|element| {
                let left = expirations.get(&element.key).copied();
                (element, left)
            });
            Ok(timed.collect())
        }
    }
}

/// The number of clients of each frontend, including expired ones that the kernel has not removed yet. None if there is no table, or the
/// kernel does not count.
pub(super) fn count_clients(
    socket: &mut NetfilterSocket,
    family: Family,
    name: &str,
) -> Result<BTreeMap<Frontend, u32>> {
    let mut counts = BTreeMap::new();
    let answer = TableReader::new(socket, family, name).dump(NFT_MSG_GETSET, None, |set| {
        let name = set.name(NFTA_SET_NAME).and_then(|name| name.parse::<SetName>().ok());
        let frontend = name.filter(|name| name.is_dynamic()).and_then(|name| name.frontend());
        counts.extend(frontend.zip(set.u32(NFTA_SET_COUNT)));
    });
    match answer {
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(BTreeMap::new()),
        answer => answer.map(|()| counts),
    }
}

/// Reads a table over one socket.
pub(super) struct TableReader<'a> {
    socket: &'a mut NetfilterSocket,
    family: Family,
    name: &'a str,
    /// Whether no answer so far shows a change since the first one.
    consistent: bool,
    /// The generation of the ruleset in the first answer.
    generation: Option<u16>,
}

/// A set as the kernel describes it.
pub(super) struct FoundSet {
    pub name: String,
    pub is_map: bool,
    /// The program's set of this name, if it has the same type.
    pub known: Option<SetName>,
    /// The maximum number of elements.
    pub capacity: Option<u32>,
    /// The number of elements, if the kernel counts them.
    pub count: Option<usize>,
}

impl FoundSet {
    /// The set without its elements. `recognised`: the type is the program's, and all elements could be read.
    pub fn contents(&self, recognised: bool) -> SetContents {
        // The kernel gives these a limit once a rule refers to them.
        let is_counts = matches!(self.known, Some(SetName::Counts(..)));
        let capacity = self.capacity.filter(|_| !is_counts);
        SetContents { is_map: self.is_map, recognised, capacity }
    }
}

impl<'a> TableReader<'a> {
    pub fn new(socket: &'a mut NetfilterSocket, family: Family, name: &'a str) -> Self {
        Self { socket, family, name, consistent: true, generation: None }
    }

    /// Whether everything so far was read from one generation of the ruleset.
    pub fn is_consistent(&self) -> bool {
        self.consistent
    }

    /// Expects the generation that another reader saw.
    pub fn expect_generation_of(&mut self, other: &Self) {
        self.generation = other.generation;
    }

    /// The kernel's number of the table; `None` if there is no such table.
    pub fn table(&mut self) -> Result<Option<u64>> {
        let mut handle = None;
        // The answer is a single message. The acknowledgement tells its end.
        let answer = self.ask(NFT_MSG_GETTABLE, NLM_F_ACK, None, |message| {
            let number = message.attributes().find(NFTA_TABLE_HANDLE).and_then(|number| number.try_into().ok());
            handle = Some(number.map_or(0, u64::from_be_bytes));
        });
        match answer {
            Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(None),
            answer => answer.map(|()| handle),
        }
    }

    /// The chains by name, without their rules.
    fn chains(&mut self) -> Result<BTreeMap<String, ChainContents>> {
        let mut chains = BTreeMap::new();
        self.dump(NFT_MSG_GETCHAIN, None, |chain| {
            if let Some(name) = chain.name(NFTA_CHAIN_NAME) {
                let base = parse_base(chain);
                let foreign_base = chain.nest(NFTA_CHAIN_HOOK).is_some() && base.is_none();
                chains.insert(name.to_owned(), ChainContents { base, foreign_base, ..ChainContents::default() });
            }
        })?;
        Ok(chains)
    }

    /// The chains by name, with what their rules show. The fingerprint is that of the rules themselves, if it is also the one in the
    /// comment: a rule that was edited leaves its chain without a fingerprint.
    pub fn chains_with_rules(&mut self) -> Result<BTreeMap<String, ChainContents>> {
        let (mut chains, family) = (self.chains()?, self.family);
        let mut rules: BTreeMap<String, Option<Vec<Rule>>> = BTreeMap::new();
        self.dump(NFT_MSG_GETRULE, None, |rule| {
            let Some(name) = rule.name(NFTA_RULE_CHAIN) else { return };
            let comment = rule.find(NFTA_RULE_USERDATA).and_then(comment);
            chains.entry(name.to_owned()).or_default().push_rule(comment);
            let decoded = rule_decoder::decode(family, rule.nest(NFTA_RULE_EXPRESSIONS).unwrap_or(Attributes(&[])));
            let of_chain = rules.entry(name.to_owned()).or_insert_with(|| Some(Vec::new()));
            match (of_chain.as_mut(), decoded) {
                (Some(known), Some(rule)) => known.push(rule),
                _ => *of_chain = None,
            }
        })?;
        for (name, chain) in &mut chains {
            let rules = rules.remove(name).flatten();
            chain.fingerprint = rule_decoder::confirmed(chain.fingerprint, rules.as_deref());
        }
        Ok(chains)
    }

    /// The sets and maps.
    pub fn sets(&mut self) -> Result<Vec<FoundSet>> {
        let (mut sets, family) = (Vec::new(), self.family);
        self.dump(NFT_MSG_GETSET, None, |set| {
            if let Some(name) = set.name(NFTA_SET_NAME) {
                sets.push(FoundSet {
                    name: name.to_owned(),
                    is_map: set.u32(NFTA_SET_FLAGS).unwrap_or(0) & NFT_SET_MAP != 0,
                    known: name.parse().ok().filter(|name| has_type_of(set, family, *name)),
                    capacity: set.nest(NFTA_SET_DESC).and_then(|description| description.u32(NFTA_SET_DESC_SIZE)),
                    count: set.u32(NFTA_SET_COUNT).and_then(|count| usize::try_from(count).ok()),
                });
            }
        })?;
        Ok(sets)
    }

    /// Elements of a map by their keys; `None` if an answer is missing or unexpected.
    pub fn elements_by_key(
        &mut self,
        map: keyed_read::EndpointMap<'_>,
        requests: &keyed_read::SlotRequests,
    ) -> Result<Option<Vec<Element>>> {
        let (consistent, generation) = (&mut self.consistent, &mut self.generation);
        keyed_read::read_elements(self.socket, self.family, self.name, map, requests, |message| {
            *consistent &= is_of_generation(message, generation);
        })
    }

    /// The elements of a set, from a dump; `None` if one is not as the program would write it.
    pub fn elements(&mut self, set: SetName) -> Result<Option<Vec<Element>>> {
        self.decoded(set).map(ElementDecoder::finish)
    }

    /// All entries of a set, from a dump.
    fn decoded(&mut self, set: SetName) -> Result<ElementDecoder> {
        let mut pause = FIRST_RESIZE_PAUSE;
        for _ in 0..MAX_ATTEMPTS_WHILE_RESIZING {
            let mut decoder = ElementDecoder::new(self.family, set);
            self.entries(set, |entry| decoder.push(entry))?;
            if !decoder.sort_and_find_duplicates() {
                return Ok(decoder);
            }
            tracing::debug!(%set, "the kernel resized a set while it was read: reading it again");
            std::thread::sleep(pause);
            pause *= 2;
        }
        Err(Error::other(format!(
            "the kernel resized the set {set} during each of {MAX_ATTEMPTS_WHILE_RESIZING} attempts to read it"
        )))
    }

    /// Hands over every entry of a set, from a dump, in the kernel's order.
    pub fn entries(&mut self, set: SetName, mut each: impl FnMut(Attributes<'_>)) -> Result<()> {
        self.dump(NFT_MSG_GETSETELEM, Some(&set.to_string()), |list| {
            let entries = list.nest(NFTA_SET_ELEM_LIST_ELEMENTS).into_iter().flatten();
            entries.for_each(|(_, entry)| each(Attributes(entry)));
        })
    }

    /// Dumps the objects of one kind. In messages of every kind the first attribute is the table's name and the second the set's.
    fn dump(&mut self, kind: u16, set: Option<&str>, mut each: impl FnMut(Attributes<'_>)) -> Result<()> {
        let name = self.name;
        self.ask(kind, NLM_F_DUMP, set, |message| {
            let attributes = message.attributes();
            // Some kernels dump the objects of all tables.
            if attributes.name(NFTA_TABLE_NAME) == Some(name) {
                each(attributes);
            }
        })
    }

    /// Sends a request about the table, or one of its sets, and notes whether the answer is of the same generation.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        set: Option<&str>,
        mut each: impl FnMut(&NetlinkMessage<'_>),
    ) -> Result<()> {
        let mut request = MessageWriter::default();
        let message = begin_message(&mut request, kind, NLM_F_REQUEST | flags, self.socket.sequence(), self.family);
        request.put_name(NFTA_TABLE_NAME, self.name);
        if let Some(set) = set {
            request.put_name(NFTA_SET_NAME, set);
        }
        request.end_message(message);
        let (mut same_generation, generation) = (true, &mut self.generation);
        same_generation &= self.socket.request(&request.bytes, |message| {
            same_generation &= is_of_generation(message, generation);
            each(message);
        })?;
        self.consistent &= same_generation;
        Ok(())
    }
}

/// Whether a message is of this generation of the ruleset. The first message decides which generation that is.
fn is_of_generation(message: &NetlinkMessage<'_>, expected: &mut Option<u16>) -> bool {
    let found = generation(message);
    found == Some(*expected.get_or_insert(found.unwrap_or_default()))
}

/// Whether a set has the type that the program gives this name.
fn has_type_of(set: Attributes<'_>, family: Family, name: SetName) -> bool {
    let definition = name.definition();
    let has = |fields, number, length| {
        let wanted = DataType::of_fields(family, fields);
        set.u32(number) == Some(wanted.number)
            && set.u32(length).and_then(|length| usize::try_from(length).ok()) == Some(wanted.length)
    };
    set.u32(NFTA_SET_FLAGS).unwrap_or(0) == set_flags(name)
        && has(definition.key, NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN)
        && match (definition.verdict, definition.is_map()) {
            (true, _) => set.u32(NFTA_SET_DATA_TYPE) == Some(NFT_DATA_VERDICT),
            (false, true) => has(definition.data, NFTA_SET_DATA_TYPE, NFTA_SET_DATA_LEN),
            (false, false) => true,
        }
        && same_types(set.find(NFTA_SET_USERDATA).unwrap_or_default(), family, &definition)
}

/// Where a base chain is attached; `None` if the program never attaches one so.
fn parse_base(chain: Attributes<'_>) -> Option<BaseChain> {
    let attached = chain.nest(NFTA_CHAIN_HOOK)?;
    let (number, kind) = (attached.u32(NFTA_HOOK_HOOKNUM)?, chain.name(NFTA_CHAIN_TYPE)?);
    let hook = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]
        .into_iter()
        .find(|hook| hook_number(*hook) == number)?;
    let kind = [ChainType::Filter, ChainType::Nat].into_iter().find(|known| known.nft() == kind)?;
    let priority = i32::from_be_bytes(attached.find(NFTA_HOOK_PRIORITY)?.try_into().ok()?);
    (chain.u32(NFTA_CHAIN_POLICY) == Some(NF_ACCEPT)).then_some(BaseChain { kind, hook, priority })
}
