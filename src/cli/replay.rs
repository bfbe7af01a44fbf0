//! `pointsman replay`: what a node would have programmed, from its journal.

use std::process::ExitCode;

use super::args::{Args, Replay};
use super::output;
use crate::diff::{Acknowledged, diff};
use crate::reconcile::report;
use crate::state::{Cluster, Desired, Event};
use crate::watch::journal::{self, Entry};

pub(super) fn run(args: &Args, replay: &Replay) -> anyhow::Result<ExitCode> {
    let entries = journal::read(&replay.file, replay.until)?.collect::<Result<Vec<Entry>, _>>()?;
    let node_name = match recorded_node(&entries) {
        Some(name) if args.hostname_override.is_none() => name,
        _ => args.node_name()?,
    };
    let mut cluster = Cluster::seen_from(args.view(&node_name));
    for entry in entries {
        let step = cluster.apply(entry.event);
        report(&step.skipped);
        cluster = step.cluster;
    }
    if !cluster.is_complete() {
        tracing::warn!("the journal ends before all lists were complete: the node would have programmed nothing yet");
    }
    let plan = diff(&Acknowledged::nothing(), &Desired::of(&cluster), &args.dual_stack()?.on(cluster.node()));
    output::print(&plan, args.output)?;
    Ok(ExitCode::SUCCESS)
}

/// The node that the journal was recorded on: the one whose Node object was watched.
fn recorded_node(entries: &[Entry]) -> Option<String> {
    entries.iter().find_map(|entry| match &entry.event {
        Event::NodesReset(nodes) => Some(nodes.first()?.object()?.name.name.to_string()),
        Event::NodeApplied(node) => Some(node.object()?.name.name.to_string()),
        _ => None,
    })
}
