//! Elements that a frontend no longer asks for, and that packets on their way may still look up.
//!
//! The kernel reads a set as it is at each look-up. A packet that found a gate before a batch reads what is behind it after the batch. So
//! a batch adds and replaces at once, and what packets that are among the rules may still need is deleted later, when they are through:
//! see [the law](super#two-phases). What waits is part of what the kernel holds, like everything else.

use std::borrow::Cow;
use std::sync::Arc;

use super::acknowledged::{Installed, list_of};
use super::affinity::{EndpointsById, InstalledAffinity};
use super::lookups::{LookupOrder, certain_slots, drawn_slots, is_tested_before_ids};
use super::shared::SharedElement;
use super::slots::Slots;
use super::sources::SourceCheck;
use crate::dataplane::{Endpoint, EndpointId, Frontend, Key, SetName, SizeClass};
use crate::state::{FrontendSpec, Outcome, TrafficPolicy};

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
    elements: Box<[(SetName, Key, Round)]>,
    /// How many slots of each list packets may still draw from for a class that is gone, and which plan removed it.
    drawn: [(u32, Round); 2],
    /// The last plan in which an id went at once, while others came or stayed.
    lost_ids: Round,
    /// New packets may meet one of its gates before the one that the frontend should have.
    is_exposed: bool,
}

/// What is installed for a frontend after a plan, and which of it is left over.
pub(super) struct Transition {
    pub installed: Option<Arc<Installed>>,
    pub leftovers: Option<Leftovers>,
    /// This plan left some of it.
    pub has_new: bool,
}

/// A transition in the making.
struct TransitionDraft<'a> {
    old: Option<&'a Leftovers>,
    round: Round,
    expired: Round,
    /// What is behind the gates stays for another round.
    prolongs: bool,
    /// New packets may draw from every slot that stays.
    is_exposed: bool,
    /// The last plan in which an id went at once; 0 if no packet can remember that.
    lost_ids: Round,
    kept: Vec<(SetName, Key, Round)>,
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

    fn round(&self, set: SetName, key: Key) -> Option<Round> {
        let at = self.elements.binary_search_by(|(of, other, _)| (of, other).cmp(&(&set, &key)));
        at.ok().map(|at| self.elements[at].2)
    }

    fn has(&self, set: SetName, key: Key) -> bool {
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
}

impl Leftovers {
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

impl TransitionDraft<'_> {
    /// Whether an element that is not asked for any more stays for now.
    fn keeps(&mut self, set: SetName, key: Key, prolongs: bool) -> bool {
        let round = match self.old.and_then(|old| old.round(set, key)) {
            _ if prolongs => self.round,
            None => self.round,
            Some(round) if round <= self.expired => return false,
            Some(round) => round,
        };
        self.kept.push((set, key, round));
        true
    }
}

