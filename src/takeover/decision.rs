//! Whether kube-proxy's rules go once Pointsman's are in the kernel.

use super::find::{KubeProxyArtifacts, find_artifacts};
use super::probe::HealthServer;
use super::remove::{RemovalReport, remove_artifacts};
use super::running::{ProxyPorts, RunningProxy, find_running_proxy};
use crate::apply::{Error, Netlink};

/// What the operator chose with `--take-over`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOverPolicy {
    /// Removes kube-proxy's rules unless a kube-proxy runs, or a program that might be one answers on the health port.
    Auto,
    /// Removes them in any case.
    Force,
    /// Never removes them.
    Never,
}

/// What was decided at the start: the operator's choice, and which proxy ran then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOverDecision {
    policy: TakeOverPolicy,
    running: Option<RunningProxy>,
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
    /// Finds out which proxy runs. To be called before this process takes a port or the lock.
    pub async fn decide(policy: TakeOverPolicy, ports: &ProxyPorts) -> Self {
        Self { policy, running: find_running_proxy(ports).await }
    }

    /// The proxy beside which this one would start, as the beginning of a sentence; `None` if there is none. An unknown program on the
    /// health port is no proxy.
    pub fn other_proxy(&self) -> Option<&str> {
        let proxy = self.running.as_ref().filter(|proxy| proxy.server != HealthServer::Unknown)?;
        Some(&proxy.description)
    }

    /// Why the health port may be taken, and what to do; `None` if no program answered.
    pub fn port_conflict(&self) -> Option<String> {
        self.running.as_ref().map(|proxy| format!("{}: end it first", proxy.description))
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

    fn removes(&self) -> bool {
        match self.policy {
            TakeOverPolicy::Auto => self.running.as_ref().is_none_or(|proxy| proxy.server == HealthServer::Pointsman),
            TakeOverPolicy::Force => true,
            TakeOverPolicy::Never => false,
        }
    }

    fn reason_to_keep(&self, artifacts: &KubeProxyArtifacts) -> String {
        let why = match &self.running {
            Some(proxy) if self.policy == TakeOverPolicy::Auto => proxy.description.as_str(),
            _ => "--take-over=never says so",
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

    fn decision(policy: TakeOverPolicy, server: HealthServer) -> TakeOverDecision {
        let description = server.description().map(|who| format!("{who} on port 10256 of this host"));
        TakeOverDecision {
            policy,
            running: description.map(|description| RunningProxy { server, description, answers: true }),
        }
    }

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
            assert_eq!(decision(policy, server).removes(), removes, "{policy:?} {server:?}");
        }
    }

    #[test]
    fn a_taken_port_is_explained_by_the_program_that_answers_there() {
        let explained = |server| decision(TakeOverPolicy::Auto, server).port_conflict();
        assert_eq!(explained(HealthServer::Absent), None);
        assert_eq!(
            explained(HealthServer::KubeProxy).as_deref(),
            Some("a kube-proxy answers on port 10256 of this host: end it first")
        );
    }

    #[test]
    fn only_a_proxy_speaks_against_a_start() {
        for (server, is_proxy) in [
            (HealthServer::Absent, false),
            (HealthServer::Unknown, false),
            (HealthServer::KubeProxy, true),
            (HealthServer::Pointsman, true),
        ] {
            assert_eq!(decision(TakeOverPolicy::Force, server).other_proxy().is_some(), is_proxy, "{server:?}");
        }
    }
}
