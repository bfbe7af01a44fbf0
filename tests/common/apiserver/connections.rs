//! Connections: plain or TLS, HTTP/1.1 or HTTP/2, and what may become of them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::broadcast;

use super::tls::Identity;

/// What all open connections are to do.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Say that no further requests are taken (GOAWAY), and end with the last open one.
    GoAway,
    /// Neither read nor write any more, as if the host had lost its power.
    Freeze,
}

/// The connections of a server.
pub struct Connections {
    accepted: AtomicUsize,
    open: AtomicUsize,
    orders: broadcast::Sender<Order>,
    tls: Option<Identity>,
}

impl Connections {
    /// Plain HTTP.
    pub fn plain() -> Self {
        Self { accepted: AtomicUsize::new(0), open: AtomicUsize::new(0), orders: broadcast::channel(4).0, tls: None }
    }

    /// TLS, with these protocols.
    pub fn tls(protocols: &[&str]) -> Self {
        Self { tls: Some(Identity::new(protocols)), ..Self::plain() }
    }

    /// The certificate of the CA, where there is TLS.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.tls.as_ref().map(Identity::ca_der)
    }

    /// The same as PEM; empty without TLS.
    pub fn ca(&self) -> &str {
        self.tls.as_ref().map_or("", Identity::ca)
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Tells all open connections what to do.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Serves until the runtime is shut down.
    pub async fn serve(self: Arc<Self>, listener: std::net::TcpListener, router: Router) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            self.accepted.fetch_add(1, Ordering::SeqCst);
            let (connections, router) = (Arc::clone(&self), router.clone());
            tokio::spawn(async move {
                match &connections.tls {
                    None => connections.drive(socket, router).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.acceptor().accept(socket).await {
                            connections.drive(stream, router).await;
                        }
                    }
                }
            });
        }
    }

    async fn drive(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
        let mut orders = self.orders.subscribe();
        let builder = auto::Builder::new(TokioExecutor::new());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
        self.open.fetch_add(1, Ordering::SeqCst);
        loop {
            tokio::select! {
                _ = connection.as_mut() => break,
                Ok(order) = orders.recv() => match order {
                    Order::GoAway => connection.as_mut().graceful_shutdown(),
                    Order::Freeze => std::future::pending().await,
                },
            }
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}
