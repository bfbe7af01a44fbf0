//! Printing on standard output: plans, and the version.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;

use super::args::OutputFormat;
use crate::apply::encode;
use crate::diff::Plan;
use crate::render::{self, Colour};

/// Prints the plan. A reader that closes the pipe early (`| head`) is not an error.
pub(super) fn print(plan: &Plan, format: OutputFormat) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let colour = if stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none() { Colour::On } else { Colour::Off };
    let text = match format {
        OutputFormat::Text | OutputFormat::Wide => render::text(plan, colour).into_bytes(),
        OutputFormat::Nft => render::nft(plan).into_bytes(),
        OutputFormat::Json => {
            let mut json = encode(&plan.operations).context("cannot write the batch as JSON")?;
            json.push(b'\n');
            json
        }
    };
    write(&mut stdout, &text)
}

/// Prints the version.
pub(super) fn version() -> anyhow::Result<ExitCode> {
    write(&mut io::stdout().lock(), super::version::line().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a text.
pub(super) fn print_text(text: &str) -> anyhow::Result<()> {
    write(&mut io::stdout().lock(), text.as_bytes())
}

fn write(stdout: &mut impl Write, text: &[u8]) -> anyhow::Result<()> {
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}
