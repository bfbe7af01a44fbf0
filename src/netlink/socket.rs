//! The netfilter socket: requests, dumps and batches, and their answers.
//!
//! The kernel works a batch or a request that is no dump off inside of the system call that sends it, so the answers are there
//! when the call returns.

use std::io::{Error, ErrorKind, IoSliceMut, Result};
use std::ops::Range;
use std::os::fd::AsRawFd;

use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout, SndBufForce};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt};
use nix::sys::time::TimeVal;
use tokio_util::sync::CancellationToken;

use super::abi::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSGERR_ATTR_OFFS};
use super::parse::{Attributes, Messages, NetlinkMessage, host_u32};
use super::ports;

/// A batch must be one datagram to be atomic, so the buffer has to hold the largest. The kernel doubles this.
const SEND_BUFFER_BYTES: usize = i32::MAX as usize / 2;
/// Room for a refusal of every message of the largest batch.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Room for one datagram of an answer: the kernel writes at most 32 KiB into one part of a dump.
const DATAGRAM_BYTES: usize = 64 << 10;
/// How many answers to small requests are received in one system call.
const SMALL_ANSWERS_PER_CALL: usize = 64;
/// Room for one answer to a small request, which has less than 1 KiB.
const SMALL_ANSWER_BYTES: usize = 2 << 10;
/// How long the kernel may take for the next part of a dump.
const ANSWER_TIMEOUT_SECONDS: i64 = 30;

/// A netfilter socket.
///
/// It belongs to the network namespace of the thread that opened it. After an error of the socket itself it is unknown which
/// answers are still under way: such a socket is not used again.
pub(crate) struct NetfilterSocket {
    inner: netlink_sys::Socket,
    sequence: u32,
    datagram: Vec<u8>,
    /// No one waits for answers any more.
    unwanted: CancellationToken,
}

/// A message of a batch that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusedMessage {
    /// The error number.
    pub errno: i32,
    /// The number of the message in the batch; the batch's begin is 0.
    pub message: u32,
    /// The byte of the message that the kernel objects to, if it says so.
    pub offset: Option<u32>,
}

/// The acknowledgement or refusal of a message.
struct Acknowledgement {
    sequence: u32,
    /// 0 for an acknowledgement.
    errno: i32,
    offset: Option<u32>,
}

impl NetfilterSocket {
    /// Opens a socket in the current network namespace.
    ///
    /// # Errors
    ///
    /// The system refuses one, or the kernel has no netfilter.
    pub fn open() -> Result<Self> {
        Self::open_protocol(NETLINK_NETFILTER)
    }

    /// Opens a socket of another protocol of netlink, whose requests are answered in the same way.
    pub(super) fn open_protocol(protocol: isize) -> Result<Self> {
        let mut inner = netlink_sys::Socket::new(protocol)?;
        ports::bind(&mut inner)?;
        // Without these two answers are longer and less precise. With smaller buffers a large batch fails with an error.
        let _ = inner.set_cap_ack(true);
        let _ = inner.set_ext_ack(true);
        let _ = setsockopt(&inner, SndBufForce, &SEND_BUFFER_BYTES);
        let _ = setsockopt(&inner, RcvBufForce, &RECEIVE_BUFFER_BYTES);
        setsockopt(&inner, ReceiveTimeout, &TimeVal::new(ANSWER_TIMEOUT_SECONDS, 0))?;
        Self::connected(inner, SocketAddr::new(0, 0))
    }

    /// A socket that sends to this address, and receives nothing from others. The kernel's is 0.
    pub(super) fn connected(inner: netlink_sys::Socket, to: SocketAddr) -> Result<Self> {
        inner.connect(&to)?;
        let (datagram, unwanted) = (Vec::with_capacity(DATAGRAM_BYTES), CancellationToken::new());
        Ok(Self { inner, sequence: 1, datagram, unwanted })
    }

    /// From now on requests are broken off, with [`ErrorKind::ConnectionAborted`], once this is cancelled. Batches are not.
    pub fn break_off_when(&mut self, unwanted: CancellationToken) {
        self.unwanted = unwanted;
    }

    /// The sequence number for the next message.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Sends a batch. Its messages have the sequence numbers `numbers`, from the begin of the batch to its end; the last message
    /// before the end asks for an acknowledgement.
    ///
    /// Returns `None` only if the kernel acknowledged the batch, and otherwise the first message that it refused.
    ///
    /// # Errors
    ///
    /// The socket failed. The batch may or may not be applied.
    pub fn commit(&mut self, batch: &[u8], numbers: Range<u32>) -> Result<Option<RefusedMessage>> {
        let Range { start: first, end: next } = numbers;
        let last = next.wrapping_sub(2);
        self.sequence = next;
        self.send(batch)?;
        let (mut committed, mut refused) = (false, None::<RefusedMessage>);
        while let Some(datagram) = self.receive(MSG_DONTWAIT)? {
            for answer in Messages(datagram).filter_map(|message| Acknowledgement::from_message(&message)) {
                let message = answer.sequence.wrapping_sub(first);
                if message >= next.wrapping_sub(first) {
                    continue;
                }
                if answer.errno == 0 {
                    committed |= answer.sequence == last;
                } else if refused.is_none_or(|refused| message < refused.message) {
                    // The first of several is the cause of the others.
                    refused = Some(RefusedMessage { errno: answer.errno, message, offset: answer.offset });
                }
            }
        }
        match refused {
            None if !committed => Err(Error::new(ErrorKind::UnexpectedEof, "the kernel did not acknowledge the batch")),
            refused => Ok(refused),
        }
    }

