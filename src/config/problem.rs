//! What is wrong with a configuration, and what is worth saying about it.

use std::fmt;

use super::flags;

/// Where a configuration comes from, and so how its fields are called when something is wrong with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    #[default]
    Flags,
    /// A file, of this name.
    File(String),
}

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field's path, such as `nodePortAddresses[0]`; or a flag, such as `--oom-score-adj`; or nothing for the whole file.
    pub place: String,
    /// What was found.
    pub value: String,
    /// What would be allowed.
    pub expected: String,
}

/// Everything that is wrong with one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// Where it comes from.
    pub origin: Origin,
    /// Never empty.
    pub problems: Vec<Problem>,
}

/// Something to log once logging has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Probably a mistake.
    Warning(String),
    /// Good to know.
    Information(String),
}

impl Problem {
    /// A value of a field.
    pub fn new(place: impl Into<String>, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { place: place.into(), value: value.into(), expected: expected.into() }
    }

    /// The place as the operator knows it.
    fn place(&self, origin: &Origin) -> String {
        let path = self.place.split('[').next().unwrap_or_default();
        match origin {
            _ if self.place.starts_with("--") || path.is_empty() => self.place.clone(),
            Origin::Flags => {
                flags::of_field(path).map_or_else(|| self.place.clone(), |flag| format!("--{}", flag.name))
            }
            Origin::File(_) => format!("KubeProxyConfiguration.{}", self.place),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Origin::File(file) = &self.origin {
            write!(f, "the configuration {file} cannot be used: ")?;
        }
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            let Problem { value, expected, .. } = problem;
            match problem.place(&self.origin) {
                place if place.is_empty() => write!(f, "{separator}{value}: expected {expected}")?,
                place => write!(f, "{separator}{place}: {value} is not allowed: expected {expected}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_together_and_by_the_name_that_the_operator_used() {
        let problems = vec![
            Problem::new("nodePortAddresses[1]", "\"banana\"", "a network"),
            Problem::new("conntrack.min", "-1", "0 or more"),
        ];
        let told = |origin| Problems { origin, problems: problems.clone() }.to_string();
        assert_eq!(
            told(Origin::File("/etc/c.yaml".to_owned())),
            "the configuration /etc/c.yaml cannot be used: \
             KubeProxyConfiguration.nodePortAddresses[1]: \"banana\" is not allowed: expected a network; \
             KubeProxyConfiguration.conntrack.min: -1 is not allowed: expected 0 or more"
        );
        assert_eq!(
            told(Origin::Flags),
            "--nodeport-addresses: \"banana\" is not allowed: expected a network; \
             --conntrack-min: -1 is not allowed: expected 0 or more"
        );
    }
}
