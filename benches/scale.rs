//! The whole program at several sizes: cold sync, restart, one changed endpoint.
//!
//! For each size N the real binary follows manifests of N Services with 5 endpoints each, in a network namespace of its own, and
//! programs the real kernel. Needs root. Printed are
//!
//! - `cold`: from the start of the process to the first acknowledged commit, reading the manifests included;
//! - `commit`: the part of it that diff and commit take;
//! - `RSS`: the process's resident memory after that, and its peak;
//! - `restart`: a second process over the filled tables, from start to the end of `--once`;
//! - `change`: one endpoint replaced by another: element operations, and milliseconds of diff and commit (median, p99).
//!
//! ```text
//! [POINTSMAN_SCALE_BACKEND=netlink|nft] cargo bench --bench scale [-- SIZE…]        default sizes: 1000 10000 50000
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark may stop and may print")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// Endpoints of each Service.
const ENDPOINTS: usize = 5;
/// How often one endpoint is changed.
const CHANGES: usize = 100;
/// How long to wait for any one commit.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 50_000] } else { sizes };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|line| line.starts_with("model name")).unwrap_or("model name : unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let nft = Command::new(nft()).arg("--version").output().expect("nft runs");
    println!(
        "{}, {} threads, Linux {}, {}",
        model.split(": ").nth(1).unwrap_or("?"),
        std::thread::available_parallelism().map_or(1, usize::from),
        kernel.trim(),
        String::from_utf8_lossy(&nft.stdout).trim()
    );
    println!(
        "| Services x endpoints | elements | cold s | commit s | MB sent | RSS MiB (peak) | restart s | change: ops | ms p50 | ms p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for size in sizes {
        measure(size);
    }
}

fn measure(size: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    write_manifests(folder.path(), size);
    let namespace = Namespace::new();
    let started = Instant::now();
    let mut proxy = Proxy::start(&namespace, folder.path());
    let first = proxy.next_commit();
    let cold = started.elapsed();
    let (rss, peak) = proxy.memory();
    let mut times = Vec::new();
    let mut operations = Vec::new();
    for n in 0..CHANGES {
        write_changing(folder.path(), 250 - n % 2);
        let commit = proxy.next_commit();
        times.push(commit["milliseconds"].as_f64().unwrap());
        operations.push(commit["operations"].as_u64().unwrap());
    }
    times.sort_by(f64::total_cmp);
    operations.sort_unstable();
    drop(proxy);
    let started = Instant::now();
    let once = command(&namespace, folder.path()).arg("--once").output().expect("the proxy runs");
    let restart = started.elapsed();
    assert!(once.status.success(), "{}", String::from_utf8_lossy(&once.stderr));
    assert!(!String::from_utf8_lossy(&once.stderr).contains("committed"), "a restart has nothing to commit");
    println!(
        "| {size} x {ENDPOINTS} | {} | {:.2} | {:.2} | {:.1} | {rss:.0} ({peak:.0}) | {:.2} | {} to {} | {:.3} | {:.3} |",
        first["operations"],
        cold.as_secs_f64(),
        first["milliseconds"].as_f64().unwrap() / 1e3,
        first["bytes"].as_f64().unwrap() / 1e6,
        restart.as_secs_f64(),
        operations[0],
        operations[CHANGES - 1],
        times[CHANGES / 2],
        times[CHANGES * 99 / 100],
    );
}

fn nft() -> PathBuf {
    let unpacked = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/build/nft/nft"));
    match std::env::var_os("NFT") {
        Some(path) => path.into(),
        None if unpacked.exists() => unpacked,
        None => "nft".into(),
    }
}

fn command(namespace: &Namespace, manifests: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace.0, env!("CARGO_BIN_EXE_pointsman")]);
    command.args(["--log-format", "json", "--hostname-override", "node-a", "--metrics-bind-address", ""]);
    let backend = std::env::var("POINTSMAN_SCALE_BACKEND").unwrap_or_else(|_| "auto".to_owned());
    command
        .args(["--healthz-bind-address", "", "--backend", &backend])
        .arg("--nft")
        .arg(nft())
        .arg("--manifests")
        .arg(manifests);
    command
}

/// A network namespace, removed at the end.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let name = format!("pointsman-scale-{}", std::process::id());
        assert!(Command::new("ip").args(["netns", "add", &name]).status().expect("ip runs").success(), "needs root");
        Self(name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// The running proxy and its commits, as it logs them.
struct Proxy {
    child: Child,
    commits: mpsc::Receiver<Value>,
}

impl Proxy {
    fn start(namespace: &Namespace, manifests: &Path) -> Self {
        let mut child = command(namespace, manifests).arg("--watch").stderr(Stdio::piped()).spawn().expect("ip runs");
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, commits) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| json!({"message": line}));
                if entry["message"] == "committed" && sender.send(entry).is_err() {
                    return;
                }
            }
        });
        Self { child, commits }
    }

    fn next_commit(&mut self) -> Value {
        self.commits.recv_timeout(PATIENCE).expect("a commit")
    }

    /// Resident memory and its peak, in MiB.
    fn memory(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the proxy runs");
        let mib = |field: &str| -> f64 {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
        };
        (mib("VmRSS"), mib("VmHWM"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn service(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("service-{n:06}"), "namespace": "scale", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"clusterIP": format!("10.{}.{}.{}", 96 + n / 62_500, n / 250 % 250, n % 250 + 1),
                 "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

fn slice(n: usize, last_bytes: [usize; ENDPOINTS]) -> Value {
    let endpoints: Vec<Value> = last_bytes
        .iter()
        .map(|byte| {
            json!({
                "addresses": [format!("10.{}.{}.{byte}", 128 + n / 250 % 100, n % 250)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "node-b", "zone": "zone-1",
                "targetRef": {"kind": "Pod", "namespace": "scale", "name": format!("service-{n:06}-{byte}")},
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("service-{n:06}-1"), "namespace": "scale",
                     "labels": {"kubernetes.io/service-name": format!("service-{n:06}")}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    })
}

fn write(path: &Path, items: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let new = path.with_extension("new");
    fs::write(&new, list.to_string()).expect("the folder is writable");
    fs::rename(new, path).expect("the folder is writable");
}

/// All Services, and all slices but the first in files of 1,000.
fn write_manifests(folder: &Path, size: usize) {
    let numbers: Vec<usize> = (0..size).collect();
    for (file, chunk) in numbers.chunks(1_000).enumerate() {
        write(&folder.join(format!("services-{file}.json")), &chunk.iter().map(|n| service(*n)).collect::<Vec<_>>());
        let slices: Vec<Value> = chunk.iter().filter(|n| **n > 0).map(|n| slice(*n, [1, 2, 3, 4, 5])).collect();
        write(&folder.join(format!("slices-{file}.json")), &slices);
    }
    write_changing(folder, 5);
}

/// The slice of the first Service, with one endpoint that changes.
fn write_changing(folder: &Path, last: usize) {
    write(&folder.join("changing.json"), &[slice(0, [1, 2, 3, 4, last])]);
}
