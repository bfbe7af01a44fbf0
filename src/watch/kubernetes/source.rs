//! Watches one kind, and never gives up.
//!
//! ```text
//! Init, InitApply…, InitDone ─▶ one Reset        Apply, Delete ─▶ one event each
//! error ─▶ go on, or start over with a fresh watcher
//! ```

use std::time::Duration;

use kube::Client;
use tokio::time::sleep;

use super::KubernetesOptions;
use super::failure_log::FailureLog;
use super::own_node;
use super::request::Requests;
use super::watcher::{WatchError, WatchItem, Watcher};
use crate::pacing::jitter;
use crate::state::{Decoded, Event, Kind};
use crate::watch::decode::{Interner, WatchedKind};
use crate::watch::host::FollowForNode;
use crate::watch::wire::Encoding;
use crate::watch::{EventSender, Received};

/// Streaming lists in a row that may end incomplete before paged lists are used instead.
const MAX_INCOMPLETE_LISTS: u32 = 3;

/// Answers in protobuf that may be unreadable before JSON is asked for instead.
const MAX_UNREADABLE: u32 = 3;

/// Pause after an error, in case it comes without a request: the client paces only requests.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// The state of one kind's watch. Owned by the task that runs it.
struct KindWatch<'a, T> {
    options: &'a KubernetesOptions,
    requests: Requests,
    /// Answers in protobuf that could not be read since the last event that could.
    unreadable: u32,
    /// Whether initial lists are asked for as a stream; once refused, never again.
    streaming: bool,
    /// Streaming lists in a row that ended before they were complete.
    incomplete_lists: u32,
    /// The list that is being received.
    listing: Option<Vec<Decoded<T>>>,
    /// A complete list was sent.
    synced: bool,
    /// The server does not have this kind, and that was logged.
    absent: bool,
    names: Interner,
    failures: FailureLog,
}

/// What to do after an item of the watcher.
enum WatchStep {
    /// Take the next item.
    Continue,
    /// Take the next item after [`ERROR_PAUSE`].
    Pause,
    /// Send an event, then take the next item.
    Send(Received),
    /// Send an event if there is one, wait, and start over with a fresh watcher, which begins with a list.
    Restart(Option<Event>, Duration),
}

/// Watches one kind until the receiver of the events is gone.
///
/// `paced` is the client of this kind; `shared` is for what does not belong to the watch. `host` follows this host's
/// addresses if the Node needs them.
pub async fn run<T: WatchedKind>(
    paced: Client,
    shared: Client,
    options: KubernetesOptions,
    mut host: FollowForNode,
    events: EventSender,
) {
    let mut watch = KindWatch::<T>::new(&options);
    let max_silence = options.watch_timeout + options.silence_margin;
    let new_watcher =
        |watch: &KindWatch<'_, T>| Watcher::new(paced.clone(), watch.requests.clone(), watch.streaming, max_silence);
    let mut watcher = new_watcher(&watch);
    loop {
        let (event, pause) = loop {
            let item = tokio::select! {
                () = events.closed() => return,
                item = watcher.next_item() => item,
            };
            match watch.take(item) {
                WatchStep::Continue => {}
                WatchStep::Pause => sleep(ERROR_PAUSE).await,
                WatchStep::Send(received) => {
                    let own_node = own_node::existence(&received.event);
                    host.before(&received.event).await;
                    if events.send(received).await.is_err() {
                        return;
                    }
                    if let Some(exists) = own_node {
                        own_node::report(&shared, &options, exists).await;
                    }
                }
                WatchStep::Restart(event, pause) => break (event, pause),
            }
        };
        watch.listing = None;
        if let Some(event) = event
            && events.send(Received::now(event)).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = events.closed() => return,
            () = sleep(pause) => {}
        }
        watcher = new_watcher(&watch).after(watcher);
    }
}

impl<'a, T: WatchedKind> KindWatch<'a, T> {
    fn new(options: &'a KubernetesOptions) -> Self {
        Self {
            options,
            requests: Requests::new(T::KIND, options),
            unreadable: 0,
            streaming: options.streaming_lists,
            incomplete_lists: 0,
            listing: None,
            synced: false,
            absent: false,
            names: Interner::default(),
            failures: FailureLog::new(T::KIND, options.connection.clone()),
        }
    }

