//! Logs what goes wrong between us and the API server: the first failure, then a reminder now and then, and the end.

use std::time::Duration;

use kube_runtime::watcher;
use tokio::time::Instant;

use crate::state::Kind;

/// How often a failure that lasts is named again.
const REMIND_EVERY: Duration = Duration::from_secs(300);

/// A series of failures of one kind's watch.
#[derive(Debug)]
pub struct Trouble {
    kind: Kind,
    /// When the series began, when it was last named, and how long it is.
    series: Option<(Instant, Instant, u64)>,
}

impl Trouble {
    /// No failure yet.
    pub fn new(kind: Kind) -> Self {
        Self { kind, series: None }
    }

    /// A failure.
    pub fn met(&mut self, error: &watcher::Error, status: Option<u16>) {
        let (kind, now) = (self.kind, Instant::now());
        let Some((began, named, failures)) = &mut self.series else {
            self.series = Some((now, now, 1));
            let hint = hint(kind, status);
            tracing::warn!(%kind, error = %chain(error), "cannot watch; what is known stays in force. {hint}");
            return;
        };
        *failures += 1;
        if now - *named < REMIND_EVERY {
            tracing::debug!(%kind, error = %chain(error), failures, "still cannot watch");
            return;
        }
        *named = now;
        let hint = hint(kind, status);
        tracing::warn!(%kind, error = %chain(error), failures, lasting = ?(now - *began), "still cannot watch. {hint}");
    }

    /// The watch works.
    pub fn over(&mut self) {
        if let Some((began, _, failures)) = self.series.take() {
            tracing::info!(kind = %self.kind, failures, lasted = ?began.elapsed(), "watching again");
        }
    }
}

/// The error with its causes, which name the real reason (connection refused, certificate expired).
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

fn hint(kind: Kind, status: Option<u16>) -> String {
    match status {
        Some(401) => {
            "The server does not accept our credentials: check the kubeconfig, or the service account's token".into()
        }
        Some(403) => format!("Allow our service account to list and watch objects of kind {kind}"),
        Some(404) => {
            format!("The server does not know the kind {kind}: check that its address is that of an API server")
        }
        Some(410) => "Our version of the list is too old; listing again".into(),
        Some(429) => "The server is busy; trying more slowly".into(),
        Some(500..) => "The server has a problem; trying again".into(),
        _ => "Check the API server's address and the network to it; trying again".into(),
    }
}
