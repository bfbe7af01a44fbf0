//! Selecting the jumps and chains of an iptables ruleset that are kube-proxy's and may go.

use std::collections::{BTreeMap, BTreeSet};

use super::names;
use super::ruleset::{IptablesChain, IptablesRuleset};

/// What to remove from one table of iptables. `R` names a rule, as in [`IptablesRuleset`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IptablesSelection<R> {
    /// The table.
    pub table: String,
    /// The rules of built-in chains that send packets to kube-proxy's chains: chain and rule.
    pub jumps: Vec<(String, R)>,
    /// kube-proxy's chains that go, with all of their rules.
    pub chains: Vec<String>,
    /// Chains of kube-proxy that stay.
    pub kept: Vec<KeptChain>,
    /// Built-in chains with the policy to drop, where a rule of kube-proxy may have accepted packets.
    pub dropping: Vec<String>,
}

/// A chain of kube-proxy that stays because a rule outside of kube-proxy's jumps to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptChain {
    /// The chain.
    pub chain: String,
    /// The chain with the rule that jumps to it.
    pub jumped_from: String,
}

impl<R> IptablesSelection<R> {
    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.jumps.is_empty() && self.chains.is_empty()
    }
}

/// Selects what to remove from each table. A table without rules of kube-proxy is left out.
pub(super) fn select<R: Clone>(ruleset: &IptablesRuleset<R>) -> Vec<IptablesSelection<R>> {
    let tables = ruleset.0.iter().filter(|(table, _)| names::IPTABLES_TABLES.contains(&table.as_str()));
    tables.map(|(table, chains)| select_in_table(table, chains)).filter(|selection| !selection.is_empty()).collect()
}

