//! Options and subcommands.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::PossibleValue;
use clap::{ArgAction, Parser, ValueEnum};

use super::combinations;
use super::fleet::StatusArgs;
use super::get::GetArgs;
use super::guards::GuardArgs;
use super::kube_proxy::KubeProxyFlags;
use super::top::TopArgs;
use crate::apply::{BackendChoice, BackendOptions};
use crate::config::{ConfigNote, GoDuration, LogFormat, Settings, parse_go_bool};
use crate::dataplane::{Family, Options};
use crate::diff::Scope;
use crate::drift::Reaction;
use crate::host;
use crate::state::View;
use crate::takeover::ProxyPorts;
use crate::watch::journal::ReadUntil;

/// A Kubernetes Service proxy for nftables whose updates cost the size of the change.
///
/// Without --manifests, Pointsman watches the API server. Exit codes: 0 success or no differences; 1 --dry-run found differences,
/// --cleanup failed in part or was refused, or the configuration file changed; 2 error. Subcommands say theirs in their own --help.
#[derive(Debug, Parser)]
#[command(name = "pointsman", disable_version_flag = true, args_override_self = true, max_term_width = 110)]
pub(super) struct Args {
    #[command(subcommand)]
    pub command: Option<Subcommand>,

    /// The settings from the configuration file and the flags, after `read_settings`.
    #[arg(skip)]
    pub settings: Settings,

    /// Read kube-proxy's configuration (KubeProxyConfiguration, YAML or JSON) from this file. It replaces kube-proxy's flags; flags
    /// that kube-proxy does not have still count. See docs/configuration.md
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Write the effective configuration to this file in kube-proxy's format, or with - to standard output, then exit
    #[arg(long, value_name = "FILE")]
    pub write_config_to: Option<PathBuf>,

