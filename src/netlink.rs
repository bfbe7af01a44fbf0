//! The generic part of netfilter's netlink protocol: a socket, messages and attributes.
//!
//! ```text
//! MessageWriter ─▶ bytes ─▶ NetfilterSocket ─▶ kernel
//! Attributes ◀─ NetlinkMessage ◀─ NetfilterSocket ◀─
//! ```
//!
//! A user adds the numbers and the meaning of its own subsystem: `apply::netlink` those of nf_tables, `conntrack` those of
//! connection tracking, `takeover` those of ipsets. The socket sends a request in one of three ways:
//!
//! - [`NetfilterSocket::request`]: one request, or one dump;
//! - [`NetfilterSocket::request_all`]: many small requests in one system call;
//! - [`NetfilterSocket::commit`]: a batch, which the kernel applies as a whole or not at all.
//!
//! [`GenericSocket`] sends commands to a family of generic netlink: `takeover` adds the numbers of IPVS.
//! [`MulticastListener`] hears what the kernel tells of the changes that other processes make.

pub(crate) mod abi;
#[cfg(test)]
pub(crate) mod fake_peer;
mod generic;
mod listener;
mod parse;
mod ports;
mod socket;
mod write;

pub(crate) use generic::GenericSocket;
pub(crate) use listener::{Heard, MessageFilter, MulticastListener};
pub(crate) use parse::{Attributes, Messages, NetlinkMessage, host_u32, text};
pub(crate) use socket::{NetfilterSocket, RefusedMessage};
pub(crate) use write::{MessageWriter, Unfinished, nfproto};
