//! Which commits that are heard were made by our own nft processes.
//!
//! The kernel names the port of the socket that a commit came through. nft's socket has the number of its process as port, because it does not
//! ask for another, so the processes that were started are enough to know.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The ports of our nft processes whose commits were not heard yet.
///
/// A number stays until its commit is heard, the process fails, or a listener is opened: the system gives it to another process some day.
#[derive(Clone, Debug, Default)]
pub struct OwnCommits(Arc<Mutex<BTreeSet<u32>>>);

impl OwnCommits {
    /// A process with this number will commit.
    pub(super) fn expect(&self, pid: u32) {
        self.with(|ports| ports.insert(pid));
    }

    /// The process has failed. Should it have committed all the same, that is looked at like another program's.
    pub(super) fn failed(&self, pid: u32) {
        self.with(|ports| ports.remove(&pid));
    }

    /// A listener is opened, which does not hear what came before.
    pub(super) fn clear(&self) {
        self.with(BTreeSet::clear);
    }

    /// Whether a commit that came through this port is ours. True only once.
    pub(in crate::apply) fn take(&self, port: u32) -> bool {
        self.with(|ports| ports.remove(&port))
    }

    fn with<T>(&self, change: impl FnOnce(&mut BTreeSet<u32>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_ours_for_one_commit_of_a_process_that_did_not_fail() {
        let own = OwnCommits::default();
        [7, 8, 9].into_iter().for_each(|pid| own.expect(pid));
        own.failed(8);
        assert_eq!([7, 7, 8].map(|port| own.take(port)), [true, false, false]);
        own.clear();
        assert!(!own.take(9));
    }
}
