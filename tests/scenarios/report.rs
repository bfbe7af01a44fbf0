//! The results of all rows: a line for each section, a total, and what is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::left_out::LEFT_OUT;
use crate::section::Section;

/// How a row was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// With packets, on the real kernel.
    Kernel,
    /// As a unit test.
    Unit,
}

/// The result of a row.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The section that the row belongs to.
    pub section: Section,
    /// What the row shows.
    pub name: &'static str,
    /// The family and the group that it ran in, as in `[masquerade-all] IPv6`.
    pub variant: String,
    /// How it ran.
    pub kind: Kind,
    /// What went wrong.
    pub failure: Option<String>,
}

/// The results of all rows.
#[derive(Debug, Default)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

impl Report {
    /// Adds results.
    pub fn add(&mut self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.outcomes.extend(outcomes);
    }

    /// Whether no row failed, and each has a name of its own.
    pub fn is_good(&self) -> bool {
        self.failures().next().is_none() && self.repeated_names().is_empty()
    }

    /// How many rows ran.
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }

    /// The names that stand for more than one row.
    fn repeated_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.outcomes.iter().map(ToString::to_string).filter(|name| !names.insert(name.clone())).collect()
    }

    fn count(&self, kind: Kind) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.kind == kind).count()
    }

    /// The report; `complete` if all rows were selected.
    pub fn text(&self, took: Duration, complete: bool) -> String {
        let mut text = String::new();
        for outcome in self.failures() {
            let failure = outcome.failure.as_deref().unwrap_or_default();
            text.push_str(&format!("FAILED {outcome}: {failure}\n"));
        }
        for name in self.repeated_names() {
            text.push_str(&format!("TWO ROWS are named {name}\n"));
        }
        text.push_str(&line("section", "", ["packets", "unit", "failed"]));
        let mut sections: BTreeMap<Section, [usize; 3]> = BTreeMap::new();
        for outcome in &self.outcomes {
            let counts = sections.entry(outcome.section).or_default();
            counts[usize::from(outcome.kind == Kind::Unit)] += 1;
            counts[2] += usize::from(outcome.failure.is_some());
        }
        for (section, counts) in &sections {
            text.push_str(&line(section.name(), section.title(), counts.map(|count| count.to_string())));
        }
        for (subject, reason) in LEFT_OUT.iter().filter(|_| complete) {
            text.push_str(&format!("left out: {subject}: {reason}\n"));
        }
        let names: BTreeSet<_> = self.outcomes.iter().map(|outcome| (outcome.section, outcome.name)).collect();
        text.push_str(&format!(
            "scenarios: {} rows ran, {} with packets on the real kernel and {} as unit tests; {} failed; {:.1} s\n",
            self.outcomes.len(),
            self.count(Kind::Kernel),
            self.count(Kind::Unit),
            self.failures().count(),
            took.as_secs_f64()
        ));
        text.push_str(&format!(
            "           ({} different names: a row counts once for each family and each set of flags that it ran in)\n",
            names.len()
        ));
        text
    }
}

/// A line of the table of sections.
fn line(section: &str, title: &str, [packets, unit, failed]: [impl AsRef<str>; 3]) -> String {
    let (packets, unit, failed) = (packets.as_ref(), unit.as_ref(), failed.as_ref());
    format!("{section:<21}{title:<44}{packets:>8}{unit:>6}{failed:>8}\n")
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.section, self.name)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, " {}", self.variant) }
    }
}
