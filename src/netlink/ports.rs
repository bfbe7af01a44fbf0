//! The ports of this process's netfilter sockets: all in one range, so that one comparison tells its own commits from those of others.
//!
//! The kernel gives a port to a socket that does not ask for one: the process's number, or a number above 2^31. Numbers of processes are
//! below 2^22. So the range is taken from what is between.

use std::io::{ErrorKind, Result};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_sys::{Socket, SocketAddr};

/// The size of the range, a power of two.
const RANGE: u32 = 1 << 12;
/// The mask that leaves the range of a port.
pub(super) const RANGE_MASK: u32 = !(RANGE - 1);
/// How many ports are tried: another process may have drawn the same range.
const MAX_ATTEMPTS: u32 = 16;

/// The first port of the range, drawn at the first use.
static FIRST: LazyLock<u32> = LazyLock::new(|| rand::random_range(1_u32 << 30..1 << 31) & RANGE_MASK);
/// The number of the next socket.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The first port of the range.
pub(super) fn first() -> u32 {
    *FIRST
}

/// Binds the socket to a free port of the range; to any other port if none is found.
pub(super) fn bind(socket: &mut Socket) -> Result<()> {
    for _ in 0..MAX_ATTEMPTS {
        let port = first() | (NEXT.fetch_add(1, Ordering::Relaxed) & !RANGE_MASK);
        match socket.bind(&SocketAddr::new(port, 0)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    socket.bind_auto().map(drop)
}

#[cfg(test)]
mod tests {
    use netlink_sys::protocols::NETLINK_NETFILTER;

    use super::*;

    #[test]
    fn sockets_get_different_ports_of_one_range_that_no_process_has() {
        let port = || {
            let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
            bind(&mut socket).unwrap();
            let mut address = SocketAddr::new(0, 0);
            socket.get_address(&mut address).unwrap();
            (socket, address.port_number())
        };
        let ((_one, first_port), (_other, second_port)) = (port(), port());
        assert_ne!(first_port, second_port);
        assert_eq!([first_port, second_port].map(|port| port & RANGE_MASK), [first(); 2]);
        assert!((1 << 30..1 << 31).contains(&first_port));
    }
}
