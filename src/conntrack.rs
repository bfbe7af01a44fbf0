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
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::dataplane::{Family, Frontend, Protocol};
use crate::diff::{Deviation, FrontendChange, Plan, SharedElement};
use crate::engine::{Committed, Failed, Failure};
use crate::follow::{Effort, Follower, ReadBack};
use crate::state::{Compiled, SharedDemand, Snapshot};
use crate::tasks::Supervisor;
use stale::changed;
use worker::Worker;

mod flow;
mod kernel;
mod request;
mod stale;
mod untranslated;
mod worker;

pub use flow::Flow;
pub use kernel::ConntrackSocket;
pub use request::FlowsToCheck;
pub use untranslated::delete_untranslated;
pub use worker::remove_stale;

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
pub struct ConntrackFollower {
    families: Vec<Family>,
    newest: watch::Sender<Snapshot>,
    requests: mpsc::UnboundedSender<FlowsToCheck>,
    /// How many requests the worker got.
    requested: u64,
    /// How many of them it has done.
    done: Arc<AtomicU64>,
    /// Where flows may be stale, and the worker was not asked to look yet: what changed in the cluster since the last commit, and what
    /// failed plans changed, which may be committed in part.
    ///
    /// Flows are judged by the newest snapshot, which may be ahead of the kernel. So a frontend that comes back and goes again before any
    /// commit is looked at twice, although no plan changes it.
    suspects: BTreeSet<Frontend>,
    /// Any flow may be stale: before everything was programmed once, and after another program changed elements.
    suspects_all: bool,
    /// What changed about NodePorts since everything was programmed last.
    node_ports: NodePortChanges,
    /// The addresses that accept NodePorts in the kernel. Those of an earlier process stay there until the Node is known.
    accepting: BTreeSet<IpAddr>,
}

/// What changes about NodePorts while a change is programmed in several commits. Together they decide whether a flow is stale, whichever
/// comes first.
#[derive(Debug, Default)]
struct NodePortChanges {
    /// Addresses that began or ceased to accept NodePorts.
    addresses: BTreeSet<IpAddr>,
    /// UDP NodePorts that went.
    gone: BTreeSet<Frontend>,
    /// All NodePorts have to be looked at, because such an address changed.
    is_new: bool,
}

impl NodePortChanges {
    fn address_changed(&mut self, addr: IpAddr) {
        self.addresses.insert(addr);
        self.is_new = true;
    }

    /// A plan was committed, or may be.
    fn follow(&mut self, plan: &Plan) {
        plan.shared
            .iter()
            .filter_map(|change| accepting_address(&change.element))
            .for_each(|addr| self.address_changed(addr));
        let is_gone = |change: &&FrontendChange| change.after.is_none() && is_udp_node_port(&change.frontend);
        self.gone.extend(plan.frontends.iter().filter(is_gone).map(|change| change.frontend));
    }
}

/// The address that accepts NodePorts by this element.
fn accepting_address(element: &SharedElement) -> Option<IpAddr> {
    match element.demand() {
        Some(SharedDemand::NodePortAddress(addr)) => Some(addr),
        _ => None,
    }
}

/// The UDP frontends that packets reach from this plan on, because their address comes: they may have been programmed before.
fn reached(plan: &Plan, snapshot: &Snapshot) -> BTreeSet<Frontend> {
    let addresses = plan.shared.iter().filter_map(|change| match change.element.demand() {
        Some(SharedDemand::ClusterIp(addr)) if change.added => Some(addr),
        _ => None,
    });
    let frontends = &snapshot.desired().frontends;
    let at = |addr| frontends.range(Frontend::first_at(addr)..).take_while(move |(frontend, _)| frontend.addr == addr);
    let all = addresses.flat_map(at).map(|(frontend, _)| *frontend);
    all.filter(|frontend| frontend.protocol == Protocol::Udp).collect()
}

fn is_udp_node_port(frontend: &Frontend) -> bool {
    frontend.protocol == Protocol::Udp && frontend.is_node_port()
}

impl ConntrackFollower {
    /// Starts the worker, as a task of `supervisor`. It works until the follower is dropped and all that was requested was looked at once.
    pub fn start(families: &[Family], table: impl Table, supervisor: &Supervisor) -> (Self, JoinHandle<()>) {
        let (follower, requests) = Self::channel(families);
        let (newest, done) = (follower.newest.subscribe(), Arc::clone(&follower.done));
        let worker = Worker::new(families, table, newest, requests, done).run();
        let worker = supervisor.spawn_finite("the removal of stale UDP flows", worker);
        (follower, worker)
    }

