//! One page of a Service's health, and the sockets that it is served on.

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
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::observe::Health;
use crate::state::ObjectName;

/// Connections that may wait to be accepted: Linux's default `somaxconn`.
const BACKLOG: i32 = 4096;

/// The number of endpoints, as a weight for load balancers that spread by it.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

/// What one Service's health check answers, at any path and to any method.
#[derive(Debug)]
pub(super) struct Page {
    service: ObjectName,
    local_endpoints: AtomicUsize,
    health: Health,
}

/// A socket that a page is served on. Closes when dropped, a little later.
#[derive(Debug)]
pub(super) struct Socket {
    server: AbortOnDropHandle<()>,
    /// Tells open connections to end: a client that keeps one must not go on getting answers of the past.
    connections: DropGuard,
}

/// The body, as kube-proxy has it; health checkers of some load balancers read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    service: Name<'a>,
    local_endpoints: usize,
    service_proxy_healthy: bool,
}

#[derive(Serialize)]
struct Name<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl Page {
    /// A page that knows of no endpoints yet.
    pub fn new(service: ObjectName, health: Health) -> Self {
        Self { service, local_endpoints: AtomicUsize::new(0), health }
    }

    /// What it answers from now on.
    pub fn set_local_endpoints(&self, count: usize) {
        self.local_endpoints.store(count, Ordering::Relaxed);
    }

    fn answer(&self) -> Response {
        let local_endpoints = self.local_endpoints.load(Ordering::Relaxed);
        // Not the node's eligibility: that is the business of /healthz.
        let service_proxy_healthy = self.health.report(Instant::now()).healthy;
        let service = Name { namespace: self.service.namespace(), name: self.service.name() };
        let ok = local_endpoints > 0 && service_proxy_healthy;
        let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (WEIGHT, local_endpoints.into()),
        ];
        (code, headers, indented(&Body { service, local_endpoints, service_proxy_healthy })).into_response()
    }
}

impl Socket {
    /// Listens, and serves the page from now on.
    pub fn open(addr: SocketAddr, page: &Arc<Page>) -> io::Result<Self> {
        let listener = listen(addr)?;
        let router = Router::new().fallback(async |State(page): State<Arc<Page>>| page.answer());
        let router = router.with_state(Arc::clone(page));
        let end = CancellationToken::new();
        let connections = end.clone().drop_guard();
        let server: JoinHandle<()> = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the server of a health check ended");
            }
        });
        Ok(Self { server: AbortOnDropHandle::new(server), connections })
    }

    /// Closes the socket: afterwards others can have its address and port. Answers on their way are finished.
    pub async fn close(self) {
        drop(self.connections);
        // Graceful alone would keep this waiting for slow clients.
        self.server.abort();
        // The only result of interest is that it ended.
        let _ = self.server.await;
    }
}

/// A socket for this address only: `::` is not also IPv4, which has a server of its own.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a former process that wait for their end must not keep the address.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// JSON over several lines, indented by tabs.
fn indented(body: &Body<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    // Neither strings and numbers nor writing to memory can fail.
    let _ = body.serialize(&mut serializer);
    text
}
