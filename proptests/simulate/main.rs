//! A whole node in one thread from one seed: see docs/simulation.md.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a test may stop, and may print"
)]
#![allow(clippy::cast_precision_loss, reason = "for people to read")]

mod acts;
mod agree;
mod api;
mod clients;
#[path = "../../tests/conformance/mod.rs"]
mod conformance;
mod coverage;
mod kernel;
mod law;
mod memory;
#[path = "../packets/model.rs"]
mod model;
mod objects;
mod process;
mod quiet;
mod random;
mod run;
mod sabotage;
mod story;
mod work;
mod world;

use conformance::histories as common;

fn main() -> std::process::ExitCode {
    run::main()
}
