//! Work is bounded by the change: what a change may cost at most, whatever else the cluster holds.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use pointsman::diff::Plan;
use pointsman::state::{ObjectName, Service};

use crate::model::Model;
use crate::world::{Checked, World, broken};

/// Operations for one frontend beside its endpoints: its sets, its own chains and map, and what sources it allows.
const PER_FRONTEND: usize = 30;
/// Operations for one endpoint of one frontend: slots and ids of both lists, deleted and added, and the way to itself.
const PER_ENDPOINT: usize = 12;

/// What may be spent.
#[derive(Debug, Default)]
pub struct Budget {
    /// Operations that may still be committed; `None` while everything is compared.
    left: Option<usize>,
}

impl World {
    /// A version follows another.
    pub fn allow(&mut self) {
        let [.., before, after] = &self.versions[..] else { return };
        let cost = cost(before, after);
        self.budget.left = self.budget.left.zip(cost).map(|(left, cost)| left.saturating_add(cost));
    }

    /// Nothing waits, and nothing is left to be deleted: from now on only changes may cost something.
    pub fn begin_budget(&mut self) {
        self.budget.left.get_or_insert(0);
    }

    /// The tables are not known any more, or are not what they were.
    pub fn end_budget(&mut self) {
        self.budget.left = None;
    }

    /// A plan is about to be committed.
    pub fn spend(&mut self, plan: &Plan) -> Checked {
        // The program costs what it is long, however small the change is that needs it.
        let program: usize = plan.tables.iter().map(|table| table.operations).sum();
        let spent = plan.operations.len().saturating_sub(program);
        let Some(left) = self.budget.left else { return Ok(()) };
        let Some(rest) = left.checked_sub(spent) else {
            let operations: Vec<String> = plan.operations.iter().map(ToString::to_string).collect();
            return broken(
                "work is bounded by the change",
                format!("{spent} operations, {left} allowed: {operations:#?}"),
            );
        };
        self.budget.left = Some(rest);
        Ok(())
    }
}

/// The most operations for a change; `None` where every Service may change with it.
fn cost(before: &Model, after: &Model) -> Option<usize> {
    if before.node != after.node || before.cidrs != after.cidrs {
        return None;
    }
    let mut touched: BTreeSet<&ObjectName> = BTreeSet::new();
    let names = before.services.keys().chain(after.services.keys());
    touched.extend(names.filter(|name| !is_same(before.services.get(*name), after.services.get(*name))));
    let slices: BTreeSet<&ObjectName> = before.slices.keys().chain(after.slices.keys()).collect();
    let mut owners: BTreeSet<ObjectName> = BTreeSet::new();
    for name in slices {
        let (old, new) = (before.slices.get(name), after.slices.get(name));
        if !is_same(old, new) {
            owners.extend([old, new].into_iter().flatten().map(|it| ObjectName::new(it.name.namespace(), &it.service)));
        }
    }
    touched.extend(&owners);
    // Another Service may ask for the same addresses and ports, and take its turn.
    let of = |name: &ObjectName| [before.services.get(name), after.services.get(name)].into_iter().flatten();
    let mut claims = BTreeSet::new();
    touched.iter().flat_map(|name| of(name)).for_each(|service| claims.extend(claimed(service)));
    let all: BTreeSet<&ObjectName> = before.services.keys().chain(after.services.keys()).collect();
    let shares = |name: &&ObjectName| of(name).any(|service| claimed(service).any(|claim| claims.contains(&claim)));
    let concerned = all.into_iter().filter(shares);
    Some(concerned.map(|name| weight(before, name) + weight(after, name)).sum())
}

fn is_same<T: PartialEq>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// What a Service asks for: addresses, and NodePorts.
fn claimed(service: &Service) -> impl Iterator<Item = (Option<IpAddr>, u16)> {
    let addresses = service.cluster_ips.iter().chain(&*service.external_ips).chain(&*service.load_balancer_ips);
    let addresses = addresses.map(|addr| (Some(*addr), 0));
    addresses.chain(service.ports.iter().filter_map(|port| Some((None, port.node_port?.get()))))
}

/// The most operations for everything that a Service has.
fn weight(model: &Model, name: &ObjectName) -> usize {
    let Some(service) = model.services.get(name) else { return 0 };
    let of_service = |slice: &&Arc<pointsman::state::EndpointSlice>| {
        *slice.service == *name.name() && slice.name.namespace() == name.namespace()
    };
    let slices = model.slices.values().filter(of_service);
    let endpoints: usize = slices.map(|slice| slice.endpoints.len() * slice.ports.len().max(1)).sum();
    let addresses = service.cluster_ips.len() + service.external_ips.len() + service.load_balancer_ips.len();
    let frontends = service.ports.len() * (addresses + 2);
    PER_FRONTEND * (frontends + addresses) + PER_ENDPOINT * endpoints * (frontends + 1)
}
