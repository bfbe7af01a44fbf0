//! Which Service proxy runs in this network namespace: by its pages, its process, and the lock of a Pointsman.

use std::collections::BTreeSet;
use std::path::Path;

use super::lock;
use super::probe::{HEALTH_PORT, HealthServer, METRICS_PORT, probe_health_port, probe_mode_page};
use super::process::{KubeProxyProcess, find_processes};

/// The ports on which a proxy may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPorts {
    /// Those of health checks.
    pub health: BTreeSet<u16>,
    /// Those of metrics.
    pub metrics: BTreeSet<u16>,
}

/// A proxy that runs here, or a program that may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningProxy {
    /// What it is.
    pub server: HealthServer,
    /// What it is and how that shows, as the beginning of a sentence.
    pub description: String,
    /// Whether it answers on one of its pages.
    pub answers: bool,
}

impl ProxyPorts {
    /// The default ports, and these.
    pub fn with(health: Option<u16>, metrics: Option<u16>) -> Self {
        Self {
            health: [HEALTH_PORT].into_iter().chain(health).collect(),
            metrics: [METRICS_PORT].into_iter().chain(metrics).collect(),
        }
    }
}

impl Default for ProxyPorts {
    fn default() -> Self {
        Self::with(None, None)
    }
}

impl RunningProxy {
    fn on_port(server: HealthServer, port: u16) -> Option<Self> {
        let who = server.description()?;
        Some(Self { server, description: format!("{who} on port {port} of this host"), answers: true })
    }

    fn process(process: &KubeProxyProcess) -> Self {
        let ports: Vec<String> = process.ports.iter().map(ToString::to_string).collect();
        let listens =
            if ports.is_empty() { String::new() } else { format!(" and listens on port {}", ports.join(", ")) };
        let description = format!("a kube-proxy runs on this host as process {}{listens}", process.pid);
        Self { server: HealthServer::KubeProxy, description, answers: false }
    }
}

/// Looks for a proxy: a kube-proxy, by its page rather than by its process, before a Pointsman before an unknown program on the health port. This process must not listen yet.
pub async fn find_running_proxy(ports: &ProxyPorts) -> Option<RunningProxy> {
    let mut found = Vec::new();
    for port in &ports.health {
        found.extend(RunningProxy::on_port(probe_health_port(*port).await, *port));
    }
    for port in &ports.metrics {
        found.extend(RunningProxy::on_port(probe_mode_page(*port).await, *port));
    }
    found.extend(find_processes(Path::new("/proc")).iter().map(RunningProxy::process));
    found.extend(lock::holder().map(|holder| RunningProxy {
        server: HealthServer::Pointsman,
        description: format!("another Pointsman runs on this host ({holder})"),
        answers: false,
    }));
    let rank = |proxy: &RunningProxy| match proxy.server {
        HealthServer::KubeProxy => 0,
        HealthServer::Pointsman => 1,
        HealthServer::Unknown | HealthServer::Absent => 2,
    };
    found.into_iter().min_by_key(rank)
}