    /// Set the sysctls of connection tracking, test access to the kernel's nf_tables, then exit
    #[arg(
        long, value_name = "true|false", num_args = 0..=1, require_equals = true, value_parser = switch, action = ArgAction::Set,
        default_value = "false", default_missing_value = "true", hide_default_value = true
    )]
    pub init_only: bool,

    /// Print the version, then exit
    #[arg(
        short = 'V', long, value_name = "true|false|raw", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", hide_default_value = true, hide_possible_values = true
    )]
    pub version: VersionFormat,

    /// Read the cluster from manifests instead of the API server: a file, a folder, or - for standard input. YAML or JSON, as
    /// printed by `kubectl get svc,endpointslices,nodes -A -o yaml`. May be repeated
    #[arg(long, value_name = "PATH")]
    pub manifests: Vec<PathBuf>,

    /// Keep running and program every change of the manifests
    #[arg(long, requires = "manifests", conflicts_with_all = ["once", "dry_run"])]
    pub watch: bool,

    /// Append every event with its time to this file, as JSON lines for `pointsman replay`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Sync once, then exit
    #[arg(long, conflicts_with = "dry_run")]
    pub once: bool,

    /// Print what a sync would change, without changing anything
    #[arg(long)]
    pub dry_run: bool,

    /// Output format of --dry-run and replay: text by Service, a JSON batch for `nft -j -f -`, or nft commands. Other
    /// subcommands print text or json, and get also wide text
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub output: OutputFormat,

    /// Remove Pointsman's tables and what kube-proxy left behind, then exit with 0, or with 1 if something failed. =own removes only
    /// Pointsman's, =kube-proxy only kube-proxy's
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all"
    )]
    pub cleanup: Option<CleanUp>,

    /// Let --cleanup remove rules even while a proxy is running
    #[arg(long, requires = "cleanup")]
    pub force: bool,

    /// When to remove kube-proxy's rules, after the first sync: auto removes them unless a kube-proxy runs on this host, or an unknown
    /// program answers on its health port; force always removes them; never keeps them [default: auto]
    #[arg(long, value_enum)]
    pub take_over: Option<TakeOver>,

    /// Start although a kube-proxy or another Pointsman runs on this node. Beside a kube-proxy both translate; another Pointsman's tables
    /// are overwritten
    #[arg(long)]
    pub beside_other_proxy: bool,

    /// What --dry-run compares with, and explain reads: this node's kernel, or empty tables (needs neither root nor nft) [default: kernel]
    #[arg(long, value_enum)]
    pub against: Option<Against>,

    /// How long --dry-run and explain wait for complete lists from the API server, or --once for its sync, before they give up with exit code 2
    /// [default: 30s for --dry-run]
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub timeout: Option<Duration>,

    /// How to program the kernel: netlink, the nft program, or auto for the first of these that passes a test
    #[arg(long, value_enum, default_value_t, global = true)]
    pub backend: BackendChoice,

    /// The nft program for --backend nft, version 1.1.3 or newer: a path, or a name to look up on the PATH
    #[arg(long, value_name = "PATH", default_value = "nft", global = true)]
    pub nft: PathBuf,

    /// What to do when another program changes Pointsman's tables: repair them and tell who did it; observe, to tell only; off
    /// [default: repair]
    #[arg(long, value_enum)]
    pub drift: Option<DriftChoice>,

    /// The bit of the packet mark that requests masquerade, 0 to 31 [default: 14]
    #[arg(long, value_name = "BIT", value_parser = clap::value_parser!(u8).range(0..=31), global = true)]
    pub masquerade_bit: Option<u8>,

    /// The maximum number of clients that each frontend with session affinity remembers. Any other value than the default makes the
    /// kernel reserve memory for all of them
    #[arg(long, value_name = "CLIENTS", default_value = "65535", global = true)]
    pub affinity_capacity: NonZeroU32,

    /// Count the new, refused and dropped connections of each Service, for top and for metrics. Costs the first packet of each connection a
    /// little: see docs/counters.md
    #[arg(long, global = true)]
    pub counters: bool,

    /// The format of log lines [default: text]
    #[arg(long, value_enum, global = true)]
    pub log_format: Option<LogFormat>,

    /// The log level: error, warn, info, debug or trace, or a filter such as `warn,pointsman::reconcile=debug`. Without it, -v decides;
    /// the default is info, or warn for --dry-run and subcommands
    #[arg(long, value_name = "FILTER", env = "POINTSMAN_LOG", global = true)]
    pub log_level: Option<String>,

    /// Seconds that a watch on the API server stays open before it is renewed, 1 to 290
    #[arg(long, value_name = "SECONDS", default_value_t = 290, value_parser = clap::value_parser!(u32).range(1..=290))]
    pub watch_timeout: u32,

    #[command(flatten)]
    pub guards: GuardArgs,

    #[command(flatten)]
    pub flags: KubeProxyFlags,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Read a journal and print what its node would have programmed
    Replay(ReplayArgs),
    /// Inspect this node before a switch from kube-proxy: what was found, what will differ, what to do. Changes nothing
    ///
    /// Exit codes: 0 no blockers, 1 warnings or problems, 2 the node cannot be inspected.
    Doctor(DoctorArgs),
    /// Explain what becomes of a packet on this node, and why: the verdict, the path, and every endpoint. Changes nothing
    ///
    /// Give the options of the running proxy before the word explain: --manifests reads the cluster from files, and then the kernel is read
    /// only with --against kernel. Exit codes: 0 delivered to an endpoint, 1 not, 2 error.
    Explain(ExplainArgs),
    /// Show what the proxy of this node knows about itself: SYNCED, BEHIND, STALE, DRIFTED or STARTING, since when, and why
    ///
    /// Asks the local pages (--metrics-bind-address), or with --all-nodes those of every node. Exit codes: 0 SYNCED, 1 another state,
    /// 2 no answer.
    Status(StatusArgs),
    /// List what the running proxy of this node believes: services, endpoints with reasons, frontends, clashes; or remembered clients
    ///
    /// Asks the local pages (--metrics-bind-address), or with --manifests before the word get computes the same from files. Exit codes:
    /// 0 listed, 2 error.
    Get(GetArgs),
    /// Show how many connections Services get: new, refused and dropped ones in a second, and their endpoints. A table that refreshes on a
    /// terminal, else one table
    ///
    /// Asks the local pages (--metrics-bind-address) of a proxy that runs with --counters. Exit codes: 0 shown, 2 no answer, or nothing is
    /// counted.
    Top(TopArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// A journal, as written by --record; - is standard input
    pub file: PathBuf,

    /// Stop after this time (RFC 3339), or after this number of events [default: the end of the journal]
    #[arg(long, value_name = "TIME|N")]
    pub until: Option<ReadUntil>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// ADDRESS[:PORT][/PROTOCOL], NAMESPACE/SERVICE[:PORT][/PROTOCOL] with a port's number or name, or node:PORT for a NodePort
    pub destination: String,

    /// Who sends the packet: an address, pod for a pod on this node, node for this node, or outside
    #[arg(long, value_name = "ADDRESS|pod|node|outside", default_value = "pod")]
    pub from: String,

    /// Explain what the node that wrote this journal (--record; - is standard input) would have done. Needs neither root nor a kernel
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,

    /// The moment in the journal: a time (RFC 3339), or after this number of events [default: the end of the journal]
    #[arg(long, value_name = "TIME|N", requires = "journal")]
    pub at: Option<ReadUntil>,

    /// Also wait for such a connection and follow its first packet through all tables of the kernel, up to 30 s or --timeout. Needs
    /// Linux 5.12 and the client's address in --from, or --from node
    #[arg(long, conflicts_with = "journal")]
    pub live: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// kube-proxy's configuration file [default: /var/lib/kube-proxy/config.conf, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Whose rules `--cleanup` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CleanUp {
    /// Pointsman's and kube-proxy's.
    #[value(aliases = ["true", "TRUE", "True", "t", "T", "1"])]
    All,
    /// Pointsman's.
    Own,
    /// kube-proxy's.
    KubeProxy,
    /// None: as without the option.
    #[value(name = "false", aliases = ["FALSE", "False", "f", "F", "0"], hide = true)]
    Off,
}