/// What is installed for a frontend after a plan that gives it `target`, and deletes what no packet can need.
///
/// - A gate goes as [`LookupOrder::goes_at_once`] says.
/// - The slots that packets may draw from stay filled. Where new packets may draw from them too, an endpoint that leaves is replaced by one
///   that stays.
/// - The sources of a frontend that all may use now stay, with the chain that checks them: a packet may just have learned that only some may.
///   While a frontend stays limited, a packet sees all of its ranges in one look-up, as they were or as they are.
pub(super) fn transition(
    frontend: Frontend,
    before: &Installed,
    old: Option<&Leftovers>,
    (target, served): (Option<Arc<Installed>>, Option<&Served<'_>>),
    order: LookupOrder<'_>,
    (round, expired): (Round, Round),
) -> Transition {
    let none = Installed::default();
    let wanted = target.as_deref().unwrap_or(&none);
    let lost_ids = old.map_or(0, |old| old.lost_ids);
    let lost_ids = if lost_ids > expired { lost_ids } else { 0 };
    let mut draft =
        TransitionDraft { old, round, expired, prolongs: false, is_exposed: false, lost_ids, kept: Vec::new() };
    let [held_sets, wanted_sets] = [before, wanted].map(|it| it.memberships.iter().map(|(set, _)| set));
    let (mut memberships, mut gate_goes, mut is_gate_kept) = (Vec::new(), false, false);
    for (set, comment) in before.memberships.iter().filter(|(set, _)| !wanted_sets.clone().any(|other| other == set)) {
        let goes = order.goes_at_once(*set, &held_sets, &wanted_sets) || lacks_slots(frontend, before, *set);
        if !goes && draft.keeps(*set, Key::Frontend(frontend), false) {
            is_gate_kept = true;
            memberships.push((*set, comment.clone()));
        } else {
            gate_goes = true;
        }
    }
    let was_exposed = old.is_some_and(|old| old.is_exposed);
    let hides = |(set, _): &(SetName, Option<Arc<str>>)| is_tested_before_ids(*set, wanted_sets.clone());
    let is_exposed = is_gate_kept && (was_exposed || !order.is_settled || memberships.iter().any(hides));
    draft.prolongs = was_exposed && gate_goes;
    draft.is_exposed = is_exposed || was_exposed;
    let drawn = TrafficPolicy::ALL.map(|policy| draft.drawn(frontend, policy, before, wanted));
    let mut slots = TrafficPolicy::ALL
        .map(|policy| draft.slots(frontend, policy, (before, wanted), served, drawn[policy as usize].0));
    let prolongs = draft.prolongs;
    let keeps_check = wanted.check.is_empty()
        && !before.check.is_empty()
        && draft.keeps(SetName::Sources(frontend), Key::Frontend(frontend), prolongs);
    let keeps_chains = memberships.iter().any(|(set, _)| matches!(set, SetName::AffinityChains(..)));
    let affinity = draft.affinity(frontend, (before, wanted), served, drawn.map(|(slots, _)| slots), keeps_chains);
    let (mut elements, lost_ids) = (draft.kept, draft.lost_ids);
    // What the target's own classes draw needs no note.
    let later = drawn.map(|(slots, of)| if of > 0 { (slots, of) } else { (0, 0) });
    if elements.is_empty() && later == [(0, 0); 2] && lost_ids == 0 {
        return Transition { installed: target, leftovers: None, has_new: false };
    }
    elements.sort_unstable();
    let notes = later.map(|(_, of)| of).into_iter().chain([lost_ids]);
    let has_new = elements.iter().map(|(.., of)| *of).chain(notes).any(|of| of == round);
    let leftovers = Leftovers { elements: elements.into(), drawn: later, lost_ids, is_exposed };
    let mut installed = Installed { affinity, ..wanted.clone() };
    if !memberships.is_empty() {
        memberships.extend(std::mem::take(&mut installed.memberships));
        memberships.sort_unstable();
        installed.memberships = memberships.into();
    }
    let [any, local] = &mut slots;
    for (list, kept) in [(&mut installed.slots, any), (&mut installed.local_slots, local)] {
        if !kept.is_empty() {
            *list = list.iter().chain(kept.drain(..)).collect();
        }
    }
    if keeps_check {
        (installed.check, installed.sources) = (before.check, Arc::clone(&before.sources));
    }
    let installed = (installed.size() > 0).then(|| Arc::new(installed));
    Transition { installed, leftovers: Some(leftovers), has_new }
}

/// Whether a set leads to slots that are empty, since another program emptied them or restored an old set. It serves no packet, and may hide
/// what does.
fn lacks_slots(frontend: Frontend, installed: &Installed, set: SetName) -> bool {
    let Some((list, class)) = set.class() else { return false };
    let policy = TrafficPolicy::ALL.into_iter().find(|policy| list_of(frontend, *policy) == list);
    let (policy, certain) = (policy.unwrap_or(TrafficPolicy::Cluster), certain_slots(class));
    let held = match set {
        SetName::AffinitySlots(..) => {
            let held = installed.affinity.as_deref().map(|affinity| &affinity.list(policy).slots);
            held.map_or(0, |slots| slots.iter().filter(|(slot, _)| *slot < certain).count())
        }
        _ => installed.slots(policy).iter().filter(|(slot, _)| *slot < certain).count(),
    };
    held < certain as usize
}

/// The endpoints that serve a frontend after a plan.
pub(super) struct Served<'a> {
    /// The list for each policy, in order.
    lists: [Cow<'a, [Endpoint]>; 2],
    /// All clients are sent to the endpoints of the first list.
    shares_list: bool,
}

impl<'a> Served<'a> {
    /// Those that are asked for.
    pub fn by_spec(spec: &'a FrontendSpec) -> Self {
        let lists = TrafficPolicy::ALL.map(|policy| Cow::Borrowed(&**spec.endpoints(policy)));
        Self { lists, shares_list: matches!(spec.outcome, Outcome::Balance(_)) }
    }

    /// Those that are installed, for a frontend that stays as it is.
    pub fn by_installed(installed: &Installed) -> Self {
        let lists: [Cow<'_, [Endpoint]>; 2] = TrafficPolicy::ALL.map(|policy| {
            let mut endpoints: Vec<Endpoint> = installed.endpoints(policy).collect();
            endpoints.sort_unstable();
            Cow::Owned(endpoints)
        });
        let shares_list = lists[TrafficPolicy::Local as usize].is_empty();
        Self { lists, shares_list }
    }

    /// The endpoints that packets under this policy are sent to: those of all clients if a list of their own is not needed any more.
    fn to_packets_under(&self, policy: TrafficPolicy) -> &[Endpoint] {
        &self.lists[if self.shares_list { TrafficPolicy::Cluster } else { policy } as usize]
    }
}

