//! Forgetting the clients of endpoints that are gone (`sessionAffinity: ClientIP`).
//!
//! Who was sent where is remembered by packets, in maps that only the kernel knows. When an endpoint leaves a frontend, the maps are
//! read and its clients are deleted from them, after the commit that took the endpoint away and beside the loop: reading the maps
//! takes time that grows with the number of clients, and no commit waits for it.
//!
//! ```text
//! commit without the endpoint ─▶ read the map ─▶ delete its clients ─▶ a moment later: read and delete once more
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
use crate::metrics::CLIENTS_FORGOTTEN;
use crate::state::Desired;

/// Most clients that are forgotten in one batch: a short one keeps no other writer of nf_tables waiting.
const BATCH: usize = 1000;
/// When to look once more. A packet is through the rules long before.
const MOMENT: Duration = Duration::from_millis(100);
/// Pause after a failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a commit changed for clients.
#[derive(Clone, Debug)]
pub struct Departure {
    /// What the kernel holds since.
    pub desired: Desired,
    /// The endpoints that clients left.
    pub left: BTreeSet<(Frontend, Endpoint)>,
    /// The maps in which there may be clients to forget: family, and whether of NodePorts.
    pub maps: BTreeSet<(Family, bool)>,
}

/// Where the loop says what clients left.
pub type Departures = mpsc::UnboundedSender<Departure>;

impl Departure {
    /// After a commit that made clients leave these endpoints; `None` if there are none.
    pub fn of(left: &BTreeSet<(Frontend, Endpoint)>, desired: &Desired) -> Option<Self> {
        let maps = left.iter().map(|(frontend, _)| (frontend.family(), frontend.is_node_port())).collect();
        (!left.is_empty()).then(|| Self { desired: desired.clone(), left: left.clone(), maps })
    }

    /// After the first commit of a process: an earlier one may have ended before it forgot everybody.
    pub fn after_start(left: &BTreeSet<(Frontend, Endpoint)>, desired: &Desired, families: &[Family]) -> Self {
        let maps = families.iter().flat_map(|family| [(*family, false), (*family, true)]).collect();
        Self { desired: desired.clone(), left: left.clone(), maps }
    }

    /// Both departures as one.
    fn and_then(self, mut later: Self) -> Self {
        later.left.extend(self.left);
        later.maps.extend(self.maps);
        later
    }
}

/// Forgets clients until the loop ends and everybody is forgotten. Failures are logged and tried again.
pub async fn run(mut backend: impl Backend, mut departures: mpsc::UnboundedReceiver<Departure>) {
    let mut pause = FIRST_PAUSE;
    let mut waiting: Option<Departure> = None;
    loop {
        let first = match waiting.take() {
            Some(departure) => departure,
            None => match departures.recv().await {
                Some(departure) => departure,
                None => return,
            },
        };
        let departure = std::iter::from_fn(|| departures.try_recv().ok()).fold(first, Departure::and_then);
        match twice(&mut backend, &departure).await {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "clients of removed endpoints may still be sent to them: forgetting them failed and is tried again"
                );
                waiting = Some(departure);
                if departures.is_closed() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
}

async fn twice(backend: &mut impl Backend, departure: &Departure) -> Result<(), Error> {
    if sweep(backend, departure, &departure.left).await? > 0 {
        tokio::time::sleep(MOMENT).await;
        // Since the commit nobody is newly sent to an endpoint that was left, but where another list still has it.
        sweep(backend, departure, &BTreeSet::new()).await?;
    }
    Ok(())
}

/// Reads the maps and deletes whom it has to; returns how many.
async fn sweep(
    backend: &mut impl Backend,
    departure: &Departure,
    left: &BTreeSet<(Frontend, Endpoint)>,
) -> Result<usize, Error> {
    let mut forgotten = 0;
    for (family, node_port) in &departure.maps {
        let mut clients = backend.clients(*family, *node_port).await?;
        clients.retain(|client| is_stale(client, &departure.desired, left));
        for batch in clients.chunks(BATCH) {
            forget(backend, batch).await?;
        }
        counter!(CLIENTS_FORGOTTEN, "ip_family" => family.label()).increment(clients.len() as u64);
        forgotten += clients.len();
    }
    if forgotten > 0 {
        tracing::info!(clients = forgotten, "forgot clients of endpoints that are gone");
    }
    Ok(forgotten)
}

/// Deletes these clients. The kernel refuses a batch in which one is missing, and each may expire at any moment.
async fn forget(backend: &mut impl Backend, clients: &[Element]) -> Result<(), Error> {
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
