//! A UDP flow in the kernel's connection tracking.

use std::net::SocketAddr;

use crate::dataplane::Family;

/// A UDP flow that the kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The sender of the first packet.
    pub client: SocketAddr,
    /// Where the client sends: before translation.
    pub destination: SocketAddr,
    /// The sender of the answers: the destination after translation, or the destination itself if it was not translated.
    pub server: SocketAddr,
    /// The zone of connection tracking; 0 unless a rule sets another.
    pub zone: u16,
    /// The kernel's number for this flow. A later flow with the same addresses and ports has another number.
    pub id: u32,
}

impl Flow {
    /// The family of the destination.
    pub fn family(&self) -> Family {
        Family::from_addr(self.destination.ip())
    }

    /// Whether the destination was translated.
    pub fn is_translated(&self) -> bool {
        self.destination != self.server
    }
}
