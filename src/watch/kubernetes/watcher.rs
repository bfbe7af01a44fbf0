//! Lists and watches one kind, as the API server serves them: step by step, without pauses and without an opinion about errors.
//!
//! ```text
//!         ┌ streaming list ─▶ Init, InitApply…, InitDone ┐
//! start ──┤                                              ├─▶ Apply, Delete … ─▶ end of the watch: another one from the last version
//!         └ pages ──────────▶ Init, InitApply…, InitDone ┘
//! ```
//!
//! Version 410 (gone) leads back to the start. The caller decides how soon the next step follows an error.

use std::collections::VecDeque;
use std::time::Duration;

use http::{Request, Response, header};
use kube::Client;
use kube::client::Body;
use kube::core::request::Error as RequestError;
use thiserror::Error;

use super::frames::{AnswerBody, BrokenAnswer, Frames};
use super::object::WatchedObject;
use super::request::Requests;
use crate::watch::decode::WatchedKind;
use crate::watch::wire::{AnswerStatus, Encoding, ListPage, LooseObject, Unreadable, WatchEvent, WatchEventKind};

/// How much is read of the body of a refusal.
const MAX_REFUSAL: usize = 64 << 10;

/// What the server sent.
#[derive(Debug)]
pub enum WatchItem<T: WatchedKind> {
    /// A list begins.
    Init,
    /// An object of the list.
    InitApply(WatchedObject<T>),
    /// The list is complete.
    InitDone,
    /// An object was added or changed.
    Apply(WatchedObject<T>),
    /// An object is gone.
    Delete(WatchedObject<T>),
}

/// Why a step failed.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The request is one that no server would take.
    #[error("cannot make the request")]
    Request(#[from] RequestError),
    /// There is no answer.
    #[error("no answer")]
    Unanswered(#[source] kube::Error),
    /// The server refused a list.
    #[error("the server answers {} {}: {}", .0.code, .0.reason, .0.message)]
    ListRefused(AnswerStatus),
    /// The server refused a watch.
    #[error("the server answers {} {}: {}", .0.code, .0.reason, .0.message)]
    WatchRefused(AnswerStatus),
    /// The server reported an error in an open watch.
    #[error("the server reports {} {}: {}", .0.code, .0.reason, .0.message)]
    Reported(AnswerStatus),
    /// An answer ended too early.
    #[error(transparent)]
    Broken(#[from] BrokenAnswer),
    /// An event or a list cannot be read, so what is in it is lost.
    #[error("{source}")]
    Unreadable {
        /// How it was encoded.
        encoding: Encoding,
        /// Why.
        source: Unreadable,
    },
    /// A list or an object has no version, from which a watch could go on.
    #[error("the server sends no resourceVersion")]
    NoVersion,
}

/// Where the watch stands.
enum State<T: WatchedKind> {
    /// Nothing is known.
    Start,
    /// A watch sends all objects first.
    Streaming(Frames),
    /// Pages of a list are requested.
    Paging { objects: VecDeque<WatchedObject<T>>, next_page: Option<String>, version: Option<String> },
    /// All objects are known at this version.
    Listed(String),
    /// A watch sends changes after this version.
    Watching(String, Frames),
}

/// Lists and watches one kind.
pub struct Watcher<T: WatchedKind> {
    client: Client,
    requests: Requests,
    /// Whether to ask for a list as a stream.
    streaming: bool,
    max_silence: Duration,
    /// The last version that is known. A list must not be older: another API server may be behind the one that was asked before.
    seen: Option<String>,
    /// A list was asked for that is not older, and did not come to its end.
    asks_newest: bool,
    state: State<T>,
}

impl WatchError {
    /// The HTTP status, if the server answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::ListRefused(status) | Self::WatchRefused(status) | Self::Reported(status) => Some(status.code),
            _ => None,
        }
    }
}

impl<T: WatchedKind> Watcher<T> {
    /// Begins with a list. `max_silence` is how long the server may send nothing in an answer.
    pub fn new(client: Client, requests: Requests, streaming: bool, max_silence: Duration) -> Self {
        Self { client, requests, streaming, max_silence, seen: None, asks_newest: false, state: State::Start }
    }

    /// Begins with a list that is not older than what the other one has seen.
    pub fn after(mut self, other: Self) -> Self {
        self.asks_newest = other.asks_newest;
        self.seen = match other.state {
            State::Listed(version) | State::Watching(version, _) => Some(version),
            _ => other.seen,
        };
        self
    }

    /// The next item.
    ///
    /// # Errors
    /// If the server does not answer, refuses, or sends what cannot be read. The next call goes on from there.
    pub async fn next_item(&mut self) -> Result<WatchItem<T>, WatchError> {
        loop {
            if let Some(item) = self.step().await? {
                return Ok(item);
            }
        }
    }

