//! In which order a packet looks up the sets that a frontend is a member of, and what is found behind them.

use crate::dataplane::{EndpointList, ProgramFeatures, SetName, SizeClass};

/// The order in which the rules of a table test the sets.
#[derive(Clone, Copy)]
pub(super) struct LookupOrder<'a> {
    /// The features of the table, with the order of its classes.
    pub features: &'a ProgramFeatures,
    /// Every packet that is among the rules meets the classes in this order. Otherwise some may meet them in another one.
    pub is_settled: bool,
    /// The same before this plan. Otherwise some packets may run rules that do not know what a frontend has already.
    pub was_settled: bool,
}

/// Where a packet meets a gate: the stage of its way, and the place among the classes that are tested there.
type GatePlace = (u8, usize);

impl LookupOrder<'_> {
    /// Whether a gate may be deleted in the batch that gives a frontend of the `held` sets these `wanted` ones.
    ///
    /// A packet that finds neither the old gate before the batch nor the new one after it would find nothing. If the old gate is tested
    /// first, a packet finds the new one later. If the new one is tested first, it hides the old one from every packet that comes, and
    /// the old one waits for those that have passed the new one's place already. Packets that run rules of before find the new gate, but may
    /// know no class of a list that only the new one leads to: then the old one waits, too, unless the new one is to keep clients out.
    pub fn goes_at_once<'w>(
        &self,
        gate: SetName,
        held: &(impl Iterator<Item = &'w SetName> + Clone),
        wanted: &(impl Iterator<Item = &'w SetName> + Clone),
    ) -> bool {
        if let SetName::Slots(list, class) = gate {
            let of_list = |set: &SetName| match set {
                SetName::Slots(of, class) if *of == list => Some(*class),
                _ => None,
            };
            return match wanted.clone().find_map(of_list) {
                Some(other) => self.is_tested_before(&self.features.classes, list, class, other),
                // What still leads to an empty list leads on to the drop behind it. A list that is balanced by ids now is not empty: packets
                // that have passed the classes by id still need this one.
                None => {
                    let by_id = |set: &SetName| matches!(set, SetName::AffinitySlots(of, _) if *of == list);
                    wanted.clone().any(|set| leads_to(*set, list)) && !wanted.clone().any(by_id)
                }
            };
        }
        if let SetName::AffinitySlots(list, class) = gate {
            let of_list = |set: &SetName| match set {
                SetName::AffinitySlots(of, class) if *of == list => Some(*class),
                _ => None,
            };
            return match wanted.clone().find_map(of_list) {
                Some(other) => self.is_tested_before(&self.features.affinity, list, class, other),
                // Without endpoints packets fall through to what is said about the frontend behind. Otherwise some may draw from it.
                None => !leads_to_endpoints(wanted.clone()),
            };
        }
        if matches!(gate, SetName::AffinityChains(..)) {
            return !leads_to_endpoints(wanted.clone());
        }
        let Some(place) = self.place(gate) else { return true };
        let Some(first) = wanted.clone().filter_map(|set| self.place(*set)).min() else { return true };
        // Whether the list is balanced by ids tells which rules know it.
        let list = |set: &SetName| match set {
            SetName::Slots(list, _) => Some((*list, false)),
            SetName::AffinitySlots(list, _) => Some((*list, true)),
            _ => None,
        };
        let is_known =
            |one: (EndpointList, bool)| self.was_settled && held.clone().filter_map(list).any(|of| of == one);
        let are_lists_known = || wanted.clone().filter_map(list).all(is_known);
        let keeps_out = || wanted.clone().any(|set| matches!(set, SetName::DropServices | SetName::DropNodeports));
        place < first && (self.is_settled || (place.0 < first.0 && (keeps_out() || are_lists_known())))
    }

    /// Where a packet that is for a frontend meets this gate. `None`: the set decides neither whether nor where the packet is sent on.
    fn place(&self, gate: SetName) -> Option<GatePlace> {
        match gate {
            SetName::Internal(class) => {
                let rank = self.features.internal.iter().position(|other| *other == class);
                Some((0, rank.unwrap_or(usize::MAX - 1)))
            }
            SetName::InternalAffinity => Some((0, usize::MAX)),
            SetName::External | SetName::Nodeports => Some((1, 0)),
            SetName::ExternalLocal | SetName::NodeportsLocal => Some((2, 0)),
            SetName::DropServices | SetName::DropNodeports => Some((3, 0)),
            SetName::RejectServices | SetName::RejectNodeports => Some((4, 0)),
            _ => None,
        }
    }

    /// Whether every packet meets one class of a list before the other. One that is not in the order comes last.
    fn is_tested_before(
        &self,
        order: &[(EndpointList, SizeClass)],
        list: EndpointList,
        one: SizeClass,
        other: SizeClass,
    ) -> bool {
        let rank = |class| order.iter().position(|known| *known == (list, class)).unwrap_or(usize::MAX);
        self.is_settled && rank(one) < rank(other)
    }
}

