//! The real program, following manifests on the real kernel.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::common::cluster::{self, NODE, Size};
use crate::common::machine::{cpu_of, memory_of};
use crate::common::namespace::Namespace;
use crate::common::nft;
use crate::options::Options;
use crate::results::Whole;

/// How often one endpoint is changed, so that the memory is that of a process at work.
const CHANGES: u32 = 20;
/// How long to wait for any one commit.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often the restarted process is looked at.
const GLANCE: Duration = Duration::from_millis(2);
/// No slice follows the one before later than this. The last one may be empty, and is not logged then.
const BETWEEN_SLICES: Duration = Duration::from_secs(3);

/// Starts the program on a folder of manifests, twice.
pub fn measure(folder: &Path, size: Size, options: &Options, progress: &ProgressBar) -> Whole {
    let namespace = Namespace::new("scale");
    progress.set_message("cold start");
    let started = Instant::now();
    let proxy = Proxy::start(&namespace, folder, options);
    let first = proxy.first_sync();
    let cold = first.ended - started;
    let cold_cpu_seconds = cpu_of(proxy.child.id()).expect("the proxy runs");
    progress.set_message("changes of a file");
    for n in 0..CHANGES {
        let pods = (0..size.endpoints).map(|e| (cluster::pod_ip(e), format!("node-{}", e % cluster::NODES)));
        let pods = pods.skip(1).chain([(cluster::later_ip(n), "node-1".to_owned())]);
        cluster::write(&folder.join(cluster::CHANGING), &[cluster::slice_of(&cluster::name(0), pods)]);
        proxy.next_commit();
    }
    let (rss_mib, peak_mib) = memory_of(proxy.child.id()).expect("the proxy runs");
    drop(proxy);
    progress.set_message("restart over filled tables");
    let restart = restart(&namespace, folder, options);
    cluster::write(&folder.join(cluster::CHANGING), &[cluster::slice(0, size.endpoints)]);
    Whole {
        operations: first.operations,
        bytes: first.bytes,
        cold_seconds: cold.as_secs_f64(),
        cold_cpu_seconds,
        cold_sync_seconds: first.milliseconds / 1e3,
        rss_mib,
        peak_mib,
        restart_seconds: restart.0.as_secs_f64(),
        restart_cpu_seconds: restart.1,
        restart_peak_mib: restart.2,
    }
}

/// A process that finds everything as it should be: how long it takes, its processor time and its peak of memory.
fn restart(namespace: &Namespace, folder: &Path, options: &Options) -> (Duration, f64, f64) {
    let started = Instant::now();
    let mut once = command(namespace, folder, options).arg("--once").stderr(Stdio::piped()).spawn().expect("ip runs");
    let mut log = BufReader::new(once.stderr.take().expect("piped"));
    let log = std::thread::spawn(move || std::io::read_to_string(&mut log).unwrap_or_default());
    let (mut cpu, mut peak) = (0.0, 0.0);
    let ended = loop {
        // What it used is not known any more when it has ended.
        cpu = cpu_of(once.id()).unwrap_or(cpu);
        peak = memory_of(once.id()).map_or(peak, |(_, peak)| peak);
        match once.try_wait().expect("it can be waited for") {
            Some(status) => break status,
            None => std::thread::sleep(GLANCE),
        }
    };
    let time = started.elapsed();
    let log = log.join().expect("the log is read");
    assert!(ended.success(), "{log}");
    assert!(!log.contains("committed"), "a restart has nothing to commit: {log}");
    (time, cpu, peak)
}

fn command(namespace: &Namespace, manifests: &Path, options: &Options) -> Command {
    let mut command = namespace.command(env!("CARGO_BIN_EXE_pointsman"));
    command.args(["--log-format", "json", "--hostname-override", NODE, "--metrics-bind-address", ""]);
    command.args(["--healthz-bind-address", "", "--backend", &options.backend]);
    command.arg("--nft").arg(nft()).arg("--manifests").arg(manifests);
    command
}

/// The running program and its commits, as it logs them.
struct Proxy {
    child: Child,
    commits: mpsc::Receiver<(Instant, Value)>,
}

/// All slices of the first sync.
struct FirstSync {
    ended: Instant,
    operations: u64,
    bytes: u64,
    milliseconds: f64,
}

impl Proxy {
    fn start(namespace: &Namespace, manifests: &Path, options: &Options) -> Self {
        let mut command = command(namespace, manifests, options);
        let mut child = command.arg("--watch").stderr(Stdio::piped()).spawn().expect("ip runs");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, commits) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let entry: Value = serde_json::from_str(&line).unwrap_or_else(|_| json!({"message": line}));
                if entry["message"] == "committed" && sender.send((Instant::now(), entry)).is_err() {
                    return;
                }
            }
        });
        Self { child, commits }
    }

    fn next_commit(&self) {
        self.commits.recv_timeout(PATIENCE).expect("a commit");
    }

    fn first_sync(&self) -> FirstSync {
        let mut sync = FirstSync { ended: Instant::now(), operations: 0, bytes: 0, milliseconds: 0.0 };
        let mut patience = PATIENCE;
        while let Ok((at, slice)) = self.commits.recv_timeout(patience) {
            sync.ended = at;
            sync.operations += slice["operations"].as_u64().expect("a number");
            sync.bytes += slice["bytes"].as_u64().expect("a number");
            sync.milliseconds += slice["milliseconds"].as_f64().expect("a number");
            if slice["rest_waits"] != true {
                break;
            }
            patience = BETWEEN_SLICES;
        }
        assert!(sync.operations > 0, "the first sync commits something");
        sync
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
