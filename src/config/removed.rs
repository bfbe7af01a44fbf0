//! Fields, flags and values that older versions of kube-proxy had.

/// A field or a flag that no longer exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct RemovedName {
    /// The path of the field, or the flag with its dashes.
    pub name: &'static str,
    /// The first version of Kubernetes without it.
    pub version: &'static str,
    /// What to do.
    pub instead: &'static str,
}

/// A value that a field took and no longer takes, or that it takes on other systems only.
#[derive(Clone, Copy, Debug)]
struct RemovedValue {
    /// The path of the field.
    field: &'static str,
    value: &'static str,
    /// What became of it, and what to use.
    hint: &'static str,
}

const fn removed(name: &'static str, version: &'static str, instead: &'static str) -> RemovedName {
    RemovedName { name, version, instead }
}

const CONNTRACK_MAX: &str = "use conntrack.maxPerCore and conntrack.min";
const NOTHING: &str = "nothing replaces it, leave it out";

/// All of them, by Kubernetes' change logs.
const REMOVED: [RemovedName; 8] = [
    removed("conntrack.max", "1.15", CONNTRACK_MAX),
    removed("resourceContainer", "1.16", "the pod, or the service manager, decides the cgroup"),
    removed("udpIdleTimeout", "1.26", "it belonged to mode userspace, leave it out"),
    removed("--conntrack-max", "1.15", "use --conntrack-max-per-core and --conntrack-min"),
    removed("--cleanup-iptables", "1.15", "use --cleanup"),
    removed("--resource-container", "1.16", NOTHING),
    removed("--cleanup-ipvs", "1.21", "use --cleanup"),
    removed("--udp-timeout", "1.26", NOTHING),
];

/// All values, by Kubernetes' change logs.
const REMOVED_VALUES: [RemovedValue; 3] = [
    RemovedValue { field: "mode", value: "userspace", hint: "userspace was removed in Kubernetes 1.26, use nftables" },
    RemovedValue { field: "mode", value: "kernelspace", hint: "kernelspace is for Windows, use nftables" },
    RemovedValue {
        field: "apiVersion",
        value: "componentconfig/v1alpha1",
        hint: "componentconfig/v1alpha1 was removed in Kubernetes 1.9, and most of its fields have other names now",
    },
];

/// What became of a value that this field does not take; none for values that it never took.
pub(super) fn value_hint(field: &str, value: &str) -> Option<&'static str> {
    let hint = REMOVED_VALUES.iter().find(|removed| removed.field == field && removed.value == value);
    hint.map(|removed| removed.hint)
}

/// The removed field or flag with this name.
pub(super) fn find(name: &str) -> Option<&'static RemovedName> {
    REMOVED.iter().find(|removed| removed.name == name)
}

/// A hint about a flag of older versions of kube-proxy; none for other flags.
pub fn removed_flag(flag: &str) -> Option<String> {
    let name = flag.split(['=', ' ']).next().unwrap_or_default();
    let removed = find(name).filter(|removed| removed.name.starts_with("--"))?;
    Some(format!("kube-proxy's {name} was removed in Kubernetes {}: {}", removed.version, removed.instead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kind::FieldValue;
    use crate::config::{fields, flags};

    #[test]
    fn what_was_removed_does_not_exist() {
        for removed in REMOVED {
            assert!(fields::find(removed.name).is_none() && !fields::is_section(removed.name), "{}", removed.name);
            assert!(flags::find(removed.name.trim_start_matches('-')).is_none(), "{}", removed.name);
        }
    }

    #[test]
    fn a_removed_value_is_not_allowed_and_has_a_hint() {
        for removed in REMOVED_VALUES {
            let value = FieldValue::Text(removed.value.to_owned());
            if let Some(field) = fields::find(removed.field) {
                assert!(field.kind.check(&value).is_err(), "{}", removed.value);
            }
            assert!(removed.hint.starts_with(removed.value), "{}", removed.hint);
        }
        assert_eq!(value_hint("mode", "ipvs"), None);
        assert_eq!(value_hint("logging.format", "userspace"), None);
    }

    #[test]
    fn a_removed_flag_has_a_hint() {
        assert!(removed_flag("--conntrack-max=5").unwrap().contains("1.15: use --conntrack-max-per-core"));
        assert_eq!(removed_flag("--conntrack-mix"), None);
        assert_eq!(removed_flag("conntrack.max"), None);
    }
}
