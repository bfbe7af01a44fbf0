//! Reading the objects of a table back.
//!
//! Tolerant of everything that is not ours: unknown objects are noted or skipped, never an error.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::time::Duration;

use nix::libc::ENOENT;

use super::abi::*;
use super::element_decoder::ElementDecoder;
use super::encode::{hook_number, set_flags};
use super::keyed_read;
use super::message::{begin_message, generation};
use super::types::{DataType, comment, same_types};
use crate::dataplane::{BaseChain, ChainContents, ChainType, Element, Family, Hook, SetContents, SetName};
use crate::netlink::abi::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use crate::netlink::{Attributes, MessageWriter, NetfilterSocket, NetlinkMessage};

/// How often the elements of a set are read anew because the kernel resizes it meanwhile, and how long to wait before: the first
/// time, and then twice as long each time.
const RESIZES: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);

/// Reads what packets remember; nothing if there is no such map.
pub(super) fn clients(socket: &mut NetfilterSocket, family: Family, name: &str, set: SetName) -> Result<Vec<Element>> {
    match TableReader::new(socket, family, name).elements(set) {
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(Vec::new()),
        elements => Ok(elements?.unwrap_or_default()),
    }
}

/// How many elements a set holds, expired ones that the kernel has not removed yet included; `None` if there is no such set, or the
/// kernel does not tell.
pub(super) fn count(socket: &mut NetfilterSocket, family: Family, name: &str, set: SetName) -> Result<Option<u32>> {
    let mut count = None;
    let answer =
        TableReader::new(socket, family, name).ask(NFT_MSG_GETSET, NLM_F_ACK, Some(&set.to_string()), |message| {
            count = message.attributes().u32(NFTA_SET_COUNT);
        });
    match answer {
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(None),
        answer => answer.map(|()| count),
    }
}

/// Reads a table over one socket.
pub(super) struct TableReader<'a> {
    socket: &'a mut NetfilterSocket,
    family: Family,
    name: &'a str,
    /// Nothing has changed since the first answer.
    consistent: bool,
    /// The generation of the ruleset that the first answer was of.
    generation: Option<u16>,
}

/// A set as it was found.
pub(super) struct FoundSet {
    pub name: String,
    pub is_map: bool,
    /// Its name, if it is of the type that the program gives this name.
    pub ours: Option<SetName>,
    /// How many elements it may have.
    pub capacity: Option<u32>,
    /// How many elements it has, if the kernel says so.
    pub count: Option<usize>,
}

