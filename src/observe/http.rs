//! The HTTP pages: `/healthz` and `/livez` on one address, `/metrics` and others on another.

mod about;
mod connections;
mod health;
mod list;
mod status;

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use socket2::{Domain, Protocol, Type};
use thiserror::Error;
use tokio::net::TcpListener;

use super::health::Health;
use super::port_limits::PortLimits;
use super::serve::serve;
use crate::clock;
use crate::dataplane::Family;
use crate::metrics::new_values;
use crate::pacing::Reminder;
use crate::tasks::Supervisor;
pub use about::About;
pub use connections::ConnectionsPage;
pub use status::{ApiServerPage, InputPage, KernelPage, StatusPage};

/// How long after new values the metrics' buffers are emptied, unless a scrape does it before.
const UPKEEP_DELAY: Duration = Duration::from_secs(5);

/// Pause between attempts to listen, as in kube-proxy.
const LISTEN_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How often a failure to listen that lasts is logged again.
const REMIND_EVERY: Duration = Duration::from_secs(300);

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A set of pages.
#[derive(Clone)]
pub enum Pages {
    /// `/healthz` and `/livez`, with kube-proxy's bodies and status codes.
    Health(Health, Vec<Family>),
    /// `/metrics` in Prometheus' text format, and kube-proxy's other pages on that address.
    Metrics(Arc<About>),
}

impl Pages {
    /// The task that serves them.
    pub(super) fn task(&self) -> &'static str {
        match self {
            Self::Health(..) => "the server of the health pages",
            Self::Metrics(_) => "the server of the metrics pages",
        }
    }
}

/// Pages bound to an address, not yet served.
pub struct Listener {
    listener: TcpListener,
    pages: Pages,
}

/// An address could not be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for {what}: {source}. Choose another address with {flag}, or \"\" for none")]
pub struct ListenError {
    address: SocketAddr,
    what: &'static str,
    flag: &'static str,
    /// The reason of the Kubernetes Event about this error, as in kube-proxy.
    pub reason: &'static str,
    source: io::Error,
}

impl Listener {
    /// Binds the address. 0.0.0.0 also stands for all IPv6 addresses, as in kube-proxy, where the host has any.
    ///
    /// # Errors
    ///
    /// The address is in use, or this host does not have it.
    pub async fn bind(address: SocketAddr, pages: Pages) -> Result<Self, ListenError> {
        let (what, flag, reason) = match pages {
            Pages::Health(..) => ("health checks", "--healthz-bind-address", "FailedToStartProxierHealthcheck"),
            Pages::Metrics(_) => ("metrics", "--metrics-bind-address", "FailedToStartMetricServer"),
        };
        let listener = listen(address).await.map_err(|source| ListenError { address, what, flag, reason, source })?;
        Ok(Self { listener, pages })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Binds the address when it becomes free, and then serves until the shutdown: a proxy without its pages is better than none.
    pub async fn serve_when_free(address: SocketAddr, pages: Pages, limits: PortLimits, supervisor: Supervisor) {
        // The caller has logged the first failure.
        let mut reminder = Reminder::new(REMIND_EVERY);
        reminder.is_due(clock::now());
        while supervisor.shutdown().run_until_cancelled(tokio::time::sleep(LISTEN_RETRY_PAUSE)).await.is_some() {
            match Self::bind(address, pages.clone()).await {
                Ok(listener) => {
                    tracing::info!(%address, "listening now");
                    return listener.serve(limits, supervisor).await;
                }
                Err(error) if reminder.is_due(clock::now()) => {
                    tracing::error!(%error, "still not served; tried again every 5 s");
                }
                Err(error) => tracing::debug!(%error, "still not served"),
            }
        }
    }

    /// Serves until the shutdown.
    pub async fn serve(self, limits: PortLimits, supervisor: Supervisor) {
        let (router, connections): (Router, _) = match self.pages {
            Pages::Health(health, families) => (health::router(health, families), limits.health),
            Pages::Metrics(about) => {
                supervisor.spawn("the upkeep of metrics", upkeep(Arc::clone(&about)));
                (about::router(about), limits.metrics)
            }
        };
        serve(self.listener, router, connections, supervisor.shutdown().clone()).await;
    }
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip().is_unspecified()
        && let Ok(listener) = listen_in_both_families(address.port())
    {
        return Ok(listener);
    }
    TcpListener::bind(address).await
}

/// Listens on all addresses of IPv6 and of IPv4, whatever the system's default is.
fn listen_in_both_families(port: u16) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // Connections of an earlier process in TIME_WAIT must not keep the address.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Empties the metrics' buffers. It sleeps while nothing is recorded.
async fn upkeep(about: Arc<About>) {
    loop {
        new_values().await;
        tokio::time::sleep(UPKEEP_DELAY).await;
        about.metrics.run_upkeep();
    }
}

#[cfg(test)]
mod tests;
