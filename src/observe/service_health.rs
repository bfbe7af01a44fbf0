//! Health checks of Services: a load balancer asks each node whether it has endpoints of the Service, and sends it traffic only
//! if it has (`spec.healthCheckNodePort`, as kube-proxy serves it).
//!
//! Each Service with such a port has one server in each family, with a socket on every address of the node that accepts
//! NodePorts. Sockets that a sync does not change stay open.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use im::ordmap::DiffItem;
use metrics::counter;

use super::events::{EventNote, EventType, Events};
use super::health::Health;
use super::port_limits::PortLimits;
use crate::dataplane::Family;
use crate::metrics::HEALTH_CHECK_FAILURES;
use crate::state::{HealthCheck, HealthChecks, Kind, ObjectName, ObjectRef};
use crate::tasks::Supervisor;
use page::{CheckPage, CheckSocket};

/// A Service in one family.
type CheckKey = (ObjectName, Family);

/// The servers. The loop owns this and updates it after each sync; a drop ends all of them.
#[derive(Debug)]
pub struct ServiceHealth {
    health: Health,
    /// By family that is served: whether to listen on all addresses instead of the node's.
    everywhere: BTreeMap<Family, bool>,
    /// The checks of the last update.
    known: HealthChecks,
    servers: BTreeMap<CheckKey, CheckServer>,
    /// Which Service holds each port: the first that asked for it.
    ports: BTreeMap<(Family, NonZeroU16), ObjectName>,
    /// Checks that cannot listen on some address, and the logged reason: tried again at each update.
    failed: BTreeMap<CheckKey, String>,
    events: Events,
    limits: PortLimits,
    supervisor: Supervisor,
}

#[derive(Debug)]
struct CheckServer {
    port: NonZeroU16,
    page: Arc<CheckPage>,
    sockets: BTreeMap<IpAddr, CheckSocket>,
}

impl ServiceHealth {
    /// No servers yet. Their answers depend on the proxy's health. They will listen on the node's addresses for NodePorts, or in
    /// `unrestricted` families on all addresses.
    pub fn new(health: Health, families: &[Family], unrestricted: &BTreeSet<Family>) -> Self {
        Self {
            health,
            everywhere: families.iter().map(|family| (*family, unrestricted.contains(family))).collect(),
            known: HealthChecks::default(),
            servers: BTreeMap::new(),
            ports: BTreeMap::new(),
            failed: BTreeMap::new(),
            events: Events::default(),
            limits: PortLimits::default(),
            supervisor: Supervisor::default(),
        }
    }

    /// Bounds sockets and connections by `limits`, and tells `supervisor` of servers that end too early.
    #[must_use]
    pub fn bounded(self, limits: PortLimits, supervisor: Supervisor) -> Self {
        Self { limits, supervisor, ..self }
    }

    /// Also writes Kubernetes Events about ports that cannot be listened on.
    #[must_use]
    pub fn with_events(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// Serves exactly these checks, where listening is possible.
    ///
    /// Costs O(log n) for each check that changed or failed before, unless the node's addresses changed.
    pub async fn update(&mut self, wanted: &HealthChecks) {
        let changed = self.changed(wanted);
        self.known = wanted.clone();
        // Close first: other checks may need the ports.
        for key in &changed {
            self.close(key).await;
        }
        for key in &changed {
            self.open(key);
        }
    }

    /// The checks that may have to change.
    fn changed(&self, wanted: &HealthChecks) -> BTreeSet<CheckKey> {
        if self.known.addresses != wanted.addresses {
            return self.servers.keys().chain(wanted.checks.keys()).chain(self.failed.keys()).cloned().collect();
        }
        let changes = self.known.checks.diff(&wanted.checks).map(|change| match change {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
        });
        changes.chain(self.failed.keys()).cloned().collect()
    }

    /// Closes the sockets of a check that are no longer wanted.
    async fn close(&mut self, key: &CheckKey) {
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

    /// Opens the missing sockets of a check, and updates the count that its page shows.
    fn open(&mut self, key: &CheckKey) {
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
                    self.events.note(EventNote {
                        about: ObjectRef { kind: Kind::Service, name: key.0.clone() },
                        event_type: EventType::Warning,
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

    fn listen(&mut self, key: &CheckKey, check: HealthCheck) -> Result<(), String> {
        let (name, family) = key;
        let addresses = addresses(&self.everywhere, &self.known.addresses, *family);
        if addresses.is_empty() {
            return Ok(());
        }
        let holder = self.ports.entry((*family, check.port)).or_insert_with(|| name.clone());
        if holder != name {
            return Err(format!("port {} is that of the health check of Service {holder}", check.port));
        }
        let server = self.servers.entry(key.clone()).or_insert_with(|| CheckServer {
            port: check.port,
            page: Arc::new(CheckPage::new(name.clone(), self.health.clone())),
            sockets: BTreeMap::new(),
        });
        server.page.set_local_endpoints(check.local_endpoints);
        let mut failures = Vec::new();
        for addr in addresses {
            if server.sockets.contains_key(&addr) {
                continue;
            }
            let addr_and_port = SocketAddr::new(addr, check.port.get());
            match CheckSocket::open(addr_and_port, &server.page, &self.limits, &self.supervisor) {
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
        Some(false) => {
            node.iter().copied().filter(|addr| Family::from_addr(*addr) == family && can_listen(*addr)).collect()
        }
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
