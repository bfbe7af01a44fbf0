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
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

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
    tls: Option<Tls>,
}

/// A certificate of 127.0.0.1, and the protocols that are offered with it.
struct Tls {
    certificate: Vec<u8>,
    acceptor: TlsAcceptor,
}

impl Connections {
    /// Plain HTTP.
    pub fn plain() -> Self {
        Self { accepted: AtomicUsize::new(0), open: AtomicUsize::new(0), orders: broadcast::channel(4).0, tls: None }
    }

    /// TLS, with these protocols.
    pub fn tls(protocols: &[&str]) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let certificate = cert.der().to_vec();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(certificate.clone())], key)
            .expect("a certificate and its key");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let tls = Tls { certificate, acceptor: TlsAcceptor::from(Arc::new(config)) };
        Self { tls: Some(tls), ..Self::plain() }
    }

    /// The certificate, where there is TLS.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.tls.as_ref().map(|tls| tls.certificate.as_slice())
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
                        if let Ok(stream) = tls.acceptor.accept(socket).await {
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
