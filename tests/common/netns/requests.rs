//! Requests to the servers, sent from inside a namespace.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::namespace::Namespace;

/// How long an expected answer may take: generous, for a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The transport protocols that every kernel can open sockets of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What a server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The server that answered: the endpoint that was chosen.
    pub server: SocketAddr,
    /// The client's address, as the server saw it.
    pub seen_from: SocketAddr,
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Refused: a TCP reset or an ICMP port-unreachable.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No route, or an ICMP host-unreachable.
    Unreachable,
    /// An open connection ended.
    Closed,
    /// Anything else.
    Other(io::ErrorKind),
}

/// A request that can be sent any number of times, each time as a new connection or flow.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    namespace: &'a Namespace,
    transport: Transport,
    to: SocketAddr,
    from: Option<IpAddr>,
    timeout: Duration,
}

/// An open TCP connection, or a UDP flow: a client that keeps its source port.
#[derive(Debug)]
pub struct Connection {
    socket: Open,
}

#[derive(Debug)]
enum Open {
    Tcp(BufReader<TcpStream>),
    Udp(UdpSocket),
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];
}

impl<'a> Request<'a> {
    /// A request from inside `namespace`.
    pub fn new(namespace: &'a Namespace, transport: Transport, to: SocketAddr) -> Self {
        Self { namespace, transport, to, from: None, timeout: ANSWER_TIMEOUT }
    }

    /// Sent from this address.
    pub fn from(self, source: IpAddr) -> Self {
        Self { from: Some(source), ..self }
    }

    /// Gives up after `timeout`.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Asks once.
    pub fn send(self) -> Result<Answer, Failure> {
        self.namespace.enter(|| self.ask())
    }

    /// Asks `times` times, one after the other, from a fresh source port each time.
    pub fn send_many(self, times: usize) -> Vec<Result<Answer, Failure>> {
        self.namespace.enter(|| (0..times).map(|_| self.ask()).collect())
    }

    /// Asks once from each of these addresses, from the same fresh source port.
    pub fn send_from_each(self, sources: impl Iterator<Item = IpAddr> + Send) -> Vec<Result<Answer, Failure>> {
        let port = self.namespace.fresh_port();
        self.namespace.enter(|| sources.map(|source| self.from(source).connect_from(port)?.ping()).collect())
    }

    /// Opens a connection, asks once and keeps it open.
    pub fn open(self) -> Result<(Connection, Answer), Failure> {
        self.namespace.enter(|| {
            let mut connection = self.connect()?;
            let answer = connection.ping()?;
            Ok((connection, answer))
        })
    }

    /// A client that has not sent anything yet, over UDP.
    pub fn connected(self) -> Connection {
        self.namespace.enter(|| self.connect()).expect("a UDP socket only notes where it sends to")
    }

    fn ask(&self) -> Result<Answer, Failure> {
        self.connect()?.ping()
    }

    fn connect(&self) -> Result<Connection, Failure> {
        self.connect_from(self.namespace.fresh_port())
    }

    fn connect_from(&self, port: u16) -> Result<Connection, Failure> {
        let kind = match self.transport {
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
        };
        let socket = Socket::new(Domain::for_address(self.to), kind.0, Some(kind.1))?;
        let any: IpAddr = if self.to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        socket.bind(&SocketAddr::new(self.from.unwrap_or(any), port).into())?;
        socket.set_read_timeout(Some(self.timeout))?;
        socket.connect_timeout(&self.to.into(), self.timeout)?;
        let socket = match self.transport {
            Transport::Tcp => {
                socket.set_tcp_nodelay(true)?;
                Open::Tcp(BufReader::new(socket.into()))
            }
            Transport::Udp => Open::Udp(socket.into()),
        };
        Ok(Connection { socket })
    }
}

impl Connection {
    /// Asks once more over the open connection.
    pub fn ping(&mut self) -> Result<Answer, Failure> {
        let mut text = String::new();
        match &mut self.socket {
            Open::Tcp(stream) => {
                stream.get_mut().write_all(b"who?\n")?;
                if stream.read_line(&mut text)? == 0 {
                    return Err(Failure::Closed);
                }
            }
            Open::Udp(socket) => {
                match socket.send(b"who?\n") {
                    // The sender's own machine drops or rejects the packet. The answer shows which of the two.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    sent => drop(sent?),
                }
                let mut answer = [0; 512];
                let length = uninterrupted(|| socket.recv(&mut answer))?;
                text = String::from_utf8_lossy(&answer[..length]).into_owned();
            }
        }
        Ok(Answer::parse(&text))
    }
}

/// Repeats a call while it is interrupted: the kernel does not resume a wait with a timeout after the machine was stopped and
/// went on (signal(7)).
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl Answer {
    fn parse(text: &str) -> Self {
        let mut addresses = text.split_whitespace().map(|word| word.parse().expect("servers answer with addresses"));
        let mut next = || addresses.next().expect("servers answer with two addresses");
        Self { server: next(), seen_from: next() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            // A blocking read that runs into its timeout reports WouldBlock.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => Self::Closed,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}
