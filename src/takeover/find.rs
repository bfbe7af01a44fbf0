//! What kube-proxy has laid down in this network namespace. Nothing is changed to find out.

use std::path::Path;

use super::interfaces::{Interface, interfaces};
use super::ipset;
use super::ipvs::{self, Ipvs};
use super::legacy;
pub use super::legacy::Legacy;
use super::names::{self, IPTABLES, IPVS_LINK, TABLE};
use super::ruleset::{Rule, Ruleset};
use super::selection::{Selection, select};
use crate::apply::{Error, Netlink};
use crate::dataplane::Family;

/// What was found of kube-proxy.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// Its own tables of nf_tables.
    pub tables: Vec<Family>,
    /// Its rules in the tables of iptables-nft.
    pub iptables_nft: Vec<(Family, Vec<Selection<u64>>)>,
    /// The tables of iptables-legacy, where there are some, and its rules in them.
    pub iptables_legacy: Vec<(Legacy, Vec<Selection<String>>)>,
    /// Its ipsets.
    pub ipsets: Vec<String>,
    /// Its dummy link.
    pub link: Option<Interface>,
    /// Virtual services of IPVS.
    pub ipvs: Ipvs,
    /// What could not be looked at, why, and what helps.
    pub unseen: Vec<String>,
}

impl Traces {
    /// Nothing of kube-proxy's is there, as far as it can be seen.
    pub fn is_empty(&self) -> bool {
        self.modes().is_empty()
    }

    /// Its rules in the tables of iptables-legacy.
    pub fn in_legacy(&self) -> impl Iterator<Item = &(Legacy, Vec<Selection<String>>)> {
        self.iptables_legacy.iter().filter(|(_, selections)| !selections.is_empty())
    }

    /// The modes that kube-proxy has run in.
    pub fn modes(&self) -> Vec<&'static str> {
        let ipvs = !self.ipsets.is_empty() || self.link.is_some() || !self.ipvs.theirs.is_empty();
        let iptables = !self.iptables_nft.is_empty() || self.in_legacy().next().is_some();
        // In ipvs mode it has some chains of iptables as well.
        let found = [("nftables", !self.tables.is_empty()), ("ipvs", ipvs), ("iptables", iptables && !ipvs)];
        found.into_iter().filter_map(|(mode, found)| found.then_some(mode)).collect()
    }
}

/// Looks for everything that kube-proxy may have laid down.
///
/// # Errors
///
/// If the kernel does not show its nf_tables; what else cannot be looked at is in [`Traces::unseen`].
pub async fn find(netlink: &mut Netlink) -> Result<Traces, Error> {
    let mut traces = Traces::default();
    let (tables, _) = netlink.list_all().await?;
    let of_theirs = |family: &Family| tables.iter().any(|table| table.family == family.nft() && table.name == TABLE);
    traces.tables = Family::ALL.into_iter().filter(of_theirs).collect();
    for family in Family::ALL {
        let selections = in_iptables_nft(netlink, family).await?;
        if !selections.is_empty() {
            traces.iptables_nft.push((family, selections));
        }
        match legacy::find(family).await {
            Ok(None) => {}
            Ok(Some(legacy)) => {
                let selections = select(&legacy.ruleset);
                traces.iptables_legacy.push((legacy, selections));
            }
            Err(why) => traces.unseen.push(why),
        }
    }
    // Asking for an ipset would load the module.
    if Path::new("/sys/module/ip_set").exists() {
        match ipset::find(names::ipsets()).await {
            Ok(found) => traces.ipsets = found,
            Err(error) => traces.unseen.push(format!("cannot look for ipsets of kube-proxy: {error}")),
        }
    }
    match interfaces().await {
        Ok(all) => traces.link = all.into_iter().find(|interface| interface.name == IPVS_LINK),
        Err(error) => traces.unseen.push(format!("this host's interfaces cannot be listed: {error}")),
    }
    traces.ipvs = ipvs::find(traces.link.as_ref().map_or(&[], |link| &link.addresses));
    Ok(traces)
}

/// What is kube-proxy's in the tables of iptables-nft of a family. Only tables with chains of its are read.
pub(super) async fn in_iptables_nft(netlink: &mut Netlink, family: Family) -> Result<Vec<Selection<u64>>, Error> {
    let (_, chains) = netlink.list_all().await?;
    let mut ruleset = Ruleset::default();
    for table in IPTABLES {
        let of_table: Vec<_> =
            chains.iter().filter(|chain| chain.table.family == family.nft() && chain.table.name == table).collect();
        if !of_table.iter().any(|chain| names::is_chain(table, &chain.name)) {
            continue;
        }
        for chain in of_table {
            let found = ruleset.chain(table, &chain.name);
            (found.built_in, found.drops) = (chain.base.is_some(), chain.base.is_some_and(|base| base.drops));
        }
        for rule in netlink.list_rules(family, table).await? {
            ruleset.chain(table, &rule.chain).rules.push(Rule { name: rule.handle, target: rule.target });
        }
    }
    Ok(select(&ruleset))
}
