use super::*;
use nix::libc::{EINTR, ENOMEM};

use crate::dataplane::{Endpoint, Protocol};
use crate::netlink::abi::{NFNL_SUBSYS_NFTABLES, NLMSG_ERROR};
use crate::netlink::fake_peer::{FakePeer, message, refusal};

const MAP: EndpointMap<'_> = EndpointMap { name: "endpoints", list: EndpointList::Any, count: 100_000 };

fn frontend(n: u32) -> Frontend {
    Frontend { addr: std::net::Ipv6Addr::from_bits(u128::from(n)).into(), protocol: Protocol::Tcp, port: 80 }
}

fn members(count: u32, endpoints: usize) -> Vec<(Frontend, SizeClass)> {
    (1..=count).filter_map(|n| Some((frontend(n), SizeClass::for_endpoints(endpoints)?))).collect()
}

#[test]
fn every_slot_of_a_class_is_requested_once_and_not_too_many_together() {
    for (count, endpoints) in [(5_000, 5), (3, 65_536), (1, 1), (0, 1)] {
        let all = plan_requests(MAP, members(count, endpoints)).expect("as Pointsman leaves them");
        let mut asked = Vec::new();
        for together in &all {
            let keys: u32 = together.iter().map(|(_, slots)| slots.end - slots.start).sum();
            assert!(keys < MAX_KEYS_TOGETHER + MAX_KEYS_PER_REQUEST);
            asked.extend(together.iter().flat_map(|(frontend, slots)| slots.clone().map(|slot| (*frontend, slot))));
        }
        let slots = SizeClass::for_endpoints(endpoints).map_or(0, SizeClass::slots);
        let expected = (1..=count).flat_map(|n| (0..slots).map(move |slot| (frontend(n), slot)));
        assert!(asked.into_iter().eq(expected), "{count} frontends with {endpoints} endpoints");
    }
}

#[test]
fn size_classes_that_another_program_changed_are_not_relied_on() {
    assert_eq!(plan_requests(MAP, members(4, 65_536)), None, "more slots than the map has elements");
}

#[test]
fn a_frontend_that_is_in_two_classes_for_a_moment_is_asked_for_the_slots_of_the_larger_one() {
    let twice = [members(9, 2), members(1, 5)].concat();
    let larger = [members(1, 5), members(9, 2).split_off(1)].concat();
    let all = plan_requests(MAP, twice);
    assert_eq!(all, plan_requests(MAP, larger));
    assert!(all.is_some());
}

#[test]
fn the_length_of_the_longest_request_fits_into_its_field() {
    let mut out = MessageWriter::default();
    put_keys(&mut out, MAP, frontend(1), 0..MAX_KEYS_PER_REQUEST);
    let list = Attributes(&out.bytes).nest(NFTA_SET_ELEM_LIST_ELEMENTS).expect("a list");
    assert_eq!(list.count(), 1_000);
}

/// The elements in the slots of a frontend, as the kernel answers with them.
fn answer(sequence: u32, frontend: Frontend, slots: Range<u32>) -> Vec<u8> {
    message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM, 0, sequence, 7, |out| {
        let list = out.begin_nest(NFTA_SET_ELEM_LIST_ELEMENTS);
        slots.for_each(|slot| elements::put(out, &element(frontend, slot), true));
        out.end(list);
    })
}

fn element(frontend: Frontend, slot: u32) -> Element {
    let addr = std::net::Ipv6Addr::from_bits(u128::from(slot) + 1).into();
    Element::slot(EndpointList::Any, frontend, slot, Endpoint { addr, port: 8080 })
}

/// What is read of three slots of each of two frontends from a kernel that answers so.
fn read(answers: &[Vec<u8>]) -> Option<Vec<Element>> {
    let (peer, mut socket) = FakePeer::new();
    answers.iter().for_each(|answer| peer.send(answer));
    let requests = vec![(frontend(1), 0..3), (frontend(2), 0..3)];
    let mut messages = 0;
    let found = read_elements(&mut socket, Family::Ip6, "pointsman", MAP, &requests, |_| messages += 1).unwrap();
    let errors = answers.iter().filter(|answer| answer[4..6] == NLMSG_ERROR.to_ne_bytes()).count();
    assert_eq!(messages, answers.len() - errors, "each message is handed on");
    found
}

#[test]
fn a_frontend_has_the_slots_before_its_first_missing_one() {
    let [one, two] = [1, 2].map(frontend);
    let found = read(&[answer(1, one, 0..3), answer(2, two, 0..2), refusal(2, ENOENT)]);
    let expected = (0..3).map(|slot| element(one, slot)).chain((0..2).map(|slot| element(two, slot)));
    assert_eq!(found, Some(expected.collect()));
    assert_eq!(read(&[refusal(1, ENOENT), refusal(2, ENOENT)]), Some(Vec::new()));
}

#[test]
fn a_read_by_key_that_the_kernel_refuses_for_another_reason_is_no_result() {
    let [one, two] = [1, 2].map(frontend);
    for errno in [ENOMEM, EINTR] {
        assert_eq!(read(&[answer(1, one, 0..3), answer(2, two, 0..3), refusal(2, errno)]), None);
        assert_eq!(read(&[answer(1, one, 0..3), refusal(2, errno), refusal(2, ENOENT)]), None);
    }
}

#[test]
fn an_element_behind_a_missing_one_is_no_result() {
    let [one, two] = [1, 2].map(frontend);
    assert_eq!(read(&[answer(1, one, 0..3), refusal(2, ENOENT), answer(2, two, 1..2)]), None);
    assert_eq!(read(&[answer(1, one, 0..3), answer(2, two, 0..4)]), None, "nor one that was not asked for");
}

#[test]
fn a_lost_answer_is_no_result() {
    let [one, two] = [1, 2].map(frontend);
    assert_eq!(read(&[answer(1, one, 0..3)]), None);
    assert_eq!(read(&[answer(1, one, 0..3), answer(2, two, 0..2)]), None, "a part");
    assert_eq!(read(&[]), None);
}

#[test]
fn answers_to_other_requests_are_no_part_of_a_read_by_key() {
    let [one, two] = [1, 2].map(frontend);
    let (peer, mut socket) = FakePeer::new();
    for answer in [answer(0, two, 0..3), answer(3, two, 0..3), answer(1, one, 0..1)] {
        peer.send(&answer);
    }
    let requests = vec![(one, 0..1)];
    let found = read_elements(&mut socket, Family::Ip6, "pointsman", MAP, &requests, |_| {}).unwrap();
    assert_eq!(found, Some(vec![element(one, 0)]));
}
