//! `pointsman top`: the connections of Services, second by second, from the local page of the proxy.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use console::Term;
use http::StatusCode;

use super::args::{Args, OutputFormat};
use super::local_pages::LocalPages;
use super::output;
use crate::config::GoDuration;
use crate::observe::{ConnectionsPage, ServicePortConnections};
use rates::rates;

mod rates;

#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    /// The time from one look to the next, at least 1s
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    pub interval: Duration,

    /// What comes first: the most new, refused or dropped connections in a second, or the first name
    #[arg(long, value_enum, default_value_t)]
    pub sort: TopOrder,

    /// The most lines; 0 for all. A terminal shows no more than it has room for
    #[arg(long, value_name = "LINES", default_value_t = 20)]
    pub limit: usize,
}

/// The value of `--sort`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum TopOrder {
    #[default]
    New,
    Refused,
    Dropped,
    Name,
}

/// Lines of a terminal that are not rows: the head, the summary, how many more there are, what is left out, the end.
const OTHER_LINES: usize = 5;

/// What failed if a line cannot be shown.
const WRITE: &str = "cannot write to the terminal";

/// Prints the connections: on a terminal again and again, else once, of one interval.
pub(super) async fn run(args: &Args, top: &TopArgs) -> anyhow::Result<ExitCode> {
    if args.output == OutputFormat::Nft {
        bail!("top prints text or JSON: leave out -o nft, or give -o json");
    }
    let pages = LocalPages::find(args)?;
    let mut before = ask(pages).await?;
    let terminal = Term::stdout();
    let is_live = terminal.is_term() && args.output == OutputFormat::Text;
    let limit = if top.limit == 0 { usize::MAX } else { top.limit };
    loop {
        tokio::select! {
            () = tokio::time::sleep(top.interval) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
        let now = match ask(pages).await {
            // The proxy may be starting again.
            Err(error) if is_live => {
                terminal.clear_screen().context(WRITE)?;
                terminal.write_line(&format!("{error:#}")).context(WRITE)?;
                continue;
            }
            now => now?,
        };
        // Many ask, or a reading takes long: this one is known.
        if now.read_at_seconds.total_cmp(&before.read_at_seconds).is_eq() {
            continue;
        }
        let rates = rates(&before, &now, top.sort);
        match args.output {
            OutputFormat::Json => {
                output::print_text(&format!("{}\n", serde_json::to_string_pretty(&rates.first(limit))?))?;
            }
            _ if !is_live => output::print_text(&rates.text(limit, None))?,
            _ => {
                let (height, width) = terminal.size();
                let limit = limit.min(usize::from(height).saturating_sub(OTHER_LINES));
                terminal.clear_screen().context(WRITE)?;
                let text = rates.text(limit, Some(width.into()));
                for line in text.lines() {
                    terminal.write_line(&console::truncate_str(line, width.into(), "")).context(WRITE)?;
                }
            }
        }
        if !is_live {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
    }
}

async fn ask(pages: LocalPages) -> anyhow::Result<ConnectionsPage> {
    let answer = pages.ask("/connectionsz").await?;
    if answer.status == StatusCode::NOT_FOUND {
        bail!(
            "this proxy counts no connections. Start it with --counters (in the DaemonSet: add --counters to its args; \
             existing connections are not affected), then ask again"
        );
    }
    serde_json::from_slice(&answer.body()?).context("the page is not that of a Pointsman of this version")
}

/// A span of time of at least a second.
fn interval(text: &str) -> Result<Duration, &'static str> {
    let duration = text.parse::<GoDuration>().map(GoDuration::to_duration).ok();
    duration.filter(|duration| *duration >= Duration::from_secs(1)).ok_or("expected a duration of at least 1s")
}
