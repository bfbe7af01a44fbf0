use std::collections::BTreeSet;

use super::*;
use crate::dataplane::ElementChanges;
use crate::fixtures::{World, name, service, slice};

/// The page of a scrape after this was recorded.
pub(crate) fn scrape(record: impl FnOnce()) -> String {
    let recorder = recorder().unwrap();
    ::metrics::with_local_recorder(&recorder, record);
    recorder.handle().render()
}

pub(crate) fn assert_shows(scrape: &str, line: &str) {
    assert!(scrape.lines().any(|shown| shown == line), "{line} is not in\n{scrape}");
}

#[test]
fn names_are_used_once_and_follow_the_conventions() {
    let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), ALL.len());
    for Metric { name, kind, help, labels } in ALL {
        assert!(["pointsman_", "kubeproxy_", "rest_client_"].iter().any(|prefix| name.starts_with(prefix)), "{name}");
        // kube-proxy has a gauge of such a name.
        let kept = name == WITHOUT_LOCAL;
        assert_eq!(name.ends_with("_total"), kind == MetricType::Counter || kept, "{name}");
        assert!(help.ends_with('.') && !help.contains('|') && !labels.contains('|'), "{name}");
    }
}

#[test]
fn every_metric_has_a_row_in_the_table() {
    let table = table();
    let mut rows = table.lines();
    assert_eq!((rows.next(), rows.next()), (Some("| Name | Type | Labels | Meaning |"), Some("|---|---|---|---|")));
    let row = "| `pointsman_syncs_total` | counter | result | Syncs by result: committed, unchanged (the diff was empty), failed. |";
    assert!(table.lines().any(|line| line == row), "{table}");
    let count = ALL.len() + process::ALL.len();
    assert_eq!(rows.filter(|row| row.starts_with("| `") && row.ends_with(". |")).count(), count);
    assert!(table.contains(" | histogram, 15 buckets from 0.001 to 16.384 | "), "{table}");
}

#[test]
fn buckets_double_or_quadruple_or_are_listed() {
    assert_eq!(HistogramBuckets::Doubling { first: 0.5, count: 4 }.bounds(), [0.5, 1.0, 2.0, 4.0]);
    assert_eq!(HistogramBuckets::Quadrupling { first: 1.0, count: 3 }.bounds(), [1.0, 4.0, 16.0]);
    assert_eq!(HistogramBuckets::Ranges(&[(0.25, 0.5, 0.25), (1.0, 3.0, 1.0)]).bounds(), [0.25, 0.5, 1.0, 2.0, 3.0]);
    assert_eq!(HistogramBuckets::Listed(&[0.5, 3.0]).bounds(), [0.5, 3.0]);
}

#[test]
fn histograms_are_shown_with_their_buckets() {
    let shown = scrape(|| ::metrics::histogram!(BATCH_BYTES).record(65.0));
    assert_shows(&shown, "pointsman_batch_bytes_bucket{le=\"64\"} 0");
    assert_shows(&shown, "pointsman_batch_bytes_bucket{le=\"256\"} 1");
}

#[test]
fn every_metric_is_described_and_the_version_is_a_label() {
    let shown = scrape(describe);
    let version = env!("CARGO_PKG_VERSION");
    assert_shows(&shown, &format!("pointsman_build_info{{version=\"{version}\"}} 1"));
    assert!(shown.contains("# HELP pointsman_build_info Always 1; the label tells the version."), "{shown}");
}

#[test]
fn events_are_counted_by_kind_and_change() {
    let shown = scrape(|| {
        event(&service("shop/web").into());
        event(&slice("shop/web-1").into());
        event(&Event::SliceDeleted(name("shop/web-1")));
        event(&Event::SlicesReset(Vec::new()));
    });
    assert_shows(&shown, "pointsman_events_total{kind=\"Service\",change=\"applied\"} 1");
    assert_shows(&shown, "pointsman_events_total{kind=\"EndpointSlice\",change=\"reset\"} 1");
}

#[test]
fn problems_are_counted_by_kind_and_reason() {
    let mut world = World::new();
    let seen = world.apply(slice("shop/web-1").problem("ports[0]"));
    let shown = scrape(|| seen.skipped.iter().for_each(skipped));
    assert_shows(&shown, "pointsman_skipped_total{kind=\"EndpointSlice\",reason=\"bad-port\"} 1");
    let shown = scrape(|| count_manifest_problem("Endpoints", 3));
    assert_shows(&shown, "pointsman_skipped_total{kind=\"Endpoints\",reason=\"undecodable\"} 3");
}

#[test]
fn the_size_of_a_plan_is_recorded_by_object_and_verb() {
    let mut world =
        World::with([service("shop/web").into(), slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]).into()]);
    world.apply(slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.3"]));
    let shown = scrape(|| plan(&world.plan()));
    for verb in ["add", "delete"] {
        assert_shows(&shown, &format!("pointsman_batch_operations_sum{{object=\"element\",verb=\"{verb}\"}} 1"));
    }
    assert!(!shown.contains("object=\"rule\""), "only what was sent:\n{shown}");
}

#[test]
fn elements_are_counted_from_what_was_read_and_followed_by_batches() {
    let mut world =
        World::with([service("shop/web").into(), slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]).into()]);
    let shown = scrape(|| {
        let mut counts = ShownCounts::default();
        counts.restart(&world.acknowledged().count_elements());
        world.apply(slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2", "10.1.0.3"]));
        let plan = world.plan();
        world.sync();
        counts.follow(&ElementChanges::made_by(&plan.operations));
    });
    for (set, count) in [("endpoints", 3), ("internal-3", 1), ("internal-2", 0)] {
        assert_shows(&shown, &format!("pointsman_elements{{ip_family=\"IPv4\",set=\"{set}\"}} {count}"));
    }
}