    /// The follower, and the flows that it asks to look at: for a worker, or a simulation of one.
    pub fn channel(families: &[Family]) -> (Self, mpsc::UnboundedReceiver<FlowsToCheck>) {
        let (requests, received) = mpsc::unbounded_channel();
        let follower = Self {
            families: families.to_vec(),
            newest: watch::Sender::new(Snapshot::default()),
            requests,
            requested: 0,
            done: Arc::new(AtomicU64::new(0)),
            suspects: BTreeSet::new(),
            suspects_all: true,
            node_ports: NodePortChanges::default(),
            accepting: BTreeSet::new(),
        };
        (follower, received)
    }

    /// The newest snapshot, by which flows are judged.
    pub fn newest(&self) -> watch::Receiver<Snapshot> {
        self.newest.subscribe()
    }
}

impl Follower for ConntrackFollower {
    fn read(&mut self, found: &ReadBack) {
        self.accepting = found.held.shared.iter().filter_map(accepting_address).collect();
        // Another program may have deleted what led to an endpoint that is not asked for any more. No commit takes that endpoint away then.
        let is_elements = |deviation: &Deviation| matches!(deviation, Deviation::Frontends(..));
        if found.deviations.iter().flatten().any(is_elements) {
            self.suspects_all = true;
        }
    }

    fn compiled(&mut self, compiled: &Compiled, _: &Snapshot, _: bool) {
        if !compiled.stale_flows.is_empty() {
            self.suspects.extend(&compiled.stale_flows);
        }
        compiled.changed_node_port_addresses().into_iter().for_each(|addr| self.node_ports.address_changed(addr));
    }

    fn committing(&mut self, snapshot: &Snapshot) {
        self.newest.send_replace(snapshot.clone());
    }

    fn committed(&mut self, committed: &Committed, snapshot: &Snapshot, _: Effort) {
        let mut frontends = std::mem::take(&mut self.suspects);
        frontends.append(&mut changed(&committed.plan.frontends));
        self.node_ports.follow(&committed.plan);
        for change in &committed.plan.shared {
            match accepting_address(&change.element) {
                Some(addr) if change.added => drop(self.accepting.insert(addr)),
                Some(addr) => drop(self.accepting.remove(&addr)),
                None => {}
            }
        }
        if !committed.plan.shared.is_empty() {
            frontends.append(&mut reached(&committed.plan, snapshot));
        }
        // What changes later is looked at then, at all of these addresses.
        if std::mem::take(&mut self.node_ports.is_new) {
            let newest = self.newest.borrow();
            frontends.extend(newest.desired().frontends.keys().filter(|frontend| is_udp_node_port(frontend)));
            frontends.extend(&self.node_ports.gone);
        }
        // An endpoint may have gone unnoticed, as while no proxy ran.
        if self.suspects_all && committed.is_caught_up() {
            let newest = self.newest.borrow();
            let all = newest.desired().frontends.keys();
            frontends.extend(all.filter(|frontend| frontend.protocol == Protocol::Udp));
            self.suspects_all = false;
        }
        frontends.retain(|frontend| self.families.contains(&frontend.family()));
        let mut node_port_addresses = BTreeSet::new();
        if frontends.iter().any(is_udp_node_port) {
            node_port_addresses = snapshot.cluster().all_node_port_addresses();
            node_port_addresses.extend(&self.node_ports.addresses);
            node_port_addresses.extend(&self.accepting);
        }
        if committed.is_caught_up() {
            self.node_ports = NodePortChanges::default();
        }
        if !frontends.is_empty() {
            self.requested += 1;
            // A worker that has ended has said why.
            let _ = self.requests.send(FlowsToCheck { frontends, node_port_addresses });
        } else if self.done.load(Ordering::Acquire) == self.requested {
            // While the worker holds no snapshot, the engine changes its own in place.
            self.newest.send_replace(Snapshot::default());
        }
    }

    fn failed(&mut self, failed: &Failed, _: &Failure, _: Duration) {
        if !failed.is_search {
            self.suspects.append(&mut changed(&failed.plan.frontends));
            let newest = self.newest.borrow();
            self.suspects.append(&mut reached(&failed.plan, &newest));
            drop(newest);
            self.node_ports.follow(&failed.plan);
        }
    }
}
