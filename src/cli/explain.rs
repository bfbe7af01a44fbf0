//! `pointsman explain`: what becomes of a packet on this node, and why.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use anyhow::bail;

use super::args::{Against, Args, ExplainArgs, OutputFormat};
use super::logging::Progress;
use super::{dry_run, output};
use crate::apply::{AnyBackend, Backend};
use crate::dataplane::{Family, Packet};
use crate::diff::{Acknowledged, Plan, diff};
use crate::engine::Engine;
use crate::explain::{Destination, Ruleset, Sender, Verdict, explain, json, text};

/// The exit code if the packet is not delivered to an endpoint.
const NOT_DELIVERED: u8 = 1;

pub(super) async fn run(args: &Args, asked: &ExplainArgs, progress: &Progress) -> anyhow::Result<ExitCode> {
    if args.output == OutputFormat::Nft {
        bail!("explain prints text or JSON: leave out -o nft, or give -o json");
    }
    let destination = Destination::parse(&asked.destination).map_err(anyhow::Error::msg)?;
    let sender = Sender::parse(&asked.from).map_err(anyhow::Error::msg)?;
    // Manifests may be those of another node: only where a kernel is asked for it is read.
    let default = if args.manifests.is_empty() { Against::Kernel } else { Against::Empty };
    let against = args.against.unwrap_or(default);
    let mut backend = match against {
        Against::Kernel => Some(AnyBackend::open_for_reading(&args.backend_options()).await?),
        Against::Empty => None,
    };
    let engine = dry_run::complete_engine(args, args.dual_stack(), progress).await?;
    let host = host_addresses(&engine);
    let options = &engine.scope().options;
    let packet = destination.packet(&sender, engine.snapshot(), options, &host).map_err(anyhow::Error::msg)?;
    let (ruleset, check) = match &mut backend {
        Some(backend) => from_kernel(&engine, backend, &packet).await?,
        None => (as_planned(&engine, &packet), None),
    };
    let explanation = explain(engine.snapshot(), &ruleset, &packet, &host);
    let printed = match args.output {
        OutputFormat::Json => {
            let mut answer = json(&explanation, &ruleset);
            answer["check"] = check.as_ref().map_or(serde_json::Value::Null, |plan| plan.operations.len().into());
            format!("{answer:#}\n")
        }
        _ => format!("{}{}", text(&explanation, engine.snapshot(), &ruleset), checked(check.as_ref(), args)),
    };
    output::print_text(&printed)?;
    Ok(ExitCode::from(if explanation.verdict == Verdict::Delivered { 0 } else { NOT_DELIVERED }))
}

/// The addresses of this host, as far as the source tells them, and the loopback addresses.
fn host_addresses(engine: &Engine) -> BTreeSet<IpAddr> {
    let cluster = engine.snapshot().cluster();
    let own = cluster.node().map_or(&[][..], |node| &node.addresses);
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    own.iter().copied().chain(cluster.host_addresses().iter().copied()).chain(loopback).collect()
}

/// The rules and elements that the cluster asks for.
fn as_planned(engine: &Engine, packet: &Packet) -> Ruleset {
    let plan = diff(&Acknowledged::empty(), engine.snapshot().desired(), engine.scope());
    Ruleset::from_operations(Family::from_addr(packet.daddr), &plan.operations)
}

/// The rules and elements that the kernel holds, and how they differ from those that the cluster asks for.
async fn from_kernel(
    engine: &Engine,
    backend: &mut AnyBackend,
    packet: &Packet,
) -> anyhow::Result<(Ruleset, Option<Plan>)> {
    let family = Family::from_addr(packet.daddr);
    let tables = backend.read(&[family]).await?;
    let held = Acknowledged::from(tables.clone());
    let mut ruleset = match (tables.get(family), held.features(family)) {
        (Some(contents), Some(features)) => Ruleset::from_contents(family, contents, &engine.scope().options, features),
        _ => Ruleset::default(),
    };
    for frontend in held.frontends.iter().filter(|(_, held)| held.affinity.is_some()).map(|(frontend, _)| *frontend) {
        let is_asked_for = frontend.port == packet.dport && frontend.protocol == packet.protocol;
        if is_asked_for && (frontend.addr == packet.daddr || frontend.is_node_port()) {
            ruleset.add_clients(&backend.clients(frontend).await?);
        }
    }
    let mut scope = engine.scope().clone();
    scope.families = vec![family];
    let mut plan = diff(&held, engine.snapshot().desired(), &scope);
    plan.operations.retain(|operation| operation.family == family);
    Ok((ruleset, Some(plan)))
}

/// Whether the source and the kernel agree.
fn checked(plan: Option<&Plan>, args: &Args) -> String {
    let source = if args.manifests.is_empty() { "API server" } else { "manifests" };
    match plan {
        None => {
            format!("\nCHECK     what the {source} ask for; no kernel was read\n").replace("server ask", "server asks")
        }
        Some(plan) if plan.is_empty() => format!("\nCHECK     {source} = kernel\n"),
        Some(plan) => format!(
            "\nCHECK     the kernel differs from the {source} in {} operations: pointsman --dry-run lists them\n",
            plan.operations.len()
        ),
    }
}
