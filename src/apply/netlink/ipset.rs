//! ipsets, by name: is there one, and away with it.

use nix::libc::ENOENT;

use super::abi::*;
use super::write::Writer;
use super::{Netlink, errors};
use crate::apply::Error;

impl Netlink {
    /// Those of `names` that an ipset has.
    ///
    /// # Errors
    ///
    /// If the kernel has no ipsets, or does not say.
    pub async fn find_ipsets(&mut self, names: Vec<String>) -> Result<Vec<String>, Error> {
        self.with_socket("looking for ipsets", move |socket| {
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

    /// Removes an ipset; one that is gone already is fine. False if a rule still refers to it.
    ///
    /// # Errors
    ///
    /// If the kernel refuses for another cause.
    pub async fn destroy_ipset(&mut self, name: &str) -> Result<bool, Error> {
        let doing = "removing an ipset";
        let name = name.to_owned();
        let done = self
            .with_socket(doing, move |socket| {
                Ok(socket.request(&request(IPSET_CMD_DESTROY, &name, socket.sequence()), |_| {}).map(|_| ()))
            })
            .await?;
        match done.map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) | Err((Some(ENOENT), _)) => Ok(true),
            Err((Some(IPSET_ERR_BUSY), _)) => Ok(false),
            Err((_, error)) => Err(errors::of_refusal(doing, error)),
        }
    }
}

/// A command about the ipset with this name, to be acknowledged.
fn request(command: u16, name: &str, sequence: u32) -> Vec<u8> {
    let mut out = Writer::default();
    let kind = NFNL_SUBSYS_IPSET << 8 | command;
    let message = out.header(kind, NLM_F_REQUEST | NLM_F_ACK, sequence, NFPROTO_IPV4, 0);
    out.put(IPSET_ATTR_PROTOCOL, &[IPSET_PROTOCOL]);
    out.put_name(IPSET_ATTR_SETNAME, name);
    out.end_message(message);
    out.bytes
}
