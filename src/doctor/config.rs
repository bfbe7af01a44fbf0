//! kube-proxy's configuration file, as a start would read it, and the fields that the rules need.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::{ConfigNote, Examined, Settings};

/// The path at which kubeadm's DaemonSet mounts the file.
const DEFAULT_PATH: &str = "/var/lib/kube-proxy/config.conf";

/// kube-proxy's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The file.
    pub path: PathBuf,
    /// What stops a start with this file.
    pub problems: Vec<String>,
    /// What a start with this file warns about.
    pub warnings: Vec<String>,
    /// The mode in which kube-proxy runs with it.
    pub mode: String,
    /// `nodePortAddresses`; empty for the default.
    pub node_port_addresses: Vec<String>,
    /// `iptables.localhostNodePorts`.
    pub localhost_node_ports: bool,
    /// `ipvs.scheduler`.
    pub ipvs_scheduler: String,
    /// `conntrack.tcpBeLiberal`.
    pub tcp_be_liberal: bool,
    /// The port of `healthzBindAddress`.
    pub health_port: Option<u16>,
    /// The port of `metricsBindAddress`.
    pub metrics_port: Option<u16>,
}

/// Reads the named file, or the one at the default path if it exists. Its problems are in the result.
///
/// # Errors
///
/// If the file cannot be read.
pub fn read_config(named: Option<&Path>) -> anyhow::Result<Option<ProxyConfig>> {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read kube-proxy's configuration {}: check doctor's --config", path.display())
    })?;
    Ok(Some(ProxyConfig::examine(path, &text)))
}

impl ProxyConfig {
    /// Reads and validates a text as the start does.
    pub fn examine(path: &Path, text: &str) -> Self {
        let (settings, notes, problems) = match Settings::examine(Some((&path.display().to_string(), text)), &[]) {
            Ok(Examined { settings, notes, problems }) => (settings, notes, problems),
            Err(problems) => (Settings::default(), Vec::new(), Some(problems)),
        };
        let warning = |note| match note {
            ConfigNote::Warning(text) => Some(text),
            ConfigNote::Information(_) => None,
        };
        let configuration = &settings.configuration;
        let addresses = configuration.list("nodePortAddresses");
        Self {
            path: path.to_owned(),
            problems: problems.iter().flat_map(|problems| problems.lines()).collect(),
            warnings: notes.into_iter().filter_map(warning).collect(),
            mode: configuration.kube_proxy_mode().to_owned(),
            node_port_addresses: if addresses == ["primary"] { Vec::new() } else { addresses.to_vec() },
            localhost_node_ports: configuration.flag("iptables.localhostNodePorts"),
            ipvs_scheduler: configuration.text("ipvs.scheduler").to_owned(),
            tcp_be_liberal: configuration.flag("conntrack.tcpBeLiberal"),
            health_port: settings.healthz.map(|address| address.port()),
            metrics_port: settings.metrics.map(|address| address.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

    fn examine(lines: &str) -> ProxyConfig {
        ProxyConfig::examine(Path::new("config.conf"), &format!("{HEAD}{lines}"))
    }

    #[test]
    fn fields_are_read_and_missing_ones_have_kube_proxys_defaults() {
        let config = examine(
            "mode: ipvs\nipvs: {scheduler: lc}\n\
             nodePortAddresses: [192.0.2.0/24, '2001:db8::/64']\niptables:\n  localhostNodePorts: false\n\
             conntrack: {tcpBeLiberal: true}\nhealthzBindAddress: '[::]:10266'\nmetricsBindAddress: 127.0.0.1:1\n",
        );
        assert_eq!((config.mode.as_str(), config.ipvs_scheduler.as_str()), ("ipvs", "lc"));
        assert_eq!(config.node_port_addresses, ["192.0.2.0/24", "2001:db8::/64"]);
        assert!(!config.localhost_node_ports && config.tcp_be_liberal);
        assert_eq!((config.health_port, config.metrics_port), (Some(10266), Some(1)));
        let empty = examine("mode: \"\"\nnodePortAddresses: null\nhealthzBindAddress: 0.0.0.0\n");
        assert_eq!((empty.mode.as_str(), empty.localhost_node_ports), ("iptables", true));
        assert_eq!((empty.node_port_addresses.len(), empty.health_port), (0, Some(10256)));
        assert_eq!((empty.problems.len(), empty.warnings.len()), (0, 0));
    }

    #[test]
    fn what_stops_a_start_is_a_problem_and_what_it_warns_about_a_warning() {
        let config = examine("mode: [x]\nconntrack: 3\nclusterCidr: a\n");
        assert_eq!(
            config.problems,
            [
                "KubeProxyConfiguration.mode: a list is not allowed: expected one of iptables, ipvs, nftables",
                "KubeProxyConfiguration.conntrack: 3 is not allowed: expected a mapping",
            ]
        );
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
        for text in ["", "a: [1\n", "- a\n", "kind: ConfigMap\n"] {
            assert!(!ProxyConfig::examine(Path::new("x"), text).problems.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = read_config(Some(Path::new("/nowhere/config.conf"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/config.conf"));
    }
}
