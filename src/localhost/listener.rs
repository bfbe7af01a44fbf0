//! One NodePort on one loopback address: accepts connections and hands each to an endpoint.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::choice::RememberedClients;
use super::forward;
use super::{LoopbackLimits, PortKey};
use crate::clock;
use crate::dataplane::Family;
use crate::state::{FrontendSpec, TrafficPolicy};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Pause after a connection could not be accepted, because the system lacks descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections of one service port. Dropping this ends them.
#[derive(Debug)]
pub struct PortConnections {
    shared: Arc<Shared>,
    /// Ends the listener and all connections.
    _all: DropGuard,
    /// Ends the listener; none while nothing listens.
    listening: Option<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    /// What the port does now.
    spec: Mutex<Arc<FrontendSpec>>,
    clients: Mutex<RememberedClients>,
    /// Bounds the connections of this port.
    of_port: Arc<Semaphore>,
    /// Bounds those of all ports.
    of_all: Arc<Semaphore>,
    ended: CancellationToken,
}

impl PortConnections {
    /// Nothing listens yet. `of_all` bounds the connections of all ports.
    pub fn new(spec: Arc<FrontendSpec>, limits: LoopbackLimits, of_all: Arc<Semaphore>) -> Self {
        let ended = CancellationToken::new();
        let shared = Shared {
            spec: Mutex::new(spec),
            clients: Mutex::default(),
            of_port: Arc::new(Semaphore::new(limits.per_port)),
            of_all,
            ended: ended.clone(),
        };
        Self { shared: Arc::new(shared), _all: ended.drop_guard(), listening: None }
    }

    /// Whether connections are accepted.
    pub fn is_listening(&self) -> bool {
        self.listening.is_some()
    }

    /// Whether this is the same service port.
    pub fn is_same(&self, spec: &FrontendSpec) -> bool {
        let known = lock(&self.shared.spec);
        (&known.service, &known.owner) == (&spec.service, &spec.owner)
    }

    /// Takes over what the port does now.
    pub fn set(&self, spec: Arc<FrontendSpec>) {
        *lock(&self.shared.spec) = spec;
    }

    /// Accepts no further connections. Those that are open go on.
    pub fn stop_listening(&mut self) {
        self.listening = None;
    }

    /// Starts to accept connections.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub fn listen(&mut self, (family, port): PortKey) -> io::Result<()> {
        let listener = listener(family, port.get())?;
        let listening = self.shared.ended.child_token();
        tokio::spawn(listening.clone().run_until_cancelled_owned(Arc::clone(&self.shared).accept(listener)));
        self.listening = Some(listening.drop_guard());
        Ok(())
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            // At a bound the next connections wait in the backlog, and others find the port busy.
            let (Ok(of_port), Ok(of_all)) =
                (Arc::clone(&self.of_port).acquire_owned().await, Arc::clone(&self.of_all).acquire_owned().await)
            else {
                return;
            };
            match listener.accept().await {
                Ok((client, from)) => {
                    let (shared, ended) = (Arc::clone(&self), self.ended.clone());
                    tokio::spawn(async move {
                        let _permits = (of_port, of_all);
                        // Where the host routes loopback addresses (`route_localnet`), neighbours could reach the listener.
                        if !from.ip().to_canonical().is_loopback() {
                            return forward::reset(&client);
                        }
                        if ended.run_until_cancelled(shared.serve(client, from.ip())).await.is_none() {
                            tracing::debug!(%from, "a connection through the loopback address ended with its NodePort");
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection on the loopback address; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(&self, client: TcpStream, from: IpAddr) {
        let spec = Arc::clone(&lock(&self.spec));
        let timeout = spec.affinity.map(|seconds| Duration::from_secs(seconds.get().into()));
        // As for the node itself: no policy confines it to its own endpoints.
        let endpoints = spec.endpoints(TrafficPolicy::Cluster);
        let candidates = lock(&self.clients).candidates(endpoints, from, timeout, clock::now());
        match forward::connect(&candidates).await {
            Ok((endpoint, stream)) => {
                if timeout.is_some() {
                    lock(&self.clients).note(from, endpoint, clock::now());
                }
                forward::carry(client, stream).await;
            }
            Err(error) => {
                tracing::debug!(service = %spec.service, %error, "no endpoint accepts a connection through the loopback address");
                forward::reset(&client);
            }
        }
    }
}

/// The loopback address of a family.
pub fn loopback(family: Family) -> IpAddr {
    match family {
        Family::Ip => Ipv4Addr::LOCALHOST.into(),
        Family::Ip6 => Ipv6Addr::LOCALHOST.into(),
    }
}

fn listener(family: Family, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(loopback(family), port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    // Connections of an earlier run must not keep the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// No panic leaves these half-changed, so a poisoned lock is usable.
fn lock<T>(state: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
