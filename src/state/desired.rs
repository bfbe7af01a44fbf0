//! The dataplane that this node should hold, in terms of frontends and endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use im::OrdMap;

use super::change_set::ChangeSet;
use super::claims::{Claims, Losers};
use super::cluster::Cluster;
use super::compile::{CompiledService, FrontendSpec, SharedDemand, Site, compile};
use super::event::Kind;
use super::few::Few;
use super::flows::frontends_that_lost_flows;
use super::local::{HealthChecks, WithoutLocal};
use super::names::ObjectName;
use super::service_state::{ServiceState, bulk_load_order};
use super::skipped::{ObjectRef, Problem, Reason, Skipped};
use crate::dataplane::{Frontend, Protocol};
use crate::sorted::{Side, differences};

mod hidden;
mod merge;

use merge::{changed_claims, changed_elements};

/// What the dataplane should hold. Cloning costs O(1), and later updates do not change a clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// What every frontend is asked to do. Never an empty claim.
    pub frontends: OrdMap<Frontend, Claims>,
    /// What Services need together, and how often. Never 0.
    pub shared: OrdMap<SharedDemand, u32>,
    /// Whether it is known which of the node's addresses accept NodePorts. Until then those stay that an earlier run accepted them on.
    pub knows_node_port_addresses: bool,
    /// What load balancers may ask this node.
    pub health_checks: HealthChecks,
    /// Service ports whose traffic a policy confines to this node, which has no endpoint of theirs.
    pub without_local: WithoutLocal,
    /// The frontends at addresses that accept NodePorts which hide a NodePort of another Service there: that one's owner.
    hidden_node_ports: OrdMap<Frontend, Arc<str>>,
    /// What the ServiceCIDRs ask for, in order.
    networks: Vec<SharedDemand>,
}

/// What an update of [`Desired`] changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The frontends and shared demands that may have changed.
    pub changed: ChangedKeys,
    /// The NodePorts that may have changed.
    pub node_ports: ChangedNodePorts,
    /// What Services newly ask for and do not get: frontends that others hold, and what the operator does not let them ask for.
    pub skipped: Vec<Skipped>,
    /// Where UDP flows may have become stale, whatever the kernel holds: frontends that came, went, changed hands, or lost endpoints which
    /// flows may stay at.
    pub stale_flows: BTreeSet<Frontend>,
    /// If this changed: the node's addresses that accepted NodePorts, and those that do now, in order.
    pub node_port_addresses: Option<[Arc<[IpAddr]>; 2]>,
}

impl Compiled {
    /// The node's addresses that began or ceased to accept NodePorts.
    pub fn changed_node_port_addresses(&self) -> Vec<IpAddr> {
        let mut changed = Vec::new();
        if let Some([before, after]) = &self.node_port_addresses {
            differences(before.iter(), after.iter(), |_, addr| changed.push(*addr));
        }
        changed
    }
}

/// Frontends and shared demands that may have changed: a superset, in any order and with repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedKeys {
    /// All of them.
    Everything,
    /// These and no others.
    These {
        /// The frontends.
        frontends: Vec<ChangedFrontend>,
        /// The shared demands.
        shared: Vec<SharedDemand>,
        /// At most so many elements have to be written for all of them.
        elements: usize,
    },
}

/// NodePorts that may have changed, for those who serve them by other means than rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedNodePorts {
    /// All of them.
    Everything,
    /// These and no others.
    These(Vec<Frontend>),
}

/// A frontend that may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedFrontend {
    /// The frontend.
    pub frontend: Frontend,
    /// The weight of the change that it belongs to.
    pub weight: Weight,
    /// At most so many of its elements have to be written because of that change.
    pub elements: u32,
}

/// The size of a change: at most so many elements of the Service's frontends may have to be written. 0 if the change is urgent.
pub type Weight = u32;

impl Default for ChangedNodePorts {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl ChangedKeys {
    /// The NodePorts among these keys.
    pub(super) fn node_ports(&self) -> ChangedNodePorts {
        match self {
            Self::Everything => ChangedNodePorts::Everything,
            Self::These { frontends, .. } => {
                let changed = frontends.iter().map(|changed| changed.frontend);
                ChangedNodePorts::These(changed.filter(|frontend| frontend.addr.is_unspecified()).collect())
            }
        }
    }
}

impl Default for ChangedKeys {
    fn default() -> Self {
        Self::These { frontends: Vec::new(), shared: Vec::new(), elements: 0 }
    }
}

/// The frontends with several claims that an update asks something else of, each with the claims that had lost it before.
type Contested = BTreeMap<Frontend, Losers>;

/// The keys that an update touched so far.
#[derive(Default)]
struct Touched {
    frontends: Vec<ChangedFrontend>,
    shared: Vec<SharedDemand>,
    elements: usize,
    contested: Contested,
    stale_flows: BTreeSet<Frontend>,
}

impl Desired {
    /// Everything that a cluster asks for.
    pub fn from_cluster(cluster: &Cluster) -> Self {
        let mut desired = Self::default();
        desired.compile_all(&mut cluster.clone());
        desired
    }

