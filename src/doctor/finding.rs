//! A finding, and findings as text and as JSON.

use std::fmt::Write;

use serde::Serialize;

/// How much a finding matters for a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Something may behave differently: look at it first.
    Warning,
    /// It will not work like this.
    Problem,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about; one of [`IDS`](super::IDS).
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What it means.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub means: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// A finding that needs no more words.
    pub(super) fn new(id: &'static str, severity: Severity, found: impl Into<String>) -> Self {
        Self { id, severity, found: found.into(), means: String::new(), remedy: String::new() }
    }

    /// What it means.
    pub(super) fn means(self, means: impl Into<String>) -> Self {
        Self { means: means.into(), ..self }
    }

    /// What to do about it.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// The most serious of the findings.
fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
}

/// Whether something stands against a switch.
pub fn objections(findings: &[Finding]) -> bool {
    worst(findings) >= Severity::Warning
}

/// The findings as an operator reads them, the most serious first.
pub fn text(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut text = String::new();
    let mut put = |line: std::fmt::Arguments<'_>| {
        // A String takes everything.
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
    let (problems, warnings) = (count(Severity::Problem), count(Severity::Warning));
    if objections(findings) {
        put(format_args!("\nProblems: {problems}, warnings: {warnings}. Look at them before the switch\n"));
    } else {
        put(format_args!("\nNothing stands against a switch on this node\n"));
    }
    text
}

/// The findings as JSON.
pub fn json(findings: &[Finding]) -> serde_json::Value {
    serde_json::json!({ "verdict": worst(findings), "findings": findings })
}

impl Severity {
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
    fn the_most_serious_comes_first_and_decides() {
        let findings = [
            Finding::new("a", Severity::Ok, "fine"),
            Finding::new("b", Severity::Warning, "odd").means("It differs.").remedy("Look."),
        ];
        assert_eq!(
            text(&findings),
            "WARNING  b: odd\n         It differs.\n         -> Look.\nok       a: fine\n\n\
             Problems: 0, warnings: 1. Look at them before the switch\n"
        );
        assert_eq!(json(&findings)["verdict"], "warning");
        assert_eq!(json(&findings)["findings"][1]["do"], "Look.");
        assert!(objections(&findings) && !objections(&findings[..1]));
        assert!(text(&findings[..1]).ends_with("Nothing stands against a switch on this node\n"));
    }
}
