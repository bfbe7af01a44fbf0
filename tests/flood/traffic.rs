//! The sender, and the counters behind the translation.

use std::fmt::Write;
use std::io::{IoSlice, Write as _};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};

use crate::common::netns::Namespace;

/// Packets of one system call.
const BURST: usize = 64;

/// What the counters say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// New flows that were sent to an endpoint.
    pub translated: u64,
    /// New flows that were not, though they had to be; or that were neither translated nor refused nor dropped.
    pub strays: u64,
}

/// Counts the flows in the host's namespace.
///
/// Behind the translation every packet is dropped. So no flow is ever confirmed, and each packet is the first of a flow. Packets to the
/// `served` addresses have to be translated. Others may be refused or dropped by the proxy's filters, behind which they are counted.
pub fn count(host: &Namespace, nft: &Path, served: &[SocketAddrV4]) {
    let mut elements = String::new();
    for target in served {
        let _ = write!(elements, "{} . {}, ", target.ip(), target.port());
    }
    let rules = format!(
        "table ip flood {{
             counter translated {{ }}
             counter strays {{ }}
             set served {{ type ipv4_addr . inet_service; elements = {{ {elements} }}; }}
             chain translated {{
                 type filter hook prerouting priority -99
                 meta l4proto != udp accept
                 ct status dnat counter name translated drop
                 ip daddr . udp dport @served counter name strays drop
             }}
             chain passed {{
                 type filter hook forward priority 10
                 meta l4proto udp counter name strays drop
             }}
         }}"
    );
    let mut child = host.command(nft).args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft starts");
    child.stdin.take().expect("stdin is piped").write_all(rules.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success());
}

/// Reads the counters.
pub fn counts(host: &Namespace, nft: &Path) -> Counts {
    let output = host.command(nft).args(["list", "counters", "table", "ip", "flood"]).output().expect("nft runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let packets = |name: &str| {
        let of_name = text.split(&format!("counter {name} {{")).nth(1)?;
        of_name.split_whitespace().nth(1)?.parse().ok()
    };
    let read = |name| packets(name).unwrap_or_else(|| panic!("counters: {text}"));
    Counts { translated: read("translated"), strays: read("strays") }
}

/// Sends packets from the client's namespace until it is told to end: to the targets in `focus`, in turn. Returns how many.
pub fn send(client: &Namespace, targets: &[Vec<SocketAddrV4>], focus: &AtomicUsize, ends: &AtomicBool) -> u64 {
    client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let burst = |targets: &Vec<SocketAddrV4>| {
            let addrs = targets.iter().cycle().take(BURST).copied();
            addrs.map(|addr| Some(SockaddrIn::from(addr))).collect::<Vec<Option<SockaddrIn>>>()
        };
        let bursts: Vec<_> = targets.iter().map(burst).collect();
        let payload = [IoSlice::new(b"?")];
        let payloads = [&payload; BURST];
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BURST, None);
        let mut sent = 0;
        while !ends.load(Ordering::Relaxed) {
            let burst = &bursts[focus.load(Ordering::Relaxed)];
            match sendmmsg(socket.as_raw_fd(), &mut headers, payloads, burst, [], MsgFlags::empty()) {
                Ok(results) => sent += results.count() as u64,
                // A queue is full, or an answer says that a Service refused.
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::ECONNREFUSED) => {}
                Err(error) => panic!("sending: {error}"),
            }
        }
        sent
    })
}
