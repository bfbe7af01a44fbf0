use nix::libc::{EBUSY, EEXIST, ENOENT};

use super::super::abi::NFPROTO_IPV4;
use super::super::fake_peer::{FakePeer, done, message, refusal};
use super::super::write::MessageWriter;
use super::*;

/// The kind of the messages of answers.
const KIND: u16 = 10 << 8 | 3;

/// Any request.
fn request(sequence: u32) -> Vec<u8> {
    message(KIND, 1, sequence, 0, |_| {})
}

/// One message of an answer.
fn part(flags: u16, sequence: u32) -> Vec<u8> {
    message(KIND, flags, sequence, 7, |_| {})
}

/// Sends a batch of the messages 1 to 5 to a peer that answers so; the acknowledgement of 4 tells that it is committed.
fn commit(answers: &[Vec<u8>]) -> Result<Option<RefusedMessage>> {
    let (peer, mut socket) = FakePeer::new();
    answers.iter().for_each(|answer| peer.send(answer));
    socket.commit(&request(1), 1..6)
}

/// Sends a dump to a peer that answers so. Returns whether it was consistent, and the number of messages.
fn dump(answers: &[Vec<u8>]) -> (Result<bool>, usize) {
    let (peer, mut socket) = FakePeer::with_patience(100);
    answers.iter().for_each(|answer| peer.send(answer));
    let mut messages = 0;
    let consistent = socket.request(&request(1), |_| messages += 1);
    (consistent, messages)
}

/// Sends two small requests to a peer that answers so, and returns the answers: the sequence number of each, and its error number.
fn request_all(answers: &[Vec<u8>]) -> Result<Vec<(u32, Option<i32>)>> {
    let (peer, mut socket) = FakePeer::new();
    answers.iter().for_each(|answer| peer.send(answer));
    let mut found = Vec::new();
    socket.request_all(&[request(1), request(2)].concat(), 3, |answer, errno| found.push((answer.sequence, errno)))?;
    assert_eq!(socket.sequence(), 3);
    Ok(found)
}

#[test]
fn a_dump_that_the_kernel_interrupted_is_not_consistent() {
    assert!(matches!(dump(&[part(2, 1), done(2, 1)]), (Ok(true), 1)));
    assert!(matches!(dump(&[part(2 | NLM_F_DUMP_INTR, 1), part(2, 1), done(2, 1)]), (Ok(false), 2)));
    assert!(matches!(dump(&[part(2, 1), done(2 | NLM_F_DUMP_INTR, 1)]), (Ok(false), 1)), "only its end says so");
}

#[test]
fn a_dump_that_is_not_wanted_any_more_is_broken_off() {
    let (peer, mut socket) = FakePeer::with_patience(100);
    let unwanted = CancellationToken::new();
    socket.break_off_when(unwanted.clone());
    [part(2, 1), part(2, 1), done(2, 1)].iter().for_each(|answer| peer.send(answer));
    let mut messages = 0;
    let broken_off = socket.request(&request(1), |_| {
        messages += 1;
        unwanted.cancel();
    });
    assert_eq!(broken_off.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(messages, 1);
    let small = socket.request_all(&request(2), 3, |_, _| {});
    assert_eq!(small.unwrap_err().kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn answers_to_another_request_are_no_part_of_a_dump() {
    let answers = [part(NLM_F_DUMP_INTR, 9), refusal(9, ENOENT), part(2, 1), done(2, 9), part(2, 1), done(2, 1)];
    assert!(matches!(dump(&answers), (Ok(true), 2)));
}

#[test]
fn a_dump_that_does_not_come_to_its_end_is_an_error() {
    let (ended, messages) = dump(&[part(2, 1)]);
    assert_eq!((ended.unwrap_err().kind(), messages), (ErrorKind::TimedOut, 1));
    let (ended, _) = dump(&[part(2, 1), refusal(1, ENOENT)]);
    assert_eq!(ended.unwrap_err().raw_os_error(), Some(ENOENT));
}

#[test]
fn a_datagram_that_does_not_fit_is_an_error_and_not_a_part() {
    let long = |bytes: usize| message(KIND, 2, 1, 7, |out| out.put(1, &vec![0; bytes]));
    let filler = vec![long(32 << 10); 2].concat();
    assert_eq!(dump(&[filler, done(2, 1)]).0.unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(request_all(&[long(SMALL_ANSWER_BYTES), refusal(2, 0)]).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn a_batch_is_committed_only_if_the_kernel_acknowledges_its_last_message() {
    assert!(matches!(commit(&[refusal(4, 0)]), Ok(None)));
    let unacknowledged = [vec![], vec![refusal(3, 0)], vec![refusal(5, 0)], vec![part(0, 4)]];
    for answers in unacknowledged {
        assert_eq!(commit(&answers).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn answers_to_another_batch_say_nothing_about_this_one() {
    // The messages 4 of a batch before and of one after it.
    for other in [0_u32.wrapping_sub(2), 0, 6, 9] {
        assert!(commit(&[refusal(other, 0)]).is_err(), "{other}");
        assert!(matches!(commit(&[refusal(other, EBUSY), refusal(4, 0)]), Ok(None)), "{other}");
    }
}

#[test]
fn of_several_refusals_the_one_of_the_first_message_is_reported() {
    for order in [[2, 3, 4], [4, 3, 2], [3, 2, 4]] {
        let refusals = order.map(|n| refusal(n, if n == 2 { EEXIST } else { EBUSY }));
        let refused = commit(&refusals).unwrap();
        assert_eq!(refused, Some(RefusedMessage { errno: EEXIST, message: 1, offset: None }), "{order:?}");
    }
    assert!(commit(&[refusal(4, 0), refusal(3, EBUSY)]).unwrap().is_some(), "an acknowledgement does not take it back");
}

#[test]
fn the_byte_that_the_kernel_objects_to_is_read_behind_the_request_that_it_repeats() {
    let refused = |flags: u16, repeated: &[u8]| {
        let mut out = MessageWriter::default();
        let message = out.begin_message(NLMSG_ERROR, flags, 3, NFPROTO_IPV4, 0);
        out.bytes.truncate(16);
        out.bytes.extend_from_slice(&EBUSY.wrapping_neg().to_ne_bytes());
        out.bytes.extend_from_slice(repeated);
        out.pad();
        out.put(NLMSGERR_ATTR_OFFS, &40_u32.to_ne_bytes());
        out.end_message(message);
        commit(&[out.bytes]).unwrap().unwrap().offset
    };
    let whole = message(KIND, 1, 3, 0, |out| out.put_u32(1, 5));
    assert_eq!(refused(NLM_F_ACK_TLVS, &whole), Some(40));
    assert_eq!(refused(NLM_F_ACK_TLVS | NLM_F_CAPPED, &whole[..16]), Some(40));
    assert_eq!(refused(0, &whole), None, "without the flag there are no attributes");
}

#[test]
fn small_requests_are_answered_in_any_order_and_as_often_as_the_kernel_likes() {
    assert_eq!(request_all(&[]).unwrap(), []);
    let many: Vec<_> = (0..150).map(|_| part(0, 1)).chain([refusal(2, ENOENT), refusal(1, 0)]).collect();
    let found = request_all(&many).unwrap();
    assert_eq!(found.len(), 152, "more than one call receives");
    assert_eq!(found[149..], [(1, None), (2, Some(ENOENT)), (1, Some(0))]);
}
