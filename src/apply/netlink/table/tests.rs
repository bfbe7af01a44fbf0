use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::libc::ENOENT;

use super::super::abi::*;
use super::super::encode::EncodedBatch;
use super::*;
use crate::dataplane::{Object, Operation};
use crate::netlink::abi::{NFNL_SUBSYS_NFTABLES, NLM_F_DUMP_INTR};
use crate::netlink::fake_peer::{FakePeer, RunningPeer, done, message, refusal};
use crate::netlink::{MessageWriter, Messages, NetlinkMessage};

const NAME: &str = "pointsman";

/// A kernel with one table, whose ruleset is of another generation whenever the test says so.
#[derive(Clone)]
struct Ruleset {
    /// The generation at each request, and flags of the answer, by the number of the attempt and the kind of the request.
    at: fn(usize, u16) -> (u16, u16),
    sets: Vec<SetName>,
    /// How often the table was asked for.
    attempts: Arc<AtomicUsize>,
}

impl Ruleset {
    fn new(at: fn(usize, u16) -> (u16, u16)) -> Self {
        Self { at, sets: Vec::new(), attempts: Arc::default() }
    }

    /// A peer that answers as this kernel, and a socket that talks to it. `before`: what happens before each answer.
    fn peer(&self, before: impl Fn(u16) + Send + 'static) -> (RunningPeer, NetfilterSocket) {
        let (peer, socket) = FakePeer::new();
        let ruleset = self.clone();
        let answer = move |request: &NetlinkMessage<'_>| {
            before(request.kind & 0xff);
            ruleset.answer(request)
        };
        (peer.answer(answer), socket)
    }

    fn answer(&self, request: &NetlinkMessage<'_>) -> Vec<Vec<u8>> {
        let (kind, sequence) = (request.kind & 0xff, request.sequence);
        let attempt = match kind {
            NFT_MSG_GETTABLE => self.attempts.fetch_add(1, Ordering::SeqCst) + 1,
            _ => self.attempts.load(Ordering::SeqCst),
        };
        let (generation, flags) = (self.at)(attempt, kind);
        let part = |kind: u16, put: &dyn Fn(&mut MessageWriter)| {
            message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, sequence, generation, |out| {
                out.put_name(NFTA_TABLE_NAME, NAME);
                put(out);
            })
        };
        let mut answer = match kind {
            NFT_MSG_GETTABLE => vec![part(NFT_MSG_NEWTABLE, &|_| {}), refusal(sequence, 0)],
            NFT_MSG_GETCHAIN => {
                vec![part(NFT_MSG_NEWCHAIN, &|out| out.put_name(NFTA_CHAIN_NAME, &format!("of-{generation}")))]
            }
            NFT_MSG_GETSET => self.sets.iter().map(|set| part(NFT_MSG_NEWSET, &|out| put_set(out, *set))).collect(),
            NFT_MSG_GETSETELEM => vec![part(NFT_MSG_NEWSETELEM, &|_| {})],
            _ => Vec::new(),
        };
        if kind != NFT_MSG_GETTABLE {
            answer.push(done(0, sequence));
        }
        answer
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }
}

/// A set with so many elements that the table is read by several threads.
fn put_set(out: &mut MessageWriter, set: SetName) {
    let create = [Operation::add(Family::Ip, Object::Set(set))];
    let batch = EncodedBatch::encode(&create, NAME, 0, Vec::new()).unwrap();
    let create = Messages(&batch.bytes).nth(1).unwrap();
    for (kind, value) in create.attributes().filter(|(kind, _)| *kind != NFTA_TABLE_NAME) {
        out.put(kind, value);
    }
    out.put_u32(NFTA_SET_COUNT, MIN_LARGE_ELEMENTS.try_into().unwrap());
}

/// The chains that are read over one socket, and the number of attempts.
fn read_alone(at: fn(usize, u16) -> (u16, u16)) -> (Vec<String>, usize) {
    let ruleset = Ruleset::new(at);
    let (_peer, socket) = ruleset.peer(|_| {});
    let table = read(&mut [socket], Family::Ip, NAME, Haste::InAHurry).unwrap().unwrap();
    (table.chains.into_keys().collect(), ruleset.attempts())
}

#[test]
fn a_table_that_does_not_change_is_read_once() {
    assert_eq!(read_alone(|_, _| (1, 0)), (vec!["of-1".to_owned()], 1));
}

#[test]
fn a_table_that_changes_while_it_is_read_is_read_again() {
    let changes_between_requests = |attempt, kind| match (attempt, kind) {
        (1, NFT_MSG_GETTABLE) => (1, 0),
        _ => (2, 0),
    };
    assert_eq!(read_alone(changes_between_requests), (vec!["of-2".to_owned()], 2));
    let interrupted = |attempt, kind| match (attempt, kind) {
        (1, NFT_MSG_GETCHAIN) => (1, NLM_F_DUMP_INTR),
        (1, _) => (1, 0),
        _ => (2, 0),
    };
    assert_eq!(read_alone(interrupted), (vec!["of-2".to_owned()], 2));
}

#[test]
fn in_a_namespace_that_never_rests_the_last_reading_counts() {
    let always = |attempt: usize, kind| match kind {
        NFT_MSG_GETTABLE => (0, 0),
        _ => (attempt.try_into().unwrap(), 0),
    };
    assert_eq!(read_alone(always), (vec![format!("of-{MAX_ATTEMPTS}")], MAX_ATTEMPTS));
}

#[test]
fn a_reading_aside_is_made_once_whatever_changes() {
    let ruleset = Ruleset::new(|_, kind| (kind, 0));
    let (_peer, socket) = ruleset.peer(|_| {});
    assert!(read(&mut [socket], Family::Ip, NAME, Haste::Aside).unwrap().is_some());
    assert_eq!(ruleset.attempts(), 1);
}

