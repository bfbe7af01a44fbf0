//! Load: connections that stay open, and new ones all the time.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::netns::{Answer, Connection, Failure, Family, Node, Transport};
use crate::old_rules::PORT;

/// Open connections to the first Service: TCP and UDP, both families.
pub struct OpenConnections(Vec<(Connection, Answer)>);

impl OpenConnections {
    /// None, where open connections are another test's matter.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Several of each kind.
    pub fn open(node: &Node, service: u16) -> Self {
        let mut open = Vec::new();
        for family in Family::ALL {
            for transport in Transport::ALL {
                for _ in 0..3 {
                    let request = node.request(transport, family.cluster_ip(service), PORT);
                    open.push(request.open().unwrap_or_else(|failure| panic!("{family} {transport}: {failure:?}")));
                }
            }
        }
        Self(open)
    }

    /// Asserts that every connection still reaches its first server.
    pub fn assert_unbroken(&mut self) {
        for (connection, first) in &mut self.0 {
            assert_eq!(connection.ping(), Ok(*first), "an open connection broke or moved");
        }
    }
}

/// Runs `body` while opening new connections and using the open ones, as fast as possible. Asserts that all of them were answered,
/// and returns the number of new ones.
pub fn under_load(node: &Node, service: u16, open: &mut OpenConnections, body: impl FnOnce()) -> usize {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let probes: Vec<_> = Family::ALL
            .into_iter()
            .flat_map(|family| Transport::ALL.map(|transport| (family, transport)))
            .map(|(family, transport)| {
                let done = &done;
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        // A TCP retransmission would hide a gap for a second: too late counts as lost.
                        let request = node.request(transport, family.cluster_ip(service), PORT);
                        answers.push(request.timeout(Duration::from_millis(900)).send());
                        // Source ports are few.
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    (family, transport, answers)
                })
            })
            .collect();
        let used = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                open.assert_unbroken();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        done.store(true, Ordering::Relaxed);
        let mut count = 0;
        for probe in probes {
            let (family, transport, answers) = probe.join().expect("the probe ends");
            let failures: Vec<(usize, Failure)> =
                answers.iter().enumerate().filter_map(|(n, answer)| answer.err().map(|failure| (n, failure))).collect();
            assert!(failures.is_empty(), "{family} {transport}: of {} new connections: {failures:?}", answers.len());
            count += answers.len();
        }
        used.join().expect("open connections are used to the end");
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
        count
    })
}

/// Asserts that the Service answers over both transports and in both families, and that these pods do.
pub fn assert_reaches(node: &Node, service: u16, pods: &[u16]) {
    for family in Family::ALL {
        let expected: BTreeSet<_> = pods.iter().map(|pod| family.pod_ip(*pod)).collect();
        for transport in Transport::ALL {
            assert_eq!(reached(node, family, transport, service), expected, "{family} {transport}");
        }
    }
}

/// The pods that answer many new connections.
fn reached(node: &Node, family: Family, transport: Transport, service: u16) -> BTreeSet<IpAddr> {
    let answers = node.request(transport, family.cluster_ip(service), PORT).send_many(60);
    answers.into_iter().map(|answer| answer.expect("the Service answers").server.ip()).collect()
}
