//! A flow that the kernel tracks, as far as it matters here.

use std::net::SocketAddr;

use crate::dataplane::Family;

/// A UDP entry of the kernel's connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Who sent the first packet.
    pub client: SocketAddr,
    /// Where the client sends to: before translation.
    pub destination: SocketAddr,
    /// Who answers: after translation. The destination itself if it was not translated.
    pub server: SocketAddr,
    /// The zone of connection tracking; 0 unless somebody's rules say otherwise.
    pub zone: u16,
    /// The kernel's number for this entry: another one with the same addresses and ports has another number.
    pub id: u32,
}

impl Flow {
    /// The family of its destination.
    pub fn family(&self) -> Family {
        Family::of(self.destination.ip())
    }

    /// Whether its destination was translated.
    pub fn is_translated(&self) -> bool {
        self.destination != self.server
    }
}
