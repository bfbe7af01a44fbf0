//! Counts and times requests under the metric names that every Kubernetes component uses.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;
use tower::Service;

use crate::metrics::{REST_DURATION, REST_REQUESTS, recorded};

/// The client, with metrics of its requests. `host` is the server's name and port.
pub fn with_request_metrics(client: &Client, host: String) -> Client {
    Client::new(RequestMetrics { client: client.clone(), host }, client.default_namespace())
}

struct RequestMetrics {
    client: Client,
    host: String,
}

impl Service<Request<Body>> for RequestMetrics {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = kube::Result<Response<Body>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<kube::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, host) = (self.client.clone(), self.host.clone());
        Box::pin(async move {
            let method = request.method().to_string();
            let sent = Instant::now();
            let answer = client.send(request).await;
            // client-go's word for a request without an answer.
            let code = answer.as_ref().map_or_else(|_| "<error>".to_owned(), |it| it.status().as_str().to_owned());
            let seconds = sent.elapsed().as_secs_f64();
            metrics::histogram!(REST_DURATION, "verb" => method.clone(), "host" => host.clone()).record(seconds);
            recorded();
            metrics::counter!(REST_REQUESTS, "code" => code, "method" => method, "host" => host).increment(1);
            answer
        })
    }
}