impl FoundSet {
    /// What decides whether it is as the program wants it.
    pub fn contents(&self, recognised: bool) -> SetContents {
        SetContents { is_map: self.is_map, recognised, capacity: self.capacity }
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

    /// Expects the generation that another reader sees.
    pub fn follow(&mut self, other: &Self) {
        self.generation = other.generation;
    }

    /// Whether there is such a table.
    pub fn is_there(&mut self) -> Result<bool> {
        // The table alone: the answer is one message, so an acknowledgement is asked for to know its end.
        match self.ask(NFT_MSG_GETTABLE, NLM_F_ACK, None, |_| {}) {
            Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(false),
            answer => answer.map(|()| true),
        }
    }

    pub fn chains(&mut self) -> Result<BTreeMap<String, ChainContents>> {
        let mut chains = BTreeMap::new();
        self.dump(NFT_MSG_GETCHAIN, None, |chain| {
            if let Some(name) = chain.name(NFTA_CHAIN_NAME) {
                let base = base(chain);
                let foreign_base = chain.nest(NFTA_CHAIN_HOOK).is_some() && base.is_none();
                chains.insert(name.to_owned(), ChainContents { base, foreign_base, ..ChainContents::default() });
            }
        })?;
        Ok(chains)
    }

    /// The comments of the rules of each chain, in order.
    pub fn rules(&mut self) -> Result<BTreeMap<String, Vec<Option<String>>>> {
        let mut rules: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
        self.dump(NFT_MSG_GETRULE, None, |rule| {
            if let Some(chain) = rule.name(NFTA_RULE_CHAIN) {
                let comment = rule.find(NFTA_RULE_USERDATA).and_then(comment);
                rules.entry(chain.to_owned()).or_default().push(comment.map(str::to_owned));
            }
        })?;
        Ok(rules)
    }

    pub fn sets(&mut self) -> Result<Vec<FoundSet>> {
        let (mut sets, family) = (Vec::new(), self.family);
        self.dump(NFT_MSG_GETSET, None, |set| {
            if let Some(name) = set.name(NFTA_SET_NAME) {
                sets.push(FoundSet {
                    name: name.to_owned(),
                    is_map: set.u32(NFTA_SET_FLAGS).unwrap_or(0) & NFT_SET_MAP != 0,
                    ours: name.parse().ok().filter(|name| has_our_type(set, family, *name)),
                    capacity: set.nest(NFTA_SET_DESC).and_then(|description| description.u32(NFTA_SET_DESC_SIZE)),
                    count: set.u32(NFTA_SET_COUNT).and_then(|count| usize::try_from(count).ok()),
                });
            }
        })?;
        Ok(sets)
    }

    /// Elements of a map by their keys; `None` if not everything was answered as expected.
    pub fn by_key(
        &mut self,
        map: keyed_read::EndpointMap<'_>,
        requests: &keyed_read::SlotRequests,
    ) -> Result<Option<Vec<Element>>> {
        let (consistent, generation) = (&mut self.consistent, &mut self.generation);
        keyed_read::ask(self.socket, self.family, self.name, map, requests, |message| {
            *consistent &= is_of_generation(message, generation);
        })
    }

    /// The elements of a set, from a dump; `None` if some are not what we would write.
    pub fn elements(&mut self, set: SetName) -> Result<Option<Vec<Element>>> {
        let mut pause = PAUSE;
        for _ in 0..RESIZES {
            let mut collector = ElementDecoder::new(self.family, set);
            self.dump(NFT_MSG_GETSETELEM, Some(&set.to_string()), |list| {
                let entries = list.nest(NFTA_SET_ELEM_LIST_ELEMENTS).into_iter().flatten();
                entries.for_each(|(_, entry)| collector.push(Attributes(entry)));
            })?;
            if !collector.sort() {
                return Ok(collector.finish());
            }
            tracing::debug!(%set, "the kernel is resizing a set while it is read: once more");
            std::thread::sleep(pause);
            pause *= 2;
        }
        Err(Error::other(format!("the set {set} did not come to rest while it was read")))
    }

    /// Dumps objects of one kind, in every kind of which the first attribute is the table's name and the second the set's.
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
        let (mut same, generation) = (true, &mut self.generation);
        same &= self.socket.request(&request.bytes, |message| {
            same &= is_of_generation(message, generation);
            each(message);
        })?;
        self.consistent &= same;
        Ok(())
    }
}

/// Whether a message is of this generation of the ruleset. The first message decides which generation that is.
fn is_of_generation(message: &NetlinkMessage<'_>, expected: &mut Option<u16>) -> bool {
    let found = generation(message);
    found == Some(*expected.get_or_insert(found.unwrap_or_default()))
}

/// Whether a set is what we would create under this name.
fn has_our_type(set: Attributes<'_>, family: Family, name: SetName) -> bool {
    let definition = name.definition();
    let is = |fields, number, length| {
        let wanted = DataType::of(family, fields);
        set.u32(number) == Some(wanted.number)
            && set.u32(length).and_then(|length| usize::try_from(length).ok()) == Some(wanted.length)
    };
    set.u32(NFTA_SET_FLAGS).unwrap_or(0) == set_flags(name)
        && is(definition.key, NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN)
        && (!definition.is_map() || is(definition.data, NFTA_SET_DATA_TYPE, NFTA_SET_DATA_LEN))
        && same_types(set.find(NFTA_SET_USERDATA).unwrap_or_default(), family, &definition)
}

/// Where the chain is attached, if the program could have written it so.
fn base(chain: Attributes<'_>) -> Option<BaseChain> {
    let attached = chain.nest(NFTA_CHAIN_HOOK)?;
    let (number, kind) = (attached.u32(NFTA_HOOK_HOOKNUM)?, chain.name(NFTA_CHAIN_TYPE)?);
    let hook = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]
        .into_iter()
        .find(|hook| hook_number(*hook) == number)?;
    let kind = [ChainType::Filter, ChainType::Nat].into_iter().find(|known| known.nft() == kind)?;
    let priority = i32::from_be_bytes(attached.find(NFTA_HOOK_PRIORITY)?.try_into().ok()?);
    (chain.u32(NFTA_CHAIN_POLICY) == Some(NF_ACCEPT)).then_some(BaseChain { kind, hook, priority })
}
