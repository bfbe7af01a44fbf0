//! A metric: name, type, labels, meaning.

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricType {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Counts of values by size, with these upper bounds.
    Histogram(HistogramBuckets),
}

/// Upper bounds of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HistogramBuckets {
    /// `first · 2^k` for `count` values of k from 0.
    Doubling {
        /// The smallest bound.
        first: f64,
        /// How many bounds.
        count: i32,
    },
    /// `first · 4^k` for `count` values of k from 0.
    Quadrupling {
        /// The smallest bound.
        first: f64,
        /// How many bounds.
        count: i32,
    },
    /// Ranges of evenly spaced bounds: the first, the last, and the step between.
    Ranges(&'static [(f64, f64, f64)]),
    /// These bounds.
    Listed(&'static [f64]),
}

/// A metric and its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricType,
    /// The labels, separated by commas; empty for none.
    pub labels: &'static str,
    /// What it counts or measures, with the unit.
    pub help: &'static str,
}

impl HistogramBuckets {
    /// The upper bounds.
    pub fn bounds(self) -> Vec<f64> {
        let powers = |first: f64, factor: f64, count| (0..count).map(|k| first * factor.powi(k)).collect();
        match self {
            Self::Doubling { first, count } => powers(first, 2.0, count),
            Self::Quadrupling { first, count } => powers(first, 4.0, count),
            Self::Ranges(ranges) => ranges.iter().flat_map(|range| evenly_spaced(*range)).collect(),
            Self::Listed(bounds) => bounds.to_vec(),
        }
    }
}

fn evenly_spaced((first, last, step): (f64, f64, f64)) -> impl Iterator<Item = f64> {
    // Half a step of room: sums of fractions need not be exact.
    std::iter::successors(Some(first), move |bound| Some(bound + step))
        .take_while(move |bound| *bound < last + step / 2.0)
}

impl Metric {
    /// The lines before the values of this metric, in Prometheus' text format.
    pub fn header(&self) -> String {
        let kind = if self.kind == MetricType::Counter { "counter" } else { "gauge" };
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n", name = self.name, help = self.help)
    }
}