/// Whether packets that are found in one of these sets are sent to endpoints.
fn leads_to_endpoints<'w>(mut sets: impl Iterator<Item = &'w SetName>) -> bool {
    sets.any(|set| {
        matches!(
            set,
            SetName::Internal(_)
                | SetName::InternalAffinity
                | SetName::External
                | SetName::ExternalLocal
                | SetName::Nodeports
                | SetName::NodeportsLocal
        )
    })
}

/// Whether packets that are found in this set may be sent on to the classes of a list.
fn leads_to(gate: SetName, list: EndpointList) -> bool {
    match gate {
        SetName::External => list == EndpointList::Any,
        SetName::ExternalLocal => matches!(list, EndpointList::Any | EndpointList::Local),
        SetName::Nodeports => list == EndpointList::NodeportAny,
        SetName::NodeportsLocal => matches!(list, EndpointList::NodeportAny | EndpointList::NodeportLocal),
        _ => false,
    }
}

/// Whether every packet meets this gate before those of a list that is balanced by ids from now on: ids are looked up last.
pub(super) fn is_tested_before_ids<'w>(gate: SetName, mut wanted: impl Iterator<Item = &'w SetName>) -> bool {
    let SetName::Slots(list, _) = gate else { return false };
    wanted.any(|set| matches!(set, SetName::AffinitySlots(of, _) if *of == list))
}

/// How many slots of a list, from 0 on, must hold an endpoint as long as packets draw from it for members of these sets.
pub(super) fn drawn_slots(list: EndpointList, sets: impl Iterator<Item = SetName>) -> u32 {
    let of_list = sets.filter_map(|set| set.class().filter(|(of, _)| *of == list));
    of_list.map(|(_, class)| certain_slots(class)).max().unwrap_or_default()
}

