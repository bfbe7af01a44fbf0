//! How many clients of Services with session affinity the kernel remembers, counted at each scrape.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::apply::Netlink;
use crate::dataplane::{Family, Frontend};
use crate::metrics::{CLIENTS, CLIENTS_CAPACITY, CLIENTS_FULL, header};

/// The frontends with session affinity, each with its service port. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct AffinityFrontends(Arc<Mutex<BTreeMap<Frontend, Arc<str>>>>);

/// Asks the kernel for the number of remembered clients.
#[derive(Debug)]
pub struct ClientCounts {
    /// `None` where netlink cannot be opened: then the metrics are absent.
    netlink: Option<Netlink>,
    families: Vec<Family>,
    frontends: AffinityFrontends,
    capacity: u32,
}

impl AffinityFrontends {
    /// Notes that a frontend has session affinity for this service port, or has none any more.
    pub fn set(&self, frontend: Frontend, owner: Option<Arc<str>>) {
        let mut frontends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match owner {
            Some(owner) => drop(frontends.insert(frontend, owner)),
            None => drop(frontends.remove(&frontend)),
        }
    }

    /// Forgets all frontends.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl ClientCounts {
    /// Counts the clients of these frontends in the tables of these families. Each frontend remembers at most `capacity` clients.
    pub fn new(families: &[Family], frontends: AffinityFrontends, capacity: u32) -> Self {
        Self { netlink: Netlink::open().ok(), families: families.to_vec(), frontends, capacity }
    }

    /// The metrics as text for Prometheus. Blocks. A service port is there only while it has session affinity.
    pub fn render(&mut self) -> String {
        let Some(netlink) = &mut self.netlink else { return String::new() };
        let frontends = self.frontends.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut clients: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut full = 0;
        for family in &self.families {
            if !frontends.keys().any(|frontend| frontend.family() == *family) {
                continue;
            }
            match netlink.count_clients(*family) {
                Ok(counts) => {
                    for (frontend, count) in counts {
                        if let Some(owner) = frontends.get(&frontend) {
                            *clients.entry((family.label(), owner)).or_default() += u64::from(count);
                            full += u32::from(count >= self.capacity);
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "the number of remembered clients is not known"),
            }
        }
        let mut page = header(CLIENTS);
        for ((family, owner), count) in clients {
            // The text of an owner has no character that would have to be escaped. A write to a string cannot fail.
            let _ = writeln!(page, "{CLIENTS}{{ip_family=\"{family}\",service_port=\"{owner}\"}} {count}");
        }
        let _ = writeln!(page, "{}{CLIENTS_CAPACITY} {}", header(CLIENTS_CAPACITY), self.capacity);
        let _ = writeln!(page, "{}{CLIENTS_FULL} {full}", header(CLIENTS_FULL));
        page
    }
}
