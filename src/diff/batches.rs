//! A large plan as several batches, so that none of them holds the kernel for long.
//!
//! Let `P` be a plan, and cut its operations at any of the places that [`Plan::divide`] returns.
//!
//! 1. **Whole**: the parts together are all operations of `P`: a kernel that commits them in order ends with `P.next`.
//! 2. **Never in between**: after each part every frontend has all the elements that it had before, or all that it gets.
//! 3. **Never worse**: a frontend's new elements come with or after the shared elements that its packets need. An address of
//!    `cluster-ips`, which the rules also take to refuse what no frontend asks for, comes together with all of its frontends,
//!    and `service-cidrs`, which only restrict, after all of them. What is shared and not needed any more goes last.
//! 4. **The cluster's own first**: the API server's Service and DNS come before all others.
//!
//! A plan that changes what the rules look up in an existing table has no such places: it is one batch.

use super::plan::{FrontendChange, Plan};
use crate::dataplane::{Element, Frontend, Key, Object, Operation, SetName, Verb};

/// Where in the order an operation belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The program, which stays together.
    Program,
    /// A shared element that frontends need.
    Needed,
    /// With the frontend of this number in the plan.
    Frontend(usize),
    /// With all frontends of an address, of which this is the first: they stay together.
    Address(usize),
    /// A shared element that restricts, or is not needed any more.
    Last,
    /// A range. Ranges must not overlap: their deletions and additions stay together.
    Range,
}

impl Plan {
    /// Puts the operations into an order in which they can be committed in several batches, and returns where one may end: about `step`
    /// operations apart, more where more belong together; the last is the end. A plan of fewer than twice as many
    /// operations stays as it is.
    ///
    /// Costs O(operations).
    pub fn divide(&mut self, step: usize) -> Vec<usize> {
        let whole = vec![self.operations.len()];
        if self.operations.len() < step.saturating_mul(2) || !is_divisible(&self.operations) {
            return whole;
        }
        let Some(places) = places(&self.operations, &self.frontends) else { return whole };
        let (parts, sizes) = parts(&places, &self.frontends, step);
        let ends: Vec<usize> = sizes.iter().scan(0, |end, size| running_sum(end, *size)).collect();
        // The next free place of each part.
        let mut free: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).collect();
        let target = |part: usize| free.get_mut(part).map_or(0, |free| std::mem::replace(free, *free + 1));
        arrange(&mut self.operations, parts.into_iter().map(target).collect());
        ends
    }
}

/// Whether packets are served as before while only some of the elements are there: the table is new, or its rules look up what
/// they looked up before.
fn is_divisible(operations: &[Operation]) -> bool {
    let adds_table = |operation: &Operation| operation.verb == Verb::Add && operation.object == Object::Table;
    let is_new = |family| operations.iter().any(|operation| operation.family == family && adds_table(operation));
    operations.iter().all(|operation| match (operation.verb, &operation.object) {
        (Verb::Delete, Object::Table | Object::Set(_) | Object::Clients { .. } | Object::UnknownSet { .. }) => false,
        // Frontends become members of these together with all else.
        (
            Verb::Add,
            Object::Set(
                SetName::Internal(_)
                | SetName::Slots(..)
                | SetName::WithAffinity(_)
                | SetName::Firewalled
                | SetName::AllowedSources,
            ),
        ) => true,
        (Verb::Add, Object::Set(_) | Object::Clients { .. }) => is_new(operation.family),
        _ => true,
    })
}

/// Where each operation belongs; `None` if one is about a frontend that does not change.
fn places(operations: &[Operation], frontends: &[FrontendChange]) -> Option<Vec<Place>> {
    let mut last = 0;
    let place = |operation: &Operation| {
        let Object::Element(element) = &operation.object else { return Some(Place::Program) };
        let Some(frontend) = frontend(element) else { return Some(of_shared(element, operation.verb, frontends)) };
        // Nearly always the same one or the next: within a set the elements are in the order of the frontends.
        let is_at = |n: usize| frontends.get(n).is_some_and(|change| change.frontend == frontend);
        last = match last {
            same if is_at(same) => same,
            before if is_at(before + 1) => before + 1,
            _ => frontends.binary_search_by_key(&frontend, |change| change.frontend).ok()?,
        };
        Some(Place::Frontend(last))
    };
    operations.iter().map(place).collect()
}

