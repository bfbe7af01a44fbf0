//! The rows that packets cannot show, as unit tests: what objects are read as, how slices merge, what counts as a change, and
//! which flags are refused.

mod check;
mod docs;
mod flags;
mod node;
mod services;
mod slices;

use super::report::{Kind, Outcome};

/// What became of every row whose name is wanted.
pub fn run(is_wanted: impl Fn(&str) -> bool) -> Vec<Outcome> {
    let outcome = |id, result: Result<(), String>| Outcome {
        id,
        variant: String::new(),
        kind: Kind::Unit,
        failure: result.err(),
    };
    let tables = [services::rows(), slices::merging(), slices::changes(), node::rows()];
    let units = tables.into_iter().flatten().filter(|unit| is_wanted(unit.id));
    let mut outcomes: Vec<Outcome> = units.map(|unit| outcome(unit.id, unit.check())).collect();
    let flags = flags::ROWS.iter().filter(|row| is_wanted(row.id));
    outcomes.extend(flags.map(|row| outcome(row.id, row.check())));
    outcomes
}
