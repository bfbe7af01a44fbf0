//! The ids of endpoints, for frontends with session affinity. A packet draws an id in one look-up and finds the endpoint in another one, and
//! draws twice at most.

use super::{Served, TransitionDraft};
use crate::dataplane::{Endpoint, EndpointId, Frontend, Key, SetName};
use crate::diff::acknowledged::{Installed, list_of};
use crate::diff::affinity::{EndpointsById, InstalledAffinity};
use crate::state::TrafficPolicy;

impl TransitionDraft<'_> {
    /// What a frontend has of its own for session affinity after the plan, with what stays for now.
    ///
    /// An endpoint that leaves takes its id along at once, so that no client is sent there any more: a packet that has drawn the id already
    /// draws once more. If such packets may be on their way, the next id that goes leads them to an endpoint that stays, for they do not draw
    /// a third time. Without session affinity, ids of endpoints that stay are kept for packets on their way.
    pub(super) fn affinity(
        &mut self,
        frontend: Frontend,
        (before, wanted): (&Installed, &Installed),
        served: Option<&Served<'_>>,
        drawn: [u32; 2],
        keeps_chains: bool,
    ) -> Option<Box<InstalledAffinity>> {
        let Some(held) = before.affinity.as_deref() else { return wanted.affinity.clone() };
        let mut installed = match (&wanted.affinity, keeps_chains) {
            (Some(wanted), _) => (**wanted).clone(),
            (None, true) => InstalledAffinity { lists: Default::default(), ..held.clone() },
            (None, false) => InstalledAffinity::default(),
        };
        for ((policy, drawn), list) in TrafficPolicy::ALL.into_iter().zip(drawn).zip(&mut installed.lists) {
            self.ids(frontend, policy, held, served, drawn, list);
        }
        (installed.size() > 0).then(|| Box::new(installed))
    }

    /// Adds the ids and slots of one list that stay for now to those that are asked for.
    fn ids(
        &mut self,
        frontend: Frontend,
        policy: TrafficPolicy,
        held: &InstalledAffinity,
        served: Option<&Served<'_>>,
        drawn: u32,
        list: &mut EndpointsById,
    ) {
        let (held, of, prolongs) = (held.list(policy), list_of(frontend, policy), self.prolongs);
        let (ids, by_id) = (SetName::EndpointIds(of), SetName::EndpointsById(of));
        let known = |list: &EndpointsById| list.endpoints.iter().map(|(id, _)| *id).collect::<Vec<EndpointId>>();
        // No slot leads to an id that waits itself: a packet that drew it could lose it to the tail, and the next one to a change.
        let mut drawable = known(list);
        if list.endpoints.is_empty() {
            let wanted = served.map(|served| served.to_packets_under(policy)).unwrap_or_default();
            let stays = |endpoint: &Endpoint| wanted.binary_search(endpoint).is_ok();
            // If none of them stays, packets on their way still get one of those that were there.
            let all_leave = !wanted.is_empty() && !held.endpoints.iter().any(|(_, endpoint)| stays(endpoint));
            let mut keeps = |(id, endpoint): &&(EndpointId, Endpoint)| {
                (all_leave || stays(endpoint)) && self.keeps(by_id, Key::ById(frontend, *id), prolongs)
            };
            list.endpoints = held.endpoints.iter().filter(|entry| keeps(entry)).copied().collect();
            if all_leave && self.is_exposed {
                // New packets meet these ids, too.
                let replaced = list.endpoints.iter().zip(wanted.iter().cycle());
                list.endpoints = replaced.map(|((id, _), stays)| (*id, *stays)).collect();
            }
            drawable = known(list);
            if !all_leave {
                self.replaced_ids(frontend, by_id, held, wanted, list);
            }
        } else {
            let wanted = served.map(|served| &*served.lists[policy as usize]).unwrap_or_default();
            self.replaced_ids(frontend, by_id, held, wanted, list);
        }
        let end = u32::try_from(list.slots.len()).unwrap_or(u32::MAX);
        let beyond = held.slots.iter().copied().filter(|(slot, _)| *slot >= end && !drawable.is_empty());
        let is_replaced = |_, id: &EndpointId| drawable.binary_search(id).is_err();
        let kept = self.kept_slots(frontend, ids, beyond, drawn, &drawable, is_replaced);
        if !kept.is_empty() {
            list.slots = list.slots.iter().copied().chain(kept).collect();
        }
    }

    /// Adds ids of endpoints that leave, each with an endpoint that stays, if packets may have drawn in vain before.
    fn replaced_ids(
        &mut self,
        frontend: Frontend,
        by_id: SetName,
        held: &EndpointsById,
        wanted: &[Endpoint],
        list: &mut EndpointsById,
    ) {
        // Without session affinity the list is empty but for ids that wait, and `wanted` is balanced by slots.
        let other = |count: usize| match (&*list.endpoints, wanted) {
            ([], []) => None,
            ([], wanted) => Some(wanted[count % wanted.len()]),
            (kept, _) => Some(kept[count % kept.len()].1),
        };
        let is_wanted = |id: &EndpointId| list.endpoints.binary_search_by_key(id, |(id, _)| *id).is_ok();
        let (before, mut kept) = (self.lost_ids, Vec::new());
        for (id, endpoint) in held.endpoints.iter().filter(|(id, _)| !is_wanted(id)) {
            let key = Key::ById(frontend, *id);
            if before == 0 && !self.old.is_some_and(|old| old.has(by_id, key)) {
                self.lost_ids = self.round;
            } else if let Some(other) = other(kept.len())
                && self.keeps(by_id, key, false)
            {
                let stays = wanted.binary_search(endpoint).is_ok();
                kept.push((*id, if stays { *endpoint } else { other }));
            }
        }
        if !kept.is_empty() {
            kept.extend(&*list.endpoints);
            kept.sort_unstable();
            list.endpoints = kept.into();
        }
    }
}
