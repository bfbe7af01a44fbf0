//! Rendering a plan as text: in Service terms, or as nft commands.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use ipnet::IpNet;

use crate::dataplane::{Endpoint, Key, SetName, TABLE};
use crate::diff::{FrontendChange, Installed, Plan};
use crate::state::TrafficPolicy;

/// Whether to mark changes with colours, in addition to signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI escapes, for a terminal.
    On,
    /// Plain text.
    Off,
}

/// What happens to an object, which decides its sign in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ChangeSign {
    Add,
    Change,
    Remove,
}

/// The number of entries of the first level that are added, changed and removed.
#[derive(Default)]
struct ChangeCounts([usize; 3]);

/// Renders a plan in Service terms. The last line is `Plan: N to add, N to change, N to remove (M operations)`.
///
/// It counts the entries of the first level: tables, frontends, and groups of shared elements.
pub fn text(plan: &Plan, colour: Colour) -> String {
    let mut out = PlanText { out: String::new(), colour, count: ChangeCounts::default() };
    out.tables(plan);
    out.frontends(plan);
    out.shared(plan, SetName::ClusterIps, "cluster IPs: undefined ports are refused");
    out.shared(plan, SetName::ServiceCidrs, "ServiceCIDRs: unallocated addresses are dropped");
    out.shared(plan, SetName::NodeportIps, "node addresses: NodePorts are accepted");
    out.shared(
        plan,
        SetName::Hairpin,
        "endpoints that may be on this node: masqueraded when they connect to themselves",
    );
    let [add, change, remove] = out.count.0;
    let operations = plan.operations.len();
    let noun = if operations == 1 { "operation" } else { "operations" };
    let mut text = out.out;
    if operations == 0 {
        text.push_str("No differences.\n");
    }
    // Writing to a String cannot fail; this holds below too.
    let _ = writeln!(text, "Plan: {add} to add, {change} to change, {remove} to remove ({operations} {noun})");
    text
}

/// Renders a plan as commands that `nft -f` reads, one operation per line.
pub fn nft(plan: &Plan) -> String {
    let mut text = String::new();
    for operation in &plan.operations {
        let _ = writeln!(text, "{operation}");
    }
    text
}

/// Writes the text of a plan.
struct PlanText {
    out: String,
    colour: Colour,
    count: ChangeCounts,
}

impl PlanText {
    /// Writes an entry of the first level.
    fn entry(&mut self, sign: ChangeSign, what: impl fmt::Display) {
        self.count.0[sign as usize] += 1;
        self.line(sign, "", what);
    }

    /// Writes a detail below an entry.
    fn detail(&mut self, sign: ChangeSign, what: impl fmt::Display) {
        self.line(sign, "    ", what);
    }

    fn line(&mut self, sign: ChangeSign, indent: &str, what: impl fmt::Display) {
        let (escape, mark) = match sign {
            ChangeSign::Add => ("\x1b[32m", '+'),
            ChangeSign::Change => ("\x1b[33m", '~'),
            ChangeSign::Remove => ("\x1b[31m", '-'),
        };
        let _ = match self.colour {
            Colour::On => writeln!(self.out, "{indent}{escape}{mark} {what}\x1b[0m"),
            Colour::Off => writeln!(self.out, "{indent}{mark} {what}"),
        };
    }

    fn tables(&mut self, plan: &Plan) {
        for table in &plan.tables {
            let name = format!("table {} {TABLE}", table.family.nft());
            let sign = if table.created { ChangeSign::Add } else { ChangeSign::Change };
            self.entry(sign, name);
            let how = match (table.created, table.rebuilt) {
                (true, _) => "created",
                (false, true) => "removed and created again: it holds sets of other types",
                (false, false) => "brought up to date",
            };
            self.detail(sign, format_args!("program {how} ({} operations)", table.operations));
        }
    }

    /// Writes the changed frontends, ordered by Service.
    fn frontends(&mut self, plan: &Plan) {
        let mut changes: Vec<(&str, &FrontendChange)> =
            plan.frontends.iter().map(|change| (owner(change).unwrap_or_default(), change)).collect();
        changes.sort_by_key(|(owner, change)| (*owner, change.frontend));
        for (owner, change) in changes {
            let owner = if owner.is_empty() { "(of no known Service)" } else { owner };
            let sign = match (&change.before, &change.after) {
                (None, _) => ChangeSign::Add,
                (Some(_), None) => ChangeSign::Remove,
                (Some(_), Some(_)) => ChangeSign::Change,
            };
            self.entry(sign, format_args!("{owner} {}", change.frontend));
            self.frontend(change);
        }
    }

