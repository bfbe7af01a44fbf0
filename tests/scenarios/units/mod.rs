//! Rows that packets cannot show, as unit tests: how objects are read, how slices merge, which changes matter, and which flags
//! are refused.

mod check;
mod docs;
mod endpoint_changes;
mod flags;
mod node;
mod services;
mod slices;

use super::report::{Kind, Outcome};
use super::section::Section;

/// The result of every row whose section and name are wanted.
pub fn run(is_wanted: impl Fn(Section, &str) -> bool) -> Vec<Outcome> {
    let outcome = |section, name, result: Result<(), String>| Outcome {
        section,
        name,
        variant: String::new(),
        kind: Kind::Unit,
        failure: result.err(),
    };
    let tables = [
        (Section::Services, services::rows()),
        (Section::Slices, slices::rows()),
        (Section::EndpointChanges, endpoint_changes::rows()),
        (Section::NodeObject, node::rows()),
    ];
    let mut outcomes = Vec::new();
    for (section, units) in tables {
        let wanted = units.iter().filter(|unit| is_wanted(section, unit.name));
        outcomes.extend(wanted.map(|unit| outcome(section, unit.name, unit.check())));
    }
    let flags = flags::ROWS.iter().filter(|row| is_wanted(Section::Flags, row.name));
    outcomes.extend(flags.map(|row| outcome(Section::Flags, row.name, row.check())));
    outcomes
}
