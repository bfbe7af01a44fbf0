//! The backend that speaks nf_tables' netlink protocol itself.
//!
//! ```text
//! Operation ─▶ encode (rules, elements, types) ─▶ NetfilterSocket ─▶ kernel
//! Tables    ◀─ table  (read, keyed_read, element_decoder, types) ◀─ NetfilterSocket ◀─
//! ```
//!
//! One socket stays open for commits, and some for reading tables. So a change costs its own messages and one system call. A batch is
//! one datagram, which the kernel commits as a whole. The messages are those that nft 1.1.3 would send, with its notes for listings, so
//! each backend can take over from the other.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::{Backend, Error, Receipt};
use crate::dataplane::{Counted, Element, Family, Frontend, Operation, Outline, TABLE, Tables};
use crate::netlink::NetfilterSocket;
use encode::EncodedBatch;
use readers::Readers;
use table::Haste;
use tokio_util::sync::CancellationToken;

pub use commits::{CommitListener, ForeignNews};
pub use foreign::{ForeignChain, ForeignHook, ForeignRule, ForeignTable, Removal};
pub use trace::{PacketTracer, TraceHop, TraceSource, TracedHeaders, TracedPacket};

mod abi;
mod commits;
mod counts;
mod element_decoder;
mod elements;
mod encode;
mod errors;
mod foreign;
mod keyed_read;
mod message;
mod read;
mod readers;
mod rule_decoder;
mod rules;
mod self_test;
mod table;
mod trace;
mod types;

/// Up to this length a batch is sent in the calling task, which takes microseconds. A longer one would hold up other tasks.
const MAX_INLINE_BATCH_BYTES: usize = 16 << 10;
/// Up to this capacity the buffer of a batch is kept for the next one.
const MAX_KEPT_BUFFER_BYTES: usize = 1 << 20;
/// Bounds the number of threads that read a large table.
const MAX_READER_THREADS: usize = 4;

/// The kernel's nf_tables, over one netlink socket.
///
/// The socket belongs to the network namespace of the thread that opened it.
pub struct Netlink {
    /// `None` after an error that leaves unknown which answers are under way: the next call opens a new one.
    socket: Option<NetfilterSocket>,
    /// The buffer for the next batch.
    buffer: Vec<u8>,
    readers: Readers,
}

impl Netlink {
    /// Opens a socket in the current network namespace. Sends nothing.
    ///
    /// # Errors
    ///
    /// If the kernel gives no netfilter socket.
    pub fn open() -> Result<Self, Error> {
        let mut netlink = Self { socket: None, buffer: Vec::new(), readers: Readers::default() };
        netlink.socket = Some(netlink.take_socket("opening a netlink socket")?);
        Ok(netlink)
    }

    /// Tests that the kernel takes what this backend writes: creates a scratch table for each family, reads it back, compares and
    /// deletes it.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, or holds something else than was written.
    pub async fn self_test(&mut self, families: &[Family]) -> Result<(), Error> {
        for family in families {
            self_test::run(self, *family).await?;
        }
        Ok(())
    }