    /// Sends one request, a dump or one that asks for an acknowledgement, and hands each message of the answer to `each`.
    ///
    /// Returns false if the kernel's objects changed during the dump, so that parts of the answer may not fit each other.
    ///
    /// # Errors
    ///
    /// The socket failed, or the kernel refused the request: then with the kernel's error number.
    pub fn request(&mut self, request: &[u8], mut each: impl FnMut(&NetlinkMessage<'_>)) -> Result<bool> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.send(request)?;
        let mut consistent = true;
        loop {
            self.check_wanted()?;
            let datagram = self.receive(0)?.ok_or(ErrorKind::TimedOut)?;
            for message in Messages(datagram).filter(|message| message.sequence == sequence) {
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let errno = Acknowledgement::from_message(&message).map_or(0, |answer| answer.errno);
                        return if errno == 0 { Ok(consistent) } else { Err(Error::from_raw_os_error(errno)) };
                    }
                    _ => each(&message),
                }
            }
        }
    }

    /// Sends several requests that are no dumps in one system call, and hands each message of their answers to `each`, with the
    /// error number if it is a refusal. `next` is the sequence number after the last request.
    ///
    /// An answer that does not fit into the receive buffer is lost: the caller has to see which answers are missing.
    ///
    /// # Errors
    ///
    /// The socket failed.
    pub fn request_all(
        &mut self,
        requests: &[u8],
        next: u32,
        mut each: impl FnMut(&NetlinkMessage<'_>, Option<i32>),
    ) -> Result<()> {
        self.sequence = next;
        self.check_wanted()?;
        self.send(requests)?;
        let mut buffers = vec![0; SMALL_ANSWERS_PER_CALL * SMALL_ANSWER_BYTES];
        let mut headers = MultiHeaders::<()>::preallocate(SMALL_ANSWERS_PER_CALL, None);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        loop {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                buffers.chunks_exact_mut(SMALL_ANSWER_BYTES).map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let lengths: Vec<usize> =
                match recvmmsg(self.inner.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
                    Ok(received) => received.map(|message| message.bytes).collect(),
                    Err(Errno::EAGAIN) => return Ok(()),
                    Err(Errno::EINTR) => continue,
                    Err(error) => return Err(error.into()),
                };
            for (datagram, length) in buffers.chunks_exact(SMALL_ANSWER_BYTES).zip(lengths) {
                for message in Messages(datagram.get(..length).ok_or(ErrorKind::InvalidData)?) {
                    each(&message, Acknowledgement::from_message(&message).map(|answer| answer.errno));
                }
            }
        }
    }

    fn check_wanted(&self) -> Result<()> {
        let unwanted = self.unwanted.is_cancelled();
        if unwanted { Err(Error::new(ErrorKind::ConnectionAborted, "the reading was broken off")) } else { Ok(()) }
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let sent = self.inner.send(bytes, 0)?;
        if sent == bytes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// The next datagram; `None` if there is none, or none in time.
    fn receive(&mut self, flags: i32) -> Result<Option<&[u8]>> {
        self.datagram.clear();
        match self.inner.recv(&mut self.datagram, flags | MSG_TRUNC) {
            Ok(length) if length > self.datagram.len() => Err(ErrorKind::InvalidData.into()),
            Ok(_) => Ok(Some(&self.datagram)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => self.receive(flags),
            Err(error) => Err(error),
        }
    }
}

impl Acknowledgement {
    /// Reads `struct nlmsgerr` and the attributes after it; `None` if the message is no acknowledgement and no refusal.
    fn from_message(message: &NetlinkMessage<'_>) -> Option<Self> {
        if !matches!(message.kind, NLMSG_ERROR | NLMSG_DONE) {
            return None;
        }
        // Negative, as inside of the kernel.
        let errno = i32::from_ne_bytes(message.payload.get(0..4)?.try_into().ok()?).wrapping_neg();
        let mut offset = None;
        if message.kind == NLMSG_ERROR && message.flags & NLM_F_ACK_TLVS != 0 {
            // After the request's header, or after all of the request where the kernel repeats it.
            let repeated = if message.flags & NLM_F_CAPPED != 0 { 16 } else { host_u32(message.payload.get(4..8)?)? };
            let start = usize::try_from(repeated).ok()?.checked_add(4)?.next_multiple_of(4);
            let attributes = Attributes(message.payload.get(start..).unwrap_or_default());
            offset = attributes.find(NLMSGERR_ATTR_OFFS).and_then(host_u32);
        }
        Some(Self { sequence: message.sequence, errno, offset })
    }
}

#[cfg(test)]
mod tests;
