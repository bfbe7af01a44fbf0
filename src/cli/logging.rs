//! The log and progress lines, both on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{MultiProgress, ProgressBar};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::args::Args;
use crate::config::{ConfigNote, LogFormat, Settings};

/// Shows on a terminal what the program is doing. Elsewhere it shows nothing.
#[derive(Clone)]
pub(super) struct Progress {
    bars: MultiProgress,
}

impl Progress {
    pub fn new() -> Self {
        // indicatif hides its bars when standard error is not a terminal.
        Self { bars: MultiProgress::new() }
    }

    /// Shows a line until the returned value is dropped.
    pub fn show(&self, what: &'static str) -> ProgressLine {
        let bar = self.bars.add(ProgressBar::new_spinner().with_message(what));
        bar.enable_steady_tick(Duration::from_millis(120));
        ProgressLine(bar)
    }
}

/// A line that is shown; dropping it removes the line.
pub(super) struct ProgressLine(ProgressBar);

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Replaces the filter of the process's log.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Starts logging as the command line and the configuration say.
pub(super) fn start(args: &Args, progress: &Progress) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(args, &args.settings)?)
        .with_writer(BesideProgress(progress.clone()))
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    // Reloading fails only if the log is gone.
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
    // Logging starts once, so this is never set already.
    let _ = SET_FILTER.set(set_filter);
    Ok(())
}

/// Changes the filter of the running log to that of these settings.
pub(super) fn adjust(args: &Args, settings: &Settings) {
    if let (Some(set_filter), Ok(filter)) = (SET_FILTER.get(), filter(args, settings)) {
        set_filter(filter);
    }
}

/// The filter from `--log-level`, or else from the verbosity.
fn filter(args: &Args, settings: &Settings) -> anyhow::Result<EnvFilter> {
    let quiet = args.dry_run || args.command.is_some();
    let level = match settings.verbosity {
        0..=3 if quiet => "warn",
        0..=3 => "info",
        4 | 5 => "debug",
        _ => "trace",
    };
    // kube logs every failed request; the sources log each series of failures once.
    let default = format!("warn,kube_client=off,pointsman={level}");
    // An empty variable is like none.
    let given = args.log_level.as_deref().filter(|given| !given.trim().is_empty());
    if let Some(word) = given.and_then(unknown_level) {
        bail!(
            "--log-level (or $POINTSMAN_LOG): {word:?} is no level. Expected error, warn, info, debug, trace or off, or a filter such as \
             warn,pointsman=debug"
        );
    }
    EnvFilter::try_new(given.unwrap_or(&default))
        .context("--log-level is not a filter such as info or warn,pointsman=debug")
}

/// The first word of a filter that stands where a level belongs, and is none. By itself it would be taken for the name of a module, and
/// nothing would be logged.
fn unknown_level(filter: &str) -> Option<&str> {
    // A filter by spans may contain commas.
    if filter.contains('[') {
        return None;
    }
    let parts = filter.split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut words = parts.map(|part| part.split_once('=').map_or(part, |(_, level)| level));
    words.find(|word| word.parse::<LevelFilter>().is_err())
}

/// Logs the notes about the configuration.
pub(super) fn print_notes(notes: &[ConfigNote]) {
    for note in notes {
        match note {
            ConfigNote::Warning(text) => tracing::warn!("configuration: {text}"),
            ConfigNote::Information(text) => tracing::info!("configuration: {text}"),
        }
    }
}

/// Prints the error that ends the process, with its causes.
pub(super) fn print_error(progress: &Progress, error: &anyhow::Error) {
    // If standard error is closed, there is nowhere left to print to.
    let _ = writeln!(BesideProgress(progress.clone()), "pointsman: {}", in_one_line(error));
}

/// An error and its causes in one line, without repeats.
pub(super) fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some errors contain the text of their cause.
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

/// Standard error, for whole lines between those of [`Progress`].
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
    fn an_error_is_printed_with_each_cause_once() {
        let line = |error: anyhow::Error| in_one_line(&error);
        assert_eq!(line(anyhow::anyhow!("a").context("b").context("c")), "c: b: a");
        assert_eq!(line(anyhow::anyhow!("a").context("b, because a").context("c")), "c: b, because a");
        assert_eq!(line(anyhow::anyhow!("a")), "a");
    }

    #[test]
    fn an_invalid_log_level_stops_the_start() {
        let args = Args::try_parse_from(["pointsman", "--log-level", "pointsman=loud=very"]).unwrap();
        let error = start(&args, &Progress::new()).unwrap_err();
        assert!(error.to_string().starts_with("--log-level (or $POINTSMAN_LOG): \"loud=very\" is no level"), "{error}");
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for (filter, word) in [
            ("inof", Some("inof")),
            ("pointsman", Some("pointsman")),
            ("warn,pointsman=debgu", Some("debgu")),
            ("info,debugg", Some("debugg")),
            ("INFO", None),
            ("off", None),
            ("warn,pointsman::diff=trace", None),
            ("info,[span{a=b,c}]=debug", None),
            ("3", None),
        ] {
            assert_eq!(unknown_level(filter), word, "{filter}");
        }
    }
}
