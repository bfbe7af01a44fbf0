//! Whether kube-proxy's rules go once Pointsman's are in the kernel.

use super::find::{KubeProxyArtifacts, find_artifacts};
use super::probe::{HEALTH_PORT, HealthServer, probe_health_port};
use super::remove::{RemovalReport, remove_artifacts};
use crate::apply::{Error, Netlink};

/// What the operator chose with `--take-over`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOverPolicy {
    /// Removes kube-proxy's rules unless a kube-proxy, or a program that might be one, answers on the health port.
    Auto,
    /// Removes them in any case.
    Force,
    /// Never removes them.
    Never,
}

/// What was decided at the start: the operator's choice, and who served health checks then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeOverDecision {
    policy: TakeOverPolicy,
    server: HealthServer,
}

/// What became of kube-proxy's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeOverOutcome {
    /// There are none.
    NothingFound,
    /// They stay. The text says why, what that means and what to do.
    Kept(String),
    /// They were removed, as far as the report says so.
    Removed(RemovalReport),
}

impl TakeOverDecision {
    /// Finds out who serves health checks. To be called before this process takes the port.
    pub async fn decide(policy: TakeOverPolicy) -> Self {
        Self { policy, server: probe_health_port(HEALTH_PORT).await }
    }

    /// Why the health port may be taken, and what to do; `None` if no program answered on it.
    pub fn port_conflict(self) -> Option<String> {
        let who = self.server.description()?;
        Some(format!("{who} on port {HEALTH_PORT} of this host: end it first"))
    }

    /// Looks for kube-proxy's rules and does what was decided. To be called after the first sync.
    ///
    /// # Errors
    ///
    /// If the kernel does not show its rules.
    pub async fn perform(self) -> Result<TakeOverOutcome, Error> {
        let mut netlink = Netlink::open()?;
        let artifacts = find_artifacts(&mut netlink).await?;
        Ok(if self.removes() {
            TakeOverOutcome::Removed(remove_artifacts(&mut netlink, &artifacts).await)
        } else if artifacts.is_empty() {
            TakeOverOutcome::NothingFound
        } else {
            TakeOverOutcome::Kept(self.reason_to_keep(&artifacts))
        })
    }

    fn removes(self) -> bool {
        match self.policy {
            TakeOverPolicy::Auto => matches!(self.server, HealthServer::Absent | HealthServer::Pointsman),
            TakeOverPolicy::Force => true,
            TakeOverPolicy::Never => false,
        }
    }

    fn reason_to_keep(self, artifacts: &KubeProxyArtifacts) -> String {
        let why = match self.server.description() {
            Some(who) if self.policy == TakeOverPolicy::Auto => format!("{who} on port {HEALTH_PORT} of this host"),
            _ => "--take-over=never says so".to_owned(),
        };
        format!(
            "kube-proxy's rules stay (mode {}), because {why}. Both translate now: the proxy whose chains were attached last \
             decides, and the other serves what only it knows. End kube-proxy, then run `pointsman --cleanup=kube-proxy` here or \
             restart Pointsman",
            artifacts.modes().join(" and ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_proxy_that_runs_are_removed_only_by_force() {
        use TakeOverPolicy::{Auto, Force, Never};
        for (policy, server, removes) in [
            (Auto, HealthServer::Absent, true),
            (Auto, HealthServer::Pointsman, true),
            (Auto, HealthServer::KubeProxy, false),
            (Auto, HealthServer::Unknown, false),
            (Force, HealthServer::KubeProxy, true),
            (Never, HealthServer::Absent, false),
        ] {
            assert_eq!(TakeOverDecision { policy, server }.removes(), removes, "{policy:?} {server:?}");
        }
    }

    #[test]
    fn a_taken_port_is_explained_by_the_program_that_answers_there() {
        let explained = |server| TakeOverDecision { policy: TakeOverPolicy::Auto, server }.port_conflict();
        assert_eq!(explained(HealthServer::Absent), None);
        assert_eq!(
            explained(HealthServer::KubeProxy).as_deref(),
            Some("a kube-proxy answers on port 10256 of this host: end it first")
        );
    }
}
