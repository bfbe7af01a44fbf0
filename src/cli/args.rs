//! Options and subcommands.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::builder::PossibleValue;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use super::kube_proxy::KubeProxyFlags;
use crate::config::{ConfigNote, LogFormat, Settings, parse_go_bool};
use crate::dataplane::{Family, Options};
use crate::diff::Scope;
use crate::state::View;
use crate::watch::journal::Until;

/// A Kubernetes Service proxy for nftables whose updates cost the size of the change.
///
/// Without --manifests the cluster is watched through the API server. Exit codes: 0 done or no differences, 1 differences found
/// by --dry-run, or another configuration file, 2 errors.
#[derive(Debug, Parser)]
#[command(name = "pointsman", disable_version_flag = true, args_override_self = true, max_term_width = 110)]
pub(super) struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What the configuration file and the flags come to, once they were read.
    #[arg(skip)]
    pub settings: Settings,

    /// Read the configuration from this file, as kube-proxy does (KubeProxyConfiguration, YAML or JSON): it replaces the flags, but
    /// not those that kube-proxy does not have. docs/configuration.md
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Write the configuration that is in force to this file, as kube-proxy's, and end
    #[arg(long, value_name = "FILE")]
    pub write_config_to: Option<PathBuf>,

    /// Set the sysctls of connection tracking, test the way to the kernel, and end
    #[arg(
        long, value_name = "true|false", num_args = 0..=1, require_equals = true, value_parser = switch, action = ArgAction::Set,
        default_value = "false", default_missing_value = "true", hide_default_value = true
    )]
    pub init_only: bool,

    /// Print the version and end
    #[arg(
        short = 'V', long, value_name = "true|false|raw", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", hide_default_value = true, hide_possible_values = true
    )]
    pub version: Version,

    /// Take the cluster from manifests instead of the API server: a file, a folder, or - for standard input. YAML or JSON, such
    /// as `kubectl get svc,endpointslices,nodes -A -o yaml` prints. May be repeated
    #[arg(long, value_name = "PATH", conflicts_with = "kubeconfig")]
    pub manifests: Vec<PathBuf>,

    /// Follow the manifests: program what changes in them
    #[arg(long, requires = "manifests", conflicts_with_all = ["once", "dry_run"])]
    pub watch: bool,

    /// Append every event, with its time, to this file as JSON lines; `pointsman replay` reads it
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Sync once, then exit
    #[arg(long, conflicts_with = "dry_run")]
    pub once: bool,

    /// Print what a sync would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// How --dry-run and replay print: by Service, as the JSON batch for `nft -j -f -`, or as nft commands; doctor: text or JSON
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub output: Format,

    /// Remove Pointsman's tables and what kube-proxy left behind, then exit: 0, or 1 if something failed. =own and =kube-proxy
    /// remove one of the two
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        conflicts_with_all = ["once", "dry_run", "watch"]
    )]
    pub cleanup: Option<CleanUp>,

    /// Let --cleanup remove the rules of a proxy that still runs
    #[arg(long, requires = "cleanup")]
    pub force: bool,

    /// What becomes of kube-proxy's rules after the first sync: removed unless a proxy answers on port 10256 of this host
    /// (auto), removed in any case, or never
    #[arg(long, value_enum, default_value_t)]
    pub take_over: TakeOver,

    /// What --dry-run compares with: what this node's kernel holds, or nothing (needs neither root nor nft)
    #[arg(long, value_enum, default_value_t, requires = "dry_run")]
    pub against: Against,

    /// How the kernel is told: over netlink, by running nft, or by the first of these that passes a test
    #[arg(long, value_enum, default_value_t, global = true)]
    pub backend: BackendName,

    /// The nft program, version 1.1.3 or newer; only for the backend nft
    #[arg(long, value_name = "PATH", default_value = "nft", global = true)]
    pub nft: PathBuf,

    /// The bit of the packet mark that asks for masquerade [default: 14]
    #[arg(long, value_name = "BIT", value_parser = clap::value_parser!(u8).range(0..=31), global = true)]
    pub masquerade_bit: Option<u8>,

    /// How many clients of Services with session affinity are remembered, for each family, for addresses and for NodePorts
    #[arg(long, value_name = "CLIENTS", default_value = "262144", global = true)]
    pub affinity_capacity: NonZeroU32,

    /// How log lines look [default: text]
    #[arg(long, value_enum, global = true)]
    pub log_format: Option<LogFormat>,

    /// What is logged: error, warn, info, debug, trace, or a filter such as `warn,pointsman::reconcile=debug`; default: info,
    /// and warn for --dry-run and replay, or more with -v
    #[arg(long, value_name = "FILTER", env = "POINTSMAN_LOG", global = true)]
    pub log_level: Option<String>,

    /// How long a watch on the API server may be silent before it is renewed, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 290, value_parser = clap::value_parser!(u32).range(1..=290))]
    pub watch_timeout: u32,

    #[command(flatten)]
    pub flags: KubeProxyFlags,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Fold a recorded journal and print what its node would have programmed
    Replay(Replay),
    /// Inspect this node before a switch from kube-proxy: what is there, what will differ, what to do. Changes nothing
    ///
    /// Exit codes: 0 nothing stands against it, 1 there are warnings or problems, 2 the node cannot be inspected.
    Doctor(Doctor),
}

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// A file written by --record
    pub file: PathBuf,

    /// Stop after this time (RFC 3339) or after this many events
    #[arg(long, value_name = "TIME|N")]
    pub until: Option<Until>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// kube-proxy's configuration file [default: /var/lib/kube-proxy/config.conf, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Whose rules `--cleanup` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CleanUp {
    /// Pointsman's and kube-proxy's.
    #[value(alias = "true")]
    All,
    /// Pointsman's.
    Own,
    /// kube-proxy's.
    KubeProxy,
}

