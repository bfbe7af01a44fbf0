//! Fields and flags that older versions of kube-proxy had.

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
    use crate::config::{fields, flags};

    #[test]
    fn what_was_removed_does_not_exist() {
        for removed in REMOVED {
            assert!(fields::find(removed.name).is_none() && !fields::is_section(removed.name), "{}", removed.name);
            assert!(flags::find(removed.name.trim_start_matches('-')).is_none(), "{}", removed.name);
        }
    }

    #[test]
    fn a_removed_flag_has_a_hint() {
        assert!(removed_flag("--conntrack-max=5").unwrap().contains("1.15: use --conntrack-max-per-core"));
        assert_eq!(removed_flag("--conntrack-mix"), None);
        assert_eq!(removed_flag("conntrack.max"), None);
    }
}