    /// The number of clients that each frontend of a family remembers; none where the kernel does not count the elements of sets.
    ///
    /// Takes microseconds for each set of the table, for any number of clients: the kernel keeps count.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn count_clients(&mut self, family: Family) -> Result<BTreeMap<Frontend, u32>, Error> {
        let doing = "counting the clients of Services with session affinity";
        let mut socket = self.take_socket(doing)?;
        let count = read::count_clients(&mut socket, family, TABLE);
        let count = count.map_err(|error| errors::for_socket(doing, error))?;
        self.socket = Some(socket);
        Ok(count)
    }

    /// Reads the clients that a frontend with session affinity remembers, each with the time until it is forgotten.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub async fn timed_clients(&mut self, frontend: Frontend) -> Result<Vec<(Element, Option<Duration>)>, Error> {
        self.ask_for_clients(move |socket| read::timed_clients(socket, frontend, TABLE)).await
    }

    async fn ask_for_clients<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut NetfilterSocket) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let doing = "reading the clients of Services with session affinity";
        let mut socket = self.take_socket(doing)?;
        let read = move || {
            let clients = ask(&mut socket);
            (socket, clients)
        };
        let (socket, clients) = in_thread(read).await.map_err(|error| errors::for_socket(doing, error))?;
        let clients = clients.map_err(|error| errors::for_socket(doing, error))?;
        self.socket = Some(socket);
        Ok(clients)
    }

    /// How many connections each frontend of a family had, as packets counted them; none if nothing counts. Blocks.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn read_counts(&mut self, family: Family) -> Result<BTreeMap<(Frontend, Counted), u64>, Error> {
        let doing = "reading the counted connections";
        let mut socket = self.take_socket(doing)?;
        let counts = counts::read_counts(&mut socket, family, TABLE);
        let counts = counts.map_err(|error| errors::for_socket(doing, error))?;
        self.socket = Some(socket);
        Ok(counts)
    }

    /// Removes these counts, so that they begin at 0. Blocks.
    ///
    /// # Errors
    ///
    /// If the kernel refuses: then all stay.
    pub fn remove_counts(&mut self, counts: &[(Frontend, Counted)]) -> Result<(), Error> {
        let doing = "removing counts of connections";
        let mut all: Vec<Element> =
            counts.iter().map(|(frontend, counted)| Element::count(*frontend, *counted)).collect();
        all.sort_unstable();
        let operations: Vec<Operation> = all.into_iter().map(Operation::delete_element).collect();
        if operations.is_empty() {
            return Ok(());
        }
        let mut socket = self.take_socket(doing)?;
        let batch = EncodedBatch::encode(&operations, TABLE, socket.sequence(), Vec::new())
            .map_err(|n| errors::for_missing_message(doing, &operations[n]))?;
        let answer = socket.commit(&batch.bytes, batch.first..batch.next());
        let refused = answer.map_err(|error| errors::for_socket(doing, error))?;
        self.socket = Some(socket);
        refused.map_or(Ok(()), |refused| Err(errors::for_refused_message(doing, refused, &batch, &operations)))
    }

    /// Encodes a batch as messages, into a buffer that may have been used before. Sends nothing.
    ///
    /// # Errors
    ///
    /// If an operation has no message; the error names the first.
    pub fn encode(operations: &[Operation], buffer: Vec<u8>) -> Result<Vec<u8>, Error> {
        let encoded = EncodedBatch::encode(operations, TABLE, 0, buffer);
        encoded.map(|batch| batch.bytes).map_err(|n| errors::for_missing_message("encoding a batch", &operations[n]))
    }

    /// The outline of the tables of this name.
    async fn outline_of(
        &mut self,
        families: &[Family],
        name: &'static str,
        doing: &'static str,
    ) -> Result<Outline, Error> {
        let (mut socket, families) = (self.take_socket(doing)?, families.to_vec());
        let read = move || {
            let mut outline = Outline::default();
            for family in families {
                outline.set(family, table::outline(&mut socket, family, name)?);
            }
            Ok((socket, outline))
        };
        let (socket, outline) = in_thread(read).await.flatten().map_err(|error| errors::for_socket(doing, error))?;
        self.socket = Some(socket);
        Ok(outline)
    }

    /// Reads the tables of this name, over sockets that nothing else uses.
    fn read_tables(
        &self,
        families: &[Family],
        name: &'static str,
        doing: &'static str,
        haste: Haste,
    ) -> impl Future<Output = Result<Tables, Error>> + Send + use<> {
        let (families, readers) = (families.to_vec(), self.readers.clone());
        let threads = match haste {
            Haste::InAHurry => std::thread::available_parallelism().map_or(1, usize::from).min(MAX_READER_THREADS),
            Haste::Aside => 1,
        };
        // Here, and not in the thread that reads: they belong to the network namespace of the calling thread.
        let sockets = readers.take(threads);
        let unwanted = CancellationToken::new();
        let dropped = unwanted.clone().drop_guard();
        let read = move || {
            let (mut sockets, mut tables) = (sockets?, Tables::default());
            sockets.iter_mut().for_each(|socket| socket.break_off_when(unwanted.clone()));
            for family in families {
                tables.set(family, table::read(&mut sockets, family, name, haste)?);
            }
            readers.put_back(sockets);
            Ok(tables)
        };
        async move {
            // The thread ends if no one waits for it any more.
            let _dropped = dropped;
            in_thread(read).await.flatten().map_err(|error| errors::for_socket(doing, error))
        }
    }

    fn take_socket(&mut self, doing: &'static str) -> Result<NetfilterSocket, Error> {
        match self.socket.take() {
            Some(socket) => Ok(socket),
            None => NetfilterSocket::open().map_err(|error| errors::for_socket(doing, error)),
        }
    }

    async fn commit_to(
        &mut self,
        table: &str,
        operations: &[Operation],
        doing: &'static str,
    ) -> Result<Receipt, Error> {
        if operations.is_empty() {
            return Ok(Receipt::default());
        }
        let mut socket = self.take_socket(doing)?;
        let buffer = std::mem::take(&mut self.buffer);
        let batch = match EncodedBatch::encode(operations, table, socket.sequence(), buffer) {
            Ok(batch) => batch,
            Err(n) => {
                self.socket = Some(socket);
                return Err(errors::for_missing_message(doing, &operations[n]));
            }
        };
        let (socket, batch, answer) = if batch.bytes.len() <= MAX_INLINE_BATCH_BYTES {
            let answer = socket.commit(&batch.bytes, batch.first..batch.next());
            (socket, batch, answer)
        } else {
            let send = move || {
                let answer = socket.commit(&batch.bytes, batch.first..batch.next());
                (socket, batch, answer)
            };
            in_thread(send).await.map_err(|error| errors::for_socket(doing, error))?
        };
        // A socket that failed is not used again: answers may be under way.
        let refused = answer.map_err(|error| errors::for_socket(doing, error))?;
        self.socket = Some(socket);
        let done = match refused {
            None => Ok(Receipt { bytes: batch.bytes.len() }),
            Some(refused) => Err(errors::for_refused_message(doing, refused, &batch, operations)),
        };
        if batch.bytes.capacity() <= MAX_KEPT_BUFFER_BYTES {
            self.buffer = batch.bytes;
        }
        done
    }
}

/// Runs blocking work in a thread for such work.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink").finish_non_exhaustive()
    }
}

impl Backend for Netlink {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.read_tables(families, TABLE, "reading Pointsman's tables", Haste::InAHurry)
    }

    fn read_aside(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.read_tables(families, TABLE, "reading Pointsman's tables", Haste::Aside)
    }

    async fn outline(&mut self, families: &[Family]) -> Result<Option<Outline>, Error> {
        self.outline_of(families, TABLE, "looking at Pointsman's tables").await.map(Some)
    }

    async fn clients(&mut self, frontend: Frontend) -> Result<Vec<Element>, Error> {
        self.ask_for_clients(move |socket| read::clients(socket, frontend, TABLE)).await
    }

    fn listen(&self) -> Result<Option<CommitListener>, Error> {
        CommitListener::open().map(Some)
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        self.commit_to(TABLE, operations, "committing a batch to Pointsman's tables").await
    }
}