    /// One step. An error leaves the state behind that the next step starts from.
    async fn step(&mut self) -> Result<Option<WatchItem<T>>, WatchError> {
        match std::mem::replace(&mut self.state, State::Start) {
            State::Start if self.streaming => {
                let at_least = match &self.seen {
                    None => "0",
                    // A server refuses what it does not know in time, and after a restored etcd no server knows that version.
                    Some(_) if self.asks_newest => "",
                    Some(seen) => seen,
                };
                let request = self.requests.streaming_list(at_least)?;
                self.asks_newest = true;
                let response = self.open(request).await?;
                self.state = State::Streaming(self.frames(response));
                Ok(Some(WatchItem::Init))
            }
            State::Start => {
                self.state = State::Paging { objects: VecDeque::new(), next_page: None, version: None };
                Ok(Some(WatchItem::Init))
            }
            State::Paging { mut objects, next_page, version } => {
                if let Some(object) = objects.pop_front() {
                    self.state = State::Paging { objects, next_page, version };
                    return Ok(Some(WatchItem::InitApply(object)));
                }
                match (next_page, version) {
                    (None, Some(version)) => {
                        self.state = State::Listed(version);
                        Ok(Some(WatchItem::InitDone))
                    }
                    (next_page, _) => self.page(next_page.as_deref()).await.map(|()| None),
                }
            }
            State::Streaming(frames) => self.listen(None, frames).await,
            State::Listed(version) => {
                // A watch that cannot be opened is tried again from the same version.
                self.state = State::Listed(version.clone());
                let response = self.open(self.requests.watch(&version)?).await?;
                self.state = State::Watching(version, self.frames(response));
                Ok(None)
            }
            State::Watching(version, frames) => self.listen(Some(version), frames).await,
        }
    }

    /// Requests a page.
    async fn page(&mut self, token: Option<&str>) -> Result<(), WatchError> {
        let response = self.client.send(self.requests.list(token)?).await.map_err(WatchError::Unanswered)?;
        let response = accepted(response, self.max_silence).await?.map_err(WatchError::ListRefused)?;
        let encoding = encoding(&response);
        let answer = AnswerBody::new(response.into_body(), self.max_silence).collect(usize::MAX).await?;
        let page = ListPage::read(encoding, &answer).map_err(|source| WatchError::Unreadable { encoding, source })?;
        if page.version.is_none() && page.continue_token.is_none() {
            return Err(WatchError::NoVersion);
        }
        let objects = page.items.into_iter().map(WatchedObject::read).collect();
        self.state = State::Paging { objects, next_page: page.continue_token, version: page.version };
        Ok(())
    }

    /// Takes the next event of a watch. Without a version the list is not complete yet.
    async fn listen(
        &mut self,
        version: Option<String>,
        mut frames: Frames,
    ) -> Result<Option<WatchItem<T>>, WatchError> {
        let encoding = frames.encoding();
        let ended = |version: Option<String>| version.map_or(State::Start, State::Listed);
        let frame = match frames.next_frame().await {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.state = ended(version);
                return Ok(None);
            }
            Err(broken) => {
                self.state = ended(version);
                return Err(broken.into());
            }
        };
        let event = match WatchEvent::read(encoding, frame) {
            Ok(event) => event,
            Err(source) => {
                self.seen = version.or(self.seen.take());
                return Err(WatchError::Unreadable { encoding, source });
            }
        };
        let (item, version) = match event.kind {
            WatchEventKind::Bookmark => {
                let metadata = event.object.metadata();
                let seen = metadata.resource_version.non_empty().map(str::to_owned);
                let complete = match metadata.annotations {
                    LooseObject::Fields(annotations) => annotations.initial_events_end.is_some(),
                    LooseObject::Wrong(_) => false,
                };
                match version {
                    None if complete => {
                        self.asks_newest = false;
                        (Some(WatchItem::InitDone), Some(seen.ok_or(WatchError::NoVersion)?))
                    }
                    None => (None, None),
                    Some(known) => (None, Some(seen.unwrap_or(known))),
                }
            }
            WatchEventKind::Error => {
                let status = event.object.status();
                match version {
                    version if status.code == 410 => self.seen = version.or(self.seen.take()),
                    None => self.state = State::Streaming(frames),
                    Some(version) => self.state = State::Watching(version, frames),
                }
                return Err(WatchError::Reported(status));
            }
            kind => {
                let object = WatchedObject::<T>::read(event.object);
                match (kind, version) {
                    (WatchEventKind::Deleted, None) => (None, None),
                    (_, None) => (Some(WatchItem::InitApply(object)), None),
                    (kind, Some(_)) => {
                        let seen = object.version().ok_or(WatchError::NoVersion)?.to_owned();
                        let deleted = kind == WatchEventKind::Deleted;
                        let item = if deleted { WatchItem::Delete(object) } else { WatchItem::Apply(object) };
                        (Some(item), Some(seen))
                    }
                }
            }
        };
        self.state = match version {
            None => State::Streaming(frames),
            Some(version) => State::Watching(version, frames),
        };
        Ok(item)
    }

    /// Opens a watch.
    async fn open(&mut self, request: Request<Body>) -> Result<Response<Body>, WatchError> {
        let response = self.client.send(request).await.map_err(WatchError::Unanswered)?;
        accepted(response, self.max_silence).await?.map_err(WatchError::WatchRefused)
    }

    fn frames(&self, response: Response<Body>) -> Frames {
        let encoding = encoding(&response);
        Frames::new(AnswerBody::new(response.into_body(), self.max_silence), encoding)
    }
}

/// The response if the server took the request, otherwise what it says.
async fn accepted(
    response: Response<Body>,
    max_silence: Duration,
) -> Result<Result<Response<Body>, AnswerStatus>, WatchError> {
    if response.status().is_success() {
        return Ok(Ok(response));
    }
    let (code, encoding) = (response.status(), encoding(&response));
    let answer = AnswerBody::new(response.into_body(), max_silence).collect(MAX_REFUSAL).await?;
    let mut status = AnswerStatus::read(encoding, code.as_u16(), &answer);
    if status.reason.is_empty() {
        status.reason = code.canonical_reason().unwrap_or_default().to_owned();
    }
    Ok(Err(status))
}

fn encoding<B>(response: &Response<B>) -> Encoding {
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.map_or(Encoding::Json, Encoding::from_content_type)
}
