//! The metrics of the process that every Prometheus client has, read from `/proc` at each scrape.

use std::fmt::Write;
use std::fs;

use super::{Metric, MetricType};

/// Clock ticks in a second, as `/proc` counts them: `USER_HZ`, which is 100 on every architecture that we build for.
const TICKS: f64 = 100.0;

const CPU: &str = "process_cpu_seconds_total";
const RESIDENT: &str = "process_resident_memory_bytes";
const VIRTUAL: &str = "process_virtual_memory_bytes";
const VIRTUAL_MAX: &str = "process_virtual_memory_max_bytes";
const START: &str = "process_start_time_seconds";
const OPEN_FDS: &str = "process_open_fds";
const MAX_FDS: &str = "process_max_fds";

/// The metrics of the process.
#[rustfmt::skip]
pub const ALL: [Metric; 7] = [
    Metric { name: CPU, kind: MetricType::Counter, labels: "", help: "Processor time used, in seconds." },
    Metric { name: RESIDENT, kind: MetricType::Gauge, labels: "", help: "Resident memory, in bytes." },
    Metric { name: VIRTUAL, kind: MetricType::Gauge, labels: "", help: "Virtual memory, in bytes." },
    Metric { name: VIRTUAL_MAX, kind: MetricType::Gauge, labels: "", help: "Most virtual memory that the process may have, in bytes." },
    Metric { name: START, kind: MetricType::Gauge, labels: "", help: "Unix time at which the process started, in seconds." },
    Metric { name: OPEN_FDS, kind: MetricType::Gauge, labels: "", help: "Open file descriptors." },
    Metric { name: MAX_FDS, kind: MetricType::Gauge, labels: "", help: "Most file descriptors that the process may have open." },
];

/// The metrics in Prometheus' text format, without those that cannot be read. Blocks.
pub fn render() -> String {
    let [stat, status, limits, system] =
        ["/proc/self/stat", "/proc/self/status", "/proc/self/limits", "/proc/stat"].map(read);
    let open = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let (cpu, started) = times(&stat).unzip();
    let boot = field(&system, "btime").and_then(|seconds| seconds.parse::<f64>().ok());
    let values = [
        (CPU, cpu),
        (RESIDENT, kibibytes(&status, "VmRSS:")),
        (VIRTUAL, kibibytes(&status, "VmSize:")),
        (VIRTUAL_MAX, limit(&limits, "Max address space")),
        (START, boot.zip(started).map(|(boot, started)| boot + started)),
        // Without the descriptor that lists them.
        (OPEN_FDS, open.map(|count| f64::from(u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX)))),
        (MAX_FDS, limit(&limits, "Max open files")),
    ];
    let mut page = String::new();
    for (name, value) in values {
        if let (Some(value), Some(metric)) = (value, ALL.iter().find(|metric| metric.name == name)) {
            // Writing to a String cannot fail.
            let _ = write!(page, "{}{name} {value}\n\n", metric.header());
        }
    }
    page
}

/// A file of `/proc`; empty if it cannot be read, for instance because `/proc` is not mounted.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Processor time used, and the start since the boot, in seconds: fields 14, 15 and 22 of `/proc/self/stat` (proc(5)).
fn times(stat: &str) -> Option<(f64, f64)> {
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let field = |n: usize| rest.split(' ').nth(n - 3)?.parse::<f64>().ok();
    Some(((field(14)? + field(15)?) / TICKS, field(22)? / TICKS))
}

/// The rest of the line that begins with this word.
fn field<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(word)).map(str::trim)
}

fn kibibytes(status: &str, word: &str) -> Option<f64> {
    field(status, word)?.strip_suffix(" kB")?.parse::<f64>().ok().map(|size| size * 1024.0)
}

/// The soft limit; `None` if it is `unlimited`.
fn limit(limits: &str, name: &str) -> Option<f64> {
    field(limits, name)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value that the page shows.
    fn value(name: &str) -> Option<f64> {
        render().lines().find_map(|line| line.strip_prefix(&format!("{name} "))).and_then(|value| value.parse().ok())
    }

    #[test]
    fn this_process_is_described_as_it_is() {
        let now = jiff::Timestamp::now().as_second();
        let (Some(start), Some(resident), Some(open)) = (value(START), value(RESIDENT), value(OPEN_FDS)) else {
            panic!("{}", render());
        };
        assert!(start > 1e9 && start <= now as f64 + 1.0, "{start}");
        assert!(resident > 1e6 && value(VIRTUAL).is_some_and(|size| size >= resident), "{resident}");
        let more = [(); 10].map(|()| fs::File::open("/proc/self/stat").unwrap());
        assert!(value(OPEN_FDS).is_some_and(|count| count >= open + 1.0), "{} more", more.len());
        assert!(value(MAX_FDS).is_some_and(|most| most >= open));
        assert!(value(CPU).is_some_and(|seconds| seconds >= 0.0));
    }

    #[test]
    fn a_program_of_any_name_is_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 4 0 1234 99 9";
        assert_eq!(times(stat), Some((2.0, 12.34)));
        assert_eq!(times("nonsense"), None);
    }

    #[test]
    fn an_unlimited_limit_is_not_shown() {
        let limits = "Max address space         unlimited            unlimited            bytes\n\
                      Max open files            1024                 4096                 files\n";
        assert_eq!((limit(limits, "Max address space"), limit(limits, "Max open files")), (None, Some(1024.0)));
    }
}