/// How often all elements of a large map are dumped whose size classes do not tell as many keys as the kernel counts. `changes`: the ruleset
/// is of another generation at each kind of request.
fn dumps_of_a_large_map(haste: Haste, changes: bool) -> usize {
    let of_kind: fn(usize, u16) -> (u16, u16) = |_, kind| (kind, 0);
    let constant: fn(usize, u16) -> (u16, u16) = |_, _| (1, 0);
    let mut ruleset = Ruleset::new(if changes { of_kind } else { constant });
    ruleset.sets = vec![SetName::Endpoints(EndpointList::Any)];
    let dumps = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dumps);
    let (_peer, socket) = ruleset.peer(move |kind| {
        counted.fetch_add(usize::from(kind == NFT_MSG_GETSETELEM), Ordering::SeqCst);
    });
    read(&mut [socket], Family::Ip, NAME, haste).unwrap().unwrap();
    dumps.load(Ordering::SeqCst) / ruleset.attempts()
}

#[test]
fn a_large_map_that_changes_while_it_is_read_aside_is_not_dumped() {
    assert_eq!(dumps_of_a_large_map(Haste::Aside, true), 0);
    assert_eq!(dumps_of_a_large_map(Haste::Aside, false), 1, "another program made elements");
    assert_eq!(dumps_of_a_large_map(Haste::InAHurry, true), 1);
}

#[test]
fn threads_that_read_different_generations_read_again() {
    // The first reader is behind by one generation until its second attempt; the second reader is not.
    let mut first = Ruleset::new(|attempt, _| (if attempt == 1 { 8 } else { 9 }, 0));
    first.sets = vec![SetName::ClusterIps, SetName::NodeportIps];
    let second = Ruleset { attempts: Arc::default(), ..first.clone() };
    let second = Ruleset { at: |_, _| (9, 0), ..second };
    let is_reading = Arc::new(AtomicBool::new(false));
    let is_second_reading = Arc::clone(&is_reading);
    let (_first, socket) = first.peer(move |kind| {
        // Each of them reads a set.
        for _ in 0..4_000 {
            if kind != NFT_MSG_GETSETELEM || is_second_reading.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the second reader does not read");
    });
    let (_second, other) = second.peer(move |kind| {
        if kind == NFT_MSG_GETSETELEM {
            is_reading.store(true, Ordering::SeqCst);
        }
    });
    let table = read(&mut [socket, other], Family::Ip, NAME, Haste::InAHurry).unwrap().unwrap();
    assert_eq!(first.attempts(), 2);
    assert_eq!(table.sets.len(), 2);
    assert!(table.sets.values().all(|set| set.recognised));
}

#[test]
fn objects_of_other_tables_are_no_part_of_a_table() {
    let (peer, mut socket) = FakePeer::new();
    let of_table = |table: &str, chain: &str, sequence| {
        message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN, 0, sequence, 1, |out| {
            out.put_name(NFTA_TABLE_NAME, table);
            out.put_name(NFTA_CHAIN_NAME, chain);
        })
    };
    for answer in [of_table("mine", "other", 1), of_table(NAME, "services", 1), done(0, 1), done(0, 2)] {
        peer.send(&answer);
    }
    let chains = TableReader::new(&mut socket, Family::Ip, NAME).chains_with_rules().unwrap();
    assert_eq!(chains.into_keys().collect::<Vec<_>>(), ["services"]);
}

#[test]
fn a_table_that_is_not_there_has_no_content_no_outline_and_no_clients() {
    let frontend = Frontend { addr: [10, 96, 0, 1].into(), protocol: crate::dataplane::Protocol::Tcp, port: 80 };
    let refused = || {
        let (peer, socket) = FakePeer::new();
        (peer.answer(|request| vec![refusal(request.sequence, ENOENT)]), socket)
    };
    let ((_one, socket), (_two, mut other)) = (refused(), refused());
    assert_eq!(read(&mut [socket], Family::Ip, NAME, Haste::InAHurry).unwrap(), None);
    assert_eq!(outline(&mut other, Family::Ip, NAME).unwrap(), None);
    assert_eq!(super::super::read::clients(&mut other, frontend, NAME).unwrap(), []);
    assert_eq!(super::super::read::timed_clients(&mut other, frontend, NAME).unwrap(), []);
    assert!(super::super::read::count_clients(&mut other, Family::Ip, NAME).unwrap().is_empty());
}

#[test]
fn a_frontend_with_session_affinity_or_of_another_list_has_no_slots_in_a_map_of_endpoints() {
    let frontend =
        |n: u8| Frontend { addr: [10, 96, 0, n].into(), protocol: crate::dataplane::Protocol::Tcp, port: 80 };
    let class = SizeClass::for_endpoints(3).unwrap();
    let found = |set: SetName, n| {
        let set_found =
            FoundSet { name: set.to_string(), is_map: false, known: Some(set), capacity: None, count: Some(1) };
        (set_found, Some(vec![Element::member(set, Key::Frontend(frontend(n)))]))
    };
    let read = [
        found(SetName::Internal(class), 1),
        found(SetName::Slots(EndpointList::Any, class), 2),
        found(SetName::Slots(EndpointList::Local, class), 3),
        found(SetName::AffinitySlots(EndpointList::Any, class), 4),
        found(SetName::External, 5),
    ];
    assert_eq!(class_members(&read, EndpointList::Any), [(frontend(1), class), (frontend(2), class)]);
    assert_eq!(class_members(&read, EndpointList::Local), [(frontend(3), class)]);
}
