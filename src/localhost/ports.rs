//! All NodePorts on the loopback addresses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::listener::{PortConnections, loopback};
use super::{Changes, LoopbackLimits, PendingPorts, PortKey};
use crate::dataplane::Family;
use crate::metrics::{LOCALHOST_LISTENER_FAILURES, LOCALHOST_LISTENERS};
use crate::observe::{EventNote, EventType, Events};
use crate::pacing::Backoff;
use crate::state::{FrontendSpec, Kind, ObjectRef, TrafficPolicy};

/// The pauses before a port that is taken is tried again.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// The ports that are served. Dropping this closes all of them and their connections.
pub struct LoopbackPorts {
    limits: LoopbackLimits,
    connections: Arc<Semaphore>,
    events: Events,
    ports: BTreeMap<PortKey, PortConnections>,
    /// What cannot be listened on, and what was said about it.
    failed: BTreeMap<PortKey, (Arc<FrontendSpec>, String)>,
}

impl LoopbackPorts {
    /// No port yet.
    pub fn new(limits: LoopbackLimits, events: Events) -> Self {
        let connections = Arc::new(Semaphore::new(limits.connections));
        Self { limits, connections, events, ports: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// Serves what is pending, and tries again what failed.
    pub async fn run(mut self, pending: Arc<PendingPorts>) {
        let mut failures = 0;
        loop {
            let changes = if self.failed.is_empty() {
                failures = 0;
                pending.take().await
            } else {
                failures += 1;
                timeout(RETRY.pause(failures), pending.take()).await.unwrap_or_default()
            };
            self.update(changes);
        }
    }

    fn update(&mut self, changes: Changes) {
        // Close first: others may need the descriptors.
        for (key, spec) in &changes {
            self.failed.remove(key);
            match (spec, self.ports.get_mut(key)) {
                (Some(spec), Some(port)) if port.is_same(spec) => {
                    port.set(Arc::clone(spec));
                    if !has_endpoints(spec) {
                        port.stop_listening();
                    }
                }
                // The NodePort is gone, or another Service has it: the connections of the old one end.
                _ => drop(self.ports.remove(key)),
            }
        }
        let mut listening = self.ports.values().filter(|port| port.is_listening()).count();
        let again = std::mem::take(&mut self.failed);
        let again = again.into_iter().map(|(key, (spec, said))| (key, spec, Some(said)));
        let changed =
            changes.into_iter().filter_map(|(key, spec)| Some((key, spec.filter(|spec| has_endpoints(spec))?, None)));
        for (key, spec, said) in again.chain(changed) {
            self.open(key, spec, said.as_deref(), &mut listening);
        }
        for family in Family::ALL {
            let listening =
                self.ports.iter().filter(|((served, _), port)| *served == family && port.is_listening()).count();
            gauge!(LOCALHOST_LISTENERS, "ip_family" => family.label()).set(listening as f64);
        }
    }

    /// Listens, unless so many ports are listened on that no further one may be. `said` is what the log says about the port.
    fn open(&mut self, key: PortKey, spec: Arc<FrontendSpec>, said: Option<&str>, listening: &mut usize) {
        let port = self
            .ports
            .entry(key)
            .or_insert_with(|| PortConnections::new(Arc::clone(&spec), self.limits, Arc::clone(&self.connections)));
        if port.is_listening() {
            return;
        }
        let opened = if *listening < self.limits.listeners {
            port.listen(key).map_err(|error| error.to_string())
        } else {
            Err(format!("{listening} ports are listened on already, which is the limit"))
        };
        *listening += usize::from(opened.is_ok());
        match opened {
            Ok(()) if said.is_some() => {
                tracing::info!(service = %spec.owner, port = key.1, "the NodePort is served on {} now", loopback(key.0));
            }
            Ok(()) => {}
            Err(reason) => {
                counter!(LOCALHOST_LISTENER_FAILURES, "ip_family" => key.0.label()).increment(1);
                if said != Some(reason.as_str()) {
                    self.tell(key, &spec, &reason);
                }
                self.failed.insert(key, (spec, reason));
            }
        }
    }

    fn tell(&self, (family, port): PortKey, spec: &FrontendSpec, reason: &str) {
        let address = loopback(family);
        tracing::warn!(
            service = %spec.owner, port,
            "the NodePort cannot be served on {address}, on all other addresses it is; it is tried again: {reason}"
        );
        self.events.note(EventNote {
            about: ObjectRef { kind: Kind::Service, name: spec.service.clone() },
            event_type: EventType::Warning,
            reason: "FailedToListenOnLoopback",
            action: "Listen",
            text: format!("node cannot serve NodePort {port} on {address}: {reason}"),
            on_every_node: false,
        });
    }
}

fn has_endpoints(spec: &FrontendSpec) -> bool {
    !spec.endpoints(TrafficPolicy::Cluster).is_empty()
}
