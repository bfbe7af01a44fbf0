//! The configuration at work: written to a file, applied to the host, and followed while the proxy runs.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::args::Args;
use super::{logging, output};
use crate::config::ConfigChange;
use crate::config::follow::FileFollower;
use crate::host::{self, HostRole};

/// `--write-config-to`: writes the effective configuration to a file, or for `-` to standard output.
pub(super) fn write(args: &Args, file: &Path) -> anyhow::Result<ExitCode> {
    let text = args.settings.configuration.yaml().context("cannot write the configuration as YAML")?;
    if file == Path::new("-") {
        output::print_text(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::write(file, text)
        .with_context(|| format!("cannot write the configuration to {}: check --write-config-to", file.display()))?;
    tracing::info!(file = %file.display(), "wrote the configuration");
    Ok(ExitCode::SUCCESS)
}

/// Sets the sysctls and the out-of-memory score that the configuration asks for.
pub(super) fn prepare_host(args: &Args) {
    let role = if args.manifests.is_empty() { HostRole::ClusterNode } else { HostRole::Manifests };
    host::prepare(Path::new("/"), &args.settings, role);
}

/// Follows the configuration file, if there is one, until a change needs a restart.
pub(super) async fn changed(args: &Args) {
    let Some((path, mut follower)) = args.config.as_deref().and_then(|path| Some((path, follower(path)?))) else {
        return std::future::pending().await;
    };
    let mut settings = args.settings.clone();
    for look in 0_u64.. {
        let content = follower.changed().await.with_context(|| format!("cannot read {}", path.display()));
        let next = match content.and_then(|text| args.settings_from(Some(&text))) {
            Ok((next, notes)) => {
                // The start has printed the notes about the first content.
                if look > 0 {
                    logging::print_notes(&notes);
                }
                next
            }
            Err(error) => {
                let error = logging::in_one_line(&error);
                tracing::warn!(
                    "the configuration file changed, but cannot be used; the previous version stays in force: {error}"
                );
                continue;
            }
        };
        match settings.change_to(&next) {
            ConfigChange::None => {}
            ConfigChange::Verbosity(verbosity) => {
                tracing::info!(verbosity, "the configuration file changed: the log follows its verbosity");
                logging::adjust(args, &next);
            }
            ConfigChange::Restart(fields) => {
                tracing::error!(
                    file = %path.display(),
                    fields = fields.join(", "),
                    "the configuration file changed: exiting, so that a supervisor restarts the proxy with it; the rules stay in \
                     the kernel"
                );
                return;
            }
        }
        settings = next;
    }
}

/// A follower of the file. Its first report is the present content, so no change since the start is missed.
fn follower(path: &Path) -> Option<FileFollower> {
    match FileFollower::new(path) {
        Ok(follower) => Some(follower),
        Err(error) => {
            tracing::warn!(
                %error,
                file = %path.display(),
                "cannot watch the configuration file: changes go unnoticed until a restart"
            );
            None
        }
    }
}
