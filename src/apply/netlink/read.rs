//! Reading a table back.
//!
//! Tolerant of everything that is not ours: unknown objects are noted or skipped, never an error.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::time::Duration;

use nix::libc::ENOENT;

use super::abi::*;
use super::collect::Collector;
use super::encode::{hook_number, set_flags};
use super::parse::{Attributes, Message};
use super::socket::Socket;
use super::types::{Type, comment, same_types};
use super::write::Writer;
use crate::dataplane::{
    BaseChain, ChainContents, ChainType, Element, Family, Hook, SetContents, SetName, TableContents,
};

/// How often a table is read anew because something changed meanwhile.
///
/// Any change in the namespace counts as one, also of tables that are not ours. So the last attempt is taken as it is: our own
/// table is written by us, and what is missed shows when a batch is refused.
const ATTEMPTS: usize = 5;

/// How often the elements of a set are read anew because the kernel resizes it meanwhile, and how long to wait before: the first
/// time, and then twice as long each time.
const RESIZES: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);

/// Reads a table; `None` if there is no such table.
pub(super) fn table(socket: &mut Socket, family: Family, name: &str) -> Result<Option<TableContents>> {
    let mut reader = Reader { socket, family, name, consistent: true };
    for _ in 1..ATTEMPTS {
        let contents = reader.table()?;
        if reader.consistent {
            return Ok(contents);
        }
        reader.consistent = true;
    }
    reader.table()
}

/// Reads what packets remember; nothing if there is no such map.
pub(super) fn clients(socket: &mut Socket, family: Family, name: &str, set: SetName) -> Result<Vec<Element>> {
    let mut reader = Reader { socket, family, name, consistent: true };
    match reader.elements(set) {
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(Vec::new()),
        elements => Ok(elements?.unwrap_or_default()),
    }
}

struct Reader<'a> {
    socket: &'a mut Socket,
    family: Family,
    name: &'a str,
    consistent: bool,
}

impl Reader<'_> {
    fn table(&mut self) -> Result<Option<TableContents>> {
        // The table alone: the answer is one message, so an acknowledgement is asked for to know its end.
        match self.ask(NFT_MSG_GETTABLE, NLM_F_ACK, None, |_| {}) {
            Err(error) if error.raw_os_error() == Some(ENOENT) => return Ok(None),
            answer => answer?,
        }
        let mut contents = TableContents { chains: self.chains()?, ..TableContents::default() };
        for (chain, comments) in self.rules()? {
            let chain = contents.chains.entry(chain).or_default();
            comments.iter().for_each(|comment| chain.push_rule(comment.as_deref()));
        }
        for (name, set) in self.sets()? {
            // What packets remember is no part of the table.
            let mut recognised = set.ours.is_some_and(SetName::is_dynamic);
            if let Some(set) = set.ours.filter(|set| !set.is_dynamic())
                && let Some(elements) = self.elements(set)?
            {
                contents.elements.extend(elements);
                recognised = true;
            }
            contents.sets.insert(name, SetContents { is_map: set.is_map, recognised, capacity: set.capacity });
        }
        Ok(Some(contents))
    }

    fn chains(&mut self) -> Result<BTreeMap<String, ChainContents>> {
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
    fn rules(&mut self) -> Result<BTreeMap<String, Vec<Option<String>>>> {
        let mut rules: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
        self.dump(NFT_MSG_GETRULE, None, |rule| {
            if let Some(chain) = rule.name(NFTA_RULE_CHAIN) {
                let comment = rule.find(NFTA_RULE_USERDATA).and_then(comment);
                rules.entry(chain.to_owned()).or_default().push(comment.map(str::to_owned));
            }
        })?;
        Ok(rules)
    }

    fn sets(&mut self) -> Result<Vec<(String, Found)>> {
        let (mut sets, family) = (Vec::new(), self.family);
        self.dump(NFT_MSG_GETSET, None, |set| {
            if let Some(name) = set.name(NFTA_SET_NAME) {
                let is_map = set.u32(NFTA_SET_FLAGS).unwrap_or(0) & NFT_SET_MAP != 0;
                let ours = name.parse().ok().filter(|name| has_our_type(set, family, *name));
                let capacity = set.nest(NFTA_SET_DESC).and_then(|description| description.u32(NFTA_SET_DESC_SIZE));
                sets.push((name.to_owned(), Found { is_map, ours, capacity }));
            }
        })?;
        Ok(sets)
    }

    fn elements(&mut self, set: SetName) -> Result<Option<Vec<Element>>> {
        let mut pause = PAUSE;
        for _ in 0..RESIZES {
            let mut collector = Collector::new(self.family, set);
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

    fn ask(&mut self, kind: u16, flags: u16, set: Option<&str>, each: impl FnMut(&Message<'_>)) -> Result<()> {
        let mut request = Writer::default();
        let message = request.message(kind, NLM_F_REQUEST | flags, self.socket.sequence(), self.family);
        request.put_name(NFTA_TABLE_NAME, self.name);
        if let Some(set) = set {
            request.put_name(NFTA_SET_NAME, set);
        }
        request.end_message(message);
        self.consistent &= self.socket.request(&request.bytes, each)?;
        Ok(())
    }
}

/// A set as it was found.
#[derive(Clone, Copy)]
struct Found {
    is_map: bool,
    /// Its name, if it is of the type that the program gives this name.
    ours: Option<SetName>,
    /// How many elements it may have.
    capacity: Option<u32>,
}

/// Whether a set is what we would create under this name.
fn has_our_type(set: Attributes<'_>, family: Family, name: SetName) -> bool {
    let definition = name.definition();
    let is = |fields, number, length| {
        let wanted = Type::of(family, fields);
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
