//! What the kernel and the way to it cost, without the rest of the program: each backend commits and reads tables of N frontends
//! with 5 endpoints each, in a network namespace of its own. Needs root. Printed are
//!
//! - `load`: one batch with everything, into an empty table;
//! - `change`: one endpoint replaced by another (median, p99 of 200);
//! - `read`: the table read back (median of 3).
//!
//! ```text
//! cargo bench --bench commit [-- SIZE…]        default sizes: 1000 10000
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop and may print")]

use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use pointsman::apply::{Backend, Netlink, Nft};
use pointsman::dataplane::{
    Class, Element, Endpoint, Family, Frontend, Key, List, Object, Operation, Options, Protocol, SetName,
};
use pointsman::diff::{Acknowledged, Scope, diff};
use pointsman::state::Desired;
use tokio::time::Instant;

/// Endpoints of each frontend.
const ENDPOINTS: u32 = 5;
/// How often one endpoint is changed, and how often the table is read.
const CHANGES: usize = 200;
const READINGS: usize = 3;

fn main() {
    let sizes: Vec<u32> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000] } else { sizes };
    println!("| backend | frontends x endpoints | load s | change us p50 | p99 | read s |");
    println!("|---|---|---|---|---|---|");
    for size in sizes {
        in_namespace(async move || measure("netlink", Netlink::open().expect("netlink works"), size).await);
        in_namespace(async move || measure("nft", Nft::find(&nft()).await.expect("nft is there"), size).await);
    }
}

async fn measure(name: &str, mut backend: impl Backend, size: u32) {
    let scope = Scope::dual_stack(Options::default());
    let mut operations = diff(&Acknowledged::nothing(), &Desired::default(), &scope).operations;
    let class = SetName::Slots(List::Any, Class::of(ENDPOINTS as usize).expect("a class"));
    operations.push(Operation::add(Family::Ip, Object::Set(class)));
    for n in 0..size {
        for set in [SetName::Internal, class] {
            operations.push(Operation::add_element(Element::member(set, Key::Frontend(frontend(n)))));
        }
        operations.extend((0..ENDPOINTS).map(|slot| Operation::add_element(element(n, slot, 0))));
    }
    let load = timed(backend.commit(&operations)).await;
    let mut changes = Vec::new();
    for n in 0..CHANGES {
        // Scattered over the table, each frontend once.
        let which = u32::try_from(n).unwrap() * (size / 200).max(1);
        let change = [Operation::delete_element(element(which, 3, 0)), Operation::add_element(element(which, 3, 1))];
        changes.push(timed(backend.commit(&change)).await);
    }
    changes.sort_unstable();
    let mut readings = Vec::new();
    for _ in 0..READINGS {
        readings.push(timed(backend.read(&[Family::Ip])).await);
    }
    readings.sort_unstable();
    println!(
        "| {name} | {size} x {ENDPOINTS} | {:.2} | {} | {} | {:.2} |",
        load.as_secs_f64(),
        changes[CHANGES / 2].as_micros(),
        changes[CHANGES * 99 / 100].as_micros(),
        readings[READINGS / 2].as_secs_f64(),
    );
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
    Element::slot(List::Any, frontend(n), slot, to)
}

/// Runs work in a thread with a network namespace of its own.
fn in_namespace(work: impl AsyncFnOnce() + Send + 'static) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work());
    };
    std::thread::spawn(run).join().unwrap();
}

fn nft() -> PathBuf {
    let unpacked = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/build/nft/nft"));
    match std::env::var_os("NFT") {
        Some(path) => path.into(),
        None if unpacked.exists() => unpacked,
        None => "nft".into(),
    }
}
