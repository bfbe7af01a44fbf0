//! Removing Pointsman's own tables, and what kube-proxy left, when an operator asks for it.

use thiserror::Error;

use super::find::{KubeProxyArtifacts, find_artifacts};
use super::probe::HealthServer;
use super::remove::{RemovalReport, remove_artifacts};
use super::running::{ProxyPorts, RunningProxy, find_running_proxy};
use crate::apply::{self, Backend, Netlink, Removal, SCRATCH_TABLE};
use crate::dataplane::{Family, SetName, TABLE};

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
    /// The rules are needed: by a proxy that runs on this node, or because there is no other. The text says so, and what to do.
    #[error("{0}")]
    RulesNeeded(String),
    /// The kernel does not show its rules.
    #[error(transparent)]
    Kernel(#[from] apply::Error),
}

/// Removes what is in scope. With `force` also rules that are needed. `ports` says where a proxy may answer.
///
/// # Errors
///
/// If nothing was removed. A single object that cannot be removed is in the report instead.
pub async fn clean_up(scope: CleanUpScope, force: bool, ports: &ProxyPorts) -> Result<RemovalReport, CleanUpError> {
    let running = find_running_proxy(ports).await;
    if let Some(why) = refusal(scope, running.as_ref()).filter(|_| !force) {
        return Err(CleanUpError::RulesNeeded(why));
    }
    let mut netlink = Netlink::open()?;
    if scope == CleanUpScope::Own && !force && !serves(running.as_ref()) {
        let tables = netlink.read(&Family::ALL).await?;
        let elements =
            Family::ALL.into_iter().filter_map(|family| tables.get(family)).flat_map(|table| &table.elements);
        let addresses = elements.filter(|element| element.set == SetName::ClusterIps).count();
        if let Some(why) = refusal_without_proxy(addresses, running.as_ref()) {
            return Err(CleanUpError::RulesNeeded(why));
        }
    }
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

/// Whether this is a kube-proxy that answers, and so serves Services once Pointsman's tables are gone.
fn serves(proxy: Option<&RunningProxy>) -> bool {
    proxy.is_some_and(|proxy| proxy.server == HealthServer::KubeProxy && proxy.answers)
}

/// Why Pointsman's tables, which serve so many addresses of Services, may not be removed while no kube-proxy answers; `None` if they may.
fn refusal_without_proxy(addresses: usize, proxy: Option<&RunningProxy>) -> Option<String> {
    if addresses == 0 || serves(proxy) {
        return None;
    }
    let instead = match proxy {
        Some(proxy) => format!("no kube-proxy answers on this host ({})", proxy.description),
        None => "no kube-proxy answers on this host".to_owned(),
    };
    Some(format!(
        "{instead}, and {addresses} ClusterIPs work only by these tables. Start kube-proxy, and wait until its page /healthz answers \
         here. To remove the tables nevertheless: --force"
    ))
}

/// Why nothing may be removed while this proxy runs; `None` if it may.
fn refusal(scope: CleanUpScope, proxy: Option<&RunningProxy>) -> Option<String> {
    let proxy = proxy?;
    // The rules of one proxy may go while the other runs.
    let other_proxy_runs = match scope {
        CleanUpScope::All => false,
        CleanUpScope::Own => proxy.server != HealthServer::Pointsman,
        CleanUpScope::KubeProxy => proxy.server == HealthServer::Pointsman,
    };
    if other_proxy_runs {
        return None;
    }
    let instead = match (scope, proxy.server) {
        (CleanUpScope::All, HealthServer::KubeProxy) => " To remove Pointsman's tables only: --cleanup=own.",
        (CleanUpScope::All, HealthServer::Pointsman) => " To remove kube-proxy's rules only: --cleanup=kube-proxy.",
        _ => "",
    };
    Some(format!(
        "{}, and Services would stop working under it. End it first.{instead} To remove the rules nevertheless: --force",
        proxy.description
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(server: HealthServer, answers: bool) -> Option<RunningProxy> {
        server.description().map(|who| RunningProxy { server, description: who.to_owned(), answers })
    }

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
            let why = refusal(scope, proxy(server, true).as_ref());
            assert_eq!(why.is_some(), refused, "{scope:?} {server:?}");
            assert!(why.is_none_or(|why| why.contains("--force")));
        }
    }

    #[test]
    fn tables_that_serve_stay_until_a_kube_proxy_answers() {
        use HealthServer::{Absent, KubeProxy, Unknown};
        for (addresses, server, answers, refused) in [
            (3, Absent, false, true),
            (3, Unknown, true, true),
            // Its process is there, but crashes again and again, or has not come up yet.
            (3, KubeProxy, false, true),
            (3, KubeProxy, true, false),
            (0, Absent, false, false),
        ] {
            let why = refusal_without_proxy(addresses, proxy(server, answers).as_ref());
            assert_eq!(why.is_some(), refused, "{addresses} {server:?} {answers}");
            assert!(why.is_none_or(|why| why.contains("3 ClusterIPs") && why.contains("--force")));
        }
    }
}
