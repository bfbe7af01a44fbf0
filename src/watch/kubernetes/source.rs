//! One kind: a watcher, watched over.
//!
//! ```text
//! Init, InitApply…, InitDone ─▶ one Reset        Apply, Delete ─▶ one event each
//! error ─▶ go on, or start over with a fresh watcher; never give up
//! ```

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::{Api, Client};
use kube_runtime::watcher::{self, watcher};
use tokio::time::sleep;

use super::KubernetesOptions;
use super::failure_log::FailureLog;
use super::object::Slim;
use crate::pacing::jitter;
use crate::state::{Decoded, Event, Kind};
use crate::watch::decode::{Interner, Watched};
use crate::watch::{EventSender, Received};

/// Streaming lists in a row that may end incomplete before paged lists are used instead.
const STREAMING_TRIES: u32 = 3;

/// Pause after an error, in case one comes without a request, which the client would pace.
const BREATH: Duration = Duration::from_millis(20);

/// The state of one kind's watch. Owned by the task that runs it.
struct Source<'a, T> {
    options: &'a KubernetesOptions,
    /// Whether initial lists are asked for as a stream; once refused, never again.
    streaming: bool,
    /// Streaming lists in a row that ended before they were complete.
    incomplete: u32,
    /// The list that is being received.
    listing: Option<Vec<Decoded<T>>>,
    /// A complete list was emitted.
    synced: bool,
    /// The server does not have this kind, and that was said.
    absent: bool,
    names: Interner,
    failures: FailureLog,
}

/// What to do after an item of the stream.
enum Step {
    /// Go on.
    Continue,
    /// Go on after a short pause.
    Pause,
    /// Hand out an event, and when the change that it tells of was made, if it says so.
    Emit(Event, Option<Timestamp>),
    /// Hand out an event if there is one, wait, and start over with a fresh watcher, that is with a list.
    Restart(Option<Event>, Duration),
}

/// Watches one kind until the receiver of the events is gone.
pub async fn run<T: Watched>(client: Client, options: KubernetesOptions, events: EventSender) {
    let api = Api::<Slim<T>>::all(client);
    let mut source = Source::<T>::new(&options);
    loop {
        let mut stream = pin!(watcher(api.clone(), source.config()));
        let (event, pause) = loop {
            let item = tokio::select! {
                () = events.closed() => return,
                item = stream.next() => item,
            };
            match item.map_or(Step::Restart(None, BREATH), |item| source.step(item)) {
                Step::Continue => {}
                Step::Pause => sleep(BREATH).await,
                Step::Emit(event, triggered) => {
                    if events.send(Received { triggered, ..Received::now(event) }).await.is_err() {
                        return;
                    }
                }
                Step::Restart(event, pause) => break (event, pause),
            }
        };
        source.listing = None;
        if let Some(event) = event
            && events.send(Received::now(event)).await.is_err()
        {
            return;
        }
        tokio::select! {
            () = events.closed() => return,
            () = sleep(pause) => {}
        }
    }
}

impl<'a, T: Watched> Source<'a, T> {
    fn new(options: &'a KubernetesOptions) -> Self {
        Self {
            options,
            streaming: options.streaming_lists,
            incomplete: 0,
            listing: None,
            synced: false,
            absent: false,
            names: Interner::default(),
            failures: FailureLog::new(T::KIND),
        }
    }

