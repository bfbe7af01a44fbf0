//! Generic netlink: sockets to a family that the kernel knows by name, such as IPVS.
//!
//! Numbers from `linux/genetlink.h`, under the kernel's names.

use std::io::{ErrorKind, Result};

use netlink_sys::protocols::NETLINK_GENERIC;

use super::abi::{NLM_F_ACK, NLM_F_REQUEST};
use super::{MessageWriter, NetfilterSocket};

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// A socket that sends commands to one family of generic netlink.
///
/// It belongs to the network namespace of the thread that opened it.
pub(crate) struct GenericSocket {
    socket: NetfilterSocket,
    /// The number that the kernel gave the family when it was registered.
    family: u16,
}

impl GenericSocket {
    /// Opens a socket to the family with this name. The kernel may load a module for it.
    ///
    /// # Errors
    ///
    /// The system refuses a socket, or the kernel has no such family (`ENOENT`).
    pub fn open(family: &str) -> Result<Self> {
        let mut socket = NetfilterSocket::open_protocol(NETLINK_GENERIC)?;
        let request = message(GENL_ID_CTRL, socket.sequence(), CTRL_CMD_GETFAMILY, |out| {
            out.put_name(CTRL_ATTR_FAMILY_NAME, family);
        });
        let mut found = None;
        socket.request(&request, |answer| {
            let id = answer.attributes().find(CTRL_ATTR_FAMILY_ID);
            found = found.or_else(|| id.and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes));
        })?;
        Ok(Self { socket, family: found.ok_or(ErrorKind::InvalidData)? })
    }

    /// Sends a command with the attributes that `write` writes, and waits for its acknowledgement.
    ///
    /// # Errors
    ///
    /// The socket failed, or the kernel refused the command: then with the kernel's error number.
    pub fn command(&mut self, command: u8, write: impl FnOnce(&mut MessageWriter)) -> Result<()> {
        let request = message(self.family, self.socket.sequence(), command, write);
        self.socket.request(&request, |_| {}).map(drop)
    }
}

/// A command that the kernel is to acknowledge. `struct genlmsghdr` has the command where `struct nfgenmsg` has the family; its version is 0,
/// for the kernel does not compare it.
fn message(family: u16, sequence: u32, command: u8, write: impl FnOnce(&mut MessageWriter)) -> Vec<u8> {
    let mut out = MessageWriter::default();
    let message = out.begin_message(family, NLM_F_REQUEST | NLM_F_ACK, sequence, command, 0);
    write(&mut out);
    out.end_message(message);
    out.bytes
}

#[cfg(test)]
mod tests {
    use nix::libc::ENOENT;

    use super::*;

    #[test]
    fn a_family_is_found_by_name_or_missing() {
        // The controller is a family, too, and has a fixed number.
        assert_eq!(GenericSocket::open("nlctrl").map(|socket| socket.family).ok(), Some(GENL_ID_CTRL));
        let missing = GenericSocket::open("pm-no-family").map(|socket| socket.family);
        assert_eq!(missing.map_err(|error| error.raw_os_error()), Err(Some(ENOENT)));
    }
}
