//! The command line: it parses options, calls the modules that do the work, and prints.
//!
//! Exit codes are those of `kubectl diff`: 0 for success or no differences, 1 for differences found by `--dry-run`, 2 for errors. 1 also
//! means that `--cleanup` failed in part (as in kube-proxy), that `doctor` has warnings or problems, that `explain` found a packet that is not delivered, that `status` is not SYNCED, or that the proxy ended because
//! its configuration file changed.

mod args;
mod cleanup;
mod combinations;
mod configuration;
mod doctor;
mod dry_run;
mod explain;
mod fleet;
mod get;
mod guards;
mod kube_proxy;
mod local_pages;
mod logging;
mod output;
mod pages;
mod proxy;
mod replay;
mod signal;
mod source;
mod status;
mod take_over;
mod top;
mod version;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};

use crate::config::removed_flag;
use args::{Args, OutputFormat, Subcommand, VersionFormat};

/// The exit code if there are differences.
const DIFFERENCES: u8 = 1;
/// The exit code after a change of the configuration file.
const RECONFIGURED: u8 = 1;
/// The exit code after an error.
const ERROR: u8 = 2;

/// Parses the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    end_on_panic();
    let mut args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return print_usage(&error),
    };
    let progress = logging::Progress::new();
    if args.version != VersionFormat::False {
        return exit_code(output::version(), &progress);
    }
    let configured = args.read_settings().and_then(|notes| {
        logging::start(&args, &progress)?;
        logging::print_notes(&notes);
        Ok(())
    });
    let result = configured.and_then(|()| {
        // Two workers, so that one serves the pages while the other computes a large diff.
        // The kernel tells who commits by the name of the thread.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).thread_name(env!("CARGO_PKG_NAME")).enable_all().build()?;
        let result = runtime.block_on(run(&args, &progress));
        // Do not wait for a thread that still reads standard input.
        runtime.shutdown_background();
        result
    });
    exit_code(result, &progress)
}

/// The definition of the command line, from which man pages and completions are generated.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}

/// Makes a panic in any task end the process: a supervisor starts it again, and until then the rules serve. Without this the task would be
/// missing for ever.
fn end_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        #[expect(clippy::disallowed_methods, reason = "the thread that panics is not the one that returns from main")]
        std::process::exit(ERROR.into());
    }));
}

/// Prints help, or what is wrong with the command line.
fn print_usage(error: &clap::Error) -> ExitCode {
    // If the terminal is closed, there is nowhere left to print to.
    if let Some(hint) = misplaced_option(error) {
        let _ = writeln!(io::stderr(), "error: {hint}");
        return ExitCode::from(ERROR);
    }
    let _ = error.print();
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && let Some(hint) = removed_flag(flag)
    {
        let _ = writeln!(io::stderr(), "\n{hint}");
    }
    ExitCode::from(if error.use_stderr() { ERROR } else { 0 })
}

/// Where an option of the proxy belongs that was given behind the name of a subcommand; `None` if that is not the error.
fn misplaced_option(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let command = command();
    let long = option.strip_prefix("--")?.split('=').next()?;
    let known = command.get_arguments().find(|argument| argument.get_long() == Some(long))?;
    let mut words = std::env::args_os().skip(1);
    let subcommand = words.find_map(|word| Some(command.find_subcommand(word)?.get_name().to_owned()))?;
    let value = known.get_value_names().and_then(|names| names.first()).map(|name| format!(" {name}"));
    let value = value.unwrap_or_default();
    Some(format!("--{long} goes before the word {subcommand}: pointsman --{long}{value} {subcommand} ..."))
}

/// Does work that only reads, until a signal asks it to end.
async fn until_interrupted(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::select! {
        done = work => done,
        () = signal::shutdown_signal() => anyhow::bail!("interrupted; nothing was changed"),
    }
}

/// The exit code of a result. An error is printed.
fn exit_code(result: anyhow::Result<ExitCode>, progress: &logging::Progress) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            logging::print_error(progress, &error);
            ExitCode::from(ERROR)
        }
    }
}

async fn run(args: &Args, progress: &logging::Progress) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.write_config_to {
        return configuration::write(args, file);
    }
    match &args.command {
        Some(Subcommand::Replay(replay)) => replay::run(args, replay),
        Some(Subcommand::Explain(asked)) => until_interrupted(explain::run(args, asked, progress)).await,
        Some(Subcommand::Doctor(doctor)) => doctor::run(args, doctor).await,
        Some(Subcommand::Status(asked)) if asked.all_nodes => fleet::run(args, asked).await,
        Some(Subcommand::Status(_)) => status::run(args).await,
        Some(Subcommand::Get(asked)) => until_interrupted(get::run(args, asked, progress)).await,
        Some(Subcommand::Top(asked)) => top::run(args, asked).await,
        None if !args.dry_run && args.output != OutputFormat::Text => {
            anyhow::bail!("--output has no effect here: give --dry-run as well, or leave --output out")
        }
        None if args.init_only => proxy::init(args).await,
        None if args.cleans_up().is_some() => cleanup::run(args).await,
        None if args.dry_run => until_interrupted(dry_run::run(args, progress)).await,
        None => proxy::run(args, progress).await,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    const PANICS: &str = "POINTSMAN_TEST_PANICS";

    #[test]
    fn a_task_that_panics_ends_the_process() {
        if std::env::var_os(PANICS).is_some() {
            super::end_on_panic();
            let _ = std::thread::spawn(|| panic!("on purpose")).join();
            return;
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "cli::tests::a_task_that_panics_ends_the_process"]).env(PANICS, "1");
        let status = again.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(2));
    }
}
