//! Committing operations to a kernel, and reading back what it holds.
//!
//! All backends implement [`Backend`], and a batch is atomic in each. [`Netlink`] speaks to the kernel itself. [`Nft`] drives the
//! `nft` program with JSON. [`MemoryKernel`] is a kernel in memory that refuses what the real one refuses: for tests, and to show
//! what a batch would do.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

#[cfg(doc)]
use crate::dataplane::SetName;
use crate::dataplane::{Element, Family, Frontend, Operation, Outline, Tables};

mod any_backend;
mod attempts;
mod memory;
pub(crate) mod netlink;
mod nft;

pub use any_backend::{AnyBackend, BackendChoice, BackendOptions};
pub use memory::MemoryKernel;
pub use netlink::{
    CommitListener, ForeignChain, ForeignHook, ForeignNews, ForeignRule, ForeignTable, Netlink, PacketTracer, Removal,
    TraceHop, TraceSource, TracedHeaders, TracedPacket,
};
pub use nft::{Nft, encode};

/// The name of the tables in which the self-tests try the kernel, and which they remove again.
pub const SCRATCH_TABLE: &str = "pointsman-self-test";

/// A place where Pointsman's tables live.
pub trait Backend: Send {
    /// Reads Pointsman's tables of these families, complete with their elements. The future does not borrow the backend, so it can
    /// run in a task of its own.
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static;

    /// The same beside commits, for a comparison that nothing waits for: with little of the processors. What is committed meanwhile may be in
    /// it or not.
    fn read_aside(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.read(families)
    }

    /// Reads an outline of the tables, which costs the same for any number of elements; `None` where only a complete reading tells.
    fn outline(&mut self, families: &[Family]) -> impl Future<Output = Result<Option<Outline>, Error>> + Send {
        let _ = families;
        std::future::ready(Ok(None))
    }

    /// A listener that hears the commits of other processes from now on; `None` where its own cannot be told from theirs.
    ///
    /// # Errors
    ///
    /// If the kernel grants no such socket.
    fn listen(&self) -> Result<Option<CommitListener>, Error> {
        Ok(None)
    }

    /// Reads the clients that a frontend with session affinity remembers, as elements of [`SetName::Clients`]. None if it has no such
    /// map.
    fn clients(&mut self, frontend: Frontend) -> impl Future<Output = Result<Vec<Element>, Error>> + Send;

    /// How long a commit may take, roughly: while the kernel works on a batch no other program can change its rules. A larger plan
    /// is split into several batches.
    fn longest_commit(&self) -> Duration {
        Duration::from_millis(50)
    }

    /// Commits the operations as one batch: all or none.
    ///
    /// # Errors
    ///
    /// After any error the state of the tables is unknown (a timeout may hide a commit): they must be read back.
    fn commit(&mut self, operations: &[Operation]) -> impl Future<Output = Result<Receipt, Error>> + Send;
}

/// What a commit took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Length of the encoded batch in bytes; 0 if the backend encodes nothing.
    pub bytes: usize,
}

/// Why the kernel refused a batch, as far as a backend can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// An object that the batch refers to does not exist (`ENOENT`).
    Missing,
    /// An object exists already, with other contents (`EEXIST`).
    Exists,
    /// A rule still refers to an object that the batch removes (`EBUSY`).
    Busy,
    /// Another cause.
    Other,
}

/// Why the kernel could not be read or changed.
#[derive(Debug, Error)]
pub enum Error {
    /// The program cannot be started.
    #[error(
        "cannot run {}: {source}. Install nftables 1.1.3 or newer, or name the program with --nft PATH",
        program.display()
    )]
    NotFound {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The program is too old, or lacks a feature.
    #[error("{} is {found}, but nftables 1.1.3 or newer with JSON support is needed: {why}. Install it, or name it with --nft PATH", program.display())]
    Unsuitable {
        /// The program.
        program: PathBuf,
        /// The version that it prints, or what it did.
        found: String,
        /// What is missing.
        why: String,
    },
    /// The process lacks a permission.
    #[error("the kernel does not permit {doing}: {detail}. Run as root, or give the process the capability NET_ADMIN")]
    NotPermitted {
        /// What was being done.
        doing: &'static str,
        /// What the program or the kernel answered.
        detail: String,
    },
    /// The kernel has no nf_tables.
    #[error(
        "the kernel has no nf_tables for {doing}: {detail}. Load the module nf_tables, or use a kernel with CONFIG_NF_TABLES"
    )]
    NoKernelSupport {
        /// What was being done.
        doing: &'static str,
        /// What the program or the kernel answered.
        detail: String,
    },
    /// The kernel refused the batch and applied nothing.
    #[error("refused while {doing}; the batch changed nothing: {detail}. {}", refusal.advice())]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// The cause, if it is known.
        refusal: Refusal,
        /// What the program or the kernel answered.
        detail: String,
    },
    /// nft did not end in time. The batch may or may not be applied.
    #[error(
        "nft did not end within {limit:?} while {doing}, and was killed. Check the load and the memory of this host"
    )]
    TimedOut {
        /// What was being done.
        doing: &'static str,
        /// The timeout.
        limit: Duration,
    },
    /// The JSON of nft cannot be read or written.
    #[error("cannot use the JSON of nft while {doing}: {source}. Check that nft is 1.1.3 or newer")]
    Unreadable {
        /// What was being done.
        doing: &'static str,
        /// What is wrong with the JSON.
        source: serde_json::Error,
    },
    /// The netlink socket or the pipes of the program failed.
    #[error("input or output failed while {doing}: {source}. If this goes on, look for the cause in the kernel's log")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Refusal {
    /// What an operator can do.
    fn advice(self) -> &'static str {
        match self {
            Self::Missing | Self::Exists | Self::Busy => {
                "If this goes on, look for another program that changes the same objects"
            }
            Self::Other => "If this goes on, report it with the versions of the kernel and of nft",
        }
    }
}

impl Error {
    /// The cause, if the kernel refused a batch.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}
