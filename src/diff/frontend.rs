//! One frontend: from what is installed to what its claim asks for.

use std::sync::Arc;

use super::acknowledged::{Installed, list_of};
use super::affinity;
use super::gates::{classes, gates};
use super::slots::{Slots, fill};
use super::sources::SourceCheck;
use crate::dataplane::{Element, Endpoint, Frontend, Key, Options};
use crate::sorted::{Side, differences};
use crate::state::{FrontendSpec, TrafficPolicy};

/// What should be installed for a claim, given what is installed now: endpoints that stay keep their slots where they can.
pub(super) fn target(
    frontend: Frontend,
    installed: Option<&Installed>,
    spec: &FrontendSpec,
    options: &Options,
) -> Installed {
    let comment = |set| (set, Some(Arc::clone(&spec.owner)));
    let classes = classes(frontend, spec).map(|class| (class, None));
    let mut memberships: Vec<_> = gates(frontend, spec).map(comment).chain(classes).collect();
    memberships.sort_unstable();
    let affinity = affinity::target(installed.and_then(|installed| installed.affinity.as_deref()), spec, options);
    let [slots, local_slots] = match affinity {
        // Its endpoints have ids.
        Some(_) => [Slots::default(), Slots::default()],
        None => TrafficPolicy::ALL
            .map(|policy| place(installed.map(|installed| installed.slots(policy)), spec.endpoints(policy))),
    };
    let sources = spec.sources.clone().unwrap_or_default();
    let check = SourceCheck::target(spec);
    Installed { memberships: memberships.into(), slots, local_slots, check, sources, affinity }
}

/// Gives every wanted endpoint a slot, with the least operations: see [`fill`].
fn place(installed: Option<&Slots>, wanted: &Arc<[Endpoint]>) -> Slots {
    let Some(installed) = installed.filter(|installed| !installed.is_empty()) else { return Arc::clone(wanted).into() };
    if installed.gapless() == Some(wanted) {
        return Arc::clone(wanted).into();
    }
    fill(installed.iter(), wanted.iter().copied(), |endpoint| wanted.binary_search(endpoint).is_ok()).collect()
}

/// Hands every element to `each` that goes or comes on the way from one installation to another, in order within each set.
pub(super) fn changes(
    frontend: Frontend,
    before: Option<&Installed>,
    after: Option<&Installed>,
    mut each: impl FnMut(Side, Element),
) {
    let both = [before, after];
    let [old, new] = both.map(|installed| installed.into_iter().flat_map(|installed| &installed.memberships));
    differences(old, new, |side, (set, comment)| {
        each(side, Element { comment: comment.clone(), ..Element::member(*set, Key::Frontend(frontend)) });
    });
    for policy in TrafficPolicy::ALL {
        let list = list_of(frontend, policy);
        let [old, new] = both.map(|installed| installed.into_iter().flat_map(|it| it.slots(policy).iter()));
        differences(old, new, |side, (slot, endpoint)| each(side, Element::slot(list, frontend, slot, endpoint)));
    }
    let [old, new] = both.map(|installed| installed.and_then(|installed| installed.affinity.as_deref()));
    affinity::changed_elements(frontend, old, new, &mut each);
    // A set that goes takes its elements along.
    let keeps_set = after.is_some_and(|after| after.check.set.is_some());
    let before = before.filter(|_| keeps_set);
    let [old, new] = [before, after].map(|installed| installed.into_iter().flat_map(|installed| &*installed.sources));
    differences(old, new, |side, source| each(side, Element::source(frontend, *source)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(n: u8) -> Endpoint {
        Endpoint { addr: [10, 0, 0, n].into(), port: 80 }
    }

    /// Places endpoints given as their last address byte; slots are numbered from 0.
    fn placed(installed: &[u8], wanted: &[u8]) -> Vec<u8> {
        let installed: Slots = (0..).zip(installed.iter().map(|n| endpoint(*n))).collect();
        let wanted: Vec<_> = wanted.iter().map(|n| endpoint(*n)).collect();
        let slots = place(Some(&installed), &wanted.as_slice().into());
        assert!(slots.iter().map(|(slot, _)| slot).eq(0..u32::try_from(wanted.len()).unwrap()), "{slots:?}");
        slots
            .iter()
            .map(|(_, e)| match e.addr {
                std::net::IpAddr::V4(addr) => addr.octets()[3],
                std::net::IpAddr::V6(_) => 0,
            })
            .collect()
    }

    #[test]
    fn an_added_endpoint_takes_the_next_slot() {
        assert_eq!(placed(&[5, 7], &[1, 5, 7]), [5, 7, 1]);
    }

    #[test]
    fn a_removed_endpoint_is_replaced_by_the_last() {
        assert_eq!(placed(&[1, 2, 3, 4], &[1, 3, 4]), [1, 4, 3]);
        assert_eq!(placed(&[1, 2, 3, 4], &[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn a_replaced_endpoint_leaves_its_slot_to_the_new_one() {
        assert_eq!(placed(&[1, 2, 3], &[1, 3, 9]), [1, 9, 3]);
    }

    #[test]
    fn slots_with_gaps_and_repetitions_are_repaired() {
        let installed = [(0, endpoint(1)), (2, endpoint(1)), (7, endpoint(2)), (4_000_000_000, endpoint(3))];
        let slots = place(Some(&installed.into_iter().collect()), &[endpoint(1), endpoint(2), endpoint(3)].into());
        assert_eq!(slots.iter().collect::<Vec<_>>(), [(0, endpoint(1)), (1, endpoint(2)), (2, endpoint(3))]);
    }
}
