//! Watching over the kernel's table of connections: how full it is, and when it will be full.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::{counter, gauge};

use super::StatusBoard;
use crate::clock;
use crate::metrics::{
    CONNTRACK_DROPS, CONNTRACK_EARLY_DROPS, CONNTRACK_ENTRIES, CONNTRACK_FILLS_IN, CONNTRACK_INSERT_FAILURES,
    CONNTRACK_LIMIT,
};
use crate::status::{FlowSample, Pressure};

/// The time from one sample to the next.
const PERIOD: Duration = Duration::from_secs(60);

/// Reads the numbers of connection tracking from `/proc`.
#[derive(Clone, Debug)]
pub struct FlowCounters {
    proc: PathBuf,
}

impl FlowCounters {
    /// Those of this network namespace.
    pub fn of_this_namespace() -> Self {
        Self::at(Path::new("/proc"))
    }

    /// Those in another folder.
    pub fn at(proc: &Path) -> Self {
        Self { proc: proc.to_owned() }
    }

    /// The numbers now.
    ///
    /// # Errors
    ///
    /// If connection tracking is not loaded, or the files are not as expected.
    pub fn read(&self) -> Result<FlowSample> {
        let number = |name: &str| -> Result<u64> {
            let text = std::fs::read_to_string(self.proc.join("sys/net/netfilter").join(name))?;
            text.trim().parse().map_err(|_| Error::from(ErrorKind::InvalidData))
        };
        let (used, limit) = (number("nf_conntrack_count")?, number("nf_conntrack_max")?);
        // One line for each processor, in hexadecimal. Some kernels do not have the file.
        let statistics = std::fs::read_to_string(self.proc.join("net/stat/nf_conntrack")).unwrap_or_default();
        let mut lines = statistics.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split_whitespace().collect()).collect();
        let sum = |name: &str| -> u64 {
            let Some(column) = names.iter().position(|known| *known == name) else { return 0 };
            let values = rows.iter().filter_map(|row| u64::from_str_radix(row.get(column)?, 16).ok());
            values.sum()
        };
        let (insert_failed, dropped, early_dropped) = (sum("insert_failed"), sum("drop"), sum("early_drop"));
        Ok(FlowSample { used, limit, insert_failed, dropped, early_dropped })
    }
}

/// Takes samples for ever: shows them, and warns before the table is full.
pub async fn watch_flows(counters: FlowCounters, board: StatusBoard) {
    let mut pressure = Pressure::default();
    loop {
        match counters.read() {
            Ok(sample) => {
                if let Some(warning) = pressure.sample(sample, clock::now()) {
                    tracing::warn!("{warning}");
                }
                show(&sample, &pressure);
                board.flows(pressure.report());
            }
            Err(error) => tracing::debug!(%error, "the numbers of connection tracking cannot be read"),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "no table has 2^52 entries")]
fn show(sample: &FlowSample, pressure: &Pressure) {
    gauge!(CONNTRACK_ENTRIES).set(sample.used as f64);
    gauge!(CONNTRACK_LIMIT).set(sample.limit as f64);
    let seconds = pressure.report().and_then(|report| report.seconds_to_full);
    gauge!(CONNTRACK_FILLS_IN).set(seconds.map_or(f64::INFINITY, |seconds| seconds as f64));
    counter!(CONNTRACK_INSERT_FAILURES).absolute(sample.insert_failed);
    counter!(CONNTRACK_DROPS).absolute(sample.dropped);
    counter!(CONNTRACK_EARLY_DROPS).absolute(sample.early_dropped);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_read_and_summed_over_processors() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        let counters = FlowCounters::at(folder.path());
        assert!(counters.read().is_err(), "connection tracking is not loaded");
        write("sys/net/netfilter/nf_conntrack_count", "217000\n");
        write("sys/net/netfilter/nf_conntrack_max", "262144\n");
        let mut expected = FlowSample { used: 217_000, limit: 262_144, ..FlowSample::default() };
        assert_eq!(counters.read().unwrap(), expected);
        write(
            "net/stat/nf_conntrack",
            "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error\n\
             00034fa8  00000000 00000000 00000000 00000011 00000000 00000000 00000000 00000000 0000000a 00000001 00000000 00000000\n\
             00034fa8  00000000 00000000 00000000 00000011 00000000 00000000 00000000 00000000 00000006 00000001 00000002 00000000\n",
        );
        (expected.insert_failed, expected.dropped, expected.early_dropped) = (16, 2, 2);
        assert_eq!(counters.read().unwrap(), expected);
    }
}
