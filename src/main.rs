//! The `pointsman` binary. The library contains all of its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pointsman::cli::main()
}
