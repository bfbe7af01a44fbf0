//! Elements that a frontend no longer asks for, and that packets on their way may still look up.
//!
//! The kernel reads a set as it is at each look-up. A packet that found a gate before a batch reads what is behind it after the batch. So
//! a batch adds and replaces at once, and what packets that are among the rules may still need is deleted later, when they are through:
//! see [the law](super#two-phases). What waits is part of what the kernel holds, like everything else.

use std::sync::Arc;

use super::acknowledged::{Installed, list_of};
use super::affinity::{EndpointsById, InstalledAffinity};
use super::shared::SharedElement;
use super::slots::Slots;
use super::sources::SourceCheck;
use crate::dataplane::{Endpoint, Frontend, Key, SetName};
use crate::state::TrafficPolicy;

/// The number of a plan. A later plan has a larger number.
pub(crate) type Round = u64;

/// When what is not asked for any more is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// In the same batch.
    AtOnce,
    /// What packets may still look up waits.
    Deferred {
        /// The number of this plan.
        round: Round,
        /// The last plan for which no packet needs anything any more.
        expired: Round,
    },
}

/// What a plan leaves behind, to be planned again when its round has expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub(crate) frontends: Vec<Frontend>,
    pub(crate) shared: Vec<SharedElement>,
    /// Packets may still meet the classes in another order.
    pub(crate) is_reordered: bool,
}

/// The leftovers of one frontend, by set and key, and the rounds that left them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leftovers {
    pub(super) elements: Box<[(SetName, Key, Round)]>,
    /// How many slots of each list packets may still draw from for a class that is gone, and which plan removed it.
    pub(super) drawn: [(u32, Round); 2],
    /// The last plan in which an id went at once, while others came or stayed.
    pub(super) lost_ids: Round,
    /// New packets may meet one of its gates before the one that the frontend should have.
    pub(super) is_exposed: bool,
}

impl Left {
    /// Whether nothing has to be remembered.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_elements() && !self.is_reordered
    }

    /// Whether something is to be deleted.
    pub(crate) fn has_elements(&self) -> bool {
        !self.frontends.is_empty() || !self.shared.is_empty()
    }
}

impl Leftovers {
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    pub(super) fn round(&self, set: SetName, key: Key) -> Option<Round> {
        let at = self.elements.binary_search_by(|(of, other, _)| (of, other).cmp(&(&set, &key)));
        at.ok().map(|at| self.elements[at].2)
    }

    pub(super) fn has(&self, set: SetName, key: Key) -> bool {
        self.round(set, key).is_some()
    }

    /// What is installed without the leftovers: what the frontend asked for last. `None` if it was to be removed.
    pub fn strip(&self, frontend: Frontend, installed: &Installed) -> Option<Installed> {
        let member = |(set, _): &&(SetName, Option<Arc<str>>)| !self.has(*set, Key::Frontend(frontend));
        let [slots, local_slots] = TrafficPolicy::ALL.map(|policy| {
            let map = SetName::Endpoints(list_of(frontend, policy));
            let wanted = |(slot, _): &(u32, Endpoint)| !self.has(map, Key::Slot(frontend, *slot));
            installed.slots(policy).iter().filter(wanted).collect::<Slots>()
        });
        let has_check = !self.has(SetName::Sources(frontend), Key::Frontend(frontend));
        let stripped = Installed {
            memberships: installed.memberships.iter().filter(member).cloned().collect(),
            slots,
            local_slots,
            check: if has_check { installed.check } else { SourceCheck::default() },
            sources: if has_check { Arc::clone(&installed.sources) } else { Arc::default() },
            affinity: installed.affinity.as_ref().and_then(|affinity| self.strip_affinity(frontend, affinity)),
        };
        (stripped.size() > 0).then_some(stripped)
    }

    fn strip_affinity(&self, frontend: Frontend, installed: &InstalledAffinity) -> Option<Box<InstalledAffinity>> {
        let [recall, _] = SetName::affinity_chains(frontend.is_node_port());
        if self.has(recall, Key::Frontend(frontend)) {
            return None;
        }
        let lists = TrafficPolicy::ALL.map(|policy| {
            let (list, held) = (list_of(frontend, policy), installed.list(policy));
            let slot = |(slot, _): &&(u32, _)| !self.has(SetName::EndpointIds(list), Key::Slot(frontend, *slot));
            let id = |(id, _): &&(_, Endpoint)| !self.has(SetName::EndpointsById(list), Key::ById(frontend, *id));
            EndpointsById {
                slots: held.slots.iter().filter(slot).copied().collect(),
                endpoints: held.endpoints.iter().filter(id).copied().collect(),
            }
        });
        let stripped = InstalledAffinity { lists, ..installed.clone() };
        (stripped.size() > 0).then(|| Box::new(stripped))
    }
}