fn select_in_table<R: Clone>(table: &str, chains: &BTreeMap<String, IptablesChain<R>>) -> IptablesSelection<R> {
    let is_kube_proxys = |name: &str| names::is_kube_proxy_chain(table, name);
    let mut jumps = Vec::new();
    let mut kept = BTreeSet::new();
    // Chains that stay and whose rules are still to be followed.
    let mut staying: Vec<&str> = chains.keys().map(String::as_str).filter(|name| !is_kube_proxys(name)).collect();
    let mut kept_names = BTreeSet::new();
    while let Some(name) = staying.pop() {
        let Some(chain) = chains.get(name) else { continue };
        for rule in &chain.rules {
            let Some(target) = rule.target.as_deref().filter(|target| is_kube_proxys(target)) else { continue };
            if chain.built_in && names::is_entry_chain(table, target) {
                jumps.push((name.to_owned(), rule.name.clone()));
            } else if kept_names.insert(target) {
                kept.insert(KeptChain { chain: target.to_owned(), jumped_from: name.to_owned() });
                staying.push(target);
            }
        }
    }
    let removed = chains.keys().filter(|name| is_kube_proxys(name) && !kept_names.contains(name.as_str()));
    let dropping = chains.iter().filter(|(_, chain)| chain.built_in && chain.drops).map(|(name, _)| name);
    let dropping = dropping.filter(|name| jumps.iter().any(|(from, _)| from == *name)).cloned().collect();
    IptablesSelection {
        table: table.to_owned(),
        jumps,
        chains: removed.cloned().collect(),
        kept: kept.into_iter().collect(),
        dropping,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = include_str!("selection/iptables-mode.txt");

    fn selected(saved: &str, table: &str) -> IptablesSelection<String> {
        let selections = select(&IptablesRuleset::parse(saved));
        selections.into_iter().find(|selection| selection.table == table).expect("something is found in the table")
    }

    #[test]
    fn only_jumps_and_chains_of_kube_proxy_are_selected() {
        let nat = selected(NODE, "nat");
        assert_eq!(nat.jumps.len(), 3, "{:?}", nat.jumps);
        assert!(nat.jumps.iter().all(|(_, rule)| rule.contains("-j KUBE-")));
        assert_eq!(
            nat.chains,
            [
                "KUBE-EXT-AAAAAAAAAAAAAAAA",
                "KUBE-MARK-MASQ",
                "KUBE-NODEPORTS",
                "KUBE-POSTROUTING",
                "KUBE-PROXY-CANARY",
                "KUBE-SEP-AAAAAAAAAAAAAAAA",
                "KUBE-SEP-BBBBBBBBBBBBBBBB",
                "KUBE-SERVICES",
                "KUBE-SVC-AAAAAAAAAAAAAAAA",
            ]
        );
        let filter = selected(NODE, "filter");
        assert_eq!(filter.jumps.len(), 10, "{:?}", filter.jumps);
        assert!(filter.jumps.iter().all(|(_, rule)| !rule.contains("KUBE-FIREWALL")));
        assert!(!filter.chains.contains(&"KUBE-FIREWALL".to_owned()));
        assert_eq!(selected(NODE, "mangle").chains, ["KUBE-PROXY-CANARY"]);
        assert!(nat.kept.is_empty() && filter.kept.is_empty());
        assert_eq!((nat.dropping.len(), filter.dropping), (0, vec!["FORWARD".to_owned()]));
    }

    #[test]
    fn a_chain_that_a_foreign_rule_jumps_to_stays_with_the_chains_that_it_jumps_to() {
        let saved = format!("{NODE}*nat\n:CNI-HOSTPORT - [0:0]\n-A CNI-HOSTPORT -p tcp -j KUBE-SVC-AAAAAAAAAAAAAAAA\n");
        let nat = selected(&saved, "nat");
        let kept: Vec<(&str, &str)> =
            nat.kept.iter().map(|kept| (kept.chain.as_str(), kept.jumped_from.as_str())).collect();
        assert_eq!(
            kept,
            [
                ("KUBE-MARK-MASQ", "KUBE-SVC-AAAAAAAAAAAAAAAA"),
                ("KUBE-SEP-AAAAAAAAAAAAAAAA", "KUBE-SVC-AAAAAAAAAAAAAAAA"),
                ("KUBE-SEP-BBBBBBBBBBBBBBBB", "KUBE-SVC-AAAAAAAAAAAAAAAA"),
                ("KUBE-SVC-AAAAAAAAAAAAAAAA", "CNI-HOSTPORT"),
            ]
        );
        assert_eq!(nat.jumps.len(), 3);
        assert!(nat.chains.contains(&"KUBE-SERVICES".to_owned()));
        assert!(nat.kept.iter().all(|kept| !nat.chains.contains(&kept.chain)));
    }

    #[test]
    fn a_jump_from_a_built_in_chain_that_kube_proxy_never_makes_is_foreign() {
        let saved = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-SERVICES - [0:0]\n\
                     -A PREROUTING -p tcp --dport 25 -j KUBE-MARK-MASQ\n-A PREROUTING -j KUBE-SERVICES\n";
        let nat = selected(saved, "nat");
        assert_eq!(nat.jumps, [("PREROUTING".to_owned(), "-A PREROUTING -j KUBE-SERVICES".to_owned())]);
        assert_eq!(nat.chains, ["KUBE-SERVICES"]);
    }

    #[test]
    fn chains_that_jump_in_circles_end_the_search() {
        let saved = "*nat\n:OTHER - [0:0]\n:KUBE-SVC-A - [0:0]\n:KUBE-SVC-B - [0:0]\n-A OTHER -j KUBE-SVC-A\n\
                     -A KUBE-SVC-A -j KUBE-SVC-B\n-A KUBE-SVC-B -j KUBE-SVC-A\n";
        assert!(select(&IptablesRuleset::parse(saved)).is_empty());
    }

    #[test]
    fn a_table_without_kube_proxy_is_left_out() {
        assert!(
            select(&IptablesRuleset::parse(
                "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n-A PREROUTING -j DOCKER\n"
            ))
            .is_empty()
        );
        assert!(select(&IptablesRuleset::parse("*raw\n:KUBE-SERVICES - [0:0]\n")).is_empty());
    }
}
