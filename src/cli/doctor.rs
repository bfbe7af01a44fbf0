//! `pointsman doctor`: what stands against a switch from kube-proxy on this node.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::args::{Args, BackendName, Doctor, Format};
use crate::apply::Nft;
use crate::doctor::{NftProgram, examine, gather, json, objections, read_config, text};

/// There are warnings or problems.
const OBJECTIONS: u8 = 1;

pub(super) async fn run(args: &Args, doctor: &Doctor) -> anyhow::Result<ExitCode> {
    if args.output == Format::Nft {
        bail!("doctor prints text or, with -o json, JSON");
    }
    let config = read_config(doctor.config.as_deref())?;
    let facts = gather(config, nft(args).await).await.context("cannot inspect this node")?;
    let findings = examine(&facts);
    let printed = match args.output {
        Format::Json => format!("{:#}\n", json(&findings)),
        _ => text(&findings),
    };
    match io::stdout().lock().write_all(printed.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output")?,
        _ => {}
    }
    Ok(ExitCode::from(if objections(&findings) { OBJECTIONS } else { 0 }))
}

/// The nft program, as far as the backend uses it.
async fn nft(args: &Args) -> NftProgram {
    let found = async || match Nft::find(&args.nft_program()).await {
        Ok(nft) => Ok(nft.version().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match args.backend {
        BackendName::Netlink => NftProgram::NotNeeded,
        BackendName::Auto => NftProgram::Fallback(found().await),
        BackendName::Nft => NftProgram::Needed(found().await),
    }
}
