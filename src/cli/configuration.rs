//! The configuration at work: written out on demand, applied to the host, and followed while the proxy runs.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::args::Args;
use super::logging;
use crate::config::Settings;
use crate::config::follow::Follower;
use crate::host::{oom, sysctl};

/// The one field that takes effect without a restart.
const LIVE: &str = "logging.verbosity";

/// `--write-config-to`: the effective configuration as a file.
pub(super) fn write(args: &Args, file: &Path) -> anyhow::Result<ExitCode> {
    let text = args.settings.configuration.yaml().context("cannot write the configuration as YAML")?;
    std::fs::write(file, text)
        .with_context(|| format!("cannot write the configuration to {}: check --write-config-to", file.display()))?;
    tracing::info!(file = %file.display(), "wrote the configuration");
    Ok(ExitCode::SUCCESS)
}

/// Sets what the configuration wants of the host below `root` (`/`).
///
/// Next to manifests that is only what differs from the defaults: who tries something out did not ask for a node's settings.
pub(super) fn apply_to_host(args: &Args, root: &Path) {
    let cores = sysctl::cores(root);
    let mut wanted = sysctl::wanted(&args.settings.conntrack, cores);
    let defaults = Settings::default();
    let serves_a_cluster = args.manifests.is_empty();
    if !serves_a_cluster {
        let by_default = sysctl::wanted(&defaults.conntrack, cores);
        wanted.retain(|sysctl| !by_default.contains(sysctl));
    }
    sysctl::set(root, &wanted);
    if serves_a_cluster || args.settings.oom_score_adj != defaults.oom_score_adj {
        oom::set_score(root, args.settings.oom_score_adj);
    }
}

/// Follows the configuration file, if there is one, until it says something that takes a restart.
pub(super) async fn changed(args: &Args) {
    let Some((path, mut follower)) = args.config.as_deref().and_then(|path| Some((path, follower(path)?))) else {
        return std::future::pending().await;
    };
    let mut settings = args.settings.clone();
    for look in 0_u64.. {
        let content = follower.changed().await.map_err(anyhow::Error::from);
        let next = match content.and_then(|text| args.settings_from(Some(&text))) {
            Ok((next, notes)) => {
                // The first content is that of the start, unless it has just changed.
                if look > 0 {
                    logging::tell(&notes);
                }
                next
            }
            Err(error) => {
                tracing::warn!(
                    "the configuration changed, but cannot be used; what was read before stays in force: {error:#}"
                );
                continue;
            }
        };
        let fields = settings.configuration.differences(&next.configuration);
        if fields.iter().any(|field| *field != LIVE) {
            tracing::error!(
                file = %path.display(),
                fields = fields.join(", "),
                "the configuration changed: ending, to be started anew with it; the rules stay in place"
            );
            return;
        }
        if !fields.is_empty() {
            tracing::info!(verbosity = next.verbosity, "the configuration changed: logging as it says");
            logging::adjust(args, &next);
        }
        settings = next;
    }
}

fn follower(path: &Path) -> Option<Follower> {
    // What it said at the start was read before: the first look tells of any change since.
    match Follower::new(path) {
        Ok(follower) => Some(follower),
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "changes of the configuration go unnoticed until a restart");
            None
        }
    }
}
