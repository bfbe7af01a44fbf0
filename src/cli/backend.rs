//! Which way to the kernel is taken.

use std::time::Duration;

use futures::future::Either;

use super::args::{Args, BackendName};
use crate::apply::{Backend, Error, Netlink, Nft, Receipt};
use crate::dataplane::{Element, Family, Operation, Tables};

/// The backend that was asked for, or that works.
#[derive(Debug)]
pub(super) enum Chosen {
    Netlink(Netlink),
    Nft(Nft),
}

impl Chosen {
    /// A backend that has proved in scratch tables that it works.
    pub async fn tested(args: &Args, families: &[Family]) -> Result<Self, Error> {
        Self::choose(args, async |mut netlink: Netlink| {
            netlink.self_test(families).await?;
            Ok(netlink)
        })
        .await?
        .with_tested_nft()
        .await
    }

    /// Another of the same kind, for work beside this one's.
    pub fn another(&self) -> Result<Self, Error> {
        Ok(match self {
            Self::Netlink(_) => Self::Netlink(Netlink::open()?),
            Self::Nft(nft) => Self::Nft(nft.clone()),
        })
    }

    /// A backend to read with: nothing is written to find out whether it works.
    pub async fn for_reading(args: &Args) -> Result<Self, Error> {
        Self::choose(args, async |netlink| Ok(netlink)).await
    }

    async fn choose(args: &Args, test: impl AsyncFn(Netlink) -> Result<Netlink, Error>) -> Result<Self, Error> {
        let netlink = async || test(Netlink::open()?).await.map(Self::Netlink);
        let nft = async || Nft::find(&args.nft_program()).await.map(Self::Nft);
        match args.backend {
            BackendName::Netlink => netlink().await,
            BackendName::Nft => nft().await,
            BackendName::Auto => match netlink().await {
                // What is not permitted is not permitted to nft either.
                Err(error) if !matches!(error, Error::NotPermitted { .. }) => {
                    tracing::warn!(%error, "netlink does not work here: using nft");
                    nft().await
                }
                chosen => chosen,
            },
        }
    }

    async fn with_tested_nft(self) -> Result<Self, Error> {
        if let Self::Nft(nft) = &self {
            nft.self_test().await?;
        }
        Ok(self)
    }

    /// What it is, for the log.
    pub fn description(&self) -> String {
        match self {
            Self::Netlink(_) => "netlink".to_owned(),
            Self::Nft(nft) => format!("nft {}", nft.version()),
        }
    }
}

impl Backend for Chosen {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        match self {
            Self::Netlink(netlink) => Either::Left(netlink.read(families)),
            Self::Nft(nft) => Either::Right(nft.read(families)),
        }
    }

    async fn clients(&mut self, family: Family, node_port: bool) -> Result<Vec<Element>, Error> {
        match self {
            Self::Netlink(netlink) => netlink.clients(family, node_port).await,
            Self::Nft(nft) => nft.clients(family, node_port).await,
        }
    }

    fn longest_commit(&self) -> Duration {
        match self {
            Self::Netlink(netlink) => netlink.longest_commit(),
            Self::Nft(nft) => nft.longest_commit(),
        }
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        match self {
            Self::Netlink(netlink) => netlink.commit(operations).await,
            Self::Nft(nft) => nft.commit(operations).await,
        }
    }
}
