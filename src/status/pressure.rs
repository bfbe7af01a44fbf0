//! How full the table of connection tracking is, and when it will be full.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pacing::{Moment, Reminder};

/// From this share on, in percent, a table counts as nearly full.
const NEARLY_FULL_PERCENT: u64 = 80;
/// A table that is full within this time at its rate counts as nearly full too, if it is half full already.
const SOON: Duration = Duration::from_secs(600);
/// The least time between two samples that tell a rate.
const MIN_RATE_TIME: Duration = Duration::from_secs(10);
/// How often a warning that holds on is repeated.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// Numbers of the kernel at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSample {
    /// Entries in the table.
    pub used: u64,
    /// How many it may have.
    pub limit: u64,
    /// Entries that could not be inserted, since the boot. Two packets at once can cause one; many are a sign of clashing source ports.
    pub insert_failed: u64,
    /// Packets that were dropped because the table was full, since the boot.
    pub dropped: u64,
    /// Entries that were dropped early to make room, since the boot.
    pub early_dropped: u64,
}

/// What the samples say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PressureReport {
    /// Entries in the table.
    pub used: u64,
    /// How many it may have.
    pub limit: u64,
    /// By how many entries it grows in a second; below zero if it shrinks.
    pub per_second: f64,
    /// In how many seconds it is full at this rate; `None` if it does not grow.
    pub seconds_to_full: Option<u64>,
    /// Entries that could not be inserted since the boot.
    pub insert_failed: u64,
    /// Packets that were dropped because the table was full, since the boot.
    pub dropped: u64,
    /// Entries that were dropped early to make room, since the boot.
    pub early_dropped: u64,
}

/// Follows the samples.
#[derive(Debug)]
pub struct Pressure {
    /// The sample that the rate is counted from, and the newest one.
    base: Option<(FlowSample, Moment)>,
    newest: Option<FlowSample>,
    per_second: f64,
    reminder: Reminder,
}

impl Default for Pressure {
    fn default() -> Self {
        Self { base: None, newest: None, per_second: 0.0, reminder: Reminder::new(WARN_EVERY) }
    }
}

impl Pressure {
    /// Takes a sample. Returns a warning if there is reason for one and it was not given lately.
    pub fn sample(&mut self, sample: FlowSample, now: Moment) -> Option<String> {
        let lost = self.newest.map_or(0, |last| sample.dropped.saturating_sub(last.dropped));
        self.newest = Some(sample);
        match self.base {
            None => self.base = Some((sample, now)),
            Some((base, at)) if now.since(at) >= MIN_RATE_TIME => {
                #[expect(clippy::cast_precision_loss, reason = "no table has 2^52 entries")]
                let grown = sample.used as f64 - base.used as f64;
                self.per_second = grown / now.since(at).as_secs_f64();
                self.base = Some((sample, now));
            }
            Some(_) => {}
        }
        let report = self.report()?;
        let is_filling = report.seconds_to_full.is_some_and(|seconds| seconds <= SOON.as_secs());
        let percent = report.used.saturating_mul(100) / report.limit.max(1);
        if lost == 0 && percent < NEARLY_FULL_PERCENT && !(is_filling && percent >= 50) {
            self.reminder.reset();
            return None;
        }
        self.reminder.is_due(now).then(|| report.warning(lost))
    }

    /// What is known; `None` before the first sample, or if the table has no limit.
    pub fn report(&self) -> Option<PressureReport> {
        let FlowSample { used, limit, insert_failed, dropped, early_dropped } =
            self.newest.filter(|it| it.limit > 0)?;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of seconds above zero; more than 2^52 is for ever"
        )]
        let seconds_to_full =
            (self.per_second > 0.0).then(|| (limit.saturating_sub(used) as f64 / self.per_second) as u64);
        let per_second = self.per_second;
        Some(PressureReport { used, limit, per_second, seconds_to_full, insert_failed, dropped, early_dropped })
    }
}

impl PressureReport {
    /// The table in a few words.
    pub fn summary(&self) -> String {
        let percent = self.used.saturating_mul(100) / self.limit.max(1);
        let mut text = format!("{} of {} entries ({percent} %)", self.used, self.limit);
        if let Some(seconds) = self.seconds_to_full.filter(|seconds| *seconds < 24 * 3_600) {
            text.push_str(&format!(", full in about {} min at this rate", seconds.div_ceil(60)));
        }
        text
    }

    fn warning(&self, lost: u64) -> String {
        let lost = if lost > 0 { format!("; {lost} packets were dropped since the last look") } else { String::new() };
        format!(
            "connection tracking has {}{lost}. When it is full, new connections are dropped, to Services and all others. Raise the limit: \
             conntrack.maxPerCore or conntrack.min in the configuration (sysctl net.netfilter.nf_conntrack_max, now {}; try {}), or find \
             who opens so many connections: conntrack -L",
            self.summary(),
            self.limit,
            self.limit.saturating_mul(2)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    fn used(used: u64) -> FlowSample {
        FlowSample { used, limit: 262_144, ..FlowSample::default() }
    }

    #[test]
    fn the_rate_and_the_time_to_full_follow_from_samples_that_are_ten_seconds_apart() {
        let mut pressure = Pressure::default();
        assert_eq!(pressure.report(), None);
        assert_eq!(pressure.sample(used(100_000), at(0)), None);
        assert_eq!(pressure.report().unwrap().seconds_to_full, None);
        pressure.sample(used(100_500), at(5));
        assert_eq!(pressure.report().unwrap().seconds_to_full, None, "too soon to tell");
        pressure.sample(used(106_000), at(60));
        let report = pressure.report().unwrap();
        assert!((report.per_second - 100.0).abs() < 1e-9, "{report:?}");
        assert_eq!(report.seconds_to_full, Some(1_561));
        assert_eq!(report.summary(), "106000 of 262144 entries (40 %), full in about 27 min at this rate");
        pressure.sample(used(90_000), at(120));
        assert_eq!(pressure.report().unwrap().seconds_to_full, None, "it shrinks");
    }

    #[test]
    fn a_table_that_is_nearly_full_fills_soon_or_drops_is_warned_of_and_again_after_ten_minutes() {
        let mut pressure = Pressure::default();
        assert_eq!(pressure.sample(used(200_000), at(0)), None);
        let warning = pressure.sample(used(217_000), at(20)).expect("a warning");
        assert!(warning.contains("217000 of 262144 entries (82 %), full in about 1 min"), "{warning}");
        assert!(warning.contains("nf_conntrack_max, now 262144; try 524288"), "{warning}");
        assert_eq!(pressure.sample(used(217_000), at(40)), None, "said");
        assert!(pressure.sample(used(217_000), at(640)).is_some());
        // Half full, and full within ten minutes.
        let mut pressure = Pressure::default();
        pressure.sample(used(120_000), at(0));
        assert!(pressure.sample(used(140_000), at(60)).is_some());
        let mut pressure = Pressure::default();
        pressure.sample(used(10), at(0));
        let lossy = FlowSample { dropped: 7, ..used(10) };
        assert!(pressure.sample(lossy, at(60)).is_some_and(|warning| warning.contains("7 packets were dropped")));
    }

    #[test]
    fn a_table_without_a_limit_is_not_judged() {
        let mut pressure = Pressure::default();
        assert_eq!(pressure.sample(FlowSample { used: 10, ..FlowSample::default() }, at(0)), None);
        assert_eq!(pressure.report(), None);
    }
}
