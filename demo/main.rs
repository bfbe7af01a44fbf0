//! Shows Pointsman at work: programs a scratch node with the Services of `examples/` and asks each of them for real.
//!
//! ```text
//! cargo run --example demo
//! ```
//!
//! As root it makes a node of network namespaces, starts a server on every endpoint address, runs the proxy once and sends
//! requests from a client outside, over both families. It ends with an error when an answer is not what the manifests promise.
//! Without root it ends with the plan.

#![allow(clippy::disallowed_types, reason = "the duration that people see is real time")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its purpose is to show something")]

mod promise;
mod report;

#[path = "../tests/common/netns/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
mod netns;
#[path = "../tests/common/statistics.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod statistics;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use netns::{Node, Request, requirements};
use promise::{Outcome, Promise, Protocol};
use report::Row;

/// Requests to each endpoint, on average.
const REQUESTS: usize = 60;

/// How long to wait for an answer that must not come.
const DROPPED: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("\nThe node does not do what the manifests promise: see above.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was as promised.
fn run() -> Result<bool, Box<dyn Error>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let manifests = examples.to_str().ok_or("the checkout has a path that is not text")?;
    let proxy = proxy_beside_this_program()?;

    report::step("What would be programmed into an empty kernel (changes nothing)");
    report::command("pointsman --manifests examples/ --dry-run --against empty --hostname-override node-a");
    let mut plan = Command::new(&proxy);
    plan.args(["--manifests", manifests, "--dry-run", "--against", "empty"]);
    let status = plan.args(["--hostname-override", netns::NODE_NAME]).status()?;
    if status.code() != Some(1) {
        return Err(format!("differences to an empty kernel should exit with 1, not with {status}").into());
    }
    let nft = match requirements::check() {
        Ok(nft) => nft,
        Err(reason) => {
            println!(
                "\nThat is all that can be shown here: {reason}.\nAs root, the Services would now be programmed and asked."
            );
            return Ok(true);
        }
    };

    let promises = promise::read(&examples, netns::NODE_NAME)?;
    let node = Node::new(&proxy, nft);
    let endpoints = promise::every_endpoint(&examples)?;
    for endpoint in &endpoints {
        node.serve(*endpoint);
    }

    report::step(&format!("A node of network namespaces, {} servers, one sync", endpoints.len()));
    report::command("pointsman --manifests examples/ --once --hostname-override node-a");
    let start = Instant::now();
    let sync = node.pointsman(&["--manifests", manifests, "--once"]);
    if sync.code != Some(0) {
        return Err(format!("the sync failed:\n{}", sync.stderr).into());
    }
    println!("done in {:.0} ms, process start included", start.elapsed().as_secs_f64() * 1e3);

    report::step("Real requests from a client outside of the cluster");
    let rows: Vec<Row> = promises.into_iter().map(|promise| ask(&node, promise)).collect();
    report::table(&rows);

    report::step("Once more: the kernel holds what the manifests say");
    report::command("pointsman --manifests examples/ --dry-run --hostname-override node-a");
    let again = node.pointsman(&["--manifests", manifests, "--dry-run"]);
    print!("{}", again.stdout);
    println!("exit code {}", again.code.unwrap_or(-1));

    Ok(again.code == Some(0) && rows.iter().all(Row::is_kept))
}

/// Puts a promise to the test.
fn ask(node: &Node, promise: Promise) -> Row {
    let transport = match promise.protocol {
        Protocol::Tcp => netns::Transport::Tcp,
        Protocol::Udp => netns::Transport::Udp,
        Protocol::Sctp => {
            // Not every kernel has SCTP sockets: the elements stand for the packets.
            let family = if promise.frontend.is_ipv4() { "ip" } else { "ip6" };
            let elements = node.nft(&["list", "map", family, "pointsman", "endpoints"]);
            return Row::listed(promise, &elements);
        }
    };
    let (times, patience) = match &promise.outcome {
        Outcome::Answered(endpoints) => (REQUESTS * endpoints.len(), Duration::from_secs(5)),
        Outcome::Refused => (20, Duration::from_secs(5)),
        Outcome::Dropped => (2, DROPPED),
    };
    let answers = Request::new(&node.client, transport, promise.frontend).timeout(patience).send_many(times);
    Row::asked(promise, answers)
}

/// The proxy that was built together with this program.
fn proxy_beside_this_program() -> Result<PathBuf, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).ok_or("this program is not where cargo puts it")?;
    let proxy = profile.join("pointsman");
    if proxy.is_file() {
        Ok(proxy)
    } else {
        Err(format!("build the proxy first: there is no {}", proxy.display()).into())
    }
}