/// What becomes of kube-proxy's rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum TakeOver {
    #[default]
    Auto,
    Force,
    Never,
}

/// The value of `--drift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DriftChoice {
    Repair,
    Observe,
    Off,
}

/// The value of `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    #[default]
    Text,
    Json,
    Nft,
    Wide,
}

/// The value of `--against`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Against {
    #[default]
    Kernel,
    Empty,
}

/// The value of `--version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum VersionFormat {
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

impl ValueEnum for BackendChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Netlink, Self::Nft]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Auto => "auto",
            Self::Netlink => "netlink",
            Self::Nft => "nft",
        }))
    }
}

impl Args {
    /// Reads the configuration file and the flags into `settings`. Returns notes to log once logging has started.
    pub fn read_settings(&mut self) -> anyhow::Result<Vec<ConfigNote>> {
        combinations::check(self)?;
        check_master(self.flags.value("master").unwrap_or_default())?;
        // For doctor, --config is a file to inspect.
        let file = self.config.as_deref().filter(|_| !matches!(self.command, Some(Subcommand::Doctor(_))));
        let text = file.map(read).transpose()?;
        let (settings, notes) = self.settings_from(text.as_deref())?;
        self.settings = settings;
        Ok(notes)
    }

    /// The settings from this content of the configuration file and from the flags.
    pub fn settings_from(&self, file: Option<&str>) -> anyhow::Result<(Settings, Vec<ConfigNote>)> {
        let name = self.config.as_deref().unwrap_or(Path::new("")).display().to_string();
        let mut given = self.flags.given.clone();
        let bit = self.masquerade_bit.map(|bit| bit.to_string());
        if let (Some(bit), Some(flag)) = (bit, crate::config::flags::find("masquerade-bit")) {
            given.push((flag, bit));
        }
        Ok(Settings::resolve(file.map(|text| (name.as_str(), text)), &given)?)
    }

    /// The name of this node's Node object, in lower case.
    pub fn node_name(&self) -> anyhow::Result<String> {
        Ok(host::node_name(self.settings.node_name.as_deref())?)
    }

    /// The node's view of the cluster.
    pub fn view(&self, node_name: &str) -> View {
        View {
            node_name: node_name.into(),
            node_ports: self.settings.node_ports.clone(),
            node_ip: self.settings.node_ip,
            ignore_external_ips: self.settings.ignore_external_ips,
            guards: self.guards.guards(),
        }
    }

    /// The scope with the tables of both families, whatever this host supports.
    pub fn dual_stack(&self) -> Scope {
        let Settings { options, pods_by_node, .. } = &self.settings;
        let affinity_capacity = self.affinity_capacity.get();
        let options = Options { affinity_capacity, counters: self.counters, ..options.clone() };
        Scope { pods_by_node: *pods_by_node, ..Scope::dual_stack(options) }
    }

    /// The scope with the tables of the families that this host's kernel has.
    pub fn scope(&self) -> Scope {
        let mut scope = self.dual_stack();
        if !host::kernel_has_ipv6() {
            tracing::info!("this kernel has no IPv6: programming IPv4 only");
            scope.families = vec![Family::Ip];
        }
        scope
    }

    /// The ports on which another proxy may answer: the default ones, and those of the configuration, which may be kube-proxy's own.
    pub fn proxy_ports(&self) -> ProxyPorts {
        ProxyPorts::with(self.settings.healthz.map(|at| at.port()), self.settings.metrics.map(|at| at.port()))
    }

    /// What is done when another program changes the tables; `None` for nothing.
    pub fn reaction(&self) -> Option<Reaction> {
        match self.drift.unwrap_or(DriftChoice::Repair) {
            DriftChoice::Repair => Some(Reaction::Repair),
            DriftChoice::Observe => Some(Reaction::Observe),
            DriftChoice::Off => None,
        }
    }

    /// How to open the backend.
    pub fn backend_options(&self) -> BackendOptions {
        BackendOptions { choice: self.backend, nft: self.nft.clone() }
    }
}

/// A span of time of more than 0, in Go's spelling.
fn timeout(text: &str) -> Result<Duration, &'static str> {
    let duration = text.parse::<GoDuration>().map(GoDuration::to_duration).ok().filter(|duration| !duration.is_zero());
    duration.ok_or("expected a duration of more than 0, such as 30s or 1m")
}

/// Checks that this is the URL of a server, or empty.
fn check_master(text: &str) -> anyhow::Result<()> {
    let is_url = text.parse::<http::Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    });
    if text.is_empty() || is_url {
        return Ok(());
    }
    bail!("--master {text:?} is not the URL of a server: expected one such as https://192.0.2.1:6443")
}

/// A bool in Go's spelling.
fn switch(text: &str) -> Result<bool, &'static str> {
    parse_go_bool(text).ok_or("expected true or false")
}

/// Reads the configuration file.
pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| {
        format!("cannot read the configuration file {}: check --config and the file's permissions", file.display())
    })
}

#[cfg(test)]
mod tests;
