//! The backend that speaks nf_tables' netlink protocol itself.
//!
//! ```text
//! Operation ─▶ encode (rules, elements, types) ─▶ socket ─▶ kernel
//! Tables    ◀─ read   (collect, types)         ◀─ socket ◀─
//! ```
//!
//! One socket stays open: a change costs its own messages and one system call. A batch is one datagram, which the kernel commits
//! as a whole. What is written is what nft 1.1.3 would write, notes for its listings included, so each backend can take over
//! from the other.

use std::io;

use super::{Backend, Error, Receipt};
use crate::dataplane::{Element, Family, Operation, SetName, TABLE, TableContents, Tables};
use encode::Batch;
use socket::Socket;

mod abi;
mod collect;
mod elements;
mod encode;
mod errors;
mod parse;
mod read;
mod rules;
mod self_test;
mod socket;
mod types;
mod write;

/// Batches up to this length are sent on the spot: it takes microseconds. Longer ones would hold up other tasks.
const SHORT: usize = 16 << 10;
/// A buffer that has grown beyond this is given back.
const KEPT: usize = 1 << 20;

/// The kernel's nf_tables, over one netlink socket.
///
/// The socket belongs to the network namespace of the thread that opened it.
pub struct Netlink {
    /// `None` after an error that leaves open what answers may still come: the next call opens a new one.
    socket: Option<Socket>,
    /// For the next batch.
    buffer: Vec<u8>,
}

impl Netlink {
    /// A backend with an open socket. Nothing else is asked of the kernel.
    pub fn open() -> Result<Self, Error> {
        let mut netlink = Self { socket: None, buffer: Vec::new() };
        netlink.socket = Some(netlink.take_socket("opening a netlink socket")?);
        Ok(netlink)
    }

    /// Proves that the kernel takes what we write: for each family a scratch table is created, read back, compared and deleted.
    pub async fn self_test(&mut self, families: &[Family]) -> Result<(), Error> {
        for family in families {
            self_test::run(self, *family).await?;
        }
        Ok(())
    }

    fn take_socket(&mut self, doing: &'static str) -> Result<Socket, Error> {
        match self.socket.take() {
            Some(socket) => Ok(socket),
            None => Socket::open().map_err(|error| errors::of_socket(doing, error)),
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
        let batch = match Batch::encode(operations, table, socket.sequence(), buffer) {
            Ok(batch) => batch,
            Err(n) => {
                self.socket = Some(socket);
                return Err(errors::not_sent(doing, &operations[n]));
            }
        };
        let (socket, batch, answer) = if batch.bytes.len() <= SHORT {
            let answer = socket.commit(&batch);
            (socket, batch, answer)
        } else {
            let send = move || {
                let answer = socket.commit(&batch);
                (socket, batch, answer)
            };
            in_thread(send).await.map_err(|error| errors::of_socket(doing, error))?
        };
        // A socket that failed is not used again: answers may be under way.
        let fault = answer.map_err(|error| errors::of_socket(doing, error))?;
        self.socket = Some(socket);
        let done = match fault {
            None => Ok(Receipt { bytes: batch.bytes.len() }),
            Some(fault) => Err(errors::of_batch(doing, fault, &batch, operations)),
        };
        if batch.bytes.capacity() <= KEPT {
            self.buffer = batch.bytes;
        }
        done
    }

    async fn read_table(
        &mut self,
        family: Family,
        table: &'static str,
        doing: &'static str,
    ) -> Result<Option<TableContents>, Error> {
        let mut socket = self.take_socket(doing)?;
        let read = move || {
            let contents = read::table(&mut socket, family, table);
            (socket, contents)
        };
        let (socket, contents) = in_thread(read).await.map_err(|error| errors::of_socket(doing, error))?;
        let contents = contents.map_err(|error| errors::of_socket(doing, error))?;
        self.socket = Some(socket);
        Ok(contents)
    }
}

/// Runs what blocks in a thread for such work.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink").finish_non_exhaustive()
    }
}

impl Backend for Netlink {
    async fn read(&mut self, families: &[Family]) -> Result<Tables, Error> {
        let mut tables = Tables::default();
        for family in families {
            tables.set(*family, self.read_table(*family, TABLE, "reading our tables").await?);
        }
        Ok(tables)
    }

    async fn clients(&mut self, family: Family, node_port: bool) -> Result<Vec<Element>, Error> {
        let doing = "reading the clients of Services with session affinity";
        let mut socket = self.take_socket(doing)?;
        let read = move || {
            let clients = read::clients(&mut socket, family, TABLE, SetName::Clients { node_port });
            (socket, clients)
        };
        let (socket, clients) = in_thread(read).await.map_err(|error| errors::of_socket(doing, error))?;
        let clients = clients.map_err(|error| errors::of_socket(doing, error))?;
        self.socket = Some(socket);
        Ok(clients)
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        self.commit_to(TABLE, operations, "committing a batch").await
    }
}
