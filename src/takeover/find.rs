//! Finding what kube-proxy left in this network namespace. Nothing is changed.

use std::path::Path;

use super::interfaces::{Interface, interfaces};
use super::ipset;
use super::ipvs::{self, IpvsServices};
use super::legacy;
pub use super::legacy::LegacyIptables;
use super::names::{self, IPTABLES_TABLES, IPVS_LINK, KUBE_PROXY_TABLE};
use super::ruleset::{IptablesRule, IptablesRuleset};
use super::selection::{IptablesSelection, select};
use crate::apply::{Error, Netlink};
use crate::dataplane::Family;

/// What kube-proxy left on the node.
#[derive(Clone, Debug, Default)]
pub struct KubeProxyArtifacts {
    /// The families in which it has its own table of nf_tables.
    pub tables: Vec<Family>,
    /// Its rules in the tables of iptables-nft.
    pub iptables_nft: Vec<(Family, Vec<IptablesSelection<u64>>)>,
    /// The rules of iptables-legacy, where there are any, and which of them are kube-proxy's.
    pub iptables_legacy: Vec<(LegacyIptables, Vec<IptablesSelection<String>>)>,
    /// Its ipsets.
    pub ipsets: Vec<String>,
    /// Its dummy link.
    pub link: Option<Interface>,
    /// Virtual services of IPVS.
    pub ipvs: IpvsServices,
    /// What could not be inspected, why, and what to do.
    pub unseen: Vec<String>,
}

impl KubeProxyArtifacts {
    /// Whether nothing of kube-proxy was found.
    pub fn is_empty(&self) -> bool {
        self.modes().is_empty()
    }

    /// Its rules in the tables of iptables-legacy.
    pub fn in_legacy(&self) -> impl Iterator<Item = &(LegacyIptables, Vec<IptablesSelection<String>>)> {
        self.iptables_legacy.iter().filter(|(_, selections)| !selections.is_empty())
    }

    /// The modes in which kube-proxy has run.
    pub fn modes(&self) -> Vec<&'static str> {
        let ipvs = !self.ipsets.is_empty() || self.link.is_some() || !self.ipvs.of_kube_proxy.is_empty();
        let iptables = !self.iptables_nft.is_empty() || self.in_legacy().next().is_some();
        // In ipvs mode kube-proxy has some chains of iptables as well.
        let found = [("nftables", !self.tables.is_empty()), ("ipvs", ipvs), ("iptables", iptables && !ipvs)];
        found.into_iter().filter_map(|(mode, found)| found.then_some(mode)).collect()
    }
}

/// Looks for everything that kube-proxy may have left.
///
/// # Errors
///
/// If the kernel does not list its nf_tables. Other places that cannot be inspected are in [`KubeProxyArtifacts::unseen`].
pub async fn find_artifacts(netlink: &mut Netlink) -> Result<KubeProxyArtifacts, Error> {
    let mut artifacts = KubeProxyArtifacts::default();
    let (tables, _) = netlink.list_all().await?;
    let of_theirs =
        |family: &Family| tables.iter().any(|table| table.family == family.nft() && table.name == KUBE_PROXY_TABLE);
    artifacts.tables = Family::ALL.into_iter().filter(of_theirs).collect();
    for family in Family::ALL {
        let selections = select_in_iptables_nft(netlink, family).await?;
        if !selections.is_empty() {
            artifacts.iptables_nft.push((family, selections));
        }
        match legacy::find(family).await {
            Ok(None) => {}
            Ok(Some(legacy)) => {
                let selections = select(&legacy.ruleset);
                artifacts.iptables_legacy.push((legacy, selections));
            }
            Err(why) => artifacts.unseen.push(why),
        }
    }
    // A request about an ipset would load the module.
    if Path::new("/sys/module/ip_set").exists() {
        match ipset::find(names::ipset_names()).await {
            Ok(found) => artifacts.ipsets = found,
            Err(error) => artifacts.unseen.push(format!("cannot look for ipsets of kube-proxy: {error}")),
        }
    }
    match interfaces().await {
        Ok(all) => artifacts.link = all.into_iter().find(|interface| interface.name == IPVS_LINK),
        Err(error) => artifacts.unseen.push(format!("cannot list this host's interfaces: {error}")),
    }
    artifacts.ipvs = ipvs::find(artifacts.link.as_ref().map_or(&[], |link| &link.addresses));
    Ok(artifacts)
}

/// Selects what is kube-proxy's in the tables of iptables-nft of a family. Reads only tables with chains of kube-proxy.
pub(super) async fn select_in_iptables_nft(
    netlink: &mut Netlink,
    family: Family,
) -> Result<Vec<IptablesSelection<u64>>, Error> {
    let (_, chains) = netlink.list_all().await?;
    let mut ruleset = IptablesRuleset::default();
    for table in IPTABLES_TABLES {
        let of_table: Vec<_> =
            chains.iter().filter(|chain| chain.table.family == family.nft() && chain.table.name == table).collect();
        if !of_table.iter().any(|chain| names::is_kube_proxy_chain(table, &chain.name)) {
            continue;
        }
        for chain in of_table {
            let found = ruleset.chain(table, &chain.name);
            (found.built_in, found.drops) = (chain.base.is_some(), chain.base.is_some_and(|base| base.drops));
        }
        for rule in netlink.list_rules(family, table).await? {
            ruleset.chain(table, &rule.chain).rules.push(IptablesRule { name: rule.handle, target: rule.target });
        }
    }
    Ok(select(&ruleset))
}
