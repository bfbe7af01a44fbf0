//! The Kubernetes source against a real protocol: the events that it sends, and the faults that it survives.
//!
//! - [`events`]: events, requests, metrics and logs;
//! - [`connections`]: one connection over HTTP/2, and what becomes of it;
//! - [`encodings`]: protobuf, and JSON where the server or something on the way does not speak it;
//! - [`watcher_faults`]: faults that a watcher answers with storms of requests or lost objects if nothing paces and checks it;
//! - [`survival`]: other faults of connections and servers.
//!
//! The faults are tried in protobuf over HTTP/2, and in JSON over HTTP/1.1.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at the first surprise")]
#![allow(clippy::duplicate_mod, reason = "the faults are tried over both protocols")]

#[path = "../common/mod.rs"]
mod common;
mod connections;
mod encodings;
mod events;

/// The faults, with protobuf over HTTP/2.
#[path = "."]
mod in_protobuf {
    use super::common::apiserver::ApiServer;
    use super::{common, options, real_options};

    pub fn small_cluster() -> ApiServer {
        super::small_cluster_on(ApiServer::start_tls(&["h2", "http/1.1"]))
    }

    #[path = "survival.rs"]
    mod survival;
    #[path = "watcher_faults.rs"]
    mod watcher_faults;
}

/// The same, with JSON over HTTP/1.1.
#[path = "."]
mod in_json {
    use pointsman::watch::KubernetesOptions;

    use super::{common, small_cluster};

    pub fn options() -> KubernetesOptions {
        KubernetesOptions { protobuf: false, ..super::options() }
    }

    pub fn real_options() -> KubernetesOptions {
        KubernetesOptions { protobuf: false, ..super::real_options() }
    }

    #[path = "survival.rs"]
    mod survival;
    #[path = "watcher_faults.rs"]
    mod watcher_faults;
}

use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;

use common::apiserver::{ApiServer, node, service, service_cidr, slice};
use pointsman::watch::KubernetesOptions;

thread_local! {
    /// The log of this thread. Each test has a thread, and its tasks run there.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the log of the thread that logs.
struct ThreadLog;

impl std::io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts to keep the logs of threads.
fn keep_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| ThreadLog).init());
}

/// The lines that this thread logged and that contain a text.
fn logged(text: &str) -> Vec<String> {
    let log = LOG.with_borrow(|log| String::from_utf8(log.clone()).unwrap());
    log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// Short times; everything else as by default.
fn options() -> KubernetesOptions {
    KubernetesOptions {
        backoff_base: Duration::from_millis(50),
        backoff_max: Duration::from_millis(400),
        healthy_after: Duration::from_millis(500),
        silence_margin: Duration::from_secs(1),
        absent_retry: Duration::from_millis(300),
        requests_per_second: 50.0,
        ..KubernetesOptions::new("node-1")
    }
}

/// The real times, for the tests that count requests.
fn real_options() -> KubernetesOptions {
    KubernetesOptions::new("node-1")
}

/// Three Services, two slices, a ServiceCIDR and two Nodes.
fn small_cluster() -> ApiServer {
    small_cluster_on(ApiServer::start())
}

/// The same, on a server without objects.
fn small_cluster_on(server: ApiServer) -> ApiServer {
    for (name, cluster_ip) in [("default/a", "10.96.0.1"), ("default/b", "10.96.0.2"), ("shop/c", "fd00::3")] {
        server.apply(service(name, cluster_ip));
    }
    server.apply(slice("default/a-1", "a", &["10.1.0.1", "10.1.0.2"]));
    server.apply(slice("default/b-1", "b", &["10.1.0.3"]));
    server.apply(service_cidr("kubernetes", &["10.96.0.0/16"]));
    server.apply(node("node-1"));
    server.apply(node("node-2"));
    server
}
