//! `--dry-run`: what a sync would change.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::args::{Against, Args};
use super::logging::Progress;
use super::{DIFFERENCES, output, source};
use crate::apply::{AnyBackend, Backend};
use crate::diff::{Acknowledged, Scope};
use crate::engine::{Engine, EngineSettings, Moment, Next};
use crate::proxy::log_skipped;
use crate::tasks::Supervisor;
use crate::watch::{Connection, Received, StartedSource};

/// How long the API server may take to send complete lists.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(args: &Args, progress: &Progress) -> anyhow::Result<ExitCode> {
    let against = args.against.unwrap_or_default();
    let scope = match against {
        Against::Kernel => args.scope(),
        Against::Empty => args.dual_stack(),
    };
    let mut backend = match against {
        Against::Kernel => Some(AnyBackend::open_for_reading(&args.backend_options()).await?),
        Against::Empty => None,
    };
    let mut engine = complete_engine(args, scope, progress).await?;
    let now = Moment::default();
    let plan = loop {
        match engine.next(now) {
            Next::Commit(plan) => break plan,
            Next::Read => {
                let _reading = progress.show("reading the kernel's tables");
                let held = match &mut backend {
                    Some(backend) => Acknowledged::from(backend.read(engine.families()).await?),
                    None => Acknowledged::empty(),
                };
                engine.read_back(held, now);
            }
            Next::Wait(_) => bail!("there is no plan, though all lists are complete and the tables were read"),
        }
    };
    output::print(&plan, args.output)?;
    Ok(ExitCode::from(if plan.is_empty() { 0 } else { DIFFERENCES }))
}

/// An engine that has heard and compiled the complete cluster, before an unknown kernel.
pub(super) async fn complete_engine(args: &Args, scope: Scope, progress: &Progress) -> anyhow::Result<Engine> {
    let view = args.view(&args.node_name()?);
    let timeout = args.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let supervisor = Supervisor::default();
    let StartedSource { mut events, ready } =
        source::start(args, source::api_client(args).await?, progress, &Connection::default(), &supervisor).await?;
    ready.await?;
    let waiting = progress.show("waiting for complete lists of Services, EndpointSlices and ServiceCIDRs");
    // One plan shows everything that would change.
    let settings = EngineSettings { slice_goal: None, grace: None, ..EngineSettings::new(scope, view) };
    let mut engine = Engine::new(settings);
    tokio::select! {
        complete = fold_until_complete(&mut engine, &mut events) => complete?,
        () = supervisor.shutdown().cancelled() => supervisor.check()?,
        () = sleep(timeout) => bail!(
            "there were no complete lists within {timeout:?}. The warnings above say why; --timeout sets how long to wait"
        ),
    }
    drop(waiting);
    // The source has told everything. Its end is no failure from now on.
    supervisor.shutdown().cancel();
    Ok(engine)
}

/// Folds events until all lists are complete, compiles them, and logs what was left out.
async fn fold_until_complete(engine: &mut Engine, events: &mut mpsc::Receiver<Received>) -> anyhow::Result<()> {
    while !engine.snapshot().cluster().is_complete() {
        let Some(received) = events.recv().await else {
            bail!("the source ended before its lists were complete");
        };
        engine.fold(received.event).skipped.iter().for_each(log_skipped);
    }
    engine.compile().skipped.iter().for_each(log_skipped);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Options;
    use crate::fixtures::{NODE, empty_lists, name, service, slice};
    use crate::state::{Cluster, Event, View};

    async fn complete_after(events: Vec<Event>) -> anyhow::Result<Cluster> {
        let (sender, mut received) = mpsc::channel(events.len().max(1));
        for event in events {
            sender.send(Received::now(event)).await.unwrap();
        }
        drop(sender);
        let view = View { node_name: NODE.into(), ..View::default() };
        let mut engine = Engine::new(EngineSettings::new(Scope::dual_stack(Options::default()), view));
        fold_until_complete(&mut engine, &mut received).await?;
        Ok(engine.snapshot().cluster().clone())
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
