//! What a new version of the configuration asks for: nothing, another verbosity, or a restart.

use super::settings::Settings;

/// The only field that takes effect without a restart.
const LIVE_FIELD: &str = "logging.verbosity";

/// How new settings differ from those in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// No field with an effect differs.
    None,
    /// Only the verbosity of the log differs. It takes effect at once.
    Verbosity(u32),
    /// These fields, by path, take effect only after a restart.
    Restart(Vec<&'static str>),
}

impl Settings {
    /// What has to happen so that `next` takes effect.
    pub fn change_to(&self, next: &Self) -> ConfigChange {
        let fields = self.configuration.differences(&next.configuration);
        if fields.is_empty() {
            ConfigChange::None
        } else if fields == [LIVE_FIELD] {
            ConfigChange::Verbosity(next.verbosity)
        } else {
            ConfigChange::Restart(fields)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::flags;

    fn settings(given: &[(&str, &str)]) -> Settings {
        let given: Vec<_> =
            given.iter().map(|(name, value)| (flags::find(name).unwrap(), (*value).to_owned())).collect();
        Settings::resolve(None, &given).unwrap().0
    }

    #[test]
    fn only_another_verbosity_alone_takes_effect_without_a_restart() {
        let change = |given: &[(&str, &str)]| settings(&[]).change_to(&settings(given));
        assert_eq!(change(&[]), ConfigChange::None);
        assert_eq!(change(&[("ipvs-scheduler", "rr")]), ConfigChange::None);
        assert_eq!(change(&[("v", "4")]), ConfigChange::Verbosity(4));
        assert_eq!(change(&[("cluster-cidr", "10.0.0.0/8")]), ConfigChange::Restart(vec!["clusterCIDR"]));
        let both = change(&[("v", "4"), ("cluster-cidr", "10.0.0.0/8")]);
        assert_eq!(both, ConfigChange::Restart(vec!["logging.verbosity", "clusterCIDR"]));
    }
}
