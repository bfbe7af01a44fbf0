//! How many of the process's file descriptors the ports that face the network may take.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::connections::{ConnectionLimits, Connections};

/// Descriptors that no port takes: for the API server, netlink, files, and the sockets that listen for pages.
const RESERVED: usize = 256;
/// The most connections to the health port.
const MAX_HEALTH: usize = 512;
/// The most connections to the metrics port.
const MAX_METRICS: usize = 256;
/// The most connections to the health-check ports of all Services together.
const MAX_CHECKS: usize = 1024;
/// The most sockets that listen for health checks of Services.
const MAX_CHECK_SOCKETS: usize = 1 << 17;

/// The connections of the ports that face the network. Clones share them.
#[derive(Clone, Debug)]
pub struct PortLimits {
    pub(super) health: Arc<Connections>,
    pub(super) metrics: Arc<Connections>,
    /// Of the health checks of all Services.
    pub(super) checks: Arc<Connections>,
    /// One for each socket that may listen for health checks of Services.
    pub(super) check_sockets: Arc<Semaphore>,
}

impl PortLimits {
    /// Limits for a process that may have so many descriptors open. The ports never take those that are reserved, a quarter at most.
    pub fn for_descriptors(descriptors: u64) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let free = descriptors - RESERVED.min(descriptors / 4);
        let connections = |port, most: usize, share: usize, clients: usize| {
            let total = most.min(free / share);
            Arc::new(Connections::new(port, ConnectionLimits { total, per_client: total.div_ceil(clients) }))
        };
        Self {
            health: connections("health", MAX_HEALTH, 8, 4),
            metrics: connections("metrics", MAX_METRICS, 8, 4),
            // One load balancer may check many Services at once.
            checks: connections("service_health", MAX_CHECKS, 4, 2),
            check_sockets: Arc::new(Semaphore::new(MAX_CHECK_SOCKETS.min(free / 5))),
        }
    }
}

impl Default for PortLimits {
    /// Limits for a process that may have 1,024 descriptors open, as most may.
    fn default() -> Self {
        Self::for_descriptors(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_few_descriptors_there_are_some_are_left_for_the_api_server() {
        for (descriptors, least) in [(64, 10), (256, 60), (1024, 250), (1 << 20, 500_000)] {
            let limits = PortLimits::for_descriptors(descriptors);
            let taken = [&limits.health, &limits.metrics, &limits.checks].map(|port| port.free_descriptors());
            // A socket that listens may have accepted a connection that waits for another one to be closed.
            let taken = taken.iter().sum::<usize>() + 2 * limits.check_sockets.available_permits();
            let left = usize::try_from(descriptors).unwrap() - taken;
            assert!(left >= least, "{left} of {descriptors}");
        }
    }
}
