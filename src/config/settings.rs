//! What the program uses: the configuration, validated and typed.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::document::quoted;
use super::fields::DETECT;
use super::flags::Flag;
use super::kind::{Kind, NOWHERE};
use super::problem::{Note, Problem, Problems};
use super::values::{FromFile, KubeProxyConfiguration};
use super::{GoDuration, fields};
use crate::dataplane::{Family, LocalPods, Options};
use crate::state::NodePortAddresses;

/// Gates that Kubernetes no longer lets anybody switch off.
const LOCKED_ON: [&str; 3] = ["MultiCIDRServiceAllocator", "NFTablesProxyMode", "PreferSameTrafficDistribution"];
const EXTERNAL_IPS: &str = "AllowServiceExternalIPs";

/// The configuration as the program uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// All fields as they are in force.
    pub configuration: KubeProxyConfiguration,
    /// `hostnameOverride`, if given: trimmed, in lower case.
    pub node_name: Option<String>,
    /// The kubeconfig, if given.
    pub kubeconfig: Option<PathBuf>,
    /// Requests to the API server per second, for each kind.
    pub requests_per_second: f64,
    /// Requests at once, for each kind.
    pub burst: f64,
    /// How log lines look.
    pub log_format: LogFormat,
    /// klog's verbosity.
    pub verbosity: u32,
    /// Stands for the Node object's address of its family.
    pub node_ip: Option<IpAddr>,
    /// Where to serve /healthz and /livez.
    pub healthz: Option<SocketAddr>,
    /// Where to serve /metrics.
    pub metrics: Option<SocketAddr>,
    /// Whether an address that is taken ends the process at the start.
    pub bind_address_hard_fail: bool,
    /// The program's options, as far as they do not depend on the Node object.
    pub options: Options,
    /// Local pods are those of the Node object's networks.
    pub pods_by_node: bool,
    /// Which of the node's addresses accept NodePorts.
    pub node_ports: NodePortAddresses,
    /// Whether external IPs are left out.
    pub ignore_external_ips: bool,
    /// The longest pause before a failed sync is tried again.
    pub sync_period: Duration,
    /// The least time between syncs.
    pub min_sync_period: Duration,
    /// What is added to this process's out-of-memory score.
    pub oom_score_adj: i64,
    /// The sysctls of connection tracking.
    pub conntrack: Conntrack,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What connection tracking is asked for; 0 and false leave a sysctl as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries for each processor.
    pub max_per_core: u64,
    /// The least number of entries, if `max_per_core` is not 0.
    pub min: u64,
    /// How long an established connection is remembered without packets.
    pub tcp_established: Duration,
    /// The same after the other side has closed it.
    pub tcp_close_wait: Duration,
    /// Whether packets outside of the window are let through.
    pub tcp_be_liberal: bool,
    /// How long a UDP packet's flow is remembered.
    pub udp: Duration,
    /// The same once both sides have sent.
    pub udp_stream: Duration,
}

impl Default for Settings {
    /// Without a file and without flags.
    fn default() -> Self {
        let mut configuration = KubeProxyConfiguration::default();
        configuration.complete();
        Self::from(configuration, &mut Vec::new())
    }
}

