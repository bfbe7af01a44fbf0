//! A socket that hears the messages of one kind which the kernel sends to a multicast group, but those that this process causes.

use std::io::{ErrorKind, Result};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use nix::libc::{ENOBUFS, MSG_DONTWAIT};
use socket2::{SockFilter, SockRef};

use super::parse::host_u32;
use super::ports;

/// Room for one datagram: the messages that are heard are shorter.
const DATAGRAM_BYTES: usize = 8 << 10;

/// Where `struct nlmsghdr` has the port of the sender.
const PORT_OFFSET: usize = 12;

/// Which messages are heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageFilter {
    /// The multicast group, `NFNLGRP_*`.
    pub group: u32,
    /// The kind of message (`nlmsg_type`).
    pub kind: u16,
}

/// What was heard.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard<'a> {
    /// A datagram.
    Datagram {
        /// The port of the socket whose request was the cause; 0 for the kernel's own doing.
        sender: u32,
        /// One message or more.
        messages: &'a [u8],
    },
    /// Messages came faster than they were received, and some are lost.
    Lost,
}

/// A listening socket. It belongs to the network namespace of the thread that opened it.
pub(crate) struct MulticastListener {
    socket: TokioSocket,
    datagram: Vec<u8>,
}

impl MulticastListener {
    /// Opens a socket that hears from now on. The kernel drops other messages before it queues them.
    ///
    /// # Errors
    ///
    /// The system refuses one, or the kernel has no netfilter.
    pub fn open(filter: MessageFilter) -> Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        ports::bind(socket.socket_mut())?;
        SockRef::from(socket.socket_ref()).attach_filter(&program(filter.kind))?;
        socket.socket_ref().add_membership(filter.group)?;
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Waits for a datagram. May be dropped while it waits: nothing is lost by that.
    ///
    /// # Errors
    ///
    /// The socket failed.
    pub async fn receive(&mut self) -> Result<Heard<'_>> {
        self.datagram.clear();
        match self.socket.recv(&mut self.datagram).await {
            Ok(()) => Ok(datagram(&self.datagram)),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => Ok(Heard::Lost),
            Err(error) => Err(error),
        }
    }

    /// A datagram that is there already.
    ///
    /// # Errors
    ///
    /// The socket failed.
    pub fn receive_waiting(&mut self) -> Result<Option<Heard<'_>>> {
        self.datagram.clear();
        match self.socket.socket_ref().recv(&mut self.datagram, MSG_DONTWAIT) {
            Ok(_) => Ok(Some(datagram(&self.datagram))),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => Ok(Some(Heard::Lost)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for MulticastListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MulticastListener").finish_non_exhaustive()
    }
}

/// A datagram with its sender, which is in the first `struct nlmsghdr`.
fn datagram(messages: &[u8]) -> Heard<'_> {
    let sender = messages.get(PORT_OFFSET..PORT_OFFSET + 4).and_then(host_u32);
    Heard::Datagram { sender: sender.unwrap_or_default(), messages }
}

/// The filter, a program of classic BPF (`linux/filter.h`): the first message of a datagram is of this kind, and its sender is no socket of
/// this process. Loads are in network byte order, `struct nlmsghdr` is in the host's.
fn program(kind: u16) -> [SockFilter; 7] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const KIND_OFFSET: u32 = 4;
    let word = |value: u32| u32::from_be_bytes(value.to_ne_bytes());
    let kind = u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
    [
        SockFilter::new(LOAD_HALF, 0, 0, KIND_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, kind),
        SockFilter::new(LOAD_WORD, 0, 0, PORT_OFFSET as u32),
        SockFilter::new(AND, 0, 0, word(ports::RANGE_MASK)),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, word(ports::first())),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}
