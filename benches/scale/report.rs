//! The results as tables, printed and in the documentation.

use std::fmt::Write;

use crate::common::docs;
use crate::common::figures::{Spread, bytes, head, table, thousands, time};
use crate::results::{OfSize, Results, Scenario};

/// All tables, one after the other.
pub fn everything(results: &Results) -> String {
    let mut text = String::new();
    for (title, table) in [
        ("The program", starts(results)),
        ("Changes: median / 99th percentile", changes(results)),
        ("What they take", costs(results)),
        ("One step after the other", stages(results)),
        ("Sustained load", load(results)),
        ("Growth", growth(results)),
    ] {
        let _ = writeln!(text, "{title}\n\n{table}");
    }
    text
}

/// Writes the tables into docs/performance.md.
pub fn write_docs(results: &Results) {
    docs::replace("machine", &format!("Measured on {}.", results.machine));
    docs::replace("starts", &starts(results));
    docs::replace("changes", &changes(results));
    docs::replace("costs", &costs(results));
    docs::replace("stages", &stages(results));
    docs::replace("load", &load(results));
    docs::replace("growth", &growth(results));
}

fn starts(results: &Results) -> String {
    let titles = [
        "Services × endpoints",
        "operations",
        "sent",
        "cold start",
        "of it diff and commit",
        "its CPU",
        "restart",
        "its CPU",
        "resident memory",
        "peak",
        "peak of the restart",
        "cold from memory",
        "× the batch alone",
        "restart from memory",
    ];
    let row = |of: &OfSize| {
        let (whole, stages) = (&of.whole, &of.in_process.stages);
        vec![
            of.size.to_string(),
            thousands(whole.operations),
            bytes(integer(whole.bytes)),
            time(whole.cold_seconds * 1e3),
            time(whole.cold_sync_seconds * 1e3),
            format!("{:.2} s", whole.cold_cpu_seconds),
            time(whole.restart_seconds * 1e3),
            format!("{:.2} s", whole.restart_cpu_seconds),
            format!("{:.0} MiB", whole.rss_mib),
            format!("{:.0} MiB", whole.peak_mib),
            format!("{:.0} MiB", whole.restart_peak_mib),
            time(stages.cold.total()),
            format!("{:.2}", stages.cold.total() / stages.cold.commit),
            time(of.in_process.adopt_seconds * 1e3),
        ]
    };
    table(&head(&titles), &results.sizes.iter().map(row).collect::<Vec<_>>())
}

/// One row for each kind of change, one column for each size.
fn by_size(results: &Results, titles: &[&str], cell: impl Fn(&Scenario) -> String, runs: bool) -> String {
    let mut titles = head(titles);
    titles.extend(results.sizes.iter().map(|of| of.size.to_string()));
    let Some(first) = results.sizes.first() else { return String::new() };
    let row = |scenario: &Scenario| {
        let mut cells = vec![scenario.name.clone()];
        if runs {
            cells.push(scenario.time.of.to_string());
        }
        for of in &results.sizes {
            let same = of.in_process.scenarios.iter().find(|other| other.name == scenario.name);
            cells.push(same.map_or_else(String::new, &cell));
        }
        cells
    };
    table(&titles, &first.in_process.scenarios.iter().map(row).collect::<Vec<_>>())
}

fn changes(results: &Results) -> String {
    by_size(results, &["Change", "runs"], |scenario| both(scenario.time), true)
}

fn costs(results: &Results) -> String {
    let cell = |scenario: &Scenario| {
        format!("{} · {} · {}", thousands(whole(scenario.operations)), bytes(scenario.bytes), time(scenario.cpu))
    };
    by_size(results, &["Change"], cell, false)
}

fn stages(results: &Results) -> String {
    let titles = [
        "Services × endpoints",
        "empty batch",
        "of a change: commit",
        "encode (in it)",
        "fold",
        "compile",
        "diff",
        "through the loop",
        "of a cold sync: fold",
        "compile",
        "diff",
        "commit",
        "encode (in it)",
    ];
    let row = |of: &OfSize| {
        let (stages, scenarios) = (&of.in_process.stages, &of.in_process.scenarios);
        let (change, cold) = (&stages.change, &stages.cold);
        let looped = scenarios.first().map_or(0.0, |scenario| scenario.time.p50);
        let medians = [stages.empty, change.commit, change.encode, change.fold, change.compile, change.diff];
        let cold = [cold.fold, cold.compile, cold.diff, cold.commit, cold.encode];
        let times = medians.iter().map(|spread| spread.p50).chain([looped]).chain(cold);
        std::iter::once(of.size.to_string()).chain(times.map(time)).collect()
    };
    table(&head(&titles), &results.sizes.iter().map(row).collect::<Vec<_>>())
}

fn load(results: &Results) -> String {
    let titles = [
        "Services × endpoints",
        "changes",
        "programmed",
        "commits",
        "lag: median / 99th percentile",
        "longest",
        "CPU",
        "kernel read afterwards",
    ];
    let row = |of: &OfSize| {
        let load = of.in_process.load.as_ref()?;
        let verified = match load.verified {
            Some(true) => "as asked for",
            Some(false) => "DIFFERS",
            None => "too large to read here",
        };
        Some(vec![
            of.size.to_string(),
            format!("{} a second for {} s", thousands(load.rate), load.seconds),
            format!("{} of {}", thousands(number(load.programmed)), thousands(number(load.sent))),
            thousands(number(load.commits)),
            both(load.lag),
            time(load.longest),
            format!("{:.0} % of one", load.cpu * 100.0),
            verified.to_owned(),
        ])
    };
    table(&head(&titles), &results.sizes.iter().filter_map(row).collect::<Vec<_>>())
}

/// How many times as long things take from each size to the next, beside how many times as large that is.
fn growth(results: &Results) -> String {
    let mut titles = head(&[
        "From",
        "to",
        "pods",
        "cold start",
        "restart",
        "cold from memory",
        "restart from memory",
        "resident memory",
    ]);
    let Some(first) = results.sizes.first() else { return String::new() };
    titles.extend(first.in_process.scenarios.iter().map(|scenario| scenario.name.clone()));
    let row = |pair: &[OfSize]| {
        let (small, large) = (&pair[0], &pair[1]);
        let times = |of: &dyn Fn(&OfSize) -> f64| format!("× {:.1}", of(large) / of(small));
        let mut cells = vec![
            small.size.to_string(),
            large.size.to_string(),
            times(&|of| f64::from(of.size.pods())),
            times(&|of| of.whole.cold_seconds),
            times(&|of| of.whole.restart_seconds),
            times(&|of| of.in_process.stages.cold.total()),
            times(&|of| of.in_process.adopt_seconds),
            times(&|of| of.whole.rss_mib),
        ];
        let scenarios = 0..small.in_process.scenarios.len().min(large.in_process.scenarios.len());
        cells.extend(scenarios.map(|n| times(&|of| of.in_process.scenarios[n].time.p50)));
        cells
    };
    table(&titles, &results.sizes.windows(2).map(row).collect::<Vec<_>>())
}

fn both(spread: Spread) -> String {
    format!("{} / {}", time(spread.p50), time(spread.p99))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "no batch has 2^52 bytes")]
fn integer(number: u64) -> f64 {
    number as f64
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
