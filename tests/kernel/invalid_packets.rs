//! A server's packet outside of the TCP window: connection tracking calls it invalid and does not translate it back, so the client answers a
//! stranger with a reset, which ends the server's connection.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::common::netns::{Family, Namespace};
use crate::world::{PORT, TARGET_PORT, WEB, World, web, web_slice};

/// How long a packet may take, and an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pod that serves, and the one that asks.
const PODS: [u16; 2] = [21, 22];

/// A connection from a pod through the Service, both of its ends, and a raw socket beside the server.
struct Connected {
    client: TcpStream,
    server: TcpStream,
    raw: Socket,
    /// They end with this.
    _pods: [Namespace; 2],
}

impl Connected {
    fn new(world: &World) -> Self {
        let [server, client] = PODS.map(|number| world.node.pod(number));
        let at = SocketAddr::new(Family::V4.pod_ip(PODS[0]), TARGET_PORT);
        let (listener, raw) = server.enter(|| {
            let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).expect("a raw socket");
            (TcpListener::bind(at).expect("a free port"), raw)
        });
        raw.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let to = SocketAddr::new(Family::V4.cluster_ip(WEB), PORT);
        let stream = client.enter(|| TcpStream::connect_timeout(&to, PATIENCE)).expect("the Service answers");
        let (accepted, _) = listener.accept().expect("the connection");
        for end in [&stream, &accepted] {
            end.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        }
        Self { client: stream, server: accepted, raw, _pods: [server, client] }
    }

    /// A byte there and a byte back.
    fn exchange(&mut self) -> std::io::Result<()> {
        let mut byte = [0];
        self.client.write_all(b"?")?;
        self.server.read_exact(&mut byte)?;
        self.server.write_all(b"!")?;
        self.client.read_exact(&mut byte)
    }

    /// Sends the client a packet of the server's that is far outside of the window.
    fn send_outside_the_window(&mut self) {
        let peer = self.server.peer_addr().expect("an address");
        let [sequence, acknowledged] = self.numbers(peer.port());
        let (from, to) = (Family::V4.pod_ip(PODS[0]), peer.ip());
        let segment = segment(from, to, peer.port(), [sequence.wrapping_add(100_000_000), acknowledged]);
        self.raw.send_to(&segment, &SocketAddr::new(to, 0).into()).expect("a packet");
        // It arrives, and so does a reset that it causes.
        std::thread::sleep(Duration::from_millis(500));
    }

    /// The server's next sequence number, and what it expects of the client: from the client's last packet.
    fn numbers(&mut self, port: u16) -> [u32; 2] {
        let mut packet = [0; 2048];
        let mut found = None;
        self.raw.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        while let Ok(length) = self.raw.read(&mut packet) {
            let header = usize::from(packet[0] & 0xf) * 4;
            let tcp = &packet[header..length];
            let number = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().expect("4 bytes"));
            let data = tcp.len() - usize::from(tcp[12] >> 4) * 4;
            if tcp[..2] == port.to_be_bytes() {
                found = Some([number(8), number(4).wrapping_add(u32::try_from(data).expect("a small packet"))]);
            }
        }
        found.expect("the client has sent something")
    }
}

/// A segment with one byte, from the server's port.
fn segment(from: IpAddr, to: IpAddr, port: u16, [sequence, acknowledged]: [u32; 2]) -> Vec<u8> {
    const ACK_AND_PUSH: u8 = 0x18;
    let mut segment = Vec::new();
    segment.extend(TARGET_PORT.to_be_bytes());
    segment.extend(port.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([5 << 4, ACK_AND_PUSH, 0xff, 0xff, 0, 0, 0, 0, b'X']);
    let sum = checksum(from, to, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// The checksum of a segment over IPv4.
fn checksum(from: IpAddr, to: IpAddr, segment: &[u8]) -> u16 {
    let octets = |addr| match addr {
        IpAddr::V4(addr) => Ipv4Addr::octets(&addr),
        IpAddr::V6(_) => panic!("IPv4 only"),
    };
    let length = u16::try_from(segment.len()).expect("a small segment").to_be_bytes();
    let pseudo = [&octets(from)[..], &octets(to), &[0, 6], &length, segment].concat();
    let words = pseudo.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("folded")
}

#[test]
fn a_packet_outside_of_the_window_breaks_a_connection_unless_tcp_is_liberal() {
    for liberal in [false, true] {
        let Some(world) = World::new() else { return };
        world.manifests.apply(web());
        world.manifests.apply(web_slice(Family::V4).endpoint(Family::V4.pod_ip(PODS[0])));
        let flag = format!("--conntrack-tcp-be-liberal={liberal}");
        let proxy = world.node.start_pointsman(&["--manifests", world.manifests.path(), "--watch", &flag]);
        world.settle();
        let mut connected = Connected::new(&world);
        connected.exchange().expect("the connection works");
        connected.send_outside_the_window();
        let after = connected.exchange();
        assert_eq!(after.is_ok(), liberal, "liberal: {liberal}: {after:?}\n{}", proxy.log());
    }
}
