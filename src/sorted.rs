//! Comparing two sorted sequences in one pass.

use std::cmp::Ordering;

/// Which of two sequences has an entry that the other lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Only the sequence before: the entry goes.
    Before,
    /// Only the sequence after: the entry comes.
    After,
}

/// Calls `each` for every entry that one of two sorted sequences has more often than the other, that often.
pub(crate) fn differences<T: Ord>(
    before: impl IntoIterator<Item = T>,
    after: impl IntoIterator<Item = T>,
    mut each: impl FnMut(Side, T),
) {
    let (mut before, mut after) = (before.into_iter(), after.into_iter());
    let (mut old, mut new) = (before.next(), after.next());
    loop {
        let order = match (&old, &new) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        if order.is_le()
            && let Some(entry) = std::mem::replace(&mut old, before.next())
            && order.is_lt()
        {
            each(Side::Before, entry);
        }
        if order.is_ge()
            && let Some(entry) = std::mem::replace(&mut new, after.next())
            && order.is_gt()
        {
            each(Side::After, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_sequences_with_repetitions_differ_by_what_one_has_more_often() {
        let mut found = Vec::new();
        differences([1, 2, 2, 4], [2, 3, 4, 4], |side, entry| found.push((side, entry)));
        let expected = [(Side::Before, 1), (Side::Before, 2), (Side::After, 3), (Side::After, 4)];
        assert_eq!(found, expected);
    }
}
