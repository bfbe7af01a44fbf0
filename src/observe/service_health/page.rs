//! The page of one Service's health check, and the sockets that serve it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use socket2::{Domain, Protocol, Type};
use tokio::net::TcpListener;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::observe::serve::serve;
use crate::observe::{Health, PortLimits};
use crate::state::ObjectName;
use crate::tasks::Supervisor;

/// Connections that may wait to be accepted: Linux's default `somaxconn`.
const BACKLOG: i32 = 4096;

/// The number of endpoints, as a weight for load balancers that spread by it.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// What one Service's health check answers, at any path and to any method.
#[derive(Debug)]
pub(super) struct CheckPage {
    service: ObjectName,
    local_endpoints: AtomicUsize,
    health: Health,
}

/// A socket that serves a page. After a drop it closes a little later.
#[derive(Debug)]
pub(super) struct CheckSocket {
    server: AbortOnDropHandle<()>,
    /// Ends open connections: a client that keeps one must not go on getting stale answers.
    connections: DropGuard,
    /// Its descriptor is one of those that health checks may take.
    _descriptor: OwnedSemaphorePermit,
}

/// The body, as kube-proxy has it; health checkers of some load balancers read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckBody<'a> {
    service: ServiceName<'a>,
    local_endpoints: usize,
    service_proxy_healthy: bool,
}

#[derive(Serialize)]
struct ServiceName<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl CheckPage {
    /// A page without endpoints.
    pub fn new(service: ObjectName, health: Health) -> Self {
        Self { service, local_endpoints: AtomicUsize::new(0), health }
    }

    /// Sets the number of endpoints that the page shows from now on.
    pub fn set_local_endpoints(&self, count: usize) {
        self.local_endpoints.store(count, Ordering::Relaxed);
    }

    fn answer(&self) -> Response {
        let local_endpoints = self.local_endpoints.load(Ordering::Relaxed);
        // Not the node's eligibility: /healthz answers that.
        let service_proxy_healthy = self.health.report(Instant::now()).healthy;
        let service = ServiceName { namespace: self.service.namespace(), name: self.service.name() };
        let ok = local_endpoints > 0 && service_proxy_healthy;
        let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (WEIGHT, local_endpoints.into()),
        ];
        (code, headers, indented(&CheckBody { service, local_endpoints, service_proxy_healthy })).into_response()
    }
}

impl CheckSocket {
    /// Listens, and serves the page.
    pub fn open(
        addr: SocketAddr,
        page: &Arc<CheckPage>,
        limits: &PortLimits,
        supervisor: &Supervisor,
    ) -> io::Result<Self> {
        let Ok(descriptor) = Arc::clone(&limits.check_sockets).try_acquire_owned() else {
            return Err(io::Error::other(
                "the process may not have more file descriptors for health checks of Services",
            ));
        };
        let listener = listen(addr)?;
        let router = Router::new().fallback(async |State(page): State<Arc<CheckPage>>| page.answer());
        let router = router.with_state(Arc::clone(page));
        let end = CancellationToken::new();
        let connections = end.clone().drop_guard();
        let server = serve(listener, router, Arc::clone(&limits.checks), end);
        let server = AbortOnDropHandle::new(supervisor.spawn_finite("the server of a Service's health check", server));
        Ok(Self { server, connections, _descriptor: descriptor })
    }

    /// Closes the socket, so that its address and port are free afterwards. Answers on their way are finished.
    pub async fn close(self) {
        drop(self.connections);
        // A graceful end alone would wait for slow clients.
        self.server.abort();
        // Only the end matters, not the result.
        let _ = self.server.await;
    }
}

/// A socket for this address only: `::` is not also IPv4, which has a server of its own.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier process in TIME_WAIT must not keep the address.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// JSON over several lines, indented by tabs.
fn indented(body: &CheckBody<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    // Neither strings and numbers nor writing to memory can fail.
    let _ = body.serialize(&mut serializer);
    text
}
