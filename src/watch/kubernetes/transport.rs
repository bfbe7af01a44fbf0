//! The client of one watch: the [`Pace`] delays each request, a metric counts it, and the [`Connection`] learns its result.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, header};
use kube::Client;
use kube::client::{Body, ConfigExt as _};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Service, ServiceBuilder};

use super::KubernetesOptions;
use super::monitored_body::MonitoredBody;
use super::one_connection::OneConnection;
use super::pace::{Pace, Permit, Purpose, RequestFailure};
use super::request_metrics::with_request_metrics;
use crate::clock;
use crate::metrics::{API_REQUESTS, WATCH_RESTARTS};
use crate::state::Kind;
use crate::watch::Connection;

/// After so many watches in a row that end early a warning is logged, though no request failed.
const EARLY_WATCHES_TO_WARN: u32 = 5;

/// A client for the server. All kinds share its connection and credentials.
pub fn connect(config: kube::Config, options: &KubernetesOptions) -> kube::Result<Client> {
    let host = config.cluster_url.authority().map_or_else(String::new, ToString::to_string);
    if config.proxy_url.is_some() {
        // kube says which proxies it cannot use.
        return Ok(with_request_metrics(&Client::try_from(config)?, host));
    }
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(OneConnection::new(&config, options.pings)?);
    Ok(with_request_metrics(&Client::new(service, config.default_namespace), host))
}

/// The client of one kind: the shared connections, at a pace of its own.
pub fn paced(client: &Client, kind: Kind, options: &KubernetesOptions) -> Client {
    let pace = Arc::new(Mutex::new(Pace::new(options.limits(), clock::now())));
    let (answer_within, connection) = (options.answer_within, options.connection.clone());
    let paced = Paced { client: client.clone(), kind, pace, answer_within, connection };
    Client::new(paced, client.default_namespace())
}

/// A transport that delays requests as the pace demands.
struct Paced {
    client: Client,
    kind: Kind,
    pace: Arc<Mutex<Pace>>,
    answer_within: Duration,
    connection: Connection,
}

impl Service<Request<Body>> for Paced {
    type Response = Response<MonitoredBody>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = kube::Result<Response<MonitoredBody>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<kube::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, pace) = (self.client.clone(), Arc::clone(&self.pace));
        let (kind, answer_within, connection) = (self.kind, self.answer_within, self.connection.clone());
        Box::pin(async move {
            let purpose = purpose(request.uri().query().unwrap_or_default());
            let permit = lock(&pace).permit(purpose, clock::now(), rand::random());
            note_restart(kind, permit);
            sleep(permit.delay).await;
            let answer = match timeout(answer_within, client.send(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(kube::Error::Service(format!("no answer within {answer_within:?}").into())),
            };
            note_answer(&connection, kind, purpose, answer.as_ref().is_ok_and(|it| it.status().is_success()));
            let (now, mut pace) = (clock::now(), lock(&pace));
            match &answer {
                Ok(response) if response.status().is_success() => pace.answered(purpose, now),
                Ok(response) => pace.failed(RequestFailure::Refused(retry_after(response)), now),
                Err(_) => pace.failed(RequestFailure::Unreachable, now),
            }
            let code =
                answer.as_ref().map_or_else(|_| "error".into(), |response| response.status().as_str().to_owned());
            metrics::counter!(API_REQUESTS, "kind" => kind.label(), "code" => code).increment(1);
            answer.map(|response| response.map(|body| MonitoredBody::new(body, kind, connection)))
        })
    }
}

/// A list alone is no connection: only a watch tells what changes afterwards.
fn note_answer(connection: &Connection, kind: Kind, purpose: Purpose, succeeded: bool) {
    match purpose {
        _ if !succeeded => connection.lost(kind),
        Purpose::Watch => connection.opened(kind),
        Purpose::List | Purpose::Page => {}
    }
}

/// No panic leaves a pace half-changed, so a poisoned lock is usable.
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

fn note_restart(kind: Kind, permit: Permit) {
    if !permit.restart {
        return;
    }
    metrics::counter!(WATCH_RESTARTS, "kind" => kind.label()).increment(1);
    tracing::debug!(%kind, attempts = permit.attempts, delay = ?permit.delay, "listing or watching again");
    if permit.early == EARLY_WATCHES_TO_WARN {
        tracing::warn!(
            %kind, watches = permit.early, delay = ?permit.delay,
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
