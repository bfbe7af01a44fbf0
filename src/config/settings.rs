//! The validated configuration, in the types that the program uses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::document::quoted;
use super::flags::Flag;
use super::kind::{FieldKind, Mismatch, NOWHERE};
use super::problem::{ConfigNote, ConfigProblem, ConfigProblems};
use super::reading::ParsedFile;
use super::values::KubeProxyConfiguration;
use super::{GoDuration, fields, networks};
use crate::dataplane::Options;
use crate::state::NodePortAddresses;

/// Gates that Kubernetes has locked to true.
const LOCKED_ON: [&str; 3] = ["MultiCIDRServiceAllocator", "NFTablesProxyMode", "PreferSameTrafficDistribution"];
/// The gate of external IPs.
const EXTERNAL_IPS: &str = "AllowServiceExternalIPs";
/// The gate of NodePorts on the loopback addresses.
const LOCALHOST_NODE_PORTS: &str = "KubeProxyNFTablesLocalhostNodePorts";

/// The gates that something depends on.
pub(super) fn honoured_gates() -> impl Iterator<Item = &'static str> {
    LOCKED_ON.into_iter().chain([EXTERNAL_IPS, LOCALHOST_NODE_PORTS])
}

/// The validated configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// All fields with the values in force.
    pub configuration: KubeProxyConfiguration,
    /// `hostnameOverride`, trimmed and in lower case; none if not given.
    pub node_name: Option<String>,
    /// `clientConnection.kubeconfig`; none if not given.
    pub kubeconfig: Option<PathBuf>,
    /// Requests per second to the API server, for each watched kind.
    pub requests_per_second: f64,
    /// Requests in one burst, for each watched kind.
    pub burst: f64,
    /// Whether the API server is asked for protobuf first.
    pub protobuf: bool,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// klog's verbosity, from 0.
    pub verbosity: u32,
    /// `bindAddress`: replaces the Node object's address of its family.
    pub node_ip: Option<IpAddr>,
    /// The address of /healthz and /livez; none for off.
    pub healthz: Option<SocketAddr>,
    /// The address of /metrics; none for off.
    pub metrics: Option<SocketAddr>,
    /// Whether the process exits if an address is taken at the start.
    pub bind_address_hard_fail: bool,
    /// The options of the nftables program that do not depend on the Node object.
    pub options: Options,
    /// Whether local pods are recognised by the Node object's `spec.podCIDRs`.
    pub pods_by_node: bool,
    /// The node's addresses that accept NodePorts.
    pub node_ports: NodePortAddresses,
    /// Whether external IPs are ignored.
    pub ignore_external_ips: bool,
    /// The longest pause before a failed sync is retried.
    pub sync_period: Duration,
    /// The shortest time between two syncs.
    pub min_sync_period: Duration,
    /// The process's out-of-memory score adjustment, -1000 to 1000.
    pub oom_score_adj: i64,
    /// The sysctls of connection tracking.
    pub conntrack: ConntrackSettings,
}

/// A configuration that may have problems.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The settings. Values that are not allowed may have any effect.
    pub settings: Settings,
    /// Remarks, to be logged.
    pub notes: Vec<ConfigNote>,
    /// What stops a start.
    pub problems: Option<ConfigProblems>,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The wanted sysctls of connection tracking. 0 and false leave a sysctl unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackSettings {
    /// `nf_conntrack_max` for each processor.
    pub max_per_core: u64,
    /// The lower limit of `nf_conntrack_max`, if `max_per_core` is not 0.
    pub min: u64,
    /// Timeout of an established TCP connection without packets.
    pub tcp_established: Duration,
    /// Timeout of a TCP connection in CLOSE_WAIT.
    pub tcp_close_wait: Duration,
    /// Whether packets outside of the TCP window count as valid.
    pub tcp_be_liberal: bool,
    /// Timeout of a UDP flow.
    pub udp: Duration,
    /// Timeout of a UDP flow in which both sides have sent.
    pub udp_stream: Duration,
}

