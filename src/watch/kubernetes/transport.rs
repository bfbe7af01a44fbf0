//! The client of one watch: every request passes the [`Pace`] and is counted.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, header};
use kube::client::ClientBuilder;
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, Service};

use super::KubernetesOptions;
use super::pace::{Pace, Purpose, Turn};
use crate::state::Kind;
use crate::watch::metrics::{API_REQUESTS, WATCH_RESTARTS};

/// After so many attempts in a row without a healthy watch it is worth a warning, even when no request failed.
const SUSPICIOUS: u32 = 6;

/// A client of its own for one kind.
pub fn client(mut config: kube::Config, kind: Kind, options: &KubernetesOptions) -> kube::Result<kube::Client> {
    // A connection on which nothing is heard for longer than the server would keep a watch open is dead.
    config.read_timeout = Some(options.watch_timeout + options.silence_margin);
    config.reset_reader_on_write = true;
    // Retries inside the client would hide from the pace; the watcher tries again by itself.
    config.default_retry = false;
    let pace = Pace::new(options.limits(), Instant::now());
    let layer = PacedLayer { kind, pace: Arc::new(Mutex::new(pace)), answer_within: options.answer_within };
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).build())
}

/// Wraps a client's transport into a [`Paced`] one.
struct PacedLayer {
    kind: Kind,
    pace: Arc<Mutex<Pace>>,
    answer_within: Duration,
}

/// A transport that delays requests as the pace demands.
struct Paced<S> {
    /// Locked only while a request is handed over, not while its answer is awaited.
    inner: Arc<tokio::sync::Mutex<S>>,
    kind: Kind,
    pace: Arc<Mutex<Pace>>,
    answer_within: Duration,
}

impl<S> Layer<S> for PacedLayer {
    type Service = Paced<S>;

    fn layer(&self, inner: S) -> Paced<S> {
        Paced {
            inner: Arc::new(tokio::sync::Mutex::new(inner)),
            kind: self.kind,
            pace: Arc::clone(&self.pace),
            answer_within: self.answer_within,
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Paced<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>, Error = BoxError> + Send + 'static,
    S::Future: Send,
    ReqBody: Send + 'static,
    ResBody: Send + 'static,
{
    type Response = Response<ResBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // An error here would end the client for good, so the inner transport is asked for each request.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (inner, pace) = (Arc::clone(&self.inner), Arc::clone(&self.pace));
        let (kind, answer_within) = (self.kind, self.answer_within);
        Box::pin(async move {
            let purpose = purpose(request.uri().query().unwrap_or_default());
            let turn = lock(&pace).next(purpose, Instant::now(), rand::random());
            note_restart(kind, turn);
            sleep(turn.delay).await;
            let answer = async {
                let answer = {
                    let mut inner = inner.lock().await;
                    poll_fn(|context| inner.poll_ready(context)).await?;
                    inner.call(request)
                };
                answer.await
            };
            let answer = match timeout(answer_within, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {answer_within:?}").into()),
            };
            let now = Instant::now();
            let code = match &answer {
                Ok(response) if response.status().is_success() => {
                    lock(&pace).answered(purpose, now);
                    response.status().as_u16().to_string()
                }
                Ok(response) => {
                    lock(&pace).failed(retry_after(response), now);
                    response.status().as_u16().to_string()
                }
                Err(_) => {
                    lock(&pace).failed(None, now);
                    "error".to_owned()
                }
            };
            metrics::counter!(API_REQUESTS, "kind" => kind.label(), "code" => code).increment(1);
            answer
        })
    }
}

/// A pace is never left half-changed, so a poisoned lock is as good as any.
fn lock(pace: &Mutex<Pace>) -> std::sync::MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

fn purpose(query: &str) -> Purpose {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    if pairs.clone().any(|(key, value)| key == "watch" && matches!(value, "true" | "1")) {
        Purpose::Watch
    } else if pairs.any(|(key, _)| key == "continue") {
        Purpose::Page
    } else {
        Purpose::List
    }
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn note_restart(kind: Kind, turn: Turn) {
    if !turn.restart {
        return;
    }
    metrics::counter!(WATCH_RESTARTS, "kind" => kind.label()).increment(1);
    tracing::debug!(%kind, attempts = turn.attempts, delay = ?turn.delay, "listing or watching again");
    if turn.attempts == SUSPICIOUS {
        tracing::warn!(
            %kind, attempts = turn.attempts, delay = ?turn.delay,
            "the API server, or a proxy before it, keeps ending our watches early; trying more slowly. What is known stays in \
             force. Look for timeouts of idle or streaming connections on the way to the server",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_their_query() {
        for (query, expected) in [
            ("limit=500&labelSelector=%21x", Purpose::List),
            ("limit=500&continue=abc", Purpose::Page),
            ("watch=true&sendInitialEvents=true", Purpose::Watch),
            ("&watch=1", Purpose::Watch),
            ("", Purpose::List),
        ] {
            assert_eq!(purpose(query), expected, "{query}");
        }
    }
}
