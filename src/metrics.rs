//! Every metric: names, descriptions and recording. `docs/metrics.md` shows the same table; a test compares the two.
//!
//! Metrics that kube-proxy has keep its names, labels and buckets, so that dashboards and alerts go on working. Our own start
//! with `pointsman_`.

mod catalog;
mod metric;
mod pending;
pub(crate) mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::mem::discriminant;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};
use tokio::sync::Notify;

use crate::dataplane::{ElementChanges, ElementCounts, Family, Operation, SetName};
use crate::diff::Plan;
use crate::state::{Event, Exposure, Skipped, WithoutLocal};

pub use catalog::*;
pub use metric::{HistogramBuckets, Metric, MetricType};
pub(crate) use pending::{Arrival, Pending};

/// A recorder with the buckets of every histogram; it still has to be installed.
///
/// # Errors
///
/// None in practice: no histogram has an empty list of buckets.
pub fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        if let MetricType::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), &buckets.bounds())?;
        }
    }
    Ok(builder.build_recorder())
}

/// Describes every metric to the installed recorder.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            MetricType::Counter => describe_counter!(metric.name, metric.help),
            MetricType::Gauge => describe_gauge!(metric.name, metric.help),
            MetricType::Histogram(_) => describe_histogram!(metric.name, metric.help),
        }
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// The lines before the values of a metric that is read at each scrape, in Prometheus' text format.
pub(crate) fn header(name: &str) -> String {
    ALL.iter().find(|metric| metric.name == name).map(Metric::header).unwrap_or_default()
}

/// Counts documents of manifests that were left out, where there is no object to name.
pub fn count_manifest_problem(kind: &str, documents: usize) {
    counter!(SKIPPED, "kind" => kind.to_owned(), "reason" => "undecodable").increment(documents as u64);
}

/// Shows counters at 0 before their first event, so that a rate over them sees it.
pub fn start_at_zero(families: &[Family]) {
    for family in families {
        for name in [SYNC_FAILURES, CLEANUP_FAILURES] {
            counter!(name, "ip_family" => family.label()).absolute(0);
        }
    }
    for name in [HEALTHZ, LIVEZ] {
        for code in ["200", "503"] {
            counter!(name, "code" => code).absolute(0);
        }
    }
    for name in [ENDPOINT_CHANGES, SERVICE_CHANGES] {
        counter!(name).absolute(0);
    }
    for name in [ENDPOINT_CHANGES_PENDING, SERVICE_CHANGES_PENDING, DRIFTED] {
        gauge!(name).set(0.0);
    }
}

/// The table of `docs/metrics.md`.
pub fn table() -> String {
    let mut table = String::from("| Name | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help } in ALL.into_iter().chain(process::ALL) {
        let kind = match kind {
            MetricType::Counter => "counter".to_owned(),
            MetricType::Gauge => "gauge".to_owned(),
            MetricType::Histogram(buckets) => {
                let bounds = buckets.bounds();
                let (first, last) = (bounds.first().unwrap_or(&0.0), bounds.last().unwrap_or(&0.0));
                format!("histogram, {} buckets from {first} to {last}", bounds.len())
            }
        };
        // In Markdown angle brackets are HTML, and a browser would not show them.
        let help = help.replace('<', "\\<");
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {help} |");
    }
    table
}

/// Notified when a histogram may have got new values.
static RECORDED: Notify = Notify::const_new();

/// Notes that histograms got new values. These are kept one by one until a scrape or the upkeep counts them.
pub(crate) fn recorded() {
    RECORDED.notify_one();
}

/// Waits until histograms get new values. For one waiter.
pub(crate) async fn new_values() {
    RECORDED.notified().await;
}

/// Counts an event.
pub(crate) fn event(event: &Event) {
    counter!(EVENTS, "kind" => event.kind().label(), "change" => event.change()).increment(1);
}

/// Records the duration of a sync.
pub(crate) fn sync_duration<'a>(families: impl IntoIterator<Item = &'a Family>, full: bool, seconds: f64) {
    let by_extent = if full { FULL_SYNC_DURATION } else { PARTIAL_SYNC_DURATION };
    for family in families {
        for name in [SYNC_DURATION, by_extent] {
            histogram!(name, "ip_family" => family.label()).record(seconds);
        }
    }
}

/// Counts a part of an object that was left out.
pub(crate) fn skipped(skipped: &Skipped) {
    counter!(SKIPPED, "kind" => skipped.object.kind.label(), "reason" => skipped.problem.reason.label()).increment(1);
}

/// Shows how many service ports a policy leaves without an endpoint on this node.
pub(crate) fn without_local(families: &[Family], counts: &WithoutLocal) {
    for (policy, exposure) in [("internal", Exposure::Internal), ("external", Exposure::External)] {
        for family in families {
            let count = counts.count(exposure, *family);
            gauge!(WITHOUT_LOCAL, "traffic_policy" => policy, "ip_family" => family.label()).set(f64::from(count));
        }
    }
}

/// Records the size of a diff that is about to be committed.
pub(crate) fn plan(plan: &Plan) {
    let mut sizes: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let kind = |operation: &Operation| (operation.object.label(), operation.verb.nft());
    // One look-up for a run of operations of one kind, not for each: a first sync has hundreds of thousands.
    let is_same = |one: &Operation, next: &Operation| {
        one.verb == next.verb && discriminant(&one.object) == discriminant(&next.object)
    };
    let (mut rest, mut length) = (plan.operations.iter().peekable(), 0);
    while let Some(operation) = rest.next() {
        length += 1;
        if !rest.peek().is_some_and(|next| is_same(operation, next)) {
            *sizes.entry(kind(operation)).or_default() += std::mem::take(&mut length);
        }
    }
    for ((object, verb), size) in sizes {
        histogram!(OPERATIONS, "object" => object, "verb" => verb).record(f64::from(size));
    }
}

/// The number of elements in each set, shown as a gauge.
#[derive(Debug, Default)]
pub(crate) struct ShownCounts(ElementCounts);

impl ShownCounts {
    /// Starts again from counts that were read; sets that are empty now are shown with 0.
    pub(crate) fn restart(&mut self, counts: &BTreeMap<(Family, SetName), usize>) {
        self.0.restart(counts);
        self.0.sets().for_each(|(family, set)| self.show(family, set));
        // Also if the last of them is gone.
        Family::ALL.into_iter().for_each(|family| self.show_sources(family));
    }

    /// Follows an acknowledged batch.
    pub(crate) fn follow(&mut self, changes: &ElementChanges) {
        // Most batches change one set: nothing is collected for these.
        let (mut others, mut last) = (BTreeSet::new(), None);
        self.0.follow(changes, |family, set| {
            if let Some(before) = last.replace((family, set))
                && before != (family, set)
            {
                others.insert(before);
            }
        });
        for (family, set) in others {
            self.show(family, set);
        }
        if let Some((family, set)) = last {
            self.show(family, set);
        }
    }

    fn show(&self, family: Family, set: SetName) {
        match set.frontend() {
            None => Self::set(family, set.to_string(), self.0.get(family, set)),
            Some(_) => self.show_sources(family),
        }
    }

    /// Shows the sets of all frontends with source ranges as one, so that no Service adds a series.
    fn show_sources(&self, family: Family) {
        Self::set(family, "sources".to_owned(), self.0.of_frontends(family));
    }

    #[expect(clippy::cast_precision_loss, reason = "no set holds 2^52 elements")]
    fn set(family: Family, set: String, count: i64) {
        gauge!(ELEMENTS, "ip_family" => family.label(), "set" => set).set(count as f64);
    }
}

#[cfg(test)]
pub(crate) mod tests;
