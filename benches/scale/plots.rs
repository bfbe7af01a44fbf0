//! The plots: time by size.

use std::fs;
use std::path::Path;

use crate::common::figures;
use crate::plot::{Line, Plot};
use crate::results::{OfSize, Results};

/// The endpoints of each Service in the sizes that are shown.
const ENDPOINTS: u32 = 5;

/// Writes the plots to a folder.
pub fn write(results: &Results, folder: &Path) {
    fs::create_dir_all(folder).expect("the folder can be made");
    for (file, plot) in [("starts.svg", starts(results)), ("changes.svg", changes(results))] {
        if let Some(svg) = plot.svg() {
            fs::write(folder.join(file), svg).expect("the folder is writable");
        }
    }
}

fn starts(results: &Results) -> Plot<'static> {
    plot(
        "Starts, by the number of Services",
        vec![
            line("cold start", results, |of| of.whole.cold_seconds * 1e3),
            line("restart over filled tables", results, |of| of.whole.restart_seconds * 1e3),
        ],
    )
}

fn changes(results: &Results) -> Plot<'static> {
    let mut names: Vec<&String> = Vec::new();
    for scenario in results.sizes.iter().flat_map(|of| &of.in_process.scenarios) {
        if !names.contains(&&scenario.name) {
            names.push(&scenario.name);
        }
    }
    let median = |of: &OfSize, name: &str| {
        of.in_process.scenarios.iter().find(|scenario| scenario.name == name).map_or(0.0, |scenario| scenario.time.p50)
    };
    let lines = names.into_iter().map(|name| line(name, results, |of| median(of, name)));
    plot("Changes, from the event to the kernel's acknowledgement (median)", lines.collect())
}

fn plot(title: &str, lines: Vec<Line>) -> Plot<'_> {
    Plot { title, x_axis: "Services of 5 endpoints", x_text, y_text, lines }
}

fn line(name: &str, results: &Results, of: impl Fn(&OfSize) -> f64) -> Line {
    let sizes = results.sizes.iter().filter(|of| of.size.endpoints == ENDPOINTS);
    let points = sizes.map(|size| (f64::from(size.size.services), of(size))).filter(|(_, y)| *y > 0.0);
    Line { name: name.to_owned(), points: points.collect() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "powers of ten in the range of sizes")]
fn x_text(value: f64) -> String {
    figures::thousands(value.round() as u32)
}

/// Powers of ten of a millisecond.
fn y_text(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 0.99 => format!("{:.0} µs", ms * 1e3),
        ms if ms < 990.0 => format!("{ms:.0} ms"),
        ms => format!("{:.0} s", ms / 1e3),
    }
}
