//! One connection: an endpoint that takes it, and what both sides say.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dataplane::Endpoint;

/// How long an endpoint may take to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is held of each direction while the other side does not take it.
const BUFFER: usize = 16 << 10;

/// After so long without a byte the kernel asks whether a peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Connects to the first of these endpoints that accepts.
///
/// # Errors
/// The failure of the last one.
pub async fn connect(candidates: &[Endpoint]) -> io::Result<(Endpoint, TcpStream)> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for endpoint in candidates {
        let address = SocketAddr::new(endpoint.addr, endpoint.port);
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((*endpoint, stream)),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

/// Carries bytes both ways until both sides have ended. A side that ends tells the other one, which may go on.
pub async fn carry(mut client: TcpStream, mut endpoint: TcpStream) {
    for stream in [&client, &endpoint] {
        // Without these the connection works all the same.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    }
    if copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER).await.is_err() {
        // One side broke off: the other one must not take that for an orderly end.
        reset(&client);
        reset(&endpoint);
    }
}

/// Makes the end of a connection a reset.
pub fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
