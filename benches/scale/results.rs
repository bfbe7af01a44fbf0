//! What was measured, as it is written to scale.json.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::common::cluster::Size;
use crate::common::figures::Spread;
use crate::common::machine::Machine;

/// Everything, with the machine and the versions that it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Where and with what it was measured.
    pub machine: Machine,
    /// By size, in order.
    pub sizes: Vec<OfSize>,
}

/// One size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfSize {
    /// The size.
    pub size: Size,
    /// The real program.
    pub whole: Whole,
    /// The loop in this program.
    pub in_process: InProcess,
}

/// The real program, following manifests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Whole {
    /// Operations of the first commit: nearly all are elements.
    pub operations: u64,
    /// Bytes of the first commit.
    pub bytes: u64,
    /// From the start of the process to the first acknowledged commit, reading manifests and self-test included.
    pub cold_seconds: f64,
    /// Processor time of the process until then.
    pub cold_cpu_seconds: f64,
    /// The part of it that diff and commit take.
    pub cold_sync_seconds: f64,
    /// Resident memory once the cold sync and some changes are done.
    pub rss_mib: f64,
    /// The most until then.
    pub peak_mib: f64,
    /// A second process over the filled tables, from its start to the end of `--once`.
    pub restart_seconds: f64,
    /// Processor time of that process.
    pub restart_cpu_seconds: f64,
    /// The most resident memory of that process.
    pub restart_peak_mib: f64,
}

/// The loop, the real kernel, and events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InProcess {
    /// One step after the other.
    pub stages: Stages,
    /// A new loop over the filled tables, all events in memory, from its start to the end of its first sync, in seconds.
    pub adopt_seconds: f64,
    /// Kinds of changes.
    pub scenarios: Vec<Scenario>,
    /// The sustained load, if there was one.
    pub load: Option<Load>,
}

/// How long each step of the pipeline takes, in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stages {
    /// Everything, from nothing.
    pub cold: Steps<f64>,
    /// One endpoint of one Service.
    pub change: Steps<Spread>,
    /// A batch without effect: what any commit takes.
    pub empty: Spread,
}

/// The steps.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Steps<T> {
    /// Events to the next snapshot of the cluster.
    pub fold: T,
    /// That to what is desired.
    pub compile: T,
    /// That to a plan.
    pub diff: T,
    /// The plan to the kernel's acknowledgement, encoding included.
    pub commit: T,
    /// Encoding alone, as netlink messages.
    pub encode: T,
}

impl Steps<f64> {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.fold + self.compile + self.diff + self.commit
    }
}

/// One kind of change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// What happens.
    pub name: String,
    /// Events of one run.
    pub events: usize,
    /// Operations of one run (median).
    pub operations: f64,
    /// Bytes of one run (median).
    pub bytes: f64,
    /// Commits of one run (median).
    pub commits: f64,
    /// From sending the first event to the acknowledgement of the last operation, in milliseconds.
    pub time: Spread,
    /// The part of it that was spent in commits.
    pub committing: Spread,
    /// Processor time of a run, in milliseconds (mean).
    pub cpu: f64,
}

/// A load that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Changed endpoints a second.
    pub rate: u32,
    /// For so long.
    pub seconds: u32,
    /// How many were sent.
    pub sent: usize,
    /// How many of them the kernel acknowledged.
    pub programmed: usize,
    /// In so many commits.
    pub commits: usize,
    /// From sending to acknowledgement, in milliseconds.
    pub lag: Spread,
    /// The longest.
    pub longest: f64,
    /// Processor time, as a share of one processor.
    pub cpu: f64,
    /// Whether the kernel, read afterwards, held exactly what was asked for; `None` if it was not read.
    pub verified: Option<bool>,
}

/// The file.
const FILE: &str = "scale.json";

impl Results {
    /// None yet.
    pub fn new(machine: Machine) -> Self {
        Self { machine, sizes: Vec::new() }
    }

    /// Those of a folder.
    pub fn read(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: measure first", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Writes them to a folder.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("the folder can be made");
        let text = serde_json::to_string_pretty(self).expect("figures");
        fs::write(folder.join(FILE), text + "\n").expect("the folder is writable");
    }

    /// Adds or replaces those of a size.
    pub fn put(&mut self, of: OfSize) {
        self.sizes.retain(|other| other.size != of.size);
        self.sizes.push(of);
        self.sizes.sort_by_key(|of| of.size);
    }
}
