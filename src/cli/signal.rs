//! Signals that end the process.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when SIGTERM or SIGINT arrives.
pub(super) async fn shutdown_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("cannot catch signals: SIGTERM will end the process at once, which is harmless");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
