//! Health checks of Services: a load balancer asks each node whether it has endpoints of the Service, and sends it traffic only
//! if it has (`spec.healthCheckNodePort`, as kube-proxy serves it).
//!
//! Each Service with such a port has one server in each family, with a socket on every address of the node that accepts
//! NodePorts. What one sync does not change stays open.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use im::ordmap::DiffItem;
use metrics::counter;

use super::events::{Events, Note, Severity};
use super::health::Health;
use crate::dataplane::Family;
use crate::metrics::HEALTH_CHECK_FAILURES;
use crate::state::{HealthCheck, HealthChecks, Kind, ObjectName, ObjectRef};
use page::{Page, Socket};

/// A Service in one family.
type Key = (ObjectName, Family);

/// The servers. Owned by the loop, which tells them after each sync what is wanted; they end when this is dropped.
#[derive(Debug)]
pub struct ServiceHealth {
    health: Health,
    /// Where to listen whatever the node's addresses are; a family that is missing here is not served.
    everywhere: BTreeMap<Family, bool>,
    /// What was wanted at the last update.
    known: HealthChecks,
    servers: BTreeMap<Key, Server>,
    /// Whose each port is: the first that asked for it.
    ports: BTreeMap<(Family, NonZeroU16), ObjectName>,
    /// Those that do not listen everywhere that they should, and what was said about it: tried again at each update.
    failed: BTreeMap<Key, String>,
    events: Events,
}

#[derive(Debug)]
struct Server {
    port: NonZeroU16,
    page: Arc<Page>,
    sockets: BTreeMap<IpAddr, Socket>,
}

impl ServiceHealth {
    /// No servers yet. Their answers depend on the proxy's health; they will listen on the node's addresses for NodePorts, or on
    /// all of its addresses in families that are `unrestricted`.
    pub fn new(health: Health, families: &[Family], unrestricted: &BTreeSet<Family>) -> Self {
        Self {
            health,
            everywhere: families.iter().map(|family| (*family, unrestricted.contains(family))).collect(),
            known: HealthChecks::default(),
            servers: BTreeMap::new(),
            ports: BTreeMap::new(),
            failed: BTreeMap::new(),
            events: Events::default(),
        }
    }

    /// Tells the owners of Services about ports that cannot be listened on, too.
    #[must_use]
    pub fn with_events(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// Serves exactly what is wanted, as far as it can be listened on.
    ///
    /// Costs O(log n) for each check that changed or failed before, unless the node's addresses changed.
    pub async fn update(&mut self, wanted: &HealthChecks) {
        let changed = self.changed(wanted);
        self.known = wanted.clone();
        // First all that goes: others may want its ports.
        for key in &changed {
            self.close(key).await;
        }
        for key in &changed {
            self.open(key);
        }
    }

    /// What has to be looked at.
    fn changed(&self, wanted: &HealthChecks) -> BTreeSet<Key> {
        if self.known.addresses != wanted.addresses {
            return self.servers.keys().chain(wanted.checks.keys()).chain(self.failed.keys()).cloned().collect();
        }
        let changes = self.known.checks.diff(&wanted.checks).map(|change| match change {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
        });
        changes.chain(self.failed.keys()).cloned().collect()
    }

    /// Closes what is no longer wanted of a check.
    async fn close(&mut self, key: &Key) {
        let Some(server) = self.servers.get_mut(key) else { return };
        let addresses = match self.known.checks.get(key) {
            Some(check) if check.port == server.port => addresses(&self.everywhere, &self.known.addresses, key.1),
            _ => BTreeSet::new(),
        };
        let gone: Vec<IpAddr> = server.sockets.keys().filter(|addr| !addresses.contains(addr)).copied().collect();
        for addr in gone {
            if let Some(socket) = server.sockets.remove(&addr) {
                socket.close().await;
            }
        }
        if addresses.is_empty() {
            self.ports.remove(&(key.1, server.port));
            self.servers.remove(key);
        }
    }

    /// Opens what is missing of a check, and lets it tell the current count.
    fn open(&mut self, key: &Key) {
        let Some(check) = self.known.checks.get(key).copied() else {
            self.failed.remove(key);
            return;
        };
        match self.listen(key, check) {
            Ok(()) => {
                if self.failed.remove(key).is_some() {
                    tracing::info!(service = %key.0, port = check.port, "the health check is served now");
                }
            }
            Err(reason) => {
                counter!(HEALTH_CHECK_FAILURES, "ip_family" => key.1.label()).increment(1);
                if self.failed.get(key) != Some(&reason) {
                    tracing::warn!(
                        service = %key.0,
                        port = check.port,
                        "the health check of this Service cannot be served, which load balancers may take for a node without \
                         endpoints; it is tried again after later changes: {reason}"
                    );
                    self.events.note(Note {
                        about: ObjectRef { kind: Kind::Service, name: key.0.clone() },
                        severity: Severity::Warning,
                        reason: "FailedToStartServiceHealthcheck",
                        action: "Listen",
                        text: format!("node cannot serve healthCheckNodePort {}: {reason}", check.port),
                        on_every_node: false,
                    });
                    self.failed.insert(key.clone(), reason);
                }
            }
        }
    }

    fn listen(&mut self, key: &Key, check: HealthCheck) -> Result<(), String> {
        let (name, family) = key;
        let addresses = addresses(&self.everywhere, &self.known.addresses, *family);
        if addresses.is_empty() {
            return Ok(());
        }
        let holder = self.ports.entry((*family, check.port)).or_insert_with(|| name.clone());
        if holder != name {
            return Err(format!("port {} is that of the health check of Service {holder}", check.port));
        }
        let server = self.servers.entry(key.clone()).or_insert_with(|| Server {
            port: check.port,
            page: Arc::new(Page::new(name.clone(), self.health.clone())),
            sockets: BTreeMap::new(),
        });
        server.page.set_local_endpoints(check.local_endpoints);
        let mut failures = Vec::new();
        for addr in addresses {
            if server.sockets.contains_key(&addr) {
                continue;
            }
            let addr_and_port = SocketAddr::new(addr, check.port.get());
            match Socket::open(addr_and_port, &server.page) {
                Ok(socket) => {
                    server.sockets.insert(addr, socket);
                }
                Err(error) => failures.push(format!("cannot listen on {addr_and_port}: {error}")),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }
}

/// Where to listen in a family.
fn addresses(everywhere: &BTreeMap<Family, bool>, node: &[IpAddr], family: Family) -> BTreeSet<IpAddr> {
    match everywhere.get(&family) {
        None => BTreeSet::new(),
        Some(true) => BTreeSet::from([family.unspecified()]),
        Some(false) => node.iter().copied().filter(|addr| Family::of(*addr) == family && can_listen(*addr)).collect(),
    }
}

/// A link-local address means nothing without its interface.
fn can_listen(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(_) => true,
        IpAddr::V6(addr) => !addr.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