impl Default for Settings {
    /// The settings without a file and without flags.
    fn default() -> Self {
        let mut configuration = KubeProxyConfiguration::default();
        configuration.complete();
        Self::from(configuration, &mut Vec::new())
    }
}

impl Settings {
    /// Combines a file (its name and its text) with the given flags, and validates the result. Returns notes to log, too.
    ///
    /// With a file, the only flags that count are those that kube-proxy applies over the file, and `--kubeconfig`.
    ///
    /// # Errors
    ///
    /// All problems at once.
    pub fn resolve(
        file: Option<(&str, &str)>,
        given: &[(&'static Flag, String)],
    ) -> Result<(Self, Vec<ConfigNote>), ConfigProblems> {
        let Examined { settings, notes, problems } = Self::examine(file, given)?;
        match problems {
            None => Ok((settings, notes)),
            Some(problems) => Err(problems),
        }
    }

    /// Does the same, but for values that are not allowed, too. They do not count.
    ///
    /// # Errors
    ///
    /// If the text is no configuration at all.
    pub fn examine(file: Option<(&str, &str)>, given: &[(&'static Flag, String)]) -> Result<Examined, ConfigProblems> {
        let parsed = match file {
            Some((name, text)) => KubeProxyConfiguration::read(name, text)?,
            None => ParsedFile {
                configuration: KubeProxyConfiguration::default(),
                notes: vec![],
                problems: vec![],
                written: BTreeMap::new(),
            },
        };
        let ParsedFile { mut configuration, mut notes, mut problems, mut written } = parsed;
        for (flag, text) in given {
            if file.is_some() && !flag.with_file {
                notes.push(ConfigNote::Warning(replaced_by_file(flag)));
            } else if flag.is_ignored() && flag.field.is_none() {
                notes.push(ConfigNote::Information(format!("--{} is ignored: {}", flag.name, flag.explanation())));
            } else if let Err(problem) = set_field(&mut configuration, flag, text) {
                problems.push(problem);
            } else if let Some(path) = flag.field {
                written.remove(path);
            }
        }
        if file.is_none() {
            problems.extend(set_ports(&mut configuration, given));
        }
        notes.extend(configuration.ignored());
        problems.extend(configuration.problems(&written));
        configuration.complete();
        let origin = configuration.origin().clone();
        let settings = Self::from(configuration, &mut problems);
        notes.extend(settings.notes());
        let problems = (!problems.is_empty()).then_some(ConfigProblems { origin, problems });
        Ok(Examined { settings, notes, problems })
    }

    /// Converts the values, and adds the problems of values that do not fit together.
    fn from(configuration: KubeProxyConfiguration, problems: &mut Vec<ConfigProblem>) -> Self {
        let node_name = configuration.text("hostnameOverride");
        if !node_name.is_empty() && node_name.trim().is_empty() {
            problems.push(ConfigProblem::new(
                "hostnameOverride",
                quoted(node_name),
                "a name, or nothing to use the host's name",
            ));
        }
        let (sync_period, min_sync_period) =
            (configuration.duration("nftables.syncPeriod"), configuration.duration("nftables.minSyncPeriod"));
        if sync_period > GoDuration::ZERO && min_sync_period > sync_period {
            let expected = format!("no more than nftables.syncPeriod, {sync_period}");
            problems.push(ConfigProblem::new("nftables.minSyncPeriod", min_sync_period.to_string(), expected));
        }
        for (gate, _) in configuration.gates().filter(|(gate, on)| !on && LOCKED_ON.contains(gate)) {
            problems.push(ConfigProblem::new(format!("featureGates[{gate}]"), "false", "true: the gate is locked"));
        }
        let serves_localhost = !configuration.gates().any(|gate| gate == (LOCALHOST_NODE_PORTS, false));
        let node_ports = networks::node_ports(configuration.list("nodePortAddresses"), serves_localhost, problems);
        let local_pods = networks::local_pods(&configuration, problems);
        let count = |path| u64::try_from(configuration.integer(path)).unwrap_or(0);
        let duration = |path| configuration.duration(path).to_duration();
        let ignore_external_ips = configuration.gates().any(|gate| gate == (EXTERNAL_IPS, false));
        let qps = configuration.number("clientConnection.qps");
        #[expect(clippy::cast_precision_loss, reason = "a burst is below 2^52")]
        let burst = configuration.integer("clientConnection.burst") as f64;
        Self {
            node_name: Some(node_name.trim().to_lowercase()).filter(|name| !name.is_empty()),
            kubeconfig: Some(configuration.text("clientConnection.kubeconfig"))
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            // Below 0 is no limit, as in Kubernetes' clients.
            requests_per_second: if qps < 0.0 { 1e9 } else { qps },
            burst,
            protobuf: {
                let accepted = configuration.text("clientConnection.acceptContentTypes");
                let asked =
                    if accepted.is_empty() { configuration.text("clientConnection.contentType") } else { accepted };
                asked.contains(fields::PROTOBUF) || !asked.contains("json")
            },
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
            sync_period: sync_period.to_duration(),
            min_sync_period: min_sync_period.to_duration(),
            oom_score_adj: configuration.integer("oomScoreAdj"),
            conntrack: ConntrackSettings {
                max_per_core: count("conntrack.maxPerCore"),
                min: count("conntrack.min"),
                tcp_established: duration("conntrack.tcpEstablishedTimeout"),
                tcp_close_wait: duration("conntrack.tcpCloseWaitTimeout"),
                tcp_be_liberal: configuration.flag("conntrack.tcpBeLiberal"),
                udp: duration("conntrack.udpTimeout"),
                udp_stream: duration("conntrack.udpStreamTimeout"),
            },
            configuration,
        }
    }
}

fn replaced_by_file(flag: &Flag) -> String {
    let remedy = flag.field.map(|path| format!(": set {path} there")).unwrap_or_default();
    format!("--{} is ignored, because the file of --config replaces the flags{remedy}", flag.name)
}

/// Sets a flag's field.
fn set_field(configuration: &mut KubeProxyConfiguration, flag: &Flag, text: &str) -> Result<(), ConfigProblem> {
    let Some(field) = flag.field.and_then(fields::find).filter(|_| !is_port(flag)) else { return Ok(()) };
    // An empty address as a flag means off.
    let text = if matches!(field.kind, FieldKind::Bind(_)) && text.is_empty() { NOWHERE } else { text };
    configuration.set(field.path, text).map_err(|mismatch| at_flag(flag, mismatch))
}

fn at_flag(flag: &Flag, Mismatch { value, expected, .. }: Mismatch) -> ConfigProblem {
    ConfigProblem::new(format!("--{}", flag.name), value, expected)
}

fn is_port(flag: &Flag) -> bool {
    flag.name == "healthz-port" || flag.name == "metrics-port"
}

/// Applies the flags that give only the port of an address. Port 0 switches the address off.
fn set_ports(configuration: &mut KubeProxyConfiguration, given: &[(&'static Flag, String)]) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    for (flag, text) in given.iter().filter(|(flag, _)| is_port(flag)) {
        let Some(path) = flag.field else { continue };
        let address = configuration.text(path).to_owned();
        let default = if flag.name == "healthz-port" { "0.0.0.0" } else { "127.0.0.1" };
        let address = if address.is_empty() { default } else { &address };
        match (text.parse::<u16>(), address.parse::<IpAddr>()) {
            (Err(_), _) => {
                let place = format!("--{}", flag.name);
                problems.push(ConfigProblem::new(place, quoted(text), "a port from 1 to 65535, or 0 for off"));
            }
            (Ok(0), _) => {
                problems.extend(configuration.set(path, NOWHERE).err().map(|mismatch| at_flag(flag, mismatch)))
            }
            (Ok(port), Ok(ip)) => {
                let address = SocketAddr::new(ip, port).to_string();
                problems.extend(configuration.set(path, &address).err().map(|mismatch| at_flag(flag, mismatch)));
            }
            // The address contains a port, which wins.
            (Ok(_), Err(_)) => {}
        }
    }
    problems
}

#[cfg(test)]
mod decoding;
#[cfg(test)]
mod tests;
