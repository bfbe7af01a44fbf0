//! The command line: what an operator may ask for, and how the parts are put together for it.
//!
//! Exit codes are those of `kubectl diff`: 0 for done or no differences, 1 for differences found by `--dry-run`, 2 for errors. 1 also
//! says that `--cleanup` failed somewhere, as kube-proxy's does, and that `doctor` found something.

mod args;
mod backend;
mod cleanup;
mod doctor;
mod dry_run;
mod logging;
mod output;
mod proxy;
mod replay;
mod source;
mod take_over;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// There was something to change.
const DIFFERENCES: u8 = 1;
/// Something went wrong.
const ERROR: u8 = 2;

/// Parses the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { ERROR } else { 0 };
            // A closed terminal is nobody to tell.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let progress = logging::Progress::new();
    let done = logging::start(&args, &progress).and_then(|()| {
        // Two workers: the pages are served while a large diff is computed.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let done = runtime.block_on(run(&args, &progress));
        // A thread that still reads standard input must not keep the process.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            logging::complain(&progress, &error);
            ExitCode::from(ERROR)
        }
    }
}

async fn run(args: &Args, progress: &logging::Progress) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(Command::Replay(replay)) => replay::run(args, replay),
        Some(Command::Doctor(doctor)) => doctor::run(args, doctor).await,
        None if !args.dry_run && args.output != args::Format::Text => {
            anyhow::bail!("--output says how --dry-run and replay print: give --dry-run, or leave it out")
        }
        None if args.cleanup.is_some() => cleanup::run(args).await,
        None if args.dry_run => dry_run::run(args, progress).await,
        None => proxy::run(args, progress).await,
    }
}
