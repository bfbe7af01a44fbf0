//! A whole node in one thread from one seed: see docs/simulation.md.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a test may stop, and may print"
)]
#![allow(clippy::disallowed_types, reason = "the run itself is timed; what it simulates has a clock of its own")]
#![allow(clippy::explicit_auto_deref, reason = "a list of texts yields a text only if it is dereferenced")]
#![allow(clippy::cast_precision_loss, reason = "for people to read")]

mod acts;
mod agree;
mod api;
mod clients;
#[path = "../../tests/conformance/mod.rs"]
mod conformance;
mod coverage;
mod edits;
mod json;
mod kernel;
mod law;
mod memory;
#[path = "../packets/model.rs"]
mod model;
mod node;
mod objects;
mod process;
mod quiet;
mod random;
mod run;
mod sabotage;
mod story;
#[path = "../../tests/common"]
#[allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]
mod testing {
    pub mod apiserver;
}
mod work;
mod world;

use conformance::histories as common;

fn main() -> std::process::ExitCode {
    run::main()
}
