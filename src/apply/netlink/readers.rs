//! The sockets over which whole tables are read.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::netlink::NetfilterSocket;

/// Sockets that are kept from one reading to the next.
///
/// To close a netfilter socket after something was deleted takes until the kernel has freed that, some 20 ms, and commits wait as long
/// (`nft_rcv_nl_event` in net/netfilter/nf_tables_api.c). So none is closed between a commit and the next.
#[derive(Clone, Default)]
pub(super) struct Readers(Arc<Mutex<Vec<NetfilterSocket>>>);

impl Readers {
    /// Takes at most so many sockets, and at least one. Opens those that are missing in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// If there is none, and the kernel gives none.
    pub fn take(&self, count: usize) -> io::Result<Vec<NetfilterSocket>> {
        let mut idle = self.idle();
        let left = idle.len().saturating_sub(count);
        let mut sockets = idle.split_off(left);
        drop(idle);
        if sockets.is_empty() {
            sockets.push(NetfilterSocket::open()?);
        }
        // With fewer sockets the reading takes longer.
        let missing = count.saturating_sub(sockets.len());
        sockets.extend((0..missing).map_while(|_| NetfilterSocket::open().ok()));
        Ok(sockets)
    }

    /// Keeps sockets that no answers are under way to.
    pub fn put_back(&self, sockets: Vec<NetfilterSocket>) {
        self.idle().extend(sockets);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<NetfilterSocket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_used_again_and_those_that_failed_are_replaced() {
        let readers = Readers::default();
        let sockets = readers.take(2).unwrap();
        assert_eq!((sockets.len(), readers.idle().len()), (2, 0));
        readers.put_back(sockets);
        let one = readers.take(1).unwrap();
        assert_eq!((one.len(), readers.idle().len()), (1, 1));
        // It failed.
        drop(one);
        let both = readers.take(2).unwrap();
        assert_eq!((both.len(), readers.idle().len()), (2, 0));
    }
}
