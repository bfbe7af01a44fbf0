//! The command line: what an operator may ask for, and how the parts are put together for it.
//!
//! Exit codes are those of `kubectl diff`: 0 for done or no differences, 1 for differences found by `--dry-run`, 2 for errors. 1 also
//! says that `--cleanup` failed somewhere, as kube-proxy's does, that `doctor` found something, and that a proxy ended because its
//! configuration file changed.

mod args;
mod backend;
mod cleanup;
mod configuration;
mod doctor;
mod dry_run;
mod kube_proxy;
mod logging;
mod output;
mod pages;
mod proxy;
mod replay;
mod source;
mod take_over;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, Version};

/// There was something to change.
const DIFFERENCES: u8 = 1;
/// The configuration file changed.
const RECONFIGURED: u8 = 1;
/// Something went wrong.
const ERROR: u8 = 2;

/// Parses the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    let mut args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { ERROR } else { 0 };
            // A closed terminal is nobody to tell.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let progress = logging::Progress::new();
    if args.version != Version::False {
        return code(output::version(), &progress);
    }
    let begun = args.settle().and_then(|notes| {
        logging::start(&args, &progress)?;
        logging::tell(&notes);
        Ok(())
    });
    let done = begun.and_then(|()| {
        // Two workers: the pages are served while a large diff is computed.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let done = runtime.block_on(run(&args, &progress));
        // A thread that still reads standard input must not keep the process.
        runtime.shutdown_background();
        done
    });
    code(done, &progress)
}

/// The exit code; an error is told.
fn code(done: anyhow::Result<ExitCode>, progress: &logging::Progress) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            logging::complain(progress, &error);
            ExitCode::from(ERROR)
        }
    }
}

async fn run(args: &Args, progress: &logging::Progress) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.write_config_to {
        return configuration::write(args, file);
    }
    match &args.command {
        Some(Command::Replay(replay)) => replay::run(args, replay),
        Some(Command::Doctor(doctor)) => doctor::run(args, doctor).await,
        None if !args.dry_run && args.output != args::Format::Text => {
            anyhow::bail!("--output says how --dry-run and replay print: give --dry-run, or leave it out")
        }
        None if args.init_only => proxy::init(args).await,
        None if args.cleanup.is_some() => cleanup::run(args).await,
        None if args.dry_run => dry_run::run(args, progress).await,
        None => proxy::run(args, progress).await,
    }
}
