//! Options and subcommands.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::dataplane::{Family, LocalPods, Options};
use crate::diff::Scope;
use crate::state::{NodePortAddresses, View};
use crate::watch::journal::Until;

/// A Kubernetes Service proxy for nftables whose updates cost the size of the change.
///
/// Without --manifests the cluster is watched through the API server. Exit codes: 0 done or no differences, 1 differences found
/// by --dry-run, 2 errors.
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, max_term_width = 110)]
pub(super) struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,

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

    /// How --dry-run and replay print: by Service, as the JSON batch for `nft -j -f -`, or as nft commands
    #[arg(short, long, value_enum, default_value_t, global = true)]
    pub output: Format,

    /// What --dry-run compares with: what this node's kernel holds, or nothing (needs neither root nor nft)
    #[arg(long, value_enum, default_value_t, requires = "dry_run")]
    pub against: Against,

    /// How to reach the API server; default: $KUBECONFIG, ~/.kube/config, or the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The name of this node's Node object; default: the host's name
    #[arg(long, value_name = "NAME", env = "NODE_NAME", global = true)]
    pub hostname_override: Option<String>,

    /// How the kernel is told: over netlink, by running nft, or by the first of these that passes a test
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,

    /// The nft program, version 1.1.3 or newer; only for the backend nft
    #[arg(long, value_name = "PATH", default_value = "nft")]
    pub nft: PathBuf,

    /// The pods' networks, at most one of each family: ClusterIP traffic from elsewhere is masqueraded. Without it, it is not
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', global = true)]
    pub cluster_cidr: Vec<IpNet>,

    /// How this node's pods are told from other sources, as kube-proxy's detectLocalMode. NodeCIDR takes the Node object's
    /// spec.podCIDRs
    #[arg(long, value_enum, default_value_t, global = true)]
    pub detect_local_mode: DetectLocalMode,

    /// The bridge that local pods send through, for --detect-local-mode BridgeInterface
    #[arg(long, value_name = "NAME", value_parser = interface_name, global = true)]
    pub pod_bridge_interface: Option<String>,

    /// What the names of local pods' interfaces start with, for --detect-local-mode InterfaceNamePrefix
    #[arg(long, value_name = "PREFIX", value_parser = interface_name, global = true)]
    pub pod_interface_name_prefix: Option<String>,

    /// Which of the node's addresses accept NodePorts: the Node object's (primary), or the host's in these networks; a family
    /// without a network accepts them on all
    #[arg(long, value_name = "primary|CIDR,…", default_value = "primary", value_parser = nodeport_addresses, global = true)]
    pub nodeport_addresses: NodePortAddresses,

    /// The bit of the packet mark that asks for masquerade
    #[arg(long, value_name = "BIT", default_value_t = 14, value_parser = clap::value_parser!(u8).range(0..=31), global = true)]
    pub masquerade_bit: u8,

    /// How many clients of Services with session affinity are remembered, for each family, for addresses and for NodePorts
    #[arg(long, value_name = "CLIENTS", default_value = "262144", global = true)]
    pub affinity_capacity: NonZeroU32,

    /// Masquerade all ClusterIP traffic
    #[arg(long, global = true)]
    pub masquerade_all: bool,

    /// Where to serve /metrics; "" for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10249", value_parser = bind_address::<10249>)]
    pub metrics_bind_address: BindAddress,

    /// Where to serve /healthz and /livez; "" for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:10256", value_parser = bind_address::<10256>)]
    pub healthz_bind_address: BindAddress,

    /// How log lines look
    #[arg(long, value_enum, default_value_t, global = true)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a filter such as `warn,pointsman::reconcile=debug`; default: info,
    /// and warn for --dry-run and replay
    #[arg(long, value_name = "FILTER", env = "POINTSMAN_LOG", global = true)]
    pub log_level: Option<String>,

    /// How long a watch on the API server may be silent before it is renewed, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 290, value_parser = clap::value_parser!(u32).range(1..=290))]
    pub watch_timeout: u32,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Fold a recorded journal and print what its node would have programmed
    Replay(Replay),
}

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// A file written by --record
    pub file: PathBuf,

    /// Stop after this time (RFC 3339) or after this many events
    #[arg(long, value_name = "TIME|N")]
    pub until: Option<Until>,
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
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum DetectLocalMode {
    #[default]
    #[value(name = "ClusterCIDR")]
    ClusterCidr,
    #[value(name = "NodeCIDR")]
    NodeCidr,
    #[value(name = "BridgeInterface")]
    BridgeInterface,
    #[value(name = "InterfaceNamePrefix")]
    InterfaceNamePrefix,
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BindAddress(pub Option<SocketAddr>);

fn bind_address<const PORT: u16>(text: &str) -> Result<BindAddress, String> {
    if text.is_empty() {
        return Ok(BindAddress(None));
    }
    let address = text.parse::<SocketAddr>().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT)));
    address.map(|address| BindAddress(Some(address))).map_err(|_| {
        format!("expected an IP address with or without a port, such as 127.0.0.1:{PORT} or [::]:{PORT}, or \"\"")
    })
}

