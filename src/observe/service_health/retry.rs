//! Tries again to listen, without waiting for the next sync: an address may still be tentative, or another program free the port.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::ServiceHealth;
use crate::pacing::Backoff;
use crate::state::HealthChecks;

/// The pauses between attempts.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

impl ServiceHealth {
    /// Tries again what failed, until all is served or other checks are wanted.
    pub async fn retry(&mut self, wanted: &mut watch::Receiver<HealthChecks>) {
        let mut failures = 1;
        while !self.failed.is_empty() {
            match timeout(RETRY.pause(failures), wanted.changed()).await {
                Err(_) => {
                    let known = self.known.clone();
                    self.update(&known).await;
                    failures = failures.saturating_add(1);
                }
                Ok(Ok(())) => return wanted.mark_changed(),
                Ok(Err(_)) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use im::OrdMap;

    use crate::dataplane::Family;
    use crate::fixtures::name;
    use crate::observe::Health;
    use crate::state::HealthCheck;

    use super::*;

    #[tokio::test]
    async fn a_port_that_is_freed_is_served_without_another_sync() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let check = HealthCheck { port: address.port().try_into().unwrap(), local_endpoints: 1 };
        let checks = HealthChecks {
            checks: OrdMap::from_iter([((name("shop/web"), Family::Ip), check)]),
            addresses: vec![address.ip()].into(),
        };
        let mut service_health = ServiceHealth::new(Health::default(), &[Family::Ip], &BTreeSet::new());
        let (_sender, mut wanted) = watch::channel(HealthChecks::default());
        service_health.update(&checks).await;
        assert!(!service_health.failed.is_empty());
        drop(taken);
        timeout(Duration::from_secs(10), service_health.retry(&mut wanted)).await.unwrap();
        assert!(service_health.failed.is_empty());
    }
}