impl TransitionDraft<'_> {
    /// What a frontend has of its own for session affinity after the plan, with what stays for now.
    ///
    /// An endpoint that leaves takes its id along at once, so that no client is sent there any more: a packet that has drawn the id already
    /// draws once more. If such packets may be on their way, the next id that goes leads them to an endpoint that stays, for they do not draw
    /// a third time. Without session affinity, ids of endpoints that stay are kept for packets on their way.
    fn affinity(
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

    /// How many slots of a list packets may draw from that are among the rules during this plan; and if the class that they draw for is gone
    /// after it, and was larger than the one that is wanted, the round that removed it.
    fn drawn(&self, frontend: Frontend, policy: TrafficPolicy, before: &Installed, wanted: &Installed) -> (u32, Round) {
        let list = list_of(frontend, policy);
        let is_new = |set: &SetName| !self.old.is_some_and(|old| old.has(*set, Key::Frontend(frontend)));
        let (was, will) = (drawn_slots(list, before.sets().filter(is_new)), drawn_slots(list, wanted.sets()));
        let (noted, round) = self.old.map_or((0, 0), |old| old.drawn[policy as usize]);
        if round > self.expired && noted > was.max(will) {
            (noted, round)
        } else if was > will {
            (was, self.round)
        } else {
            (will, 0)
        }
    }

    /// The slots beyond the end of a list that stay for now, with their endpoints. Packets may draw from the first `drawn`.
    fn slots(
        &mut self,
        frontend: Frontend,
        policy: TrafficPolicy,
        (before, wanted): (&Installed, &Installed),
        served: Option<&Served<'_>>,
        drawn: u32,
    ) -> Vec<(u32, Endpoint)> {
        let (held, list) = (before.slots(policy), list_of(frontend, policy));
        let count = wanted.slots(policy).len();
        let end = u32::try_from(count).unwrap_or(u32::MAX);
        if held.gapless().is_some_and(|held| held.len() <= count) {
            return Vec::new();
        }
        // What new packets draw from.
        let open = if self.is_exposed { u32::MAX } else { SizeClass::for_endpoints(count).map_or(0, SizeClass::slots) };
        let stays: Vec<Endpoint> = wanted.endpoints(policy).collect();
        let is_wanted =
            |endpoint: &Endpoint| served.is_some_and(|it| it.lists[policy as usize].binary_search(endpoint).is_ok());
        let beyond = held.iter().filter(|(slot, _)| *slot >= end);
        let is_replaced = |slot, endpoint: &Endpoint| slot < open && !is_wanted(endpoint);
        self.kept_slots(frontend, SetName::Endpoints(list), beyond, drawn, &stays, is_replaced)
    }

    /// Which of these slots of a map stay for now, and what is in them: those that wait already, and those that packets may draw from, which
    /// are the first `drawn`. What `is_replaced` is replaced by one of the `others`, if there is one.
    fn kept_slots<T: Copy>(
        &mut self,
        frontend: Frontend,
        map: SetName,
        slots: impl Iterator<Item = (u32, T)>,
        drawn: u32,
        others: &[T],
        is_replaced: impl Fn(u32, &T) -> bool,
    ) -> Vec<(u32, T)> {
        let (mut kept, prolongs) = (Vec::new(), self.prolongs);
        for (slot, item) in slots {
            let waits = || self.old.is_some_and(|old| old.has(map, Key::Slot(frontend, slot)));
            if (slot < drawn || waits()) && self.keeps(map, Key::Slot(frontend, slot), prolongs) {
                let other = others.get(slot as usize % others.len().max(1)).filter(|_| is_replaced(slot, &item));
                kept.push((slot, other.copied().unwrap_or(item)));
            }
        }
        kept
    }
}
