//! The fields of kube-proxy's configuration file that the rules need, read leniently: a field of the wrong type counts as unset.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

/// The path at which kubeadm's DaemonSet mounts the file.
const DEFAULT_PATH: &str = "/var/lib/kube-proxy/config.conf";

/// kube-proxy's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The file.
    pub path: PathBuf,
    /// `mode`. Default: iptables.
    pub mode: String,
    /// `nodePortAddresses`.
    pub node_port_addresses: Vec<String>,
    /// `iptables.localhostNodePorts`. Default: true.
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

/// Reads the named file, or the one at the default path if it exists.
///
/// # Errors
///
/// If the named file does not exist, or the file is not YAML.
pub fn read_config(named: Option<&Path>) -> anyhow::Result<Option<ProxyConfig>> {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read kube-proxy's configuration {}: check doctor's --config", path.display())
    })?;
    ProxyConfig::parse(path, &text)
        .with_context(|| format!("kube-proxy's configuration {} is not YAML", path.display()))
        .map(Some)
}

impl ProxyConfig {
    fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        let options = serde_saphyr::options! { with_snippet: false };
        let value: Value = serde_saphyr::from_str_with_options(text, options)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let addresses = value["nodePortAddresses"].as_array().into_iter().flatten();
        Ok(Self {
            path: path.to_owned(),
            mode: Some(text(&value["mode"])).filter(|mode| !mode.is_empty()).unwrap_or_else(|| "iptables".to_owned()),
            node_port_addresses: addresses.map(text).filter(|address| !address.is_empty()).collect(),
            localhost_node_ports: value["iptables"]["localhostNodePorts"].as_bool().unwrap_or(true),
            ipvs_scheduler: text(&value["ipvs"]["scheduler"]),
            tcp_be_liberal: value["conntrack"]["tcpBeLiberal"].as_bool().unwrap_or(false),
            health_port: port(&text(&value["healthzBindAddress"])),
            metrics_port: port(&text(&value["metricsBindAddress"])),
        })
    }
}

/// The port at the end of an address.
fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ProxyConfig {
        ProxyConfig::parse(Path::new("config.conf"), text).unwrap()
    }

    #[test]
    fn fields_are_read_and_missing_ones_have_kube_proxys_defaults() {
        let config = parse(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\nipvs: {scheduler: lc}\n\
             nodePortAddresses: [192.0.2.0/24, '2001:db8::/64']\niptables:\n  localhostNodePorts: false\n\
             conntrack: {tcpBeLiberal: true}\nhealthzBindAddress: '[::]:10266'\nmetricsBindAddress: 127.0.0.1:1\n",
        );
        assert_eq!((config.mode.as_str(), config.ipvs_scheduler.as_str()), ("ipvs", "lc"));
        assert_eq!(config.node_port_addresses, ["192.0.2.0/24", "2001:db8::/64"]);
        assert!(!config.localhost_node_ports && config.tcp_be_liberal);
        assert_eq!((config.health_port, config.metrics_port), (Some(10266), Some(1)));
        let empty = parse("mode: \"\"\nnodePortAddresses: null\nhealthzBindAddress: 0.0.0.0\n");
        assert_eq!((empty.mode.as_str(), empty.localhost_node_ports), ("iptables", true));
        assert_eq!((empty.node_port_addresses.len(), empty.health_port), (0, None));
    }

    #[test]
    fn a_field_of_the_wrong_type_counts_as_unset_and_only_invalid_yaml_is_an_error() {
        let config = parse("mode: [x]\nnodePortAddresses: 7\niptables: {localhostNodePorts: banana}\nconntrack: 3\n");
        assert_eq!(config, parse("{}"));
        assert!(ProxyConfig::parse(Path::new("x"), "a: [1\n").is_err());
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = read_config(Some(Path::new("/nowhere/config.conf"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/config.conf"));
    }
}
