//! Other programs' base chains on the way of a packet: they may drop what our rules let pass.

use serde_json::{Value as Json, json};

use crate::apply::{ForeignChain, Netlink};
use crate::dataplane::{Family, Packet, TABLE};

/// The hooks by their numbers (`NF_INET_PRE_ROUTING` is 0).
const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
/// The hooks that a packet may pass that arrives, and one that this node sends.
const ARRIVING: [u32; 4] = [0, 1, 2, 4];
const SENT: [u32; 2] = [3, 4];
/// How many chains without policy drop a line names.
const MAX_NAMES: usize = 8;

/// Chains of other programs on the way of a packet.
#[derive(Debug, Default)]
pub(super) struct ForeignChains {
    /// Those with policy drop, and others; each as `TABLE-FAMILY TABLE CHAIN` with its hook.
    dropping: Vec<(String, &'static str)>,
    others: Vec<(String, &'static str)>,
    /// Why they are not known.
    error: Option<String>,
}

impl ForeignChains {
    /// Lists them from the kernel. That they are not known is part of the answer.
    pub async fn on_way(packet: &Packet) -> Self {
        let listed = async { Netlink::open()?.list_all().await };
        match listed.await {
            Ok((_, chains)) => Self::select(packet, chains),
            Err(error) => Self { error: Some(error.to_string()), ..Self::default() },
        }
    }

    fn select(packet: &Packet, chains: Vec<ForeignChain>) -> Self {
        let hooks: &[u32] = if packet.iif.is_some() { &ARRIVING } else { &SENT };
        let family = Family::from_addr(packet.daddr).nft();
        let mut found = Self::default();
        for chain in chains {
            let Some(base) = chain.base.filter(|base| hooks.contains(&base.hook)) else { continue };
            let ours = chain.table.name == TABLE && matches!(chain.table.family, "ip" | "ip6");
            if ours || (chain.table.family != family && chain.table.family != "inet") {
                continue;
            }
            let hook = usize::try_from(base.hook).ok().and_then(|hook| HOOKS.get(hook)).copied().unwrap_or("?");
            let place = (format!("{} {} {}", chain.table.family, chain.table.name, chain.name), hook);
            if base.drops { found.dropping.push(place) } else { found.others.push(place) }
        }
        found.dropping.sort();
        found.others.sort();
        found
    }

    /// Lines of an explanation.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(error) = &self.error {
            text.push_str(&format!("FOREIGN   not known: {error}\n"));
        }
        for (place, hook) in &self.dropping {
            text.push_str(&format!(
                "FOREIGN   {place}: policy drop at {hook}: one of its rules has to accept the packet\n"
            ));
        }
        let shown: Vec<&str> = self.others.iter().take(MAX_NAMES).map(|(place, _)| place.as_str()).collect();
        if !shown.is_empty() {
            let more = self.others.len().saturating_sub(MAX_NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text.push_str(&format!("FOREIGN   on the way, and may drop or translate: {}{more}\n", shown.join(", ")));
        }
        text
    }

    /// The same for programs.
    pub fn json(&self) -> Json {
        let row = |drops: bool| move |(place, hook): &(String, &str)| json!({"chain": place, "hook": hook, "policyDrop": drops});
        let rows: Vec<Json> = self.dropping.iter().map(row(true)).chain(self.others.iter().map(row(false))).collect();
        Json::Array(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{ForeignHook, ForeignTable};
    use crate::dataplane::Protocol;

    fn chain(family: &'static str, table: &str, name: &str, hook: Option<(u32, bool)>) -> ForeignChain {
        let base = hook.map(|(hook, drops)| ForeignHook { hook, drops });
        ForeignChain { table: ForeignTable { family, name: table.to_owned() }, name: name.to_owned(), base }
    }

    #[test]
    fn chains_at_hooks_on_the_way_are_named_and_those_that_drop_come_first() {
        let chains = || {
            vec![
                chain("ip", "pointsman", "filter-forward", Some((2, false))),
                chain("inet", "firewalld", "filter_PREROUTING", Some((0, false))),
                chain("ip", "filter", "FORWARD", Some((2, true))),
                chain("ip", "filter", "cali-FORWARD", None),
                chain("ip", "filter", "OUTPUT", Some((3, true))),
                chain("ip6", "filter", "FORWARD", Some((2, true))),
                chain("bridge", "filter", "FORWARD", Some((2, true))),
            ]
        };
        let mut packet = Packet {
            saddr: "10.1.0.1".parse().unwrap(),
            daddr: "10.96.0.1".parse().unwrap(),
            protocol: Protocol::Tcp,
            dport: 80,
            iif: Some("eth0".to_owned()),
            opens: true,
        };
        assert_eq!(
            ForeignChains::select(&packet, chains()).text(),
            "FOREIGN   ip filter FORWARD: policy drop at forward: one of its rules has to accept the packet\n\
             FOREIGN   on the way, and may drop or translate: inet firewalld filter_PREROUTING\n"
        );
        packet.iif = None;
        let sent = ForeignChains::select(&packet, chains());
        assert!(sent.text().starts_with("FOREIGN   ip filter OUTPUT: policy drop at output"), "{}", sent.text());
        assert_eq!(sent.json()[0]["policyDrop"], true);
        let many = (0..20).map(|n| chain("ip", "t", &format!("c{n:02}"), Some((3, false)))).collect();
        assert!(ForeignChains::select(&packet, many).text().ends_with("ip t c07 and 12 more\n"));
    }
}
