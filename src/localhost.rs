//! NodePorts on the loopback addresses: a small TCP proxy, as kube-proxy 1.38 has it for nftables mode (KEP-6032).
//!
//! The kernel sends no packet that comes from 127.0.0.1 or ::1 to another host, so no rule can translate such a connection. Programs on the
//! node that were built for kube-proxy's iptables mode use `localhost:<NodePort>` all the same, image registries above all. So each TCP
//! NodePort has a listener on the loopback address of its family, and connections are carried to an endpoint by hand.
//!
//! ```text
//!  loop:  compiled ─▶ NodePorts that changed ─▶ pending ─┐
//!  task:                                                 └▶ listeners ─▶ accept ─▶ choose ─▶ connect ─▶ copy both ways
//! ```
//!
//! The endpoints are those that the node itself would be balanced over, so `externalTrafficPolicy: Local` does not confine it; an endpoint
//! that refuses the connection is passed over. Connections are bounded, in total and for each port: at a bound the next ones wait, unaccepted. A
//! port that another program has costs only that listener.

mod choice;
mod forward;
mod listener;
mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::dataplane::{Family, Frontend, Protocol};
use crate::follow::Follower;
use crate::observe::Events;
use crate::state::{ChangedNodePorts, Compiled, FrontendSpec, Snapshot};
use crate::tasks::Supervisor;
use ports::LoopbackPorts;

/// A NodePort in one family.
type PortKey = (Family, NonZeroU16);

/// What a NodePort does now; `None` if it is gone.
type Changes = BTreeMap<PortKey, Option<Arc<FrontendSpec>>>;

/// How many connections may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopbackLimits {
    /// Through all listeners together.
    pub connections: usize,
    /// Through one of them.
    pub per_port: usize,
    /// How many listeners there may be.
    pub listeners: usize,
}

impl LoopbackLimits {
    /// Limits for a process that may have so many descriptors open: of those above 1,024, which other ports share, a quarter for
    /// connections, which take two each; and an eighth of all for listeners.
    pub fn for_descriptors(descriptors: u64) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let connections = (descriptors.saturating_sub(1_024) / 8).clamp(16, 8_192);
        Self { connections, per_port: connections.div_ceil(2), listeners: (descriptors / 8).clamp(16, 1 << 16) }
    }
}

/// Tells the listeners which NodePorts there are.
#[derive(Debug)]
pub struct LocalhostFollower {
    families: BTreeSet<Family>,
    pending: Arc<PendingPorts>,
}

/// What the listeners have not taken yet.
#[derive(Debug, Default)]
struct PendingPorts {
    changes: Mutex<Changes>,
    changed: Notify,
}

impl LocalhostFollower {
    /// Starts to serve the NodePorts of these families, as a task of `supervisor`.
    pub fn start(families: BTreeSet<Family>, limits: LoopbackLimits, events: Events, supervisor: &Supervisor) -> Self {
        let pending = Arc::<PendingPorts>::default();
        let ports = LoopbackPorts::new(limits, events);
        supervisor.spawn("NodePorts on the loopback addresses", ports.run(Arc::clone(&pending)));
        Self { families, pending }
    }

    /// The key of a frontend that is a NodePort and served here.
    fn key(&self, frontend: Frontend) -> Option<PortKey> {
        let family = Family::from_addr(frontend.addr);
        let is_served = frontend.addr.is_unspecified() && frontend.protocol == Protocol::Tcp;
        Some((family, NonZeroU16::new(frontend.port)?)).filter(|_| is_served && self.families.contains(&family))
    }
}

impl PendingPorts {
    /// Waits until there are changes, and takes all of them.
    async fn take(&self) -> Changes {
        loop {
            let changes = std::mem::take(&mut *self.lock());
            if !changes.is_empty() {
                return changes;
            }
            self.changed.notified().await;
        }
    }

    /// No panic leaves the changes half made, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for LocalhostFollower {
    fn compiled(&mut self, compiled: &Compiled, snapshot: &Snapshot, _: bool) {
        let frontends = &snapshot.desired().frontends;
        let winner = |frontend: &Frontend| frontends.get(frontend).map(|claims| Arc::clone(claims.winner()));
        let changes: Changes = match &compiled.node_ports {
            ChangedNodePorts::Everything => {
                let all = frontends.iter();
                all.filter_map(|(frontend, claims)| Some((self.key(*frontend)?, Some(Arc::clone(claims.winner())))))
                    .collect()
            }
            ChangedNodePorts::These(changed) => {
                changed.iter().filter_map(|frontend| Some((self.key(*frontend)?, winner(frontend)))).collect()
            }
        };
        if !changes.is_empty() {
            self.pending.lock().extend(changes);
            self.pending.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
