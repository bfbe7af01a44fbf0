//! Logs and progress, both on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::args::Args;
use crate::config::{ConfigNote, LogFormat, Settings};

/// Shows on a terminal that something is going on; does nothing elsewhere.
#[derive(Clone)]
pub(super) struct Progress {
    bars: MultiProgress,
}

impl Progress {
    pub fn new() -> Self {
        // Its bars hide themselves when standard error is not a terminal.
        Self { bars: MultiProgress::new() }
    }

    /// A line that moves until it is dropped.
    pub fn show(&self, what: &'static str) -> Step {
        let bar = self.bars.add(ProgressBar::new_spinner().with_message(what));
        bar.enable_steady_tick(Duration::from_millis(120));
        Step(bar)
    }
}

/// One piece of work that is shown; gone when dropped.
pub(super) struct Step(ProgressBar);

impl Drop for Step {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Replaces the filter of the log, which is one for the process.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Starts logging as the command line and the configuration say.
pub(super) fn start(args: &Args, progress: &Progress) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(args, &args.settings)?)
        .with_writer(BesideProgress(progress.clone()))
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    // A filter that cannot be replaced any more belongs to a log that is gone.
    let (set_filter, started): (Box<dyn Fn(EnvFilter) + Send + Sync>, _) =
        match args.log_format.unwrap_or(args.settings.log_format) {
            LogFormat::Text => {
                let log = log.with_target(false).with_filter_reloading();
                let handle = log.reload_handle();
                (Box::new(move |filter| drop(handle.reload(filter))), log.try_init())
            }
            LogFormat::Json => {
                let log = log.json().flatten_event(true).with_filter_reloading();
                let handle = log.reload_handle();
                (Box::new(move |filter| drop(handle.reload(filter))), log.try_init())
            }
        };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    // There is one log and one start.
    let _ = SET_FILTER.set(set_filter);
    Ok(())
}

/// Logs from now on as these settings say.
pub(super) fn adjust(args: &Args, settings: &Settings) {
    if let (Some(set_filter), Ok(filter)) = (SET_FILTER.get(), filter(args, settings)) {
        set_filter(filter);
    }
}

/// What is logged.
fn filter(args: &Args, settings: &Settings) -> anyhow::Result<EnvFilter> {
    let quiet = args.dry_run || args.command.is_some();
    let level = match settings.verbosity {
        0..=3 if quiet => "warn",
        0..=3 => "info",
        4 | 5 => "debug",
        _ => "trace",
    };
    // kube logs every failed request; the sources say the same once per series.
    let default = format!("warn,kube_client=off,kube_runtime=off,pointsman={level}");
    EnvFilter::try_new(args.log_level.as_deref().unwrap_or(&default))
        .context("--log-level is not a filter such as info or warn,pointsman=debug")
}

/// Logs what is worth saying about the configuration.
pub(super) fn tell(notes: &[ConfigNote]) {
    for note in notes {
        match note {
            ConfigNote::Warning(text) => tracing::warn!("configuration: {text}"),
            ConfigNote::Information(text) => tracing::info!("configuration: {text}"),
        }
    }
}

/// Prints the error that ends the process, with its causes.
pub(super) fn complain(progress: &Progress, error: &anyhow::Error) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(BesideProgress(progress.clone()), "pointsman: {}", in_one_line(error));
}

/// An error and its causes, each said once.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some errors quote their cause themselves.
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

/// Standard error, without tearing what [`Progress`] shows there.
struct BesideProgress(Progress);

impl Write for BesideProgress {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.bars.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for BesideProgress {
    type Writer = BesideProgress;

    fn make_writer(&'a self) -> Self::Writer {
        BesideProgress(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_each_of_them_once() {
        let told = |error: anyhow::Error| in_one_line(&error);
        assert_eq!(told(anyhow::anyhow!("a").context("b").context("c")), "c: b: a");
        assert_eq!(told(anyhow::anyhow!("a").context("b, because a").context("c")), "c: b, because a");
        assert_eq!(told(anyhow::anyhow!("a")), "a");
    }

    #[test]
    fn a_filter_that_is_none_stops_the_start() {
        let args = Args::try_parse_from(["pointsman", "--log-level", "pointsman=loud=very"]).unwrap();
        let error = start(&args, &Progress::new()).unwrap_err();
        assert_eq!(error.to_string(), "--log-level is not a filter such as info or warn,pointsman=debug");
    }
}
