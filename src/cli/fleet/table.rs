//! The answers of all nodes as a table, and in one sentence.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::FleetNode;
use crate::listing::columns;
use crate::observe::StatusPage;
use crate::status::NodeState;

/// The columns. Only the last one has blanks.
const NAMES: [&str; 8] = ["NODE", "STATE", "BEHIND", "HEARD", "HASH", "DRIFT", "VERSION", "WHY"];

/// So many digits of a hash tell nodes apart.
const HASH_DIGITS: usize = 8;

/// How many names of nodes a sentence has.
const MAX_NAMES: usize = 10;

/// The state of a node that did not answer.
const NO_ANSWER: &str = "NO-ANSWER";

/// The nodes, a line each.
pub(super) fn table(nodes: &[FleetNode]) -> String {
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    columns(&NAMES, &rows)
}

fn row(node: &FleetNode) -> Vec<String> {
    let name = if node.node.is_empty() { format!("({})", node.pod) } else { node.node.clone() };
    let dash = || "-".to_owned();
    let Some(page) = &node.status else {
        let why = node.error.clone().unwrap_or_default();
        return vec![name, NO_ANSWER.to_owned(), dash(), dash(), dash(), dash(), dash(), why];
    };
    let ago = |since: Timestamp| short(page.now.duration_since(since));
    let heard = page.api_server.as_ref().and_then(|api| api.last_heard);
    vec![
        name,
        page.state.to_string(),
        behind_since(page).map_or_else(dash, ago),
        heard.map_or_else(dash, ago),
        short_hash(page).map_or_else(dash, str::to_owned),
        page.kernel.drifts.to_string(),
        page.version.clone(),
        if page.why.is_empty() { dash() } else { page.why.clone() },
    ]
}

/// Since when what is programmed may differ from what the API server has.
fn behind_since(page: &StatusPage) -> Option<Timestamp> {
    match page.state {
        NodeState::Stale => Some(page.since),
        _ => page.waiting_since,
    }
}

fn short_hash(page: &StatusPage) -> Option<&str> {
    let hash = &page.input.as_ref()?.hash;
    hash.get(..HASH_DIGITS)
}

/// How many nodes are in each state, and which have another hash than most.
pub(super) fn summary(nodes: &[FleetNode]) -> String {
    let (mut states, mut hashes): (BTreeMap<&str, usize>, BTreeMap<&str, Vec<&str>>) = Default::default();
    for node in nodes {
        *states.entry(node.status.as_ref().map_or(NO_ANSWER, |page| page.state.label())).or_default() += 1;
        if let Some(hash) = node.status.as_deref().and_then(short_hash) {
            hashes.entry(hash).or_default().push(&node.node);
        }
    }
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let noun = if nodes.len() == 1 { "node" } else { "nodes" };
    let mut text = format!("{} {noun}: {}", nodes.len(), states.join(", "));
    let Some((most, same)) = hashes.iter().max_by_key(|(_, same)| same.len()) else { return text };
    let others: Vec<&str> =
        hashes.iter().filter(|(hash, _)| hash != &most).flat_map(|(_, nodes)| nodes.iter().copied()).collect();
    if others.is_empty() {
        text.push_str(&format!("; all that answered have heard the same ({most})"));
        return text;
    }
    let shown = others.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
    let more = if others.len() > MAX_NAMES { ", …" } else { "" };
    text.push_str(&format!("; {} have heard the same ({most}), and other than they: {shown}{more}", same.len()));
    text
}

/// A span of time as one word.
fn short(span: SignedDuration) -> String {
    let seconds = span.as_secs().max(0);
    match seconds {
        0..10 => format!("{:.1}s", span.as_secs_f64().max(0.0)),
        10..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
