//! What decoding alone costs: no connection, no TLS, no lists.

use std::time::Duration;

use pointsman::state::Decoded;
use pointsman::watch::{Encoding, SliceDecoder};
use serde_json::json;

use crate::common::cluster::Size;
use crate::common::figures::Spread;
use crate::common::machine::cpu_of_this_thread;
use crate::objects;
use crate::testing::apiserver::protobuf;

/// How often each encoding is decoded, in turns.
const ROUNDS: usize = 9;

/// Decodes the slices of a cluster in both encodings, and compares the medians.
pub fn compare(size: Size, managed: bool, goal: f64) -> String {
    let slices: Vec<_> = (0..size.services).map(|n| objects::slice(n, size.endpoints, managed)).collect();
    let json = slices.iter().map(|slice| json!({"type": "ADDED", "object": slice}).to_string().into_bytes());
    let json: Vec<Vec<u8>> = json.collect();
    let protobuf = slices.iter().map(|slice| {
        let raw = protobuf::item("EndpointSlice", slice);
        let frame = protobuf::frame("ADDED", &protobuf::object("EndpointSlice", "discovery.k8s.io/v1", &raw));
        frame[size_of::<u32>()..].to_vec()
    });
    let protobuf: Vec<Vec<u8>> = protobuf.collect();
    let (mut of_json, mut of_protobuf) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_json.push(decode(Encoding::Json, &json));
        of_protobuf.push(decode(Encoding::Protobuf, &protobuf));
    }
    let [json, protobuf] = [of_json, of_protobuf].map(|all| Spread::of_times(all).p50);
    let ratio = crate::part(protobuf / json, "processor time", goal);
    format!(
        "- Decoding the slices alone, median of {ROUNDS} in turns: JSON {json:.1} ms, protobuf {protobuf:.1} ms: {ratio}."
    )
}

/// The processor time of decoding these frames once. Each slice is dropped at once: keeping them costs the same after either encoding.
fn decode(encoding: Encoding, frames: &[Vec<u8>]) -> Duration {
    let mut decoder = SliceDecoder::default();
    let before = cpu_of_this_thread();
    let read = frames.iter().filter(|frame| matches!(decoder.decode(encoding, frame), Some(Decoded::Object(_))));
    let read = read.count();
    let took = cpu_of_this_thread().saturating_sub(before);
    assert_eq!(read, frames.len(), "every slice can be read");
    took
}
