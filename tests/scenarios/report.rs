//! What the rows came to: a line for each section, a total, and what is left out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::left_out::LEFT_OUT;

/// How a row was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// With packets, on the real kernel.
    Kernel,
    /// As a unit test.
    Unit,
}

/// What a row came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name, as in `K12`.
    pub id: &'static str,
    /// Where it ran, as in `[masquerade-all] IPv6`.
    pub variant: String,
    /// How it ran.
    pub kind: Kind,
    /// What went wrong.
    pub failure: Option<String>,
}

/// What all rows came to.
#[derive(Debug, Default)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

/// What sections are about.
const SECTIONS: [(&str, &str); 21] = [
    ("A", "six kinds of Services at once"),
    ("B", "no endpoints at all"),
    ("C", "ClusterIPs"),
    ("E", "addresses that accept NodePorts"),
    ("F", "externalTrafficPolicy Local"),
    ("G", "externalTrafficPolicy Cluster"),
    ("H", "loadBalancerSourceRanges"),
    ("I", "terminating endpoints"),
    ("J", "frontends that two Services claim, and what is nobody's frontend"),
    ("K", "who is masqueraded"),
    ("L", "one change after the other"),
    ("N", "policies without local endpoints"),
    ("P", "lenient input, ServiceCIDRs by family"),
    ("Q", "which Services and addresses count"),
    ("R", "merging EndpointSlices"),
    ("S", "changes of endpoints"),
    ("T", "which endpoints of this node are ready"),
    ("U", "topology and policies together"),
    ("V", "the Node object"),
    ("Z", "flags"),
    ("ZZ", "measured on kube-proxy"),
];

impl Outcome {
    /// The letters that its name begins with.
    fn section(&self) -> &'static str {
        self.id.trim_end_matches(|c: char| !c.is_ascii_uppercase())
    }
}

impl Report {
    /// Adds what rows came to.
    pub fn add(&mut self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.outcomes.extend(outcomes);
    }

    /// Whether no row failed.
    pub fn is_good(&self) -> bool {
        self.failures().next().is_none()
    }

    /// How many rows ran.
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.failure.is_some())
    }

    fn count(&self, kind: Kind) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.kind == kind).count()
    }

    /// The whole report.
    pub fn text(&self, took: Duration) -> String {
        let mut text = String::new();
        for outcome in self.failures() {
            let failure = outcome.failure.as_deref().unwrap_or_default();
            text.push_str(&format!("FAILED {outcome}: {failure}\n"));
        }
        text.push_str("section                                                               packets  unit  failed\n");
        let mut sections: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        for outcome in &self.outcomes {
            let counts = sections.entry(outcome.section()).or_default();
            counts[usize::from(outcome.kind == Kind::Unit)] += 1;
            counts[2] += usize::from(outcome.failure.is_some());
        }
        for (section, [kernel, unit, failed]) in &sections {
            let title = SECTIONS.iter().find(|(name, _)| name == section).map_or("", |(_, title)| title);
            text.push_str(&format!("{section:<3}{title:<66}{kernel:>8}{unit:>6}{failed:>8}\n"));
        }
        for (rows, reason) in LEFT_OUT {
            text.push_str(&format!("left out: {rows}: {reason}\n"));
        }
        text.push_str(&format!(
            "scenarios: {} rows ran, {} with packets on the real kernel and {} as unit tests; {} failed; {:.1} s\n",
            self.outcomes.len(),
            self.count(Kind::Kernel),
            self.count(Kind::Unit),
            self.failures().count(),
            took.as_secs_f64()
        ));
        text
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, " {}", self.variant) }
    }
}
