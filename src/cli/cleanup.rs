//! `--cleanup`: prints what was removed.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use super::args::{Args, CleanUp};
use crate::takeover::{CleanUpScope, RemovalReport, clean_up};

/// The exit code when an object was not removed.
const FAILED: u8 = 1;

impl From<CleanUp> for CleanUpScope {
    fn from(chosen: CleanUp) -> Self {
        match chosen {
            // Off never gets here.
            CleanUp::All | CleanUp::Off => Self::All,
            CleanUp::Own => Self::Own,
            CleanUp::KubeProxy => Self::KubeProxy,
        }
    }
}

pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let scope = args.cleans_up().unwrap_or(CleanUp::All).into();
    match clean_up(scope, args.force, &args.proxy_ports()).await {
        Ok(report) => {
            print(&report).context("cannot write to standard output")?;
            Ok(ExitCode::from(if report.failed.is_empty() { 0 } else { FAILED }))
        }
        Err(error) => {
            tracing::error!("nothing was removed: {error}");
            Ok(ExitCode::from(FAILED))
        }
    }
}

fn print(report: &RemovalReport) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let lines = [("removed", &report.removed), ("left", &report.left), ("failed", &report.failed)];
    for (word, objects) in lines {
        for object in objects {
            writeln!(stdout, "{word}: {object}")?;
        }
    }
    if lines.iter().all(|(_, objects)| objects.is_empty()) {
        writeln!(stdout, "there was nothing to remove")?;
    }
    stdout.flush()
}
