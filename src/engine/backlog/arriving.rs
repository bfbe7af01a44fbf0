//! New ClusterIPs: with which frontends an address comes, and what waits for it.

use std::collections::BTreeMap;

use super::{Backlog, Comparison, MAX_SMALL, Selection};
use crate::dataplane::{Frontend, SetName};
use crate::diff::{SharedElement, program_sets};
use crate::state::{ChangedFrontend, SharedDemand};

impl Backlog {
    /// Takes a frontend, with all frontends of its address if that is a new ClusterIP and they fit into `room`, in operations, or have to be
    /// in one group. Returns about how many operations that takes.
    pub(super) fn take_frontend(
        &mut self,
        changed: ChangedFrontend,
        with: Comparison<'_>,
        (room, grouped): (usize, bool),
        selection: &mut Selection,
    ) -> usize {
        let ChangedFrontend { frontend, elements, weight } = changed;
        let address = SharedElement::from(SharedDemand::ClusterIp(frontend.addr));
        let begin = selection.frontends.len();
        let mut size = 1 + elements as usize;
        if !with.held.shared.contains(&address) && self.shared.remove(&address) {
            with.each_at(frontend, |frontend| selection.frontends.push(frontend));
            let others = selection.frontends[begin..].iter().filter(|other| **other != frontend);
            // Some come twice.
            let waiting: BTreeMap<Frontend, u32> =
                others.filter_map(|other| Some((*other, self.queue.get(other)?.elements))).collect();
            let size_of_all = size + waiting.values().map(|elements| *elements as usize).sum::<usize>();
            if grouped || size_of_all <= room {
                selection.shared.push(address);
                for other in waiting.keys() {
                    self.queue.remove(other);
                }
                size = size_of_all;
            } else {
                selection.frontends.truncate(begin);
                // What has to be there before packets reach this one is as urgent. A small port makes no large address small.
                if weight == 0 || size_of_all <= MAX_SMALL as usize {
                    waiting.keys().for_each(|other| self.queue.hurry(other, weight));
                }
                let is_new = |other: &Frontend| with.is_new(other);
                self.arriving.insert(address, waiting.into_keys().filter(is_new).collect());
                size = self.take_one_of_address(changed, address, with, selection);
            }
        } else {
            size = self.take_one_of_address(changed, address, with, selection);
        }
        if grouped && selection.frontends.len() > begin {
            selection.group_ends.push(selection.frontends.len());
        }
        size
    }

    /// Takes a frontend, and its ClusterIP if that is new and waits for no other; or another one of the address in its place, if it has to
    /// wait for the address. Returns about how many operations that takes.
    fn take_one_of_address(
        &mut self,
        changed: ChangedFrontend,
        address: SharedElement,
        with: Comparison<'_>,
        selection: &mut Selection,
    ) -> usize {
        let mut taken = changed;
        if let Some(other) = self.awaited(changed.frontend, address, with) {
            // What is new is not programmed before its address is.
            self.newest =
                self.newest.map(|newest| if changed.weight > newest { newest } else { newest.max(other.weight) });
            if with.needs_address_first(changed.frontend) {
                if changed.weight > 0 && changed.weight < other.weight {
                    self.queue.add(ChangedFrontend { weight: other.weight, ..changed });
                    return 0;
                }
                taken = self.queue.remove(&other.frontend).unwrap_or(other);
                self.arriving.get_mut(&address).map(|waiting| waiting.remove(&other.frontend));
                self.queue.add(changed);
            }
        } else if self.arriving.remove(&address).is_some() {
            selection.shared.push(address);
        }
        if !with.quarantine.contains(&taken.frontend) {
            selection.frontends.push(taken.frontend);
        }
        1 + taken.elements as usize
    }

    /// The first other frontend that a new ClusterIP waits for, if there is one.
    fn awaited(&mut self, frontend: Frontend, address: SharedElement, with: Comparison<'_>) -> Option<ChangedFrontend> {
        let waiting = self.arriving.get_mut(&address)?;
        waiting.remove(&frontend);
        // What is not wanted any more, or was taken, needs no address.
        let is_awaited = |other: &Frontend| with.desired.frontends.contains_key(other) && self.queue.contains(other);
        while waiting.first().is_some_and(|first| !is_awaited(first)) {
            waiting.pop_first();
        }
        if waiting.is_empty() {
            // Ports may have come meanwhile. What changed again does not count: the address would wait for ever under changes that never end.
            with.each_at(frontend, |other| {
                if is_awaited(&other) && with.is_new(&other) {
                    waiting.insert(other);
                }
            });
        }
        self.queue.get(waiting.first()?)
    }
}

impl Comparison<'_> {
    /// Whether a frontend is asked for and packets find nothing of it so far: no more than leftovers is there.
    fn is_new(&self, frontend: &Frontend) -> bool {
        self.desired.frontends.contains_key(frontend)
            && self.held.frontends.get(frontend).is_none_or(|held| held.gates().next().is_none())
    }

    /// Whether packets find a frontend without its ClusterIP, and will not any more.
    fn needs_address_first(&self, frontend: Frontend) -> bool {
        let (held, claims) = (self.held.frontends.get(&frontend), self.desired.frontends.get(&frontend));
        let (Some(held), Some(claims)) = (held, claims) else { return false };
        let features = self.held.features(frontend.family());
        // The first class is tested before the address.
        let first = features.and_then(|features| features.internal.first()).map(|class| SetName::Internal(*class));
        let is_behind_address =
            |set: SetName| matches!(set, SetName::Internal(_) | SetName::InternalAffinity) && Some(set) != first;
        let mut gates = held.gates().peekable();
        gates.peek().is_some()
            && !gates.any(is_behind_address)
            && program_sets(frontend, claims.winner()).any(is_behind_address)
    }

    /// Each frontend of an address that is held or asked for, and may be changed; some twice.
    pub(super) fn each_at(&self, frontend: Frontend, mut each: impl FnMut(Frontend)) {
        let first = Frontend::first_at(frontend.addr);
        let held = self.held.frontends.range(first..).map(|(frontend, _)| *frontend);
        let wanted = self.desired.frontends.range(first..).map(|(frontend, _)| *frontend);
        let is_here = |other: &Frontend| other.addr == frontend.addr;
        let both = held.take_while(is_here).chain(wanted.take_while(is_here));
        both.filter(|frontend| !self.quarantine.contains(frontend)).for_each(&mut each);
    }
}
