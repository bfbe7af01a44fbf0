//! Signals that end the process, and one that does not.

use tokio::signal::unix::{SignalKind, signal};

/// Catches SIGTERM and SIGINT from now on. The future completes when one of them arrives.
pub(super) fn shutdown_signal() -> impl Future<Output = ()> + Send + use<> {
    let signals =
        signal(SignalKind::terminate()).and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    async {
        let Ok((mut terminate, mut interrupt)) = signals else {
            tracing::warn!("cannot catch signals: SIGTERM will end the process at once, which is harmless");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Ignores SIGHUP from now on, and says so in the future: a closed terminal does not end a proxy, and there is nothing to read again.
pub(super) fn ignore_hangup() -> impl Future<Output = ()> + Send + use<> {
    let hangup = signal(SignalKind::hangup());
    async {
        let Ok(mut hangup) = hangup else { return };
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP is ignored: the configuration file is followed without it");
        }
    }
}