/// What becomes of kube-proxy's rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum TakeOver {
    #[default]
    Auto,
    Force,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
    Nft,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum BackendName {
    #[default]
    Auto,
    Netlink,
    Nft,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Against {
    #[default]
    Kernel,
    Empty,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Version {
    #[default]
    False,
    True,
    Raw,
}

impl ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Text => "text",
            Self::Json => "json",
        }))
    }
}

impl Args {
    /// Reads the configuration file and the flags. What is worth saying about them waits for logging to begin.
    pub fn settle(&mut self) -> anyhow::Result<Vec<ConfigNote>> {
        // doctor looks at the file of another program, and says what is wrong with it in its own words.
        let file = self.config.as_deref().filter(|_| !matches!(self.command, Some(Command::Doctor(_))));
        let text = file.map(read).transpose()?;
        let (settings, notes) = self.settings_from(text.as_deref())?;
        self.settings = settings;
        Ok(notes)
    }

    /// What this content of the configuration file comes to, together with the flags.
    pub fn settings_from(&self, file: Option<&str>) -> anyhow::Result<(Settings, Vec<ConfigNote>)> {
        let name = self.config.as_deref().unwrap_or(Path::new("")).display().to_string();
        let mut given = self.flags.given.clone();
        let bit = self.masquerade_bit.map(|bit| bit.to_string());
        if let (Some(bit), Some(flag)) = (bit, crate::config::flags::find("masquerade-bit")) {
            given.push((flag, bit));
        }
        Ok(Settings::resolve(file.map(|text| (name.as_str(), text)), &given)?)
    }

    /// The name of this node, in lower case as Kubernetes has it.
    pub fn node_name(&self) -> anyhow::Result<String> {
        if let Some(name) = &self.settings.node_name {
            return Ok(name.clone());
        }
        let name = match std::env::var("NODE_NAME") {
            Ok(name) if !name.is_empty() => name,
            _ => std::fs::read_to_string("/proc/sys/kernel/hostname")
                .context("cannot read this host's name: give the node's name with --hostname-override")?,
        };
        let name = name.trim().to_lowercase();
        if name.is_empty() {
            bail!("the node's name is empty: give it with --hostname-override");
        }
        Ok(name)
    }

    /// The place that the cluster is seen from.
    pub fn view(&self, node_name: &str) -> View {
        View {
            node_name: node_name.into(),
            node_ports: self.settings.node_ports.clone(),
            node_ip: self.settings.node_ip,
            ignore_external_ips: self.settings.ignore_external_ips,
        }
    }

    /// Both tables, whatever this host supports.
    pub fn dual_stack(&self) -> Scope {
        let Settings { options, pods_by_node, .. } = &self.settings;
        let options = Options { affinity_capacity: self.affinity_capacity.get(), ..options.clone() };
        Scope { pods_by_node: *pods_by_node, ..Scope::dual_stack(options) }
    }

    /// The tables that are ours on this host: that of IPv6 only if the kernel has IPv6.
    pub fn scope(&self) -> Scope {
        let mut scope = self.dual_stack();
        if !Path::new("/proc/net/if_inet6").exists() {
            tracing::info!("this kernel has no IPv6: only IPv4 is programmed");
            scope.families = vec![Family::Ip];
        }
        scope
    }

    /// The nft program: a bare name is looked for on the PATH and where administrators' programs live.
    pub fn nft_program(&self) -> PathBuf {
        if self.nft.components().count() > 1 {
            return self.nft.clone();
        }
        crate::program::look_for(&self.nft).unwrap_or_else(|| self.nft.clone())
    }
}

/// True or false, as Go spells it.
fn switch(text: &str) -> Result<bool, &'static str> {
    parse_go_bool(text).ok_or("expected true or false")
}

/// Reads the configuration file.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| {
        format!("cannot read the configuration {}: check --config and the file's permissions", file.display())
    })
}

#[cfg(test)]
mod tests;
