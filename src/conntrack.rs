//! Stale UDP flows are removed from the kernel's connection tracking.
//!
//! The kernel translates the first packet of a flow and repeats that for the others. A UDP client that keeps its port therefore goes
//! on sending to an endpoint that is gone, for as long as it sends. (A TCP connection ends by itself.) So after a commit the
//! flows to UDP frontends that lost something are looked at, and those that may not stay are removed: their next packet is a
//! first one again.
//!
//! ```text
//!  loop:    snapshot ─▶ commit ─▶ frontends to look at          (pure: stale)
//!               │                      │
//!  worker:      │                      └▶ dump ─▶ judge ─▶ delete
//!               └──── the newest one ──────────────┘
//! ```
//!
//! The loop never waits for it. Flows are judged by the newest snapshot at the end of the dump, and each snapshot is there before
//! its commit: so a flow that the rules have just begun to allow is never taken for a stale one, however long a dump takes.

use std::collections::BTreeSet;
use std::io;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::dataplane::{Family, Frontend};
use crate::state::{Cluster, Desired};
use stale::Snapshot;
use worker::Worker;

mod flow;
mod kernel;
mod stale;
mod worker;

pub use flow::Flow;
pub use kernel::Kernel;
pub use stale::changed;

/// A table of UDP flows.
pub trait Table: Send + 'static {
    /// Hands every UDP flow of a family to `each`. False if the table changed so much meanwhile that some may be missing.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked, or refuses to answer.
    fn dump(&mut self, family: Family, each: &mut dyn FnMut(Flow)) -> io::Result<bool>;

    /// Deletes exactly this flow; false if it is gone already.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked, or refuses.
    fn delete(&mut self, flow: &Flow) -> io::Result<bool>;
}

/// Removes stale flows after commits, on a task of its own.
#[derive(Debug)]
pub struct Conntrack {
    families: Vec<Family>,
    newest: watch::Sender<Snapshot>,
    to_look_at: mpsc::UnboundedSender<BTreeSet<Frontend>>,
    /// The cluster that the last look was for; `None` before the first.
    earlier: Option<Cluster>,
    worker: JoinHandle<()>,
}

impl Conntrack {
    /// Starts the worker, in the current runtime. Nothing is done before the first commit.
    pub fn start(families: &[Family], table: impl Table) -> Self {
        let (newest, snapshots) = watch::channel(Snapshot::default());
        let (to_look_at, requests) = mpsc::unbounded_channel();
        let worker = tokio::spawn(Worker::new(families, table, snapshots, requests).run());
        Self { families: families.to_vec(), newest, to_look_at, earlier: None, worker }
    }

    /// To be called before each commit, with what it is made for.
    pub fn committing(&self, cluster: &Cluster, desired: &Desired) {
        self.newest.send_replace(Snapshot { cluster: cluster.clone(), desired: desired.clone() });
    }

    /// To be called after each commit that succeeded, with the [changed] frontends; also if nothing had to be committed.
    pub fn committed(&mut self, changed: BTreeSet<Frontend>) {
        let now = self.newest.borrow().clone();
        let all = now.to_look_at(self.earlier.as_ref(), changed, &self.families);
        if !all.is_empty() {
            // A worker that has ended has said why.
            let _ = self.to_look_at.send(all);
        }
        self.earlier = Some(now.cluster);
    }

    /// Waits until everything was looked at that was asked for, once. What could not be done is logged.
    pub async fn finish(self) {
        drop(self.to_look_at);
        if let Err(error) = self.worker.await {
            tracing::error!(%error, "removing stale UDP flows broke off");
        }
    }
}
