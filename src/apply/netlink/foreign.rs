//! Tables, chains and rules of other programs in this network namespace: listing and removing them.
//!
//! iptables-nft keeps its rules in tables of nf_tables, so its programs are not needed to list them.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use super::abi::*;
use super::message::begin_message;
use super::{Netlink, errors, in_thread};
use crate::apply::Error;
use crate::dataplane::Family;
use crate::netlink::abi::{
    NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFPROTO_ARP, NFPROTO_BRIDGE, NFPROTO_INET,
    NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_NETDEV, NFPROTO_UNSPEC, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST,
};
use crate::netlink::{Attributes, MessageWriter, NetfilterSocket, NetlinkMessage, nfproto};

/// How often a listing is tried. Any change in the namespace meanwhile makes it fail.
const MAX_ATTEMPTS: usize = 20;
/// How long to wait before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// Bounds the removals in one batch, and so the time that the kernel is busy with it.
const MAX_REMOVALS_PER_BATCH: usize = 5_000;

/// A table of nf_tables, of any program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignTable {
    /// The name of its family in nft: `ip`, `ip6`, `inet`, `arp`, `bridge` or `netdev`.
    pub family: &'static str,
    /// Its name.
    pub name: String,
}

/// A chain of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    /// Its table.
    pub table: ForeignTable,
    /// Its name.
    pub name: String,
    /// Where it is attached; `None` for a chain that is only jumped to.
    pub base: Option<ForeignHook>,
}

/// Where a base chain is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignHook {
    /// The hook's number (`NF_INET_FORWARD` is 2).
    pub hook: u32,
    /// Whether the chain's policy is to drop.
    pub drops: bool,
}

/// A rule of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRule {
    /// The chain that it is in.
    pub chain: String,
    /// The kernel's number for it, unique in its table.
    pub handle: u64,
    /// The chain that it jumps or goes to.
    pub target: Option<String>,
}

/// An object to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A table with all its contents.
    Table(Family, String),
    /// One rule of a table and chain, by its handle.
    Rule(Family, String, String, u64),
    /// All rules of a chain of a table.
    Rules(Family, String, String),
    /// An empty chain of a table that nothing jumps to.
    Chain(Family, String, String),
}

impl Netlink {
    /// Lists every table and every chain of every program in this network namespace.
    ///
    /// # Errors
    ///
    /// If the kernel does not list them.
    pub async fn list_all(&mut self) -> Result<(BTreeSet<ForeignTable>, Vec<ForeignChain>), Error> {
        self.with_socket("listing the tables of nf_tables", |socket| {
            let tables = dump(socket, NFT_MSG_GETTABLE, NFPROTO_UNSPEC, None, parse_table)?;
            let chains = dump(socket, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, None, |message, attributes| {
                let hook = attributes.nest(NFTA_CHAIN_HOOK).and_then(|attached| attached.u32(NFTA_HOOK_HOOKNUM));
                let drops = attributes.u32(NFTA_CHAIN_POLICY) == u32::try_from(NF_DROP).ok();
                let base = hook.map(|hook| ForeignHook { hook, drops });
                let name = attributes.name(NFTA_CHAIN_NAME)?.to_owned();
                Some(ForeignChain { table: parse_table(message, attributes)?, name, base })
            })?;
            Ok((tables.into_iter().collect(), chains))
        })
        .await
    }

    /// Lists every rule of one table, in order.
    ///
    /// # Errors
    ///
    /// If the kernel does not list them.
    pub async fn list_rules(&mut self, family: Family, name: &str) -> Result<Vec<ForeignRule>, Error> {
        let name = name.to_owned();
        self.with_socket("listing the rules of a table", move |socket| {
            dump(socket, NFT_MSG_GETRULE, nfproto(family), Some(&name), |_, attributes| {
                let handle = u64::from_be_bytes(attributes.find(NFTA_RULE_HANDLE)?.try_into().ok()?);
                let chain = attributes.name(NFTA_RULE_CHAIN)?.to_owned();
                Some(ForeignRule { chain, handle, target: parse_target(attributes) })
            })
        })
        .await
    }

    /// Removes objects in this order, in batches of some thousands. Each batch is atomic.
    ///
    /// # Errors
    ///
    /// At the first batch that the kernel refuses: [`Refusal::Missing`](crate::apply::Refusal::Missing) or
    /// [`Busy`](crate::apply::Refusal::Busy) if another program changed the same objects meanwhile.
    pub async fn remove(&mut self, removals: Vec<Removal>) -> Result<(), Error> {
        let doing = "removing rules of another program";
        let done = self
            .with_socket(doing, move |socket| {
                for batch in removals.chunks(MAX_REMOVALS_PER_BATCH) {
                    let bytes = encode(batch, socket.sequence());
                    if let Err(error) = socket.request(&bytes, |_| {}) {
                        return Ok(Err(error));
                    }
                }
                Ok(Ok(()))
            })
            .await?;
        done.map_err(|error| errors::for_foreign_change(doing, error))
    }

