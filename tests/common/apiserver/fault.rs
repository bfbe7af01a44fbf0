//! Faults of requests.

use super::store::Resource;

/// The verb of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A list, or its first page.
    List,
    /// A further page.
    Page,
    /// A watch from a resourceVersion.
    Watch,
    /// A watch that begins with a list (`sendInitialEvents`).
    StreamingList,
}

/// A fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this HTTP status.
    Status(u16),
    /// Answered 200, and ended at once.
    Close,
    /// Answered 200, then silence.
    Stall,
    /// Never answered.
    NoAnswer,
    /// Answered 200, with an ERROR event of code 410.
    Expired,
    /// The connection is cut in the middle of the line after so many events; of a list, in the middle of the answer.
    CutAfter(usize),
    /// The stream is ended properly after so many events.
    EndAfter(usize),
    /// A line that is not JSON, or a frame that is no protobuf, comes first; a list is nothing else.
    Garbage,
    /// A length of 4 GiB comes first.
    WrongLength,
}

/// The faults that are in force. The first that matches a request is taken.
#[derive(Default)]
pub struct Faults(Vec<(Resource, Option<Verb>, Fault, Option<usize>)>);

impl Faults {
    /// Adds a fault for the next `times` matching requests, or for all of them.
    pub fn add(&mut self, resource: Resource, verb: Option<Verb>, fault: Fault, times: Option<usize>) {
        self.0.push((resource, verb, fault, times));
    }

    /// Ends all faults.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault of a request, if it is to fail.
    pub fn take(&mut self, resource: Resource, verb: Verb) -> Option<Fault> {
        let matches = |(faulty, by, _, times): &&mut (Resource, Option<Verb>, Fault, Option<usize>)| {
            *faulty == resource && by.is_none_or(|by| by == verb) && *times != Some(0)
        };
        let (_, _, fault, times) = self.0.iter_mut().find(matches)?;
        if let Some(times) = times {
            *times -= 1;
        }
        Some(*fault)
    }
}
