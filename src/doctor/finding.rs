//! Findings, and how they are printed as text and as JSON.

use std::fmt::Write;

use serde::Serialize;

/// How serious a finding is for a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingSeverity {
    /// Nothing to do.
    Ok,
    /// Good to know.
    Note,
    /// Something may behave differently: check it before the switch.
    Warning,
    /// Pointsman will not work on this node as it is.
    Problem,
}

/// One result of the inspection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The subject, one of [`IDS`](super::IDS).
    pub id: &'static str,
    /// How serious it is.
    pub severity: FindingSeverity,
    /// What was found.
    pub found: String,
    /// What that means for a switch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub means: String,
    /// What to do.
    #[serde(rename = "do", skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// A finding without a meaning and a remedy.
    pub(super) fn new(id: &'static str, severity: FindingSeverity, found: impl Into<String>) -> Self {
        Self { id, severity, found: found.into(), means: String::new(), remedy: String::new() }
    }

    /// A finding with severity [`FindingSeverity::Ok`].
    pub(super) fn ok(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, FindingSeverity::Ok, found)
    }

    /// A finding with severity [`FindingSeverity::Note`].
    pub(super) fn note(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, FindingSeverity::Note, found)
    }

    /// A finding with severity [`FindingSeverity::Warning`].
    pub(super) fn warning(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, FindingSeverity::Warning, found)
    }

    /// A finding with severity [`FindingSeverity::Problem`].
    pub(super) fn problem(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, FindingSeverity::Problem, found)
    }

    /// Adds what the finding means.
    pub(super) fn means(self, means: impl Into<String>) -> Self {
        Self { means: means.into(), ..self }
    }

    /// Adds what to do.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// The highest severity among the findings.
fn worst(findings: &[Finding]) -> FindingSeverity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(FindingSeverity::Ok)
}

/// Whether there are warnings or problems.
pub fn blocks_switch(findings: &[Finding]) -> bool {
    worst(findings) >= FindingSeverity::Warning
}

/// The findings as text, the most serious first, with a summary.
pub fn text(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut text = String::new();
    let mut put = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = text.write_fmt(line);
    };
    for finding in sorted {
        put(format_args!("{:<7}  {}: {}\n", finding.severity.word(), finding.id, finding.found));
        if !finding.means.is_empty() {
            put(format_args!("         {}\n", finding.means));
        }
        if !finding.remedy.is_empty() {
            put(format_args!("         -> {}\n", finding.remedy));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (problems, warnings) = (count(FindingSeverity::Problem), count(FindingSeverity::Warning));
    if blocks_switch(findings) {
        put(format_args!("\nProblems: {problems}, warnings: {warnings}. Check them before the switch.\n"));
    } else {
        put(format_args!("\nNo blockers found on this node.\n"));
    }
    text
}

/// The findings as JSON: `{"verdict": <highest severity>, "findings": [...]}`.
pub fn json(findings: &[Finding]) -> serde_json::Value {
    serde_json::json!({ "verdict": worst(findings), "findings": findings })
}

impl FindingSeverity {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "WARNING",
            Self::Problem => "PROBLEM",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_finding_comes_first_and_decides_the_summary() {
        let findings = [
            Finding::new("a", FindingSeverity::Ok, "fine"),
            Finding::new("b", FindingSeverity::Warning, "odd").means("It differs.").remedy("Look."),
        ];
        assert_eq!(
            text(&findings),
            "WARNING  b: odd\n         It differs.\n         -> Look.\nok       a: fine\n\n\
             Problems: 0, warnings: 1. Check them before the switch.\n"
        );
        assert_eq!(json(&findings)["verdict"], "warning");
        assert_eq!(json(&findings)["findings"][1]["do"], "Look.");
        assert!(blocks_switch(&findings) && !blocks_switch(&findings[..1]));
        assert!(text(&findings[..1]).ends_with("No blockers found on this node.\n"));
    }
}
