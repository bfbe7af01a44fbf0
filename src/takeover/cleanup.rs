//! Removing Pointsman's own tables, and what kube-proxy left, when an operator asks for it.

use thiserror::Error;

use super::find::{KubeProxyArtifacts, find_artifacts};
use super::probe::{HEALTH_PORT, HealthServer, probe_health_port};
use super::remove::{RemovalReport, remove_artifacts};
use crate::apply::{self, Netlink, Removal, SCRATCH_TABLE};
use crate::dataplane::{Family, TABLE};

/// What a clean-up removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanUpScope {
    /// Pointsman's tables and kube-proxy's rules.
    All,
    /// Pointsman's tables.
    Own,
    /// kube-proxy's rules.
    KubeProxy,
}

/// Why a clean-up removed nothing.
#[derive(Debug, Error)]
pub enum CleanUpError {
    /// A proxy that needs the rules runs on this node. The text names it and says what to do.
    #[error("{0}")]
    ProxyRuns(String),
    /// The kernel does not show its rules.
    #[error(transparent)]
    Kernel(#[from] apply::Error),
}

/// Removes what is in scope. With `force` also the rules of a proxy that runs.
///
/// # Errors
///
/// If nothing was removed. A single object that cannot be removed is in the report instead.
pub async fn clean_up(scope: CleanUpScope, force: bool) -> Result<RemovalReport, CleanUpError> {
    if let Some(why) = refusal(scope, probe_health_port(HEALTH_PORT).await).filter(|_| !force) {
        return Err(CleanUpError::ProxyRuns(why));
    }
    let mut netlink = Netlink::open()?;
    let artifacts =
        if scope == CleanUpScope::Own { KubeProxyArtifacts::default() } else { find_artifacts(&mut netlink).await? };
    let (tables, _) = netlink.list_all().await?;
    let mut report = remove_artifacts(&mut netlink, &artifacts).await;
    // A start that was killed may have left a scratch table.
    let own: &[&str] = if scope == CleanUpScope::KubeProxy { &[] } else { &[TABLE, SCRATCH_TABLE] };
    for family in Family::ALL {
        for name in own {
            if tables.iter().any(|table| table.family == family.nft() && table.name == *name) {
                let removed = netlink.remove(vec![Removal::Table(family, (*name).to_owned())]).await;
                report.note(format!("table {} {name}", family.nft()), removed);
            }
        }
    }
    Ok(report)
}

/// Why nothing may be removed while this program serves health checks; `None` if it may.
fn refusal(scope: CleanUpScope, server: HealthServer) -> Option<String> {
    // The rules of one proxy may go while the other runs.
    let other_proxy_runs = match scope {
        CleanUpScope::All => false,
        CleanUpScope::Own => server != HealthServer::Pointsman,
        CleanUpScope::KubeProxy => server == HealthServer::Pointsman,
    };
    let who = server.description().filter(|_| !other_proxy_runs)?;
    let instead = match (scope, server) {
        (CleanUpScope::All, HealthServer::KubeProxy) => " To remove Pointsman's tables only: --cleanup=own.",
        (CleanUpScope::All, HealthServer::Pointsman) => " To remove kube-proxy's rules only: --cleanup=kube-proxy.",
        _ => "",
    };
    Some(format!(
        "{who} on port {HEALTH_PORT} of this host, and Services would stop working under it. End it first.{instead} To remove \
         the rules nevertheless: --force"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_proxy_that_runs_are_not_cleaned_up() {
        use HealthServer::{Absent, KubeProxy, Pointsman, Unknown};
        for (scope, server, refused) in [
            (CleanUpScope::All, Absent, false),
            (CleanUpScope::All, KubeProxy, true),
            (CleanUpScope::All, Pointsman, true),
            (CleanUpScope::All, Unknown, true),
            (CleanUpScope::Own, Absent, false),
            (CleanUpScope::Own, KubeProxy, false),
            (CleanUpScope::Own, Pointsman, true),
            (CleanUpScope::Own, Unknown, false),
            (CleanUpScope::KubeProxy, Absent, false),
            (CleanUpScope::KubeProxy, KubeProxy, true),
            (CleanUpScope::KubeProxy, Pointsman, false),
            (CleanUpScope::KubeProxy, Unknown, true),
        ] {
            let why = refusal(scope, server);
            assert_eq!(why.is_some(), refused, "{scope:?} {server:?}");
            assert!(why.is_none_or(|why| why.contains("--force")));
        }
    }
}