/// The slots that the last draw of a class may hit. Draws before it may miss.
pub(super) fn certain_slots(class: SizeClass) -> u32 {
    class.halved().unwrap_or(class).slots()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(endpoints: usize) -> SizeClass {
        SizeClass::for_endpoints(endpoints).unwrap()
    }

    /// Whether a gate goes at once, in a table that tests the classes 2, 1, 3.
    fn goes(gate: SetName, wanted: &[SetName], is_settled: bool) -> bool {
        let classes = [2, 1, 3].map(class);
        let features = ProgramFeatures {
            internal: classes.to_vec(),
            classes: classes.map(|class| (EndpointList::Any, class)).to_vec(),
            ..ProgramFeatures::default()
        };
        LookupOrder { features: &features, is_settled, was_settled: true }.goes_at_once(
            gate,
            &[].iter(),
            &wanted.iter(),
        )
    }

    #[test]
    fn a_gate_waits_if_rules_of_before_may_know_no_class_behind_the_new_one() {
        let features = ProgramFeatures::default();
        let goes = |is_settled, held: &[SetName]| {
            let wanted = [SetName::ExternalLocal, SetName::Slots(EndpointList::Local, class(1))];
            let order = LookupOrder { features: &features, is_settled, was_settled: true };
            order.goes_at_once(SetName::External, &held.iter(), &wanted.iter())
        };
        assert!(goes(true, &[]) && !goes(false, &[]));
        let held = SetName::Slots(EndpointList::Local, class(2));
        assert!(goes(false, &[held]));
        let order = LookupOrder { features: &features, is_settled: true, was_settled: true };
        let same_place = [SetName::Nodeports];
        assert!(
            !order.goes_at_once(SetName::External, &[].iter(), &same_place.iter()),
            "a packet may have passed the place"
        );
        let new = LookupOrder { features: &features, is_settled: false, was_settled: false };
        let wanted = [SetName::ExternalLocal, SetName::Slots(EndpointList::Local, class(1))];
        assert!(
            !new.goes_at_once(SetName::External, &[held].iter(), &wanted.iter()),
            "the list may be as new as the rules"
        );
        assert!(
            new.goes_at_once(SetName::External, &[held].iter(), &[SetName::RejectServices].iter()),
            "no list is needed"
        );
        let wanted = [SetName::ExternalLocal, SetName::Slots(EndpointList::Any, class(1)), SetName::DropServices];
        let order = LookupOrder { features: &features, is_settled: false, was_settled: true };
        assert!(
            order.goes_at_once(SetName::External, &[].iter(), &wanted.iter()),
            "clients outside are dropped at once"
        );
    }

    #[test]
    fn a_class_goes_at_once_if_the_new_one_is_tested_later_and_the_order_is_settled() {
        let internal = |n| SetName::Internal(class(n));
        let slots = |n| SetName::Slots(EndpointList::Any, class(n));
        for kind in [internal as fn(usize) -> SetName, slots] {
            assert!(goes(kind(2), &[kind(1)], true));
            assert!(!goes(kind(1), &[kind(2)], true));
            assert!(!goes(kind(2), &[kind(1)], false));
            assert!(!goes(kind(3), &[kind(4)], false), "a new class is anywhere");
        }
    }

    #[test]
    fn a_gate_waits_for_packets_only_if_the_new_one_is_tested_before_it() {
        use SetName::{DropServices, External, ExternalLocal, RejectServices};
        let internal = SetName::Internal(class(1));
        let way = [internal, External, ExternalLocal, DropServices, RejectServices];
        for (n, old) in way.iter().enumerate() {
            for (m, new) in way.iter().enumerate().filter(|(m, _)| *m != n) {
                assert_eq!(goes(*old, &[*new], false), n < m, "{old} to {new}");
            }
            assert!(goes(*old, &[], true), "a frontend that goes is gone at once");
        }
        assert!(goes(SetName::SourceChecks, &[External], true));
    }

    #[test]
    fn the_classes_of_a_list_go_with_its_last_endpoint_unless_another_gate_needs_them() {
        use SetName::{DropServices, External, ExternalLocal, RejectServices};
        let local = SetName::Slots(EndpointList::Local, class(1));
        assert!(goes(local, &[ExternalLocal, DropServices], true), "packets go on to the drop");
        assert!(!goes(local, &[External], true), "some are on their way from the other gate");
        assert!(!goes(local, &[RejectServices], true));
    }

    #[test]
    fn a_class_goes_at_once_as_the_order_of_its_own_list_says() {
        use EndpointList::{Any, Local};
        let order = [3, 2, 1].map(|n| (Local, class(n))).to_vec();
        for set in [SetName::Slots as fn(EndpointList, SizeClass) -> SetName, SetName::AffinitySlots] {
            let features = ProgramFeatures { classes: order.clone(), affinity: order.clone(), ..Default::default() };
            let order = LookupOrder { features: &features, is_settled: true, was_settled: true };
            let goes = |gate, wanted: [SetName; 2]| order.goes_at_once(gate, &[].iter(), &wanted.iter());
            assert!(goes(set(Local, class(2)), [set(Any, class(3)), set(Local, class(1))]));
            assert!(!goes(set(Local, class(2)), [set(Any, class(1)), set(Local, class(3))]));
        }
    }

    #[test]
    fn the_classes_of_a_list_without_endpoints_go_if_what_leads_there_stays() {
        use EndpointList::{Any, Local, NodeportAny, NodeportLocal};
        let leads: [(SetName, &[EndpointList]); 5] = [
            (SetName::External, &[Any]),
            (SetName::ExternalLocal, &[Any, Local]),
            (SetName::Nodeports, &[NodeportAny]),
            (SetName::NodeportsLocal, &[NodeportAny, NodeportLocal]),
            (SetName::RejectServices, &[]),
        ];
        for (gate, lists) in leads {
            for list in EndpointList::ALL {
                assert_eq!(
                    goes(SetName::Slots(list, class(1)), &[gate], true),
                    lists.contains(&list),
                    "{gate} {list:?}"
                );
            }
        }
    }

    #[test]
    fn the_class_of_a_list_waits_for_packets_if_clients_keep_their_endpoints_from_now_on() {
        let gates = [(SetName::External, EndpointList::Any), (SetName::NodeportsLocal, EndpointList::NodeportLocal)];
        for (gate, list) in gates {
            let by_id = SetName::AffinitySlots(list, class(1));
            assert!(!goes(SetName::Slots(list, class(1)), &[gate, by_id], true), "{gate}");
            assert!(!goes(by_id, &[gate, SetName::Slots(list, class(1))], true), "{gate}");
        }
    }

    #[test]
    fn every_slot_of_a_small_class_and_the_lower_half_of_a_large_one_is_needed() {
        let drawn = |list, sets: &[SetName]| drawn_slots(list, sets.iter().copied());
        let (any, local) = (EndpointList::Any, EndpointList::Local);
        assert_eq!(drawn(any, &[SetName::Internal(class(5))]), 5);
        assert_eq!(drawn(any, &[SetName::Slots(any, class(9)), SetName::Slots(local, class(3))]), 8);
        assert_eq!(drawn(local, &[SetName::Slots(any, class(9)), SetName::Slots(local, class(3))]), 3);
        assert_eq!(drawn(any, &[SetName::External]), 0);
    }
}
