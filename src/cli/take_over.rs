//! `--take-over`: logs what became of kube-proxy's rules.

use tokio::sync::oneshot;

use super::args;
use crate::takeover::{RemovalReport, TakeOverDecision, TakeOverOutcome, TakeOverPolicy};

impl From<args::TakeOver> for TakeOverPolicy {
    fn from(chosen: args::TakeOver) -> Self {
        match chosen {
            args::TakeOver::Auto => Self::Auto,
            args::TakeOver::Force => Self::Force,
            args::TakeOver::Never => Self::Never,
        }
    }
}

/// Adds to an error about a port that is taken which program probably has it.
pub(super) fn explain(take_over: TakeOverDecision, error: anyhow::Error) -> anyhow::Error {
    match take_over.port_conflict() {
        Some(why) => error.context(why),
        None => error,
    }
}

/// Waits for the first sync, then does what was decided. Ends without it if the sender is gone.
pub(super) async fn after_first_sync(take_over: TakeOverDecision, first_sync: oneshot::Receiver<()>) {
    if first_sync.await.is_err() {
        return;
    }
    match take_over.perform().await {
        Ok(TakeOverOutcome::NothingFound) => {}
        Ok(TakeOverOutcome::Kept(why)) => tracing::warn!("{why}"),
        Ok(TakeOverOutcome::Removed(report)) => log(&report),
        Err(error) => tracing::error!("cannot look for kube-proxy's rules, and any that exist stay: {error}"),
    }
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