    /// Compiles a whole cluster, whatever was compiled before.
    pub(super) fn compile_all(&mut self, cluster: &mut Cluster) -> Compiled {
        *self = Self::default();
        let mut frontends: Vec<(Frontend, Arc<FrontendSpec>)> = Vec::new();
        let mut shared = networks(cluster);
        self.networks.clone_from(&shared);
        self.health_checks.addresses = cluster.node_port_addresses().into();
        shared.extend(self.health_checks.addresses.iter().copied().map(SharedDemand::NodePortAddress));
        self.knows_node_port_addresses = cluster.knows_node_port_addresses();
        let (view, node) = (cluster.view().clone(), cluster.node().cloned());
        let site = Site { view: &view, node: node.as_ref() };
        let mut skipped: Vec<Skipped> = Vec::new();
        cluster.compile_each(|name, state| {
            let compiled = compile(site, state);
            skipped.extend(new_problems(name, &Few::new(), &compiled.problems));
            self.health_checks.follow(site, name, state);
            self.without_local.replace(&CompiledService::default(), &compiled);
            frontends.extend(compiled.frontends.iter().cloned());
            shared.extend(&compiled.shared);
            compiled
        });
        let contested = self.fill(frontends, shared);
        skipped.extend(contested.iter().flat_map(|frontend| self.newly_lost(frontend, &None)));
        skipped.extend(self.newly_hidden_anywhere());
        Compiled { changed: ChangedKeys::Everything, skipped, ..Compiled::default() }
    }

    /// Compiles the Services that changed, each once, given the cluster after the changes.
    ///
    /// Costs O(endpoints + frontends) of these Services, whatever else the cluster holds.
    pub(super) fn update(&mut self, cluster: &mut Cluster, changes: &ChangeSet) -> Compiled {
        let mut touched = Touched::default();
        let mut skipped: Vec<Skipped> = Vec::new();
        let mut node_port_addresses = None;
        let (nothing, nothing_compiled) = (ServiceState::default(), CompiledService::default());
        for (name, state_before) in &changes.services {
            let state = cluster.service_state(&name.0).unwrap_or(&nothing);
            let site = cluster.site();
            let mut after = compile(site, state);
            self.health_checks.follow(site, &name.0, state);
            let lost = frontends_that_lost_flows(state_before, state, &after, &site.view.guards, Protocol::Udp);
            touched.stale_flows.extend(lost);
            let is_there = state.service.is_some();
            let before = state_before.compiled.as_deref().unwrap_or(&nothing_compiled);
            skipped.extend(new_problems(&name.0, &before.problems, &after.problems));
            self.replace(before, &mut after, &mut touched);
            cluster.keep_compiled(name, is_there.then(|| Arc::new(after)));
        }
        if changes.service_networks {
            let after = networks(cluster);
            let before = std::mem::replace(&mut self.networks, after.clone());
            self.replace_shared(&before, &after, &mut touched);
        }
        if changes.node_port_addresses {
            let after = cluster.node_port_addresses().into();
            let before = std::mem::replace(&mut self.health_checks.addresses, Arc::clone(&after));
            self.keep_hidden_at(&after);
            let [shared_before, shared_after] = [&before, &after]
                .map(|addresses| addresses.iter().copied().map(SharedDemand::NodePortAddress).collect::<Vec<_>>());
            self.replace_shared(&shared_before, &shared_after, &mut touched);
            node_port_addresses = Some([before, after]);
        }
        let stale_flows = std::mem::take(&mut touched.stale_flows);
        let lost = touched.contested.iter().flat_map(|(frontend, before)| self.newly_lost(frontend, before));
        skipped.extend(lost);
        skipped.extend(self.newly_hidden(touched.frontends.iter().map(|changed| changed.frontend)));
        let knew_addresses =
            std::mem::replace(&mut self.knows_node_port_addresses, cluster.knows_node_port_addresses());
        if !knew_addresses && self.knows_node_port_addresses {
            // Those that were kept are compared now.
            return Compiled {
                changed: ChangedKeys::Everything,
                skipped,
                stale_flows,
                node_port_addresses,
                ..Compiled::default()
            };
        }
        let changed = ChangedKeys::These {
            elements: touched.elements + touched.shared.len(),
            frontends: touched.frontends,
            shared: touched.shared,
        };
        Compiled { changed, skipped, stale_flows, node_port_addresses, ..Compiled::default() }
    }

