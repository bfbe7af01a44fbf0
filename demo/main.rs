//! The demo: programs a scratch node with the Services of `examples/` and sends real requests to each of them.
//!
//! ```text
//! cargo run --example demo
//! ```
//!
//! As root it makes a node of network namespaces, starts a server on every endpoint address, runs the proxy once and sends
//! requests from a client outside, over both families. Then a proxy that keeps running explains packets, which are sent as well, repairs a
//! flushed ruleset and shows its status. It fails if an answer differs from what the manifests promise, or from what was explained. Without
//! root it stops after the plan.

#![allow(clippy::disallowed_types, reason = "the demo prints real time")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the demo prints its results")]

mod promise;
mod report;
mod seen;

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

/// The average number of requests to each endpoint.
const REQUESTS_PER_ENDPOINT: usize = 60;

/// How long to wait for an answer where there must be none.
const DROP_TIMEOUT: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!(
                "\nSome answers differ from what the manifests promise or from what was explained: see WRONG above."
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the demo. Returns whether every promise was kept.
fn run() -> Result<bool, Box<dyn Error>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let manifests = examples.to_str().ok_or("the path of the checkout is not UTF-8 text")?;
    let proxy = proxy_beside_this_program()?;

    report::step("The plan for an empty kernel (changes nothing)");
    report::command("pointsman --manifests examples/ --dry-run --against empty --hostname-override node-a");
    let mut plan = Command::new(&proxy);
    plan.args(["--manifests", manifests, "--dry-run", "--against", "empty"]);
    let status = plan.args(["--hostname-override", netns::NODE_NAME]).status()?;
    if status.code() != Some(1) {
        return Err(format!("the dry run should exit with 1, not with {status}").into());
    }
    let nft = match requirements::check() {
        Ok(nft) => nft,
        Err(reason) => {
            println!(
                "\nThe demo stops here: {reason}.\nAs root, it would now program the Services and send requests to them."
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

    report::step("Requests from a client outside of the cluster");
    let rows: Vec<Row> = promises.into_iter().map(|promise| ask(&node, promise)).collect();
    report::table(&rows);

    report::step("A dry run against the kernel: no differences");
    report::command("pointsman --manifests examples/ --dry-run --hostname-override node-a");
    let again = node.pointsman(&["--manifests", manifests, "--dry-run"]);
    print!("{}", again.stdout);
    println!("exit code {}", again.code.unwrap_or(-1));

    report::step("A proxy that keeps running explains packets; the same packets are sent");
    report::command("pointsman --manifests examples/ --watch --hostname-override node-a");
    let proxy = seen::follow(&node, manifests)?;
    let explained = seen::explanations(&node, manifests)?;

    report::step("Another program flushes the ruleset");
    // On a node where commits cannot be heard, the next comparison would find it.
    let is_named =
        std::env::var("POINTSMAN_TEST_BACKEND").is_ok_and(|backend| backend == "nft") || seen::drift(&node, &proxy)?;

    report::step("What the node says about itself");
    let synced = seen::status(&node);

    Ok(again.code == Some(0) && rows.iter().all(Row::is_kept) && explained && is_named && synced)
}

/// Puts a promise to the test.
fn ask(node: &Node, promise: Promise) -> Row {
    let transport = match promise.protocol {
        Protocol::Tcp => netns::Transport::Tcp,
        Protocol::Udp => netns::Transport::Udp,
        Protocol::Sctp => {
            // Not every kernel has SCTP sockets, so check the elements instead of sending packets.
            let family = if promise.frontend.is_ipv4() { "ip" } else { "ip6" };
            let elements = node.nft(&["list", "map", family, "pointsman", "endpoints"]);
            return Row::listed(promise, &elements);
        }
    };
    let (times, patience) = match &promise.outcome {
        Outcome::Answered(endpoints) => (REQUESTS_PER_ENDPOINT * endpoints.len(), Duration::from_secs(5)),
        Outcome::Refused => (20, Duration::from_secs(5)),
        Outcome::Dropped => (2, DROP_TIMEOUT),
    };
    let answers = Request::new(&node.client, transport, promise.frontend).timeout(patience).send_many(times);
    Row::asked(promise, answers)
}

/// The proxy that was built together with this program.
fn proxy_beside_this_program() -> Result<PathBuf, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let profile =
        own.parent().and_then(Path::parent).ok_or("cannot find cargo's target folder from this program's path")?;
    let proxy = profile.join("pointsman");
    if proxy.is_file() {
        Ok(proxy)
    } else {
        Err(format!("build the proxy first: there is no {}", proxy.display()).into())
    }
}
