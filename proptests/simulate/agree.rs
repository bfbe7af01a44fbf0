//! The simulator checked against the world: a real kernel repeats what was written in a story, and must take and refuse the same batches,
//! hold the same tables, and send packets where the kernel in memory says that they may go.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode};
use std::time::Duration;

use pointsman::apply::{Backend, Error, Netlink};
use pointsman::dataplane::{Endpoint, Family, Object, Operation, Packet, PacketOutcome};

use crate::conformance::{alone, lacks, sorted};
use crate::kernel::Entry;
use crate::model::{HOST, ip};
use crate::run::play_in;
use crate::story::Story;
use crate::world::World;

/// How many pods have an address: more than a story has endpoints.
const PODS: u8 = 40;
/// From this long on a packet without an answer counts as dropped.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(150);

/// The addresses of a host that has those of all pods, too, so that it can answer for them.
pub fn with_pods(host: impl IntoIterator<Item = IpAddr>) -> BTreeSet<IpAddr> {
    let pods = (0..PODS).flat_map(|n| [IpAddr::from([10, 1, 0, n]), [0xfd00, 1, 0, 0, 0, 0, 0, u16::from(n)].into()]);
    host.into_iter().chain(pods).collect()
}

/// The addresses of the host here.
pub fn host() -> BTreeSet<IpAddr> {
    with_pods(HOST.into_iter().map(ip))
}

/// Where packets come from.
pub fn source(daddr: IpAddr) -> IpAddr {
    ip(if daddr.is_ipv6() { "fd00:192::1" } else { "192.0.2.1" })
}

/// Plays so many stories, and repeats them.
pub fn repeat(first: u64, seeds: u64, steps: usize) -> ExitCode {
    let (mut batches, mut refused, mut tables, mut packets) = (0, 0, 0, 0);
    for seed in first..first + seeds {
        let story = Story::new(seed, steps);
        let mut world = World::new(&story, false, None);
        world.kernel.journal = Some(Vec::new());
        if let Some(violation) = play_in(&mut world, &story).violation {
            println!("seed {seed} breaks the law already: {}", violation.law);
            return ExitCode::FAILURE;
        }
        let journal = world.kernel.journal.take().unwrap_or_default();
        let repeated = alone(|| async {
            let real = match RealKernel::new(host()).await {
                Ok(real) => real,
                Err(error) => return Err(format!("no kernel to be had: {error}")),
            };
            real.repeat(&journal).await
        });
        match repeated {
            Some(Ok(())) => {}
            Some(Err(why)) => {
                println!("seed {seed}: the real kernel disagrees: {why}");
                return ExitCode::FAILURE;
            }
            None => {
                lacks("no network namespace");
                return ExitCode::SUCCESS;
            }
        }
        for entry in journal {
            match entry {
                Entry::Batch { is_accepted, .. } => {
                    batches += 1;
                    refused += usize::from(!is_accepted);
                }
                Entry::Tables(_) => tables += 1,
                Entry::Packet(..) => packets += 1,
                Entry::Removed(_) | Entry::Restored(_) => {}
            }
        }
    }
    println!(
        "a real kernel agrees over {seeds} seeds from {first} on: {batches} batches, {refused} of them refused, {tables} comparisons of all \
         tables, {packets} connections"
    );
    ExitCode::SUCCESS
}

/// The kernel of a network namespace whose host answers for all pods.
pub struct RealKernel {
    pub netlink: Netlink,
    listeners: Vec<TcpListener>,
}

