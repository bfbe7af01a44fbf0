//! The backend that drives the `nft` program with JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attempts::repeated;
use super::{Backend, CommitListener, Error, Receipt, Refusal};
use crate::dataplane::{Element, Family, Frontend, Operation, SetName, Tables};

mod encode;
mod own_commits;
mod read;
mod rules;
mod run;
mod self_test;

pub use encode::encode;
pub use own_commits::OwnCommits;

/// The `nft` program. Each batch and each reading is a process.
#[derive(Clone, Debug)]
pub struct Nft {
    program: PathBuf,
    version: String,
    own_commits: OwnCommits,
}

impl Nft {
    /// Checks that `program` runs, is 1.1.3 or newer and speaks JSON. The kernel is not asked.
    ///
    /// # Errors
    ///
    /// If the program cannot be started or does not suit.
    pub async fn find(program: &Path) -> Result<Self, Error> {
        let version = self_test::version(program).await?;
        Ok(Self { program: program.to_owned(), version, own_commits: OwnCommits::default() })
    }

    /// Tests nft and the kernel with a scratch table: creates it, fills it from a second process, lists, compares and deletes it.
    /// There are versions of nft that accept this JSON, exit with 0 and do something else.
    ///
    /// # Errors
    ///
    /// If nft or the kernel refuses, or holds something else than was written.
    pub async fn self_test(&self) -> Result<(), Error> {
        repeated(async || self_test::run(self).await).await
    }

    /// The version that the program prints, without the leading `v`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Sends an encoded batch.
    async fn send(&self, batch: Vec<u8>, doing: &'static str) -> Result<(), Error> {
        let mut process = None;
        let started = |pid| {
            self.own_commits.expect(pid);
            process = Some(pid);
        };
        let sent = run::run_known(&self.program, &["-j", "-f", "-"], batch, doing, started).await.map(|_| ());
        if sent.is_err() {
            process.into_iter().for_each(|pid| self.own_commits.failed(pid));
        }
        sent
    }

    /// Lists one map of Pointsman's table; `None` if there is no such map.
    async fn list_map(&self, family: Family, map: SetName, doing: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let map = map.to_string();
        let command = ["-j", "list", "map", family.nft(), crate::dataplane::TABLE, &map];
        match run::run(&self.program, &command, Vec::new(), doing).await {
            Ok(listing) => Ok(Some(listing)),
            Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists one table by name; `None` if there is no such table.
    async fn list(&self, family: Family, table: &str, doing: &'static str) -> Result<Option<Vec<u8>>, Error> {
        match run::run(&self.program, &["-j", "list", "table", family.nft(), table], Vec::new(), doing).await {
            Ok(listing) => Ok(Some(listing)),
            Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Backend for Nft {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        let (nft, families, doing) = (self.clone(), families.to_vec(), "reading Pointsman's tables");
        async move {
            let mut tables = Tables::default();
            for family in families {
                let listing = nft.list(family, crate::dataplane::TABLE, doing).await?;
                let contents = listing.map(|json| read::table(family, &json)).transpose();
                tables.set(family, contents.map_err(|source| Error::Unreadable { doing, source })?);
            }
            Ok(tables)
        }
    }

    /// Other programs are heard over netlink, which takes less of the kernel than commits do. What they did is found by a comparison.
    fn listen(&self) -> Result<Option<CommitListener>, Error> {
        self.own_commits.clear();
        CommitListener::open_beside(self.own_commits.clone()).map(Some)
    }

    async fn clients(&mut self, frontend: Frontend) -> Result<Vec<Element>, Error> {
        let doing = "reading the clients of Services with session affinity";
        let family = frontend.family();
        let listing = self.list_map(family, SetName::Clients(frontend), doing).await?;
        let clients = listing.map(|json| read::clients(family, &json)).transpose();
        Ok(clients.map_err(|source| Error::Unreadable { doing, source })?.unwrap_or_default())
    }

    /// Longer than over netlink: most of the time passes in nft itself, which does not keep the kernel busy.
    fn longest_commit(&self) -> Duration {
        Duration::from_millis(250)
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        let doing = "committing a batch to Pointsman's tables";
        let batch = encode(operations).map_err(|source| Error::Unreadable { doing, source })?;
        let bytes = batch.len();
        self.send(batch, doing).await?;
        Ok(Receipt { bytes })
    }
}
