//! Serving pages over HTTP to a network: connections are bounded in number and in time.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::connections::{Connections, OpenConnection};
use crate::clock;
use crate::pacing::Reminder;

/// The most bytes of a request's head, and about the most that an answer on its way takes.
const MAX_BUFFER: usize = 16 << 10;
/// Pause after the system could not accept a connection, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How often it is logged that connections cannot be accepted.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// Whether a request comes from this host: from a loopback address, or from the very address that it was sent to. An answer to a forged
/// source would stay on this host, so there is no connection from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FromThisHost(pub bool);

/// Serves until `shutdown`. Answers that are on their way then are finished.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Arc<Connections>,
    shutdown: CancellationToken,
) {
    let (open, mut reminder) = (TaskTracker::new(), Reminder::new(REMIND_EVERY));
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let connection = connections.admit(peer.ip()).await;
                open.spawn(answer(stream, router.clone(), connection, shutdown.clone()));
            }
            // The client is gone again.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                if reminder.is_due(clock::now()) {
                    tracing::error!(%error, "cannot accept connections to a page; tried again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, router: Router, connection: OpenConnection, shutdown: CancellationToken) {
    let connection = &connection;
    let from_this_host = FromThisHost(is_from_this_host(&stream));
    let service = service_fn(move |mut request: Request<Incoming>| {
        connection.used();
        request.extensions_mut().insert(from_this_host);
        Service::call(&mut router.clone(), request)
    });
    let mut served =
        pin!(http1::Builder::new().max_buf_size(MAX_BUFFER).serve_connection(TokioIo::new(stream), service));
    let mut overdue = pin!(connection.overdue());
    let mut is_ending = false;
    loop {
        tokio::select! {
            // An error concerns the client alone.
            _ = served.as_mut() => return,
            () = overdue.as_mut() => return,
            () = shutdown.cancelled(), if !is_ending => {
                is_ending = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

fn is_from_this_host(stream: &TcpStream) -> bool {
    let addresses = (stream.peer_addr(), stream.local_addr());
    let (Ok(peer), Ok(own)) = addresses else { return false };
    let [peer, own] = [peer, own].map(|address| address.ip().to_canonical());
    peer.is_loopback() || peer == own
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
