//! Removing what kube-proxy laid down.

use std::fmt;
use std::time::Duration;

use super::find::{Traces, in_iptables_nft};
use super::interfaces;
use super::ipset;
use super::ipvs::{self, Ipvs};
use super::names::{IPVS_LINK, TABLE};
use super::selection::Selection;
use crate::apply::{Error, Netlink, Refusal, Removal};
use crate::dataplane::Family;

/// How often the rules are selected anew because somebody changed them meanwhile.
const ATTEMPTS: usize = 5;
/// How long to wait before that, and for the kernel to let go of ipsets: it removes rules that are gone in the background.
const PAUSE: Duration = Duration::from_millis(100);

/// What was done, in sentences for an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was removed.
    pub removed: Vec<String>,
    /// What was left on purpose, and why.
    pub left: Vec<String>,
    /// What should have been removed and was not.
    pub failed: Vec<String>,
    /// What may not work any more.
    pub warnings: Vec<String>,
}

impl Report {
    /// Notes what became of something.
    pub fn note(&mut self, what: String, done: Result<(), impl fmt::Display>) {
        match done {
            Ok(()) => self.removed.push(what),
            Err(error) => self.failed.push(format!("{what}: {error}")),
        }
    }
}

/// Removes everything that was found. What fails does not keep the rest.
///
/// Order matters where one thing refers to another: rules, then the ipsets that they ask; virtual services, then the link with
/// their addresses.
pub async fn remove(netlink: &mut Netlink, traces: &Traces) -> Report {
    let mut report = Report { left: traces.unseen.clone(), ..Report::default() };
    for family in &traces.tables {
        let done = match netlink.remove(vec![Removal::Table(*family, TABLE.to_owned())]).await {
            Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(()),
            done => done,
        };
        report.note(format!("table {} {TABLE}", family.nft()), done);
    }
    for (family, selections) in &traces.iptables_nft {
        let done = remove_from_iptables_nft(netlink, *family).await;
        describe(&mut report, &format!("{}, iptables-nft", family.nft()), selections, &done);
    }
    for (legacy, selections) in traces.in_legacy() {
        let done = legacy.remove(selections).await;
        describe(&mut report, &format!("{}, iptables-legacy", legacy.family.nft()), selections, &done);
    }
    for name in &traces.ipsets {
        report.note(format!("ipset {name}"), remove_ipset(name).await);
    }
    remove_ipvs(&mut report, &traces.ipvs).await;
    if let Some(link) = &traces.link {
        report.note(format!("link {IPVS_LINK}"), interfaces::delete(link.index).await);
    }
    report
}

/// One line for each table of iptables.
fn describe<R, E: fmt::Display>(report: &mut Report, place: &str, selections: &[Selection<R>], done: &Result<(), E>) {
    for selection in selections {
        let (table, chains, jumps) = (&selection.table, selection.chains.len(), selection.jumps.len());
        let what = format!("{chains} chains and {jumps} jumps of kube-proxy in the table {table} ({place})");
        report.note(what, done.as_ref().copied());
        for chain in &selection.dropping {
            report.warnings.push(format!(
                "the policy of {chain} in the table {table} ({place}) is to drop, and kube-proxy's rules there accepted traffic of \
                 Services: make sure that other rules do"
            ));
        }
        for kept in &selection.kept {
            report.left.push(format!(
                "chain {} in the table {table} ({place}): a rule in {} jumps to it",
                kept.chain, kept.wanted_by
            ));
        }
    }
}

async fn remove_from_iptables_nft(netlink: &mut Netlink, family: Family) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        let selections = in_iptables_nft(netlink, family).await?;
        let jumps: Vec<Removal> = selections
            .iter()
            .flat_map(|selection| {
                let table = &selection.table;
                selection.jumps.iter().map(|(chain, rule)| Removal::Rule(family, table.clone(), chain.clone(), *rule))
            })
            .collect();
        let chains = |removal: fn(Family, String, String) -> Removal| {
            let of_table = |selection: &Selection<u64>| {
                let table = selection.table.clone();
                let chains = selection.chains.clone().into_iter();
                chains.map(move |chain| removal(family, table.clone(), chain)).collect::<Vec<_>>()
            };
            selections.iter().flat_map(of_table).collect::<Vec<_>>()
        };
        let done = async {
            // Without the jumps no packet gets to the rest, so that may take any number of batches.
            netlink.remove(jumps).await?;
            netlink.remove(chains(Removal::Rules)).await?;
            netlink.remove(chains(Removal::Chain)).await
        };
        match done.await {
            Err(error) if attempt < ATTEMPTS && matches!(error.refusal(), Some(Refusal::Missing | Refusal::Busy)) => {
                tracing::debug!(%error, "somebody else changes the same rules: once more");
                tokio::time::sleep(PAUSE).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

async fn remove_ipset(name: &str) -> Result<(), String> {
    for _ in 0..ATTEMPTS {
        match ipset::destroy(name).await {
            Ok(true) => return Ok(()),
            Ok(false) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("a rule still refers to it".to_owned())
}

async fn remove_ipvs(report: &mut Report, ipvs: &Ipvs) {
    for service in &ipvs.theirs {
        report.note(format!("virtual service {service} of IPVS"), ipvs::remove(*service).await);
    }
    for service in &ipvs.others {
        report.left.push(format!(
            "virtual service {service} of IPVS: its address is not on {IPVS_LINK}. If it is of a NodePort of kube-proxy, remove it \
             with `ipvsadm -D {service}`"
        ));
    }
}
