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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::dataplane::{Family, Frontend, Protocol};
use crate::state::{Cluster, Desired, Touched};
use stale::Snapshot;
use worker::Worker;

mod flow;
mod kernel;
mod stale;
mod worker;

pub use flow::Flow;
pub use kernel::ConntrackSocket;
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
    /// How often the worker was asked.
    asked: u64,
    /// How much of that it has done.
    done: Arc<AtomicU64>,
    /// Frontends whose flows lost an endpoint since the last commit; `None` before the first, which is about all of them.
    lost: Option<BTreeSet<Frontend>>,
    worker: JoinHandle<()>,
}

impl Conntrack {
    /// Starts the worker, in the current runtime. Nothing is done before the first commit.
    pub fn start(families: &[Family], table: impl Table) -> Self {
        let (newest, snapshots) = watch::channel(Snapshot::default());
        let (to_look_at, requests) = mpsc::unbounded_channel();
        let done = Arc::new(AtomicU64::new(0));
        let worker = tokio::spawn(Worker::new(families, table, snapshots, requests, Arc::clone(&done)).run());
        Self { families: families.to_vec(), newest, to_look_at, asked: 0, done, lost: None, worker }
    }

    /// To be called whenever events were folded into the cluster, with what they touched.
    pub fn folded(&mut self, cluster: &Cluster, touched: &Touched) {
        if let Some(lost) = &mut self.lost {
            lost.extend(cluster.lost_flows(touched, Protocol::Udp));
        }
    }

    /// To be called before each commit, with what it is made for.
    pub fn committing(&self, cluster: &Cluster, desired: &Desired) {
        self.newest.send_replace(Snapshot { cluster: cluster.clone(), desired: desired.clone() });
    }

    /// To be called after each commit that succeeded, with the [changed] frontends; also if nothing had to be committed.
    pub fn committed(&mut self, changed: BTreeSet<Frontend>) {
        let all = self.newest.borrow().to_look_at(self.lost.replace(BTreeSet::new()), changed, &self.families);
        if !all.is_empty() {
            self.asked += 1;
            // A worker that has ended has said why.
            let _ = self.to_look_at.send(all);
        } else if self.done.load(Ordering::Acquire) == self.asked {
            // Nobody needs it: the loop may change in place what nobody shares.
            self.newest.send_replace(Snapshot::default());
        }
    }

    /// Waits until everything was looked at that was asked for, once. What could not be done is logged.
    pub async fn finish(self) {
        drop(self.to_look_at);
        if let Err(error) = self.worker.await {
            tracing::error!(%error, "removing stale UDP flows broke off");
        }
    }
}
