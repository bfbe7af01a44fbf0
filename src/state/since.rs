//! Where a snapshot may differ from earlier ones: what a diff looks at instead of comparing two of them.

use std::sync::Arc;

use super::compile::SharedElement;
use crate::dataplane::Frontend;

/// Stands for one snapshot, for as long as somebody keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark(Arc<()>);

/// What was changed by the last steps up to a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Since {
    own: Mark,
    /// The snapshots before, and how much had been noted up to each.
    steps: Vec<(Mark, usize, usize)>,
    frontends: Vec<Frontend>,
    shared: Vec<SharedElement>,
}

/// So much is always noted.
const FEW: usize = 1000;

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Since {
    /// The snapshot's own mark.
    pub fn mark(&self) -> Mark {
        self.own.clone()
    }

    /// Everything that may differ from the snapshot with this mark, in any order and with repetitions; `None` if that is not known.
    pub fn of(&self, mark: &Mark) -> Option<(&[Frontend], &[SharedElement])> {
        if *mark == self.own {
            return Some((&[], &[]));
        }
        let (_, frontends, shared) = self.steps.iter().rev().find(|(step, ..)| step == mark)?;
        Some((&self.frontends[*frontends..], &self.shared[*shared..]))
    }

    /// Begins the next snapshot.
    pub fn step(&mut self) {
        let before = std::mem::take(&mut self.own);
        self.steps.push((before, self.frontends.len(), self.shared.len()));
    }

    /// Notes a frontend that may have changed.
    pub fn frontend(&mut self, frontend: Frontend) {
        self.frontends.push(frontend);
    }

    /// Notes a shared element that may have changed.
    pub fn shared(&mut self, shared: SharedElement) {
        self.shared.push(shared);
    }

    /// Forgets what was noted, but for the snapshot's own mark.
    pub fn forget(&mut self) {
        *self = Self { own: self.own.clone(), ..Self::default() };
    }

    /// Forgets what was noted if it is so much that comparing all these frontends is hardly more work.
    pub fn bound(&mut self, frontends: usize) {
        if self.steps.len() + self.frontends.len() + self.shared.len() > FEW.max(frontends / 4) {
            self.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::frontend;

    #[test]
    fn what_changed_is_known_for_each_of_the_last_snapshots() {
        let (a, b) = (frontend("10.96.0.1 80/tcp"), frontend("10.96.0.2 80/tcp"));
        let mut since = Since::default();
        let first = since.mark();
        since.step();
        since.frontend(a);
        let second = since.mark();
        since.step();
        since.frontend(b);
        let of = |since: &Since, mark: &Mark| since.of(mark).map(|(frontends, _)| frontends.to_vec());
        assert_eq!(of(&since, &first), Some(vec![a, b]));
        assert_eq!(of(&since, &second), Some(vec![b]));
        assert_eq!(of(&since, &since.mark()), Some(vec![]));
        assert_eq!(of(&since, &Mark::default()), None, "another history");
        since.bound(0);
        assert_eq!(of(&since, &first).unwrap().len(), 2, "few");
        let last = since.mark();
        since.forget();
        assert_eq!((of(&since, &second), of(&since, &last)), (None, Some(vec![])));
    }

    #[test]
    fn what_is_noted_is_bounded() {
        let mut since = Since::default();
        for _ in 0..3 * FEW {
            since.step();
            since.frontend(frontend("10.96.0.1 80/tcp"));
            since.bound(2 * FEW);
        }
        assert!(since.frontends.len() <= FEW, "{}", since.frontends.len());
    }
}
