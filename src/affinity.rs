//! Deleting the remembered clients of endpoints that are gone (`sessionAffinity: ClientIP`).
//!
//! Packets record which client was sent where, in maps that only the kernel reads. When an endpoint leaves a frontend, the maps are
//! dumped and its clients are deleted from them, after the commit that took the endpoint away and on a task of its own: a dump takes time
//! that grows with the number of clients, and no commit waits for it.
//!
//! ```text
//! commit without the endpoint ─▶ dump the map ─▶ delete its clients ─▶ a moment later: dump and delete once more
//! ```
//!
//! The second time is for connections that were on their way through the rules during the first.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics::counter;
use tokio::sync::mpsc;

use crate::apply::{Backend, Error, Refusal};
use crate::dataplane::{Element, Endpoint, Family, Frontend, Operation};
use crate::diff::is_stale;
use crate::engine::{Committed, Failed, Failure};
use crate::follow::{Effort, Follower};
use crate::metrics::CLIENTS_FORGOTTEN;
use crate::pacing::Backoff;
use crate::state::{Desired, Snapshot};

/// The most clients that are deleted in one batch: a short one keeps no other writer of nf_tables waiting.
const MAX_CLIENTS_PER_BATCH: usize = 1000;
/// The pause before the second dump. A packet is through the rules long before.
const SECOND_DUMP_PAUSE: Duration = Duration::from_millis(100);
/// The pauses after failures.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// What a commit changed for remembered clients.
#[derive(Clone, Debug)]
pub struct AffinityPurge {
    /// What the kernel should hold since.
    pub desired: Desired,
    /// The endpoints that clients are not sent to any more.
    pub vacated: BTreeSet<(Frontend, Endpoint)>,
    /// The maps in which such clients may be: family, and whether of NodePorts.
    pub maps: BTreeSet<(Family, bool)>,
}

/// Sends a purge after each commit that vacates endpoints.
#[derive(Debug)]
pub struct AffinityFollower {
    purges: mpsc::UnboundedSender<AffinityPurge>,
    families: Vec<Family>,
    /// What failed plans vacated: they may be committed in part.
    vacated: BTreeSet<(Frontend, Endpoint)>,
    /// Everything was programmed at least once.
    caught_up_before: bool,
}

impl AffinityFollower {
    /// A follower for the tables of these families, and the purges that [`run`] takes.
    pub fn channel(families: &[Family]) -> (Self, mpsc::UnboundedReceiver<AffinityPurge>) {
        let (purges, received) = mpsc::unbounded_channel();
        (Self { purges, families: families.to_vec(), vacated: BTreeSet::new(), caught_up_before: false }, received)
    }
}

impl Follower for AffinityFollower {
    fn committed(&mut self, committed: &Committed, snapshot: &Snapshot, _: Effort) {
        let mut vacated = std::mem::take(&mut self.vacated);
        vacated.extend(&committed.plan.vacated);
        // An earlier process may have ended before it deleted all clients.
        let after_start = committed.is_caught_up() && !std::mem::replace(&mut self.caught_up_before, true);
        let all = || self.families.iter().flat_map(|family| [(*family, false), (*family, true)]).collect();
        let maps: BTreeSet<(Family, bool)> = if after_start && committed.has_affinity {
            all()
        } else {
            vacated.iter().map(|(frontend, _)| (frontend.family(), frontend.is_node_port())).collect()
        };
        if !maps.is_empty() {
            // The receiver is gone only when the process is about to end.
            let _ = self.purges.send(AffinityPurge { desired: snapshot.desired().clone(), vacated, maps });
        }
    }

    fn failed(&mut self, failed: &Failed, _: &Failure, _: Duration) {
        if failed.is_search {
            return;
        }
        self.vacated.extend(&failed.plan.vacated);
    }
}

impl AffinityPurge {
    /// Both purges as one.
    fn and_then(self, mut later: Self) -> Self {
        later.vacated.extend(self.vacated);
        later.maps.extend(self.maps);
        later
    }
}

/// Deletes clients until the loop ends and no purge is vacated. Failures are logged and tried again.
pub async fn run(mut backend: impl Backend, mut purges: mpsc::UnboundedReceiver<AffinityPurge>) {
    let mut failures = 0;
    let mut waiting: Option<AffinityPurge> = None;
    loop {
        let first = match waiting.take() {
            Some(purge) => purge,
            None => match purges.recv().await {
                Some(purge) => purge,
                None => return,
            },
        };
        let purge = std::iter::from_fn(|| purges.try_recv().ok()).fold(first, AffinityPurge::and_then);
        match twice(&mut backend, &purge).await {
            Ok(()) => failures = 0,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "cannot delete the remembered clients of removed endpoints, which are still sent there; tried again"
                );
                waiting = Some(purge);
                if purges.is_closed() {
                    return;
                }
                failures += 1;
                tokio::time::sleep(BACKOFF.pause(failures)).await;
            }
        }
    }
}

async fn twice(backend: &mut impl Backend, purge: &AffinityPurge) -> Result<(), Error> {
    if sweep(backend, purge, &purge.vacated).await? > 0 {
        tokio::time::sleep(SECOND_DUMP_PAUSE).await;
        // Since the commit no client is newly sent to a vacated endpoint, but where another list still has it.
        sweep(backend, purge, &BTreeSet::new()).await?;
    }
    Ok(())
}

/// Dumps the maps and deletes stale clients. Returns how many.
async fn sweep(
    backend: &mut impl Backend,
    purge: &AffinityPurge,
    vacated: &BTreeSet<(Frontend, Endpoint)>,
) -> Result<usize, Error> {
    let mut deleted = 0;
    for (family, node_port) in &purge.maps {
        let mut clients = backend.clients(*family, *node_port).await?;
        clients.retain(|client| is_stale(client, &purge.desired, vacated));
        for batch in clients.chunks(MAX_CLIENTS_PER_BATCH) {
            delete(backend, batch).await?;
        }
        counter!(CLIENTS_FORGOTTEN, "ip_family" => family.label()).increment(clients.len() as u64);
        deleted += clients.len();
    }
    if deleted > 0 {
        tracing::info!(clients = deleted, "deleted remembered clients of removed endpoints");
    }
    Ok(deleted)
}

/// Deletes these clients. The kernel refuses a batch in which one is missing, and each may expire at any moment.
async fn delete(backend: &mut impl Backend, clients: &[Element]) -> Result<(), Error> {
    let operations: Vec<Operation> = clients.iter().cloned().map(Operation::delete_element).collect();
    let missing = |error: &Error| error.refusal() == Some(Refusal::Missing);
    match backend.commit(&operations).await {
        Err(error) if missing(&error) => {}
        done => return done.map(drop),
    }
    for operation in operations.chunks(1) {
        match backend.commit(operation).await {
            Err(error) if !missing(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