    /// Takes an item of the watcher.
    fn take(&mut self, item: Result<WatchItem<T>, WatchError>) -> WatchStep {
        match item {
            Ok(WatchItem::Init) => {
                if self.listing.replace(Vec::new()).is_some() {
                    return self.incomplete_list();
                }
                WatchStep::Continue
            }
            Ok(WatchItem::InitApply(object)) => {
                self.listing.get_or_insert_default().extend(object.decode(&mut self.names));
                WatchStep::Continue
            }
            Ok(WatchItem::InitDone) => {
                self.failures.succeeded();
                self.incomplete_lists = 0;
                (self.synced, self.absent) = (true, false);
                let mut all = self.listing.take().unwrap_or_default();
                all.shrink_to_fit();
                WatchStep::Send(Received::now((T::RESET)(all)))
            }
            Ok(WatchItem::Apply(object)) => {
                self.failures.succeeded();
                self.unreadable = 0;
                let triggered = object.triggered();
                let event = T::event(object.decode(&mut self.names));
                WatchStep::Send(Received { triggered, ..Received::now(event) })
            }
            Ok(WatchItem::Delete(object)) => {
                self.failures.succeeded();
                WatchStep::Send(Received::now((T::DELETED)(object.name())))
            }
            Err(error) => self.error(&error),
        }
    }

    /// A list was started again before the last one was complete.
    fn incomplete_list(&mut self) -> WatchStep {
        self.incomplete_lists += 1;
        if self.streaming && self.incomplete_lists >= MAX_INCOMPLETE_LISTS {
            tracing::warn!(
                kind = %T::KIND, tries = self.incomplete_lists,
                "streaming lists keep ending before they are complete; using paged lists instead",
            );
            self.streaming = false;
            return WatchStep::Restart(None, ERROR_PAUSE);
        }
        WatchStep::Continue
    }

    fn error(&mut self, error: &WatchError) -> WatchStep {
        let status = error.status();
        if self.requests.protobuf && self.refuses_protobuf(error) {
            tracing::info!(kind = %T::KIND, %error, "the API server, or a proxy before it, does not speak protobuf; asking for JSON");
            self.requests.protobuf = false;
            return WatchStep::Restart(None, ERROR_PAUSE);
        }
        if self.streaming && refuses_streaming(error) {
            tracing::info!(kind = %T::KIND, %error, "the API server refuses streaming lists; using paged lists instead");
            self.streaming = false;
            return WatchStep::Restart(None, Duration::ZERO);
        }
        if T::KIND == Kind::ServiceCidr && !self.synced && matches!(status, Some(403 | 404)) {
            return self.without_api(error);
        }
        self.failures.failed(error);
        match error {
            // A watcher starts over by itself after such an event; after the status it would ask for the same version for ever.
            WatchError::WatchRefused(_) if status == Some(410) => WatchStep::Restart(None, ERROR_PAUSE),
            // An event that cannot be read is lost: only a new list shows its object.
            WatchError::Unreadable { .. } => WatchStep::Restart(None, ERROR_PAUSE),
            _ => WatchStep::Pause,
        }
    }

    /// Whether the server takes no request for protobuf, or something on the way to it damages the answers.
    fn refuses_protobuf(&mut self, error: &WatchError) -> bool {
        if let WatchError::Unreadable { encoding: Encoding::Protobuf, .. } = error {
            self.unreadable += 1;
        }
        let refused = matches!(error, WatchError::WatchRefused(_) | WatchError::ListRefused(_));
        self.unreadable >= MAX_UNREADABLE || refused && matches!(error.status(), Some(406 | 415))
    }

    /// A server without this kind has no objects of it. It is asked again from time to time: it may be upgraded, or allow us.
    fn without_api(&mut self, error: &WatchError) -> WatchStep {
        self.options.connection.absent(T::KIND);
        let pause = jitter(self.options.absent_retry, 1.0..=1.25, rand::random());
        if std::mem::replace(&mut self.absent, true) {
            tracing::debug!(kind = %T::KIND, %error, "still not served");
            return WatchStep::Restart(None, pause);
        }
        tracing::warn!(
            kind = %T::KIND, %error, retry = ?pause,
            "the API server does not serve this kind (before Kubernetes 1.33) or does not let us list and watch it; going on as \
             if there were none. If there should be some, allow list and watch on servicecidrs in networking.k8s.io",
        );
        WatchStep::Restart(Some((T::RESET)(Vec::new())), pause)
    }
}

/// Whether the server refused the request itself: before 1.27 it refuses `resourceVersionMatch` for a watch, later
/// `sendInitialEvents` when the feature is off (422), and a proxy on the way may answer with any of these.
fn refuses_streaming(error: &WatchError) -> bool {
    matches!(error, WatchError::WatchRefused(_)) && matches!(error.status(), Some(400 | 405 | 406 | 415 | 422 | 501))
}
