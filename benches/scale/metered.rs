//! A backend that tells of each commit.

use std::net::IpAddr;
use std::sync::mpsc;

use pointsman::apply::{Backend, CommitListener, Error, Receipt};
use pointsman::dataplane::{Element, Family, Object, Operation, Outline, Tables, Value, Verb};
use tokio::time::Instant;

use crate::common::cluster::is_later;

/// A backend, and whom it tells.
pub struct Metered<B> {
    inner: B,
    commits: mpsc::Sender<Commit>,
}

/// A commit that was acknowledged.
#[derive(Clone, Debug)]
pub struct Commit {
    /// When it was begun.
    pub started: Instant,
    /// When it was acknowledged.
    pub ended: Instant,
    /// The number of operations.
    pub operations: usize,
    /// The length of the batch.
    pub bytes: usize,
    /// The pods that came later and that it makes reachable.
    pub arrived: Vec<IpAddr>,
}

impl<B> Metered<B> {
    /// This backend, and where its commits are told.
    pub fn new(inner: B) -> (Self, mpsc::Receiver<Commit>) {
        let (commits, told) = mpsc::channel();
        (Self { inner, commits }, told)
    }

    /// The backend.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Backend> Backend for Metered<B> {
    fn read(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.inner.read(families)
    }

    fn read_aside(&mut self, families: &[Family]) -> impl Future<Output = Result<Tables, Error>> + Send + 'static {
        self.inner.read_aside(families)
    }

    fn outline(&mut self, families: &[Family]) -> impl Future<Output = Result<Option<Outline>, Error>> + Send {
        self.inner.outline(families)
    }

    fn listen(&self) -> Result<Option<CommitListener>, Error> {
        self.inner.listen()
    }

    fn longest_commit(&self) -> std::time::Duration {
        self.inner.longest_commit()
    }

    async fn clients(&mut self, frontend: pointsman::dataplane::Frontend) -> Result<Vec<Element>, Error> {
        self.inner.clients(frontend).await
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<Receipt, Error> {
        let started = Instant::now();
        let receipt = self.inner.commit(operations).await?;
        let ended = Instant::now();
        let arrived = operations.iter().filter_map(arrived).collect();
        let commit = Commit { started, ended, operations: operations.len(), bytes: receipt.bytes, arrived };
        // Nobody has to listen.
        let _ = self.commits.send(commit);
        Ok(receipt)
    }
}

fn arrived(operation: &Operation) -> Option<IpAddr> {
    match &operation.object {
        Object::Element(element) if operation.verb == Verb::Add => {
            element.value.and_then(Value::endpoint).map(|endpoint| endpoint.addr).filter(|addr| is_later(*addr))
        }
        _ => None,
    }
}
