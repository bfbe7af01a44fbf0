//! A peer in place of the kernel, for answers that a kernel does not give on demand: dumps that are interrupted, acknowledgements that are lost.
//!
//! It is another socket of this process, of the protocol that the kernel leaves to programs.

use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use netlink_sys::protocols::NETLINK_USERSOCK;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::TimeVal;

use super::abi::{NFPROTO_IPV4, NLMSG_DONE, NLMSG_ERROR};
use super::parse::{Messages, NetlinkMessage};
use super::socket::NetfilterSocket;
use super::write::MessageWriter;

/// A peer, and the port of the socket that talks to it.
pub(crate) struct FakePeer {
    socket: Socket,
    client: SocketAddr,
}

/// A peer that answers requests in a thread, until it is dropped.
pub(crate) struct RunningPeer {
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl FakePeer {
    /// A peer, and a socket that takes it for the kernel. Its first message has the sequence number 1.
    pub fn new() -> (Self, NetfilterSocket) {
        Self::with_patience(5_000)
    }

    /// The same, with a socket that waits for an answer for so many milliseconds.
    pub fn with_patience(milliseconds: i64) -> (Self, NetfilterSocket) {
        let [mut peer, mut inner] = [(); 2].map(|()| Socket::new(NETLINK_USERSOCK).unwrap());
        let (here, client) = (peer.bind_auto().unwrap(), inner.bind_auto().unwrap());
        for (socket, milliseconds) in [(&peer, 100), (&inner, milliseconds)] {
            let (seconds, microseconds) = (milliseconds / 1_000, milliseconds % 1_000 * 1_000);
            setsockopt(socket, ReceiveTimeout, &TimeVal::new(seconds, microseconds)).unwrap();
        }
        (Self { socket: peer, client }, NetfilterSocket::connected(inner, here).unwrap())
    }

    /// Sends a datagram. It waits until the socket receives.
    pub fn send(&self, datagram: &[u8]) {
        self.try_send(datagram).unwrap();
    }

    fn try_send(&self, datagram: &[u8]) -> Result<()> {
        self.socket.send_to(datagram, &self.client, 0).map(drop)
    }

    /// Answers every request with these datagrams.
    pub fn answer(
        self,
        mut datagrams: impl FnMut(&NetlinkMessage<'_>) -> Vec<Vec<u8>> + Send + 'static,
    ) -> RunningPeer {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let mut request = Vec::with_capacity(64 << 10);
                if self.socket.recv(&mut request, 0).is_ok() {
                    let all: Vec<_> = Messages(&request).flat_map(|request| datagrams(&request)).collect();
                    // The client may be gone.
                    all.iter().for_each(|datagram| drop(self.try_send(datagram)));
                }
            }
        });
        RunningPeer { is_over, thread: Some(thread) }
    }
}

impl Drop for RunningPeer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(Err(panic)) = self.thread.take().map(thread::JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A message of netfilter, with the generation of the ruleset and its attributes.
pub(crate) fn message(
    kind: u16,
    flags: u16,
    sequence: u32,
    generation: u16,
    put: impl FnOnce(&mut MessageWriter),
) -> Vec<u8> {
    let mut out = MessageWriter::default();
    let message = out.begin_message(kind, flags, sequence, NFPROTO_IPV4, generation);
    put(&mut out);
    out.end_message(message);
    out.bytes
}

/// The end of a dump.
pub(crate) fn done(flags: u16, sequence: u32) -> Vec<u8> {
    with_errno(NLMSG_DONE, flags, sequence, 0)
}

/// A refusal with this error number; an acknowledgement if it is 0.
pub(crate) fn refusal(sequence: u32, errno: i32) -> Vec<u8> {
    with_errno(NLMSG_ERROR, 0, sequence, errno)
}

fn with_errno(kind: u16, flags: u16, sequence: u32, errno: i32) -> Vec<u8> {
    let mut bytes = message(kind, flags, sequence, 0, |_| {});
    // In place of `struct nfgenmsg`.
    bytes.truncate(16);
    bytes.extend_from_slice(&errno.wrapping_neg().to_ne_bytes());
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}