/// The frontend that an element belongs to; `None` if it is shared.
fn frontend(element: &Element) -> Option<Frontend> {
    match element.key {
        Key::Frontend(frontend) | Key::Slot(frontend, _) | Key::Source(frontend, _) | Key::Client(frontend, _) => {
            Some(frontend)
        }
        Key::Addr(_) | Key::Network(_) | Key::Hairpin(..) => None,
    }
}

fn of_shared(element: &Element, verb: Verb, frontends: &[FrontendChange]) -> Place {
    match (element.set, element.key, verb) {
        (SetName::ServiceCidrs, ..) => Place::Range,
        (SetName::Hairpin | SetName::NodeportIps, _, Verb::Add) => Place::Needed,
        (SetName::ClusterIps, Key::Addr(addr), Verb::Add) => {
            let first = frontends.partition_point(|change| change.frontend.addr < addr);
            let is_there = frontends.get(first).is_some_and(|change| change.frontend.addr == addr);
            if is_there { Place::Address(first) } else { Place::Last }
        }
        _ => Place::Last,
    }
}

/// For each frontend the one that it stays together with: itself, or the first of its address.
fn leaders(places: &[Place], frontends: &[FrontendChange]) -> Vec<usize> {
    let mut leaders: Vec<usize> = (0..frontends.len()).collect();
    for place in places {
        let Place::Address(first) = *place else { continue };
        let of_address =
            frontends[first..].iter().take_while(|one| one.frontend.addr == frontends[first].frontend.addr);
        leaders[first..].iter_mut().zip(of_address).for_each(|(leader, _)| *leader = first);
    }
    leaders
}

/// The part of each operation, and the number of operations in each part.
fn parts(places: &[Place], frontends: &[FrontendChange], step: usize) -> (Vec<usize>, Vec<usize>) {
    let count = |wanted| places.iter().filter(|place| **place == wanted).count();
    let leaders = leaders(places, frontends);
    // Of each leader: how many operations, and then which part; and whether it comes first.
    let mut of_leaders = vec![0; frontends.len()];
    let mut urgent = vec![false; frontends.len()];
    for place in places {
        if let Place::Frontend(n) | Place::Address(n) = place {
            of_leaders[leaders[*n]] += 1;
        }
    }
    for (leader, change) in leaders.iter().zip(frontends) {
        urgent[*leader] |= is_urgent(change);
    }
    let mut sizes = vec![0];
    // Takes operations that stay together and gives their part.
    let mut put = |operations: usize| {
        match sizes.last_mut() {
            Some(size) if *size < step => *size += operations,
            _ => sizes.push(operations),
        }
        sizes.len() - 1
    };
    let program = put(count(Place::Program));
    let needed: Vec<usize> = (0..count(Place::Needed)).map(|_| put(1)).collect();
    for now in [true, false] {
        let is_now = |n: &usize| leaders[*n] == *n && urgent[*n] == now;
        (0..frontends.len()).filter(is_now).for_each(|n| of_leaders[n] = put(of_leaders[n]));
    }
    let last: Vec<usize> = (0..count(Place::Last)).map(|_| put(1)).collect();
    let ranges = put(count(Place::Range));
    let (mut needed, mut last) = (needed.into_iter(), last.into_iter());
    let part = |place: &Place| match place {
        Place::Program => program,
        Place::Needed => needed.next().unwrap_or(program),
        Place::Frontend(n) | Place::Address(n) => of_leaders[leaders[*n]],
        Place::Last => last.next().unwrap_or(ranges),
        Place::Range => ranges,
    };
    (places.iter().map(part).collect(), sizes)
}

/// Whether a frontend comes before the others: that of the API server, which this very process may depend on, or of the cluster's
/// DNS.
fn is_urgent(change: &FrontendChange) -> bool {
    let owner = change.after.as_ref().or(change.before.as_ref()).and_then(|installed| installed.owner());
    let service = owner.unwrap_or_default().split(':').next().unwrap_or_default();
    service == "default/kubernetes" || (service.starts_with("kube-system/") && change.frontend.port == 53)
}

fn running_sum(sum: &mut usize, next: usize) -> Option<usize> {
    *sum += next;
    Some(*sum)
}

/// Moves every item to the place that is given for it.
fn arrange<T>(items: &mut [T], mut targets: Vec<usize>) {
    for n in 0..items.len() {
        while targets[n] != n {
            let to = targets[n];
            items.swap(n, to);
            targets.swap(n, to);
        }
    }
}

#[cfg(test)]
mod tests;
