//! `pointsman replay`: what a node would have programmed, from its journal.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use super::args::{Args, ReplayArgs};
use super::output;
use crate::diff::Acknowledged;
use crate::engine::{Engine, EngineSettings, Moment, Next};
use crate::proxy::log_skipped;
use crate::state::Event;
use crate::watch::journal::{self, Entry, ReadUntil};

pub(super) fn run(args: &Args, replay: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let mut engine = recorded_engine(args, &replay.file, replay.until)?;
    if !engine.snapshot().cluster().is_complete() {
        let end = if replay.until.is_some() { "up to --until" } else { "up to the end of the journal" };
        tracing::warn!("{end} not all lists were complete: the node would have programmed nothing");
        return Ok(ExitCode::SUCCESS);
    }
    engine.read_back(Acknowledged::empty(), Moment::default());
    let Next::Commit(plan) = engine.next(Moment::default()) else { bail!("the journal gives no plan") };
    output::print(&plan, args.output)?;
    Ok(ExitCode::SUCCESS)
}

/// The engine of the node that wrote a journal, after it has heard and compiled everything up to a moment.
pub(super) fn recorded_engine(args: &Args, file: &Path, until: Option<ReadUntil>) -> anyhow::Result<Engine> {
    let entries = journal::read(file, until)?.collect::<Result<Vec<Entry>, _>>()?;
    let node_name = match recorded_node(&entries) {
        Some(name) if args.settings.node_name.is_none() => name,
        _ => args.node_name()?,
    };
    let settings = EngineSettings::new(args.dual_stack(), args.view(&node_name));
    let mut engine = Engine::new(EngineSettings { slice_goal: None, ..settings });
    for entry in entries {
        engine.fold(entry.event).skipped.iter().for_each(log_skipped);
    }
    engine.compile().skipped.iter().for_each(log_skipped);
    Ok(engine)
}

/// The node that the journal was recorded on: the one whose Node object was watched.
fn recorded_node(entries: &[Entry]) -> Option<String> {
    entries.iter().find_map(|entry| match &entry.event {
        Event::NodesReset(nodes) => Some(nodes.first()?.object()?.name.name().to_string()),
        Event::NodeApplied(node) => Some(node.object()?.name.name().to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fixtures::{empty_lists, node, problem, service};
    use crate::state::{Decoded, ObjectName};

    fn entries(events: impl IntoIterator<Item = Event>) -> Vec<Entry> {
        events.into_iter().map(|event| Entry { time: jiff::Timestamp::UNIX_EPOCH, event }).collect()
    }

    #[test]
    fn the_node_is_the_first_whose_object_was_recorded() {
        let recorded = |events: Vec<Event>| recorded_node(&entries(events));
        let other = Event::NodeApplied(node("node-b"));
        assert_eq!(
            recorded(vec![service("shop/web").into(), Event::NodeApplied(node("node-a")), other]).as_deref(),
            Some("node-a")
        );
        assert_eq!(recorded(vec![Event::NodesReset(vec![node("node-a")])]).as_deref(), Some("node-a"));
        let unreadable = Decoded::unreadable(ObjectName::cluster_scoped("node-a"), problem("spec"));
        assert_eq!(recorded(vec![Event::NodeApplied(unreadable)]), None);
        assert_eq!(recorded(empty_lists().into()), None);
    }

    #[test]
    fn an_empty_list_of_nodes_does_not_hide_a_later_node() {
        let events = [Event::NodesReset(Vec::new()), Event::NodeApplied(node("node-a"))];
        assert_eq!(recorded_node(&entries(events)).as_deref(), Some("node-a"));
    }

    #[test]
    fn a_journal_that_is_not_there_is_an_error_that_names_it() {
        let args = Args::try_parse_from(["pointsman", "replay", "/nowhere/journal"]).unwrap();
        let Some(crate::cli::args::Subcommand::Replay(replay)) = &args.command else { panic!("{args:?}") };
        assert!(run(&args, replay).unwrap_err().to_string().contains("/nowhere/journal"));
    }
}
