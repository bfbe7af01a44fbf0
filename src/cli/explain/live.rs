//! `pointsman explain --live`: the way of one real packet through all tables of the kernel.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value as Json, json};

use crate::apply::{Netlink, PacketTracer, TraceHop, TraceSource, TracedPacket};
use crate::dataplane::{Action, Endpoint, Family, Hook, Packet, Rule, TABLE};
use crate::explain::{Ruleset, Sender, Sight};

/// How long to wait for a connection, unless an option says otherwise.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The way of a real packet.
pub(super) struct LiveWay {
    traced: TracedPacket,
    /// The place in its chain of each rule of our table, by handle.
    places: BTreeMap<u64, usize>,
}

/// Whose packets can be told from others.
///
/// # Errors
///
/// If the sender is a pod or a client in general: says what to name.
pub(super) fn check_sender(sender: &Sender) -> anyhow::Result<()> {
    match sender {
        Sender::Addr(_) | Sender::Node => Ok(()),
        Sender::Pod | Sender::Outside => {
            bail!("--live follows one client's connection: name the client with --from ADDRESS, or --from node")
        }
    }
}

impl LiveWay {
    /// Waits for a connection like this one; of this node, from any of its addresses. The table that asks for the trace is gone when this
    /// returns, whatever it returns.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to trace, or there is no such connection in time.
    pub async fn follow(packet: &Packet, sender: &Sender, within: Duration) -> anyhow::Result<Self> {
        let source = if *sender == Sender::Node { TraceSource::Node } else { TraceSource::Address };
        let tracer = PacketTracer::start(packet, source).await?;
        let to = Endpoint { addr: packet.daddr, port: packet.dport };
        let from = match source {
            TraceSource::Node => "this node".to_owned(),
            TraceSource::Address => packet.saddr.to_string(),
        };
        tracing::warn!("waiting {within:?} for a new connection from {from} to {to}/{}", packet.protocol);
        let traced = tracer.first_packet(within).await?;
        if traced.hops.is_empty() {
            let other = match (source, &packet.iif) {
                (TraceSource::Address, None) => {
                    "; --from node follows this node's connections from all of its addresses"
                }
                _ => "",
            };
            bail!(
                "there was no new connection from {from} to {to}/{} within {within:?}: open one, or wait longer with --timeout{other}",
                packet.protocol
            );
        }
        let rules = Netlink::open()?.list_rules(Family::from_addr(packet.daddr), TABLE).await.unwrap_or_default();
        let mut lengths: BTreeMap<String, usize> = BTreeMap::new();
        let places = rules.into_iter().map(|rule| {
            let length = lengths.entry(rule.chain).or_default();
            *length += 1;
            (rule.handle, *length - 1)
        });
        Ok(Self { places: places.collect(), traced })
    }

    /// The address that the packet came from.
    pub fn source(&self) -> Option<IpAddr> {
        self.traced.hops.iter().find_map(|hop| Some(hop.headers?.from))
    }

    /// What became of the packet; `None` if that is not known, because steps are missing.
    pub fn sight(&self, ruleset: &Ruleset) -> Option<Sight> {
        let hops = &self.traced.hops;
        if let Some(hop) = hops.iter().find(|hop| hop.verdict == "drop") {
            let chain = format!("{} {} {}", hop.table.family, hop.table.name, hop.chain);
            return Some(match is_ours(hop) {
                true => {
                    let answers = |rule: &Rule| matches!(rule.action, Action::RejectTcpReset | Action::Reject);
                    Sight::Refused { chain, answered: self.typed_rule(hop, ruleset).is_some_and(answers) }
                }
                false => Sight::DroppedElsewhere { chain, handle: hop.rule },
            });
        }
        let is_translation = |hop: &TraceHop| {
            self.typed_rule(hop, ruleset).is_some_and(|rule| matches!(rule.action, Action::DnatTo(..)))
        };
        let translated = hops.iter().position(is_translation);
        // Of our base chains after the translation, those at these hooks come after the routing decision.
        let is_routed = |hop: &TraceHop| {
            let hook = ruleset.base(&hop.chain).filter(|_| is_ours(hop)).map(|base| base.hook);
            matches!(hook, Some(Hook::Input | Hook::Forward | Hook::Output | Hook::Postrouting))
        };
        match translated {
            Some(_) if self.traced.lost => None,
            Some(at) if !hops[at + 1..].iter().any(is_routed) => Some(Sight::NotRouted),
            // Headers of before the translation do not tell where it went.
            at => {
                let behind = at.map_or(0, |at| at + 1);
                hops[behind..].iter().rev().find_map(|hop| Some(Sight::Passed { to: hop.headers?.to }))
            }
        }
    }

    /// The rule of a step, where it is one of ours.
    fn typed_rule<'r>(&self, hop: &TraceHop, ruleset: &'r Ruleset) -> Option<&'r Rule> {
        let place = self.places.get(&hop.rule?).filter(|_| is_ours(hop))?;
        ruleset.rule(&hop.chain, *place)
    }

    /// Its text.
    fn rule(&self, hop: &TraceHop, ruleset: &Ruleset) -> Option<String> {
        let text = self.typed_rule(hop, ruleset)?.to_string();
        text.split(" comment \"").next().map(str::to_owned)
    }

    /// Lines of an explanation.
    pub fn text(&self, ruleset: &Ruleset) -> String {
        let mut text = "\nLIVE  the way of a real packet\n".to_owned();
        for (number, hop) in self.traced.hops.iter().enumerate() {
            let TraceHop { table, chain, rule, verdict, .. } = hop;
            let what = match (self.rule(hop, ruleset), rule) {
                (Some(rule), _) => rule,
                (None, Some(handle)) => format!("rule with handle {handle}: {verdict}"),
                (None, None) => format!("end of the chain: {verdict}"),
            };
            text.push_str(&format!("{:>3} {} {} {chain}: {what}\n", number + 1, table.family, table.name));
        }
        text.push_str(&format!("    {}\n", self.end(ruleset)));
        text
    }

    /// What became of it, as far as the ruleset says.
    fn end(&self, ruleset: &Ruleset) -> String {
        match self.sight(ruleset) {
            Some(sight) => sight.text(),
            None => "no chain is known to have dropped it; steps may be missing".to_owned(),
        }
    }

    /// The same for programs.
    pub fn json(&self, ruleset: &Ruleset) -> Json {
        let hops = self.traced.hops.iter().map(|hop| {
            json!({
                "table": format!("{} {}", hop.table.family, hop.table.name),
                "chain": hop.chain,
                "handle": hop.rule,
                "rule": self.rule(hop, ruleset),
                "verdict": hop.verdict,
            })
        });
        hops.collect()
    }
}

fn is_ours(hop: &TraceHop) -> bool {
    hop.table.name == TABLE && matches!(hop.table.family, "ip" | "ip6")
}
