//! The client: the watches of a proxy, whose events are counted and dropped.

use std::io::{BufRead, Write};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use pointsman::state::{Event, Kind};
use pointsman::watch::host::FollowForNode;
use pointsman::watch::{ApiClient, KubernetesOptions, Received, watch_api_server};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::common::machine::cpu_of_this_thread;

/// What something cost the client.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes of answers.
    pub bytes: u64,
    /// Allocations.
    pub allocations: u64,
    /// Processor time, in the kernel too.
    pub processor: Duration,
}

/// Watches the server until all lists have come, says what that cost, and the same of so many changes once the parent has made them.
pub fn run(args: &[String]) {
    let [url, certificate, protobuf, changes] = args else { panic!("{args:?}") };
    let metrics = PrometheusBuilder::new().install_recorder().expect("a recorder");
    let mut config = kube::Config::new(url.parse().expect("a URL"));
    config.root_cert = Some(vec![std::fs::read(certificate).expect("a certificate")]);
    let protobuf = protobuf.parse().expect("true or false");
    let options = KubernetesOptions { protobuf, ..KubernetesOptions::new(crate::common::cluster::NODE) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (sender, mut events) = mpsc::channel(64);
    let api = runtime.block_on(async { ApiClient::new(config, &options) }).expect("a client");
    runtime.spawn(watch_api_server(api, options, FollowForNode::never(), sender));
    let mut missing = Kind::ALL.len();
    let start = measure(&runtime, &metrics, &mut events, |event| {
        if let Event::SlicesReset(all) = event {
            assert!(all.iter().all(|slice| slice.object().is_some()), "every object can be read");
        }
        missing -= 1;
        missing == 0
    });
    say(&start);
    std::io::stdin().lock().read_line(&mut String::new()).expect("the parent has made the changes");
    let mut left: u32 = changes.parse().expect("a number");
    say(&measure(&runtime, &metrics, &mut events, |event| {
        left -= u32::from(matches!(event, Event::SliceApplied(_)));
        left == 0
    }));
}

/// What it costs to receive events until one is the last.
fn measure(
    runtime: &Runtime,
    metrics: &PrometheusHandle,
    events: &mut mpsc::Receiver<Received>,
    mut is_last: impl FnMut(&Event) -> bool,
) -> Cost {
    let (bytes, processor) = (received(metrics), cpu_of_this_thread());
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async { while !is_last(&events.recv().await.expect("it goes on").event) {} });
    });
    let processor = cpu_of_this_thread().saturating_sub(processor);
    Cost { bytes: received(metrics) - bytes, allocations: counted.count_total, processor }
}

/// The bytes of all answers so far.
fn received(metrics: &PrometheusHandle) -> u64 {
    let text = metrics.render();
    let lines = text.lines().filter(|line| line.starts_with("pointsman_api_received_bytes_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn say(cost: &Cost) {
    println!("{}", serde_json::to_string(cost).expect("numbers"));
    std::io::stdout().flush().expect("the parent reads");
}
