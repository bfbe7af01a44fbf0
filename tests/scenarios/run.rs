//! Runs groups of rows: the proxy once for each group, and then the packets of all its rows, many at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::group::Group;
use super::packets;
use super::report::{Kind, Outcome};
use super::rig::Rig;
use super::words::Row;
use crate::common::netns::Family;

/// How many rows run at the same time. Most of them wait for an answer that must not come.
const MAX_PARALLEL_ROWS: usize = 12;

/// Runs a group and returns the result of each of its rows.
pub fn run(rig: &Rig, group: &Group) -> Vec<Outcome> {
    let rows: Vec<(&Row, Family)> =
        group.rows.iter().flat_map(|row| row.families.iter().map(move |family| (row, *family))).collect();
    if let Err(refusal) = rig.program(group) {
        // Said once: it is the same for all rows.
        let others = std::iter::repeat("not programmed, as the row before".to_owned());
        let failures = std::iter::once(refusal).chain(others);
        return rows
            .into_iter()
            .zip(failures)
            .map(|((row, family), why)| outcome(group, row, family, Err(why)))
            .collect();
    }
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(rows.len()));
    std::thread::scope(|scope| {
        for _ in 0..MAX_PARALLEL_ROWS.min(rows.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((row, family)) = rows.get(at) else { break };
                    let outcome = outcome(group, row, *family, packets::check(rig, row, *family));
                    outcomes.lock().expect("no row panics").push((at, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no row panics");
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn outcome(group: &Group, row: &Row, family: Family, result: Result<(), String>) -> Outcome {
    let variant = match group.name {
        "" => family.to_string(),
        name => format!("[{name}] {family}"),
    };
    Outcome { section: group.section, name: row.name, variant, kind: Kind::Kernel, failure: result.err() }
}