fn nodeport_addresses(text: &str) -> Result<NodePortAddresses, String> {
    if text == "primary" {
        return Ok(NodePortAddresses::Primary);
    }
    let networks: Result<Vec<IpNet>, _> = text.split(',').map(|network| network.trim().parse::<IpNet>()).collect();
    let networks =
        networks.map_err(|_| "expected primary, or networks such as 192.0.2.0/24,2001:db8::/64".to_owned())?;
    Ok(NodePortAddresses::Networks(networks.iter().map(IpNet::trunc).collect()))
}

/// An interface's name, or what it starts with: at most 15 bytes (`IFNAMSIZ` less one), no spaces, slashes or quotes.
fn interface_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_graphic() && !"/\"*\\".contains(c);
    if !text.is_empty() && text.len() <= 15 && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of an interface: 1 to 15 characters, no spaces, slashes, quotes or asterisks".to_owned())
    }
}

impl Args {
    /// The name of this node, in lower case as Kubernetes has it.
    pub fn node_name(&self) -> anyhow::Result<String> {
        let name = match &self.hostname_override {
            Some(name) => name.clone(),
            None => std::fs::read_to_string("/proc/sys/kernel/hostname")
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
        View { node_name: node_name.into(), node_ports: self.nodeport_addresses.clone() }
    }

    /// The program's options, as far as they do not depend on the Node object.
    pub fn options(&self) -> anyhow::Result<Options> {
        for family in Family::ALL {
            let of_family = self.cluster_cidr.iter().filter(|cidr| Family::of(cidr.addr()) == family);
            if of_family.count() > 1 {
                bail!("--cluster-cidr has more than one {family} network: at most one of each family is possible");
            }
        }
        let local_pods = match self.detect_local_mode {
            DetectLocalMode::ClusterCidr if self.cluster_cidr.is_empty() => LocalPods::Unknown,
            DetectLocalMode::ClusterCidr => LocalPods::Networks(self.cluster_cidr.iter().map(IpNet::trunc).collect()),
            // Taken from the Node object when it is known.
            DetectLocalMode::NodeCidr => LocalPods::Unknown,
            DetectLocalMode::BridgeInterface => LocalPods::Interface(
                self.pod_bridge_interface
                    .clone()
                    .context("--detect-local-mode BridgeInterface needs --pod-bridge-interface NAME")?,
            ),
            DetectLocalMode::InterfaceNamePrefix => {
                let prefix = self
                    .pod_interface_name_prefix
                    .as_ref()
                    .context("--detect-local-mode InterfaceNamePrefix needs --pod-interface-name-prefix PREFIX")?;
                LocalPods::Interface(format!("{prefix}*"))
            }
        };
        Ok(Options {
            local_pods,
            masquerade_all: self.masquerade_all,
            masquerade_bit: self.masquerade_bit,
            every_node_address: self.nodeport_addresses.unrestricted(),
            affinity_capacity: self.affinity_capacity.get(),
        })
    }

    /// Both tables, whatever this host supports.
    pub fn dual_stack(&self) -> anyhow::Result<Scope> {
        let pods_by_node = self.detect_local_mode == DetectLocalMode::NodeCidr;
        Ok(Scope { pods_by_node, ..Scope::dual_stack(self.options()?) })
    }

    /// The tables that are ours on this host: that of IPv6 only if the kernel has IPv6.
    pub fn scope(&self) -> anyhow::Result<Scope> {
        let mut scope = self.dual_stack()?;
        if !Path::new("/proc/net/if_inet6").exists() {
            tracing::info!("this kernel has no IPv6: only IPv4 is programmed");
            scope.families = vec![Family::Ip];
        }
        Ok(scope)
    }

    /// The nft program: a bare name is looked for on the PATH and where administrators' programs live.
    pub fn nft_program(&self) -> PathBuf {
        if self.nft.components().count() > 1 {
            return self.nft.clone();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
        folders.map(|folder| folder.join(&self.nft)).find(|file| file.is_file()).unwrap_or_else(|| self.nft.clone())
    }
}

#[cfg(test)]
mod tests;
