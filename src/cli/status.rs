//! `pointsman status`: what the proxy of this node knows about itself, from its local page.

use std::process::ExitCode;

use anyhow::{Context, bail};

use super::args::{Args, OutputFormat};
use super::local_pages::LocalPages;
use super::{DIFFERENCES, output};
use crate::observe::StatusPage;
use crate::status::NodeState;

/// Prints the status. The exit code is 0 if the node is SYNCED, else 1.
pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let page = LocalPages::find(args)?.ask("/statusz").await?.body()?;
    let page: StatusPage =
        serde_json::from_slice(&page).context("the page is not the status of a Pointsman of this version")?;
    match args.output {
        OutputFormat::Json => output::print_text(&format!("{}\n", serde_json::to_string_pretty(&page)?))?,
        OutputFormat::Text | OutputFormat::Wide => output::print_text(&page.text())?,
        OutputFormat::Nft => bail!("status prints text or JSON: leave out -o nft, or give -o json"),
    }
    Ok(if page.state == NodeState::Synced { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCES) })
}
