//! One connection to the API server for all watches, over HTTP/2, with pings that notice a dead peer.
//!
//! ```text
//! request ─▶ is there a connection that takes requests? ─ yes ─▶ a stream on it
//!                      │ no: one request opens it, the others wait
//!                      └▶ TLS offers h2 and http/1.1 ─ the server takes http/1.1 ─▶ a pool of connections, one for each watch
//! ```
//!
//! A server that says GOAWAY lets open watches go on, and the next request opens a new connection. Pools of clients open a connection for
//! each request that finds none, so that a start and every reconnect would cost four; that is why this is our own.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::client::legacy::{Builder as PoolBuilder, Client as Pool};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use tokio::sync::Mutex;
use tower::{BoxError, Service, ServiceExt as _};

/// How long a connection may take to be opened: the kernel repeats a lost packet after 1 and 3 seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much all streams together may send before it is read. Every watch may have its own part at once, so that one that waits for the
/// loop does not stop the others.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How much one stream may send before it is read.
const STREAM_WINDOW: u32 = 1 << 20;

/// When pings are sent, and how long their answers may take.
#[derive(Clone, Copy, Debug)]
pub struct Pings {
    /// After so long without a frame a ping is sent.
    pub interval: Duration,
    /// Without an answer for so long the connection is closed.
    pub timeout: Duration,
}

/// The transport below all clients.
#[derive(Clone)]
pub struct OneConnection {
    connector: HttpsConnector<HttpConnector>,
    pool: Pool<HttpsConnector<HttpConnector>, Body>,
    pings: Pings,
    /// Locked while a connection is opened.
    current: Arc<Mutex<Current>>,
}

/// How the server is reached.
enum Current {
    /// Not known: the next request finds out.
    Unknown,
    /// By this connection.
    Http2(http2::SendRequest<Body>),
    /// By the pool.
    Http1,
}

impl OneConnection {
    /// A transport that has opened no connection yet.
    ///
    /// # Errors
    /// If the certificates in `config` cannot be used.
    pub fn new(config: &kube::Config, pings: Pings) -> kube::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_nodelay(true);
        // A peer that is gone is noticed here too, where there are no pings.
        http.set_keepalive(Some(pings.interval));
        http.set_tcp_user_timeout(Some(pings.interval + pings.timeout));
        let builder = || -> kube::Result<_> {
            let builder = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
            let Some(name) = &config.tls_server_name else { return Ok(builder) };
            let name = name.clone().try_into().map_err(|error| kube::Error::Service(Box::new(error)))?;
            Ok(builder.with_server_name_resolver(FixedServerNameResolver::new(name)))
        };
        let connector = builder()?.enable_http1().enable_http2().wrap_connector(http.clone());
        let http1 = builder()?.enable_http1().wrap_connector(http);
        let pool = PoolBuilder::new(TokioExecutor::new()).build(http1);
        Ok(Self { connector, pool, pings, current: Arc::new(Mutex::new(Current::Unknown)) })
    }

    /// A sender for the current connection, which is opened if there is none. `None`: the pool.
    async fn sender(&self, server: &Uri) -> Result<Option<http2::SendRequest<Body>>, BoxError> {
        let mut current = self.current.lock().await;
        match &*current {
            Current::Http1 => return Ok(None),
            Current::Http2(sender) if !sender.is_closed() => return Ok(Some(sender.clone())),
            Current::Http2(_) | Current::Unknown => {}
        }
        // Without TLS nothing says that a server speaks HTTP/2.
        if server.scheme() != Some(&http::uri::Scheme::HTTPS) {
            *current = Current::Http1;
            return Ok(None);
        }
        *current = Current::Unknown;
        let stream =
            tokio::time::timeout(2 * CONNECT_TIMEOUT, self.connector.clone().oneshot(server.clone())).await??;
        if !stream.connected().is_negotiated_h2() {
            tracing::debug!(%server, "the API server, or a proxy before it, speaks only HTTP/1.1: a connection for each watch");
            *current = Current::Http1;
            return Ok(None);
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.pings.interval)
            .keep_alive_timeout(self.pings.timeout)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .handshake(stream)
            .await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the API server ended");
            }
        });
        *current = Current::Http2(sender.clone());
        Ok(Some(sender))
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let mut request = request;
        loop {
            let Some(mut sender) = self.sender(request.uri()).await? else {
                let answer = self.pool.request(request).await;
                if answer.is_err() {
                    // What comes next may be another server.
                    *self.current.lock().await = Current::Unknown;
                }
                return Ok(answer?);
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                // The connection ended before it took the request, as after GOAWAY.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
    }
}

impl Service<Request<Body>> for OneConnection {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}
