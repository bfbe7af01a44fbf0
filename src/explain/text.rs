//! An explanation as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::explanation::{Explanation, Masquerade};
use super::question::OUTSIDE_INTERFACE;
use super::ruleset::Ruleset;
use super::sight::Sight;
use super::verdict::{Verdict, VerdictReason};
use crate::state::{Snapshot, TrafficPolicy};

/// How many nodes a line names.
const MAX_NODES: usize = 8;

/// How many EndpointSlices without the port the text names.
const MAX_SLICES: usize = 4;

/// The widest column: the longest name of a node.
const MAX_WIDTH: usize = 253;

/// The explanation for people: the verdict first, then the path, the endpoints and what else decides.
pub fn text(explanation: &Explanation, snapshot: &Snapshot, ruleset: &Ruleset) -> String {
    let mut text = sentence(explanation);
    text.push('\n');
    // Writing to a String cannot fail.
    let _ = write_path(&mut text, explanation, ruleset);
    let _ = write_endpoints(&mut text, explanation);
    let _ = write_notes(&mut text, explanation, snapshot);
    text
}

/// The verdict in one sentence.
fn sentence(explanation: &Explanation) -> String {
    let word = explanation.verdict.word();
    let reason = explanation.reason.text();
    if explanation.verdict != Verdict::Delivered || explanation.reason == VerdictReason::SeenOtherwise {
        let place = match &explanation.sight {
            Some(Sight::DroppedElsewhere { chain, .. } | Sight::Refused { chain, .. }) => format!(": {chain}"),
            Some(Sight::Passed { to }) => format!(": to {to}"),
            Some(Sight::NotRouted) | None => String::new(),
        };
        return format!("{word}  {reason}{place} ({})", explanation.reason.code());
    }
    let seen = match &explanation.sight {
        Some(Sight::Passed { to }) => format!("to {to}, as a real packet was seen; "),
        _ => String::new(),
    };
    let reached = explanation.endpoints.iter().filter(|share| share.reached).count();
    let each = match reached {
        1 => String::new(),
        reached => format!(", {} each", percent(reached)),
    };
    let source = match explanation.masquerade {
        Masquerade::Marked => "source address becomes this node's",
        _ => "source address kept",
    };
    let all = explanation.endpoints.len();
    format!("{word}  {seen}to {reached} of {all} endpoints{each}; {source} ({})", explanation.reason.code())
}

