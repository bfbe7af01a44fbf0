//! How many clients of Services with session affinity the kernel remembers, counted at each scrape.

use metrics::gauge;

use crate::apply::Netlink;
use crate::dataplane::{Family, SetName};
use crate::metrics::{CLIENTS, CLIENTS_CAPACITY};

/// Asks the kernel for the number of remembered clients.
#[derive(Debug)]
pub struct ClientCounts {
    /// `None` where netlink cannot be opened: then the gauges are absent.
    netlink: Option<Netlink>,
    families: Vec<Family>,
    capacity: u32,
}

impl ClientCounts {
    /// Counts in the tables of these families, whose maps hold at most `capacity` clients each.
    pub fn new(families: &[Family], capacity: u32) -> Self {
        Self { netlink: Netlink::open().ok(), families: families.to_vec(), capacity }
    }

    /// Updates the gauges. Blocks. A map exists only while some Service has session affinity.
    pub fn refresh(&mut self) {
        let Some(netlink) = &mut self.netlink else { return };
        for family in &self.families {
            for node_port in [false, true] {
                let labels =
                    [("ip_family", family.label().to_owned()), ("map", SetName::Clients { node_port }.to_string())];
                match netlink.count_clients(*family, node_port) {
                    Ok(Some(count)) => {
                        gauge!(CLIENTS, &labels).set(f64::from(count));
                        gauge!(CLIENTS_CAPACITY, &labels).set(f64::from(self.capacity));
                    }
                    Ok(None) => gauge!(CLIENTS, &labels).set(0.0),
                    Err(error) => tracing::debug!(%error, "the number of remembered clients is not known"),
                }
            }
        }
    }
}
