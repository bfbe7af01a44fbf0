//! `pointsman explain --live`: the way of one real packet through all tables of the kernel.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value as Json, json};

use crate::apply::{Netlink, PacketTracer, TraceHop};
use crate::dataplane::{Endpoint, Family, Packet, TABLE};
use crate::explain::{Ruleset, Sender};

/// How long to wait for a connection, unless an option says otherwise.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// The way of a real packet.
pub(super) struct LiveWay {
    hops: Vec<TraceHop>,
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
    /// Waits for a connection like this one. The table that asks for the trace is gone when this returns, whatever it returns.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to trace, or there is no such connection in time.
    pub async fn follow(packet: &Packet, within: Duration) -> anyhow::Result<Self> {
        let tracer = PacketTracer::start(packet).await?;
        let to = Endpoint { addr: packet.daddr, port: packet.dport };
        tracing::warn!("waiting {within:?} for a new connection from {} to {to}/{}", packet.saddr, packet.protocol);
        let hops = tracer.first_packet(within).await?;
        if hops.is_empty() {
            bail!(
                "there was no new connection from {} to {to}/{} within {within:?}: open one, or wait longer with --timeout",
                packet.saddr,
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
        Ok(Self { places: places.collect(), hops })
    }

    /// The text of the rule of a step, where it is one of ours.
    fn rule(&self, hop: &TraceHop, ruleset: &Ruleset) -> Option<String> {
        let place = self.places.get(&hop.rule?).filter(|_| is_ours(hop))?;
        let text = ruleset.rule(&hop.chain, *place)?.to_string();
        text.split(" comment \"").next().map(str::to_owned)
    }

    /// Lines of an explanation.
    pub fn text(&self, ruleset: &Ruleset) -> String {
        let mut text = "\nLIVE  the way of a real packet\n".to_owned();
        for (number, hop) in self.hops.iter().enumerate() {
            let TraceHop { table, chain, rule, verdict } = hop;
            let what = match (self.rule(hop, ruleset), rule) {
                (Some(rule), _) => rule,
                (None, Some(handle)) => format!("rule with handle {handle}: {verdict}"),
                (None, None) => format!("end of the chain: {verdict}"),
            };
            text.push_str(&format!("{:>3} {} {} {chain}: {what}\n", number + 1, table.family, table.name));
        }
        text.push_str(&format!("    {}\n", self.end()));
        text
    }

    /// What became of it, as far as the ruleset says.
    fn end(&self) -> String {
        match self.hops.iter().find(|hop| hop.verdict == "drop") {
            Some(TraceHop { table, chain, .. }) => {
                format!("dropped, or refused with an answer, in {} {} {chain}", table.family, table.name)
            }
            None => "no chain dropped it".to_owned(),
        }
    }

    /// The same for programs.
    pub fn json(&self, ruleset: &Ruleset) -> Json {
        let hops = self.hops.iter().map(|hop| {
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
