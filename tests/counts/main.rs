//! What a change costs, counted instead of timed: operations, bytes, allocations and instructions of one turn of the loop, from the
//! event to the encoded batch, without a kernel.
//!
//! ```text
//! cargo test --test counts [-- [--instructions] [BEGINNING OF A NAME]]
//! POINTSMAN_UPDATE_COUNTS=1 cargo test --test counts -- --instructions      writes baseline.txt
//! ```
//!
//! What a change leaves for packets on their way is deleted after a while: a row of its own, whose name ends in "later".
//!
//! What must hold, at 100 and at 10,000 Services:
//!
//! - operations and bytes are those of the baseline, and the same at both sizes; a change that no Service depends on sends nothing;
//! - allocations are at most 2 % above the baseline, instructions at most 5 %: compared for the compiler that wrote it, because another
//!   one counts differently;
//! - both grow by less than [`MAX_GROWTH`] between the two sizes: nothing walks over the cluster.
//!
//! Instructions are counted by valgrind, which takes a minute.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may stop, and may print")]

mod baseline;
mod callgrind;
#[path = "../../benches/common/cluster.rs"]
#[allow(dead_code, reason = "benchmarks use more of it")]
mod cluster;
#[path = "../../benches/common/figures.rs"]
#[allow(dead_code, reason = "benchmarks use more of it")]
mod figures;
mod scenarios;
mod world;

use std::process::ExitCode;

use baseline::{Baseline, Row};
use figures::{head, table, thousands};
use world::World;

/// The sizes that are compared: Services of 5 endpoints each.
const SIZES: [u32; 2] = [100, 10_000];
/// How much more a change may cost in a cluster 100 times as large: its maps are trees, and at most twice as deep.
const MAX_GROWTH: f64 = 2.0;
/// Set to 1 to write the baseline instead of comparing with it.
const UPDATE: &str = "POINTSMAN_UPDATE_COUNTS";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(services) = callgrind::size_to_count(&args) {
        // Under valgrind, which finds the counted function by its name.
        let mut world = World::new(services);
        for scenario in scenarios::all(services).into_iter().filter(|scenario| !scenario.walks) {
            world.give(scenario.events);
            world::one_turn(&mut world);
            world.let_time_pass();
        }
        return ExitCode::SUCCESS;
    }
    let with_instructions = args.iter().any(|arg| arg == "--instructions");
    let selected = args.iter().find(|arg| !arg.starts_with("--"));
    let wanted = |row: &Row| selected.is_none_or(|beginning| row.name.starts_with(beginning.as_str()));
    let rows: Vec<Row> = SIZES.into_iter().flat_map(|size| count(size, with_instructions)).collect();
    println!("{}", show(&rows.iter().filter(|row| wanted(row))));
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        Baseline::read().replace(&rows).write();
        return ExitCode::SUCCESS;
    }
    let uncounted = rows.iter().filter(|row| with_instructions && !row.walks && row.instructions.is_none());
    let uncounted = uncounted.map(|row| format!("{}: its instructions were not counted", row.name)).collect();
    let wrong = [Baseline::read().compare(&rows), growth(&rows), uncounted].concat();
    if wrong.is_empty() {
        println!("as the baseline says");
        return ExitCode::SUCCESS;
    }
    wrong.iter().for_each(|wrong| println!("FAILED: {wrong}"));
    println!("If this is meant: {UPDATE}=1 cargo test --test counts -- --instructions");
    ExitCode::FAILURE
}

/// Every kind of change in a cluster of this size.
fn count(services: u32, with_instructions: bool) -> Vec<Row> {
    // Walks are the last scenarios, and left out: they would take half of the time.
    let instructions = if with_instructions { callgrind::instructions(services) } else { Vec::new() };
    let mut world = World::new(services);
    let mut rows = Vec::new();
    for (n, scenario) in scenarios::all(services).into_iter().enumerate() {
        world.give(scenario.events);
        let allocations = allocation_counter::measure(|| world::one_turn(&mut world)).count_total;
        let (operations, bytes) = world.sent();
        let instructions = instructions.get(n).copied();
        let row = Row {
            name: scenario.name,
            services,
            operations,
            bytes,
            allocations,
            instructions,
            no_op: scenario.no_op,
            walks: scenario.walks,
        };
        world.let_time_pass();
        let (operations, bytes) = world.sent();
        let name = format!("{}, later", row.name);
        // No change waits for it, so only what is sent counts.
        let later = Row { name, operations, bytes, allocations: 0, instructions: Some(0), ..row.clone() };
        rows.push(row);
        rows.extend((operations > 0).then_some(later));
    }
    rows
}

/// Costs that grow with the cluster and should not.
fn growth(rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    let [small, large] = SIZES.map(|size| rows.iter().filter(move |row| row.services == size));
    for (small, large) in small.zip(large) {
        let name = &small.name;
        if (small.operations, small.bytes) != (large.operations, large.bytes) {
            wrong.push(format!("{name}: {small} but {large}"));
        }
        if small.no_op && small.operations + large.operations > 0 {
            wrong.push(format!("{name}: must send nothing, but sends {large}"));
        }
        let grown = |small: u64, large: u64| large as f64 > small as f64 * MAX_GROWTH;
        if small.walks {
            continue;
        }
        if grown(small.allocations, large.allocations) {
            wrong.push(format!("{name}: allocations grow with the cluster: {small} but {large}"));
        }
        if let (Some(few), Some(many)) = (small.instructions, large.instructions)
            && grown(few, many)
        {
            wrong.push(format!("{name}: instructions grow with the cluster: {small} but {large}"));
        }
    }
    wrong
}

fn show<'a>(rows: &(impl Iterator<Item = &'a Row> + Clone)) -> String {
    let titles = ["change", "Services", "operations", "bytes", "allocations", "instructions"];
    let cells = |row: &Row| {
        let numbers = [row.services.into(), row.operations, row.bytes, row.allocations];
        let instructions = row.instructions.map_or("–".to_owned(), thousands);
        let numbers = numbers.into_iter().map(thousands).chain([instructions]);
        std::iter::once(row.name.clone()).chain(numbers).collect()
    };
    let mut sorted: Vec<Vec<String>> = Vec::new();
    for row in rows.clone().filter(|row| row.services == SIZES[0]) {
        sorted.extend(rows.clone().filter(|other| other.name == row.name).map(cells));
    }
    table(&head(&titles), &sorted)
}