    /// What to ask the server for (semantics of kube-proxy 1.36).
    fn config(&self) -> watcher::Config {
        let seconds = u32::try_from(self.options.watch_timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut config = watcher::Config::default().timeout(seconds).page_size(self.options.page_size);
        if self.streaming {
            config = config.streaming_lists();
        }
        match T::KIND {
            Kind::Service => config.labels("!service.kubernetes.io/service-proxy-name").fields("spec.clusterIP!=None"),
            Kind::EndpointSlice => config.labels("!service.kubernetes.io/headless"),
            Kind::Node => config.fields(&format!("metadata.name={}", self.options.node_name)),
            Kind::ServiceCidr => config,
        }
    }

    fn step(&mut self, item: Result<watcher::Event<Slim<T>>, watcher::Error>) -> Step {
        match item {
            Ok(watcher::Event::Init) => {
                if self.listing.replace(Vec::new()).is_some() {
                    return self.incomplete_list();
                }
                Step::Continue
            }
            Ok(watcher::Event::InitApply(object)) => {
                if let Ok(object) = object.decode(&mut self.names).into_decoded() {
                    self.listing.get_or_insert_default().push(object);
                }
                Step::Continue
            }
            Ok(watcher::Event::InitDone) => {
                self.failures.succeeded();
                self.incomplete = 0;
                (self.synced, self.absent) = (true, false);
                let mut all = self.listing.take().unwrap_or_default();
                all.shrink_to_fit();
                Step::Emit(T::reset(all), None)
            }
            Ok(watcher::Event::Apply(object)) => {
                self.failures.succeeded();
                let triggered = object.triggered();
                Step::Emit(object.decode(&mut self.names).into_event(), triggered)
            }
            Ok(watcher::Event::Delete(object)) => {
                self.failures.succeeded();
                Step::Emit(T::deleted(object.into_name()), None)
            }
            Err(error) => self.error(&error),
        }
    }

    /// A list was started again before the last one was complete.
    fn incomplete_list(&mut self) -> Step {
        self.incomplete += 1;
        if self.streaming && self.incomplete >= STREAMING_TRIES {
            tracing::warn!(
                kind = %T::KIND, tries = self.incomplete,
                "streaming lists keep ending before they are complete; using paged lists instead",
            );
            self.streaming = false;
            return Step::Restart(None, BREATH);
        }
        Step::Continue
    }

    fn error(&mut self, error: &watcher::Error) -> Step {
        let status = status(error);
        if self.streaming && refuses_streaming(error) {
            tracing::info!(kind = %T::KIND, %error, "the API server refuses streaming lists; using paged lists instead");
            self.streaming = false;
            return Step::Restart(None, Duration::ZERO);
        }
        if T::KIND == Kind::ServiceCidr && !self.synced && matches!(status, Some(403 | 404)) {
            return self.without_api(error);
        }
        self.failures.failed(error, status);
        match error {
            // Inside a stream the watcher sees it; as an HTTP status it would ask for the same version for ever.
            watcher::Error::WatchStartFailed(_) if status == Some(410) => Step::Restart(None, BREATH),
            // An event that is not even JSON is lost: only a new list says what it was.
            watcher::Error::WatchFailed(kube::Error::SerdeError(_) | kube::Error::Api(_)) => {
                Step::Restart(None, BREATH)
            }
            _ => Step::Pause,
        }
    }

    /// A server without this kind has no objects of it. Asked again from time to time: it may be upgraded, or allow us.
    fn without_api(&mut self, error: &watcher::Error) -> Step {
        self.options.connection.absent(T::KIND);
        let pause = jitter(self.options.absent_retry, 1.0..=1.25, rand::random());
        if std::mem::replace(&mut self.absent, true) {
            tracing::debug!(kind = %T::KIND, %error, "still not served");
            return Step::Restart(None, pause);
        }
        tracing::warn!(
            kind = %T::KIND, %error, retry = ?pause,
            "the API server does not serve this kind (before Kubernetes 1.33) or does not let us list and watch it; going on as \
             if there were none. If there should be some, allow list and watch on servicecidrs in networking.k8s.io",
        );
        Step::Restart(Some(T::reset(Vec::new())), pause)
    }
}

/// The HTTP status that the server answered with, if it answered.
fn status(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the server did not like the request itself: before 1.27 it refuses `resourceVersionMatch` for a watch, later
/// `sendInitialEvents` when the feature is off (422), and a proxy may say anything of the kind.
fn refuses_streaming(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_))
        && matches!(status(error), Some(400 | 405 | 406 | 415 | 422 | 501))
}
