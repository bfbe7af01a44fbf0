//! Errors in a configuration, and notes about it.

use std::fmt;

use super::flags;

/// Where a configuration comes from. Error texts name fields as this origin does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    #[default]
    Flags,
    /// The file with this name.
    File(String),
}

/// A value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The path of the field, such as `nodePortAddresses[0]`; a flag, such as `--oom-score-adj`; or empty for the whole file.
    pub place: String,
    /// The value that was found.
    pub value: String,
    /// The values that are allowed.
    pub expected: String,
}

/// All problems of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblems {
    /// Where the configuration comes from.
    pub origin: Origin,
    /// Never empty.
    pub problems: Vec<ConfigProblem>,
}

/// A remark about a configuration, to be logged once logging has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigNote {
    /// Something that is probably a mistake.
    Warning(String),
    /// Something that is good to know.
    Information(String),
}

impl ConfigProblem {
    /// A value at `place` that should have been as `expected` says.
    pub fn new(place: impl Into<String>, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { place: place.into(), value: value.into(), expected: expected.into() }
    }

    /// The place under the name that the operator used: a flag, or a field of the file.
    fn named_place(&self, origin: &Origin) -> String {
        let path = self.place.split('[').next().unwrap_or_default();
        match origin {
            _ if self.place.starts_with("--") || path.is_empty() => self.place.clone(),
            Origin::Flags => {
                flags::for_field(path).map_or_else(|| self.place.clone(), |flag| format!("--{}", flag.name))
            }
            Origin::File(_) => format!("KubeProxyConfiguration.{}", self.place),
        }
    }
}

impl ConfigProblems {
    /// Each problem by itself, without the name of the file.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.problems.iter().map(|problem| {
            let ConfigProblem { value, expected, .. } = problem;
            match problem.named_place(&self.origin) {
                place if place.is_empty() => format!("{value}: expected {expected}"),
                place => format!("{place}: {value} is not allowed: expected {expected}"),
            }
        })
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Origin::File(file) = &self.origin {
            write!(f, "the configuration {file} cannot be used: ")?;
        }
        f.write_str(&self.lines().collect::<Vec<_>>().join("; "))
    }
}

impl std::error::Error for ConfigProblems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_names_all_problems_by_the_names_that_the_operator_used() {
        let problems = vec![
            ConfigProblem::new("nodePortAddresses[1]", "\"banana\"", "a network"),
            ConfigProblem::new("conntrack.min", "-1", "0 or more"),
        ];
        let text = |origin| ConfigProblems { origin, problems: problems.clone() }.to_string();
        assert_eq!(
            text(Origin::File("/etc/c.yaml".to_owned())),
            "the configuration /etc/c.yaml cannot be used: \
             KubeProxyConfiguration.nodePortAddresses[1]: \"banana\" is not allowed: expected a network; \
             KubeProxyConfiguration.conntrack.min: -1 is not allowed: expected 0 or more"
        );
        assert_eq!(
            text(Origin::Flags),
            "--nodeport-addresses: \"banana\" is not allowed: expected a network; \
             --conntrack-min: -1 is not allowed: expected 0 or more"
        );
    }
}
