//! ipsets of kube-proxy: finding and removing them by name, over netlink.
//!
//! Numbers from `linux/netfilter/ipset/ip_set.h`, under the kernel's names.

use std::io;

use nix::libc::ENOENT;

use crate::netlink::abi::{NFNL_SUBSYS_IPSET, NFPROTO_IPV4, NLM_F_ACK, NLM_F_REQUEST};
use crate::netlink::{MessageWriter, NetfilterSocket};

/// The oldest protocol that kernels still speak; newer ones add to it.
const IPSET_PROTOCOL: u8 = 6;
const IPSET_CMD_DESTROY: u16 = 3;
const IPSET_CMD_HEADER: u16 = 12;
const IPSET_ATTR_PROTOCOL: u16 = 1;
const IPSET_ATTR_SETNAME: u16 = 2;
/// A rule refers to the set. An error number of ipset's own.
const IPSET_ERR_BUSY: i32 = 4100;

/// Which of these ipsets exist.
///
/// # Errors
///
/// The kernel has no ipsets, or refuses to list them.
pub(super) async fn find(names: Vec<String>) -> io::Result<Vec<String>> {
    with_socket(move |socket| {
        let mut found = Vec::new();
        for name in names {
            match socket.request(&request(IPSET_CMD_HEADER, &name, socket.sequence()), |_| {}) {
                Ok(_) => found.push(name),
                Err(error) if error.raw_os_error() == Some(ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    })
    .await
}

/// Removes an ipset; true also if it is gone already, false while a rule refers to it.
///
/// # Errors
///
/// The kernel refuses for another cause.
pub(super) async fn destroy(name: &str) -> io::Result<bool> {
    let name = name.to_owned();
    with_socket(move |socket| {
        let answer = socket.request(&request(IPSET_CMD_DESTROY, &name, socket.sequence()), |_| {});
        match answer.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) | Err((Some(ENOENT), _)) => Ok(true),
            Err((Some(IPSET_ERR_BUSY), _)) => Ok(false),
            Err((_, error)) => Err(error),
        }
    })
    .await
}

/// Opens a socket here, in the namespace of the calling thread, and uses it in a thread that may block.
async fn with_socket<T: Send + 'static>(
    work: impl FnOnce(&mut NetfilterSocket) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let mut socket = NetfilterSocket::open()?;
    tokio::task::spawn_blocking(move || work(&mut socket)).await.map_err(io::Error::other).flatten()
}

/// A command about the ipset with this name. The kernel is to acknowledge it.
fn request(command: u16, name: &str, sequence: u32) -> Vec<u8> {
    let mut out = MessageWriter::default();
    let kind = NFNL_SUBSYS_IPSET << 8 | command;
    let message = out.begin_message(kind, NLM_F_REQUEST | NLM_F_ACK, sequence, NFPROTO_IPV4, 0);
    out.put(IPSET_ATTR_PROTOCOL, &[IPSET_PROTOCOL]);
    out.put_name(IPSET_ATTR_SETNAME, name);
    out.end_message(message);
    out.bytes
}
