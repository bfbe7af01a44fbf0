//! The machine and the versions that figures belong to, and what a process used.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Where and with what something was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub cpu: String,
    /// How many threads run at once.
    pub threads: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The nft's version.
    pub nft: String,
    /// The version of this program.
    pub pointsman: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| -> String {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let nft = Command::new(super::nft()).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        let nft = String::from_utf8_lossy(&nft).split_whitespace().nth(1).unwrap_or("unknown").to_owned();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            nft: nft.trim_start_matches('v').to_owned(),
            pointsman: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, threads, memory_mib, kernel, nft, pointsman } = self;
        let memory = memory_mib.div_ceil(1024);
        // What distributions add to the version is in the file.
        let kernel = kernel.split('-').next().unwrap_or_default();
        write!(f, "{cpu}, {threads} threads, {memory} GiB, Linux {kernel}, nft {nft}, pointsman {pointsman}")
    }
}

/// Processor time of this process without that of the thread that asks.
pub fn cpu_of_the_others() -> Duration {
    cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(cpu_of_this_thread())
}

/// Processor time of the thread that asks, in the kernel too.
pub fn cpu_of_this_thread() -> Duration {
    cpu(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn cpu(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// Resident memory of a process and its peak, in MiB; `None` when it has ended.
pub fn memory_of(pid: u32) -> Option<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mib = |field: &str| -> Option<f64> {
        let line = status.lines().find(|line| line.starts_with(field))?;
        Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
    };
    Some((mib("VmRSS")?, mib("VmHWM")?))
}

/// Processor time of a process in seconds; `None` when it is gone.
pub fn cpu_of(pid: u32) -> Option<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    clock_gettime(clock).map(|time| Duration::from(time).as_secs_f64()).ok()
}
