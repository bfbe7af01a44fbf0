//! The servers behind the endpoints: each answers with its own address and its client's.
//!
//! A question is one line (TCP) or one datagram (UDP) of any content. The answer is `own-address peer-address\n`. A TCP
//! connection may ask any number of times.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::runtime::Runtime;

use super::namespace::Namespace;

/// Connections that may wait to be accepted; larger than any test opens at once.
const BACKLOG: i32 = 4096;

/// Every server of one node, on one thread; they end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    runtime: Runtime,
}

impl Servers {
    /// No servers yet.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for the servers");
        Self { runtime }
    }

    /// Answers on `addr` inside `namespace`, over TCP and UDP. Ready when this returns.
    pub fn serve(&self, namespace: &Namespace, addr: SocketAddr) {
        let (tcp, udp) = namespace
            .enter(|| Ok::<_, io::Error>((listen(addr)?, bind(addr)?)))
            .unwrap_or_else(|error| panic!("cannot serve on {addr} in {}: {error}", namespace.name()));
        let _guard = self.runtime.enter();
        let tcp = tokio::net::TcpListener::from_std(tcp).expect("a listener of the runtime");
        let udp = tokio::net::UdpSocket::from_std(udp).expect("a socket of the runtime");
        self.runtime.spawn(serve_tcp(tcp, addr));
        self.runtime.spawn(serve_udp(udp, addr));
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(addr)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn serve_tcp(listener: tokio::net::TcpListener, own: SocketAddr) {
    while let Ok((stream, peer)) = listener.accept().await {
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut question = String::new();
            while matches!(stream.read_line(&mut question).await, Ok(read) if read > 0) {
                if stream.write_all(format!("{own} {peer}\n").as_bytes()).await.is_err() {
                    break;
                }
                question.clear();
            }
        });
    }
}

async fn serve_udp(socket: tokio::net::UdpSocket, own: SocketAddr) {
    let mut question = [0; 512];
    loop {
        // An error here is an ICMP message about an earlier answer: its client has gone.
        if let Ok((_, peer)) = socket.recv_from(&mut question).await {
            let _ = socket.send_to(format!("{own} {peer}\n").as_bytes(), peer).await;
        }
    }
}