/// The share of each of so many endpoints.
fn percent(endpoints: usize) -> String {
    let endpoints = endpoints.max(1);
    let rounded = |parts: usize| (parts + endpoints / 2) / endpoints;
    let (tenths, hundredths) = (rounded(1_000), rounded(10_000));
    match (tenths, hundredths) {
        (0, 0) => "< 0.01 %".to_owned(),
        (0, _) => format!("0.0{hundredths} %"),
        _ if tenths.is_multiple_of(10) => format!("{} %", tenths / 10),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

fn write_path(text: &mut String, explanation: &Explanation, ruleset: &Ruleset) -> std::fmt::Result {
    let packet = &explanation.packet;
    let to = crate::dataplane::Endpoint { addr: packet.daddr, port: packet.dport };
    let by = match packet.iif.as_deref() {
        None => "sent by this node".to_owned(),
        Some(OUTSIDE_INTERFACE) => "arrives from outside".to_owned(),
        Some(iif) => format!("arrives by {iif}"),
    };
    writeln!(text, "\nPATH  {} -> {to}/{} ({by})", packet.saddr, packet.protocol)?;
    for (number, step) in explanation.path.iter().enumerate() {
        let rule = ruleset.rule(&step.chain, step.rule).map(ToString::to_string).unwrap_or_default();
        let rule = rule.split(" comment \"").next().unwrap_or_default();
        writeln!(text, "{:>3} {} {}: {rule}", number + 1, step.hook.nft(), step.chain)?;
        for (set, key, _) in &step.found {
            let owner = ruleset.comment(*set, key).map(|owner| format!("  Service {owner}")).unwrap_or_default();
            writeln!(text, "      found in {set}: {key}{owner}")?;
        }
    }
    if explanation.path.is_empty() {
        writeln!(text, "  no rule applies")?;
    }
    writeln!(text, "\nMASQUERADE  {}", explanation.masquerade.text())
}

fn write_endpoints(text: &mut String, explanation: &Explanation) -> std::fmt::Result {
    if explanation.endpoints.is_empty() {
        return Ok(());
    }
    let reached = explanation.endpoints.iter().filter(|share| share.reached).count();
    let rows = explanation.endpoints.iter().map(|share| {
        let node = share.judged.as_ref().and_then(|judged| judged.node.as_deref()).unwrap_or("-");
        let part = if share.reached { percent(reached) } else { "-".to_owned() };
        (share.endpoint.to_string(), node, part, share.text(), share.code())
    });
    let rows: Vec<_> = rows.collect();
    let width = |cells: &mut dyn Iterator<Item = usize>, name: &str| {
        cells.max().unwrap_or_default().clamp(name.len(), MAX_WIDTH)
    };
    let addresses = width(&mut rows.iter().map(|row| row.0.len()), "ENDPOINTS");
    let nodes = width(&mut rows.iter().map(|row| row.1.len()), "NODE");
    let parts = width(&mut rows.iter().map(|row| row.2.len()), "100 % ");
    writeln!(text, "\n{:addresses$}  {:nodes$}  {:parts$}  WHY, OR WHY NOT", "ENDPOINTS", "NODE", "SHARE")?;
    for (address, node, part, why, code) in rows {
        writeln!(text, "{address:addresses$}  {node:nodes$}  {part:parts$}  {why} ({code})")?;
    }
    Ok(())
}

/// How many endpoints are ready on which other nodes.
fn elsewhere(nodes: &BTreeMap<&str, usize>) -> String {
    let all: usize = nodes.values().sum();
    let shown: Vec<String> = nodes.iter().take(MAX_NODES).map(|(node, count)| format!("{node} {count}")).collect();
    let noun = if all == 1 { "endpoint" } else { "endpoints" };
    let colon = if shown.is_empty() { "" } else { ": " };
    let more = nodes.len().saturating_sub(MAX_NODES);
    let more = if more > 0 { format!(" and {more} more nodes") } else { String::new() };
    format!("{all} ready {noun} on other nodes{colon}{}{more}", shown.join(", "))
}

fn write_notes(text: &mut String, explanation: &Explanation, snapshot: &Snapshot) -> std::fmt::Result {
    if let (Some(frontend), Some(claims)) = (&explanation.frontend, &explanation.claims) {
        let winner = claims.winner();
        writeln!(text, "\nSERVICE   {} has {frontend}", winner.owner)?;
        if explanation.policy == TrafficPolicy::Local {
            writeln!(
                text,
                "POLICY    Local: this client may use endpoints on {} only",
                snapshot.cluster().node_name()
            )?;
        }
        if let Some(seconds) = winner.affinity {
            writeln!(text, "AFFINITY  a client stays with its endpoint until {seconds} s after its last connection")?;
        }
        if let Some(sources) = &winner.sources {
            let ranges: Vec<String> = sources.iter().map(ToString::to_string).collect();
            writeln!(text, "SOURCES   only from {}", ranges.join(", "))?;
        }
        for loser in claims.losers() {
            writeln!(text, "CLAIM     {} asks for it too, and lost it to {}", loser.owner, winner.owner)?;
        }
        for gap in explanation.gaps.iter().take(MAX_SLICES) {
            let noun = if gap.endpoints == 1 { "endpoint gets" } else { "endpoints get" };
            writeln!(text, "SLICE     {}: its {} {noun} nothing here", gap.text, gap.endpoints)?;
        }
        if let Some(more) = explanation.gaps.len().checked_sub(MAX_SLICES).filter(|more| *more > 0) {
            writeln!(text, "SLICE     {more} more EndpointSlices do not have the port either")?;
        }
        if let Some(nodes) = explanation.elsewhere() {
            writeln!(text, "ELSEWHERE {}", elsewhere(&nodes))?;
        }
        let checks = &snapshot.desired().health_checks.checks;
        if let Some(check) = checks.get(&(winner.service.clone(), frontend.family())) {
            let answer = if check.local_endpoints > 0 { 200 } else { 503 };
            let (port, endpoints) = (check.port, check.local_endpoints);
            writeln!(text, "HEALTH    health check port {port} answers {answer}: {endpoints} ready endpoints here")?;
        }
    }
    for chain in &explanation.altered {
        writeln!(
            text,
            "ALTERED   the rules of chain {chain} are not those that this version writes with these options"
        )?;
    }
    Ok(())
}
