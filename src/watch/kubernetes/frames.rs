//! The body of an answer, cut into frames: lines of JSON, or protobuf behind its length.
//!
//! A server that is silent for too long ends the answer, and so does a frame that is longer than any object: a length that was damaged on
//! the way must neither fill the memory nor stop the watch for ever.

use std::pin::Pin;
use std::time::Duration;

use http_body::Body as _;
use kube::client::Body;
use thiserror::Error;
use tokio::time::timeout;

use crate::watch::wire::Encoding;

/// The longest frame. The API server refuses requests of more than 3 MiB, and JSON is at most a few times as long as that.
const MAX_FRAME: usize = 16 << 20;

/// A buffer that a long frame enlarged is given back from here on.
const KEPT_BUFFER: usize = 1 << 20;

/// How many bytes the length before a frame takes.
const LENGTH: usize = 4;

/// Why an answer ended before it was complete.
#[derive(Debug, Error)]
pub enum BrokenAnswer {
    /// The connection broke off.
    #[error("the answer broke off")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for so long.
    #[error("nothing was received for {0:?}")]
    Silence(Duration),
    /// A frame that no server sends.
    #[error("a frame of {0} bytes or more, which no object has")]
    Length(usize),
}

/// A body that is read piece by piece.
pub struct AnswerBody {
    body: Body,
    /// How long nothing may come.
    max_silence: Duration,
}

/// The frames of a watch.
pub struct Frames {
    body: AnswerBody,
    encoding: Encoding,
    /// What was received. Before `start` it has been taken, and up to `searched` there is no end of a line.
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
}

impl AnswerBody {
    /// Reads this body.
    pub fn new(body: Body, max_silence: Duration) -> Self {
        Self { body, max_silence }
    }

    /// Appends the next piece to `buffer`. Whether there was one.
    async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool, BrokenAnswer> {
        let body = &mut self.body;
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            match timeout(self.max_silence, frame).await {
                Err(_) => return Err(BrokenAnswer::Silence(self.max_silence)),
                Ok(None) => return Ok(false),
                Ok(Some(Err(error))) => return Err(BrokenAnswer::Connection(error.into())),
                Ok(Some(Ok(frame))) => {
                    // Anything else are trailers.
                    if let Ok(data) = frame.into_data() {
                        buffer.extend_from_slice(&data);
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// The whole body, or its first `limit` bytes and a bit.
    ///
    /// # Errors
    /// If it ends too early.
    pub async fn collect(mut self, limit: usize) -> Result<Vec<u8>, BrokenAnswer> {
        let mut all = Vec::new();
        while all.len() < limit && self.read(&mut all).await? {}
        Ok(all)
    }
}

impl Frames {
    /// Cuts this body.
    pub fn new(body: AnswerBody, encoding: Encoding) -> Self {
        Self { body, encoding, buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// How the frames are encoded.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The next frame, without its length or the end of its line; `None` at the end. A frame that the end cut off is left out: the watch
    /// goes on from the version before it.
    ///
    /// # Errors
    /// If the answer ends too early.
    pub async fn next_frame(&mut self) -> Result<Option<&[u8]>, BrokenAnswer> {
        let (from, to) = loop {
            if let Some((from, to, next)) = self.complete_frame()? {
                (self.start, self.searched) = (next, next);
                // An empty line between events, or at the end.
                if from < to {
                    break (from, to);
                }
                continue;
            }
            self.make_room();
            if !self.body.read(&mut self.buffer).await? {
                return Ok(None);
            }
        };
        Ok(Some(&self.buffer[from..to]))
    }

    /// Where the first frame in the buffer begins and ends, and where the next one begins.
    fn complete_frame(&mut self) -> Result<Option<(usize, usize, usize)>, BrokenAnswer> {
        let received = self.buffer.len() - self.start;
        match self.encoding {
            Encoding::Json => {
                let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                    self.searched = self.buffer.len();
                    return if received > MAX_FRAME { Err(BrokenAnswer::Length(received)) } else { Ok(None) };
                };
                let end = self.searched + at;
                Ok(Some((self.start, end, end + 1)))
            }
            Encoding::Protobuf => {
                let Some(length) = self.buffer[self.start..].first_chunk::<LENGTH>() else { return Ok(None) };
                let length = u32::from_be_bytes(*length) as usize;
                if length > MAX_FRAME {
                    return Err(BrokenAnswer::Length(length));
                }
                let (from, to) = (self.start + LENGTH, self.start + LENGTH + length);
                Ok((received >= LENGTH + length).then_some((from, to, to)))
            }
        }
    }

    /// Moves what is left of a frame to the front.
    fn make_room(&mut self) {
        self.buffer.drain(..self.start);
        (self.searched, self.start) = (self.searched - self.start, 0);
        if self.buffer.capacity() > KEPT_BUFFER && self.buffer.len() < KEPT_BUFFER / 2 {
            self.buffer.shrink_to(KEPT_BUFFER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a body that comes in pieces of this size.
    async fn frames(encoding: Encoding, bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, BrokenAnswer> {
        let mut frames = Frames::new(AnswerBody::new(Body::empty(), Duration::from_secs(1)), encoding);
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            frames.make_room();
            frames.buffer.extend_from_slice(piece);
            while let Some((from, to, next)) = frames.complete_frame()? {
                (frames.start, frames.searched) = (next, next);
                found.push(frames.buffer[from..to].to_vec());
            }
        }
        assert!(frames.next_frame().await?.is_none());
        Ok(found)
    }

    #[tokio::test]
    async fn frames_are_the_same_however_they_are_cut_on_the_way() {
        let mut framed = Vec::new();
        for frame in ["one", "", "three", &"x".repeat(300)] {
            framed.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
            framed.extend_from_slice(frame.as_bytes());
        }
        framed.extend_from_slice(&[0, 0, 0, 9, b'c', b'u', b't']);
        for piece in [1, 2, 3, 5, 7, 64, 1_000] {
            let lines = frames(Encoding::Json, b"{1}\n{22}\n{cut", piece).await.unwrap();
            assert_eq!(lines, [b"{1}".to_vec(), b"{22}".to_vec()], "{piece}");
            let found = frames(Encoding::Protobuf, &framed, piece).await.unwrap();
            assert_eq!(found, [b"one".to_vec(), vec![], b"three".to_vec(), vec![b'x'; 300]], "{piece}");
        }
    }

    #[tokio::test]
    async fn a_length_that_no_object_has_ends_the_answer_at_once() {
        let error = frames(Encoding::Protobuf, &[0xff, 0xff, 0xff, 0xff, 1, 2], 6).await.unwrap_err();
        assert_eq!(error.to_string(), "a frame of 4294967295 bytes or more, which no object has");
        let error = frames(Encoding::Json, &vec![b'x'; MAX_FRAME + 1], MAX_FRAME).await.unwrap_err();
        assert!(matches!(error, BrokenAnswer::Length(_)), "{error}");
    }

    #[tokio::test]
    async fn a_buffer_that_a_long_frame_enlarged_is_given_back() {
        let mut frames = Frames::new(AnswerBody::new(Body::empty(), Duration::from_secs(1)), Encoding::Json);
        frames.buffer = vec![b'x'; 4 << 20];
        frames.start = frames.buffer.len();
        frames.searched = frames.start;
        frames.make_room();
        assert!(frames.buffer.capacity() <= KEPT_BUFFER, "{}", frames.buffer.capacity());
    }
}
