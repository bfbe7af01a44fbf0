//! The backend of a running program: the one that the operator chose, or the first that works.

use std::path::PathBuf;
use std::time::Duration;

use futures::future::Either;

use super::{Backend, CommitListener, Error, Netlink, Nft, Receipt};
use crate::dataplane::{Element, Family, Frontend, Operation, Outline, Tables};
use crate::program;

/// The operator's choice of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// Netlink, or nft where netlink does not work.
    #[default]
    Auto,
    /// Netlink only.
    Netlink,
    /// The nft program only.
    Nft,
}

/// How to open a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendOptions {
    /// Which backend.
    pub choice: BackendChoice,
    /// The nft program: a path, or a bare name to look up.
    pub nft: PathBuf,
}

/// One of the backends that reach a kernel.
#[derive(Debug)]
pub enum AnyBackend {
    /// Netlink messages over one socket.
    Netlink(Netlink),
    /// An nft process for each batch.
    Nft(Nft),
}

impl BackendOptions {
    /// The file of the nft program. A bare name is looked up on the PATH and in the folders of administrators' programs.
    pub fn nft_file(&self) -> PathBuf {
        if self.nft.components().count() > 1 {
            return self.nft.clone();
        }
        program::find(&self.nft).unwrap_or_else(|| self.nft.clone())
    }
}

impl AnyBackend {
    /// Opens a backend that has passed a test in scratch tables of these families.
    ///
    /// # Errors
    ///
    /// If no allowed backend passes the test.
    pub async fn open_tested(options: &BackendOptions, families: &[Family]) -> Result<Self, Error> {
        let backend = Self::open(options, async |mut netlink: Netlink| {
            netlink.self_test(families).await?;
            Ok(netlink)
        })
        .await?;
        if let Self::Nft(nft) = &backend {
            nft.self_test().await?;
        }
        Ok(backend)
    }

    /// Opens a backend to read with. It writes nothing, not even a scratch table, so it is untested.
    ///
    /// # Errors
    ///
    /// If no allowed backend can be opened.
    pub async fn open_for_reading(options: &BackendOptions) -> Result<Self, Error> {
        Self::open(options, async |netlink| Ok(netlink)).await
    }

    /// Opens another backend of the same kind, for work beside this one.
    ///
    /// # Errors
    ///
    /// If the kernel grants no further socket.
    pub fn open_another(&self) -> Result<Self, Error> {
        Ok(match self {
            Self::Netlink(_) => Self::Netlink(Netlink::open()?),
            Self::Nft(nft) => Self::Nft(nft.clone()),
        })
    }

    async fn open(
        options: &BackendOptions,
        test: impl AsyncFn(Netlink) -> Result<Netlink, Error>,
    ) -> Result<Self, Error> {
        let netlink = async || test(Netlink::open()?).await.map(Self::Netlink);
        let nft = async || Nft::find(&options.nft_file()).await.map(Self::Nft);
        match options.choice {
            BackendChoice::Netlink => netlink().await,
            BackendChoice::Nft => nft().await,
            BackendChoice::Auto => match netlink().await {
                // nft needs the same permission.
                Err(error) if !matches!(error, Error::NotPermitted { .. }) => {
                    tracing::warn!(%error, "netlink does not work on this node: using the nft program instead");
                    nft().await
                }
                opened => opened,
            },
        }
    }

    /// Reads the clients that a frontend with session affinity remembers, each with the time until it is forgotten; `None` where nft is
    /// asked, whose listing this program reads without times.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be read.
    pub async fn timed_clients(&mut self, frontend: Frontend) -> Result<Vec<(Element, Option<Duration>)>, Error> {
        match self {
            Self::Netlink(netlink) => netlink.timed_clients(frontend).await,
            Self::Nft(nft) => Ok(nft.clients(frontend).await?.into_iter().map(|element| (element, None)).collect()),
        }
    }

    /// The name for the log, with nft's version.
    pub fn description(&self) -> String {
        match self {
            Self::Netlink(_) => "netlink".to_owned(),
            Self::Nft(nft) => format!("nft {}", nft.version()),
        }
    }
}

impl Backend for AnyBackend {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        match self {
            Self::Netlink(netlink) => Either::Left(netlink.read(families)),
            Self::Nft(nft) => Either::Right(nft.read(families)),
        }
    }

    fn read_aside(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        match self {
            Self::Netlink(netlink) => Either::Left(netlink.read_aside(families)),
            Self::Nft(nft) => Either::Right(nft.read_aside(families)),
        }
    }

    async fn outline(&mut self, families: &[Family]) -> Result<Option<Outline>, Error> {
        match self {
            Self::Netlink(netlink) => netlink.outline(families).await,
            Self::Nft(nft) => nft.outline(families).await,
        }
    }

    fn listen(&self) -> Result<Option<CommitListener>, Error> {
        match self {
            Self::Netlink(netlink) => netlink.listen(),
            Self::Nft(nft) => nft.listen(),
        }
    }

    async fn clients(&mut self, frontend: Frontend) -> Result<Vec<Element>, Error> {
        match self {
            Self::Netlink(netlink) => netlink.clients(frontend).await,
            Self::Nft(nft) => nft.clients(frontend).await,
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_path_to_nft_is_used_unchanged_and_a_bare_name_is_looked_up() {
        let file = |nft: &str| BackendOptions { choice: BackendChoice::Auto, nft: nft.into() }.nft_file();
        assert_eq!(file("./nft"), Path::new("./nft"));
        assert_eq!(file("/opt/nft"), Path::new("/opt/nft"));
        assert!(file("sh").is_absolute());
        assert_eq!(file("no-such-program"), Path::new("no-such-program"));
    }
}
