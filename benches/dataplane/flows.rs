//! New flows, and forgetting them.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::common::cluster::Size;
use crate::common::machine::cpu_of_this_thread;

/// Source ports, and flows from each in a round: so few that many rounds go by without an interruption.
const PORTS: u16 = 20;
const FLOWS: u32 = 50;
/// The port of every Service.
pub const PORT: u16 = 53;

/// Senders in one namespace, to Services all over the cluster or to as many addresses of nobody.
pub struct Flows {
    senders: Vec<UdpSocket>,
    to: fn(u32) -> Ipv4Addr,
    conntrack: Socket,
    services: u32,
    /// Where the next round begins.
    next: u32,
}

impl Flows {
    /// Opens sockets in the namespace of this thread.
    pub fn new(source: Ipv4Addr, to: fn(u32) -> Ipv4Addr, size: Size) -> Self {
        let open = |_| UdpSocket::bind(SocketAddrV4::new(source, 0)).expect("a port");
        let mut conntrack = Socket::new(NETLINK_NETFILTER).expect("a netlink socket");
        conntrack.bind_auto().expect("a netlink address");
        conntrack.connect(&SocketAddr::new(0, 0)).expect("the kernel listens");
        Self { senders: (0..PORTS).map(open).collect(), to, conntrack, services: size.services, next: 0 }
    }

    /// Opens new flows; how many nanoseconds of processor time each took. All of it is spent in this thread, in the kernel.
    pub fn round(&mut self) -> f64 {
        self.forget();
        // Different Services in every round, far from each other in memory; the same work for every size.
        let stride = 7_919 % self.services;
        let to: Vec<Vec<SocketAddrV4>> = (0..u32::from(PORTS))
            .map(|port| {
                let service = |flow| (self.next + (port * FLOWS + flow) * stride) % self.services;
                (0..FLOWS).map(|flow| SocketAddrV4::new((self.to)(service(flow)), PORT)).collect()
            })
            .collect();
        self.next = (self.next + u32::from(PORTS) * FLOWS * stride + 1) % self.services;
        let before = cpu_of_this_thread();
        for (sender, to) in self.senders.iter().zip(&to) {
            for addr in to {
                sender.send_to(b"?", addr).expect("it is sent");
            }
        }
        let time = cpu_of_this_thread() - before;
        time.as_secs_f64() * 1e9 / f64::from(u32::from(PORTS) * FLOWS)
    }

    /// Removes all entries of connection tracking in this namespace.
    fn forget(&mut self) {
        // nlmsghdr: length, IPCTNL_MSG_CT_DELETE of NFNL_SUBSYS_CTNETLINK, NLM_F_REQUEST | NLM_F_ACK, sequence, port; nfgenmsg:
        // AF_INET, version, resource. Without a tuple it is about all.
        let mut message = Vec::new();
        message.extend_from_slice(&20_u32.to_ne_bytes());
        message.extend_from_slice(&((1_u16 << 8) | 2).to_ne_bytes());
        message.extend_from_slice(&5_u16.to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&[2, 0, 0, 0]);
        self.conntrack.send(&message, 0).expect("the kernel takes it");
        let mut answer = Vec::with_capacity(4_096);
        self.conntrack.recv(&mut answer, 0).expect("the kernel answers");
        let code = answer.get(16..20).map(|code| i32::from_ne_bytes(code.try_into().expect("4 bytes")));
        assert_eq!(code, Some(0), "entries of connection tracking can be removed");
    }
}