    /// Runs blocking work with the socket, in a thread. After an error the socket is not used again.
    async fn with_socket<T: Send + 'static>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut NetfilterSocket) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let mut socket = self.take_socket(doing)?;
        let (socket, answer) = in_thread(move || {
            let answer = work(&mut socket);
            (socket, answer)
        })
        .await
        .map_err(|error| errors::for_socket(doing, error))?;
        let answer = answer.map_err(|error| errors::for_socket(doing, error))?;
        self.socket = Some(socket);
        Ok(answer)
    }
}

/// Dumps the objects of one kind of a family (`NFPROTO_UNSPEC`: of all), and of one table if it is named. `read` returns `None`
/// for an object to leave out.
fn dump<T>(
    socket: &mut NetfilterSocket,
    kind: u16,
    family: u8,
    table: Option<&str>,
    read: impl Fn(&NetlinkMessage<'_>, Attributes<'_>) -> Option<T>,
) -> io::Result<Vec<T>> {
    for _ in 0..MAX_ATTEMPTS {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
        let mut request = MessageWriter::default();
        let message = request.begin_message(kind, NLM_F_REQUEST | NLM_F_DUMP, socket.sequence(), family, 0);
        if let Some(table) = table {
            request.put_name(NFTA_TABLE_NAME, table);
        }
        request.end_message(message);
        let mut found = Vec::new();
        let consistent = socket.request(&request.bytes, |message| {
            let attributes = message.attributes();
            // Some kernels dump the objects of all tables.
            if table.is_none() || attributes.name(NFTA_TABLE_NAME) == table {
                found.extend(read(message, attributes));
            }
        })?;
        if consistent {
            return Ok(found);
        }
        std::thread::sleep(RETRY_PAUSE);
    }
    Err(io::Error::other(format!("the rules changed during each of {MAX_ATTEMPTS} attempts to list them")))
}

/// The table of an object, or the table itself.
pub(super) fn parse_table(message: &NetlinkMessage<'_>, attributes: Attributes<'_>) -> Option<ForeignTable> {
    let family = match message.nfproto()? {
        NFPROTO_INET => "inet",
        NFPROTO_IPV4 => "ip",
        NFPROTO_ARP => "arp",
        NFPROTO_NETDEV => "netdev",
        NFPROTO_BRIDGE => "bridge",
        NFPROTO_IPV6 => "ip6",
        _ => return None,
    };
    Some(ForeignTable { family, name: attributes.name(NFTA_TABLE_NAME)?.to_owned() })
}

/// The chain that a rule jumps or goes to; such a rule ends with an immediate verdict.
fn parse_target(rule: Attributes<'_>) -> Option<String> {
    let expressions = rule.nest(NFTA_RULE_EXPRESSIONS)?;
    let (_, last) = expressions.filter(|(kind, _)| *kind == NFTA_LIST_ELEM).last()?;
    let last = Attributes(last);
    if last.name(NFTA_EXPR_NAME) != Some("immediate") {
        return None;
    }
    let verdict = last.nest(NFTA_EXPR_DATA)?.nest(NFTA_IMMEDIATE_DATA)?.nest(NFTA_DATA_VERDICT)?;
    verdict.name(NFTA_VERDICT_CHAIN).map(str::to_owned)
}

/// Encodes a batch. All its messages have the same sequence number, and the last one asks for an acknowledgement: so every answer
/// of the kernel belongs to one request.
fn encode(removals: &[Removal], sequence: u32) -> Vec<u8> {
    let mut out = MessageWriter::default();
    let frame = |out: &mut MessageWriter, kind| {
        let message = out.begin_message(kind, NLM_F_REQUEST, sequence, 0, NFNL_SUBSYS_NFTABLES);
        out.end_message(message);
    };
    frame(&mut out, NFNL_MSG_BATCH_BEGIN);
    let mut last = None;
    for removal in removals {
        let (kind, family, table) = match removal {
            Removal::Table(family, table) => (NFT_MSG_DELTABLE, family, table),
            Removal::Rule(family, table, ..) | Removal::Rules(family, table, _) => (NFT_MSG_DELRULE, family, table),
            Removal::Chain(family, table, _) => (NFT_MSG_DELCHAIN, family, table),
        };
        let message = begin_message(&mut out, kind, NLM_F_REQUEST, sequence, *family);
        last = Some(message.start());
        out.put_name(NFTA_TABLE_NAME, table);
        match removal {
            Removal::Table(..) => {}
            Removal::Rule(_, _, chain, handle) => {
                out.put_name(NFTA_RULE_CHAIN, chain);
                out.put(NFTA_RULE_HANDLE, &handle.to_be_bytes());
            }
            Removal::Rules(_, _, chain) => out.put_name(NFTA_RULE_CHAIN, chain),
            Removal::Chain(_, _, chain) => out.put_name(NFTA_CHAIN_NAME, chain),
        }
        out.end_message(message);
    }
    if let Some(last) = last {
        out.add_flag(last, NLM_F_ACK);
    }
    frame(&mut out, NFNL_MSG_BATCH_END);
    out.bytes
}
