//! The worker: takes frontends to look at, dumps, judges and deletes.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Table;
use super::flow::Flow;
use super::kernel::advice;
use super::request::FlowsToCheck;
use super::stale::Judge;
use crate::dataplane::Family;
use crate::metrics::{CONNTRACK_DELETED, CONNTRACK_DURATION, CONNTRACK_FAILURES};
use crate::state::Snapshot;

/// The most dumps of a table that changes meanwhile. The last one is taken as it is (kube-proxy's number).
const ATTEMPTS: usize = 5;
/// Retry interval after a failure, unless a change asks for a look before (kube-proxy's `syncPeriod`).
const RETRY: Duration = Duration::from_secs(30);

/// Owns the table.
pub(super) struct Worker<T> {
    families: Vec<Family>,
    /// `None` while it is in use.
    table: Option<T>,
    newest: watch::Receiver<Snapshot>,
    requests: mpsc::UnboundedReceiver<FlowsToCheck>,
    /// The number of requests so far.
    asked: u64,
    /// The number of requests that are done, for the follower.
    done: Arc<AtomicU64>,
    /// What is still to be looked at: not yet, or without success.
    due: FlowsToCheck,
    /// The text of the last failure, so that it is logged once.
    said: Option<String>,
}

impl<T: Table> Worker<T> {
    pub fn new(
        families: &[Family],
        table: T,
        newest: watch::Receiver<Snapshot>,
        requests: mpsc::UnboundedReceiver<FlowsToCheck>,
        done: Arc<AtomicU64>,
    ) -> Self {
        let (families, due) = (families.to_vec(), FlowsToCheck::default());
        Self { families, table: Some(table), newest, requests, asked: 0, done, due, said: None }
    }

    /// Works until the follower is gone and every request was looked at once.
    pub async fn run(mut self) {
        let mut open = true;
        while open {
            let retry = async {
                if self.due.is_empty() {
                    std::future::pending().await
                } else {
                    tokio::time::sleep(RETRY).await;
                }
            };
            tokio::select! {
                more = self.requests.recv() => match more {
                    Some(more) => self.ask(more),
                    None => return,
                },
                () = retry => {}
            }
            // All that has been asked for meanwhile takes one dump.
            open = loop {
                match self.requests.try_recv() {
                    Ok(more) => self.ask(more),
                    Err(mpsc::error::TryRecvError::Empty) => break true,
                    Err(mpsc::error::TryRecvError::Disconnected) => break false,
                }
            };
            for family in self.families.clone() {
                let of_family = self.due.take(family);
                if !of_family.is_empty() {
                    self.look_at(family, of_family).await;
                }
            }
            if self.due.is_empty() {
                self.done.store(self.asked, Ordering::Release);
            }
        }
    }

    fn ask(&mut self, more: FlowsToCheck) {
        self.asked += 1;
        self.due.merge(more);
    }

    /// Looks at these flows of one family; they stay due if that fails.
    async fn look_at(&mut self, family: Family, flows: FlowsToCheck) {
        let Some(mut table) = self.table.take() else { return };
        let (started, newest) = (Instant::now(), self.newest.clone());
        let work = move || {
            let mut deleted = 0;
            let result = remove_stale(&mut table, family, &flows, &newest, &mut deleted);
            (table, flows, deleted, result)
        };
        let (table, flows, deleted, result) = match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends.
                Err(_) => return,
            },
        };
        self.table = Some(table);
        let took = started.elapsed().as_secs_f64();
        histogram!(CONNTRACK_DURATION, "ip_family" => family.label()).record(took);
        counter!(CONNTRACK_DELETED, "ip_family" => family.label()).increment(deleted);
        if deleted > 0 {
            let milliseconds = (took * 1e6).round() / 1e3;
            tracing::info!(family = family.label(), deleted, milliseconds, "removed stale UDP flows");
        }
        match result {
            Ok(()) => self.said = None,
            Err(error) => {
                counter!(CONNTRACK_FAILURES, "ip_family" => family.label()).increment(1);
                self.due.merge(flows);
                self.complain(family, &error);
            }
        }
    }

    fn complain(&mut self, family: Family, error: &io::Error) {
        let said = error.to_string();
        if self.said.as_ref() == Some(&said) {
            return;
        }
        tracing::error!(
            family = family.label(),
            %error,
            "cannot remove stale UDP flows from connection tracking: clients that keep their port may go on sending to endpoints \
             that are gone; tried again with the next change and every {} s; {}",
            RETRY.as_secs(),
            advice(error)
        );
        self.said = Some(said);
    }
}

/// Deletes the stale ones of these flows, and adds their number to `deleted`. One that cannot be deleted does not keep the others.
///
/// # Errors
///
/// If the flows cannot be listed, or some of them not be deleted.
pub fn remove_stale(
    table: &mut impl Table,
    family: Family,
    looked_at: &FlowsToCheck,
    newest: &watch::Receiver<Snapshot>,
    deleted: &mut u64,
) -> io::Result<()> {
    let mut suspects = BTreeSet::new();
    let before = newest.borrow().clone();
    let mut judge = Judge::new(&before, looked_at);
    for _ in 0..ATTEMPTS {
        let complete = table.dump(family, &mut |flow: Flow| {
            if judge.is_stale(&flow) {
                suspects.insert(flow);
            }
        })?;
        if complete {
            break;
        }
    }
    // What the rules have begun to allow since. What they have ceased to allow will be asked for.
    let after = newest.borrow().clone();
    let mut judge = Judge::new(&after, looked_at);
    let mut failed = Ok(());
    for flow in suspects.iter().filter(|flow| judge.is_stale(flow)) {
        match table.delete(flow) {
            Ok(there) => *deleted += u64::from(there),
            Err(error) => failed = Err(error),
        }
    }
    failed
}

#[cfg(test)]
mod tests;
