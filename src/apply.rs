//! Committing operations to a kernel, and reading back what it holds.
//!
//! [`Backend`] is the seam. [`Netlink`] speaks to the kernel itself; [`Nft`] drives the `nft` program with JSON; [`MemoryKernel`] is a kernel in memory that refuses what
//! the real one refuses, for tests and for showing what a batch would do. A batch is atomic in all.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

#[cfg(doc)]
use crate::dataplane::SetName;
use crate::dataplane::{Element, Family, Operation, Tables};

mod any_backend;
mod memory;
pub(crate) mod netlink;
mod nft;

pub use any_backend::{AnyBackend, BackendChoice, BackendOptions};
pub use memory::{Fate, MemoryKernel, Packet};
pub use netlink::{Attached, Netlink, OtherChain, OtherRule, OtherTable, Removal};
pub use nft::{Nft, encode};

/// Somewhere that our tables live.
pub trait Backend: Send {
    /// Reads our tables of these families, complete with their elements. The reading needs the backend no more: it can go on in a
    /// task of its own.
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static;

    /// Reads which clients of frontends with session affinity are remembered: elements of [`SetName::Clients`]. None if there is no
    /// such map.
    fn clients(&mut self, family: Family, node_port: bool) -> impl Future<Output = Result<Vec<Element>, Error>> + Send;

    /// About how long a commit may take, so that others can change their rules meanwhile: what is larger had better be sent in
    /// several batches.
    fn longest_commit(&self) -> Duration {
        Duration::from_millis(50)
    }

    /// Commits the operations as one batch: all or none.
    ///
    /// After an error the state is unknown (a timeout may hide a commit) and must be read back.
    fn commit(&mut self, operations: &[Operation]) -> impl Future<Output = Result<Receipt, Error>> + Send;
}

/// What a commit took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Length of the encoded batch in bytes; 0 where nothing is encoded.
    pub bytes: usize,
}

/// Why a batch was refused, as far as a backend can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Something that the batch refers to does not exist (`ENOENT`).
    Missing,
    /// Something exists already with other contents (`EEXIST`).
    Exists,
    /// Something is still referred to (`EBUSY`).
    Busy,
    /// Anything else.
    Other,
}

/// What went wrong between us and the kernel.
#[derive(Debug, Error)]
pub enum Error {
    /// The program is not there.
    #[error(
        "cannot run {}: {source}. Install nftables 1.1.3 or newer, or name the program with --nft PATH",
        program.display()
    )]
    NotFound {
        /// The program that was to be run.
        program: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The program is too old, or lacks what is relied on.
    #[error("{} is {found}, but nftables 1.1.3 or newer with JSON support is needed: {why}", program.display())]
    Unsuitable {
        /// The program.
        program: PathBuf,
        /// What it says of itself.
        found: String,
        /// What is missing.
        why: String,
    },
    /// The kernel does not let us.
    #[error("the kernel does not permit {doing}: {detail}. Run as root, or give the process the capability NET_ADMIN")]
    NotPermitted {
        /// What was being done.
        doing: &'static str,
        /// What the program or the kernel says.
        detail: String,
    },
    /// The kernel has no nf_tables.
    #[error(
        "the kernel does not offer nf_tables while {doing}: {detail}. Load the module nf_tables, or use a kernel with CONFIG_NF_TABLES"
    )]
    NoKernelSupport {
        /// What was being done.
        doing: &'static str,
        /// What the program or the kernel says.
        detail: String,
    },
    /// The kernel refused the batch; nothing of it was applied.
    #[error("refused while {doing}: {detail}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The cause, if it is known.
        refusal: Refusal,
        /// What the program or the kernel says.
        detail: String,
    },
    /// No answer in time; the batch may or may not be applied.
    #[error("no answer within {limit:?} while {doing}; the program was ended")]
    TimedOut {
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer could not be read.
    #[error("cannot read the answer while {doing}: {source}")]
    Unreadable {
        /// What was being done.
        doing: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Talking to the program or to the kernel failed.
    #[error("input or output failed while {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// The cause of a refusal, if it was one.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}
