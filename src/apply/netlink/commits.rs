//! Hearing the commits of other processes.

use super::abi::{NFT_MSG_NEWGEN, NFTA_GEN_ID, NFTA_GEN_PROC_NAME, NFTA_GEN_PROC_PID};
use super::errors;
use crate::apply::Error;
use crate::apply::nft::OwnCommits;
use crate::dataplane::{ForeignCommit, Writer};
use crate::netlink::abi::{NFNL_SUBSYS_NFTABLES, NFNLGRP_NFTABLES};
use crate::netlink::{Heard, MessageFilter, Messages, MulticastListener, NetlinkMessage};

/// What is being done, for errors.
const DOING: &str = "listening to the commits of other programs";
/// The last message that the kernel sends about each commit: it names the process, and no table.
const NEW_GENERATION: u16 = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN;

/// Hears the commits of other processes to the ruleset of its network namespace, to whatever table. This process's own are never queued.
#[derive(Debug)]
pub struct CommitListener {
    socket: MulticastListener,
    /// Those of nft processes that this one started, which are left out.
    through_nft: OwnCommits,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForeignNews {
    /// These commits.
    Commits(Vec<ForeignCommit>),
    /// There were more commits than could be queued.
    Lost,
}

impl CommitListener {
    /// Listens from now on, in the current network namespace.
    ///
    /// # Errors
    ///
    /// If the kernel grants no such socket.
    pub fn open() -> Result<Self, Error> {
        Self::open_beside(OwnCommits::default())
    }

    /// The same, and leaves out what nft processes of our own commit.
    ///
    /// # Errors
    ///
    /// If the kernel grants no such socket.
    pub(in crate::apply) fn open_beside(through_nft: OwnCommits) -> Result<Self, Error> {
        let filter = MessageFilter { group: NFNLGRP_NFTABLES, kind: NEW_GENERATION };
        let socket = MulticastListener::open(filter).map_err(|error| errors::for_socket(DOING, error))?;
        Ok(Self { socket, through_nft })
    }

    /// Waits for news. May be dropped while it waits: nothing is lost by that.
    ///
    /// # Errors
    ///
    /// If the socket failed.
    pub async fn news(&mut self) -> Result<ForeignNews, Error> {
        let heard = self.socket.receive().await.map_err(|error| errors::for_socket(DOING, error))?;
        Ok(news(heard, &self.through_nft))
    }

    /// News that are there already; `None` if there are none.
    ///
    /// # Errors
    ///
    /// If the socket failed.
    pub fn waiting_news(&mut self) -> Result<Option<ForeignNews>, Error> {
        let waiting = self.socket.receive_waiting().map_err(|error| errors::for_socket(DOING, error))?;
        Ok(waiting.map(|heard| news(heard, &self.through_nft)))
    }
}

fn news(heard: Heard<'_>, through_nft: &OwnCommits) -> ForeignNews {
    match heard {
        Heard::Datagram { sender, .. } if through_nft.take(sender) => ForeignNews::Commits(Vec::new()),
        Heard::Datagram { messages, .. } => {
            ForeignNews::Commits(Messages(messages).filter_map(|it| parse(&it)).collect())
        }
        Heard::Lost => ForeignNews::Lost,
    }
}

/// The commit that a message tells of.
fn parse(message: &NetlinkMessage<'_>) -> Option<ForeignCommit> {
    let attributes = message.attributes();
    let writer = Writer {
        program: attributes.name(NFTA_GEN_PROC_NAME).unwrap_or("unknown").to_owned(),
        pid: attributes.u32(NFTA_GEN_PROC_PID).unwrap_or_default(),
    };
    let generation = attributes.u32(NFTA_GEN_ID)?;
    (message.kind == NEW_GENERATION).then_some(ForeignCommit { generation, writer })
}