impl RealKernel {
    /// Gives the network namespace of this thread these addresses.
    pub async fn new(host: BTreeSet<IpAddr>) -> Result<Self, Error> {
        let mut netlink = Netlink::open()?;
        netlink.read(&[]).await?;
        let mut commands =
            "link add pods type veth peer name peer\nlink set lo up\nlink set pods up\nlink set peer up\n".to_owned();
        for addr in host.into_iter().filter(|addr| !addr.is_loopback()) {
            let (length, flags) = if addr.is_ipv6() { (128, " nodad") } else { (32, "") };
            commands.push_str(&format!("addr add {addr}/{length} dev pods{flags}\n"));
        }
        commands.push_str("route add default dev pods\n-6 route add default dev pods\n");
        for command in commands.lines() {
            let done = Command::new("ip").args(command.split(' ')).output().expect("ip starts");
            assert!(done.status.success(), "ip {command}: {}", String::from_utf8_lossy(&done.stderr));
        }
        let mut listeners = Vec::new();
        for port in [8080, 8081] {
            for addr in [SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), (Ipv6Addr::UNSPECIFIED, port).into()] {
                let domain = socket2::Domain::for_address(addr);
                let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
                if addr.is_ipv6() {
                    socket.set_only_v6(true).expect("an option");
                }
                socket.bind(&addr.into()).expect("a free port");
                socket.listen(64).expect("a listener");
                socket.set_nonblocking(true).expect("an option");
                listeners.push(socket.into());
            }
        }
        Ok(Self { netlink, listeners })
    }

    /// Repeats what was written. An error says where the two kernels differ.
    async fn repeat(mut self, journal: &[Entry]) -> Result<(), String> {
        for (n, entry) in journal.iter().enumerate() {
            match entry {
                Entry::Tables(expected) => {
                    let held = self.netlink.read(&Family::ALL).await.map_err(|error| error.to_string())?;
                    if sorted(&held) != sorted(expected) {
                        return Err(format!(
                            "tables after entry {n}: {:#?}\nexpected {:#?}",
                            sorted(&held),
                            sorted(expected)
                        ));
                    }
                }
                Entry::Packet(packet, may_become) => self.connect(packet, may_become)?,
                Entry::Restored(entries) => {
                    self.remove(&Family::ALL).await;
                    let mut begin = *entries;
                    // What was restored before is written once more, from where that began.
                    let mut again = Vec::new();
                    while begin > 0 {
                        begin -= 1;
                        again.push(&journal[begin]);
                        if let Entry::Restored(from) = journal[begin] {
                            again.pop();
                            begin = from;
                        }
                    }
                    for entry in again.into_iter().rev() {
                        self.write(entry).await?;
                    }
                }
                written => self.write(written).await.map_err(|why| format!("entry {n}: {why}"))?,
            }
        }
        Ok(())
    }

    async fn write(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Batch { operations, is_accepted } => {
                let done = self.netlink.commit(operations).await;
                if done.is_ok() != *is_accepted {
                    let operations: Vec<String> = operations.iter().map(ToString::to_string).collect();
                    return Err(format!("accepted: {is_accepted}; the real one says {done:?} to {operations:#?}"));
                }
            }
            Entry::Removed(families) => self.remove(families).await,
            Entry::Restored(_) | Entry::Tables(_) | Entry::Packet(..) => {}
        }
        Ok(())
    }

    async fn remove(&mut self, families: &[Family]) {
        for family in families {
            // There may be none.
            let _ = self.netlink.commit(&[Operation::delete(*family, Object::Table)]).await;
        }
    }

    /// Opens a connection.
    pub fn connect(&self, packet: &Packet, may_become: &BTreeSet<PacketOutcome>) -> Result<(), String> {
        let is_certain = |outcome: &PacketOutcome| match outcome {
            PacketOutcome::Goes { translated, .. } => *translated,
            PacketOutcome::Dropped | PacketOutcome::Reset | PacketOutcome::Refused => true,
        };
        // What happens to others depends on who listens.
        if !may_become.iter().all(is_certain) {
            return Ok(());
        }
        let domain = socket2::Domain::for_address(SocketAddr::new(packet.daddr, packet.dport));
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(packet.saddr, 0).into()).expect("an address of this host");
        let done = socket.connect_timeout(&SocketAddr::new(packet.daddr, packet.dport).into(), ANSWER_TIMEOUT);
        let _stream: TcpStream = socket.into();
        let reached = self.accept();
        let agrees = match (&done, reached) {
            (Ok(()), Some(to)) => {
                may_become.iter().any(|outcome| matches!(outcome, PacketOutcome::Goes { to: may, .. } if *may == to))
            }
            (Err(error), None) => match error.kind() {
                ErrorKind::ConnectionRefused => {
                    may_become.contains(&PacketOutcome::Reset) || may_become.contains(&PacketOutcome::Refused)
                }
                ErrorKind::TimedOut => may_become.contains(&PacketOutcome::Dropped),
                _ => false,
            },
            _ => false,
        };
        if agrees {
            Ok(())
        } else {
            Err(format!("{packet:?} becomes {done:?} at {reached:?}, may become {may_become:?}"))
        }
    }

    /// Where a connection arrived.
    fn accept(&self) -> Option<Endpoint> {
        let accepted = self.listeners.iter().find_map(|listener| listener.accept().ok());
        let local = accepted?.0.local_addr().ok()?;
        Some(Endpoint { addr: local.ip(), port: local.port() })
    }
}
