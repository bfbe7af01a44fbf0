//! `pointsman doctor`: prints what speaks against a switch from kube-proxy on this node.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::args::{Args, DoctorArgs, OutputFormat};
use crate::doctor::{blocks_switch, examine, gather, json, read_config, text};

/// The exit code for warnings or problems.
const FINDINGS: u8 = 1;

pub(super) async fn run(args: &Args, doctor: &DoctorArgs) -> anyhow::Result<ExitCode> {
    if args.output == OutputFormat::Nft {
        bail!("doctor prints text or JSON: leave out -o nft, or give -o json");
    }
    let config = read_config(doctor.config.as_deref())?;
    let facts = gather(config, &args.backend_options()).await.context("cannot inspect this node")?;
    let findings = examine(&facts);
    let printed = match args.output {
        OutputFormat::Json => format!("{:#}\n", json(&findings)),
        _ => text(&findings),
    };
    match io::stdout().lock().write_all(printed.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output")?,
        _ => {}
    }
    Ok(ExitCode::from(if blocks_switch(&findings) { FINDINGS } else { 0 }))
}
