//! What the kernel and the way to it cost, without the rest of the program: each backend commits and reads tables of N frontends
//! with 5 endpoints each, in a network namespace of its own. Needs root. Printed are
//!
//! - load: one batch with everything, into an empty table;
//! - empty: a batch without effect (median of 200);
//! - change: one endpoint replaced by another (median, p99 of 200);
//! - read: the table read back (median of 3).
//!
//! ```text
//! cargo bench --bench commit [-- [--docs] [SIZE…]]        default sizes: 1000 10000 50000; --docs writes docs/performance.md
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop and may print")]

#[path = "common/mod.rs"]
mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::figures::{Spread, head, table, thousands, time};
use common::namespace::alone;
use common::{docs, nft};
use pointsman::apply::{Backend, Netlink, Nft};
use pointsman::dataplane::{
    Element, Endpoint, EndpointList, Family, Frontend, Key, Object, Operation, Options, Protocol, SetName, SizeClass,
};
use pointsman::diff::{Acknowledged, Scope, diff};
use pointsman::state::Desired;
use tokio::time::Instant;

/// Endpoints of each frontend.
const ENDPOINTS: u32 = 5;
/// How often one endpoint is changed, and how often the table is read.
const CHANGES: u32 = 200;
const READINGS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let sizes: Vec<u32> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 50_000] } else { sizes };
    let (sender, rows) = mpsc::channel();
    for size in sizes {
        let (netlink, through_nft) = (sender.clone(), sender.clone());
        alone(async move || {
            let row = measure("netlink", Netlink::open().expect("netlink works"), size).await;
            netlink.send(row).expect("somebody waits");
        });
        alone(async move || {
            let row = measure("nft", Nft::find(&nft()).await.expect("nft is there"), size).await;
            through_nft.send(row).expect("somebody waits");
        });
    }
    drop(sender);
    let titles = [
        "Frontends × endpoints",
        "backend",
        "everything in one batch",
        "empty batch",
        "one endpoint is replaced: median / 99th percentile",
        "reading back",
    ];
    let text = table(&head(&titles), &rows.iter().collect::<Vec<_>>());
    println!("{text}");
    if args.iter().any(|arg| arg == "--docs") {
        docs::replace("commits", &text);
    }
}

async fn measure(name: &str, mut backend: impl Backend, size: u32) -> Vec<String> {
    let scope = Scope::dual_stack(Options::default());
    let mut operations = diff(&Acknowledged::nothing(), &Desired::default(), &scope).operations;
    let class = SetName::Internal(SizeClass::of(ENDPOINTS as usize).expect("a class"));
    operations.push(Operation::add(Family::Ip, Object::Set(class)));
    for n in 0..size {
        operations.push(Operation::add_element(Element::member(class, Key::Frontend(frontend(n)))));
        operations.extend((0..ENDPOINTS).map(|slot| Operation::add_element(element(n, slot, 0))));
    }
    let load = timed(backend.commit(&operations)).await;
    let mut empty = Vec::new();
    for _ in 0..CHANGES {
        // It is there: nothing changes.
        empty.push(timed(backend.commit(&[Operation::add(Family::Ip, Object::Table)])).await);
    }
    let mut changes = Vec::new();
    for n in 0..CHANGES {
        // Scattered over the table, each frontend once.
        let which = n * (size / CHANGES).max(1) % size;
        let change = [Operation::delete_element(element(which, 3, 0)), Operation::add_element(element(which, 3, 1))];
        changes.push(timed(backend.commit(&change)).await);
    }
    let mut readings = Vec::new();
    for _ in 0..READINGS {
        readings.push(timed(backend.read(&[Family::Ip])).await);
    }
    let (empty, change, read) = (Spread::of_times(empty), Spread::of_times(changes), Spread::of_times(readings));
    vec![
        format!("{} × {ENDPOINTS}", thousands(size)),
        name.to_owned(),
        time(load.as_secs_f64() * 1e3),
        time(empty.p50),
        format!("{} / {}", time(change.p50), time(change.p99)),
        time(read.p50),
    ]
}

async fn timed<T, E: std::fmt::Debug>(work: impl Future<Output = Result<T, E>>) -> Duration {
    let started = Instant::now();
    work.await.expect("the kernel takes it");
    started.elapsed()
}

fn frontend(n: u32) -> Frontend {
    let addr = std::net::Ipv4Addr::from_bits(0x0a60_0000 + n).into();
    Frontend { addr, protocol: Protocol::Tcp, port: 80 }
}

fn element(n: u32, slot: u32, version: u8) -> Element {
    let to = Endpoint { addr: [10, 128, version, u8::try_from(slot).unwrap()].into(), port: 8080 };
    Element::slot(EndpointList::Any, frontend(n), slot, to)
}
