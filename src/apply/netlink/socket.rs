//! The netfilter socket: a batch and its answers, a dump and its parts.
//!
//! The kernel works a batch off inside of the system call that sends it, so its answers are there when the call returns.

use std::io::{Error, ErrorKind, IoSliceMut, Result};
use std::os::fd::AsRawFd;

use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout, SndBufForce};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt};
use nix::sys::time::TimeVal;

use super::abi::*;
use super::encode::Batch;
use super::parse::{Attributes, Message, Messages, host_u32};

/// A batch must be one datagram to be atomic, so the buffer has to hold the largest. The kernel doubles this.
const SEND_BUFFER: usize = i32::MAX as usize / 2;
/// Room for a refusal of every message of the largest batch.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The kernel writes at most 32 KiB into one part of a dump.
const PART: usize = 64 << 10;
/// The answers to small requests, of less than 1 KiB each, are received together: how many, and the room for each.
const TOGETHER: usize = 64;
const SMALL: usize = 2 << 10;
/// How long the kernel may take for the next part of a dump, in seconds.
const PATIENCE: i64 = 30;

/// A netfilter socket, of the network namespace in which it was opened.
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    part: Vec<u8>,
}

/// A message of a batch that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The error number.
    pub errno: i32,
    /// The message, counted from the batch's begin.
    pub message: u32,
    /// Where in the message the kernel found fault, if it says so.
    pub offset: Option<u32>,
}

/// What the kernel says to a message.
struct Answer {
    sequence: u32,
    /// 0 for an acknowledgement.
    errno: i32,
    offset: Option<u32>,
}

impl Socket {
    pub fn open() -> Result<Self> {
        let mut inner = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
        inner.bind_auto()?;
        // Without them answers are longer and less precise, no more; with smaller buffers large batches fail, and say so.
        let _ = inner.set_cap_ack(true);
        let _ = inner.set_ext_ack(true);
        let _ = setsockopt(&inner, SndBufForce, &SEND_BUFFER);
        let _ = setsockopt(&inner, RcvBufForce, &RECEIVE_BUFFER);
        setsockopt(&inner, ReceiveTimeout, &TimeVal::new(PATIENCE, 0))?;
        Ok(Self { inner, sequence: 1, part: Vec::with_capacity(PART) })
    }

    /// The sequence number for the next message.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Sends a batch. `Ok(None)` only if the kernel says that it is committed.
    ///
    /// After an error of the socket itself nothing is known, and the socket is not to be used again.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<Option<Fault>> {
        self.sequence = batch.next();
        self.send(&batch.bytes)?;
        let (mut committed, mut fault) = (false, None::<Fault>);
        while let Some(part) = self.receive(MSG_DONTWAIT)? {
            for answer in Messages(part).filter_map(|message| Answer::of(&message)) {
                let message = answer.sequence.wrapping_sub(batch.first);
                if message >= batch.next().wrapping_sub(batch.first) {
                    continue;
                }
                if answer.errno == 0 {
                    committed |= answer.sequence == batch.last();
                } else if fault.is_none_or(|fault| message < fault.message) {
                    // The first of several is the cause of the others.
                    fault = Some(Fault { errno: answer.errno, message, offset: answer.offset });
                }
            }
        }
        match fault {
            None if !committed => Err(Error::new(ErrorKind::UnexpectedEof, "the kernel did not answer")),
            fault => Ok(fault),
        }
    }

    /// Sends one request and hands each message of the answer to `each`. Returns false if something changed meanwhile, so that
    /// parts of the answer may not fit each other.
    pub fn request(&mut self, request: &[u8], mut each: impl FnMut(&Message<'_>)) -> Result<bool> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.send(request)?;
        let mut consistent = true;
        loop {
            let part = self.receive(0)?.ok_or(ErrorKind::TimedOut)?;
            for message in Messages(part).filter(|message| message.sequence == sequence) {
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let errno = Answer::of(&message).map_or(0, |answer| answer.errno);
                        return if errno == 0 { Ok(consistent) } else { Err(Error::from_raw_os_error(errno)) };
                    }
                    _ => each(&message),
                }
            }
        }
    }

    /// Sends requests that are no dumps, together, and hands each message of their answers to `each`, with the error number if it is
    /// a refusal. `next` is the sequence number after them.
    ///
    /// The kernel works them off inside of the system call. What does not fit into the receive buffer is lost: whoever asks
    /// has to see what is missing.
    pub fn requests(
        &mut self,
        requests: &[u8],
        next: u32,
        mut each: impl FnMut(&Message<'_>, Option<i32>),
    ) -> Result<()> {
        self.sequence = next;
        self.send(requests)?;
        let mut buffers = vec![0; TOGETHER * SMALL];
        let mut headers = MultiHeaders::<()>::preallocate(TOGETHER, None);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        loop {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                buffers.chunks_exact_mut(SMALL).map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let lengths: Vec<usize> =
                match recvmmsg(self.inner.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
                    Ok(received) => received.map(|message| message.bytes).collect(),
                    Err(Errno::EAGAIN) => return Ok(()),
                    Err(Errno::EINTR) => continue,
                    Err(error) => return Err(error.into()),
                };
            for (part, length) in buffers.chunks_exact(SMALL).zip(lengths) {
                for message in Messages(part.get(..length).ok_or(ErrorKind::InvalidData)?) {
                    each(&message, Answer::of(&message).map(|answer| answer.errno));
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let sent = self.inner.send_to(bytes, &SocketAddr::new(0, 0), 0)?;
        if sent == bytes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// The next datagram; `None` if there is none.
    fn receive(&mut self, flags: i32) -> Result<Option<&[u8]>> {
        self.part.clear();
        match self.inner.recv(&mut self.part, flags | MSG_TRUNC) {
            Ok(length) if length > self.part.len() => Err(ErrorKind::InvalidData.into()),
            Ok(_) => Ok(Some(&self.part)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => self.receive(flags),
            Err(error) => Err(error),
        }
    }
}

impl Answer {
    /// The answer in a message, if it is one: `struct nlmsgerr` and what may follow.
    fn of(message: &Message<'_>) -> Option<Self> {
        if !matches!(message.kind, NLMSG_ERROR | NLMSG_DONE) {
            return None;
        }
        // Negative, as inside of the kernel.
        let errno = i32::from_ne_bytes(message.payload.get(0..4)?.try_into().ok()?).wrapping_neg();
        let mut offset = None;
        if message.kind == NLMSG_ERROR && message.flags & NLM_F_ACK_TLVS != 0 {
            // After the request's header, or after all of the request where the kernel repeats it.
            let repeated = if message.flags & NLM_F_CAPPED != 0 { 16 } else { host_u32(message.payload.get(4..8)?)? };
            let notes = usize::try_from(repeated).ok()?.checked_add(4)?.next_multiple_of(4);
            let notes = Attributes(message.payload.get(notes..).unwrap_or_default());
            offset = notes.find(NLMSGERR_ATTR_OFFS).and_then(host_u32);
        }
        Some(Self { sequence: message.sequence, errno, offset })
    }
}
