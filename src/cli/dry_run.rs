//! `--dry-run`: what a sync would change.

use std::process::ExitCode;

use anyhow::bail;
use tokio::sync::mpsc;

use super::args::{Against, Args};
use super::logging::Progress;
use super::{DIFFERENCES, output, signal, source};
use crate::apply::{AnyBackend, Backend};
use crate::diff::{Acknowledged, diff};
use crate::observe::Connection;
use crate::reconcile::report;
use crate::state::{Cluster, Desired, View};
use crate::watch::{Received, StartedSource};

pub(super) async fn run(args: &Args, progress: &Progress) -> anyhow::Result<ExitCode> {
    let scope = match args.against {
        Against::Kernel => args.scope(),
        Against::Empty => args.dual_stack(),
    };
    let mut backend = match args.against {
        Against::Kernel => Some(AnyBackend::open_for_reading(&args.backend_options()).await?),
        Against::Empty => None,
    };
    let node_name = args.node_name()?;
    let StartedSource { mut events, ready } = source::start(args, progress, &Connection::default()).await?;
    ready.await?;
    let waiting = progress.show("waiting for complete lists of Services, EndpointSlices and ServiceCIDRs");
    let (cluster, desired) = tokio::select! {
        cluster = complete(args.view(&node_name), &mut events) => cluster?,
        () = signal::shutdown_signal() => bail!("interrupted before the lists were complete"),
    };
    drop(waiting);
    let acknowledged = match &mut backend {
        Some(backend) => {
            let _reading = progress.show("reading the kernel's tables");
            Acknowledged::from(backend.read(&scope.families).await?)
        }
        None => Acknowledged::nothing(),
    };
    let plan = diff(&acknowledged, &desired, &scope.on(cluster.node()));
    output::print(&plan, args.output)?;
    Ok(ExitCode::from(if plan.is_empty() { 0 } else { DIFFERENCES }))
}

/// Folds events until complete lists were seen, and reports what was left out: the cluster and what it asks for.
async fn complete(view: View, events: &mut mpsc::Receiver<Received>) -> anyhow::Result<(Cluster, Desired)> {
    let mut cluster = Cluster::seen_from(view);
    while !cluster.is_complete() {
        let Some(received) = events.recv().await else {
            bail!("the source ended before its lists were complete");
        };
        let step = cluster.apply(received.event);
        report(&step.skipped);
        cluster = step.cluster;
    }
    let (desired, lost) = Desired::first(&cluster);
    report(&lost);
    Ok((cluster, desired))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NODE, empty_lists, name, service, slice};
    use crate::state::Event;

    async fn complete_after(events: Vec<Event>) -> anyhow::Result<Cluster> {
        let (sender, mut received) = mpsc::channel(events.len().max(1));
        for event in events {
            sender.send(Received::now(event)).await.unwrap();
        }
        drop(sender);
        complete(View { node_name: NODE.into(), ..View::default() }, &mut received).await.map(|(cluster, _)| cluster)
    }

    #[tokio::test]
    async fn events_are_folded_until_the_lists_are_complete_and_no_further() {
        let mut events = vec![service("shop/early").into(), slice("shop/early-1").ready(&["10.1.0.1"]).into()];
        let [_, slices, cidrs, nodes] = empty_lists();
        events.extend([Event::ServicesReset(vec![service("shop/listed").decoded()]), slices, cidrs, nodes]);
        events.push(service("shop/late").into());
        let cluster = complete_after(events).await.unwrap();
        assert_eq!(cluster.node_name(), NODE);
        let known = ["shop/early", "shop/listed", "shop/late"].map(|service| cluster.service(&name(service)).is_some());
        assert_eq!(known, [false, true, false]);
    }

    #[tokio::test]
    async fn a_source_that_ends_before_its_lists_is_an_error() {
        let [services, slices, ..] = empty_lists();
        let error = complete_after(vec![services, slices]).await.unwrap_err();
        assert_eq!(error.to_string(), "the source ended before its lists were complete");
    }
}
