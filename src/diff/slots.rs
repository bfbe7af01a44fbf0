//! The endpoints of a frontend as they are installed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dataplane::Endpoint;

/// Endpoints by slot, in order. What we installed has the slots from 0 without gaps, and then only the endpoints are kept, often in
/// the very memory of the snapshot that asked for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    /// With the slots from 0.
    Gapless(Arc<[Endpoint]>),
    /// Any others.
    #[expect(clippy::box_collection, reason = "rare, and so not to make the others larger")]
    Numbered(Box<Vec<(u32, Endpoint)>>),
}

impl Slots {
    /// The slots and their endpoints.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Endpoint)> {
        let (gapless, numbered) = match &self.0 {
            Repr::Gapless(endpoints) => (&**endpoints, &[][..]),
            Repr::Numbered(slots) => (&[][..], slots.as_slice()),
        };
        (0..).zip(gapless.iter().copied()).chain(numbered.iter().copied())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Gapless(endpoints) => endpoints.len(),
            Repr::Numbered(slots) => slots.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The endpoints, if their slots are those from 0 without gaps.
    pub(super) fn gapless(&self) -> Option<&Arc<[Endpoint]>> {
        match &self.0 {
            Repr::Gapless(endpoints) => Some(endpoints),
            Repr::Numbered(_) => None,
        }
    }
}

/// Gives every wanted item a slot in `0..wanted.len()`.
///
/// An item that already has such a slot keeps it. The others, those from slots beyond the end among them, fill the slots
/// that are free or whose item went: each costs one addition, and a deletion if the slot was taken. Every slot beyond the
/// end costs one deletion. None of these can be avoided, so the number of operations is minimal.
pub(super) fn fill<T: Copy + Ord>(
    installed: impl Iterator<Item = (u32, T)>,
    wanted: impl ExactSizeIterator<Item = T>,
    is_wanted: impl Fn(&T) -> bool,
) -> impl Iterator<Item = (u32, T)> {
    let mut slots: Vec<Option<T>> = vec![None; wanted.len()];
    let mut kept = BTreeSet::new();
    for (slot, item) in installed {
        let in_range = usize::try_from(slot).ok().and_then(|slot| slots.get_mut(slot));
        if let Some(free) = in_range
            && is_wanted(&item)
            && kept.insert(item)
        {
            *free = Some(item);
        }
    }
    let mut others = wanted.filter(move |item| !kept.contains(item));
    (0..).zip(slots).filter_map(move |(slot, kept)| Some((slot, kept.or_else(|| others.next())?)))
}

impl Default for Slots {
    fn default() -> Self {
        Arc::<[Endpoint]>::default().into()
    }
}

impl From<Arc<[Endpoint]>> for Slots {
    fn from(endpoints: Arc<[Endpoint]>) -> Self {
        Self(Repr::Gapless(endpoints))
    }
}

impl FromIterator<(u32, Endpoint)> for Slots {
    /// The slots must be in order.
    fn from_iter<I: IntoIterator<Item = (u32, Endpoint)>>(slots: I) -> Self {
        let slots = Vec::from_iter(slots);
        if slots.is_empty() {
            Self::default()
        } else if slots.iter().map(|(slot, _)| *slot).eq((0..).take(slots.len())) {
            Self(Repr::Gapless(slots.into_iter().map(|(_, endpoint)| endpoint).collect()))
        } else {
            Self(Repr::Numbered(Box::new(slots)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_read_as_they_were_given_with_gaps_and_without() {
        let endpoint = |n: u8| Endpoint { addr: [10, 0, 0, n].into(), port: 80 };
        for numbers in [&[][..], &[0, 1], &[0, 2], &[1]] {
            let given: Vec<(u32, Endpoint)> = numbers.iter().map(|n| (*n, endpoint(7))).collect();
            let slots: Slots = given.iter().copied().collect();
            assert_eq!((slots.iter().collect::<Vec<_>>(), slots.len()), (given, numbers.len()));
            assert_eq!(slots.gapless().is_some(), numbers.iter().copied().eq(0..u32::try_from(numbers.len()).unwrap()));
        }
    }

    #[test]
    fn the_list_that_was_asked_for_is_kept_itself() {
        let list: Arc<[Endpoint]> = [Endpoint { addr: [10, 0, 0, 1].into(), port: 80 }].into();
        assert!(Slots::from(Arc::clone(&list)).gapless().is_some_and(|kept| Arc::ptr_eq(kept, &list)));
    }
}
