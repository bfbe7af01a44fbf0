//! Preparing the host as the configuration asks: sysctls of connection tracking and the process's out-of-memory score.

use std::path::Path;

use super::{oom, sysctl};
use crate::config::Settings;

/// What the process serves, and so how far it may change the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRole {
    /// A node of a cluster: everything that the configuration and its defaults ask for.
    ClusterNode,
    /// Manifests, mostly to try something out: only what the operator configured to other values than the defaults.
    Manifests,
}

/// Sets the sysctls and the out-of-memory score on the host whose files are below `root` (`/`). Failures are logged.
pub fn prepare(root: &Path, settings: &Settings, role: HostRole) {
    let cores = sysctl::cores(root);
    let mut wanted = sysctl::wanted(&settings.conntrack, cores);
    let defaults = Settings::default();
    if role == HostRole::Manifests {
        let by_default = sysctl::wanted(&defaults.conntrack, cores);
        wanted.retain(|sysctl| !by_default.contains(sysctl));
    }
    sysctl::set(root, &wanted);
    if role == HostRole::ClusterNode || settings.oom_score_adj != defaults.oom_score_adj {
        oom::set_score(root, settings.oom_score_adj);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MAX: &str = "proc/sys/net/netfilter/nf_conntrack_max";
    const UDP: &str = "proc/sys/net/netfilter/nf_conntrack_udp_timeout";
    const SCORE: &str = "proc/self/oom_score_adj";

    /// Prepares a host with these settings, and returns the resulting values of [`MAX`], [`UDP`] and [`SCORE`].
    fn prepared(settings: &Settings, role: HostRole) -> [String; 3] {
        let root = tempfile::tempdir().unwrap();
        for file in [MAX, UDP, SCORE] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "7").unwrap();
        }
        prepare(root.path(), settings, role);
        [MAX, UDP, SCORE].map(|file| fs::read_to_string(root.path().join(file)).unwrap().trim().to_owned())
    }

    #[test]
    fn a_cluster_node_gets_the_defaults_and_manifests_only_what_differs_from_them() {
        let mut settings = Settings::default();
        let [max, udp, score] = prepared(&settings, HostRole::ClusterNode);
        assert_ne!(max, "7");
        assert_eq!((udp.as_str(), score.as_str()), ("7", "-999"));
        assert_eq!(prepared(&settings, HostRole::Manifests), ["7", "7", "7"]);
        settings.conntrack.udp = std::time::Duration::from_secs(30);
        settings.oom_score_adj = -5;
        assert_eq!(prepared(&settings, HostRole::Manifests), ["7", "30", "-5"]);
    }
}
