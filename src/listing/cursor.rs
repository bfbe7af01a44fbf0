//! Where the next page of a list begins, as a word in a URL.

use std::net::IpAddr;

use crate::dataplane::{Frontend, Protocol};

/// The next row of a list that is ordered by the hash of the Services' names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceCursor {
    /// The hash of the first Service of the page.
    pub hash: u64,
    /// How many rows of the Services with this hash earlier pages had.
    pub skip: usize,
}

impl ServiceCursor {
    pub fn parse(text: &str) -> Option<Self> {
        let (hash, skip) = text.split_once('.')?;
        Some(Self { hash: u64::from_str_radix(hash, 16).ok()?, skip: skip.parse().ok()? })
    }

    pub fn text(self) -> String {
        format!("{:016x}.{}", self.hash, self.skip)
    }
}

/// The last frontend of a page.
pub(super) fn frontend_text(frontend: Frontend) -> String {
    format!("{},{},{}", frontend.addr, frontend.protocol.nft(), frontend.port)
}

/// The frontend that a word names.
pub(super) fn parse_frontend(text: &str) -> Option<Frontend> {
    let mut parts = text.split(',');
    let addr: IpAddr = parts.next()?.parse().ok()?;
    let protocol = parts.next()?;
    let protocol = Protocol::ALL.into_iter().find(|known| known.nft() == protocol)?;
    let port = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(Frontend { addr, protocol, port })
}