    /// Takes over everything that is asked for, where nothing was asked for before. Returns the frontends with several claims.
    fn fill(
        &mut self,
        mut frontends: Vec<(Frontend, Arc<FrontendSpec>)>,
        mut shared: Vec<SharedDemand>,
    ) -> BTreeSet<Frontend> {
        let mut contested = BTreeSet::new();
        frontends.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.rank().cmp(&other.rank())));
        let mut claimed: Vec<(Frontend, Claims)> = Vec::with_capacity(frontends.len());
        for (frontend, spec) in frontends {
            match claimed.last_mut() {
                Some((last, claims)) if *last == frontend => {
                    claims.add_last(spec);
                    contested.insert(frontend);
                }
                _ => claimed.push((frontend, Claims::from(spec))),
            }
        }
        for (frontend, claims) in bulk_load_order(claimed) {
            self.frontends.insert(frontend, claims);
        }
        shared.sort_unstable();
        let counted =
            shared.chunk_by(PartialEq::eq).map(|same| (same[0], u32::try_from(same.len()).unwrap_or(u32::MAX)));
        for (demand, count) in bulk_load_order(counted.collect()) {
            self.shared.insert(demand, count);
        }
        contested
    }

    /// Replaces what one Service asked for. What it asks for again stays, also in memory.
    fn replace(&mut self, before: &CompiledService, after: &mut CompiledService, touched: &mut Touched) {
        self.without_local.replace(before, after);
        let begin = touched.frontends.len();
        let mut weight: usize = 0;
        let mut urgent = false;
        changed_claims(&before.frontends, &mut after.frontends, |frontend, old, new| {
            urgent |= [old, new].into_iter().flatten().any(|spec| spec.is_urgent(frontend));
            let elements = self.exchange(frontend, old.map(AsRef::as_ref), new.cloned(), touched);
            weight += elements;
            let elements = u32::try_from(elements).unwrap_or(u32::MAX);
            touched.frontends.push(ChangedFrontend { frontend, weight: 0, elements });
        });
        touched.elements += weight;
        let weight = if urgent { 0 } else { Weight::try_from(weight).unwrap_or(Weight::MAX) };
        touched.frontends[begin..].iter_mut().for_each(|changed| changed.weight = weight);
        self.replace_shared(&before.shared, &after.shared, touched);
    }

    /// Replaces shared demands; both lists are in order and have each demand as often as it is made.
    fn replace_shared(&mut self, before: &[SharedDemand], after: &[SharedDemand], touched: &mut Touched) {
        differences(before, after, |side, demand| {
            touched.shared.push(*demand);
            match side {
                Side::After => *self.shared.entry(*demand).or_insert(0) += 1,
                Side::Before => match self.shared.get_mut(demand) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => drop(self.shared.remove(demand)),
                },
            }
        });
    }

    /// Replaces one claim to a frontend, or adds or withdraws one. At most so many elements have to be written for that.
    fn exchange(
        &mut self,
        frontend: Frontend,
        old: Option<&FrontendSpec>,
        new: Option<Arc<FrontendSpec>>,
        touched: &mut Touched,
    ) -> usize {
        let is_udp = frontend.protocol == Protocol::Udp;
        let Some(claims) = self.frontends.get_mut(&frontend) else {
            let elements = changed_elements(None, new.as_deref());
            touched.stale_flows.extend(is_udp.then_some(frontend));
            self.frontends.extend(new.map(|new| (frontend, Claims::from(new))));
            return elements;
        };
        let (winner, losers) = (Arc::clone(claims.winner()), claims.shared_losers().clone());
        if !claims.exchange(old, new) {
            self.frontends.remove(&frontend);
            touched.stale_flows.extend(is_udp.then_some(frontend));
            return changed_elements(Some(&winner), None);
        }
        let elements = changed_elements(Some(&winner), Some(claims.winner()));
        if losers.is_some() || !claims.losers().is_empty() {
            touched.contested.entry(frontend).or_insert(losers);
        }
        if is_udp && winner.owner != claims.winner().owner {
            touched.stale_flows.insert(frontend);
        }
        elements
    }

    /// The service ports that lose this frontend now and did not before.
    fn newly_lost(&self, frontend: &Frontend, before: &Losers) -> Vec<Skipped> {
        let Some(claims) = self.frontends.get(frontend) else { return Vec::new() };
        if claims.losers().is_empty() {
            return Vec::new();
        }
        let had_lost: BTreeSet<&str> =
            before.iter().flat_map(|losers| losers.iter()).map(|spec| &*spec.owner).collect();
        let lost = claims.losers().iter().filter(|spec| !had_lost.contains(&*spec.owner));
        lost.map(|spec| Skipped {
            object: ObjectRef { kind: Kind::Service, name: spec.service.clone() },
            problem: Problem::new(
                frontend.to_string(),
                Reason::FrontendTaken,
                format!("{} {}", claims.winner().owner, claims.rule(spec).text()),
            ),
        })
        .collect()
    }
}

/// The problems of a Service that are of another kind than those which it had before.
fn new_problems(name: &ObjectName, before: &Few<Problem>, after: &Few<Problem>) -> impl Iterator<Item = Skipped> {
    let is_new =
        |problem: &&Problem| !before.iter().any(|old| (&old.field, old.reason) == (&problem.field, problem.reason));
    let skip = |problem: &Problem| Skipped {
        object: ObjectRef { kind: Kind::Service, name: name.clone() },
        problem: problem.clone(),
    };
    after.iter().filter(is_new).map(skip)
}

/// What the ServiceCIDRs ask for, in order.
fn networks(cluster: &Cluster) -> Vec<SharedDemand> {
    let mut demands: Vec<SharedDemand> =
        cluster.service_networks().into_iter().map(SharedDemand::ServiceNetwork).collect();
    demands.sort_unstable();
    demands
}

#[cfg(test)]
mod tests;
