//! From what is installed for a frontend to what it asks for, without losing packets that are on their way: what goes at once, and what is
//! left over.

mod ids;

use std::borrow::Cow;
use std::sync::Arc;

use super::acknowledged::{Installed, list_of};
use super::leftovers::{Leftovers, Round};
use super::lookups::{LookupOrder, certain_slots, drawn_slots, is_tested_before_ids};
use super::slots::Slots;
use crate::dataplane::{Endpoint, EndpointList, Frontend, Key, SetName, SizeClass};
use crate::state::{FrontendSpec, Outcome, TrafficPolicy};

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
    /// New packets could come to what was left over so far.
    was_exposed: bool,
    /// New packets may draw from every slot that stays.
    is_exposed: bool,
    /// The last plan in which an id went at once; 0 if no packet can remember that.
    lost_ids: Round,
    kept: Vec<(SetName, Key, Round)>,
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
    if old.is_none() && target.as_deref().is_some_and(|target| leaves_nothing(before, target)) {
        return Transition { installed: target, leftovers: None, has_new: false };
    }
    let none = Installed::default();
    let wanted = target.as_deref().unwrap_or(&none);
    let lost_ids = old.map_or(0, |old| old.lost_ids);
    let lost_ids = if lost_ids > expired { lost_ids } else { 0 };
    let was_exposed = old.is_some_and(|old| old.is_exposed);
    let (prolongs, is_exposed) = (false, false);
    let mut draft =
        TransitionDraft { old, round, expired, prolongs, was_exposed, is_exposed, lost_ids, kept: Vec::new() };
    let [held_sets, wanted_sets] = [before, wanted].map(|it| it.memberships.iter().map(|(set, _)| set));
    let (mut memberships, mut gate_goes, mut is_gate_kept) = (Vec::new(), false, false);
    for (set, comment) in before.memberships.iter().filter(|(set, _)| !wanted_sets.clone().any(|other| other == set)) {
        let goes = order.goes_at_once(*set, &held_sets, &wanted_sets) || lacks_slots(before, *set);
        if !goes && draft.keeps(*set, Key::Frontend(frontend), false) {
            is_gate_kept = true;
            memberships.push((*set, comment.clone()));
        } else {
            gate_goes = true;
        }
    }
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

/// Whether what replaces an installation takes nothing away that packets may still look up, as most changes of endpoints do: the sets are the
/// same, no slot becomes empty, and it has no chains or sets of its own.
fn leaves_nothing(before: &Installed, after: &Installed) -> bool {
    let fills = |held: &Slots, wanted: &Slots| held.gapless().is_some_and(|held| held.len() <= wanted.len());
    fills(&before.slots, &after.slots)
        && fills(&before.local_slots, &after.local_slots)
        && before.affinity.is_none()
        && before.check.is_empty()
        && before.sets().eq(after.sets())
}

/// Whether a set leads to slots that are empty, since another program emptied them or restored an old set. It serves no packet, and may hide
/// what does.
fn lacks_slots(installed: &Installed, set: SetName) -> bool {
    let Some((list, class)) = set.class() else { return false };
    let is_local = matches!(list, EndpointList::Local | EndpointList::NodeportLocal);
    let policy = if is_local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
    let certain = certain_slots(class);
    let is_certain = |slot: u32| slot < certain;
    let held = match (set, installed.slots(policy)) {
        (SetName::AffinitySlots(..), _) => {
            let held = installed.affinity.as_deref().map(|affinity| &affinity.list(policy).slots);
            held.map_or(0, |slots| slots.iter().filter(|(slot, _)| is_certain(*slot)).count())
        }
        (_, slots) => match slots.gapless() {
            Some(all) => all.len(),
            None => slots.iter().filter(|(slot, _)| is_certain(*slot)).count(),
        },
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

    /// How many slots of a list packets may draw from that are among the rules during this plan; and if the class that they draw for is gone
    /// after it, and was larger than the one that is wanted, the round that removed it.
    fn drawn(&self, frontend: Frontend, policy: TrafficPolicy, before: &Installed, wanted: &Installed) -> (u32, Round) {
        let list = list_of(frontend, policy);
        // A gate that was left over draws no more, unless new packets could still come to it until now.
        let is_new =
            |set: &SetName| self.was_exposed || !self.old.is_some_and(|old| old.has(*set, Key::Frontend(frontend)));
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
        // Nothing beyond the end is replaced unless packets draw from there.
        let stays: Vec<Endpoint> = if open > end { wanted.endpoints(policy).collect() } else { Vec::new() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_lacks_a_slot_whatever_is_in_slots_beyond_it() {
        let endpoint = |slot: u32| (slot, Endpoint { addr: [10, 1, 0, 1].into(), port: 80 });
        let internal = |endpoints| SetName::Internal(SizeClass::for_endpoints(endpoints).unwrap());
        let with =
            |slots: &[u32]| Installed { slots: slots.iter().copied().map(endpoint).collect(), ..Installed::default() };
        for (slots, class, lacks) in [
            (&[0, 1][..], 2, false),
            (&[0, 1, 2], 2, false),
            (&[0], 2, true),
            (&[0, 2], 2, true),
            (&[1, 2, 3], 3, true),
        ] {
            assert_eq!(lacks_slots(&with(slots), internal(class)), lacks, "{slots:?} in a class of {class}");
        }
        assert!(!lacks_slots(&with(&[]), SetName::External), "it has no class");
    }
}