    fn frontend(&mut self, change: &FrontendChange) {
        let before = change.before.as_deref().map(FrontendView::from_installed);
        let after = change.after.as_deref().map(FrontendView::from_installed);
        let (outcome_before, outcome_after) =
            (before.as_ref().map(FrontendView::outcome), after.as_ref().map(FrontendView::outcome));
        match (&outcome_before, &outcome_after) {
            (Some(old), Some(new)) if old != new => self.detail(ChangeSign::Change, format_args!("{old} -> {new}")),
            (None, Some(new)) => self.detail(ChangeSign::Add, new),
            _ => {}
        }
        let old_owner = change.before.as_deref().and_then(Installed::owner);
        let new_owner = change.after.as_deref().and_then(Installed::owner);
        if let (Some(old), Some(new)) = (old_owner, new_owner)
            && old != new
        {
            self.detail(ChangeSign::Change, format_args!("held by {old} -> {new}"));
        }
        let empty = FrontendView::default();
        let (old, new) = (before.as_ref().unwrap_or(&empty), after.as_ref().unwrap_or(&empty));
        let mut described = outcome_before != outcome_after || old_owner != new_owner;
        described |= self.differences("endpoint", &old.endpoints, &new.endpoints);
        described |= self.differences("local endpoint", &old.local_endpoints, &new.local_endpoints);
        described |= self.differences("allowed source", &old.sources, &new.sources);
        described |= self.differences("session affinity:", &old.affinity, &new.affinity);
        if !described {
            self.detail(ChangeSign::Change, "slots repaired");
        }
    }

    /// Writes what only one of two sets contains; true if they differ.
    fn differences<T: Ord + fmt::Display>(&mut self, what: &str, old: &BTreeSet<T>, new: &BTreeSet<T>) -> bool {
        for gone in old.difference(new) {
            self.detail(ChangeSign::Remove, format_args!("{what} {gone}"));
        }
        for added in new.difference(old) {
            self.detail(ChangeSign::Add, format_args!("{what} {added}"));
        }
        old != new
    }

    /// Writes the changed shared elements of one set, as one entry.
    fn shared(&mut self, plan: &Plan, set: SetName, title: &str) {
        let changes: Vec<_> = plan.shared.iter().filter(|change| change.element.set == set).collect();
        let (added, removed) = (changes.iter().any(|c| c.added), changes.iter().any(|c| !c.added));
        let sign = match (added, removed) {
            (false, false) => return,
            (true, false) => ChangeSign::Add,
            (false, true) => ChangeSign::Remove,
            (true, true) => ChangeSign::Change,
        };
        self.entry(sign, title);
        for change in changes {
            let sign = if change.added { ChangeSign::Add } else { ChangeSign::Remove };
            match change.element.key {
                Key::Hairpin(endpoint, protocol) => self.detail(sign, format_args!("{endpoint}/{protocol}")),
                key => self.detail(sign, key),
            }
        }
    }
}

/// The properties of a frontend that the text shows.
#[derive(Default)]
struct FrontendView {
    gates: Vec<SetName>,
    endpoints: BTreeSet<Endpoint>,
    local_endpoints: BTreeSet<Endpoint>,
    sources: BTreeSet<IpNet>,
    affinity: BTreeSet<String>,
}

impl FrontendView {
    fn from_installed(installed: &Installed) -> Self {
        Self {
            gates: installed.gates().collect(),
            endpoints: installed.endpoints(TrafficPolicy::Cluster).collect(),
            local_endpoints: installed.endpoints(TrafficPolicy::Local).collect(),
            sources: installed.sources.iter().copied().collect(),
            affinity: installed
                .affinity_seconds()
                .map(|seconds| format!("clients stay for {seconds} s"))
                .into_iter()
                .collect(),
        }
    }

    /// What happens to a new connection.
    fn outcome(&self) -> String {
        let mut gates: Vec<SetName> = self.gates.clone();
        gates.retain(|gate| *gate != SetName::SourceChecks);
        let outcome = match gates.as_slice() {
            [SetName::Internal(_) | SetName::InternalAffinity | SetName::External | SetName::Nodeports] => "balanced",
            [SetName::ExternalLocal | SetName::NodeportsLocal] => "balanced over this node's endpoints",
            [SetName::ExternalLocal, SetName::DropServices] | [SetName::NodeportsLocal, SetName::DropNodeports] => {
                "dropped from outside: no endpoints on this node"
            }
            [SetName::RejectServices | SetName::RejectNodeports] => "refused: no endpoints",
            [SetName::DropServices | SetName::DropNodeports] => "dropped: no endpoints on this node",
            [] => "not served",
            _ => "in sets that exclude each other",
        };
        let limited = if self.gates.contains(&SetName::SourceChecks) { ", for some sources only" } else { "" };
        format!("{outcome}{limited}")
    }
}

/// The service port that a change belongs to: the one that will hold the frontend, or else the one that held it.
fn owner(change: &FrontendChange) -> Option<&str> {
    change.after.as_deref().and_then(Installed::owner).or_else(|| change.before.as_deref().and_then(Installed::owner))
}

#[cfg(test)]
mod tests;
