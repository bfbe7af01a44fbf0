//! Removing what kube-proxy left.

use std::fmt;
use std::time::Duration;

use super::find::{KubeProxyArtifacts, select_in_iptables_nft};
use super::interfaces;
use super::ipset;
use super::ipvs::{self, IpvsServices, VirtualService};
use super::names::{IPVS_LINK, KUBE_PROXY_TABLE};
use super::selection::IptablesSelection;
use crate::apply::{Error, Netlink, Refusal, Removal};
use crate::dataplane::Family;

/// How often a removal is tried while other programs change the same objects.
const MAX_ATTEMPTS: usize = 5;
/// How long to wait between attempts. The kernel frees deleted rules, and with them ipsets, in the background.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What a removal did, in words for an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovalReport {
    /// What was removed.
    pub removed: Vec<String>,
    /// What was left on purpose, and why.
    pub left: Vec<String>,
    /// What should have been removed and was not.
    pub failed: Vec<String>,
    /// What may no longer work.
    pub warnings: Vec<String>,
}

impl RemovalReport {
    /// Notes that an object was removed, or why it was not.
    pub fn note(&mut self, object: String, removed: Result<(), impl fmt::Display>) {
        match removed {
            Ok(()) => self.removed.push(object),
            Err(error) => self.failed.push(format!("{object}: {error}")),
        }
    }
}

/// Removes everything that was found. A failure is noted in the report and does not keep the rest from being removed.
///
/// The order matters where one object refers to another: rules go before the ipsets that they look up, virtual services before
/// the link with their addresses.
pub async fn remove_artifacts(netlink: &mut Netlink, artifacts: &KubeProxyArtifacts) -> RemovalReport {
    let mut report = RemovalReport { left: artifacts.unseen.clone(), ..RemovalReport::default() };
    for family in &artifacts.tables {
        let removed = match netlink.remove(vec![Removal::Table(*family, KUBE_PROXY_TABLE.to_owned())]).await {
            Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(()),
            removed => removed,
        };
        report.note(format!("table {} {KUBE_PROXY_TABLE}", family.nft()), removed);
    }
    for (family, selections) in &artifacts.iptables_nft {
        let removed = remove_from_iptables_nft(netlink, *family).await;
        note_selections(&mut report, &format!("{}, iptables-nft", family.nft()), selections, &removed);
    }
    for (legacy, selections) in artifacts.in_legacy() {
        let removed = legacy.remove(selections).await;
        note_selections(&mut report, &format!("{}, iptables-legacy", legacy.family.nft()), selections, &removed);
    }
    for name in &artifacts.ipsets {
        report.note(format!("ipset {name}"), remove_ipset(name).await);
    }
    remove_ipvs(&mut report, &artifacts.ipvs).await;
    if let Some(link) = &artifacts.link {
        report.note(format!("link {IPVS_LINK}"), interfaces::delete(link.index).await);
    }
    report
}

/// Notes one line for each table of iptables.
fn note_selections<R, E: fmt::Display>(
    report: &mut RemovalReport,
    place: &str,
    selections: &[IptablesSelection<R>],
    removed: &Result<(), E>,
) {
    for selection in selections {
        let (table, chains, jumps) = (&selection.table, selection.chains.len(), selection.jumps.len());
        let rules = format!("{chains} chains and {jumps} jumps of kube-proxy in the table {table} ({place})");
        report.note(rules, removed.as_ref().copied());
        for chain in &selection.dropping {
            report.warnings.push(format!(
                "the policy of {chain} in the table {table} ({place}) is to drop, and kube-proxy's rules there accepted traffic of \
                 Services: make sure that other rules accept it"
            ));
        }
        for kept in &selection.kept {
            report.left.push(format!(
                "chain {} in the table {table} ({place}): a rule in {} jumps to it",
                kept.chain, kept.jumped_from
            ));
        }
    }
}

async fn remove_from_iptables_nft(netlink: &mut Netlink, family: Family) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        let selections = select_in_iptables_nft(netlink, family).await?;
        let jumps: Vec<Removal> = selections
            .iter()
            .flat_map(|selection| {
                let table = &selection.table;
                selection.jumps.iter().map(|(chain, rule)| Removal::Rule(family, table.clone(), chain.clone(), *rule))
            })
            .collect();
        let chains = |removal: fn(Family, String, String) -> Removal| {
            let of_table = |selection: &IptablesSelection<u64>| {
                let table = selection.table.clone();
                let chains = selection.chains.clone().into_iter();
                chains.map(move |chain| removal(family, table.clone(), chain)).collect::<Vec<_>>()
            };
            selections.iter().flat_map(of_table).collect::<Vec<_>>()
        };
        let removal = async {
            // Without the jumps no packet reaches the other rules, so removing those may take any number of batches.
            netlink.remove(jumps).await?;
            netlink.remove(chains(Removal::Rules)).await?;
            netlink.remove(chains(Removal::Chain)).await
        };
        match removal.await {
            Err(error)
                if attempt < MAX_ATTEMPTS && matches!(error.refusal(), Some(Refusal::Missing | Refusal::Busy)) =>
            {
                tracing::debug!(%error, "another program changed the same rules: trying again");
                tokio::time::sleep(RETRY_PAUSE).await;
                attempt += 1;
            }
            finished => return finished,
        }
    }
}

async fn remove_ipset(name: &str) -> Result<(), String> {
    for _ in 0..MAX_ATTEMPTS {
        match ipset::destroy(name).await {
            Ok(true) => return Ok(()),
            Ok(false) => tokio::time::sleep(RETRY_PAUSE).await,
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("a rule still refers to it: remove that rule, then run `pointsman --cleanup=kube-proxy`".to_owned())
}

async fn remove_virtual_services(report: &mut RemovalReport, services: &[VirtualService]) {
    match ipvs::remove(services.to_vec()).await {
        Ok(all) => {
            for (service, removed) in all {
                report.note(format!("virtual service {service} of IPVS"), removed);
            }
        }
        Err(error) => report.failed.push(format!("{} virtual services of IPVS: {error}", services.len())),
    }
    match ipvs::end_connections(services).await {
        Ok(0) => {}
        Ok(ended) => report.removed.push(format!("{ended} connections through IPVS, in connection tracking")),
        Err(error) => report.failed.push(format!("connections through IPVS, in connection tracking: {error}")),
    }
}

async fn remove_ipvs(report: &mut RemovalReport, ipvs: &IpvsServices) {
    if !ipvs.of_kube_proxy.is_empty() {
        remove_virtual_services(report, &ipvs.of_kube_proxy).await;
    }
    for service in &ipvs.foreign {
        report.left.push(format!(
            "virtual service {service} of IPVS: its address is not on {IPVS_LINK}. If it belongs to a NodePort of kube-proxy, remove \
             it with `ipvsadm -D {service}`"
        ));
    }
}
