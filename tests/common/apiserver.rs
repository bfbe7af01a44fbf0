//! An API server for tests: real HTTP on 127.0.0.1, lists, pages, watches, streaming lists, bookmarks, JSON and protobuf, and faults on
//! demand.
//!
//! It copies the visible behaviour of a real kube-apiserver: one revision counter for all objects, watches that replay
//! from a resourceVersion, deletions when an object leaves the selection, 410 as an event inside a stream answered 200.
//! It runs on a runtime of its own, so that it serves tests of any kind and can be taken down with all its connections.

mod answer;
mod connections;
mod fault;
mod object;
mod pods;
pub mod protobuf;
mod query;
mod serve;
mod store;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

pub use answer::{Format, Protobuf};
use connections::Connections;
pub use connections::Order;
pub use fault::{Fault, Verb};
pub use object::{headless, node, service, service_cidr, slice};
pub use pods::{Pod, PodAnswer};
use serve::Shared;
use store::Store;
pub use store::{DAMAGED, Resource};

/// A running server. Dropping it ends it.
pub struct ApiServer {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    addr: SocketAddr,
    runtime: Option<Runtime>,
}

impl ApiServer {
    /// Starts an empty server on a free port, without TLS.
    pub fn start() -> Self {
        Self::with(Connections::plain())
    }

    /// Starts an empty server on a free port, with TLS and these protocols: `h2`, `http/1.1`.
    pub fn start_tls(protocols: &[&str]) -> Self {
        Self::with(Connections::tls(protocols))
    }

    fn with(connections: Connections) -> Self {
        let (connections, addr) = (Arc::new(connections), SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut server = Self { shared: Arc::default(), connections, addr, runtime: None };
        server.up();
        server
    }

    /// The bearer tokens that it answers to from now on.
    pub fn accept_tokens(&self, tokens: &[&str]) {
        *self.shared.tokens.lock().unwrap() = Some(tokens.iter().map(|token| format!("Bearer {token}")).collect());
    }

    /// How many requests came with this token.
    pub fn requests_with_token(&self, token: &str) -> usize {
        self.shared.seen_tokens.lock().unwrap().get(&format!("Bearer {token}")).copied().unwrap_or_default()
    }

    /// The certificate of its CA, as PEM.
    pub fn ca(&self) -> &str {
        self.connections.ca()
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Listens again, on the same port as before.
    pub fn up(&mut self) {
        let listener = (0..100)
            .find_map(|_| {
                let listener = std::net::TcpListener::bind(self.addr).ok();
                if listener.is_none() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                listener
            })
            .expect("the port is free");
        self.addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let router = serve::router(Arc::clone(&self.shared));
        runtime.spawn(Arc::clone(&self.connections).serve(listener, router));
        self.runtime = Some(runtime);
    }

    /// Stops listening and cuts every connection; new ones are refused.
    pub fn down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// The server's address.
    pub fn url(&self) -> String {
        let scheme = if self.connections.certificate().is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// A client configuration for it.
    pub fn config(&self) -> kube::Config {
        let mut config = kube::Config::new(self.url().parse().unwrap());
        config.root_cert = self.connections.certificate().map(|certificate| vec![certificate.to_vec()]);
        config
    }

    /// How many connections were accepted so far.
    pub fn accepted_connections(&self) -> usize {
        self.connections.accepted()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// Tells all open connections what to do.
    pub fn order(&self, order: Order) {
        self.connections.order(order);
    }

    /// Writes a kubeconfig for it into a folder.
    pub fn write_kubeconfig(&self, folder: &Path) -> PathBuf {
        let path = folder.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: '{}'}}}}]\n\
             users: [{{name: test, user: {{}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            self.url()
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Creates or replaces an object, as `kubectl replace --force` would without its deletion.
    #[expect(clippy::needless_pass_by_value, reason = "reads better where objects are built in place")]
    pub fn apply(&self, object: Value) {
        let text = object.to_string();
        self.apply_text(&text);
    }

    /// Creates or replaces an object given as text, which may be JSON that a strict decoder refuses.
    pub fn apply_text(&self, text: &str) {
        self.store().apply(text);
        self.shared.changed();
    }

    /// Deletes an object, named as `namespace/name` or `name`.
    pub fn delete(&self, resource: Resource, name: &str) {
        self.store().delete(resource, name);
        self.shared.changed();
    }

    /// Forgets all changes so far: a watch that starts before now gets 410.
    pub fn compact(&self) {
        self.store().compact();
    }

    /// Makes the next `times` matching requests fail; `None` stands for all of them.
    pub fn fail(&self, resource: Resource, verb: Option<Verb>, fault: Fault, times: Option<usize>) {
        self.shared.faults.lock().unwrap().add(resource, verb, fault, times);
    }

    /// The Events that were created so far, in order.
    pub fn events(&self) -> Vec<Value> {
        self.shared.events.lock().unwrap().clone()
    }

    /// How many requests there were to create an Event.
    pub fn event_requests(&self) -> usize {
        *self.shared.event_requests.lock().unwrap()
    }

    /// Refuses to create Events, with this HTTP status.
    pub fn refuse_events(&self, code: u16) {
        *self.shared.refuse_events.lock().unwrap() = Some(code);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// Sets how often bookmarks are sent in a watch; every 60 s as in a real server unless set.
    pub fn bookmark_every(&self, period: Duration) {
        *self.shared.bookmark_every.lock().unwrap() = Some(period);
    }

    /// Says what is done with requests for protobuf, which is spoken unless set.
    pub fn protobuf(&self, protobuf: Protobuf) {
        *self.shared.protobuf.lock().unwrap() = protobuf;
    }

    /// The formats of all answers so far to lists and watches, in order.
    pub fn formats(&self) -> Vec<Format> {
        self.shared.formats.lock().unwrap().clone()
    }

    /// How many requests there were for a resource.
    pub fn requests(&self, resource: Resource) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|(requested, _, _)| *requested == resource).count()
    }

    /// How many requests with this verb there were for a resource.
    pub fn requests_for(&self, resource: Resource, verb: Verb) -> usize {
        self.queries(resource, verb).len()
    }

    /// The query strings of the requests with this verb.
    pub fn queries(&self, resource: Resource, verb: Verb) -> Vec<String> {
        let requests = self.shared.requests.lock().unwrap();
        requests
            .iter()
            .filter(|(requested, by, _)| (*requested, *by) == (resource, verb))
            .map(|(_, _, query)| query.clone())
            .collect()
    }

    /// Waits until the condition holds, which may look at requests.
    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(tokio::time::Instant::now() < deadline, "timed out before: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Creates or replaces pods.
    pub fn put_pods(&self, pods: impl IntoIterator<Item = Pod>) {
        self.shared.pods.lock().unwrap().pods.extend(pods.into_iter().map(|pod| (pod.name.clone(), pod)));
    }

    /// How many pages of pods were asked for, and how many pods were asked at most at once.
    pub fn asked_of_pods(&self) -> (usize, usize) {
        let pods = self.shared.pods.lock().unwrap();
        (pods.pages, pods.most_asked)
    }

    /// The current revision.
    pub fn revision(&self) -> u64 {
        self.store().revision()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.down();
    }
}