impl Settings {
    /// What a file (its name and its text) and the flags that were given come to, and what is worth saying about them.
    ///
    /// With a file, only those flags count that kube-proxy lets beat it, and `--kubeconfig`.
    ///
    /// # Errors
    ///
    /// With everything that is wrong.
    pub fn of(file: Option<(&str, &str)>, given: &[(&'static Flag, String)]) -> Result<(Self, Vec<Note>), Problems> {
        let read = match file {
            Some((name, text)) => KubeProxyConfiguration::read(name, text)?,
            None => FromFile { configuration: KubeProxyConfiguration::default(), notes: vec![], problems: vec![] },
        };
        let FromFile { mut configuration, mut notes, mut problems } = read;
        for (flag, text) in given {
            if file.is_some() && !flag.with_file {
                notes.push(Note::Warning(not_beside_a_file(flag)));
            } else if flag.is_ignored() && flag.field.is_none() {
                notes.push(Note::Information(format!("--{} is ignored: {}", flag.name, flag.explanation())));
            } else if let Err(problem) = apply(&mut configuration, flag, text) {
                problems.push(problem);
            }
        }
        if file.is_none() {
            problems.extend(ports(&mut configuration, given));
        }
        notes.extend(configuration.ignored());
        problems.extend(configuration.problems());
        configuration.complete();
        let origin = configuration.origin().clone();
        let settings = Self::from(configuration, &mut problems);
        notes.extend(settings.doubts());
        if problems.is_empty() { Ok((settings, notes)) } else { Err(Problems { origin, problems }) }
    }

    /// Takes the values that are allowed one by one, and adds what is wrong with them together.
    fn from(configuration: KubeProxyConfiguration, problems: &mut Vec<Problem>) -> Self {
        let node_name = configuration.text("hostnameOverride");
        if !node_name.is_empty() && node_name.trim().is_empty() {
            problems.push(Problem::new("hostnameOverride", quoted(node_name), "a name, or nothing for the host's"));
        }
        let (sync_period, min_sync_period) =
            (configuration.duration("nftables.syncPeriod"), configuration.duration("nftables.minSyncPeriod"));
        if sync_period > GoDuration::ZERO && min_sync_period > sync_period {
            let expected = format!("no more than nftables.syncPeriod, {sync_period}");
            problems.push(Problem::new("nftables.minSyncPeriod", min_sync_period.to_string(), expected));
        }
        for (gate, _) in configuration.gates().filter(|(gate, on)| !on && LOCKED_ON.contains(gate)) {
            problems.push(Problem::new(format!("featureGates[{gate}]"), "false", "true: the gate is locked"));
        }
        let node_ports = node_ports(configuration.list("nodePortAddresses"), problems);
        let local_pods = local_pods(&configuration, problems);
        let count = |path| u64::try_from(configuration.integer(path)).unwrap_or(0);
        let length = |path| configuration.duration(path).length();
        let ignore_external_ips = configuration.gates().any(|gate| gate == (EXTERNAL_IPS, false));
        let qps = configuration.number("clientConnection.qps");
        #[expect(clippy::cast_precision_loss, reason = "no burst has 2^52 requests")]
        let burst = configuration.integer("clientConnection.burst") as f64;
        Self {
            node_name: Some(node_name.trim().to_lowercase()).filter(|name| !name.is_empty()),
            kubeconfig: Some(configuration.text("clientConnection.kubeconfig"))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            // Less than 0 is no limit, as Kubernetes' clients have it.
            requests_per_second: if qps < 0.0 { 1e9 } else { qps },
            burst,
            log_format: if configuration.text("logging.format") == "json" { LogFormat::Json } else { LogFormat::Text },
            verbosity: u32::try_from(count("logging.verbosity")).unwrap_or(u32::MAX),
            node_ip: configuration.text("bindAddress").parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified()),
            healthz: configuration.bind("healthzBindAddress"),
            metrics: configuration.bind("metricsBindAddress"),
            bind_address_hard_fail: configuration.flag("bindAddressHardFail"),
            options: Options {
                local_pods,
                masquerade_all: configuration.flag("nftables.masqueradeAll"),
                masquerade_bit: u8::try_from(count("nftables.masqueradeBit")).unwrap_or(14),
                every_node_address: node_ports.unrestricted(),
                ..Options::default()
            },
            pods_by_node: configuration.text("detectLocalMode") == "NodeCIDR",
            node_ports,
            ignore_external_ips,
            sync_period: sync_period.length(),
            min_sync_period: min_sync_period.length(),
            oom_score_adj: configuration.integer("oomScoreAdj"),
            conntrack: Conntrack {
                max_per_core: count("conntrack.maxPerCore"),
                min: count("conntrack.min"),
                tcp_established: length("conntrack.tcpEstablishedTimeout"),
                tcp_close_wait: length("conntrack.tcpCloseWaitTimeout"),
                tcp_be_liberal: configuration.flag("conntrack.tcpBeLiberal"),
                udp: length("conntrack.udpTimeout"),
                udp_stream: length("conntrack.udpStreamTimeout"),
            },
            configuration,
        }
    }

    /// What is allowed, but perhaps not meant.
    fn doubts(&self) -> Vec<Note> {
        let mut doubts = Vec::new();
        let idle: Vec<&str> = self
            .configuration
            .gates()
            .map(|(gate, _)| gate)
            .filter(|gate| *gate != EXTERNAL_IPS && !LOCKED_ON.contains(gate))
            .collect();
        if !idle.is_empty() {
            doubts.push(Note::Information(format!("featureGates: without effect here: {}", idle.join(", "))));
        }
        if let (NodePortAddresses::Networks(ports), LocalPods::Networks(pods)) =
            (&self.node_ports, &self.options.local_pods)
        {
            let has = |networks: &[IpNet], family| networks.iter().any(|net| Family::from_addr(net.addr()) == family);
            for family in Family::ALL.into_iter().filter(|family| has(pods, *family) && !has(ports, *family)) {
                doubts.push(Note::Warning(format!(
                    "nodePortAddresses has no {family} network, though clusterCIDR has one: every {family} address of the \
                     node accepts NodePorts"
                )));
            }
        }
        doubts
    }
}

fn not_beside_a_file(flag: &Flag) -> String {
    let instead = flag.field.map(|path| format!(": set {path} there")).unwrap_or_default();
    format!("--{} is ignored, because the file of --config replaces the flags{instead}", flag.name)
}

/// Lets a flag set its field.
fn apply(configuration: &mut KubeProxyConfiguration, flag: &Flag, text: &str) -> Result<(), Problem> {
    let Some(field) = flag.field.and_then(fields::of).filter(|_| !is_port(flag)) else { return Ok(()) };
    // As a flag, an empty address means none.
    let text = if matches!(field.kind, Kind::Bind(_)) && text.is_empty() { NOWHERE } else { text };
    let failed = |(value, expected)| Problem::new(format!("--{}", flag.name), value, expected);
    configuration.set(field.path, text).map_err(failed)
}

fn is_port(flag: &Flag) -> bool {
    flag.name == "healthz-port" || flag.name == "metrics-port"
}

/// The flags that name only the port of an address: 0 stands for nowhere.
fn ports(configuration: &mut KubeProxyConfiguration, given: &[(&'static Flag, String)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (flag, text) in given.iter().filter(|(flag, _)| is_port(flag)) {
        let Some(path) = flag.field else { continue };
        let address = configuration.text(path).to_owned();
        let default = if flag.name == "healthz-port" { "0.0.0.0" } else { "127.0.0.1" };
        let address = if address.is_empty() { default } else { &address };
        let place = format!("--{}", flag.name);
        match (text.parse::<u16>(), address.parse::<IpAddr>()) {
            (Err(_), _) => problems.push(Problem::new(place, quoted(text), "a port from 1 to 65535, or 0 for nowhere")),
            (Ok(0), _) => {
                problems.extend(configuration.set(path, NOWHERE).err().map(|(v, e)| Problem::new(place, v, e)))
            }
            (Ok(port), Ok(ip)) => {
                let address = SocketAddr::new(ip, port).to_string();
                problems.extend(configuration.set(path, &address).err().map(|(v, e)| Problem::new(place, v, e)));
            }
            // The address has a port of its own.
            (Ok(_), Err(_)) => {}
        }
    }
    problems
}

/// `primary` alone, or networks.
fn node_ports(items: &[String], problems: &mut Vec<Problem>) -> NodePortAddresses {
    if items == ["primary"] {
        return NodePortAddresses::Primary;
    }
    let mut networks = Vec::new();
    for (i, item) in items.iter().enumerate() {
        match item.trim().parse::<IpNet>() {
            Ok(network) => networks.push(network.trunc()),
            Err(_) => problems.push(Problem::new(
                format!("nodePortAddresses[{i}]"),
                quoted(item),
                "primary alone, or networks such as 192.0.2.0/24 and 2001:db8::/64",
            )),
        }
    }
    NodePortAddresses::Networks(networks)
}

/// How local pods are told.
fn local_pods(configuration: &KubeProxyConfiguration, problems: &mut Vec<Problem>) -> LocalPods {
    let mode = configuration.text("detectLocalMode");
    let mut interface = |path: &'static str, flag: &str| {
        let name = configuration.text(path);
        if is_interface_name(name) {
            return name.to_owned();
        }
        let expected = format!(
            "the name of an interface, because detectLocalMode ({flag}) is {mode}: 1 to 15 characters, no spaces, slashes, \
             quotes or asterisks"
        );
        problems.push(Problem::new(path, quoted(name), expected));
        String::new()
    };
    match DETECT.iter().position(|name| *name == mode) {
        Some(0) => cluster_cidr(configuration.text("clusterCIDR"), problems),
        Some(2) => LocalPods::Interface(interface("detectLocal.bridgeInterface", "--detect-local-mode")),
        Some(3) => {
            let prefix = interface("detectLocal.interfaceNamePrefix", "--detect-local-mode");
            LocalPods::Interface(format!("{prefix}*"))
        }
        // Taken from the Node object when it is known.
        _ => LocalPods::Unknown,
    }
}

fn cluster_cidr(text: &str, problems: &mut Vec<Problem>) -> LocalPods {
    if text.is_empty() {
        return LocalPods::Unknown;
    }
    let networks: Result<Vec<IpNet>, _> = text.split(',').map(|item| item.trim().parse::<IpNet>()).collect();
    let Ok(networks) = networks else {
        problems.push(Problem::new("clusterCIDR", quoted(text), "networks such as 10.244.0.0/16,fd00:10:244::/56"));
        return LocalPods::Unknown;
    };
    let families: BTreeSet<Family> = networks.iter().map(|network| Family::from_addr(network.addr())).collect();
    if families.len() < networks.len() {
        problems.push(Problem::new("clusterCIDR", quoted(text), "at most one network of each family"));
    }
    LocalPods::Networks(networks.iter().map(IpNet::trunc).collect())
}

/// An interface's name, or what it starts with: at most 15 bytes (`IFNAMSIZ` less one), no spaces, slashes or quotes.
fn is_interface_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_graphic() && !"/\"*\\".contains(c);
    !text.is_empty() && text.len() <= 15 && text.chars().all(allowed)
}

#[cfg(test)]
mod tests;
