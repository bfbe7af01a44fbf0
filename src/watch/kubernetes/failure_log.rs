//! Logs failures to watch a kind: the first one, a reminder now and then, and the end.

use std::time::Duration;

use super::watcher::WatchError;
use crate::clock;
use crate::pacing::{Moment, Reminder};
use crate::state::Kind;
use crate::watch::Connection;

/// How often a failure that lasts is logged again.
const REMIND_EVERY: Duration = Duration::from_secs(300);

/// Follows the failures of one kind's watch.
#[derive(Debug)]
pub struct FailureLog {
    kind: Kind,
    /// Shows the last error while it lasts.
    connection: Connection,
    /// Failures in a row.
    failures: u64,
    /// When the first of them was.
    since: Moment,
    reminder: Reminder,
}

impl FailureLog {
    /// No failure yet.
    pub fn new(kind: Kind, connection: Connection) -> Self {
        Self { kind, connection, failures: 0, since: clock::now(), reminder: Reminder::new(REMIND_EVERY) }
    }

    /// Listing or watching failed.
    pub fn failed(&mut self, error: &WatchError) {
        let (kind, now, status, error) = (self.kind, clock::now(), error.status(), error_chain(error));
        self.failures += 1;
        let failures = self.failures;
        let hint = hint(kind, status);
        self.connection.failing(kind, &format!("{error}. {hint}"));
        if !self.reminder.is_due(now) {
            tracing::debug!(%kind, %error, failures, "still cannot watch");
            return;
        }
        if failures == 1 {
            self.since = now;
            tracing::warn!(%kind, %error, "cannot watch; what is known stays in force. {hint}");
        } else {
            tracing::warn!(%kind, %error, failures, lasting = ?(now.since(self.since)), "still cannot watch. {hint}");
        }
    }

    /// The watch works.
    pub fn succeeded(&mut self) {
        if self.failures > 0 {
            let lasted = clock::now().since(self.since);
            tracing::info!(kind = %self.kind, failures = self.failures, ?lasted, "watching again");
            self.failures = 0;
            self.reminder.reset();
        }
    }
}

/// The error with its causes, which name the real reason (connection refused, certificate expired).
fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
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
