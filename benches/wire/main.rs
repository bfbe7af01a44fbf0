//! What a start and changes cost on the way from the API server: bytes, requests, connections, allocations and processor time, in JSON and
//! in protobuf, over one connection and over one for each watch. Needs nothing but loopback.
//!
//! The API server is that of the tests, in this process, over TLS. The client is a process of its own: this program again, which runs the
//! watches on one thread and only counts the events. Objects are complete, as a real server stores them. Medians of three runs, in turns.
//!
//! ```text
//! cargo bench --bench wire [-- [--docs] [SIZE …]]        default: 10000 50000; --docs writes docs/performance.md
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop and may print")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "processes live in real time")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/common/mod.rs"]
mod testing;

mod client;
mod decode;
mod objects;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use client::Cost;
use common::cluster::Size;
use common::figures::{bytes, head, milliseconds, table, thousands};
use common::machine::Machine;
use testing::apiserver::{ApiServer, Resource};

/// How many slices change after the start.
const CHANGES: u32 = 1_000;

/// The nodes of a large cluster.
const NODES: u64 = 5_000;

/// Protobuf must cost no more than this part of JSON's bytes, and of its processor time.
const GOALS: (f64, f64) = (0.45, 0.6);

/// What is measured beside each other.
const VARIANTS: [(&str, bool, &[&str]); 4] = [
    ("JSON, HTTP/1.1", false, &["http/1.1"]),
    ("JSON, HTTP/2", false, &["h2"]),
    ("protobuf, HTTP/1.1", true, &["http/1.1"]),
    ("protobuf, HTTP/2", true, &["h2"]),
];

/// How often each variant is measured, in turns.
const ROUNDS: usize = 3;

/// One measurement.
#[derive(Clone, Copy)]
struct Measured {
    name: &'static str,
    requests: usize,
    connections: usize,
    start: Cost,
    changes: Cost,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some(at) = args.iter().position(|arg| arg == "--client") {
        return client::run(&args[at + 1..]);
    }
    let sizes: Vec<Size> = args.iter().filter(|arg| *arg != "--docs").map(|arg| arg.parse().expect("a size")).collect();
    let sizes = if sizes.is_empty() { ["10000", "50000"].map(|size| size.parse().unwrap()).to_vec() } else { sizes };
    println!("{}\n", Machine::this());
    let mut text = String::new();
    for size in sizes {
        for managed in [true, false] {
            let what = if managed { "with `managedFields`" } else { "without `managedFields`" };
            let rounds: Vec<_> = (0..ROUNDS)
                .map(|_| VARIANTS.map(|(name, protobuf, protocols)| measure(name, size, managed, protobuf, protocols)))
                .collect();
            let measured = std::array::from_fn(|n| median(rounds.iter().map(|round| &round[n]).collect()));
            let report = report(size, what, &measured, &decode::compare(size, managed, GOALS.1));
            println!("{report}");
            text += &report;
        }
    }
    if args.iter().any(|arg| arg == "--docs") {
        common::docs::replace("wire", &text);
    }
}

fn measure(name: &'static str, size: Size, managed: bool, protobuf: bool, protocols: &[&str]) -> Measured {
    let server = ApiServer::start_tls(protocols);
    for n in 0..size.services {
        server.apply(objects::service(n, managed));
        server.apply(objects::slice(n, size.endpoints, managed));
    }
    server.apply(testing::apiserver::service_cidr("kubernetes", &["10.96.0.0/12"]));
    server.apply(testing::apiserver::node(common::cluster::NODE));
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = folder.path().join("certificate");
    std::fs::write(&certificate, server.config().root_cert.expect("TLS").remove(0)).expect("the folder is writable");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--client", &server.url(), certificate.to_str().expect("a path of letters")])
        .args([&protobuf.to_string(), &CHANGES.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || lines.next().expect("the client says what it counted").expect("text");
    let start: Cost = serde_json::from_str(&next()).expect("costs");
    let requests = Resource::ALL.into_iter().map(|resource| server.requests(resource)).sum();
    let connections = server.open_connections();
    for n in 0..CHANGES {
        server.apply(objects::slice(n % size.services, size.endpoints - 1, managed));
    }
    child.stdin.take().expect("its input").write_all(b"\n").expect("it reads");
    let changes: Cost = serde_json::from_str(&next()).expect("costs");
    assert!(child.wait().expect("it ends").success());
    Measured { name, requests, connections, start, changes }
}

/// The measurement of a variant whose processor time, of the start and of the changes, is in the middle.
fn median(mut of_one: Vec<&Measured>) -> Measured {
    of_one.sort_by_key(|measured| measured.changes.processor);
    let changes = of_one[of_one.len() / 2].changes;
    of_one.sort_by_key(|measured| measured.start.processor);
    Measured { changes, ..*of_one[of_one.len() / 2] }
}

fn report(size: Size, what: &str, measured: &[Measured; 4], decoding: &str) -> String {
    let titles = head(&[
        &format!("{size}, {what}"),
        "connections",
        "requests",
        "start: received",
        "allocations",
        "processor time",
        &format!("{} changes: received", thousands(CHANGES)),
        "allocations",
        "processor time",
    ]);
    let cost = |cost: &Cost| {
        [bytes(cost.bytes as f64), thousands(cost.allocations), format!("{:.0} ms", milliseconds(cost.processor))]
    };
    let rows = measured.iter().map(|row| {
        let mut cells = vec![row.name.to_owned(), row.connections.to_string(), row.requests.to_string()];
        cells.extend(cost(&row.start));
        cells.extend(cost(&row.changes));
        cells
    });
    let mut text = table(&titles, &rows.collect::<Vec<_>>());
    for (json, protobuf) in [(&measured[0], &measured[2]), (&measured[1], &measured[3])] {
        let received = protobuf.start.bytes as f64 / json.start.bytes as f64;
        let processor = protobuf.start.processor.as_secs_f64() / json.start.processor.as_secs_f64();
        text += &format!(
            "\n- {} beside {}: {}, {}.",
            protobuf.name,
            json.name,
            part(received, "bytes", GOALS.0),
            part(processor, "processor time", GOALS.1),
        );
    }
    text + "\n" + decoding + "\n\n" + &fleet(&measured[0], &measured[3])
}

/// How much of what JSON costs protobuf costs, and whether that is little enough.
fn part(ratio: f64, of: &str, goal: f64) -> String {
    let verdict = if ratio <= goal { "met" } else { "missed" };
    format!("{ratio:.2} of the {of} (goal {goal:.2}: {verdict})")
}

/// What a fleet costs the API server, by what one node costs: as many times as much.
fn fleet(before: &Measured, now: &Measured) -> String {
    let nodes = NODES as f64;
    let all = |row: &Measured| {
        let one_change = row.changes.bytes as f64 / f64::from(CHANGES);
        format!(
            "{} connections, {} for a start of all nodes, {} for a change to one slice",
            thousands(NODES * row.connections as u64),
            bytes(row.start.bytes as f64 * nodes),
            bytes(one_change * nodes),
        )
    };
    let (before, now) = ((before.name, all(before)), (now.name, all(now)));
    format!("{} nodes: {} ({}); {} ({}).\n\n", thousands(NODES), before.1, before.0, now.1, now.0)
}
