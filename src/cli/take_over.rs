//! `--take-over`: logs what became of kube-proxy's rules.

use std::time::Duration;

use anyhow::bail;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::args::{self, Args};
use super::version::VERSION;
use crate::takeover::{InstanceLock, RemovalReport, TakeOverDecision, TakeOverOutcome, TakeOverPolicy};

/// How long a proxy that is just ending may take: a supervisor may start this one a moment too early.
const ENDING_TIMEOUT: Duration = Duration::from_secs(3);
/// How often to look again meanwhile.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

impl From<args::TakeOver> for TakeOverPolicy {
    fn from(chosen: args::TakeOver) -> Self {
        match chosen {
            args::TakeOver::Auto => Self::Auto,
            args::TakeOver::Force => Self::Force,
            args::TakeOver::Never => Self::Never,
        }
    }
}

/// Makes sure that no other proxy runs here, takes the lock, and decides what becomes of kube-proxy's rules.
///
/// # Errors
///
/// If a kube-proxy or another Pointsman runs, unless the operator allows that.
pub(super) async fn begin(args: &Args, node_name: &str) -> anyhow::Result<(TakeOverDecision, InstanceLock)> {
    let introduction =
        format!("version {VERSION}, node {node_name}, since {}", jiff::Timestamp::now().strftime("%FT%TZ"));
    let deadline = Instant::now() + ENDING_TIMEOUT;
    loop {
        let decision = TakeOverDecision::decide(args.take_over.unwrap_or_default().into(), &args.proxy_ports()).await;
        let other = match decision.other_proxy() {
            Some(other) => other.to_owned(),
            None => match InstanceLock::take(introduction.clone()) {
                Ok(lock) => return Ok((decision, lock)),
                // It has started since the look.
                Err(holder) => format!("another Pointsman runs on this host ({holder})"),
            },
        };
        if args.beside_other_proxy {
            tracing::warn!("{other}: starting beside it, as --beside-other-proxy says");
            return Ok((decision, InstanceLock::take_if_free(introduction)));
        }
        if Instant::now() >= deadline {
            bail!(
                "{other}: nothing was changed. Two proxies on a node overwrite or contradict each other. End it first: its rules keep \
                 working without it. To start nevertheless: --beside-other-proxy"
            );
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// Adds to an error about a port that is taken which program probably has it.
pub(super) fn explain(take_over: &TakeOverDecision, error: anyhow::Error) -> anyhow::Error {
    match take_over.port_conflict() {
        Some(why) => error.context(why),
        None => error,
    }
}

/// Waits for the first sync, then does what was decided. Returns whether there was a first sync: without it the sender ends.
pub(super) async fn after_first_sync(take_over: TakeOverDecision, first_sync: oneshot::Receiver<()>) -> bool {
    if first_sync.await.is_err() {
        return false;
    }
    match take_over.perform().await {
        Ok(TakeOverOutcome::NothingFound) => {}
        Ok(TakeOverOutcome::Kept(why)) => tracing::warn!("{why}"),
        Ok(TakeOverOutcome::Removed(report)) => log(&report),
        Err(error) => tracing::error!("cannot look for kube-proxy's rules, and any that exist stay: {error}"),
    }
    true
}

fn log(report: &RemovalReport) {
    for what in &report.removed {
        tracing::info!("taken over from kube-proxy; removed: {what}");
    }
    for what in &report.left {
        tracing::warn!("left: {what}");
    }
    for what in &report.warnings {
        tracing::warn!("{what}");
    }
    for what in &report.failed {
        tracing::error!("not removed: {what}");
    }
}
