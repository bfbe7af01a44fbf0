//! `pointsman explain`: what becomes of a packet on this node, and why.

mod foreign;
mod live;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use anyhow::bail;

use super::args::{Against, Args, ExplainArgs, OutputFormat};
use super::logging::Progress;
use super::{dry_run, output, replay};
use crate::apply::{AnyBackend, Backend};
use crate::dataplane::{Family, Packet};
use crate::diff::{Acknowledged, Plan, diff};
use crate::engine::Engine;
use crate::explain::{Destination, Ruleset, Sender, Verdict, explain, json, text};
use foreign::ForeignChains;
use live::LiveWay;

/// Where the objects come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventSource {
    ApiServer,
    Manifests,
    Journal,
}

/// The exit code if the packet is not delivered to an endpoint.
const NOT_DELIVERED: u8 = 1;

pub(super) async fn run(args: &Args, asked: &ExplainArgs, progress: &Progress) -> anyhow::Result<ExitCode> {
    if args.output == OutputFormat::Nft {
        bail!("explain prints text or JSON: leave out -o nft, or give -o json");
    }
    let destination = Destination::parse(&asked.destination).map_err(anyhow::Error::msg)?;
    let sender = Sender::parse(&asked.from).map_err(anyhow::Error::msg)?;
    let source = EventSource::choose(args, asked)?;
    if asked.live {
        live::check_sender(&sender)?;
    }
    // Manifests may be those of another node: only where a kernel is asked for it is read.
    let default = if source == EventSource::ApiServer { Against::Kernel } else { Against::Empty };
    let mut backend = match args.against.unwrap_or(default) {
        Against::Kernel => Some(AnyBackend::open_for_reading(&args.backend_options()).await?),
        Against::Empty if asked.live => {
            bail!("--live reads the kernel: leave out --against empty, and give --against kernel with --manifests")
        }
        Against::Empty => None,
    };
    let engine = match &asked.journal {
        Some(file) => replay::recorded_engine(args, file, asked.at)?,
        None => dry_run::complete_engine(args, args.dual_stack(), progress).await?,
    };
    if !engine.snapshot().cluster().is_complete() {
        bail!("up to --at, or the end of the journal, not all lists were complete: the node had programmed nothing");
    }
    let host = host_addresses(&engine);
    let options = &engine.scope().options;
    let mut packet = destination.packet(&sender, engine.snapshot(), options, &host).map_err(anyhow::Error::msg)?;
    let (ruleset, check, foreign) = match &mut backend {
        Some(backend) => {
            let (ruleset, check) = from_kernel(&engine, backend, &packet).await?;
            (ruleset, check, Some(ForeignChains::on_way(&packet).await))
        }
        None => (as_planned(&engine, &packet), None, None),
    };
    let live = match asked.live {
        true => Some(LiveWay::follow(&packet, &sender, args.timeout.unwrap_or(live::DEFAULT_WAIT)).await?),
        false => None,
    };
    // A connection of this node came from one of its addresses: the answer is about that one.
    packet.saddr = live.as_ref().and_then(LiveWay::source).filter(|_| sender == Sender::Node).unwrap_or(packet.saddr);
    let snapshot = engine.snapshot();
    let mut explanation = explain(snapshot, &ruleset, &packet, &host);
    if let Some(sight) = live.as_ref().and_then(|live| live.sight(&ruleset)) {
        explanation.see(sight);
    }
    let printed = match args.output {
        OutputFormat::Json => {
            let mut answer = json(&explanation, snapshot, &ruleset);
            answer["check"] = check.as_ref().map_or(serde_json::Value::Null, |plan| plan.operations.len().into());
            answer["foreign"] = foreign.as_ref().map_or(serde_json::Value::Null, ForeignChains::json);
            answer["live"] = live.as_ref().map_or(serde_json::Value::Null, |live| live.json(&ruleset));
            format!("{answer:#}\n")
        }
        _ => {
            let live = live.as_ref().map_or_else(String::new, |live| live.text(&ruleset));
            let foreign = foreign.as_ref().map_or_else(String::new, ForeignChains::text);
            let fix = explanation.fix(snapshot).map_or_else(String::new, |fix| format!("FIX       {fix}\n"));
            format!("{}{}{foreign}{fix}{live}", text(&explanation, snapshot, &ruleset), source.checked(check.as_ref()))
        }
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

impl EventSource {
    /// The source that the options name.
    fn choose(args: &Args, asked: &ExplainArgs) -> anyhow::Result<Self> {
        match (&asked.journal, args.manifests.is_empty()) {
            (Some(_), false) => {
                bail!("--journal and --manifests cannot be given together: objects come from one of them")
            }
            (Some(_), true) if args.against == Some(Against::Kernel) => {
                bail!("--journal tells of another time than the kernel: leave out --against kernel")
            }
            (Some(_), true) => Ok(Self::Journal),
            (None, false) => Ok(Self::Manifests),
            (None, true) => Ok(Self::ApiServer),
        }
    }

    /// Whether the source and the kernel agree.
    fn checked(self, plan: Option<&Plan>) -> String {
        let (name, asks) = match self {
            Self::ApiServer => ("API server", "asks"),
            Self::Manifests => ("manifests", "ask"),
            Self::Journal => ("journal", "asks"),
        };
        match plan {
            None => format!("\nCHECK     what the {name} {asks} for; no kernel was read\n"),
            Some(plan) if plan.is_empty() => format!("\nCHECK     {name} = kernel\n"),
            Some(plan) => {
                let noun = if plan.operations.len() == 1 { "operation" } else { "operations" };
                format!(
                    "\nCHECK     the kernel differs from the {name} in {} {noun}: pointsman --dry-run lists them. If the proxy has \
                     other options than were given here, ask again with the same\n",
                    plan.operations.len()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{Object, Operation, Verb};

    #[test]
    fn a_difference_is_counted_and_other_options_are_named_as_a_cause() {
        let operation = Operation { verb: Verb::Add, family: Family::Ip, object: Object::Table };
        let said = |count| {
            let plan = Plan { operations: vec![operation.clone(); count], ..Plan::default() };
            EventSource::ApiServer.checked(Some(&plan))
        };
        assert_eq!(said(0), "\nCHECK     API server = kernel\n");
        assert!(said(1).contains("differs from the API server in 1 operation: "), "{}", said(1));
        assert!(said(2).contains(" in 2 operations: pointsman --dry-run lists them. If the proxy has other options"));
    }
}
